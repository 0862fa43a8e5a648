"""Follows hands from frame to frame: where each was is where it is looked for, and palms are looked for now and then.

A hand keeps its number by place, motion and side, also over frames in which it is hidden. Pixels, continuous.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from .finder import LEAST_PRESENCE, MOST_HANDS, HandFinder, SeenHand, new_hands, once, pieces, same_hand
from .regions import region_of_landmarks

REDETECT = 30  # frames between two looks for further hands while all that are known are held
SEARCH = 3  # the same while a hand is missing
YOUNG = 5  # finds after which a hand's motion and side are known well enough to leave frames out
SLOW = 0.1  # of its size a frame: a hand that is faster is read in every frame
NEAR = 1.5  # of its size: so is a hand with another one this near
MEMORY = 45  # frames after which a lost hand is forgotten
FARTHEST = 1.0  # of a hand's size: mean distance of landmarks from where they are expected, for the same hand
WIDER = 0.1  # how much farther per frame in which the hand was lost
SIDES = 0.3  # a find of certainly the other side is as unlike as one that is this much of a hand's size away
COASTING = 6  # frames for which a lost hand is believed to move on
STEADINESS = 0.1  # how much one frame changes what is believed of a hand's side, once it is known for a while
SURE = 0.65  # belief from which a hand changes its side


@dataclass(eq=False)
class Track:
    """A followed hand: its number, side and last find; `velocity` (2,) px a frame.

    age: frames since that find, of which it was missed in `lost`; right: the belief that it is a right hand, the mean
    of the first finds and then a running one; seen: how many finds.
    """

    number: int
    side: str
    hand: SeenHand
    right: float
    velocity: NDArray[np.float64]
    age: int = 0
    lost: int = 0
    seen: int = 1

    def expected(self, ahead: int = 1) -> NDArray[np.float64]:
        """Where its landmarks (21, 2) should be, by default in the next frame."""
        return self.hand.landmarks + min(self.age + ahead, COASTING) * self.velocity

    def see(self, hand: SeenHand) -> None:
        """Take what was found of it in this frame."""
        moved = (hand.landmarks - self.hand.landmarks).mean(0) / (self.age + 1)
        self.velocity = (self.velocity + moved) / 2
        self.hand, self.age, self.lost, self.seen = hand, 0, 0, self.seen + 1
        self.right += max(STEADINESS, 1 / self.seen) * (hand.right - self.right)
        if self.right > SURE:
            self.side = "right"
        elif self.right < 1 - SURE:
            self.side = "left"

    def miss(self) -> None:
        """Take that it was not found in this frame, or that the frame could not be read."""
        self.age, self.lost = self.age + 1, self.lost + 1


@dataclass(frozen=True)
class FollowedHand:
    """A hand of one frame: its number and side, and where it is; `read` is False where this follows from its motion."""

    number: int
    side: str
    hand: SeenHand
    read: bool


class HandTracker:
    """The hands of frame after frame. Every call of `follow` is the next frame in time.

    stride: while all goes well, a hand that moves slowly and by itself is read only every so many frames.
    """

    def __init__(self, finder: HandFinder, stride: int = 1, redetect: int = REDETECT) -> None:
        self._finder, self._stride, self._redetect = finder, stride, redetect
        self._tracks: list[Track] = []
        self._size: tuple[int, ...] = ()
        self._next = 0
        self._since, self._pause, self._closer = 0, 1, 0
        self.palm_runs = 0
        """In how many frames palms were looked for."""

    @property
    def known(self) -> set[int]:
        """The numbers of the hands that are followed or remembered."""
        return {track.number for track in self._tracks}

    def skip(self) -> None:
        """Let a frame pass that could not be read."""
        for track in self._tracks:
            track.miss()
        self._forget()

    def follow(self, picture: NDArray[np.uint8]) -> list[FollowedHand]:
        """The hands that are seen in the next frame (H, W, 3) RGB, by number; lost ones are left out."""
        if picture.shape != self._size:  # landmarks in a picture of another size cannot be followed
            self._tracks, self._size = [], picture.shape
        self._since, self._closer = self._since + 1, self._closer - 1
        missing = any(track.lost for track in self._tracks)
        palms = self._since >= min(self._pause, SEARCH if missing else self._pause)
        resting = [] if palms else [track for track in self._tracks if self._may_rest(track)]
        followed = [self._look(picture, track) for track in self._tracks if track.lost == 0 and track not in resting]
        held = once(hand for hand in followed if hand.presence >= LEAST_PRESENCE)
        for track in resting:
            track.age += 1
        guessed = [FollowedHand(track.number, track.side, _moved(track), False) for track in resting]
        if len(held) < len(followed):
            palms, self._pause = True, 1
        if palms or not (held or resting):
            held = self._add_new(picture, held, [each.hand for each in guessed])
        return sorted([*guessed, *self._assign(held, resting)], key=lambda each: each.number)

    def _may_rest(self, track: Track) -> bool:
        """Whether where a hand is follows well enough from where it was and how it moved."""
        if track.lost or track.seen < YOUNG or track.age + 1 >= self._stride:
            return False
        size, place = track.hand.size, track.expected().mean(0)
        others = [other.expected().mean(0) for other in self._tracks if other is not track]
        alone = all(np.linalg.norm(other - place) > NEAR * size for other in others)
        return alone and bool(np.linalg.norm(track.velocity) < SLOW * size)

    def _look(self, picture: NDArray[np.uint8], track: Track) -> SeenHand:
        return self._finder.hand(picture, region_of_landmarks(track.expected()), track.hand.score)

    def _add_new(self, picture: NDArray[np.uint8], held: list[SeenHand], guessed: list[SeenHand]) -> list[SeenHand]:
        """The held hands, and those at palms that belong to none; how soon palms are looked for again.

        While no hand is known at all, one is looked for in larger pieces of the picture now and then.
        """
        self.palm_runs += 1
        self._since, self._pause = 0, min(2 * self._pause, self._redetect)
        found = once([*held, *new_hands(self._finder, picture, [*held, *guessed])])
        if not found and not self._tracks and self._closer <= 0:
            self._closer = self._redetect
            regions = next(pieces(picture.shape[1], picture.shape[0]), None)
            found = [] if regions is None else once(new_hands(self._finder, picture, [], regions))
        return [hand for hand in found if not any(same_hand(hand, guess) for guess in guessed)][:MOST_HANDS]

    def _assign(self, hands: list[SeenHand], resting: list[Track]) -> list[FollowedHand]:
        """Give every find to the hand that it is most like; what is like none is a new hand."""
        tracks = [track for track in self._tracks if track not in resting]
        cost = np.array([[unlikeness(track, hand) for hand in hands] for track in tracks])
        pairs = zip(*linear_sum_assignment(np.minimum(cost, 1e6)), strict=True) if cost.size else ()
        matched = {int(which): tracks[number] for number, which in pairs if np.isfinite(cost[number, which])}
        for track in tracks:
            if track not in matched.values():
                track.miss()
        for which, hand in enumerate(hands):
            if which in matched:
                matched[which].see(hand)
            else:
                side = "right" if hand.right > 0.5 else "left"
                matched[which] = Track(self._next, side, hand, hand.right, np.zeros(2))
                self._next += 1
                self._tracks.append(matched[which])
        self._forget()
        return [FollowedHand(track.number, track.side, track.hand, True) for track in matched.values()]

    def _forget(self) -> None:
        self._tracks = [track for track in self._tracks if track.lost <= MEMORY]


def _moved(track: Track) -> SeenHand:
    """A hand in this frame by its motion."""
    return replace(track.hand, landmarks=track.expected(ahead=0))


def unlikeness(track: Track, hand: SeenHand) -> float:
    """How little a find is like what is expected of a followed hand, in sizes of it; infinite where it is another."""
    apart = np.linalg.norm(hand.landmarks - track.expected(), axis=1).mean() / track.hand.size
    if apart > FARTHEST + WIDER * track.lost:
        return float("inf")
    return float(apart + SIDES * abs(track.right - hand.right))
