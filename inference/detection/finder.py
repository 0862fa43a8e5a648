"""Finds the hands of one picture: palms first, then the landmarks in the region of each, and no hand twice.

Pixels of the picture, continuous. Thresholds are MediaPipe's own.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .networks import HAND_SIDE, HandReading
from .palms import SIDE, Palms, decode, merge
from .regions import Region, cut_out, region_of_palm, turn

LEAST_PRESENCE = 0.5
MOST_HANDS = 8  # of a picture: a bound for what strange pictures cost
SAME_HAND = 0.3  # of a hand's size: mean distance of landmarks below which two finds are one hand
DOUBTFUL = 0.9  # presence below which a hand that lies over a surer one is none, but fingers of that one
_LONG = 2.0  # times as long as high (or the other way round): looked at in squares as well
_MOST_SQUARES = 32
_LEVELS = 2  # how often a picture in which no hand is found is looked at in squares half as large
_MOST_PIECES = 64
_SHARED = 0.25  # of a square's side: what it shares with the next one


class Networks(Protocol):
    """What runs the two models (`networks.HandNetworks`)."""

    def palms(self, square: NDArray[np.uint8]) -> tuple[NDArray, NDArray]: ...

    def hand(self, square: NDArray[np.uint8]) -> HandReading: ...


@dataclass(frozen=True)
class SeenHand:
    """A hand in a picture: landmarks (21, 2) px (wrist, thumb .. little, base to tip).

    presence: the landmark model's probability that it is a hand; right: that it is a right one; score: the palm
    detector's. world (21, 3): the landmarks in m about the middle of the hand, x right, y down, z away.
    """

    landmarks: NDArray[np.float64]
    presence: float
    right: float
    score: float
    world: NDArray[np.float64]

    @property
    def size(self) -> float:
        """The longer side of the box round the landmarks, px."""
        return max(1.0, float(np.ptp(self.landmarks, axis=0).max()))


class HandFinder:
    """Palms of a picture, and the hand in a region of it."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks

    def palms(self, picture: NDArray[np.uint8], regions: Iterable[Region] | None = None) -> Palms:
        """The palms in a picture (H, W, 3) RGB, px, the surest first; looked for in `regions` (default: `views`)."""
        found = []
        for region in views(picture.shape[1], picture.shape[0]) if regions is None else regions:
            square = cut_out(picture, region, SIDE, repeat_edges=False)
            palms = merge(decode(*self._networks.palms(square)))
            boxes = region.to_picture(palms.boxes.reshape(-1, 2)).reshape(-1, 4)
            points = region.to_picture(palms.points.reshape(-1, 2)).reshape(palms.points.shape)
            found.append(Palms(boxes, points, palms.scores))
        return merge(Palms(*(np.concatenate([getattr(each, name) for each in found]) for name in _FIELDS)))

    def hand(self, picture: NDArray[np.uint8], region: Region, score: float) -> SeenHand:
        """The hand in a region, whether or not one is there (`presence` tells); `score` is passed on."""
        # MediaPipe takes corners for middles of pixels: the model is shown what it is shown there. Seen from a turned
        # region that is up to a pixel beside; the landmarks are brought back from where it was really looked.
        half = np.array([0.5, 0.5])
        region = region.moved(half - turn(region.angle) @ half * region.side / HAND_SIDE)
        read = self._networks.hand(cut_out(picture, region, HAND_SIDE, repeat_edges=True))
        finite = np.isfinite(read.landmarks).all() and np.isfinite(read.world).all()
        world = np.column_stack([read.world[:, :2] @ turn(region.angle).T, read.world[:, 2]])
        return SeenHand(region.to_picture(read.landmarks), read.presence if finite else 0.0, read.right, score, world)


_FIELDS = ("boxes", "points", "scores")


