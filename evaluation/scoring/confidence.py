"""How sure a mean over frames is: bootstrap over recordings, because frames of one recording are much alike.

Camera sequences of one recording show the same motion, so whole recordings (DexYCB: subject and sequence; HO3D: the
name without its camera digit) are drawn with replacement.
"""

import numpy as np
from numpy.typing import NDArray

from ...data.frame import recording_of

DRAWS = 2000


def recordings(keys: NDArray, dataset: str) -> NDArray:
    """The recording of every camera sequence key: "S/R/camera" -> "S/R", "ABF10" -> "ABF1"."""
    return np.array([recording_of(key, dataset) for key in keys.tolist()])


def sum_clusters(values: NDArray, clusters: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and count of the known values (N,) of every cluster that has some: (C,), (C,)."""
    known = np.isfinite(values)
    _, place = np.unique(clusters[known], return_inverse=True)
    sums = np.bincount(place, weights=np.asarray(values, np.float64)[known])
    return sums.astype(np.float64), np.bincount(place).astype(np.float64)


def bootstrap_interval(
    values: NDArray, clusters: NDArray, *, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float] | None:
    """Percentile interval of the mean of values (N,) when whole clusters are drawn; None with fewer than 2 clusters."""
    sums, counts = sum_clusters(values, clusters)
    if len(counts) < 2:
        return None
    # scipy.stats.bootstrap gives the same bounds (a test compares them), but its import costs 0.8 s and 30 MB.
    chosen = np.random.default_rng(seed).integers(0, len(counts), (draws, len(counts)))
    means = sums[chosen].sum(1) / counts[chosen].sum(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def sign_flip_p(differences: NDArray, clusters: NDArray, *, draws: int = 10_000, seed: int = 0) -> float | None:
    """Two-sided p-value that a mean paired difference (N,) is chance: each cluster's sign flipped at random.

    All sign patterns are tried where there are at most 2^13 of them. None with fewer than 2 clusters.
    """
    sums, counts = sum_clusters(differences, clusters)
    known = len(counts)
    if known < 2:
        return None
    # By hand, because scipy.stats.permutation_test is 5 times slower at 100 clusters.
    if known <= 13:
        signs = 1.0 - 2.0 * ((np.arange(2**known)[:, None] >> np.arange(known)) & 1)
        extra = 0
    else:
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], (draws, known))
        extra = 1  # the observed pattern counts as one of the draws
    observed = abs(sums.sum())
    reached = int((np.abs(signs @ sums) >= observed * (1 - 1e-12)).sum())
    return (reached + extra) / (len(signs) + extra)
