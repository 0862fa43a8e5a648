"""A camera sequence at a glance: pictures of some of its frames, and error and finger occlusion over all of them."""

from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ...hand.draw import Picture
from ...hand.pages import BLUE, ORANGE, to_svg
from ...hand.parts import FINGERS
from ..scoring.facts import FrameFacts
from ..scoring.scores import FrameScores
from ..scoring.summary import MM
from .cards import HEAT_CAPTION, Drawer, shows_hand, spread_evenly

CELL = 144  # px of one picture in a strip
COLUMNS = 8
ROWS = ("crop", "truth", "prediction", HEAT_CAPTION)
SHORTEST = 4  # frames: a shorter sequence is no strip

LANE = "#f1f3f6"  # background of a finger's lane


@dataclass(frozen=True)
class Strip:
    """One sequence: its name, the frame numbers shown, the picture grid and the timeline SVG.

    error_mm: mean PA-MPJPE in mm of the frames that show the hand (of all where none does).
    """

    sequence: str
    error_mm: float
    frames: list[int]
    picture: Picture
    timeline: str


def choose_sequences(scores: FrameScores, facts: FrameFacts, each: int = 2) -> dict[str, list[str]]:
    """The best and the worst camera sequences by mean PA-MPJPE; none where no truth is known.

    Frames count that show the hand (`cards.shows_hand`), or all where no sequence has enough of them.
    """
    error = scores.joint_errors_pa.mean(1)
    known = np.isfinite(error)
    means = _means(error, facts.sequence, known & shows_hand(facts.cause)) or _means(error, facts.sequence, known)
    each = min(each, len(means) // 2) or min(1, len(means))
    if len(means) <= 1:
        return {"the sequence": [key for _, key in means]} if means else {}
    keys = [key for _, key in means]
    return {"best sequences": keys[:each], "worst sequences": keys[-each:][::-1]}


def _means(error: NDArray, sequence: NDArray, known: NDArray[np.bool_]) -> list[tuple[float, str]]:
    """Mean error over the known frames of every sequence that has enough of them, with its key, ascending."""
    keys, place = np.unique(sequence[known], return_inverse=True)
    counts = np.bincount(place, minlength=len(keys))
    sums = np.bincount(place, error[known], minlength=len(keys))
    return sorted((float(s / n), str(key)) for key, s, n in zip(keys, sums, counts, strict=True) if n >= SHORTEST)


def draw_strip(drawer: Drawer, facts: FrameFacts, sequence: str) -> Strip:
    """Draw at most 8 frames, spread evenly over those that show the hand if there are any, and the timeline of all."""
    positions = np.flatnonzero(facts.sequence == sequence)
    positions = positions[np.argsort(facts.number[positions])]
    whole = positions[shows_hand(facts.cause[positions])]
    if not len(whole):
        whole = positions
    shown = np.array(spread_evenly(whole.tolist(), COLUMNS))
    columns = []
    for position in shown.tolist():
        drawn = drawer.pictures(position)
        blank = np.full((CELL, CELL, 3), 235, np.uint8)
        cells = [shrink(drawn[row]) if row in drawn else blank for row in ROWS]
        columns.append(np.concatenate(cells, axis=0))
    numbers = facts.number[shown].tolist()
    return Strip(
        sequence=sequence,
        error_mm=float(np.nanmean(drawer.scores.joint_errors_pa[whole].mean(1)) * MM),
        frames=numbers,
        picture=np.concatenate(columns, axis=1),
        timeline=draw_timeline(drawer.scores, facts.number, positions, numbers),
    )


def shrink(picture: Picture) -> Picture:
    """Shrink a picture to the strip's size, with a thin white border on the right and below."""
    small = np.asarray(cv2.resize(picture, (CELL, CELL), interpolation=cv2.INTER_AREA), np.uint8)
    small[-2:], small[:, -2:] = 255, 255
    return small


def draw_timeline(scores: FrameScores, number: NDArray, positions: NDArray, shown: list[int]) -> str:
    """Draw PA-MPJPE over frames above a lane per finger, whose upper half is the label, the lower the probability.

    A frame covers [number, number + 1); the frames `shown` in the strip are marked.
    """
    frames = number[positions]
    drawing = Figure(figsize=(10.0, 2.6), layout="constrained")
    above, below = drawing.subplots(2, sharex=True, height_ratios=(4, 5))
    above.plot(frames + 0.5, scores.joint_errors_pa[positions].mean(1) * MM, color=BLUE, linewidth=1.6)
    above.set_ylim(bottom=0)
    above.yaxis.set_major_locator(MaxNLocator(3))
    above.set_ylabel("mm", fontsize=9)
    below.invert_yaxis()
    for lane in range(len(FINGERS)):
        below.axhspan(lane + 0.1, lane + 0.9, color=LANE, linewidth=0)
        draw_bars(below, lane + 0.1, frames, scores.occluded[positions, lane] == 1, ORANGE)
        draw_bars(below, lane + 0.5, frames, scores.occluded_probability[positions, lane], BLUE)
    below.set_yticks(np.arange(len(FINGERS)) + 0.5, FINGERS)
    below.set_xticks([frame + 0.5 for frame in shown], [str(frame) for frame in shown])
    below.set_xlim(frames[0], frames[-1] + 1)
    for axes in (above, below):
        axes.tick_params(labelsize=8, length=0)
        axes.spines[:].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6, axis="both" if axes is above else "x")
    return to_svg(drawing)


def draw_bars(axes: Axes, bottom: float, frames: NDArray, opacity: NDArray, colour: str) -> None:
    """Draw a bar of a colour over every frame with its `opacity` (F,) in [0, 1]; NaN counts as 0.

    Opacities are rounded to twentieths, and equal neighbours become one bar: the page holds thousands of frames.
    """
    shades = np.round(np.nan_to_num(opacity.astype(float)) * 20) / 20
    starts = np.flatnonzero((np.diff(shades, prepend=np.nan) != 0) | (np.diff(frames, prepend=-1) != 1))
    lengths = np.diff(starts, append=len(frames))
    colours = [to_rgba(colour, shade) for shade in shades[starts].tolist()]
    bars = list(zip(frames[starts].tolist(), lengths.tolist(), strict=True))
    axes.broken_barh(bars, (bottom, 0.4), color=colours, linewidth=0)
