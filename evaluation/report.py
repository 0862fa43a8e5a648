"""The page of an evaluation: one self-contained HTML file with pictures, plots, tables and the protocol.

It loads nothing from the network and holds everything it shows; the template lies beside this module.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from ..data.clips import ClipDataset, ClipStore
from ..data.durable import writing_file
from ..hand.mano import HandModel
from ..network.h2onet import H2ONet
from . import metrics
from .breakdowns import reliability
from .curves import fraction_plot, occlusion_plot, pck_plot, reliability_plot
from .examples import Drawer
from .groups import FrameFacts
from .pictures import data_uri, write_png
from .published import PUBLISHED, Published
from .scores import VERTICES, FrameScores
from .strips import Strip, chosen_sequences, draw_strip

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
    "joints_2d_px": "2D error, px of the 128 px crop",
    "orientation_deg": "orientation error, degrees",
    "acceleration_error_mm": "acceleration error, mm per frame²",
    "jitter_mm": "jitter, mm per frame³",
    "true_jitter_mm": "jitter of the truth, mm per frame³",
    "occlusion_accuracy": "occlusion accuracy, fingers",
    "occlusion_macro_f1": "occlusion macro F1, fingers",
    "occlusion_majority_accuracy": "accuracy of always saying the commoner class",
}
HEADERS = NAMES | {
    "orientation_deg": "orientation, degrees",
    "occluded_share": "share hidden",
    "majority_accuracy": "commoner class",
    "f1": "F1",
    "macro_f1": "macro F1",
    "brier": "Brier score",
}
TITLES = {
    "occlusion": "occlusion outputs",
    "occluded_fingers": "number of occluded fingers",
    "finger": "every finger, visible or hidden",
    "after_reappearance": "fingers that re-appeared, by frames since",
    "hidden_for": "hidden fingers, by frames since they were last seen",
    "visible_fraction": "visible share of the finger",
    "cause": "what hides the finger",
}
TILES = ("pa_mpjpe_mm", "pa_mpvpe_mm", "mpjpe_mm", "pa_f_15", "orientation_deg", "occlusion_accuracy")


@dataclass(frozen=True)
class Result:
    """All that an evaluation found: the contents of metrics.json, breakdown.json, protocol.json, and per frame."""

    metrics: dict[str, Any]
    breakdown: dict[str, Any]
    protocol: dict[str, Any]
    scores: FrameScores
    facts: FrameFacts


@dataclass(frozen=True)
class Section:
    """A part of the page that the caller adds: plots as SVG text, pictures as data URIs, both with their captions."""

    title: str
    text: str = ""
    plots: Sequence[str] = ()
    pictures: Sequence[tuple[str, str]] = field(default=())


def text_of(value: Any) -> str:
    """A value as the page and the terminal print it."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) <= 1 else f"{value:.2f}"
    return str(value)


def metrics_table(metrics: dict[str, Any]) -> str:
    """Plain text table of metrics.json for the terminal."""
    rows = [(NAMES.get(key, key), text_of(value)) for key, value in metrics.items() if value is not None]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value:>10}" for name, value in rows)


def write_report(
    out: Path,
    result: Result,
    network: H2ONet,
    samples: ClipDataset,
    hand: HandModel,
    *,
    training: Section,
    extra: Sequence[Section] = (),
    title: str | None = None,
) -> Path:
    """Write `out`/report.html, its plots and strips as PNG in `out`/pieces, and its numbers as report.json.

    `network` and `samples` are those that gave the scores; `training` is the part about the runs, `extra` what the
    caller puts first. Returns the page's path.
    """
    scores, breakdown, pieces = result.scores, result.breakdown, out / "pieces"
    drawer = Drawer(network, samples, ClipStore.open(samples.paths[0]), scores, hand)
    curves, bins = pck_curves(scores), reliability(scores)
    plots = [
        pck_plot(curves, pieces / "pck.png"),
        occlusion_plot(breakdown.get("occluded_fingers", {}), pieces / "occluded_fingers.png"),
        fraction_plot(breakdown.get("visible_fraction", {}), pieces / "visible_fraction.png"),
        reliability_plot(bins, pieces / "reliability.png"),
    ]
    strips = {
        group: [draw_strip(drawer, result.facts, key) for key in keys]
        for group, keys in chosen_sequences(scores, result.facts).items()
    }
    cards = {group: [drawer.example(p) for p in positions] for group, positions in chosen_frames(scores).items()}
    known, intervals = result.metrics, breakdown.get("confidence_95", {})
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["show"] = text_of
    template = environment.from_string(resources.files("h2onet.evaluation").joinpath("report.html").read_text("utf-8"))
    page = template.render(
        title=title or title_of(result.protocol),
        tiles=[(NAMES[key], known[key], intervals.get(key)) for key in TILES if result.metrics.get(key) is not None],
        metrics=[(NAMES.get(key, key), value, intervals.get(key)) for key, value in known.items() if value is not None],
        recordings=len(np.unique(result.facts.recording)),
        strips={group: [(strip, data_uri(strip.picture)) for strip in found] for group, found in strips.items()},
        rows=cards,
        plots=[plot for plot in plots if plot],
        breakdown=tables_of({name: rows for name, rows in breakdown.items() if name != "confidence_95"}),
        protocol=protocol_rows(result.protocol),
        about=about(result.protocol),
        extra=extra,
        training=training,
        published=published_rows(result),
    )
    write_pieces(out, strips, curves, bins)
    with writing_file(out / "report.html") as file:
        file.write(page.encode())
    return out / "report.html"


