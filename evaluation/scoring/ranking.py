"""How well a probability ranks yes before no: areas under the ROC and the precision-recall curve.

Equal probabilities share a rank, so that neither area depends on the order of the frames. No units.
"""

import numpy as np
from numpy.typing import NDArray


def roc_auc(probability: NDArray, truth: NDArray) -> float | None:
    """Chance that a random yes has a larger probability than a random no, ties counting half; None without both.

    probability, truth: (N,), any numbers and bool.
    """
    yes = int(truth.sum())
    no = len(truth) - yes
    if not yes or not no:
        return None
    _, place, counts = np.unique(probability, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2.0  # the mean of the ranks that equal values share, from 1
    return float((rank[place][truth].sum() - yes * (yes + 1) / 2.0) / (yes * no))


def average_precision(probability: NDArray, truth: NDArray) -> float | None:
    """Area under the precision-recall curve, as a sum over its steps (no interpolation); None without any yes.

    At each distinct probability, from the largest down: the gain in recall times the precision there.
    """
    yes = int(truth.sum())
    if not yes:
        return None
    values, place = np.unique(-probability, return_inverse=True)
    found = np.cumsum(np.bincount(place, weights=truth, minlength=len(values)))
    named = np.cumsum(np.bincount(place, minlength=len(values)))
    return float((np.diff(found, prepend=0.0) / yes * (found / named)).sum())
