"""Plots of the report, as SVG: PCK curves, error against occlusion, calibration."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...hand.pages import BLUE, COLOURS, GREY, ORANGE, new_figure, to_svg


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
