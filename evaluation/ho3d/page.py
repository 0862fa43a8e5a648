"""The page of a scored pred.json: the official scores, curves, sequences, and frames on their photos where those are.

Lengths are millimetres here, but for the official scores, which keep their centimetres.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...durable import writing_file
from ...hand.parts import VERTICES
from .. import metrics
from ..page.cards import Example, chosen_frames
from ..page.page import Page, Section, write_page
from ..page.plots import f_score_plot, pck_plot
from ..page.tables import (
    NAMES,
    OFFICIAL,
    PUBLISHED_TEXT,
    about,
    field_terms,
    intervals_text,
    protocol_rows,
    published_rows,
    tables_of,
    title_of,
)
from ..scoring.confidence import bootstrap_interval
from ..scoring.summary import average
from .files import FRAMES, Meshes
from .pictures import Photos, draw_frame

COLUMNS = ("pa_mpjpe_mm", "pa_mpvpe_mm", "mpjpe_mm", "mpvpe_mm", "pa_f_5", "pa_f_15")
SHOWN = (
    "Every dot is a vertex, nearer ones brighter: truth in orange, prediction in blue where it was submitted, and its "
    "error from blue (0) over yellow to red (30 mm and more) after moving its middle onto the truth's."
)
WORST = 10
UNKNOWN = "unknown"  # the recording of frames that no evaluation.txt names
Curves = dict[str, tuple[NDArray, NDArray]]


@dataclass(frozen=True)
class Scored:
    """What scoring gave: the official `scores`; `errors` in m and shares of every frame (`released.frame_errors`);
    `values` (N,) of every frame by the names of clips, mm; `keys` sequence, recording, frame (N,); `names` (N,) of the
    scored and `missing` (M,) of the other frames; the protocol.
    """

    scores: dict[str, float]
    errors: dict[str, NDArray]
    values: dict[str, NDArray]
    keys: dict[str, NDArray]
    names: NDArray
    missing: NDArray
    protocol: dict[str, Any]

    @property
    def named(self) -> bool:
        """Whether frames have names, from an evaluation.txt."""
        return bool((self.keys["recording"] != UNKNOWN).any())


def released_breakdown(found: Scored) -> dict[str, dict]:
    """breakdown.json: means by sequence, where frames are named, and 95 % intervals over recordings."""
    sequences = {}
    absent = [name.rsplit("/", 1)[0] for name in found.missing.tolist()]
    for key in sorted({*found.keys["sequence"].tolist(), *absent}) if found.named else []:
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
    thresholds = np.linspace(0.0, metrics.AUC_MAXIMUM, metrics.AUC_STEPS)
    for title, name in (("vertices, aligned", "mesh_al_counts"), ("vertices", "mesh_counts")):
        found[title] = thresholds, errors[name].astype(np.float64).sum(0) / (len(errors[name]) * VERTICES)
    return found


def write_released_page(
    out: Path, found: Scored, breakdown: dict[str, dict], photos: Photos, predicted: Meshes, truth: Meshes
) -> None:
    """Write report.html, its plots as PNG in pieces/ and its curves as report.json; meshes in the order of `found`."""
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
    intervals, own = breakdown["confidence_95"], field_terms(found.scores)
    recordings = len(np.unique(found.keys["recording"]))
    cards, pictured = frame_cards(found, photos, predicted, truth)
    page = Page(
        title=title_of(found.protocol),
        about=about(found.protocol),
        tiles=[(NAMES[name], own[name], intervals.get(name)) for name in COLUMNS],
        first=not_predicted(found),
        plots=[plot for plot in plots if plot],
        metrics=official_rows(found.scores, intervals),
        metrics_text="Values as HO3D's script prints them: errors in cm, areas and F-scores as shares. "
        + (intervals_text(recordings) if found.named else "No intervals: the frames have no names."),
        recordings=recordings,
        tables=tables_of({"sequence": breakdown["sequence"], "worst frames": worst_frames(found)}),
        frames=cards,
        frames_text=pictured,
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
    with writing_file(out / "report.json") as file:
        file.write((json.dumps(numbers, allow_nan=False) + "\n").encode())


def official_rows(
    scores: dict[str, float], intervals: Mapping[str, Mapping[str, float]]
) -> list[tuple[str, str, dict[str, str] | None]]:
    """The official keys with what they mean, their printed values, and intervals in their units."""
    rows = []
    for key, value in scores.items():
        name = OFFICIAL[key]
        scale = 0.1 if name.endswith("_mm") else 1.0
        bounds = intervals.get(name)
        interval = None if bounds is None else {side: f"{scale * bound:.3f}" for side, bound in bounds.items()}
        rows.append((f"{key} ({NAMES[name].removesuffix(', mm')})", f"{value:f}", interval))
    return rows


def not_predicted(found: Scored) -> list[Section]:
    """The part that says how much is not scored; none where everything is."""
    whole = FRAMES[found.protocol["dataset"]]
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


def frame_cards(
    found: Scored, photos: Photos, predicted: Meshes, truth: Meshes
) -> tuple[dict[str, list[Example]], str]:
    """Cards of typical, best and worst frames by PA-MPJPE, and what stands above them: what they show, or why not."""
    if photos.root is None:
        return {}, (
            f"No pictures: there are no photos in {' and '.join(photos.looked_at)}. Put the ground truth into HO3D's "
            "own folder, or set HO3D_DIR."
        )
    error, cards, reasons = found.values["pa_mpjpe_mm"], {}, []
    for group, positions in chosen_frames(error).items():
        cards[group] = []
        for n in positions:
            one = np.array([n])
            card, reason = draw_frame(
                photos, str(found.names[n]), float(error[n]), predicted.select(one), truth.select(one)
            )
            cards[group].append(card)
            reasons += [reason] if reason else []
    without = f" {len(reasons)} frames have no pictures ({reasons[0]})." if reasons else ""
    return cards, SHOWN + without
