"""From per-frame scores to the numbers that are reported: metrics.json's flat table and breakdown.json's groups.

Lengths leave this module in millimetres (2D errors in pixels, angles in degrees), areas and fractions in [0, 1].
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..hand.parts import FINGERS
from . import metrics
from .scores import FrameScores

MM = 1000.0
UNKNOWN = 255
# Joints of thumb .. little in A.6 order, base to tip; 0 is the wrist.
FINGER_JOINTS = {finger: slice(1 + 4 * i, 5 + 4 * i) for i, finger in enumerate(FINGERS)}
# Occlusion outputs of the network beside the label columns they are trained on: five fingers, then global.
LABEL_COLUMNS = (0, 1, 2, 3, 4, 6)


def average(values: NDArray) -> float | None:
    """Mean of what is known, or None where nothing is."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    return float(known.mean()) if known.size else None


def in_mm(values: NDArray) -> float | None:
    """Mean of lengths in m, as millimetres."""
    mean = average(values)
    return None if mean is None else mean * MM


def area(errors: NDArray) -> float | None:
    """Area under the PCK curve (0 to 50 mm) of the frames that have a truth: errors (N, K) m."""
    known = errors[np.isfinite(errors).all(1)]
    return metrics.auc(known) if len(known) else None


def summarise(scores: FrameScores) -> dict[str, float | int | None]:
    """The flat table of metrics.json, in the field's terms; None where the clips hold no truth for a metric."""
    table: dict[str, float | int | None] = {
        "frames": len(scores),
        "frames_with_joints": int(np.isfinite(scores.joint_errors).all(1).sum()),
        "frames_with_mesh": int(np.isfinite(scores.vertex_errors).all(1).sum()),
        "mpjpe_mm": in_mm(scores.joint_errors),
        "pa_mpjpe_mm": in_mm(scores.joint_errors_pa),
        "mpvpe_mm": in_mm(scores.vertex_errors),
        "pa_mpvpe_mm": in_mm(scores.vertex_errors_pa),
        "joint_auc": area(scores.joint_errors),
        "pa_joint_auc": area(scores.joint_errors_pa),
        "vertex_auc": area(scores.vertex_errors),
        "pa_vertex_auc": area(scores.vertex_errors_pa),
        "f_5": average(scores.f_scores[:, 0]),
        "f_15": average(scores.f_scores[:, 1]),
        "pa_f_5": average(scores.f_scores_pa[:, 0]),
        "pa_f_15": average(scores.f_scores_pa[:, 1]),
        "proper_pa_mpjpe_mm": in_mm(scores.joint_errors_proper),
        "proper_pa_mpvpe_mm": in_mm(scores.vertex_errors_proper),
        "scale_translation_mpjpe_mm": in_mm(scores.joint_errors_st),
        "joints_2d_px": average(scores.joint_errors_2d),
    }
    rotation = average(scores.rotation_errors)
    table["orientation_deg"] = None if rotation is None else float(np.degrees(rotation))
    return table | occlusion_summary(scores)


def occlusion_summary(scores: FrameScores) -> dict[str, float | None]:
    """Accuracy over the five fingers and the mean of their two-class F1 scores; None for a single-frame network."""
    per_finger = occlusion_by_output(scores)
    if not per_finger:
        return {"occlusion_accuracy": None, "occlusion_macro_f1": None, "occlusion_majority_accuracy": None}
    fingers = [per_finger[finger] for finger in FINGERS if finger in per_finger]
    return {
        "occlusion_accuracy": average(np.array([f["accuracy"] for f in fingers])),
        "occlusion_macro_f1": average(np.array([f["macro_f1"] for f in fingers])),
        "occlusion_majority_accuracy": average(np.array([f["majority_accuracy"] for f in fingers])),
    }


