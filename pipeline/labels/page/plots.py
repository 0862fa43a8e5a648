"""The page's plots, as SVG; a plot of which nothing is known is left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ....hand.pages import BLUE, GREEN, GREY, ORANGE, VIOLET, new_figure, to_svg
from ....hand.parts import CAUSES, FINGERS, JOINT_NAMES, LABELS, PARTS, UNKNOWN
from .rows import Groups, LabelRows, fingers_hidden
from .times import Course, tenth_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CAUSE_COLOURS = (ORANGE, GREEN, GREY, VIOLET)
"""Of object, own hand, outside the image, other hand."""
SEEN, NOTHING = "#cfdcec", "#f1f3f6"
_RULES = {"h2onet": ("h2onet: hidden", ORANGE), "depth": ("depth: less than half seen", BLUE)}
_MOST_BARS = 24
_SHORT = 26  # letters of a group's name beside a bar
_COLUMNS = 200  # of a recording's lanes: longer recordings are averaged
_FEW = 40  # points that are drawn with markers


def first_plots(rows: LabelRows) -> dict[str, list[str]]:
    """Plots of fingers, joints, silhouettes, agreement and masks, by section."""
    found = {
        "fingers": [balance_plot(rows), fingers_plot(rows)],
        "joints": [joint_plot(rows)],
        "causes": cause_plots(rows),
        "areas": area_plots(rows),
        "agreement": [split_plot(rows), agreement_plot(rows)],
        "mask": [mask_plot(rows)],
        "time": [time_plot(rows)],
    }
    return {section: [plot for plot in plots if plot] for section, plots in found.items()}


def balance_plot(rows: LabelRows) -> str | None:
    """Share of the known frames in which each label is hidden, by both rules."""
    bars = {
        "h2onet": (rows.hidden.sum(axis=0), rows.known.sum(axis=0)),
        "depth": (rows.depth_hidden.sum(axis=0), rows.depth_known.sum(axis=0)),
    }
    bars = {rule: (few, whole) for rule, (few, whole) in bars.items() if whole.any()}
    if not bars:
        return None
    drawing, axes = new_figure("How often each part is hidden", "", "share of known frames")
    width = 0.8 / len(bars)
    for k, (rule, (few, whole)) in enumerate(bars.items()):
        place = np.arange(len(few)) + (k - (len(bars) - 1) / 2) * width
        title, colour = _RULES[rule]
        axes.bar(place, few / np.maximum(whole, 1), width, label=title, color=colour)
    axes.set_xticks(np.arange(len(LABELS)), LABELS)
    _legend_above(axes)
    return to_svg(drawing)


def fingers_plot(rows: LabelRows) -> str | None:
    """How many fingers a frame hides, over frames in which all five are known."""
    bars = {}
    for rule, (hidden, known) in fingers_hidden(rows).items():
        whole = known.all(axis=1)
        if whole.any():
            bars[rule] = np.bincount(hidden[whole].sum(axis=1), minlength=6) / whole.sum()
    if not bars:
        return None
    drawing, axes = new_figure("Hidden fingers in a frame", "hidden fingers", "share of frames")
    width = 0.8 / len(bars)
    for k, (rule, shares) in enumerate(bars.items()):
        place = np.arange(6) + (k - (len(bars) - 1) / 2) * width
        axes.bar(place, shares, width, label=_RULES[rule][0], color=_RULES[rule][1])
    axes.set_xticks(range(6))
    _legend_above(axes)
    return to_svg(drawing)


def joint_plot(rows: LabelRows) -> str | None:
    """Share of the known frames in which each of the 21 joints is hidden."""
    joints = rows["joint_visible"]
    known = (joints != UNKNOWN).sum(axis=0)
    if not known.any():
        return None
    drawing, axes = new_figure("How often each joint is hidden (depth)", "", "share of known frames", (10.2, 2.9))
    gaps = np.array([0, *(0.6 * (1 + j // 4) for j in range(20))])  # between fingers
    place = np.arange(len(JOINT_NAMES)) + gaps
    axes.bar(place, (joints == 0).sum(axis=0) / np.maximum(known, 1), 0.8, color=[GREY, *[BLUE] * 20])
    axes.set_xticks(place, [JOINT_NAMES[0], *(name.partition("_")[2] for name in JOINT_NAMES[1:])])
    for k, finger in enumerate(FINGERS):
        middle = place[1 + 4 * k : 5 + 4 * k].mean()
        at = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        axes.annotate(finger, (middle, 0), (0, -24), ha="center", fontsize=9, **at)
    axes.set_xlabel(" ", fontsize=14)  # room for the fingers' names
    axes.set_xlim(place[0] - 0.8, place[-1] + 0.8)
    axes.grid(visible=False, axis="x")
    return to_svg(drawing)


def cause_plots(rows: LabelRows) -> list[str]:
    """Stacked bars per part: mean shares of its skin that are seen or hidden, and frames by the largest cause."""
    cause = rows["cause"]
    known = (cause != UNKNOWN).sum(axis=0)
    if not known.any():
        return []
    hidden = [_means(rows["hidden_fraction"][:, :, k]) for k in range(3)]
    means = [_means(rows["visible_fraction"]), *hidden, _means(rows["other_hand_fraction"])]
    frames = [(cause == code).sum(axis=0) / np.maximum(known, 1) for code in range(len(CAUSES))]
    return [
        _stacked("Where a part's camera-facing skin is, mean", "share", ("seen", *CAUSES[1:]), means),
        _stacked("What hides most of a part", "share of known frames", ("nothing", *CAUSES[1:]), frames),
    ]


def _stacked(title: str, unit: str, names: Sequence[str], values: Sequence[np.ndarray]) -> str:
    """Shares (6,) of every part by cause, one upon the other; a cause that never happens has no place in the legend."""
    drawing, axes = new_figure(title, "", unit)
    bottom = np.zeros(len(PARTS))
    for name, colour, share in zip(names, (SEEN, *CAUSE_COLOURS), values, strict=True):
        if share.any():
            axes.bar(np.arange(len(PARTS)), share, 0.7, bottom=bottom, label=name, color=colour)
        bottom += share
    axes.set_xticks(np.arange(len(PARTS)), PARTS)
    axes.set_ylim(0, 1)
    _legend_above(axes)
    return to_svg(drawing)


def _means(values: np.ndarray) -> np.ndarray:
    """Means (6,) over the frames in which a part is known, 0 where none is."""
    known = np.isfinite(values)
    return np.where(known, values, 0).sum(axis=0, dtype=np.float64) / np.maximum(known.sum(axis=0), 1)


def area_plots(rows: LabelRows) -> list[str]:
    """Histograms of the two visible shares of the silhouette."""
    found = []
    for title, name, colour in (
        ("Seen of the whole silhouette", "hand_visible_area", BLUE),
        ("Left by objects of what is in the image", "object_visible_area", ORANGE),
    ):
        values = rows[name][np.isfinite(rows[name])]
        if len(values):
            drawing, axes = new_figure(title, "visible share", "frames")
            axes.hist(values, np.linspace(0, 1, 21).tolist(), color=colour)
            _count_in_whole_numbers(axes)
            found.append(to_svg(drawing))
    return found


def split_plot(rows: LabelRows) -> str | None:
    """What the depth rule sees of the fingers that h2onet calls hidden, and of those that it calls seen."""
    count = len(FINGERS)
    known, hidden = rows.both_known[:, :count], rows.hidden[:, :count]
    if not known.any():
        return None
    fraction = rows["visible_fraction"][:, :count]
    drawing, axes = new_figure("What depth sees of h2onet's fingers", "seen share of the finger (depth)", "fingers")
    values = [fraction[known & hidden], fraction[known & ~hidden]]
    titles = [f"h2onet: hidden ({len(values[0])})", f"h2onet: seen ({len(values[1])})"]
    axes.hist(values, np.linspace(0, 1, 21).tolist(), label=titles, color=[ORANGE, BLUE])
    axes.axvline(0.5, color=GREY, linewidth=1.0, linestyle="--")
    _count_in_whole_numbers(axes)
    _legend_above(axes)
    return to_svg(drawing)


def agreement_plot(rows: LabelRows) -> str | None:
    """Share of the fingers on which the rules agree, by the seen share below which depth calls a finger hidden."""
    count = len(FINGERS)
    known, hidden = rows.both_known[:, :count], rows.hidden[:, :count]
    if not known.any():
        return None
    fraction, said = rows["visible_fraction"][:, :count][known], hidden[known]
    limits = np.linspace(0.02, 0.98, 49)
    agree = [float(((fraction < limit) == said).mean()) for limit in limits]
    title = "Agreement by where depth draws the line"
    drawing, axes = new_figure(title, "hidden below this seen share", "fingers agreed")
    axes.plot(limits, agree, color=BLUE, linewidth=1.6)
    axes.axvline(0.5, color=GREY, linewidth=1.0, linestyle="--")
    axes.set_xlim(0, 1)
    return to_svg(drawing)


def mask_plot(rows: LabelRows) -> str | None:
    """Histogram of the overlap with the dataset's mask."""
    values = rows["mask_iou"][np.isfinite(rows["mask_iou"])]
    if not len(values):
        return None
    drawing, axes = new_figure("Rendered hand and dataset's mask", "overlap (intersection over union)", "frames")
    low = min(0.8, np.floor(20 * float(values.min())) / 20)
    axes.hist(values, np.linspace(low, 1, 31).tolist(), color=BLUE)
    _count_in_whole_numbers(axes)
    return to_svg(drawing)


