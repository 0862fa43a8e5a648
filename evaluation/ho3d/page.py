"""The page of a scored pred.json: official scores, curves, sequences, and frames on their photos where they are found.

Lengths are millimetres here, except in the official scores, which are in centimetres.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...durable import write_json
from ...hand.parts import VERTICES
from .. import metrics
from ..page.cards import Card, choose_frames
from ..page.document import Page, Section, write_page
from ..page.plots import f_score_plot, pck_plot
from ..page.tables import (
    NAMES,
    OFFICIAL,
    PUBLISHED_TEXT,
    breakdown_tables,
    describe_intervals,
    describe_subject,
    page_title,
    protocol_rows,
    published_rows,
    to_field_terms,
)
from ..scoring.confidence import bootstrap_interval
from ..scoring.summary import average
from .files import FRAME_COUNTS, Meshes
from .pictures import Photos, draw_frame

COLUMNS = ("pa_mpjpe_mm", "pa_mpvpe_mm", "mpjpe_mm", "mpvpe_mm", "pa_f_5", "pa_f_15")
FRAMES_TEXT = (
    "Every dot is a vertex, nearer ones brighter: truth in orange, prediction in blue where it was submitted, and its "
    "error from blue (0) over yellow to red (30 mm and more) after moving its middle onto the truth's."
)
WORST = 10
UNNAMED = "unknown"  # the recording of frames that no evaluation.txt names
Curves = dict[str, tuple[NDArray, NDArray]]


@dataclass(frozen=True)
class Scored:
    """The results of scoring a pred.json.

    scores: the official ones; errors: those of every frame in m and shares (`official.frame_errors`); values: (N,) of
    every frame, mm, under the names that clips use; keys: sequence, recording, frame (N,); names (N,) of the scored and
    missing (M,) of the other frames; protocol: the contents of protocol.json.
    """

    scores: dict[str, float]
    errors: dict[str, NDArray]
    values: dict[str, NDArray]
    keys: dict[str, NDArray]
    names: NDArray
    missing: NDArray
    protocol: dict[str, Any]

    @property
    def has_names(self) -> bool:
        """Whether frames have names, from an evaluation.txt."""
        return bool((self.keys["recording"] != UNNAMED).any())


def break_down_sequences(found: Scored) -> dict[str, dict]:
    """Compute breakdown.json: means by sequence, where frames have names, and 95 % intervals over recordings."""
    sequences = {}
    absent = [name.rsplit("/", 1)[0] for name in found.missing.tolist()]
    for key in sorted({*found.keys["sequence"].tolist(), *absent}) if found.has_names else []:
        chosen = found.keys["sequence"] == key
        sequences[key] = {"frames": int(chosen.sum()), "not_predicted": absent.count(key)}
        sequences[key] |= {name: average(found.values[name][chosen]) for name in COLUMNS}
    bounds = {name: bootstrap_interval(values, found.keys["recording"]) for name, values in found.values.items()}
    intervals = {name: {"low": low, "high": high} for name, (low, high) in ((n, b) for n, b in bounds.items() if b)}
    return {"sequence": sequences, "confidence_95": intervals}


def pck_curves(errors: Mapping[str, NDArray]) -> Curves:
    """Thresholds (100,) m and shares (100,) of joints and vertices, as submitted and aligned."""
    found = {
        title: metrics.pck_curve(errors[f"xyz{kind}_mean3d"])
        for title, kind in (
            ("joints, aligned", "_procrustes_al"), ("joints", ""), ("joints, scale and translation", "_scale_trans_al")
        )
    }  # fmt: skip
    for title, name in (("vertices, aligned", "mesh_al_counts"), ("vertices", "mesh_counts")):
        found[title] = metrics.pck_curve_of_counts(errors[name], VERTICES)
    return found


def write_official_page(
    out: Path, found: Scored, breakdown: dict[str, dict], photos: Photos, predicted: Meshes, truth: Meshes
) -> None:
    """Write report.html, its plots as PNG in pieces/, and its curves as report.json; meshes in the order of `found`."""
    limits = np.array(metrics.F_CURVE)
    curves = pck_curves(found.errors)
    f_curves = {
        title: (limits, found.errors[name].mean(0))
        for title, name in (("aligned", "f_al_score"), ("as submitted", "f_score"))
    }
    plots = (
        pck_plot(curves, out / "pieces" / "pck.png"),
        f_score_plot(f_curves, out / "pieces" / "f_score.png"),
    )
    intervals, own = breakdown["confidence_95"], to_field_terms(found.scores)
    recordings = len(np.unique(found.keys["recording"]))
    cards, frames_text = draw_cards(found, photos, predicted, truth)
    page = Page(
        title=page_title(found.protocol),
        about=describe_subject(found.protocol),
        tiles=[(NAMES[name], own[name], intervals.get(name)) for name in COLUMNS],
        first=missing_section(found),
        plots=[plot for plot in plots if plot],
        metrics=official_rows(found.scores, intervals),
        metrics_text="Values as HO3D's script prints them: errors in cm, areas and F-scores as shares. "
        + (describe_intervals(recordings) if found.has_names else "No intervals: the frames have no names."),
        recordings=recordings,
        tables=breakdown_tables({"sequence": breakdown["sequence"], "worst frames": worst_frames(found)}),
        frames=cards,
        frames_text=frames_text,
        published=published_rows(own, found.protocol),
        published_text=f"{PUBLISHED_TEXT} The raw errors of this evaluation are of hands where they were submitted: "
        "nothing is moved.",
        protocol=protocol_rows(found.protocol),
    )
    write_page(out / "report.html", page)
    numbers = {
        name: {title: {"threshold_m": t.tolist(), "value": share.tolist()} for title, (t, share) in lines.items()}
        for name, lines in (("pck", curves), ("f_score", f_curves))
    }
    write_json(out / "report.json", numbers, indent=None)


def official_rows(
    scores: dict[str, float], intervals: Mapping[str, Mapping[str, float]]
) -> list[tuple[str, str, dict[str, str] | None]]:
    """The official keys with their meaning, printed values, and intervals in their units."""
    rows = []
    for key, value in scores.items():
        name = OFFICIAL[key]
        scale = 0.1 if name.endswith("_mm") else 1.0
        bounds = intervals.get(name)
        interval = None if bounds is None else {side: f"{scale * bound:.3f}" for side, bound in bounds.items()}
        rows.append((f"{key} ({NAMES[name].removesuffix(', mm')})", f"{value:f}", interval))
    return rows


def missing_section(found: Scored) -> list[Section]:
    """The section that says which frames are not scored; empty where all are."""
    whole = FRAME_COUNTS[found.protocol["dataset"]]
    present, missing = len(found.names) + len(found.missing), len(found.missing)
    texts = []
    if missing:
        texts.append(
            f"{missing} of {present} frames are not predicted and not scored (missing.txt names them): the scores are "
            "not comparable with those of whole submissions."
        )
    if present != whole:
        texts.append(f"The ground truth has {present} frames, the whole of {found.protocol['dataset']} {whole}.")
    return [Section("Not the whole split", " ".join(texts))] if texts else []


def worst_frames(found: Scored) -> dict[str, dict[str, float]]:
    """The values of the frames with the largest PA-MPJPE, by name."""
    order = np.argsort(-found.values["pa_mpjpe_mm"])[:WORST].tolist()
    return {str(found.names[n]): {name: float(found.values[name][n]) for name in COLUMNS} for n in order}


def draw_cards(found: Scored, photos: Photos, predicted: Meshes, truth: Meshes) -> tuple[dict[str, list[Card]], str]:
    """Draw typical, best and worst frames by PA-MPJPE; returns their cards and the text that stands above them."""
    if photos.root is None:
        return {}, (
            f"No pictures: there are no photos in {' and '.join(photos.looked_at)}. Put the ground truth into HO3D's "
            "own folder, or set HO3D_DIR."
        )
    error, cards, reasons = found.values["pa_mpjpe_mm"], {}, []
    for group, positions in choose_frames(error).items():
        cards[group] = []
        for n in positions:
            one = np.array([n])
            card, reason = draw_frame(
                photos, str(found.names[n]), float(error[n]), predicted.select(one), truth.select(one)
            )
            cards[group].append(card)
            reasons += [reason] if reason else []
    without = f" {len(reasons)} frames have no pictures ({reasons[0]})." if reasons else ""
    return cards, FRAMES_TEXT + without
