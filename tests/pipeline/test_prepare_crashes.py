"""prepare-labels under fire: killed workers and runs, Ctrl-C, a real scheduler, a full disk; the store is the same."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import raw_trees as trees
from h2onet.data.labels import LabelStore
from h2onet.data.readers.dexycb_splits import SERIALS, SUBJECTS, sequence_list
from h2onet.data.stores.sequences import SequenceStore
from h2onet.pipeline.prepare_labels import LabelSettings, prepare_labels

SCRIPT = """
    import sys
    from pathlib import Path
    from h2onet.errors import InputError
    from h2onet.pipeline.prepare_labels import LabelSettings, prepare_labels
    if __name__ == "__main__":
        root, out, workers = sys.argv[1:4]
        if len(sys.argv) > 4:
            import resource
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]),) * 2)
        try:
            print(prepare_labels(LabelSettings("dexycb", root, "train", "standin", Path(out), workers=int(workers))))
        except InputError as error:
            sys.exit(f"h2o: {error}")
        except KeyboardInterrupt:
            sys.exit(130)
"""
SEQUENCES = 24


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    names = [name for i, name in enumerate(sequence_list()[SUBJECTS[0]]) if i % 5 != 4][: SEQUENCES // 2]
    recordings = {(SUBJECTS[0], name): sequence_list()[SUBJECTS[0]][name] for name in names}
    return trees.write_dexycb(tmp_path_factory.mktemp("many"), recordings, SERIALS[:2], frames=6)


@pytest.fixture(scope="module")
def undisturbed(tree, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("reference") / "l.zarr"
    summary = prepare_labels(LabelSettings("dexycb", tree, "train", "standin", out, workers=1))
    assert summary.frames == SEQUENCES * 5
    return out


def start(tree: Path, out: Path, workers: int, *limit: str) -> subprocess.Popen:
    script = out.parent / "run.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(textwrap.dedent(SCRIPT))
    command = [sys.executable, str(script), str(tree), str(out), str(workers), *limit]
    # A suite that a script put into the background ignores Ctrl-C, and its children would inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
    finally:
        signal.signal(signal.SIGINT, before)


def wait_for(out: Path, count: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        if (out / "sequences").is_dir() and len(SequenceStore(out).finished()) >= count:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    pytest.fail(f"no {count} sequences within four minutes")


def workers_of(process: subprocess.Popen) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def assert_equal_stores(a: Path, b: Path) -> None:
    first, second = LabelStore.open(a), LabelStore.open(b)
    assert set(first.index) == set(second.index)
    for name in first.index:
        assert first[name].tobytes() == second[name].tobytes(), name
    assert first.attrs == second.attrs
    assert first.store.finished() == second.store.finished()
    for key in second.store.finished():
        second.store.verify(key)
    assert not list(b.rglob(".tmp-*"))


def test_three_killed_workers_lose_nothing(tree, undisturbed, tmp_path):
    process = start(tree, tmp_path / "l.zarr", 2)
    killed = set()
    for count in (2, 5, 8):
        wait_for(tmp_path / "l.zarr", count, process)
        victims = [worker for worker in workers_of(process) if worker.pid not in killed]
        while not victims:
            time.sleep(0.02)
            victims = [worker for worker in workers_of(process) if worker.pid not in killed]
        killed.add(victims[0].pid)
        victims[0].kill()
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0 and len(killed) == 3, err
    assert f"{SEQUENCES * 5} frames" in out and "Traceback" not in err
    assert_equal_stores(undisturbed, tmp_path / "l.zarr")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_is_resumed(tree, undisturbed, tmp_path, workers):
    out = tmp_path / "l.zarr"
    for count in (2, 5):
        process = start(tree, out, workers)
        wait_for(out, count, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    done = len(SequenceStore(out).finished())
    assert 5 <= done < SEQUENCES and not SequenceStore(out).has_index
    summary = prepare_labels(LabelSettings("dexycb", tree, "train", "standin", out, workers=1))
    assert summary.done_now == SEQUENCES - done
    assert_equal_stores(undisturbed, out)


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_stops_quietly_and_can_be_resumed(tree, undisturbed, tmp_path, workers):
    out = tmp_path / "l.zarr"
    process = start(tree, out, workers)
    wait_for(out, 2, process)
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does: the run and its workers all get it
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err and "the same command goes on from here" in err
    assert 2 <= len(SequenceStore(out).finished()) < SEQUENCES
    prepare_labels(LabelSettings("dexycb", tree, "train", "standin", out, workers=1))
    assert_equal_stores(undisturbed, out)


def test_a_full_disk_stops_the_run_by_name_and_the_rest_is_done_later(tree, undisturbed, tmp_path):
    process = start(tree, tmp_path / "l.zarr", 1, "3000")  # bytes per file: a sequence's rows do not fit
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "what was finished is kept" in err.splitlines()[-1] and "sequences/" in err.splitlines()[-1]
    assert not list(tmp_path.rglob(".tmp-*"))
    prepare_labels(LabelSettings("dexycb", tree, "train", "standin", tmp_path / "l.zarr", workers=1))
    assert_equal_stores(undisturbed, tmp_path / "l.zarr")


@pytest.fixture
def scheduler(tmp_path):
    """A real scheduler and two workers, started as somebody with a cluster does."""
    file = tmp_path / "scheduler.json"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    common: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    dask = [sys.executable, "-m", "dask"]
    address = ["--scheduler-file", str(file), "--no-dashboard"]
    processes = [subprocess.Popen([*dask, "scheduler", "--port", "0", "--host", "127.0.0.1", *address], **common)]
    try:
        deadline = time.monotonic() + 60
        while not (file.exists() and file.stat().st_size) and time.monotonic() < deadline:  # made first, filled later
            time.sleep(0.05)
        worker = ["worker", "--nthreads", "1", "--local-directory", str(tmp_path), *address]
        processes += [subprocess.Popen([*dask, *worker], **common) for _ in range(2)]
        yield json.loads(file.read_text())["address"]
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(30)


def test_an_existing_scheduler_gives_the_same_labels(tree, undisturbed, tmp_path, scheduler):
    out = tmp_path / "l.zarr"
    summary = prepare_labels(LabelSettings("dexycb", tree, "train", "standin", out, scheduler=scheduler))
    assert summary.done_now == SEQUENCES
    assert_equal_stores(undisturbed, out)
    assert np.isfinite(LabelStore.open(out)["mano_pose"]).all()
