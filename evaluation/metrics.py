"""Errors of reconstructed hands, one value per frame (or per frame and point), in metres, radians or fractions.

All functions are batched: points are (N, K, 3) m. Nothing is aligned unless the name says so. Sums and alignments run
in float64, whatever comes in. Reports turn metres into millimetres; this module never does.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ..cores import granted_cores
from ..errors import InputError
from ..jit import njit

Array = NDArray[np.float64]

AUC_MAXIMUM = 0.05  # m, the field's PCK range
AUC_STEPS = 100
PCK_THRESHOLDS = np.linspace(0.0, AUC_MAXIMUM, AUC_STEPS)  # m
F_CURVE = tuple(k / 1000 for k in range(1, 16))  # m: the field reports 5 and 15 mm; the others cost little more


def point_errors(predicted: NDArray, truth: NDArray) -> Array:
    """Distance of every point to its true position: (N, K, 3) m, (N, K, 3) m -> (N, K) m."""
    predicted, truth = check_pair(predicted, truth)
    return np.linalg.norm(predicted - truth, axis=-1)


def check_pair(predicted: NDArray, truth: NDArray) -> tuple[Array, Array]:
    """Return both as float64; InputError where their shapes differ or a prediction is not finite."""
    predicted, truth = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    if predicted.shape != truth.shape:
        raise InputError(f"predictions: expected shape {truth.shape} like the ground truth, found {predicted.shape}")
    if not np.isfinite(predicted).all():
        frame = int(np.argwhere(~np.isfinite(predicted))[0, 0])
        raise InputError(f"predictions: frame {frame} holds NaN or infinity; the network's output is broken there")
    return predicted, truth


def similarity_aligned(predicted: NDArray, truth: NDArray, *, reflection: bool = True) -> Array:
    """Predictions moved onto the truth by the best similarity transform of each frame: (N, K, 3) m -> (N, K, 3) m.

    `reflection=True` is the field's usual alignment (FreiHAND, HO3D, H2ONet), which a mirrored hand passes with zero
    error; `reflection=False` allows proper rotations only. Orthogonal Procrustes with scale, Schoenemann 1966 and
    Umeyama 1991.
    """
    predicted, truth = check_pair(predicted, truth)
    predicted_mean, truth_mean = predicted.mean(1, keepdims=True), truth.mean(1, keepdims=True)
    p, t = predicted - predicted_mean, truth - truth_mean
    # The official scripts add the same 1e-8 to both norms.
    p_norm = np.linalg.norm(p, axis=(1, 2), keepdims=True) + 1e-8
    t_norm = np.linalg.norm(t, axis=(1, 2), keepdims=True) + 1e-8
    u, s, vt = np.linalg.svd(np.swapaxes(t / t_norm, 1, 2) @ (p / p_norm))
    if not reflection:
        sign = np.sign(np.linalg.det(u @ vt))
        u[:, :, 2] *= sign[:, None]
        s[:, 2] *= sign
    rotation, scale = u @ vt, s.sum(1)[:, None, None]
    return (p / p_norm) @ np.swapaxes(rotation, 1, 2) * scale * t_norm + truth_mean


def scale_translation_aligned(predicted: NDArray, truth: NDArray, *, root: int = 0, reference: int = 9) -> Array:
    """Predictions scaled so that |reference - root| is true and moved so that the root is: (N, K, 3) m -> (N, K, 3) m.

    The default reference is the middle finger's first joint in the project's order; in HO3D's own order it is joint 4.
    Source: HO3D's evaluation script.
    """
    predicted, truth = check_pair(predicted, truth)
    length = np.linalg.norm(predicted[:, reference] - predicted[:, root], axis=-1)[:, None, None]
    true_length = np.linalg.norm(truth[:, reference] - truth[:, root], axis=-1)[:, None, None]
    scaled = predicted / np.where(length > 0, length, 1.0) * true_length
    return scaled - scaled[:, root : root + 1] + truth[:, root : root + 1]


def pck_curve(errors: NDArray) -> tuple[Array, Array]:
    """Thresholds (100,) m and the share of points within each, over all points: errors (N, K) m."""
    ordered = np.sort(np.asarray(errors, np.float64), axis=None)
    return PCK_THRESHOLDS, np.searchsorted(ordered, PCK_THRESHOLDS, side="right") / max(ordered.size, 1)


def pck_counts(errors: NDArray) -> NDArray[np.uint16]:
    """How many points of every frame lie within each of the 100 thresholds of `pck_curve`: (N, K) m -> (N, 100) uint16.

    Enough to compute the curve and the AUC exactly without keeping all K errors.
    """
    ordered = np.sort(np.asarray(errors, np.float64), axis=1)
    counts = np.empty((len(ordered), AUC_STEPS), np.uint16)
    for n, frame in enumerate(ordered):
        counts[n] = np.searchsorted(frame, PCK_THRESHOLDS, side="right")
    return counts


def pck_curve_of_counts(counts: NDArray, points: int) -> tuple[Array, Array]:
    """`pck_curve` of frames with `points` points each, from their `pck_counts` (N, 100)."""
    return PCK_THRESHOLDS, np.asarray(counts, np.float64).sum(0) / max(len(counts) * points, 1)


def auc(errors: NDArray) -> float:
    """Area under the PCK curve, normalised to 1: errors (N, K) m; every point has N errors, so pooling is exact."""
    return _area(*pck_curve(errors))


def auc_of_counts(counts: NDArray, points: int) -> float:
    """`auc` of frames with `points` points each, from their `pck_counts` (N, 100)."""
    return _area(*pck_curve_of_counts(counts, points))


def _area(thresholds: Array, share: Array) -> float:
    return float(np.trapezoid(share, thresholds) / AUC_MAXIMUM)


def f_scores(predicted: NDArray, truth: NDArray, thresholds: tuple[float, ...] = (0.005, 0.015)) -> Array:
    """F-score of every frame at each threshold: (N, V, 3) m twice -> (N, len(thresholds)).

    Harmonic mean of the shares of predicted and of true vertices whose nearest neighbour is strictly closer than the
    threshold (Knapitsch et al. 2017, as HO3D scores it).
    """
    predicted, truth = check_pair(predicted, truth)
    limits = np.sort(np.asarray(thresholds, np.float64))
    threads = granted_cores()
    pieces = np.array_split(np.arange(len(truth)), max(1, min(threads, len(truth) // 16)))
    with ThreadPoolExecutor(len(pieces)) as pool:
        counts = list(pool.map(lambda rows: _near_counts(predicted[rows], truth[rows], limits), pieces))
    precision, recall = np.moveaxis(np.concatenate(counts) / predicted.shape[1], 2, 0)
    both = precision + recall
    scores = np.where(both > 0, 2 * precision * recall / np.where(both > 0, both, 1.0), 0.0)
    return scores[:, np.argsort(np.argsort(thresholds))]


@njit(nogil=True)
def _near_counts(predicted: Array, truth: Array, limits: Array) -> Array:
    """How many predicted points have a true one closer than each limit, and the other way round: (N, limits, 2).

    Points can be close enough only where they differ by less than the largest limit along the hand's longest axis (x, y
    or z), so both sets are walked in order of that coordinate.
    """
    frames, points, reach = predicted.shape[0], predicted.shape[1], limits[-1]
    counts = np.zeros((frames, len(limits), 2))
    for n in range(frames):
        axis, extent = 0, -1.0
        for k in range(3):
            found = truth[n, :, k].max() - truth[n, :, k].min()
            if found > extent:
                axis, extent = k, found
        a = predicted[n][np.argsort(predicted[n, :, axis])]
        b = truth[n][np.argsort(truth[n, :, axis])]
        x, y, z = b[:, 0].copy(), b[:, 1].copy(), b[:, 2].copy()
        order = b[:, axis].copy()
        nearest_b = np.full(points, np.inf)
        first, last = 0, 0
        for i in range(points):
            px, py, pz, place = a[i, 0], a[i, 1], a[i, 2], a[i, axis]
            while first < points and order[first] <= place - reach:
                first += 1
            last = max(last, first)
            while last < points and order[last] < place + reach:
                last += 1
            nearest = np.inf
            for j in range(first, last):
                d = (px - x[j]) ** 2 + (py - y[j]) ** 2 + (pz - z[j]) ** 2
                nearest = d if d < nearest else nearest
                nearest_b[j] = d if d < nearest_b[j] else nearest_b[j]
            for k in range(len(limits)):
                counts[n, k, 0] += np.sqrt(nearest) < limits[k]
        for j in range(points):
            for k in range(len(limits)):
                counts[n, k, 1] += np.sqrt(nearest_b[j]) < limits[k]
    return counts


def rotation_error(predicted: NDArray, truth: NDArray) -> Array:
    """Angle between rotations: (N, 3, 3) twice -> (N,) rad."""
    predicted, truth = check_pair(predicted, truth)
    trace = np.einsum("nij,nij->n", predicted, truth)
    skew = np.swapaxes(predicted, 1, 2) @ truth
    axis = np.stack([skew[:, 2, 1] - skew[:, 1, 2], skew[:, 0, 2] - skew[:, 2, 0], skew[:, 1, 0] - skew[:, 0, 1]], 1)
    return np.arctan2(np.linalg.norm(axis, axis=1), trace - 1.0)


def acceleration_error(predicted: NDArray, truth: NDArray) -> Array:
    """Difference of second differences along one sequence: (F, K, 3) m twice -> (F - 2, K) m per frame squared."""
    predicted, truth = check_pair(predicted, truth)
    return np.linalg.norm(np.diff(predicted, 2, axis=0) - np.diff(truth, 2, axis=0), axis=-1)


def jitter(predicted: NDArray) -> Array:
    """Length of the third difference along one sequence: (F, K, 3) m -> (F - 3, K) m per frame cubed."""
    return np.linalg.norm(np.diff(np.asarray(predicted, np.float64), 3, axis=0), axis=-1)
