"""Where tasks run: this process, local worker processes that nobody else can reach, or an existing Dask scheduler.

What runs there is `tasks.py`; how Dask is set up is `dask_workers.py`, which a run in this process never loads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ..cores import check_can_start_workers, check_script, granted_cores
from ..errors import InputError

if TYPE_CHECKING:
    from distributed import Client

MOST_PER_CORE = 16  # more processes than that wait for each other and fill the memory


@dataclass(frozen=True)
class InProcess:
    """The cluster of one: tasks run in this process, one after the other, through the same `run_tasks`."""


class _Kept(ExitStack):
    """Local workers that stay until its end."""

    count = 0
    client: Client


_kept: ContextVar[_Kept | None] = ContextVar("_kept", default=None)


@contextmanager
def workers_kept() -> Iterator[None]:
    """Local workers that `connect` starts within it serve every later `connect` there: starting them takes seconds."""
    with _Kept() as kept:
        before = _kept.set(kept)
        try:
            yield
        finally:
            _kept.reset(before)


@contextmanager
def connect(
    workers: int | None = None, scheduler: str | None = None, dashboard: bool = False, tasks: int | None = None
) -> Iterator[Client | InProcess]:
    """Workers for tasks: `workers` local processes (default: all cores; 1 = this process), or those of `scheduler`.

    No more start than there are `tasks`, but for two. An existing cluster must see the dataset, the hand and the output
    under the same paths. `dashboard` shows Dask's page of local workers on 127.0.0.1. InputError when both are given,
    the count is not positive or far above the cores, there can be no dashboard, or nothing answers at the address
    within 20 seconds.
    """
    _check_workers(workers, scheduler, dashboard)
    count = granted_cores() if workers is None else workers
    if tasks is not None:
        count = min(count, max(2, tasks))
    if scheduler is None and count == 1:
        yield InProcess()
        return
    kept = _kept.get()
    if kept is None or scheduler is not None or dashboard:
        with _started(count, scheduler, dashboard) as client:
            yield client
        return
    if count > kept.count:
        kept.count = 0  # until the new ones are there: starting them may fail
        kept.close()
        kept.client, kept.count = kept.enter_context(_started(count)), count
    yield kept.client


@contextmanager
def _started(count: int, scheduler: str | None = None, dashboard: bool = False) -> Iterator[Client]:
    if scheduler is None:
        check_can_start_workers()
    from . import dask_workers

    with (
        dask_workers.silenced(),
        dask_workers.remote(scheduler) if scheduler is not None else dask_workers.local(count, dashboard) as client,
    ):
        yield client


def check_cluster(workers: int | None, scheduler: str | None, dashboard: bool = False) -> None:
    """InputError where `connect` would raise one: to be asked before anything is written or discarded."""
    _check_workers(workers, scheduler, dashboard)
    if scheduler is not None:
        from . import dask_workers

        with dask_workers.silenced(), dask_workers.remote(scheduler):
            pass


def _check_workers(workers: int | None, scheduler: str | None, dashboard: bool) -> None:
    if scheduler is not None and workers is not None:
        raise InputError("--workers and --scheduler: give one of the two; a scheduler brings its own workers")
    if workers is not None and workers < 1:
        raise InputError(f"--workers {workers}: expected a positive number")
    if workers is not None and workers > MOST_PER_CORE * granted_cores():
        raise InputError(
            f"--workers {workers}: expected at most {MOST_PER_CORE * granted_cores()}, {MOST_PER_CORE} for each of the"
            f" {granted_cores()} cores that this process may use; each takes half a gigabyte of memory"
        )
    if scheduler is None and (granted_cores() if workers is None else workers) > 1:
        check_script()
    if workers is not None and workers > 1:
        check_can_start_workers()
    if not dashboard:
        return
    if scheduler is not None:
        raise InputError("--dashboard: is for local workers; a scheduler brings its own, start it with --dashboard")
    if (granted_cores() if workers is None else workers) == 1:
        raise InputError("--dashboard: one worker needs no scheduler, which would show it; give --workers 2 or more")
    if find_spec("bokeh") is None:
        raise InputError(
            "--dashboard: Dask draws it with bokeh, which is not installed; pip install 'h2onet[dashboard]'"
        )