def group_plots(groups: dict[str, Groups], rows: LabelRows) -> dict[str, str]:
    """Share of hidden fingers in every group, by title; divisions into a single group have no plot."""
    found = {}
    for title, division in groups.items():
        counts = {
            rule: (division.count(hidden.sum(axis=1)), division.count(known.sum(axis=1)))
            for rule, (hidden, known) in fingers_hidden(rows).items()
        }
        counts = {rule: pair for rule, pair in counts.items() if pair[1].any()}
        if len(division.names) < 2 or not counts:
            continue
        shown = np.sort(np.argsort(-division.count(), kind="stable")[:_MOST_BARS])[::-1]
        size = (5.0, 0.75 + 0.3 * max(len(shown), 3))
        drawing, axes = new_figure(f"By {title}", "share of known fingers that is hidden", "", size)
        height = 0.8 / len(counts)
        for k, (rule, (few, whole)) in enumerate(counts.items()):
            place = np.arange(len(shown)) - (k - (len(counts) - 1) / 2) * height
            share, (words, colour) = few[shown] / np.maximum(whole[shown], 1), _RULES[rule]
            axes.barh(place, share, height, label=words, color=colour)
        axes.set_yticks(np.arange(len(shown)), [_short(division.names[g]) for g in shown.tolist()], parse_math=False)
        axes.set_ylim(-0.6, len(shown) - 0.4)
        axes.grid(visible=False, axis="y")
        _legend_above(axes)
        found[title] = to_svg(drawing)
    return found


