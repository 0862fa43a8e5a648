"""Moving meshes as few shapes that are blended: how many it takes to be nowhere further off than a bound.

A hand's mesh moves with some tens of degrees of freedom, whatever the number of frames: principal components, found
from the smaller of the two Gram matrices. Any unit; arrays are (frames, numbers).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

_ROWS = 512  # frames that are computed in float64 at a time
_EMPTY = 1e-12  # of the largest eigenvalue: rounding


@dataclass(frozen=True)
class Blend:
    """mean (D,), shapes (K, D) and weights (N, K), float32: a frame is mean + weights @ shapes.

    error: the largest distance between a vertex and its place in any frame, of these float32 numbers.
    """

    mean: NDArray[np.float32]
    shapes: NDArray[np.float32]
    weights: NDArray[np.float32]
    error: float


def find_blend(frames: NDArray[np.float32], bound: float, most: int) -> Blend:
    """The fewest shapes that leave no vertex of frames (N, 3V) further off than `bound`, but at most `most`.

    Weights are scaled so that the largest of every shape is 1.
    """
    mean = frames.mean(0, dtype=np.float64).astype(np.float32)
    components = _components(frames, mean, most)
    weights = np.concatenate([part @ components.T for part in _centred(frames, mean)])
    largest = np.abs(weights).max(0)
    components, weights = components * largest[:, None], weights / largest
    whole = Blend(mean, components.astype(np.float32), weights.astype(np.float32), 0.0)
    low, high = 0, len(components)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _error(frames, whole, middle) <= bound else (middle + 1, high)
    return Blend(mean, whole.shapes[:low], np.ascontiguousarray(whole.weights[:, :low]), _error(frames, whole, low))


def _centred(frames: NDArray[np.float32], mean: NDArray[np.float32]) -> Iterator[NDArray[np.float64]]:
    for start in range(0, len(frames), _ROWS):
        yield frames[start : start + _ROWS].astype(np.float64) - mean


def _components(frames: NDArray[np.float32], mean: NDArray[np.float32], most: int) -> NDArray[np.float64]:
    """The first principal components (K, D), orthonormal; none that is mere rounding."""
    count, numbers = frames.shape
    if count < numbers:
        centred = np.concatenate(list(_centred(frames, mean)))
        gram = centred @ centred.T
    else:
        centred, gram = None, np.zeros((numbers, numbers))
        for part in _centred(frames, mean):
            gram += part.T @ part
    size = len(gram)
    values, vectors = eigh(gram, subset_by_index=(max(size - most, 0), size - 1))
    kept = values > max(values[-1], 0.0) * _EMPTY
    found = vectors[:, kept][:, ::-1].T
    if centred is None:
        return found
    return found @ centred / np.sqrt(values[kept][::-1, None])


def _error(frames: NDArray[np.float32], blend: Blend, shapes: int) -> float:
    """The largest distance of a vertex with the first few shapes."""
    largest, start = 0.0, 0
    kept = blend.shapes[:shapes].astype(np.float64)
    for part in _centred(frames, blend.mean):
        off = part - blend.weights[start : start + len(part), :shapes].astype(np.float64) @ kept
        largest = max(largest, float((off.reshape(len(part), -1, 3) ** 2).sum(2).max()))
        start += len(part)
    return largest**0.5
