"""How well hidden is told from visible: of the occlusion outputs, of each joint, of a finger's joints, of the hand.

A probability is always that of "hidden". Labels of outputs are those of clips (`occluded`: 1 hidden, 0 visible), labels
of joints `joint_visible` (1 seen, 0 not: hidden or outside the image); 255 is unknown and left out, as are
probabilities that are NaN. No units.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...hand.parts import FINGER_JOINTS, FINGERS, JOINT_NAMES, LABEL_OF_OUTPUT, OUTPUTS, UNKNOWN
from .ranking import average_precision, roc_auc

OCCLUSION_METRICS = (
    "occlusion_accuracy",
    "occlusion_macro_f1",
    "occlusion_majority_accuracy",
    "occlusion_roc_auc",
    "occlusion_pr_auc",
)
JOINT_METRICS = ("joint_visibility_roc_auc", "joint_visibility_map", "joint_visibility_macro_f1")
DRAWS = 1000
BINS = 128
"""Probabilities are counted in so many steps for intervals; scores themselves take them as they are."""

Row = dict[str, float | int | None]


def occlusion_metrics(probability: NDArray, occluded: NDArray[np.uint8]) -> dict[str, float | None]:
    """Means over the five fingers of the scores of probability (N, 6), occluded (N, 7); None without any of them."""
    rows = occlusion_rows(probability, occluded)
    fingers = [rows[finger] for finger in FINGERS if finger in rows]
    if not rows:
        return dict.fromkeys(OCCLUSION_METRICS)
    names = ("accuracy", "macro_f1", "majority_accuracy", "roc_auc", "pr_auc")
    return {metric: mean_of(fingers, name) for metric, name in zip(OCCLUSION_METRICS, names, strict=True)}


def joint_metrics(probability: NDArray, joint_visible: NDArray[np.uint8]) -> dict[str, float | None]:
    """Means over the 21 joints of the scores of probability, joint_visible (N, 21); None without any of them."""
    joints = list(joint_rows(probability, joint_visible).values())
    if not joints:
        return dict.fromkeys(JOINT_METRICS)
    names = ("roc_auc", "pr_auc", "macro_f1")
    return {metric: mean_of(joints, name) for metric, name in zip(JOINT_METRICS, names, strict=True)}


def mean_of(rows: list[Row], name: str) -> float | None:
    """Mean of one score over the rows that have it; None where none has."""
    known = [value for row in rows if (value := row[name]) is not None]
    return float(np.mean(known)) if known else None


def occlusion_rows(probability: NDArray, occluded: NDArray[np.uint8]) -> dict[str, Row]:
    """`binary_scores` of every occlusion output: probability (N, 6), occluded (N, 7)."""
    labels = occluded[:, list(LABEL_OF_OUTPUT)]
    return _rows(probability, labels, {name: [k] for k, name in enumerate(OUTPUTS)})


def joint_rows(probability: NDArray, joint_visible: NDArray[np.uint8]) -> dict[str, Row]:
    """`binary_scores` for "this joint is hidden" of every joint: (N, 21), (N, 21)."""
    return _rows(probability, hidden_labels(joint_visible), {name: [k] for k, name in enumerate(JOINT_NAMES)})


def joint_rows_together(probability: NDArray, joint_visible: NDArray[np.uint8]) -> dict[str, Row]:
    """The same with the joints of each finger, and with all joints of the hand, thrown together."""
    groups = {finger: list(joints) for finger, joints in zip(FINGERS, FINGER_JOINTS, strict=True)}
    return _rows(probability, hidden_labels(joint_visible), groups | {"all joints": list(range(len(JOINT_NAMES)))})


def hidden_labels(joint_visible: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Labels of joints turned about: 1 hidden, 0 seen, 255 unknown."""
    return np.where(joint_visible == UNKNOWN, UNKNOWN, 1 - joint_visible).astype(np.uint8)


def _rows(probability: NDArray, hidden: NDArray[np.uint8], groups: dict[str, list[int]]) -> dict[str, Row]:
    found = {}
    for name, columns in groups.items():
        values, label = probability[:, columns].ravel(), hidden[:, columns].ravel()
        known = (label != UNKNOWN) & np.isfinite(values)
        if known.any():
            found[name] = binary_scores(values[known], label[known] == 1)
    return found


def binary_scores(probability: NDArray, truth: NDArray) -> Row:
    """Scores of one yes/no output: probability (N,) of yes, truth (N,) bool. Macro F1 is over the classes that occur.

    Precision is None where yes is never predicted, recall where it is never true, F1 where both hold.
    """
    predicted = probability > 0.5

    def f1(yes: NDArray, true: NDArray) -> tuple[float, float, float]:
        hits = float((yes & true).sum())
        precision, recall = hits / max(yes.sum(), 1), hits / max(true.sum(), 1)
        return precision, recall, 2 * precision * recall / max(precision + recall, 1e-12)

    precision, recall, f1_hidden = f1(predicted, truth)
    present = [f1_hidden] * bool(truth.any()) + [f1(~predicted, ~truth)[2]] * bool((~truth).any())
    bins = np.minimum((probability * 10).astype(int), 9)
    gaps = [
        abs(probability[bins == b].mean() - truth[bins == b].mean()) * (bins == b).mean()
        for b in range(10)
        if (bins == b).any()
    ]
    return {
        "frames": len(truth),
        "occluded_share": float(truth.mean()),
        "accuracy": float((predicted == truth).mean()),
        "majority_accuracy": float(max(truth.mean(), 1 - truth.mean())),
        "precision": float(precision) if predicted.any() else None,
        "recall": float(recall) if truth.any() else None,
        "f1": float(f1_hidden) if predicted.any() or truth.any() else None,
        "macro_f1": float(np.mean(present)),
        "roc_auc": roc_auc(probability, truth),
        "pr_auc": average_precision(probability, truth),
        "brier": float(np.mean((probability - truth) ** 2)),
        "calibration_error": float(np.sum(gaps)),
    }


