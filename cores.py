"""How many cores a batch system, a container or `taskset` grants this process, and how busy others keep them.

Also how libraries are kept to one core, here and in processes to be started, and whether any can be started.
"""

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
"""What says to torch, to NumPy's BLAS and to numba how many threads they start, read when they are loaded."""
_CGROUPS, _MINE, _STAT = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"), Path("/proc/stat")


def granted_cores() -> int:
    """The cores of this process's affinity, cut to the CPU quota of its control group (whole cores, at least one)."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([affinity, *(int(quota) for quota in _quotas())]))


def _quotas() -> Iterator[float]:
    """The quotas, in cores, of this process's control group and of those above it; cgroups of version 1 and 2."""
    try:
        lines = _MINE.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = _CGROUPS / controllers if controllers else _CGROUPS
        here = root / path.lstrip("/")
        # In a container the path may be the host's, which is not there: then the limits are those of the root.
        for folder in dict.fromkeys([here, *(up for up in here.parents if up.is_relative_to(root)), root]):
            quota = _version_2(folder) if not controllers else _version_1(folder)
            if quota is not None:
                yield quota


def _version_2(folder: Path) -> float | None:
    numbers = _words(folder / "cpu.max")
    return int(numbers[0]) / int(numbers[1]) if len(numbers) == 2 and numbers[0] != "max" else None


def _version_1(folder: Path) -> float | None:
    quota, period = _words(folder / "cpu.cfs_quota_us"), _words(folder / "cpu.cfs_period_us")
    return int(quota[0]) / int(period[0]) if quota and period and int(quota[0]) > 0 else None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def check_script() -> None:
    """InputError where worker processes could not run the script that starts them, as multiprocessing has them do."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    if file and getattr(main, "__spec__", None) is None and not os.path.exists(file):
        raise InputError(
            "workers: each of them runs this script again, and it comes from no file; save it, or use workers=1"
        )
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # as multiprocessing itself asks
        raise InputError(
            "workers: each of them runs this script again from its first line; put what it runs below"
            ' `if __name__ == "__main__":`, or use workers=1'
        )


def check_can_start_workers() -> None:
    """InputError where multiprocessing starts no worker process, or each of them would end with a long traceback."""
    check_script()
    if multiprocessing.current_process().daemon:
        raise InputError("workers: a daemonic process may start none; use workers=1, or start it with daemon=False")


class CoreUse:
    """How much of the granted cores other processes take away, from the moment that this is made."""

    def __init__(self) -> None:
        self._begun, self._busy, self._mine = time.monotonic(), _busy_seconds(), _own_seconds()

    def taken(self) -> float:
        """Granted cores that other processes kept busy on average since then; 0 where the system does not tell.

        A control group may grant 4 of 64 cores: others take some of the four only where they leave fewer than four.
        """
        wall = time.monotonic() - self._begun
        if self._busy is None or wall <= 0:
            return 0.0
        busy = (_busy_seconds() or self._busy) - self._busy
        others = (busy - (_own_seconds() - self._mine)) / wall
        free = len(os.sched_getaffinity(0)) - max(0.0, others)
        granted = granted_cores()
        return granted - min(max(free, 0.0), granted)


def _own_seconds() -> float:
    spent = os.times()
    return spent.user + spent.system


def _busy_seconds() -> float | None:
    """Seconds for which the cores of this process's affinity have computed anything since the machine's start."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    mine = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    busy = 0
    try:
        for line in _STAT.read_text().splitlines():
            name, *ticks = line.split()
            if name in mine:
                user, nice, system, _idle, _iowait, irq, softirq = map(int, ticks[:7])
                busy += user + nice + system + irq + softirq
    except (OSError, ValueError):
        return None
    return busy / os.sysconf("SC_CLK_TCK")


_opencv_lock, _opencv_users = threading.Lock(), []


@contextmanager
def one_opencv_thread() -> Iterator[None]:
    """OpenCV computes with one thread in this whole process, until all who asked for it have left.

    On pictures of a few hundred pixels more are slower, and sums run in the same order only with one.
    """
    import cv2  # 15 ms, which most of those who ask for cores do not need

    with _opencv_lock:
        _opencv_users.append(cv2.getNumThreads())
        cv2.setNumThreads(1)
    try:
        yield
    finally:
        with _opencv_lock:
            before = _opencv_users.pop()
            if not _opencv_users:
                cv2.setNumThreads(before)


@contextmanager
def environment_kept() -> Iterator[None]:
    """This process's environment is afterwards what it was: for variables that are meant for processes started here."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
