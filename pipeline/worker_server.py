"""The process that local workers are forked from: it loads once what every one of them needs.

A worker that is spawned instead loads Python, NumPy, numba and Dask for itself, most of a second of a core each.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker
from typing import Literal

from ..cores import granted_cores

log = logging.getLogger(__name__)

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
# What workers find in their environment; NumPy, malloc and `distributed` read it once, when they load.
WORKER_VARIABLES = {
    **dict.fromkeys((*_THREAD_VARIABLES, "MALLOC_ARENA_MAX"), "1"),
    "DASK_LOGGING__DISTRIBUTED": "critical",  # the level that `distributed` takes when a worker imports it
}
_LOADED = ("dask_workers", "label_sequence", "build_clips")  # these bring Dask and what tasks run
# With one thread of each library, as above, the server has no thread that a fork could break, and it opens no OpenGL.
# macOS's own libraries do not survive a fork. Before 3.11.1 Python's server could be reached by everybody on the
# machine (CVE-2022-42919).
_CAN_FORK = sys.platform == "linux" and sys.version_info >= (3, 11, 1)


def expect_workers(workers: int | None, scheduler: str | None) -> None:
    """Start the server now where `connect` with these would start local workers: called early, it loads meanwhile."""
    if scheduler is None and (granted_cores() if workers is None else workers) > 1:
        with suppress(OSError):  # `connect` tries again
            _start()


def start_worker_server() -> Literal["forkserver", "spawn"]:
    """The method, of `multiprocessing`, that workers are started by; where they are forked the server runs then.

    It begins to load in a process of its own, which goes on beside this one and ends with it; once in a program. Where
    a program has started Python's fork server itself, workers come from that one, and load what it lacks.
    """
    try:
        return "forkserver" if _start() else "spawn"
    except OSError as error:  # its socket is in the temporary folder: too long a path, or a file system without sockets
        log.info("workers start a little slower, each by itself: no socket in %s (%s)", tempfile.gettempdir(), error)
        return "spawn"


def _start() -> bool:
    if not _CAN_FORK:
        return False
    with environment_kept(), interrupts_held():
        os.environ.update(WORKER_VARIABLES)
        package = __name__.rpartition(".")[0]
        forkserver.set_forkserver_preload(["distributed", *(f"{package}.{name}" for name in _LOADED)])
        forkserver.ensure_running()
    return True


@contextmanager
def environment_kept() -> Iterator[None]:
    """This process's environment is afterwards what it was.

    Dask's nannies, which live here, set what their workers are to inherit in it and leave it so: whatever this process
    did next, training say, would find its threads pinned to one.
    """
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Ctrl-C waits until the block is over, and never reaches threads and processes that the block starts.

    A terminal sends it to every process: workers would print tracebacks while the run tries to stop them in order.
    Threads and processes inherit the signal mask, also workers that are restarted later.
    """
    resource_tracker.ensure_running()  # starting it later would unblock the signal again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
