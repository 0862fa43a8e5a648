"""Leaving in good order: SIGTERM, Ctrl-C and Slurm's warnings end the run after the step in hand, with a checkpoint."""

import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType, TracebackType
from typing import Any, Self

from torch import Tensor

CAUGHT = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
"""SIGUSR1 and SIGUSR2 are what Slurm (--signal) and submitit send before a job's time is over."""


class Stopped(Exception):
    """Raised in a wait for data by the signal that ends the run; never leaves `Run`."""


class StopSignals:
    """While active, the first of the CAUGHT signals only sets `name`; a second Ctrl-C interrupts at once.

    Loader workers are forked with these handlers: there, Ctrl-C and Slurm's warnings (which go to the whole group) are
    left to the parent, and SIGTERM ends the worker as usual. Outside the main thread, where Python forbids handlers, it
    does nothing.
    """

    def __init__(self) -> None:
        self.name: str | None = None
        self._owner = os.getpid()
        self._waiting = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._caught) for number in CAUGHT}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around a wait that may never end, such as for a batch: a signal ends it with Stopped."""
        self._waiting = True
        try:
            yield
        finally:
            self._waiting = False

    def _caught(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            if number == signal.SIGTERM:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                os.kill(os.getpid(), signal.SIGTERM)
            return
        if self.name is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.name = signal.Signals(number).name
        if self._waiting:
            raise Stopped


def timed_batches(
    batches: Iterable[dict[str, Tensor]], signals: StopSignals | None
) -> Iterator[tuple[dict[str, Tensor], float]]:
    """Batches with the seconds that each was waited for; Stopped where one of `signals` comes meanwhile."""
    source = iter(batches)
    while True:
        begun = time.perf_counter()
        with signals.waiting() if signals else nullcontext():
            batch = next(source, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - begun