def time_plot(rows: LabelRows) -> str | None:
    """Share of hidden fingers by tenth of the recording."""
    tenth = tenth_of(rows)
    drawing, axes = new_figure("All recordings", "percent of the recording", "share of known fingers hidden")
    drawn = False
    for rule, (hidden, known) in fingers_hidden(rows).items():
        few, whole = (np.bincount(tenth, part.sum(axis=1), minlength=10) for part in (hidden, known))
        if whole.any():
            title, colour = _RULES[rule]
            share = few[whole > 0] / whole[whole > 0]
            axes.plot(5 + 10 * np.flatnonzero(whole), share, color=colour, label=title, marker="o", markersize=3)
            drawn = True
    if not drawn:
        return None
    axes.set_xlim(0, 100)
    axes.set_ylim(bottom=0)
    _legend_above(axes)
    return to_svg(drawing)


def course_plot(course: Course) -> str:
    """A recording over time: shares of hidden fingers by both rules, and below a lane per finger (h2onet, or depth)."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    first, last = int(course.frames[0]), int(course.frames[-1])
    columns = min(last - first + 1, _COLUMNS)
    place = (course.frames.astype(np.int64) - first) * columns // (last - first + 1)
    edges = np.linspace(first, last + 1, columns + 1)
    drawing = Figure(figsize=(5.0, 3.1), layout="constrained")
    above, below = drawing.subplots(2, sharex=True, height_ratios=(5, 4))
    above.set_title(_short(course.name, 36), fontsize=9, loc="left", parse_math=False)
    lanes, lane_colour = None, ORANGE
    for rule, (title, colour) in _RULES.items():
        sums = [np.zeros((columns, len(FINGERS))) for _ in range(2)]
        for total, counts in zip(sums, (course.hidden[rule], course.known[rule]), strict=True):
            np.add.at(total, place, counts)
        few, whole = sums
        there = whole.sum(axis=1) > 0
        if not there.any():
            continue
        middle = ((edges[:-1] + edges[1:]) / 2)[there]
        marker = "o" if there.sum() <= _FEW else None
        above.plot(
            middle, (few.sum(axis=1) / np.maximum(whole.sum(axis=1), 1))[there],
            color=colour, label=title.partition(":")[0], linewidth=1.4, marker=marker, markersize=3,
        )  # fmt: skip
        if lanes is None:
            lanes, lane_colour = np.where(whole > 0, few / np.maximum(whole, 1), np.nan), colour
    above.set_ylim(-0.03, 1.03)
    above.set_ylabel("share hidden", fontsize=8)
    above.legend(frameon=False, fontsize=8, ncols=2, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)
    if lanes is not None:
        shades = LinearSegmentedColormap.from_list("lane", [NOTHING, lane_colour]).with_extremes(bad="#ffffff")
        box = (first, last + 1, len(FINGERS), 0)
        below.imshow(lanes.T, cmap=shades, vmin=0, vmax=1, aspect="auto", extent=box, interpolation="nearest")
    below.set_yticks(np.arange(len(FINGERS)) + 0.5, FINGERS)
    below.hlines(np.arange(1, len(FINGERS)), first, last + 1, color="#ffffff", linewidth=1.5)
    below.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    below.set_xlabel("frame", fontsize=8)
    for axes in (above, below):
        axes.tick_params(labelsize=8, length=0)
        axes.spines[:].set_visible(False)
    above.grid(alpha=0.25, linewidth=0.6)
    return to_svg(drawing)


def course_plots(courses: Sequence[Course]) -> list[str]:
    """A plot of every course."""
    return [course_plot(course) for course in courses]


def _count_in_whole_numbers(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))


def _legend_above(axes: Axes) -> None:
    """The legend in a line under the title, where it covers nothing."""
    axes.legend(
        frameon=False, fontsize=8, ncols=5, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.1,
        handlelength=1.2, columnspacing=1.0,
    )  # fmt: skip
    axes.set_title(axes.get_title(loc="left"), fontsize=10, loc="left", pad=18)


def _short(name: str, letters: int = _SHORT) -> str:
    """The end of a long name, which tells more than its start."""
    return name if len(name) <= letters else "…" + name[1 - letters :]
