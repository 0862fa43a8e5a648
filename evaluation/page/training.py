"""Training curves for the page: loss and validation errors of a run folder, from its metrics.jsonl.

The last line of a run that is being written or was killed may be incomplete, and a run that diverged wrote NaN. What
cannot be read or drawn is left out and counted, because curves must never keep scores from being reported.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

from ...errors import InputError
from ...hand.pages import COLOURS, GREY, new_figure, to_svg
from ...network.checkpoints.folder import CONFIG, find_folder
from ...network.checkpoints.own import WEIGHTS, read_config
from .document import Section

HISTORY = "metrics.jsonl"
CHECKPOINTS = ("best", "last")
LOSSES = {"loss": "training", "val_loss": "validation"}
ERRORS = {"pa_mpjpe_mm": "PA-MPJPE", "pa_mpvpe_mm": "PA-MPVPE", "mpjpe_mm": "MPJPE"}
MOST_POINTS = 400  # of one curve: longer ones are averaged, for legibility and a page of reasonable size
FEW_POINTS = 30  # drawn with markers: a line through one point is invisible
LARGEST = 1e30  # matplotlib's axes overflow far above it
LOGARITHMIC = 10.0  # ratio of the largest to the smallest value from which the scale is logarithmic


@dataclass(frozen=True)
class History:
    """The lines of a run's metrics.jsonl, how many could not be read, and the evaluated checkpoint's step, if known."""

    run: Path
    lines: list[dict[str, Any]]
    broken: int = 0
    step: int | None = None


def find_run(checkpoint: str | Path) -> Path | None:
    """The run folder that a checkpoint lies in (RUN/best or RUN/last beside RUN/metrics.jsonl), or None."""
    path = Path(checkpoint).absolute()
    folder = path.parent if path.name in (CONFIG, WEIGHTS) else path
    return folder.parent if folder.name in CHECKPOINTS and (folder.parent / HISTORY).is_file() else None


def read_history(run: Path, step: int | None = None) -> History:
    """Read the objects of a run folder's metrics.jsonl and count other lines. InputError where it is missing."""
    path = run / HISTORY
    if not path.is_file():
        raise InputError(f"--curves {run}: has no {HISTORY}; give a run folder of h2o train, e.g. runs/NAME")
    lines, broken = [], 0
    for text in path.read_text(errors="replace").splitlines():
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            line = None
        if isinstance(line, dict):
            lines.append(line)
        else:
            broken += bool(text.strip())
    return History(run, lines, broken, step)


def read_histories(checkpoint: str | Path, runs: Sequence[str | Path] | None = None) -> list[History]:
    """Read the histories of the named run folders, or of the checkpoint's own run; only the latter has a step.

    InputError where a named folder holds no metrics.jsonl; an empty list where none is named and there is no own run.
    """
    own = find_run(checkpoint)
    chosen = [Path(run) for run in runs] if runs else [own] if own else []
    unique = {run.resolve(): run for run in chosen}
    return [
        read_history(run, read_step(checkpoint) if own and path == own.resolve() else None)
        for path, run in unique.items()
    ]


def read_step(checkpoint: str | Path) -> int | None:
    """The training step that a checkpoint folder was saved at, where it says."""
    folder = find_folder(Path(checkpoint))
    metadata = read_config(folder).get("metadata") if folder else None
    step = metadata.get("step") if isinstance(metadata, dict) else None
    return step if isinstance(step, int) else None


def training_section(histories: Sequence[History], pieces: Path | None = None) -> Section:
    """The page's section on training; with `pieces` every plot is also written there as PNG."""
    if pieces is not None:
        for left_over in pieces.glob("training-*.png"):
            left_over.unlink()  # of an earlier evaluation, which may have shown other runs
    if not histories:
        return Section(
            "Training",
            "No training curves: the checkpoint does not lie in a run folder of h2o train (RUN/best or RUN/last beside "
            "RUN/metrics.jsonl). h2o evaluate --curves RUN shows those of the runs that it names.",
        )
    text = ["Loss over steps, and validation errors where the run validated."]
    if any(history.step is not None for history in histories):
        text.append("The dashed line is the evaluated checkpoint.")
    plots = []
    for name, history in name_histories(histories).items():
        found = training_plots(name, history, pieces)
        plots += found
        if not found:
            text.append(f"{name}: {HISTORY} holds no step that can be drawn.")
        if history.broken:
            lines = "1 line is" if history.broken == 1 else f"{history.broken} lines are"
            text.append(f"{name}: {lines} not readable and left out.")
    return Section("Training", " ".join(text), plots=plots)


def name_histories(histories: Sequence[History]) -> dict[str, History]:
    """Histories by the name of their run folder, or by its path where two share the name."""
    names = [history.run.absolute().name for history in histories]
    return {
        name if names.count(name) == 1 else str(history.run): history
        for name, history in zip(names, histories, strict=True)
    }


def training_plots(name: str, history: History, pieces: Path | None = None) -> list[str]:
    """SVG plots of one run: loss, and validation errors in mm; a plot without values is left out."""
    found = []
    for title, unit, keys in (("loss", "loss", LOSSES), ("validation", "mm", ERRORS)):
        curves = {label: series(history.lines, key) for key, label in keys.items()}
        file = re.sub(r"[^\w.-]+", "_", f"training-{name}-{title}.png").replace("..", "_")
        found.append(training_plot(f"{name}: {title}", unit, curves, history.step, pieces and pieces / file))
    return [plot for plot in found if plot]


def series(lines: Sequence[dict[str, Any]], key: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps (K,) and values (K,) of one key in the lines that have both as finite numbers."""
    points = [(line["step"], line[key]) for line in lines if is_number(line.get("step")) and is_number(line.get(key))]
    steps, values = np.array(points, np.float64).reshape(-1, 2).T
    return steps, values


def is_number(value: Any) -> bool:
    """Whether a value is a number that can be drawn: not a boolean, and finite (NaN and Infinity fail the bound)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST


def average_points(steps: NDArray, values: NDArray) -> tuple[NDArray, NDArray, int]:
    """Average neighbouring points so that at most MOST_POINTS remain; also returns how many went into each."""
    every = -(-len(steps) // MOST_POINTS)
    if every <= 1:
        return steps, values, 1
    starts = np.arange(0, len(steps), every)
    counts = np.minimum(len(steps) - starts, every)
    return np.add.reduceat(steps, starts) / counts, np.add.reduceat(values, starts) / counts, every


def training_plot(
    title: str,
    unit: str,
    curves: dict[str, tuple[NDArray, NDArray]],
    step: int | None = None,
    png: Path | None = None,
) -> str | None:
    """Plot curves over steps by label, with `step` marked. None where no curve has a point."""
    known = {label: curve for label, curve in curves.items() if len(curve[0])}
    if not known:
        return None
    drawing, axes = new_figure(title, "step", unit)
    for (label, curve), colour in zip(known.items(), COLOURS, strict=False):
        steps, values, every = average_points(*curve)
        label = label if every == 1 else f"{label}, mean of {every} lines"
        marker = "o" if len(steps) <= FEW_POINTS else None
        axes.plot(steps, values, label=label, color=colour, linewidth=1.4, marker=marker, markersize=3)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    values = np.concatenate([values for _, values in known.values()])
    if values.min() > 0 and values.max() > LOGARITHMIC * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    if step is not None:
        axes.axvline(step, color=GREY, linewidth=1.0, linestyle="--")
    axes.legend(frameon=False, fontsize=8)
    return to_svg(drawing, png)
