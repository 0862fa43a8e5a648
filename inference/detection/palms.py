"""From the palm detector's numbers to palms: anchors, boxes with seven points, and one palm where many are reported.

Boxes and points are in units of the square that the network saw. Layout and numbers are those of MediaPipe Hands'
published graphs: a single-shot detector (Liu et al., ECCV 2016) with anchors of one size.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

SIDE = 192  # px of the network's input
GRIDS = ((24, 2), (12, 6))  # cells along a side, and anchors in each: strides of 8 px once, of 16 px three times
POINTS = 7
LEAST_SCORE = 0.5
SAME_PALM = 0.3  # intersection over union from which two boxes are of one palm
_LARGEST_LOGIT = 100.0


@dataclass(frozen=True)
class Palms:
    """Palms, the surest first: boxes (N, 4) x0, y0, x1, y1, points (N, 7, 2), scores (N,)."""

    boxes: NDArray[np.float64]
    points: NDArray[np.float64]
    scores: NDArray[np.float64]


@cache
def anchors() -> NDArray[np.float64]:
    """The centres (2016, 2) that boxes and points are measured from, row by row, grid by grid."""
    grids = []
    for cells, each in GRIDS:
        middles = (np.arange(cells) + 0.5) / cells
        y, x = np.meshgrid(middles, middles, indexing="ij")
        grids.append(np.repeat(np.stack([x.ravel(), y.ravel()], 1), each, axis=0))
    return np.concatenate(grids)


def decode(raw: NDArray, logits: NDArray, least: float = LEAST_SCORE) -> Palms:
    """Every report with at least this score: raw (2016, 18) px of the input (centre, size, points), logits (2016,)."""
    scores = 1.0 / (1.0 + np.exp(-np.clip(logits.astype(np.float64), -_LARGEST_LOGIT, _LARGEST_LOGIT)))
    kept = np.flatnonzero((scores >= least) & np.isfinite(raw).all(1))
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    values = raw[kept].astype(np.float64).reshape(len(kept), 2 + POINTS, 2) / SIDE
    values[:, [0, *range(2, 2 + POINTS)]] += anchors()[kept, None]
    centres, sizes = values[:, 0], values[:, 1]
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], 1)
    return Palms(boxes, values[:, 2:], scores[kept])


def merge(palms: Palms, overlap: float = SAME_PALM) -> Palms:
    """One palm per group of reports that overlap its surest: the mean weighted by score, with the surest's score."""
    left = np.argsort(-palms.scores, kind="stable")
    boxes, points, scores = [], [], []
    while len(left):
        first = left[0]
        same = box_overlap(palms.boxes[first], palms.boxes[left]) > overlap
        same[0] = True
        weights = palms.scores[left[same]] / palms.scores[left[same]].sum()
        boxes.append(weights @ palms.boxes[left[same]])
        points.append(np.einsum("n,nij->ij", weights, palms.points[left[same]]))
        scores.append(palms.scores[first])
        left = left[~same]
    count = len(scores)
    return Palms(
        np.array(boxes).reshape(count, 4), np.array(points).reshape(count, POINTS, 2), np.array(scores, np.float64)
    )


def box_overlap(box: NDArray, others: NDArray) -> NDArray[np.float64]:
    """Intersection over union of one box (4,) with others (N, 4); 0 where both are empty."""
    sides = np.clip(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0, None)
    shared = sides.prod(1)
    areas = np.clip(others[:, 2:] - others[:, :2], 0, None).prod(1) + np.clip(box[2:] - box[:2], 0, None).prod()
    return np.divide(shared, areas - shared, out=np.zeros(len(others)), where=areas > shared)