def views(width: int, height: int) -> Iterator[Region]:
    """Where palms are looked for: the whole picture, and in a long one squares that overlap by half.

    As a whole its hands may be too small to be found.
    """
    longer, shorter = max(width, height), min(width, height)
    yield Region(np.array([width, height]) / 2, longer, 0.0)
    if longer <= _LONG * shorter:
        return
    count = min(_MOST_SQUARES, int(np.ceil(2 * longer / shorter)) - 1)
    side = max(float(shorter), 2 * longer / (count + 1))  # larger where there would be too many
    for middle in np.linspace(side / 2, longer - side / 2, count):
        yield Region(np.array([middle, height / 2] if width > height else [width / 2, middle]), side, 0.0)


def pieces(width: int, height: int) -> Iterator[list[Region]]:
    """Squares that cover a picture, half as wide as it is high (or high as it is wide), then a quarter.

    They share a quarter with their neighbours, have no fewer pixels than the network looks at, and are not too many.
    """
    for level in range(1, _LEVELS + 1):
        side = min(width, height) / 2**level
        columns, rows = (int(np.ceil((length - _SHARED * side) / ((1 - _SHARED) * side))) for length in (width, height))
        if side < SIDE or columns * rows > _MOST_PIECES:
            return
        middles = (np.linspace(side / 2, length - side / 2, n) for length, n in ((width, columns), (height, rows)))
        yield [Region(np.array([x, y]), side, 0.0) for x, y in product(*middles)]


def find_hands(finder: HandFinder, picture: NDArray[np.uint8]) -> list[SeenHand]:
    """The hands of a picture, the surest first; each once. Where none is found, `pieces` are looked at, too."""
    found = new_hands(finder, picture, [])
    for regions in pieces(picture.shape[1], picture.shape[0]):
        if found:
            break
        found = new_hands(finder, picture, [], regions)
    return once(found)[:MOST_HANDS]


def new_hands(
    finder: HandFinder, picture: NDArray[np.uint8], known: list[SeenHand], regions: Iterable[Region] | None = None
) -> list[SeenHand]:
    """Hands at palms that belong to no known hand of this picture; `regions` as for `HandFinder.palms`."""
    palms = finder.palms(picture, regions)
    found = []
    for box, points, score in zip(palms.boxes, palms.points, palms.scores, strict=True):
        if len(found) == MOST_HANDS:
            break
        if any(_holds(hand, box, points) for hand in known):
            continue
        hand = finder.hand(picture, region_of_palm(box, points), float(score))
        if hand.presence >= LEAST_PRESENCE:
            found.append(hand)
    return found


_PALM_POINTS = [0, 5, 9, 13, 17, 1, 2]  # the landmarks that a palm's seven points stand for


def _holds(hand: SeenHand, box: NDArray, points: NDArray) -> bool:
    """Whether a palm is that of a hand whose landmarks are known."""
    apart = np.linalg.norm(hand.landmarks[_PALM_POINTS] - points, axis=1).mean()
    return bool(apart < SAME_HAND * max(hand.size, float((box[2:] - box[:2]).max())))


def once(hands: Iterable[SeenHand]) -> list[SeenHand]:
    """The hands without those that are another one of them, the likeliest first."""
    kept: list[SeenHand] = []
    for hand in sorted(hands, key=lambda hand: -hand.presence):
        if not any(same_hand(hand, other) for other in kept):
            kept.append(hand)
    return kept


def same_hand(a: SeenHand, b: SeenHand) -> bool:
    """Whether two finds are of one hand: nearly the same landmarks, or one of them doubtful and inside the other."""
    apart = np.linalg.norm(a.landmarks - b.landmarks, axis=1).mean()
    if apart < SAME_HAND * min(a.size, b.size):
        return True
    unsure, other = (a, b) if a.presence < b.presence else (b, a)
    inside = (unsure.landmarks > other.landmarks.min(0)) & (unsure.landmarks < other.landmarks.max(0))
    return unsure.presence < DOUBTFUL and bool(inside.all(1).mean() > 0.5)
