"""Whether a predicted hand is to be relied on: the signs that it is not, each a word of `HandResult.doubts`.

Every sign is one number beside one limit. Which numbers tell anything, and the limits, come from
`benchmarks/reliable.py`; docs/predict.md has the table.
"""

import numpy as np
from numpy.typing import NDArray

LARGEST_MISFIT = 0.07
LEAST_INSIDE = 0.7
LEAST_EXTENT = 0.55
SMALLEST_SIDE = 16.0  # px
LEAST_PRESENCE = 0.9  # the detector itself reports none below 0.5


def signs_of(joints_2d: NDArray, box: NDArray, width: int, height: int) -> dict[str, float]:
    """What 2D joints (21, 2) px and the square (4,) x0, y0, x1, y1 px that the network saw tell, by name.

    inside: the share of the joints inside the picture; extent: their longer side as a share of the square's, 0.67 where
    the box was tight round them; side: of the square, px.
    """
    side = float(box[2] - box[0])
    inside = ((joints_2d >= 0) & (joints_2d <= (width, height))).all(axis=1)
    return {"inside": float(inside.mean()), "extent": float(np.ptp(joints_2d, axis=0).max()) / side, "side": side}


def doubts_of(oriented: bool, misfit: float | None, signs: dict[str, float]) -> tuple[str, ...]:
    """The words for what speaks against a hand; none where it is reliable. misfit as `HandResult` has it."""
    found = {
        "orientation": not oriented,
        "place": oriented and misfit is None,
        "misfit": misfit is not None and misfit > LARGEST_MISFIT,
        "outside": signs["inside"] < LEAST_INSIDE,
        "extent": signs["extent"] < LEAST_EXTENT,
        "small": signs["side"] < SMALLEST_SIDE,
    }
    return tuple(word for word, doubted in found.items() if doubted)


def presence_doubts(presence: float) -> tuple[str, ...]:
    """The word for a hand whose presence, by the detector, is too low."""
    return ("presence",) if presence < LEAST_PRESENCE else ()
