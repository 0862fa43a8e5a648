"""Follows hands from frame to frame: where each was is where it is looked for, and palms are looked for now and then.

A hand keeps its number by place, motion and side, also over frames in which it is hidden. Pixels, continuous.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from .finder import LEAST_PRESENCE, MOST_HANDS, HandFinder, SeenHand, new_hands, once
from .regions import region_of_landmarks

REDETECT = 15  # frames between two looks for further hands while all that are known are held
MEMORY = 45  # frames after which a lost hand is forgotten
FARTHEST = 1.0  # of a hand's size: mean distance of landmarks from where they are expected, for the same hand
WIDER = 0.1  # how much farther per frame in which the hand was lost
SIDES = 0.3  # a find of certainly the other side is as unlike as one that is this much of a hand's size away
COASTING = 6  # frames for which a lost hand is believed to move on
STEADINESS = 0.1  # how much one frame changes what is believed of a hand's side, once it is known for a while
SURE = 0.65  # belief from which a hand changes its side


@dataclass
class Track:
    """A followed hand: its number, side and last find; `velocity` (2,) px a frame; `lost` frames since it was seen.

    right: the belief that it is a right hand, the mean of the first finds and then a running one; seen: how many.
    """

    number: int
    side: str
    hand: SeenHand
    right: float
    velocity: NDArray[np.float64]
    lost: int = 0
    seen: int = 1

    def expected(self) -> NDArray[np.float64]:
        """Where its landmarks (21, 2) should be in the next frame."""
        steps = min(self.lost + 1, COASTING)
        return self.hand.landmarks + steps * self.velocity

    def see(self, hand: SeenHand) -> None:
        """Take what was found of it in this frame."""
        moved = (hand.landmarks - self.hand.landmarks).mean(0) / (self.lost + 1)
        self.velocity = (self.velocity + moved) / 2
        self.hand, self.lost, self.seen = hand, 0, self.seen + 1
        self.right += max(STEADINESS, 1 / self.seen) * (hand.right - self.right)
        if self.right > SURE:
            self.side = "right"
        elif self.right < 1 - SURE:
            self.side = "left"


class HandTracker:
    """The hands of frame after frame. Every call of `follow` is the next frame in time."""

    def __init__(self, finder: HandFinder, redetect: int = REDETECT) -> None:
        self._finder, self._redetect = finder, redetect
        self._tracks: list[Track] = []
        self._size: tuple[int, ...] = ()
        self._next = 0
        self._since, self._pause = 0, 1
        self.palm_runs = 0
        """In how many frames palms were looked for."""

    @property
    def known(self) -> set[int]:
        """The numbers of the hands that are followed or remembered."""
        return {track.number for track in self._tracks}

    def skip(self) -> None:
        """Let a frame pass that could not be read."""
        self._grow_older(self._tracks)

    def follow(self, picture: NDArray[np.uint8]) -> list[Track]:
        """The hands that are seen in the next frame (H, W, 3) RGB, by number; lost ones are left out."""
        if picture.shape != self._size:  # landmarks in a picture of another size cannot be followed
            self._tracks, self._size = [], picture.shape
        followed = [self._look(picture, track) for track in self._tracks if track.lost == 0]
        held = once(hand for hand in followed if hand.presence >= LEAST_PRESENCE)
        missing = len(held) < len(followed)
        self._since += 1
        if missing:
            self._pause = 1
        if not held or self._since >= self._pause:
            self.palm_runs += 1
            held = once([*held, *new_hands(self._finder, picture, held)])[:MOST_HANDS]
            self._since, self._pause = 0, min(2 * self._pause, self._redetect)
        return self._assign(held)

    def _look(self, picture: NDArray[np.uint8], track: Track) -> SeenHand:
        region = region_of_landmarks(track.hand.landmarks).moved(track.velocity)
        return self._finder.hand(picture, region, track.hand.score)

    def _assign(self, hands: list[SeenHand]) -> list[Track]:
        """Give every find to the hand that it is most like; what is like none is a new hand."""
        cost = np.array([[unlikeness(track, hand) for hand in hands] for track in self._tracks])
        pairs = zip(*linear_sum_assignment(np.minimum(cost, 1e6)), strict=True) if cost.size else ()
        matched = {int(which): self._tracks[number] for number, which in pairs if np.isfinite(cost[number, which])}
        seen = []
        for which, hand in enumerate(hands):
            track = matched.get(which)
            if track is None:
                side = "right" if hand.right > 0.5 else "left"
                track = Track(self._next, side, hand, hand.right, np.zeros(2))
                self._next += 1
                self._tracks.append(track)
            else:
                track.see(hand)
            seen.append(track)
        self._grow_older([track for track in self._tracks if not any(track is each for each in seen)])
        return sorted(seen, key=lambda track: track.number)

    def _grow_older(self, tracks: list[Track]) -> None:
        for track in tracks:
            track.lost += 1
        self._tracks = [track for track in self._tracks if track.lost <= MEMORY]


def unlikeness(track: Track, hand: SeenHand) -> float:
    """How little a find is like what is expected of a followed hand, in sizes of it; infinite where it is another."""
    apart = np.linalg.norm(hand.landmarks - track.expected(), axis=1).mean() / track.hand.size
    if apart > FARTHEST + WIDER * track.lost:
        return float("inf")
    return float(apart + SIDES * abs(track.right - hand.right))
