"""From per-frame scores to the flat table of metrics.json, with its confidence intervals.

Lengths leave this module in millimetres (2D errors in pixels, angles in degrees), areas and fractions in [0, 1].
"""

import numpy as np
from numpy.typing import NDArray

from ...hand.parts import FINGER_JOINTS, UNKNOWN, VERTICES
from .. import metrics
from .confidence import bootstrap_interval
from .facts import FrameFacts
from .scores import FrameScores
from .temporal import HIDDEN, smoothness
from .visibility import joint_intervals, joint_metrics, occlusion_intervals, occlusion_metrics

MM = 1000.0


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


def vertex_area(counts: NDArray, means: NDArray) -> float | None:
    """Area under the PCK curve of vertices from their counts (N, 100); frames with mean NaN have no truth."""
    known = np.isfinite(means)
    return metrics.auc_of_counts(counts[known], VERTICES) if known.any() else None


def summarise(scores: FrameScores, facts: FrameFacts) -> dict[str, float | int | None]:
    """Average everything into the flat table of metrics.json; None where the clips hold no truth for a metric."""
    table: dict[str, float | int | None] = {
        "frames": len(scores),
        "frames_with_joints": int(np.isfinite(scores.joint_errors).all(1).sum()),
        "frames_with_mesh": int(np.isfinite(scores.vertex_errors).sum()),
        "mpjpe_mm": in_mm(scores.joint_errors),
        "pa_mpjpe_mm": in_mm(scores.joint_errors_pa),
        "mpvpe_mm": in_mm(scores.vertex_errors),
        "pa_mpvpe_mm": in_mm(scores.vertex_errors_pa),
        "joint_auc": area(scores.joint_errors),
        "pa_joint_auc": area(scores.joint_errors_pa),
        "vertex_auc": vertex_area(scores.vertex_pck, scores.vertex_errors),
        "pa_vertex_auc": vertex_area(scores.vertex_pck_pa, scores.vertex_errors_pa),
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
    window = {name: average(values) for name, values in window_values(scores, facts).items()}
    visibility = occlusion_metrics(scores.occluded_probability, scores.occluded)
    visibility |= joint_metrics(scores.joint_hidden_probability, facts.joint_visible)
    return table | window | smoothness_metrics(scores, facts) | visibility


def smoothness_metrics(scores: FrameScores, facts: FrameFacts) -> dict[str, float | None]:
    """Acceleration error (mm per frame squared) and jitter (mm per frame cubed) of prediction and truth.

    None for networks without orientation: their joints live in another frame than the annotated motion.
    """
    names = ("acceleration_error_mm", "jitter_mm", "true_jitter_mm")
    if not scores.oriented:
        return dict.fromkeys(names)
    values = smoothness(scores.joints, facts.joints, facts.sequence, facts.number)
    return {name: in_mm(value) for name, value in zip(names, values, strict=True)}


def finger_errors(errors: NDArray) -> NDArray[np.float64]:
    """Mean error of each finger's four joints: (N, 21) -> (N, 5), thumb .. little."""
    return np.stack([errors[:, list(joints)].mean(1) for joints in FINGER_JOINTS], 1)


def hidden_now(scores: FrameScores, facts: FrameFacts, *, seen: bool) -> NDArray[np.bool_]:
    """(N, 5) fingers hidden in their frame that were `seen` in a past frame of its window, or in none of them."""
    return (scores.occluded[:, :5] == HIDDEN) & (facts.seen_earlier == int(seen))


def window_values(scores: FrameScores, facts: FrameFacts) -> dict[str, NDArray]:
    """Aligned error (N,) mm of the hidden fingers of each frame, by what its window shows of them; NaN without any.

    What a multi-frame network is for: the first of the two is where a past frame can help, the second where it cannot.
    """
    errors = finger_errors(scores.joint_errors_pa) * MM
    found = {}
    for name, seen in (("pa_mpjpe_seen_earlier_mm", True), ("pa_mpjpe_never_seen_mm", False)):
        chosen = hidden_now(scores, facts, seen=seen) & np.isfinite(errors)
        total = np.where(chosen, errors, 0.0).sum(1)
        found[name] = np.where(chosen.any(1), total / np.maximum(chosen.sum(1), 1), np.nan)
    return found


def frame_values(scores: FrameScores, facts: FrameFacts) -> dict[str, NDArray]:
    """One value (N,) per frame of the metrics that are means over frames, in the units of metrics.json."""
    right = (scores.occluded_probability[:, :5] > 0.5) == (scores.occluded[:, :5] == 1)
    known = (scores.occluded[:, :5] != UNKNOWN) & np.isfinite(scores.occluded_probability[:, :5])
    share = np.where(known, right, 0).sum(1) / np.maximum(known.sum(1), 1)
    return {
        "mpjpe_mm": scores.joint_errors.mean(1) * MM,
        "pa_mpjpe_mm": scores.joint_errors_pa.mean(1) * MM,
        "mpvpe_mm": scores.vertex_errors * MM,
        "pa_mpvpe_mm": scores.vertex_errors_pa * MM,
        "f_5": scores.f_scores[:, 0],
        "f_15": scores.f_scores[:, 1],
        "pa_f_5": scores.f_scores_pa[:, 0],
        "pa_f_15": scores.f_scores_pa[:, 1],
        "proper_pa_mpjpe_mm": scores.joint_errors_proper.mean(1) * MM,
        "proper_pa_mpvpe_mm": scores.vertex_errors_proper * MM,
        "scale_translation_mpjpe_mm": scores.joint_errors_st.mean(1) * MM,
        "joints_2d_px": scores.joint_errors_2d.mean(1),
        "orientation_deg": np.degrees(scores.rotation_errors),
        "occlusion_accuracy": np.where(known.any(1), share, np.nan),
    } | window_values(scores, facts)


def intervals(scores: FrameScores, facts: FrameFacts) -> dict[str, dict[str, float]]:
    """95 % bootstrap intervals over recordings, of means over frames and of what is hidden: name -> {"low", "high"}."""
    found = occlusion_intervals(scores.occluded_probability, scores.occluded, facts.recording)
    found |= joint_intervals(scores.joint_hidden_probability, facts.joint_visible, facts.recording)
    for name, values in frame_values(scores, facts).items():
        interval = bootstrap_interval(values, facts.recording)
        if interval is not None:
            found[name] = {"low": interval[0], "high": interval[1]}
    return found
