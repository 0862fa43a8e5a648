"""Smoothing without lag: at every frame the parabola that fits the frames round it best.

Savitzky and Golay (1964), with the weights of Cleveland (1979): near frames count most. Motion at a steady speed or
acceleration stays as it is, and time may run either way. Nothing else is remembered: what is more than `REACH` frames
away does not matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

REACH = 3
"""Frames that are looked at on either side."""


def local_points(points: NDArray, frames: Sequence[int]) -> NDArray[np.float64]:
    """Points (N, ..., k) of frames with these rising numbers, smoothed."""
    return np.stack([np.tensordot(weights, points[near], 1) for near, weights in _windows(frames)])


def local_turns(turns: Rotation, frames: Sequence[int]) -> list[Rotation]:
    """N rotations of frames with these rising numbers, smoothed on the sphere: as turns from each one to those near it.

    These are short, so that no axis flips where the rotations themselves come near a half turn.
    """
    return [
        Rotation.from_rotvec(weights @ (turns[near] * turns[at].inv()).as_rotvec()) * turns[at]
        for at, (near, weights) in enumerate(_windows(frames))
    ]


def _windows(frames: Sequence[int]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """For every frame the places of those near it, and what each counts."""
    numbers = np.asarray(frames)
    for number in numbers:
        first, last = np.searchsorted(numbers, [number - REACH, number + REACH + 1])
        away = (numbers[first:last] - number) / (REACH + 1)
        root = np.sqrt((1 - np.abs(away) ** 3) ** 3)
        powers = root[:, None] * away[:, None] ** np.arange(3)
        yield slice(first, last), np.linalg.pinv(powers)[0] * root
