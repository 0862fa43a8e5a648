"""Statistics as LeRobot keeps them, per episode and for all: min, max, mean, std, count and five quantiles.

Unknown numbers (NaN, or codes that are known to be none) do not count; a number that no frame knows has zeros, since
JSON knows no NaN.
"""

from __future__ import annotations

import numpy as np

Stats = dict[str, list]
QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
_COLUMNS = 8  # sorted at once: all frames of a dataset are


def number_stats(values: np.ndarray, unknown: int | None = None) -> Stats:
    """Of values (N, K), one list of K numbers each; `unknown` is the code of an unknown one, beside NaN."""
    found: dict[str, list] = {name: [] for name in ("min", "max", "mean", "std", *QUANTILES)}
    for start in range(0, values.shape[1], _COLUMNS):
        part = values[:, start : start + _COLUMNS].astype(np.float64)
        if unknown is not None:
            part[part == unknown] = np.nan
        for name, numbers in _of(np.sort(part, axis=0)).items():
            found[name] += numbers.tolist()
    return {**found, "count": [len(values)]}


def _of(ascending: np.ndarray) -> dict[str, np.ndarray]:
    """Of columns in ascending order, NaN last."""
    known = ~np.isnan(ascending)
    count = known.sum(axis=0)
    some = np.maximum(count, 1)
    filled = np.where(known, ascending, 0.0)
    columns = np.arange(filled.shape[1])
    mean = filled.sum(axis=0) / some
    spread = np.where(known, filled - mean, 0.0)
    found = {
        "min": filled[0],
        "max": filled[some - 1, columns],
        "mean": mean,
        "std": np.sqrt((spread**2).sum(axis=0) / some),
    }
    for name, share in QUANTILES.items():
        place = share * (some - 1)
        below = np.floor(place).astype(np.int64)
        above = np.minimum(below + 1, some - 1)
        low, high = filled[below, columns], filled[above, columns]
        found[name] = low + (place - below) * (high - low)
    return found


def count_values(picture: np.ndarray) -> np.ndarray:
    """How often each of the 256 values stands in each channel of a picture (H, W, C) uint8: (C, 256) int64."""
    return np.stack([np.bincount(channel.ravel(), minlength=256) for channel in np.moveaxis(picture, -1, 0)])


def picture_stats(counts: np.ndarray, frames: int) -> Stats:
    """Of the summed `count_values` (C, 256) of `frames` pictures, as shares of 255 in lists of shape (C, 1, 1)."""
    levels, total = np.arange(256) / 255, counts.sum(axis=1)
    mean = counts @ levels / total
    reached = np.cumsum(counts, axis=1)
    found = {
        "min": levels[(counts > 0).argmax(axis=1)],
        "max": levels[255 - (counts[:, ::-1] > 0).argmax(axis=1)],
        "mean": mean,
        "std": np.sqrt(np.maximum(counts @ levels**2 / total - mean**2, 0.0)),
    }
    found |= {name: levels[(reached >= share * total[:, None]).argmax(axis=1)] for name, share in QUANTILES.items()}
    return {**{name: values.reshape(-1, 1, 1).tolist() for name, values in found.items()}, "count": [frames]}
