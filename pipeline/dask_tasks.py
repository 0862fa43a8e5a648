"""`tasks.run_tasks` on Dask's workers: a window of tasks, those whose workers died, and a lost scheduler.

Tasks are submitted in a window of about four per worker, so that the scheduler never holds thousands.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from distributed import CancelledError, Client, KilledWorker, as_completed
from distributed.comm.core import CommClosedError

from ..data.frame import Failure
from ..errors import InputError
from .dask_workers import RETRIES

log = logging.getLogger(__name__)
Task = TypeVar("Task")
Result = TypeVar("Result")

_WINDOW_PER_WORKER = 4
_POLL_S, _RECOUNT_S, _PATIENCE_S = 0.02, 2.0, 60.0


def run_on_cluster(
    client: Client, function: Callable[[Task], Result], tasks: Sequence[Task], name_of: Callable[[Task], str]
) -> Iterator[tuple[Task, Result | Failure]]:
    """The (task, result) pairs of `tasks.run_tasks`, computed by Dask's workers."""
    suspects = []
    for task, result in _submitted(client, function, tasks, _Window(client).size):
        if isinstance(result, KilledWorker):
            suspects.append(task)
        else:
            yield task, result
    # Dask also blames tasks that only waited on the worker that died. Alone, a task that dies again is the culprit.
    for task, result in _submitted(client, function, suspects, lambda: 1):
        if isinstance(result, KilledWorker):
            log.warning("%s: every worker that took it died", name_of(task))
            yield (
                task,
                Failure(name_of(task), "every worker process that took it died (out of memory, or a crash in C)"),
            )
        else:
            yield task, result


class _Window:
    """How many tasks may be out at once: some per worker, counted often, because a cluster's workers come and go.

    Logs a warning when there has been no worker for a minute.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._workers = 0
        self._counted = -_RECOUNT_S
        self._last_seen, self._told = time.monotonic(), False

    def size(self) -> int:
        """The number of tasks."""
        now = time.monotonic()
        if now - self._counted >= _RECOUNT_S:
            workers: Any = self._client.nthreads()
            self._workers, self._counted = len(workers), now
            if self._workers:
                self._last_seen, self._told = now, False
            elif now - self._last_seen > _PATIENCE_S and not self._told:
                self._told = True
                log.warning("the scheduler has no workers any more: waiting for new ones; what is finished is kept")
        return _WINDOW_PER_WORKER * max(1, self._workers)


def _submitted(
    client: Client, function: Callable[[Task], Result], tasks: Sequence[Task], window: Callable[[], int]
) -> Iterator[tuple[Task, Result | KilledWorker]]:
    waiting = iter(tasks)
    running: dict[Any, Task] = {}
    completed = as_completed(loop=client.loop)
    while True:
        with _connection():
            for task in islice(waiting, max(0, window() - len(running))):
                future = client.submit(_guarded, function, task, retries=RETRIES, pure=False)
                running[future.key] = task
                completed.add(future)
            if not running:
                return
            if not completed.has_ready():
                time.sleep(_POLL_S)
                continue
            future = next(completed)
            result = _outcome(future)
        if isinstance(result, _Stop):
            raise InputError(result.message)
        yield running.pop(future.key), result


def _outcome(future: Any) -> Any:
    try:
        return future.result()
    except KilledWorker as error:
        return error


@contextmanager
def _connection() -> Iterator[None]:
    """One line instead of Dask's own when the scheduler goes away: on clusters its time may simply be over."""
    try:
        yield
    except (CancelledError, CommClosedError) as error:
        raise InputError(
            f"--scheduler: lost the connection to the Dask scheduler ({type(error).__name__}); what is finished is"
            " kept: start it and its workers again, and run the same command"
        ) from None


@dataclass(frozen=True)
class _Stop:
    message: str


def _guarded(function: Callable[[Task], Result], task: Task) -> Result | _Stop:
    # Bad input comes back as data: raised, Dask would try it three more times before telling.
    try:
        return function(task)
    except InputError as error:
        return _Stop(str(error))
