"""The guard: a step whose loss or gradient is not finite changes nothing; too many in a row end the run.

Such a batch harms more than the weights: its forward pass has already mixed NaN into the running statistics of batch
normalisation, from which no later step recovers. So they are copied before each step and put back when it is skipped.
Every skipped step is written down.
"""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..durable import room_to_write
from ..errors import InputError

log = logging.getLogger(__name__)
GRADIENT = "gradient"


class TrainingStopped(InputError):
    """Too many steps in a row without a finite loss and gradient. The message is the diagnosis, in one line."""


@dataclass(frozen=True)
class SkippedStep:
    """One skipped step: what broke (loss terms, or "gradient"), values of the terms, names of the batch's frames."""

    step: int
    epoch: int
    broken: tuple[str, ...]
    values: dict[str, str]
    parameters: tuple[str, ...]
    frames: tuple[str, ...]


class Guard:
    """Watches the steps of one run; writes skipped steps to `path`, one JSON object per line."""

    def __init__(self, model: nn.Module, path: Path, limit: int) -> None:
        self.path, self.limit = path, limit
        self.in_a_row = 0
        self.skipped = 0
        self._buffers = [buffer for _, buffer in model.named_buffers() if _is_statistic(buffer)]
        self._names = {id(parameter): name for name, parameter in model.named_parameters()}
        self._parameters = list(model.parameters())
        self._copies = [buffer.clone() for buffer in self._buffers]

    def remember(self) -> None:
        """Copy the running statistics; to be called before a step's forward pass."""
        with torch.no_grad():
            for copy, buffer in zip(self._copies, self._buffers, strict=True):
                copy.copy_(buffer)

    def restore(self) -> None:
        """Put the running statistics back to what they were at `remember`."""
        with torch.no_grad():
            for buffer, copy in zip(self._buffers, self._copies, strict=True):
                buffer.copy_(copy)

    def accept(self) -> None:
        """Note that a step was taken: it ends a row of skipped ones."""
        self.in_a_row = 0

    def broken_parameters(self, most: int = 5) -> tuple[str, ...]:
        """Names of the first parameters whose gradient is not finite."""
        broken = [p for p in self._parameters if p.grad is not None and not bool(torch.isfinite(p.grad).all())]
        return tuple(self._names[id(p)] for p in broken[:most])

    def skip(self, record: SkippedStep, write: bool = True) -> None:
        """Undo what a broken step has changed and write it down; TrainingStopped when it is one too many in a row."""
        self.restore()
        self.in_a_row += 1
        self.skipped += 1
        if write:
            with room_to_write(self.path), self.path.open("a") as file:
                file.write(json.dumps(asdict(record)) + "\n")
            log.warning(
                "step %d skipped: %s not finite; frames %s",
                record.step,
                ", ".join(record.broken),
                _list_some(record.frames),
            )
        if self.in_a_row >= self.limit:
            raise TrainingStopped(self._diagnosis(record))

    def _diagnosis(self, record: SkippedStep) -> str:
        where = f" (first in {record.parameters[0]})" if record.parameters else ""
        return (
            f"training stopped at step {record.step}: {self.in_a_row} steps in a row without a finite loss and "
            f"gradient; last broken: {', '.join(record.broken)}{where}; every skipped step's frames and terms are in "
            f"{self.path}; the last good checkpoint is kept in {self.path.parent / 'last'}; look at those frames, then "
            "try a lower lr, amp=off, or --init with a stage-1 checkpoint"
        )

    def state_dict(self) -> dict[str, int]:
        """The counts that a resumed run goes on with."""
        return {"in_a_row": self.in_a_row, "skipped": self.skipped}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Continue from `state_dict`."""
        self.in_a_row, self.skipped = int(state["in_a_row"]), int(state["skipped"])


def broken_terms(values: Mapping[str, float], gradient_norm: float) -> tuple[str, ...]:
    """Names of the terms that are not finite; "gradient" where all terms are finite but the gradient is not."""
    broken = tuple(name for name, value in values.items() if not math.isfinite(value))
    return broken or (() if math.isfinite(gradient_norm) else (GRADIENT,))


def format_values(values: Mapping[str, float]) -> dict[str, str]:
    """Values as text: JSON knows neither NaN nor infinity."""
    return {name: f"{value:.6g}" for name, value in values.items()}


def _is_statistic(buffer: Tensor) -> bool:
    # Running means and variances are vectors, batch counters scalars. Tables (faces, spirals, up-sampling) never
    # change.
    return buffer.dim() <= 1


def _list_some(frames: Sequence[Any], most: int = 4) -> str:
    shown = ", ".join(str(frame) for frame in frames[:most])
    return shown + (f" and {len(frames) - most} more" if len(frames) > most else "")
