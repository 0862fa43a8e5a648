"""What a score per frame cannot show: smoothness along a sequence, and how long fingers have been hidden or visible.

Rows of a clip store lie sequence by sequence with increasing frame numbers. Metres per frame squared and cubed (both
datasets run at 30 frames per second); joints are relative to the wrist, because the network does not estimate where the
hand is.
"""

import numpy as np
from numpy.typing import NDArray

from .. import metrics

HIDDEN, VISIBLE = 1, 0
NEVER = -1


def split_runs(sequence: NDArray, number: NDArray, known: NDArray) -> list[NDArray[np.int64]]:
    """Positions of unbroken runs: same sequence, frame numbers one apart, all `known`: (N,) each -> list of (F,)."""
    order = np.lexsort((number, sequence))
    order = order[known[order]]
    if not len(order):
        return []
    same = (sequence[order][1:] == sequence[order][:-1]) & (np.diff(number[order]) == 1)
    return np.split(order, np.flatnonzero(~same) + 1)


def smoothness(
    predicted: NDArray, truth: NDArray, sequence: NDArray, number: NDArray
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Per frame: acceleration error, jitter of the prediction, jitter of the truth (N,) each; NaN where undefined.

    predicted, truth (N, 21, 3) m, truth NaN where unknown. The acceleration error is the length of the difference of
    second differences, given to the middle frame of three; jitter the length of the third difference, given to the
    third of four. Means over joints.
    """
    acceleration, jitter, true_jitter = (np.full(len(predicted), np.nan) for _ in range(3))
    for rows in split_runs(sequence, number, np.asarray(np.isfinite(truth).all((1, 2)))):
        if len(rows) >= 3:
            acceleration[rows[1:-1]] = metrics.acceleration_error(predicted[rows], truth[rows]).mean(1)
        if len(rows) >= 4:
            jitter[rows[2:-1]] = metrics.jitter(predicted[rows]).mean(1)
            true_jitter[rows[2:-1]] = metrics.jitter(truth[rows]).mean(1)
    return acceleration, jitter, true_jitter


def frames_since_change(occluded: NDArray, sequence: NDArray, number: NDArray) -> NDArray[np.int64]:
    """Frames since every finger last had the other label: (N, 5) labels -> (N, 5), `NEVER` where it never had it.

    A visible finger gets the frames since it was last hidden (1 = it was hidden one frame ago), a hidden one those
    since it was last visible. Counting starts anew after unknown labels (255) and at new sequences.
    """
    since = np.full(occluded.shape, NEVER, np.int64)
    order = np.lexsort((number, sequence))
    last_seen = np.full((2, occluded.shape[1]), np.nan)  # frame number of the last hidden, last visible label
    before = None
    for row in order:
        if sequence[row] != before:
            last_seen[:] = np.nan
            before = sequence[row]
        for finger, label in enumerate(occluded[row]):
            if label not in (HIDDEN, VISIBLE):
                last_seen[:, finger] = np.nan
                continue
            other = last_seen[1 - label, finger]
            if np.isfinite(other):
                since[row, finger] = number[row] - other
            last_seen[label, finger] = number[row]
    return since