def write_pieces(
    out: Path,
    strips: dict[str, list[Strip]],
    curves: dict[str, tuple[NDArray, NDArray]],
    bins: list[tuple[float, float, int]],
) -> None:
    """The strips as PNG, and what the plots show as report.json."""
    for left_over in (out / "pieces").glob("*sequence*-[0-9].png"):
        left_over.unlink()  # of an earlier evaluation, which may have had more of them
    for group, found in strips.items():
        for number, strip in enumerate(found):
            write_png(out / "pieces" / f"{group.replace(' ', '_')}-{number + 1}.png", strip.picture)
    numbers = {
        "pck": {name: {"threshold_m": t.tolist(), "share": share.tolist()} for name, (t, share) in curves.items()},
        "reliability": [{"probability": p, "hidden": h, "fingers": n} for p, h, n in bins],
        "strips": [
            {"group": group, "sequence": strip.sequence, "pa_mpjpe_mm": strip.error_mm, "frames": strip.frames}
            for group, found in strips.items()
            for strip in found
        ],
    }
    with writing_file(out / "report.json") as file:
        file.write((json.dumps(numbers, allow_nan=False) + "\n").encode())


def pck_curves(scores: FrameScores) -> dict[str, tuple[NDArray, NDArray]]:
    """Thresholds (100,) m and shares (100,) of joints and vertices, aligned and not, where a truth is known."""
    found = {}
    for title, errors in (("joints, aligned", scores.joint_errors_pa), ("joints", scores.joint_errors)):
        known = errors[np.isfinite(errors).all(1)]
        if len(known):
            found[title] = metrics.pck_curve(known)
    for title, counts, means in (
        ("vertices, aligned", scores.vertex_pck_pa, scores.vertex_errors_pa),
        ("vertices", scores.vertex_pck, scores.vertex_errors),
    ):
        known = counts[np.isfinite(means)]
        if len(known):
            thresholds = np.linspace(0.0, metrics.AUC_MAXIMUM, metrics.AUC_STEPS)
            found[title] = thresholds, known.astype(np.float64).sum(0) / (len(known) * VERTICES)
    return found


def chosen_frames(scores: FrameScores, each: int = 3) -> dict[str, list[int]]:
    """Positions of frames to show: the best, the middling, the worst, and those with most hidden fingers."""
    error = scores.joint_errors_pa.mean(1)
    order = [int(i) for i in np.argsort(error) if np.isfinite(error[i])]
    if not order:
        return {"frames": list(range(min(each, len(scores))))}
    # Neighbouring frames look alike: take every group from a spread of its range.
    span = max(len(order) // 10, each)
    middle = max(len(order) // 2 - span // 2, 0)
    groups = {
        "typical": spread(order[middle : middle + span], each),
        "best": spread(order[:span], each),
        "worst": spread(order[-span:][::-1], each),
    }
    hidden = np.where(scores.occluded[:, :5] == 1, 1, 0).sum(1)
    ranked = [int(i) for i in np.argsort(-hidden, kind="stable") if hidden[i] >= 2]
    if ranked:
        groups["most hidden fingers"] = spread(ranked[: max(len(ranked) // 3, each)], each)
    return groups


def spread(positions: list[int], count: int) -> list[int]:
    """At most `count` of the positions, evenly spaced."""
    if len(positions) <= count:
        return positions
    return [positions[int(i)] for i in np.linspace(0, len(positions) - 1, count)]


def title_of(protocol: dict[str, Any]) -> str:
    """What was scored: dataset, setup, split and the number of frames."""
    named = (protocol["dataset"], protocol["setup"] if protocol["dataset"] == "dexycb" else None, protocol["split"])
    return f"{' '.join(str(part) for part in named if part)}: {protocol['frames']} frames"


def about(protocol: dict[str, Any]) -> list[str]:
    """The line below the title: the network, its checkpoint, the hash of the frame list."""
    kind = "multi-frame" if protocol["network"]["frames"] > 1 else "single-frame"
    return [
        f"{kind} network",
        f"{protocol['meshes']} meshes",
        f"checkpoint {protocol['checkpoint']} ({protocol['checkpoint_sha256'][:12]})",
        f"frame list {protocol['frames_sha256'][:12]}",
    ]


def protocol_rows(protocol: dict[str, Any]) -> list[tuple[str, str]]:
    """protocol.json as names and texts."""

    def text(value: Any) -> str:
        if isinstance(value, dict):
            return ", ".join(f"{name}: {text(inner)}" for name, inner in value.items()) or "–"
        if isinstance(value, list):
            return ", ".join(map(str, value)) or "–"
        return "–" if value is None else str(value)

    return [(name.replace("_", " "), text(value)) for name, value in protocol.items()]


def published_rows(result: Result) -> list[Published]:
    """The published scores on the dataset of this evaluation, below its own; empty where none are known."""
    dataset = result.protocol["dataset"]
    known = [entry for entry in PUBLISHED if entry.dataset == dataset]
    own, percent = result.metrics, {}
    for name, key in (
        ("joint_auc", "pa_joint_auc"), ("vertex_auc", "pa_vertex_auc"), ("f_5", "pa_f_5"), ("f_15", "pa_f_15")
    ):  # fmt: skip
        percent[name] = None if own[key] is None else 100 * own[key]
    oriented = result.scores.oriented
    this = Published(
        dataset,
        "this evaluation",
        f"{len(result.scores)} frames",
        joint_error=own["pa_mpjpe_mm"],
        vertex_error=own["pa_mpvpe_mm"],
        raw_joint_error=own["mpjpe_mm"] if oriented else None,
        raw_vertex_error=own["mpvpe_mm"] if oriented else None,
        **percent,
    )
    return [this, *known] if known else []


def tables_of(breakdown: dict[str, Any]) -> list[tuple[str, list[str], list[list[Any]]]]:
    """Every group of breakdown.json as (title, header, rows)."""
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
