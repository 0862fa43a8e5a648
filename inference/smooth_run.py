"""`h2o predict --smooth`: the hands of a whole video are kept without its pictures, and smoothed before any is drawn.

Metres, pixels. A hand and frame takes 20 kB: 36 MB a minute at 30 frames per second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .hand_result import HandResult
from .mano_fit import MeshFitter
from .smoothing import parts_between_cuts, refitted, smooth_track
from .steadiness import jitter, lag

FoundHand = tuple[int, HandResult, NDArray]
"""A hand's number, its result, the camera to draw it with."""
_DIGITS = {"joints_2d_px": 2}  # 6 for what is in metres


@dataclass(frozen=True)
class Steadiness:
    """Jitter (`steadiness.jitter`) per frame^2 of the joints about the wrist, the wrist's place, and the 2D joints.

    lag_frames: behind the network's own 2D joints (`steadiness.lag`). None where nothing is long enough to tell.
    """

    joints_mm: float | None
    wrist_mm: float | None
    joints_2d_px: float | None
    lag_frames: float | None


@dataclass(frozen=True)
class SmoothReport:
    """How many hands were smoothed, in how many parts between cuts, and how steady they were and are."""

    hands: int
    parts: int
    before: Steadiness
    after: Steadiness

    def __str__(self) -> str:
        if self.before.joints_mm is None:
            return f"smoothed {self.hands} hands in {self.parts} parts: none is seen in three frames on end"
        names = {"joints_mm": "joints {} mm", "wrist_mm": "wrist {} mm", "joints_2d_px": "2D joints {} px"}
        said = [
            text.format(self._change(name)) for name, text in names.items() if getattr(self.before, name) is not None
        ]
        late = "" if self.after.lag_frames is None else f"; lag {self._change('lag_frames')} frames"
        return f"smoothed {self.hands} hands in {self.parts} parts: jitter per frame^2 of {', '.join(said)}{late}"

    def _change(self, name: str) -> str:
        return " -> ".join(f"{round(getattr(one, name), 2) + 0.0:.2f}" for one in (self.before, self.after))

    def facts(self) -> dict[str, Any]:
        """What run.json says."""
        return asdict(self)


class SmoothRun:
    """Keeps the hands of frame after frame (`keep`, also of frames that have none), then smooths each by its number.

    one_shape: MANO's parameters, which are fitted to what is smooth, have one shape for all frames of a number.
    """

    def __init__(self, fitter: MeshFitter | None, *, one_shape: bool = False) -> None:
        self._fitter, self._one_shape = fitter, one_shape
        self.frames: list[list[FoundHand]] = []

    def keep(self, hands: list[FoundHand]) -> None:
        """Take the hands of the next frame."""
        self.frames.append(hands)

    def smooth(self, rows: list[dict[str, Any]]) -> SmoothReport:
        """Smooth the hands in `frames`, and in the rows of predictions.jsonl, which stand in the order of the hands."""
        row_of = dict(
            zip(((at, number) for at, hands in enumerate(self.frames) for number, *_ in hands), rows, strict=True)
        )
        before, after, parts = _Runs(), _Runs(), 0
        numbers = sorted({number for _, number in row_of})
        for number in numbers:
            places = [at for at, name in row_of if name == number]
            raw = [self._result(at, number) for at in places]
            smooth = refitted(smooth_track(raw, places), self._fitter, one_shape=self._one_shape)
            for at, result in zip(places, smooth, strict=True):
                self.frames[at] = [
                    (name, result if name == number else other, camera) for name, other, camera in self.frames[at]
                ]
                _change_row(row_of[at, number], result)
            between = parts_between_cuts(raw, places)
            parts += len(between)
            for run in _without_gaps(between, places):
                before.add([raw[place] for place in run])
                after.add([smooth[place] for place in run])
        return SmoothReport(len(numbers), parts, before.steadiness(before), after.steadiness(before))

    def _result(self, at: int, number: int) -> HandResult:
        return next(result for name, result, _ in self.frames[at] if name == number)


def _without_gaps(parts: list[range], frames: list[int]) -> Iterator[range]:
    """The parts, divided also where a frame is missing."""
    for part in parts:
        gaps = [place for place in part[1:] if frames[place] - frames[place - 1] > 1]
        for start, stop in zip([part.start, *gaps], [*gaps, part.stop], strict=True):
            yield range(start, stop)


class _Runs:
    """The positions of hands in runs of frames on end."""

    def __init__(self) -> None:
        self.joints: list[NDArray] = []
        self.wrists: list[NDArray] = []
        self.joints_2d: list[NDArray] = []

    def add(self, run: list[HandResult]) -> None:
        self.joints.append(1000 * np.stack([one.joints for one in run]))
        self.joints_2d.append(np.stack([one.joints_2d for one in run]))
        roots = [one.root for one in run if one.root is not None]
        if len(roots) == len(run):
            self.wrists.append(1000 * np.stack(roots)[:, None])

    def steadiness(self, reference: _Runs) -> Steadiness:
        late = 0.0 if self is reference else lag(zip(self.joints_2d, reference.joints_2d, strict=True))
        return Steadiness(jitter(self.joints), jitter(self.wrists), jitter(self.joints_2d), late)


def _change_row(row: dict[str, Any], result: HandResult) -> None:
    """Put the smoothed hand into its row of predictions.jsonl; what the row leaves out stays out."""
    values = {
        "joints_m": result.joints,
        "joints_2d_px": result.joints_2d,
        "mano_pose": result.mano_pose,
        "mano_shape": result.mano_shape,
        "mano_wrist_m": result.mano_wrist,
    }
    places = {name: result.root for name in ("root", "root_m") if row.get(name) is not None}
    for name, value in (values | places).items():
        row[name] = None if value is None else np.round(value, _DIGITS.get(name, 6)).tolist()
    row["mano_error_m"] = None if result.mano_error is None else round(result.mano_error, 6)
