"""Running one function over many camera sequences on the workers of `cluster.connect`, with progress.

One task is one camera sequence. Tasks must be idempotent, because one whose worker dies runs again (up to three times).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from tqdm import tqdm

from ..data.frame import Failure
from .cluster import InProcess

if TYPE_CHECKING:
    from distributed import Client

Task = TypeVar("Task")
Result = TypeVar("Result")


def run_tasks(
    client: Client | InProcess,
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    label: str,
    frames_of: Callable[[Task], int],
    name_of: Callable[[Task], str] = str,
) -> Iterator[tuple[Task, Result | Failure]]:
    """Apply `function` to every task and yield (task, result) as they finish, in no particular order.

    `function` must be importable (a `functools.partial` of one is fine). A task whose worker died too often yields a
    `Failure` named by `name_of` and the rest goes on. InputError (input wrong for the whole run, or a full disk) is
    raised at once; any other exception is a fault of the program and is raised too. A bar on stderr counts frames
    (`frames_of`) with frames/s and the time left.
    """
    with tqdm(total=sum(map(frames_of, tasks)), desc=label, unit="frame", smoothing=0.05, dynamic_ncols=True) as bar:
        if isinstance(client, InProcess):
            results = ((task, function(task)) for task in tasks)
        else:
            from .dask_tasks import run_on_cluster

            results = run_on_cluster(client, function, tasks, name_of)
        for task, result in results:
            bar.update(frames_of(task))
            yield task, result