def reliability(probability: NDArray, label: NDArray[np.uint8], bins: int = 10) -> list[tuple[float, float, int]]:
    """Calibration of probabilities and labels of one shape: (mean probability, share hidden, count) per filled bin."""
    known = (label != UNKNOWN) & np.isfinite(probability)
    probability, hidden = probability[known], label[known] == 1
    place = np.minimum((probability * bins).astype(int), bins - 1)
    return [
        (float(probability[place == b].mean()), float(hidden[place == b].mean()), int((place == b).sum()))
        for b in range(bins)
        if (place == b).any()
    ]


Interval = dict[str, float]


def occlusion_intervals(probability: NDArray, occluded: NDArray[np.uint8], recording: NDArray) -> dict[str, Interval]:
    """95 % intervals over recordings (N,) of macro F1 and both areas of `occlusion_metrics`: name -> low, high."""
    fingers = list(range(len(FINGERS)))
    labels = occluded[:, [LABEL_OF_OUTPUT[k] for k in fingers]]
    named = {"occlusion_macro_f1": macro_f1_of, "occlusion_roc_auc": roc_of, "occlusion_pr_auc": precision_recall_of}
    return _intervals(probability[:, fingers], labels, recording, named)


def joint_intervals(probability: NDArray, joint_visible: NDArray[np.uint8], recording: NDArray) -> dict[str, Interval]:
    """95 % intervals over recordings (N,) of `joint_metrics`: name -> low, high."""
    scores = (roc_of, precision_recall_of, macro_f1_of)
    return _intervals(
        probability, hidden_labels(joint_visible), recording, dict(zip(JOINT_METRICS, scores, strict=True))
    )


Score = Callable[[NDArray[np.float64], NDArray[np.float64], int], NDArray[np.float64]]


def _intervals(
    probability: NDArray, hidden: NDArray[np.uint8], recording: NDArray, named: dict[str, Score]
) -> dict[str, Interval]:
    """Percentile intervals of scores' means over columns (N, K) when whole recordings are drawn; empty below two.

    A draw only weighs the recordings' counts of hidden and visible frames in steps of the probability, so that no
    frame is looked at again. Columns in which a draw has one class only do not count in it, as in the score itself.
    """
    names, place = np.unique(recording, return_inverse=True)
    if len(names) < 2:
        return {}
    drawn = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), DRAWS)
    found: dict[str, list[NDArray]] = {name: [] for name in named}
    for k in range(probability.shape[1]):
        known = (hidden[:, k] != UNKNOWN) & np.isfinite(probability[:, k])
        if not known.any():
            continue
        step, half = _steps(probability[known, k])
        cell, shape = (place[known] * (BINS + 1) + step), (len(names), BINS + 1)
        there = [np.bincount(cell[hidden[known, k] == label], minlength=shape[0] * shape[1]) for label in (1, 0)]
        yes, no = (np.asarray(drawn @ counts.reshape(shape), np.float64) for counts in there)
        for name, score in named.items():
            found[name].append(score(yes, no, half))
    intervals = {}
    for name, columns in found.items():
        values = np.array(columns).reshape(-1, DRAWS)
        values = values[:, np.isfinite(values).any(0)]
        if values.size:
            low, high = np.quantile(np.nanmean(values, 0), [0.025, 0.975])
            intervals[name] = {"low": float(low), "high": float(high)}
    return intervals


def _steps(probability: NDArray) -> tuple[NDArray[np.int64], int]:
    """Each probability's step, from the smallest, and the first step above one half, which no step spans."""
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, BINS)[1:-1]))
    edges = np.unique([*edges, 0.5])
    return np.searchsorted(edges, probability, side="left"), int(np.searchsorted(edges, 0.5)) + 1


def roc_of(yes: NDArray[np.float64], no: NDArray[np.float64], _: int) -> NDArray[np.float64]:
    """Areas under the ROC (D,) of counts (D, steps) of yes and no, from the smallest probability; NaN without both."""
    below = np.cumsum(no, 1) - no
    pairs = yes.sum(1) * no.sum(1)
    return _divide((yes * (below + no / 2)).sum(1), pairs)


def precision_recall_of(yes: NDArray[np.float64], no: NDArray[np.float64], _: int) -> NDArray[np.float64]:
    """Areas under the precision-recall curve (D,) of counts as for `roc_of`; NaN without any yes."""
    found = np.cumsum(yes[:, ::-1], 1)
    named = found + np.cumsum(no[:, ::-1], 1)
    return _divide((yes[:, ::-1] * found / np.maximum(named, 1)).sum(1), yes.sum(1))


def macro_f1_of(yes: NDArray[np.float64], no: NDArray[np.float64], half: int) -> NDArray[np.float64]:
    """F1 (D,) averaged over the classes that occur, of counts as for `roc_of`; steps from `half` on are called yes."""
    hits, misses = yes[:, half:].sum(1), yes[:, :half].sum(1)
    alarms, passes = no[:, half:].sum(1), no[:, :half].sum(1)
    present = np.stack([hits + misses, alarms + passes]) > 0
    both = np.stack([_divide(2 * hits, 2 * hits + misses + alarms), _divide(2 * passes, 2 * passes + misses + alarms)])
    return _divide(np.where(present, np.nan_to_num(both), 0).sum(0), present.sum(0))


def _divide(a: NDArray, b: NDArray) -> NDArray[np.float64]:
    """a / b, NaN where b is 0."""
    return np.where(b > 0, a / np.maximum(b, 1e-300), np.nan)
