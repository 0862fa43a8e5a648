"""An evaluation in words and tables, on the page and in the terminal: names of metrics, groups, protocol."""

from typing import Any

from .published import PUBLISHED, Published

NAMES = {
    "frames": "frames",
    "frames_with_joints": "frames with known joints",
    "frames_with_mesh": "frames with known mesh",
    "mpjpe_mm": "MPJPE, mm",
    "pa_mpjpe_mm": "PA-MPJPE, mm",
    "mpvpe_mm": "MPVPE, mm",
    "pa_mpvpe_mm": "PA-MPVPE, mm",
    "joint_auc": "joint AUC",
    "pa_joint_auc": "joint AUC, aligned",
    "vertex_auc": "vertex AUC",
    "pa_vertex_auc": "vertex AUC, aligned",
    "f_5": "F@5 mm",
    "f_15": "F@15 mm",
    "pa_f_5": "F@5 mm, aligned",
    "pa_f_15": "F@15 mm, aligned",
    "proper_pa_mpjpe_mm": "PA-MPJPE without reflections, mm",
    "proper_pa_mpvpe_mm": "PA-MPVPE without reflections, mm",
    "scale_translation_mpjpe_mm": "MPJPE, scale and translation aligned, mm",
    "scale_translation_joint_auc": "joint AUC, scale and translation aligned",
    "pa_mpjpe_seen_earlier_mm": "PA-MPJPE of fingers hidden now, seen earlier in the window, mm",
    "pa_mpjpe_never_seen_mm": "PA-MPJPE of fingers hidden in the whole window, mm",
    "joints_2d_px": "2D error, px of the 128 px crop",
    "orientation_deg": "orientation error, degrees",
    "acceleration_error_mm": "acceleration error, mm per frame²",
    "jitter_mm": "jitter, mm per frame³",
    "true_jitter_mm": "jitter of the truth, mm per frame³",
    "occlusion_accuracy": "occlusion accuracy, fingers",
    "occlusion_macro_f1": "occlusion macro F1, fingers",
    "occlusion_majority_accuracy": "accuracy of always saying the commoner class",
    "occlusion_roc_auc": "occlusion ROC AUC, fingers",
    "occlusion_pr_auc": "occlusion precision-recall AUC, fingers",
    "frames_not_predicted": "frames of the labels that are not predicted",
    "joints": "joints with a probability and a label",
    "joint_visibility_accuracy": "joint visibility accuracy",
    "joint_visibility_roc_auc": "joint visibility ROC AUC",
    "joint_visibility_map": "joint visibility mean average precision (of hidden joints)",
    "joint_visibility_macro_f1": "joint visibility macro F1",
}
HEADERS = NAMES | {
    "orientation_deg": "orientation, degrees",
    "occluded_share": "share hidden",
    "majority_accuracy": "commoner class",
    "f1": "F1",
    "macro_f1": "macro F1",
    "brier": "Brier score",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
}
OFFICIAL = {
    "xyz_mean3d": "mpjpe_mm",
    "xyz_auc3d": "joint_auc",
    "xyz_procrustes_al_mean3d": "pa_mpjpe_mm",
    "xyz_procrustes_al_auc3d": "pa_joint_auc",
    "xyz_scale_trans_al_mean3d": "scale_translation_mpjpe_mm",
    "xyz_scale_trans_al_auc3d": "scale_translation_joint_auc",
    "mesh_mean3d": "mpvpe_mm",
    "mesh_auc3d": "vertex_auc",
    "mesh_al_mean3d": "pa_mpvpe_mm",
    "mesh_al_auc3d": "pa_vertex_auc",
    "f_score_5": "f_5",
    "f_al_score_5": "pa_f_5",
    "f_score_15": "f_15",
    "f_al_score_15": "pa_f_15",
}
"""The keys of HO3D's scores.txt, in its order, and what metrics.json calls the same."""
TITLES = {
    "occlusion": "occlusion outputs",
    "occluded_fingers": "number of occluded fingers",
    "finger": "every finger, visible or hidden",
    "window": "fingers, by what the frame and the past frames of its window show of them",
    "after_reappearance": "fingers that re-appeared, by frames since",
    "hidden_for": "hidden fingers, by frames since they were last seen",
    "visible_fraction": "visible share of the finger",
    "joint_visibility": "is this joint hidden?",
    "joint_visibility_together": "is this joint hidden? by finger, and over all joints",
    "joint": "joints, visible or not",
    "hand_visible_area": "visible share of the hand's silhouette",
    "object_visible_area": "share of the silhouette that objects leave",
    "cause": "what hides the finger",
}
PUBLISHED_TEXT = (
    'Errors in mm, areas under the PCK curve and F-scores in percent, after Procrustes alignment; "raw": only the '
    "wrist moved. Published on the real dataset's whole split: scores on synthetic data or on parts of a split are not "
    "comparable with them."
)


