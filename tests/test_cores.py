"""Granted cores: affinity, and quotas of control groups of both versions, also of groups above one's own."""

import os
from pathlib import Path

import cv2
import pytest
from h2onet import cores as cores_module
from h2onet.cores import THREAD_VARIABLES, CoreUse, environment_kept, granted_cores, one_opencv_thread

SCOPE = "kubepods/pod1/box"


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty /sys/fs/cgroup, on a machine that grants 16 cores by affinity."""
    monkeypatch.setattr(cores_module, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(cores_module, "_MINE", tmp_path / "self")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    return tmp_path


@pytest.mark.parametrize(
    ("files", "granted"),
    [
        ({}, 16),
        ({f"{SCOPE}/cpu.max": "max 100000"}, 16),
        ({f"{SCOPE}/cpu.max": "400000 100000"}, 4),
        ({f"{SCOPE}/cpu.max": "150000 100000"}, 1),
        ({f"{SCOPE}/cpu.max": "20000 100000"}, 1),
        ({f"{SCOPE}/cpu.max": "800000 100000", "kubepods/cpu.max": "300000 100000"}, 3),
        ({"cpu.max": "200000 100000"}, 2),  # a container that sees its own group as the root
        ({f"{SCOPE}/cpu.max": "6400000 100000"}, 16),
    ],
)
def test_quota_of_version_2(groups: Path, files: dict[str, str], granted: int):
    (groups / "self").write_text(f"0::/{SCOPE}\n")
    for name, text in files.items():
        (groups / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / "cgroup" / name).write_text(text + "\n")
    assert granted_cores() == granted


@pytest.mark.parametrize(("quota", "granted"), [("-1", 16), ("250000", 2)])
def test_quota_of_version_1(groups: Path, quota: str, granted: int):
    (groups / "self").write_text(f"5:memory:/{SCOPE}\n4:cpu,cpuacct:/{SCOPE}\n")
    folder = groups / "cgroup" / "cpu,cpuacct" / SCOPE
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text(quota)
    (folder / "cpu.cfs_period_us").write_text("100000")
    assert granted_cores() == granted


def test_without_control_groups(groups: Path):
    assert granted_cores() == 16


def test_this_process_stays_within_its_affinity():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert granted_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("granted", "cores", "busy", "mine", "taken"),
    [
        (2, 2, 20.0, 10.0, 1.0),
        (2, 2, 10.0, 10.0, 0.0),
        (2, 2, 20.0, 2.0, 1.8),
        (4, 16, 100.0, 20.0, 0.0),  # a quota of 4 on a machine with 8 cores left
        (4, 16, 150.0, 10.0, 2.0),
        (2, 2, 9.9, 10.0, 0.0),  # clocks of different grain
    ],
)
def test_cores_that_others_take(monkeypatch, granted, cores, busy, mine, taken):
    clock = [0.0]
    spent = {"busy": 1000.0, "mine": 5.0}
    monkeypatch.setattr(cores_module.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(cores_module, "_busy_seconds", lambda: spent["busy"])
    monkeypatch.setattr(cores_module, "_own_seconds", lambda: spent["mine"])
    monkeypatch.setattr(cores_module, "granted_cores", lambda: granted)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    use = CoreUse()
    clock[0], spent["busy"], spent["mine"] = 10.0, 1000.0 + busy, 5.0 + mine
    assert use.taken() == pytest.approx(taken)


def test_busy_time_is_that_of_the_granted_cores(monkeypatch, tmp_path):
    (tmp_path / "stat").write_text(
        "cpu 9 9 9 9 9 9 9 0 0 0\ncpu0 100 50 50 900 7 1 1 0 0 0\ncpu1 7 7 7 7 7 7 7 0 0 0\nintr 5\n"
    )
    monkeypatch.setattr(cores_module, "_STAT", tmp_path / "stat")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    assert cores_module._busy_seconds() == pytest.approx(202 / os.sysconf("SC_CLK_TCK"))
    (tmp_path / "stat").unlink()
    assert CoreUse().taken() == 0.0


def test_opencv_has_one_thread_until_the_last_who_asked_has_left():
    cv2.setNumThreads(2)
    first = one_opencv_thread()
    first.__enter__()
    with pytest.raises(ValueError, match="this"), one_opencv_thread():
        first.__exit__(None, None, None)
        assert cv2.getNumThreads() == 1
        raise ValueError("this")
    assert cv2.getNumThreads() == 2


def test_the_environment_is_kept_whatever_happens(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("TO_BE_LOST", "kept")
    before = dict(os.environ)
    with pytest.raises(ValueError, match="this"), environment_kept():
        os.environ.update(dict.fromkeys((*THREAD_VARIABLES, "NEW"), "1"))
        del os.environ["TO_BE_LOST"]
        raise ValueError("this")
    assert dict(os.environ) == before
