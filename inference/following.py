"""Which followed hand a box of a later frame belongs to.

Boxes x0, y0, x1, y1 and joints (21, 2) are pixels of the picture.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .places import HandBox


def number_hands(
    hands: Sequence[HandBox], sides: Mapping[int, str], last_joints: Mapping[int, NDArray | None]
) -> list[int]:
    """The number of every hand of a frame: that of the nearest followed hand of its side, or else a new one.

    `sides` and `last_joints` (None where it was not found yet) are those of the hands followed so far, by number from
    0. The nearest pair is matched first; hands without a box, or never found, come last, in order.
    """
    pairs = sorted(
        (distance(hand.box, last_joints[number]), place, number)
        for place, hand in enumerate(hands)
        for number, side in sides.items()
        if side == hand.side
    )
    matched: dict[int, int] = {}
    for _, place, number in pairs:
        if place not in matched and number not in matched.values():
            matched[place] = number
    new = iter(range(len(sides), len(sides) + len(hands)))
    return [matched[place] if place in matched else next(new) for place in range(len(hands))]


def distance(box: NDArray | None, joints: NDArray | None) -> float:
    """Pixels from the middle of a box to the middle of joints; infinite where one of them is not known."""
    if box is None or joints is None or not np.isfinite(box).all():
        return float("inf")
    low, high = joints.min(0), joints.max(0)
    return float(np.linalg.norm((box[:2] + box[2:]) / 2 - (low + high) / 2))