def format_value(value: Any) -> str:
    """A value as the page and the terminal print it."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) <= 1 else f"{value:.2f}"
    return str(value)


def metric_name(key: str) -> str:
    """A key of metrics.json in words; the keys of HO3D's official scores keep their names, with their unit."""
    if key in OFFICIAL:
        return f"HO3D's {key}{', cm' if key.endswith('_mean3d') else ''}"
    return NAMES.get(key, key)


def to_field_terms(official: dict[str, float]) -> dict[str, float]:
    """HO3D's official scores (cm) under the names and in the units of metrics.json (mm)."""
    return {name: official[key] * (10.0 if name.endswith("_mm") else 1.0) for key, name in OFFICIAL.items()}


def metrics_table(metrics: dict[str, Any]) -> str:
    """Plain text table of metrics.json for the terminal."""
    rows = [(metric_name(key), format_value(value)) for key, value in metrics.items() if value is not None]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value:>10}" for name, value in rows)


def page_title(protocol: dict[str, Any]) -> str:
    """The page's title: dataset, setup, split and the number of frames."""
    named = (protocol["dataset"], protocol["setup"] if protocol["dataset"] == "dexycb" else None, protocol["split"])
    return f"{' '.join(str(part) for part in named if part)}: {protocol['frames']} frames"


def describe_subject(protocol: dict[str, Any]) -> list[str]:
    """What was scored, as parts of the line below the title: network and checkpoint, or predictions, and frame list."""
    frames = f"frame list {protocol['frames_sha256'][:12]}"
    if "predictions" in protocol:
        return [f"predictions {protocol['predictions']} ({protocol['predictions_sha256'][:12]})", frames]
    kind = "multi-frame" if protocol["network"]["frames"] > 1 else "single-frame"
    return [
        f"{kind} network",
        f"{protocol['meshes']} meshes",
        f"checkpoint {protocol['checkpoint']} ({protocol['checkpoint_sha256'][:12]})",
        frames,
    ]


def describe_intervals(recordings: int) -> str:
    """Say what the intervals of the metrics table are, or why there are none."""
    if recordings < 2:
        return "No intervals: all frames are of one recording, and say nothing about others."
    few = "; so few say little about other recordings" if recordings < 6 else ""
    return f"95 % intervals: bootstrap over {recordings} recordings, because frames of one recording are alike{few}."


def protocol_rows(protocol: dict[str, Any]) -> list[tuple[str, str]]:
    """protocol.json as names and texts."""

    def text(value: Any) -> str:
        if isinstance(value, dict):
            return ", ".join(f"{name}: {text(inner)}" for name, inner in value.items()) or "–"
        if isinstance(value, list):
            return ", ".join(map(str, value)) or "–"
        return "–" if value is None else str(value)

    return [(name.replace("_", " "), text(value)) for name, value in protocol.items()]


def format_score(value: float | None) -> str:
    """A published score with one digit, as such tables have it, or two where it was published with two."""
    if value is None:
        return "–"
    return f"{value:.1f}" if abs(value - round(value, 1)) < 1e-9 else f"{value:.2f}"


def published_rows(own: dict[str, Any], protocol: dict[str, Any]) -> list[Published]:
    """An evaluation's own scores and, below, those published on its dataset; empty where none are known."""
    dataset, percent = protocol["dataset"], {}
    oriented = not protocol["meshes"].startswith("canonical")
    known = [entry for entry in PUBLISHED if entry.dataset == dataset]
    for name, key in (
        ("joint_auc", "pa_joint_auc"), ("vertex_auc", "pa_vertex_auc"), ("f_5", "pa_f_5"), ("f_15", "pa_f_15")
    ):  # fmt: skip
        percent[name] = None if own[key] is None else 100 * own[key]
    this = Published(
        dataset,
        "this evaluation",
        f"{protocol['frames']} frames",
        joint_error=own["pa_mpjpe_mm"],
        vertex_error=own["pa_mpvpe_mm"],
        raw_joint_error=own["mpjpe_mm"] if oriented else None,
        raw_vertex_error=own["mpvpe_mm"] if oriented else None,
        **percent,
    )
    return [this, *known] if known else []


def breakdown_tables(breakdown: dict[str, Any]) -> list[tuple[str, list[str], list[list[Any]]]]:
    """The groups of breakdown.json as (title, header, rows)."""
    tables = []
    for title, rows in breakdown.items():
        flat = (
            {f"{name}, {state}": row for name, states in rows.items() for state, row in states.items()}
            if title == "finger"
            else rows
        )
        if not flat:
            continue
        columns = list(next(iter(flat.values())))
        header = [HEADERS.get(column, column.replace("_", " ")) for column in columns]
        body = [[name, *(row.get(column) for column in columns)] for name, row in flat.items()]
        tables.append((TITLES.get(title, title.replace("_", " ")), ["", *header], body))
    return tables
