"""How many cores a batch system, a container or `taskset` grants this process, whatever the machine has."""

import os
from collections.abc import Iterator
from pathlib import Path

_CGROUPS, _MINE = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


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
