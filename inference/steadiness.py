"""How steady a followed hand is: its jitter, and how far one track lags behind another.

Positions are (frames, points, k), in metres or pixels; a run has no gap between its frames.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

MOST_LAG = 3
"""Frames: lags are looked for up to this many, either way."""


def jitter(runs: Iterable[NDArray]) -> float | None:
    """Root mean square of the second difference of every point over time, in units of the positions per frame^2.

    Times the square of the frame rate it is an acceleration. The hand's own motion counts too: a steady hand that moves
    has some. None where no run has three frames.
    """
    squares = [np.square(np.diff(run, 2, axis=0)).sum(-1).ravel() for run in runs if len(run) > 2]
    return float(np.sqrt(np.concatenate(squares).mean())) if squares else None


def lag(runs: Iterable[tuple[NDArray, NDArray]]) -> float | None:
    """By how many frames the first of each pair of tracks comes after the second: where they differ least.

    The sum of squared distances over whole frames of shift, between them the lowest point of a parabola. Beyond
    `MOST_LAG` that is what is returned. None where no pair is long enough, or nothing moves.
    """
    shifts = range(-MOST_LAG, MOST_LAG + 1)
    sums = np.zeros(len(shifts))
    for late, early in runs:
        inner = late[MOST_LAG : len(late) - MOST_LAG]
        for place, shift in enumerate(shifts if len(inner) else ()):
            start = MOST_LAG - shift
            sums[place] += np.square(inner - early[start : start + len(inner)]).sum()
    if np.ptp(sums) <= 1e-9 * sums.max():
        return None
    lowest = int(np.argmin(sums))
    if lowest in (0, len(sums) - 1):
        return float(shifts[lowest])
    before, at, after = sums[lowest - 1 : lowest + 2]
    return float(shifts[lowest] + (before - after) / (2 * (before - 2 * at + after)))
