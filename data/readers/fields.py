"""Numbers out of annotation files, checked: ValueError names the field, readers add the file and the frame."""

from __future__ import annotations

import numpy as np


def array_of(values: object, shape: tuple[int, ...], name: str) -> np.ndarray:
    """The field called `name` as finite float64 of that shape; axes of length one (OpenCV's columns) do not count."""
    if values is None:
        raise ValueError(f"{name} is missing")
    try:
        given = np.asarray(values)
        array = given.astype(np.float64) if given.dtype.kind in "iuf" else None
    except (TypeError, ValueError, OverflowError):
        array = None
    if array is None:  # text and complex numbers would be converted without a word
        raise ValueError(f"{name} is not numbers of shape {shape}")
    if [n for n in array.shape if n != 1] != [n for n in shape if n != 1]:
        raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} is not finite")
    return array.reshape(shape)


def check_intrinsics(matrix: np.ndarray, name: str) -> np.ndarray:
    """The camera matrix (3, 3) as it is; ValueError when it is no pinhole camera's."""
    if matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise ValueError(f"{name} has focal lengths {matrix[0, 0]:g}, {matrix[1, 1]:g}, expected positive")
    if not np.allclose(matrix[2], (0.0, 0.0, 1.0)):
        raise ValueError(f"{name} has the last row {matrix[2].tolist()}, expected 0, 0, 1")
    return matrix
