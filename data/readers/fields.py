"""Numbers out of annotation files, checked: ValueError names the field, readers add the file and the frame."""

from __future__ import annotations

import numpy as np


def array_of(values: object, shape: tuple[int, ...], name: str) -> np.ndarray:
    """The field called `name` as finite float64 of that shape; axes of length one (OpenCV's columns) do not count."""
    if values is None:
        raise ValueError(f"{name} is missing")
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is not numbers of shape {shape}") from None
    if [n for n in array.shape if n != 1] != [n for n in shape if n != 1]:
        raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} is not finite")
    return array.reshape(shape)


def check_intrinsics(matrix: np.ndarray, name: str) -> np.ndarray:
    """The camera matrix (3, 3) as it is; ValueError when a focal length is not positive."""
    if matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise ValueError(f"{name} has focal lengths {matrix[0, 0]:g}, {matrix[1, 1]:g}, expected positive")
    return matrix
