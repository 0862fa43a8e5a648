"""Ctrl-C beside other processes: a terminal sends it to all of them at once, in the middle of whatever they do."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType


@contextmanager
def held() -> Iterator[None]:
    """Ctrl-C waits until the block is over, and never reaches threads and processes that the block starts.

    Workers would print tracebacks while the run tries to stop them in order. Threads and processes inherit the signal
    mask, also workers that are restarted later.
    """
    resource_tracker.ensure_running()  # starting it later would unblock the signal again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def put_off() -> Iterator[None]:
    """Ctrl-C does what it does when the block is over, for an end that must not be interrupted.

    Unlike `held` also where threads run that do not block it. Only the main thread is ever interrupted: elsewhere, and
    where another program handles the signal in C, nothing changes.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield
        return
    came: list[FrameType | None] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append(frame))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came and callable(before):
            before(signal.SIGINT, came[0])


def exit_on_interrupt() -> None:
    """A worker that was started in `held` ends at once, and without a word, at the next Ctrl-C or one that waits."""
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(128 + number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
