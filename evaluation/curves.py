"""Plots of the report, as SVG text: PCK curves, error against occlusion, training curves."""

import io
import json
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..hand.errors import InputError
from .metrics import pck_curve

BLUE, ORANGE, GREY = "#2f6db5", "#d9792b", "#8a8f98"


def figure(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    """An empty plot in the page's style; drawn without pyplot, so that no display or global state is involved."""
    drawing = Figure(figsize=(5.0, 3.1), layout="constrained")
    axes = drawing.add_subplot()
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    return drawing, axes


def to_svg(drawing: Figure) -> str:
    """The drawing as an <svg> element, the same bytes for the same drawing."""
    text = io.StringIO()
    drawing.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def pck_plot(curves: dict[str, NDArray]) -> str | None:
    """PCK curves of errors (N, K) m by title; frames without truth are left out. None where nothing is known."""
    drawing, axes = figure("Points within a distance (PCK)", "error threshold, mm", "share of points")
    drawn = False
    for (title, errors), color in zip(curves.items(), (BLUE, ORANGE, GREY, "#4c9f70"), strict=False):
        known = errors[np.isfinite(errors).all(1)]
        if len(known):
            thresholds, share = pck_curve(known)
            axes.plot(thresholds * 1000, share, label=title, color=color, linewidth=1.6)
            drawn = True
    if not drawn:
        return None
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False, fontsize=8)
    return to_svg(drawing)


def occlusion_plot(rows: dict[str, dict]) -> str | None:
    """Aligned and root-relative joint error against the number of occluded fingers; `rows` as in breakdown.json."""
    known = {int(k): row for k, row in rows.items() if row["pa_mpjpe_mm"] is not None}
    if not known:
        return None
    drawing, axes = figure("Error against occlusion", "occluded fingers (frames)", "mm")
    x = sorted(known)
    for key, title, color in (("pa_mpjpe_mm", "PA-MPJPE", BLUE), ("mpjpe_mm", "MPJPE", ORANGE)):
        axes.plot(x, [known[k][key] for k in x], marker="o", markersize=4, color=color, label=title, linewidth=1.6)
    axes.set_xticks(x, [f"{k}\n({known[k]['frames']})" for k in x])
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)
    return to_svg(drawing)


def read_history(run: Path) -> list[dict]:
    """The lines of a run folder's metrics.jsonl. InputError names the first line that is no JSON."""
    path = run / "metrics.jsonl"
    if not path.is_file():
        raise InputError(f"{path}: not found; expected a run folder of h2o train")
    history = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            history.append(json.loads(line))
        except ValueError as error:
            raise InputError(f"{path}: line {number}: not JSON ({error})") from error
    return history


def training_plot(title: str, history: list[dict], x: str, y: dict[str, str], unit: str) -> str | None:
    """Curves of a run: `y` maps keys of metrics.jsonl's lines to titles. None where no line has one of them."""
    drawing, axes = figure(title, x, unit)
    drawn = False
    for (key, label), color in zip(y.items(), (BLUE, ORANGE, GREY, "#4c9f70"), strict=False):
        points = [(line[x], line[key]) for line in history if key in line and x in line]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, color=color, linewidth=1.4)
            drawn = True
    if not drawn:
        return None
    axes.legend(frameon=False, fontsize=8)
    return to_svg(drawing)