def occlusion_by_output(scores: FrameScores) -> dict[str, dict[str, float]]:
    """Accuracy, precision, recall, F1 of class occluded, macro F1 and calibration error of every occlusion output."""
    found: dict[str, dict[str, float]] = {}
    for k, name in enumerate((*FINGERS, "global")):
        label = scores.occluded[:, LABEL_COLUMNS[k]]
        probability = scores.occluded_probability[:, k]
        known = (label != UNKNOWN) & np.isfinite(probability)
        if known.any():
            found[name] = binary_scores(probability[known], label[known] == 1)
    return found


def binary_scores(probability: NDArray, truth: NDArray) -> dict[str, float]:
    """Scores of one yes/no output: probability (N,) of yes, truth (N,) bool. Macro F1: over classes that occur."""
    said = probability > 0.5

    def f1(yes: NDArray, true: NDArray) -> tuple[float, float, float]:
        hits = float((yes & true).sum())
        precision, recall = hits / max(yes.sum(), 1), hits / max(true.sum(), 1)
        return precision, recall, 2 * precision * recall / max(precision + recall, 1e-12)

    precision, recall, f1_occluded = f1(said, truth)
    present = [f1_occluded] * bool(truth.any()) + [f1(~said, ~truth)[2]] * bool((~truth).any())
    bins = np.minimum((probability * 10).astype(int), 9)
    gaps = [
        abs(probability[bins == b].mean() - truth[bins == b].mean()) * (bins == b).mean()
        for b in range(10)
        if (bins == b).any()
    ]
    return {
        "frames": len(truth),
        "occluded_share": float(truth.mean()),
        "accuracy": float((said == truth).mean()),
        "majority_accuracy": float(max(truth.mean(), 1 - truth.mean())),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1_occluded),
        "macro_f1": float(np.mean(present)),
        "calibration_error": float(np.sum(gaps)),
    }


def break_down(scores: FrameScores, groups: dict[str, NDArray]) -> dict[str, dict]:
    """Errors by group: number of occluded fingers, every finger visible against hidden, and every array of `groups`.

    `groups` maps a title (object, subject, camera, hand_side) to one value per frame (N,).
    """
    found: dict[str, dict] = {"occlusion": occlusion_by_output(scores)}
    labelled = (scores.occluded[:, :5] != UNKNOWN).all(1)
    if labelled.any():
        hidden = np.where(labelled, (scores.occluded[:, :5] == 1).sum(1), -1)
        found["occluded_fingers"] = {str(k): row(scores, hidden == k) for k in range(6) if (hidden == k).any()}
        found["finger"] = {finger: dict(finger_rows(scores, finger, i)) for i, finger in enumerate(FINGERS)}
    for title, values in groups.items():
        found[title] = {str(value): row(scores, values == value) for value in np.unique(values)}
    return found


def row(scores: FrameScores, chosen: NDArray) -> dict[str, float | int | None]:
    """The main errors over the chosen frames (N,) bool."""
    return {
        "frames": int(chosen.sum()),
        "mpjpe_mm": in_mm(scores.joint_errors[chosen]),
        "pa_mpjpe_mm": in_mm(scores.joint_errors_pa[chosen]),
        "mpvpe_mm": in_mm(scores.vertex_errors[chosen]),
        "pa_mpvpe_mm": in_mm(scores.vertex_errors_pa[chosen]),
    }


def finger_rows(scores: FrameScores, finger: str, column: int) -> Iterator[tuple[str, dict[str, float | int | None]]]:
    """The joint errors of one finger where it is visible and where it is hidden."""
    for name, value in (("visible", 0), ("hidden", 1)):
        chosen = scores.occluded[:, column] == value
        joints = FINGER_JOINTS[finger]
        yield (
            name,
            {
                "frames": int(chosen.sum()),
                "mpjpe_mm": in_mm(scores.joint_errors[chosen, joints]),
                "pa_mpjpe_mm": in_mm(scores.joint_errors_pa[chosen, joints]),
            },
        )
