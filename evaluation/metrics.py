"""Errors of reconstructed hands, one value per frame (or per frame and point), in metres, radians or fractions.

All functions are batched: points are (N, K, 3) in metres, truth first means nothing is aligned unless the name says so.
Sums and alignments run in float64, whatever comes in. Reports turn metres into millimetres; this module never does.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from ..hand.errors import InputError

Array = NDArray[np.float64]

AUC_MAXIMUM = 0.05  # m, the field's PCK range
AUC_STEPS = 100


def point_errors(predicted: NDArray, truth: NDArray) -> Array:
    """Distance of every point to its true position: (N, K, 3) m, (N, K, 3) m -> (N, K) m."""
    predicted, truth = paired(predicted, truth)
    return np.linalg.norm(predicted - truth, axis=-1)


def paired(predicted: NDArray, truth: NDArray) -> tuple[Array, Array]:
    """Both as float64; InputError where their shapes differ or a prediction is not finite."""
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
    predicted, truth = paired(predicted, truth)
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

    The default reference is the middle finger's first joint in A.6 order; in HO3D's own order it is joint 4.
    Source: HO3D's evaluation script.
    """
    predicted, truth = paired(predicted, truth)
    length = np.linalg.norm(predicted[:, reference] - predicted[:, root], axis=-1)[:, None, None]
    true_length = np.linalg.norm(truth[:, reference] - truth[:, root], axis=-1)[:, None, None]
    scaled = predicted / np.where(length > 0, length, 1.0) * true_length
    return scaled - scaled[:, root : root + 1] + truth[:, root : root + 1]


def pck_curve(errors: NDArray, maximum: float = AUC_MAXIMUM, steps: int = AUC_STEPS) -> tuple[Array, Array]:
    """Thresholds (steps,) m and the share of points within each, averaged over points: errors (N, K) m."""
    thresholds = np.linspace(0.0, maximum, steps)
    ordered = np.sort(np.asarray(errors, np.float64), axis=None)
    return thresholds, np.searchsorted(ordered, thresholds, side="right") / max(ordered.size, 1)


def auc(errors: NDArray, maximum: float = AUC_MAXIMUM, steps: int = AUC_STEPS) -> float:
    """Area under the PCK curve, normalised to 1: errors (N, K) m; every point has N errors, so pooling is exact."""
    thresholds, share = pck_curve(errors, maximum, steps)
    return float(np.trapezoid(share, thresholds) / maximum)


@numba.njit(cache=True, fastmath=False)
def _nearest(a: Array, b: Array) -> tuple[Array, Array]:
    """Squared distance from every point of a to b's nearest and from every point of b to a's nearest."""
    a_best = np.full(a.shape[0], np.inf)
    b_best = np.full(b.shape[0], np.inf)
    for i in range(a.shape[0]):
        best = np.inf
        for j in range(b.shape[0]):
            d = (a[i, 0] - b[j, 0]) ** 2 + (a[i, 1] - b[j, 1]) ** 2 + (a[i, 2] - b[j, 2]) ** 2
            best = min(best, d)
            b_best[j] = min(b_best[j], d)
        a_best[i] = best
    return a_best, b_best


def f_scores(predicted: NDArray, truth: NDArray, thresholds: tuple[float, ...] = (0.005, 0.015)) -> Array:
    """F-score of every frame at each threshold: (N, V, 3) m twice -> (N, len(thresholds)).

    Harmonic mean of the shares of predicted and of true vertices whose nearest neighbour is strictly closer than the
    threshold (Knapitsch et al. 2017, as HO3D scores it).
    """
    predicted, truth = paired(predicted, truth)
    scores = np.zeros((len(predicted), len(thresholds)))
    for n in range(len(predicted)):
        to_truth, to_predicted = _nearest(predicted[n], truth[n])
        for k, threshold in enumerate(thresholds):
            precision = np.mean(to_truth < threshold**2)
            recall = np.mean(to_predicted < threshold**2)
            scores[n, k] = 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0
    return scores


def rotation_error(predicted: NDArray, truth: NDArray) -> Array:
    """Angle between rotations: (N, 3, 3) twice -> (N,) rad."""
    predicted, truth = paired(predicted, truth)
    trace = np.einsum("nij,nij->n", predicted, truth)
    skew = np.swapaxes(predicted, 1, 2) @ truth
    axis = np.stack([skew[:, 2, 1] - skew[:, 1, 2], skew[:, 0, 2] - skew[:, 2, 0], skew[:, 1, 0] - skew[:, 0, 1]], 1)
    return np.arctan2(np.linalg.norm(axis, axis=1), trace - 1.0)


def acceleration_error(predicted: NDArray, truth: NDArray) -> Array:
    """Difference of second differences along one sequence: (F, K, 3) m twice -> (F - 2, K) m per frame squared."""
    predicted, truth = paired(predicted, truth)
    return np.linalg.norm(np.diff(predicted, 2, axis=0) - np.diff(truth, 2, axis=0), axis=-1)


def jitter(predicted: NDArray) -> Array:
    """Length of the third difference along one sequence: (F, K, 3) m -> (F - 3, K) m per frame cubed."""
    return np.linalg.norm(np.diff(np.asarray(predicted, np.float64), 3, axis=0), axis=-1)
