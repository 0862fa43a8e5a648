"""Leaving in good order: SIGTERM and Ctrl-C end the run after the step in hand, with a checkpoint."""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

CAUGHT = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """While active, the first SIGTERM or SIGINT only sets `name`; a second Ctrl-C interrupts at once.

    Loader workers are forked with these handlers: there, Ctrl-C (which a terminal sends to the whole group) is left
    to the parent, and SIGTERM ends the worker as usual. Outside the main thread, where Python forbids handlers, it
    does nothing.
    """

    def __init__(self) -> None:
        self.name: str | None = None
        self._owner = os.getpid()
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

    def _caught(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            if number == signal.SIGTERM:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                os.kill(os.getpid(), signal.SIGTERM)
            return
        if self.name is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.name = signal.Signals(number).name
