"""What a run reports while it trains: one progress bar on stderr, metrics.jsonl, TensorBoard.

The bar counts samples and shows the loss and `wait`, the share of the time that the step waited for the loader:
above a tenth, loading is the bottleneck and more workers or a faster disk help, not a faster GPU.
"""

import errno
import json
import math
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from ..durable import room_to_write


class Stopwatch:
    """Time of the steps, split into waiting for the loader and working; validation and saving do not count."""

    def __init__(self) -> None:
        self.waited, self.worked, self.samples = 0.0, 0.0, 0

    def add(self, waited: float, worked: float, samples: int) -> None:
        """Count one step, in seconds."""
        self.waited += waited
        self.worked += worked
        self.samples += samples

    @property
    def wait_share(self) -> float:
        """Share of the time spent waiting, in [0, 1]."""
        return self.waited / max(self.waited + self.worked, 1e-9)

    @property
    def rate(self) -> float:
        """Samples per second."""
        return self.samples / max(self.waited + self.worked, 1e-9)


class RunLog:
    """Bar, lines and TensorBoard of one run; with `enabled=False` (all processes but the first) it says nothing.

    A full disk is `durable.DiskFull` wherever it shows: TensorBoard writes later, in a thread of its own.
    """

    def __init__(
        self,
        metrics: Path,
        tensorboard: Path | None,
        *,
        total: int,
        done: int,
        step: int,
        name: str,
        enabled: bool = True,
    ) -> None:
        """total, done: samples of the whole run, and of its part before this start; step: where TensorBoard goes on."""
        self.enabled = enabled
        self._path = metrics
        with room_to_write(metrics):
            self._file = metrics.open("a") if enabled else None
        self._bar = tqdm(
            total=total, initial=done, unit="sample", desc=name, file=sys.stderr, dynamic_ncols=True,
            disable=not enabled, mininterval=0.5, smoothing=0.05,
        )  # fmt: skip
        self._board = _board(tensorboard, step) if enabled and tensorboard else None

    def __enter__(self) -> Self:
        self._hook, threading.excepthook = threading.excepthook, self._tell
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        threading.excepthook = self._hook
        self._bar.close()
        with room_to_write(self._path):
            if self._file:
                self._file.close()
            if self._board:
                self._board.close()

    def _tell(self, failed: threading.ExceptHookArgs) -> None:
        # TensorBoard's thread hands a full disk on to the next `write`, which says it in one line.
        if not (isinstance(failed.exc_value, OSError) and failed.exc_value.errno == errno.ENOSPC):
            self._hook(failed)

    def advance(self, samples: int, loss: float, wait_share: float, epoch: int) -> None:
        """Move the bar by one step."""
        self._bar.set_postfix_str(f"epoch {epoch}, loss {loss:.4f}, wait {wait_share:.0%}", refresh=False)
        self._bar.update(samples)

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """One line of metrics.jsonl; its numbers also go to TensorBoard under their `board_tag`."""
        if not self._file:
            return
        # JSON has no NaN or infinity, and readers other than Python's stop at them: a skipped step has null.
        line = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in values.items()
        }
        with room_to_write(self._path):
            self._file.write(json.dumps({"kind": kind, "step": step, **line}, allow_nan=False) + "\n")
            self._file.flush()
            if self._board:
                for name, value in values.items():
                    if isinstance(value, int | float) and not isinstance(value, bool):
                        self._board.add_scalar(board_tag(kind, name), value, step)

    def picture(self, name: str, image: Any, step: int) -> None:
        """An (H, W, 3) uint8 RGB picture for TensorBoard."""
        if self._board:
            with room_to_write(self._path):
                self._board.add_image(name, image, step, dataformats="HWC")

    def say(self, text: str) -> None:
        """A line above the bar."""
        if self.enabled:
            tqdm.write(text, file=sys.stderr)


def board_tag(kind: str, name: str) -> str:
    """TensorBoard's tag of a number of metrics.jsonl: a loss has one name in every group that has it.

    train: single steps; train_epoch: means over an epoch's steps (in the file train_loss, ...); val: validation (in the
    file val_loss, and val_loss_vertices for the term that a training step calls vertices).
    """
    if kind == "train":
        return f"train/{name}"
    for start, group in (("train_", "train_epoch"), ("val_loss_", "val"), ("val_", "val")):
        if name.startswith(start):
            return f"{group}/{name.removeprefix(start)}"
    return f"{'val' if kind == 'val' else 'train_epoch'}/{name}"


def _board(folder: Path, step: int) -> Any:
    # Imported here: loading TensorBoard takes seconds, and most of the package never needs it.
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step or None)
