"""Plots of the report, as SVG: PCK curves, error against occlusion, calibration."""

import io
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...durable import writing_file

BLUE, ORANGE, GREY = "#2f6db5", "#d9792b", "#8a8f98"
COLOURS = (BLUE, ORANGE, "#4c9f70", "#a05aa8", GREY)


def new_figure(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    """An empty plot in the page's style, made without pyplot and so without display or global state."""
    drawing = Figure(figsize=(5.0, 3.1), layout="constrained")
    axes = drawing.add_subplot()
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    return drawing, axes


def to_svg(drawing: Figure, png: Path | None = None) -> str:
    """Render a drawing as an <svg> element; with `png` also write it as that file."""
    if png is not None:
        with writing_file(png) as file:
            drawing.savefig(file, format="png", dpi=150)
    text = io.StringIO()
    drawing.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def pck_plot(curves: dict[str, tuple[NDArray, NDArray]], png: Path | None = None) -> str | None:
    """PCK curves by title, each as thresholds (100,) m and shares (100,). None where there is no curve."""
    return share_plot(curves, ("Points within a distance (PCK)", "error threshold, mm", "share of points"), png)


def f_score_plot(curves: dict[str, tuple[NDArray, NDArray]], png: Path | None = None) -> str | None:
    """F-scores of meshes by title, each as thresholds (T,) m and scores (T,). None where there is no curve."""
    return share_plot(curves, ("F-score of the mesh", "distance threshold, mm", "F-score"), png)


def share_plot(curves: dict[str, tuple[NDArray, NDArray]], words: tuple[str, str, str], png: Path | None) -> str | None:
    """Shares against thresholds in m by title; `words` are the plot's title and those of its axes."""
    if not curves:
        return None
    drawing, axes = new_figure(*words)
    for (title, (thresholds, share)), colour in zip(curves.items(), COLOURS, strict=False):
        axes.plot(thresholds * 1000, share, label=title, color=colour, linewidth=1.6)
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False, fontsize=8)
    return to_svg(drawing, png)


def fraction_plot(rows: dict[str, dict], png: Path | None = None) -> str | None:
    """Joint error of fingers by how much of them is visible; `rows` as in breakdown.json's visible_fraction."""
    known = {name: row for name, row in rows.items() if row["pa_mpjpe_mm"] is not None}
    if not known:
        return None
    drawing, axes = new_figure("Error against visibility", "visible share of the finger (fingers)", "mm")
    place = np.arange(len(known))
    for shift, key, title, colour in ((-0.2, "pa_mpjpe_mm", "PA-MPJPE", BLUE), (0.2, "mpjpe_mm", "MPJPE", ORANGE)):
        axes.bar(place + shift, [row[key] for row in known.values()], 0.4, label=title, color=colour)
    labels = [f"{name.replace(' to ', '–')}\n({row['fingers']})" for name, row in known.items()]
    axes.set_xticks(place, labels, fontsize=7)
    axes.set_ylim(top=1.15 * axes.get_ylim()[1])  # room for the legend above the bars
    axes.legend(frameon=False, fontsize=8, loc="upper right", ncols=2)
    return to_svg(drawing, png)


def reliability_plot(bins: list[tuple[float, float, int]], png: Path | None = None) -> str | None:
    """Predicted probability against how often it was true: (probability, share hidden, fingers) per bin."""
    if not bins:
        return None
    drawing, axes = new_figure(
        "Is the occlusion probability right?", "probability of being hidden", "share that was hidden"
    )
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--")
    most = max(count for _, _, count in bins)
    predicted, observed, counts = zip(*bins, strict=True)
    axes.plot(predicted, observed, color=BLUE, linewidth=1.2)
    axes.scatter(predicted, observed, s=[12 + 110 * count / most for count in counts], color=BLUE, alpha=0.75)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    return to_svg(drawing, png)


def occlusion_plot(rows: dict[str, dict], png: Path | None = None) -> str | None:
    """Aligned and root-relative joint error against the number of occluded fingers; `rows` as in breakdown.json."""
    known = {int(k): row for k, row in rows.items() if row["pa_mpjpe_mm"] is not None}
    if not known:
        return None
    drawing, axes = new_figure("Error against occlusion", "occluded fingers (frames)", "mm")
    x = sorted(known)
    for key, title, colour in (("pa_mpjpe_mm", "PA-MPJPE", BLUE), ("mpjpe_mm", "MPJPE", ORANGE)):
        axes.plot(x, [known[k][key] for k in x], marker="o", markersize=4, color=colour, label=title, linewidth=1.6)
    axes.set_xticks(x, [f"{k}\n({known[k]['frames']})" for k in x])
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)
    return to_svg(drawing, png)
