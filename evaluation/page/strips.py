"""A camera sequence at a glance: pictures of some of its frames, and error and finger occlusion over all of them."""

from dataclasses import dataclass
from html import escape

import cv2
import numpy as np
from numpy.typing import NDArray

from ...hand.draw import Picture
from ...hand.parts import FINGERS
from ..scoring.facts import FrameFacts
from ..scoring.scores import FrameScores
from ..scoring.summary import MM
from .cards import HEAT_CAPTION, Drawer

CELL = 144  # px of one picture in a strip
COLUMNS = 8
ROWS = ("crop", "truth", "prediction", HEAT_CAPTION)
SHORTEST = 4  # frames: a shorter sequence is no strip

WIDTH, LEFT, RIGHT = 1000, 74, 12  # of the timeline, in its own units
PLOT, LANE, GAP = 96, 20, 4
INK, SOFT, LINE, BLUE, ORANGE = "#1d2430", "#5b6675", "#dfe4ea", "#2f6db5", "#d9792b"


@dataclass(frozen=True)
class Strip:
    """One sequence: its name, mean PA-MPJPE in mm, the frame numbers shown, the picture grid and the timeline SVG."""

    sequence: str
    error_mm: float
    frames: list[int]
    picture: Picture
    timeline: str


def choose_sequences(scores: FrameScores, facts: FrameFacts, each: int = 2) -> dict[str, list[str]]:
    """The best and the worst camera sequences by mean PA-MPJPE; none where no truth is known."""
    error = scores.joint_errors_pa.mean(1)
    known = np.isfinite(error)
    keys, place = np.unique(facts.sequence[known], return_inverse=True)
    counts = np.bincount(place, minlength=len(keys))
    sums = np.bincount(place, error[known], minlength=len(keys))
    means = [(float(s / n), str(key)) for key, s, n in zip(keys, sums, counts, strict=True) if n >= SHORTEST]
    means.sort()
    each = min(each, len(means) // 2) or min(1, len(means))
    if len(means) <= 1:
        return {"the sequence": [key for _, key in means]} if means else {}
    keys = [key for _, key in means]
    return {"best sequences": keys[:each], "worst sequences": keys[-each:][::-1]}


def draw_strip(drawer: Drawer, facts: FrameFacts, sequence: str) -> Strip:
    """Draw at most 8 frames, spread evenly, and the timeline of all."""
    positions = np.flatnonzero(facts.sequence == sequence)
    positions = positions[np.argsort(facts.number[positions])]
    shown = positions[np.unique(np.linspace(0, len(positions) - 1, COLUMNS).astype(int))]
    columns = []
    for position in shown.tolist():
        drawn = drawer.pictures(position)
        blank = np.full((CELL, CELL, 3), 235, np.uint8)
        cells = [cell(drawn[row]) if row in drawn else blank for row in ROWS]
        columns.append(np.concatenate(cells, axis=0))
    numbers = facts.number[shown].tolist()
    return Strip(
        sequence=sequence,
        error_mm=float(np.nanmean(drawer.scores.joint_errors_pa[positions].mean(1)) * MM),
        frames=numbers,
        picture=np.concatenate(columns, axis=1),
        timeline=timeline(drawer.scores, facts.number, positions, numbers),
    )


def cell(picture: Picture) -> Picture:
    """A picture at the strip's size with a thin light border on the right and below."""
    small = np.asarray(cv2.resize(picture, (CELL, CELL), interpolation=cv2.INTER_AREA), np.uint8)
    small[-2:], small[:, -2:] = 255, 255
    return small


@dataclass(frozen=True)
class Axis:
    """Frame numbers to the timeline's x; a frame covers [frame, frame + 1)."""

    first: int
    last: int

    @property
    def step(self) -> float:
        return (WIDTH - LEFT - RIGHT) / (self.last - self.first + 1)

    def x(self, frame: float) -> float:
        return LEFT + (frame - self.first) * self.step


def timeline(scores: FrameScores, number: NDArray, positions: NDArray, shown: list[int]) -> str:
    """SVG: PA-MPJPE over frames, and a lane per finger, upper half the label, lower half the predicted probability."""
    frames = [int(n) for n in number[positions]]
    axis = Axis(frames[0], frames[-1])
    height = PLOT + 14 + len(FINGERS) * (LANE + GAP) + 22
    marks = []
    for frame in shown:
        x = axis.x(frame + 0.5)
        marks.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{height - 20}" stroke="{LINE}"/>')
        marks.append(f'<text x="{x:.1f}" y="{height - 5}" text-anchor="middle" fill="{SOFT}">{frame}</text>')
    head = (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="error and occlusion over time" '
        f'font-family="system-ui, sans-serif" font-size="13">'
    )
    error = scores.joint_errors_pa[positions].mean(1) * MM
    occluded, probability = scores.occluded[positions], scores.occluded_probability[positions]
    return "".join(
        [head, *marks, *error_line(axis, frames, error), *lanes(axis, frames, occluded, probability), "</svg>"]
    )


def error_line(axis: Axis, frames: list[int], error: NDArray) -> list[str]:
    """The curve of errors (F,) mm with its scale."""
    top = max(5.0, float(np.nanmax(error, initial=0.0)) * 1.1)
    parts = []
    for value in np.linspace(0, np.floor(top / 5) * 5, 3):
        y = PLOT - value / top * (PLOT - 10)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{LINE}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="{SOFT}">{value:.3g} mm</text>')
    known = [(frame, e) for frame, e in zip(frames, error.tolist(), strict=True) if np.isfinite(e)]
    points = " ".join(f"{axis.x(frame + 0.5):.1f},{PLOT - e / top * (PLOT - 10):.1f}" for frame, e in known)
    return [*parts, f'<polyline points="{points}" fill="none" stroke="{BLUE}" stroke-width="2"/>']


def lanes(axis: Axis, frames: list[int], occluded: NDArray, probability: NDArray) -> list[str]:
    """A lane per finger from labels (F, 7) and probabilities (F, 6)."""
    parts = []
    for i, finger in enumerate(FINGERS):
        y = PLOT + 14 + i * (LANE + GAP)
        parts.append(f'<text x="{LEFT - 6}" y="{y + 14}" text-anchor="end" fill="{INK}">{escape(finger)}</text>')
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{WIDTH - LEFT - RIGHT}" height="{LANE}" fill="#f1f3f6"/>')
        for frame, label, said in zip(frames, occluded[:, i].tolist(), probability[:, i].tolist(), strict=True):
            box = f'x="{axis.x(frame):.1f}" width="{axis.step + 0.3:.1f}" height="{LANE / 2 - 1:.1f}"'
            if label == 1:
                parts.append(f'<rect {box} y="{y}" fill="{ORANGE}"/>')
            if np.isfinite(said):
                parts.append(f'<rect {box} y="{y + LANE / 2:.1f}" fill="{BLUE}" fill-opacity="{said:.2f}"/>')
    return parts
