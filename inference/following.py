"""Which followed hand a box of a later frame belongs to.

Boxes x0, y0, x1, y1 and joints (21, 2) are pixels of the picture.
"""

import numpy as np
from numpy.typing import NDArray

from .sources import Given


def numbered(hands: list[Given], sides: list[str], seen: list[NDArray | None]) -> list[int]:
    """The number of every hand of a frame: that of the nearest followed hand of its side, a new one where none is left.

    `sides` and `seen` (last joints, None where it was not found yet) are those of the hands followed so far, by number.
    The nearest pair is taken first; hands without a box, or never seen, come last, in order.
    """
    pairs = sorted(
        (distance(hand.box, seen[number]), place, number)
        for place, hand in enumerate(hands)
        for number, side in enumerate(sides)
        if side == hand.side
    )
    found: dict[int, int] = {}
    for _, place, number in pairs:
        if place not in found and number not in found.values():
            found[place] = number
    new = iter(range(len(sides), len(sides) + len(hands)))
    return [found[place] if place in found else next(new) for place in range(len(hands))]


def distance(box: NDArray | None, joints: NDArray | None) -> float:
    """Pixels from the middle of a box to the middle of joints; infinite where one of them is not known."""
    if box is None or joints is None or not np.isfinite(box).all():
        return float("inf")
    low, high = joints.min(0), joints.max(0)
    return float(np.linalg.norm((box[:2] + box[2:]) / 2 - (low + high) / 2))
