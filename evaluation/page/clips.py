"""The page of an evaluation on clips: pictures, plots, tables and the protocol, on the template of `document`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...durable import write_json
from ...hand.draw import write_picture
from ...hand.pages import data_uri
from ...hand.parts import VERTICES
from .. import metrics
from ..scoring.facts import FrameFacts
from ..scoring.scores import FrameScores
from ..scoring.visibility import reliability
from .cards import Drawer, choose_frames
from .document import Page, Section, write_page
from .plots import fraction_plot, occlusion_plot, pck_plot, reliability_plot
from .strips import Strip, choose_sequences, draw_strip
from .tables import (
    NAMES,
    PUBLISHED_TEXT,
    breakdown_tables,
    describe_intervals,
    describe_subject,
    metric_name,
    page_title,
    protocol_rows,
    published_rows,
)

__all__ = ["Result", "Section", "write_report"]

TILES = ("pa_mpjpe_mm", "pa_mpvpe_mm", "mpjpe_mm", "pa_f_15", "orientation_deg", "occlusion_accuracy")
FRAMES_TEXT = (
    "Truth in orange, prediction in blue. Left hands are shown mirrored, as the network sees them. Beside each frame: "
    "is the finger hidden? A full dot says that it is, the bar is the probability that the network gives."
)


@dataclass(frozen=True)
class Result:
    """The results of an evaluation: contents of metrics.json, breakdown.json and protocol.json, and of every frame."""

    metrics: dict[str, Any]
    breakdown: dict[str, Any]
    protocol: dict[str, Any]
    scores: FrameScores
    facts: FrameFacts


def write_report(
    out: Path, result: Result, drawer: Drawer, *, training: Section, extra: Sequence[Section] = ()
) -> Path:
    """Write `out`/report.html, its plots and strips as PNG in `out`/pieces, and its numbers as report.json.

    `drawer` draws frames with the network that was scored; `training` is the section about the runs, `extra` what the
    caller puts first. Returns the page's path.
    """
    scores, breakdown, pieces = result.scores, result.breakdown, out / "pieces"
    curves = pck_curves(scores)
    bins = reliability(scores.occluded_probability[:, :5], scores.occluded[:, :5])
    plots = [
        pck_plot(curves, pieces / "pck.png"),
        occlusion_plot(breakdown.get("occluded_fingers", {}), pieces / "occluded_fingers.png"),
        fraction_plot(breakdown.get("visible_fraction", {}), pieces / "visible_fraction.png"),
        reliability_plot(bins, pieces / "reliability.png"),
    ]
    strips = {
        group: [draw_strip(drawer, result.facts, key) for key in keys]
        for group, keys in choose_sequences(scores, result.facts).items()
    }
    error = scores.joint_errors_pa.mean(1)
    chosen = choose_frames(error, result.facts.cause)
    cards = {group: [drawer.card(p) for p in places] for group, places in chosen.items()}
    known, intervals = result.metrics, breakdown.get("confidence_95", {})
    recordings = len(np.unique(result.facts.recording))
    page = Page(
        title=page_title(result.protocol),
        about=describe_subject(result.protocol),
        tiles=[(NAMES[key], known[key], intervals.get(key)) for key in TILES if known.get(key) is not None],
        first=extra,
        plots=[plot for plot in plots if plot],
        strips={group: [(strip, data_uri(strip.picture)) for strip in found] for group, found in strips.items()},
        frames=cards,
        frames_text=FRAMES_TEXT,
        metrics=[(metric_name(key), value, intervals.get(key)) for key, value in known.items() if value is not None],
        metrics_text=describe_intervals(recordings),
        recordings=recordings,
        tables=breakdown_tables({name: rows for name, rows in breakdown.items() if name != "confidence_95"}),
        training=training,
        published=published_rows(known, result.protocol),
        published_text=PUBLISHED_TEXT,
        protocol=protocol_rows(result.protocol),
    )
    write_pieces(out, strips, curves, bins)
    write_page(out / "report.html", page)
    return out / "report.html"


def write_pieces(
    out: Path,
    strips: dict[str, list[Strip]],
    curves: dict[str, tuple[NDArray, NDArray]],
    bins: list[tuple[float, float, int]],
) -> None:
    """Write the strips as PNG, and the numbers of plots and strips as report.json."""
    for left_over in (out / "pieces").glob("*sequence*-[0-9].png"):
        left_over.unlink()  # of an earlier evaluation, which may have had more of them
    for group, found in strips.items():
        for number, strip in enumerate(found):
            write_picture(out / "pieces" / f"{group.replace(' ', '_')}-{number + 1}.png", strip.picture)
    numbers = {
        "pck": {name: {"threshold_m": t.tolist(), "share": share.tolist()} for name, (t, share) in curves.items()},
        "reliability": [{"probability": p, "hidden": h, "fingers": n} for p, h, n in bins],
        "strips": [
            {"group": group, "sequence": strip.sequence, "pa_mpjpe_mm": strip.error_mm, "frames": strip.frames}
            for group, found in strips.items()
            for strip in found
        ],
    }
    write_json(out / "report.json", numbers, indent=None)


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
            found[title] = metrics.pck_curve_of_counts(known, VERTICES)
    return found
