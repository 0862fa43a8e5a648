"""Running tasks: in this process, in spawned workers, on a scheduler; dying workers and bad input."""

import contextlib
import json
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from distributed import LocalCluster
from h2onet.cores import THREAD_VARIABLES
from h2onet.data.frame import Failure
from h2onet.errors import InputError
from h2onet.network.threads import pinned
from h2onet.pipeline import cluster, dask_tasks, dask_workers
from h2onet.pipeline.cluster import InProcess, check_cluster, connect, workers_kept
from h2onet.pipeline.tasks import run_tasks


# Functions made inside functions travel to workers whole: test modules cannot be imported there.
def make_work():
    def work(task):
        import os

        return task * task, os.getpid()

    return work


def make_die_on_three():
    def die_on_three(task):
        import os
        import signal

        if task == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return task

    return die_on_three


def make_refuse_two():
    def refuse_two(task):
        from h2onet.errors import InputError

        if task == 2:
            raise InputError("two: expected anything else")
        return task

    return refuse_two


def make_threads():
    def threads(_):
        import os

        import cv2

        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
        return {name: os.environ.get(name) for name in names} | {"cv2": str(cv2.getNumThreads())}

    return threads


def run(client, function, tasks) -> dict[Any, Any]:
    return dict(run_tasks(client, function, tasks, label="test", frames_of=lambda _: 1))


def test_far_more_workers_than_cores_are_refused(monkeypatch):
    monkeypatch.setattr(cluster, "granted_cores", lambda: 2)
    with pytest.raises(InputError, match="--workers 33: expected at most 32, 16 for each of the 2 cores"):
        check_cluster(33, None)
    check_cluster(32, None)


def test_no_more_workers_start_than_there_are_tasks(monkeypatch):
    monkeypatch.setattr(cluster, "granted_cores", lambda: 8)
    started = []

    @contextlib.contextmanager
    def local(count, dashboard):
        started.append(count)
        yield

    monkeypatch.setattr(dask_workers, "local", local)
    for workers, tasks in ((7, 3), (7, 1), (None, 5), (3, 9)):
        with connect(workers, tasks=tasks):
            pass
    assert started == [3, 2, 5, 3]


def test_kept_workers_serve_until_more_are_wanted_and_end_with_the_block(monkeypatch):
    monkeypatch.setattr(cluster, "granted_cores", lambda: 8)
    events = []

    @contextlib.contextmanager
    def local(count, dashboard):
        events.append(("start", count))
        yield count
        events.append(("end", count))

    monkeypatch.setattr(dask_workers, "local", local)
    with workers_kept():
        for workers, served in ((3, 3), (2, 3), (5, 5), (4, 5)):
            with connect(workers) as client:
                assert client == served
        with connect(1) as client:
            assert isinstance(client, InProcess)
    assert events == [("start", 3), ("end", 3), ("start", 5), ("end", 5)]
    with connect(2):
        assert events[-1] == ("start", 2)
    assert events[-1] == ("end", 2)


def test_kept_workers_are_the_same_processes_and_outlive_wrong_input():
    with workers_kept():
        found = []
        for _ in range(2):
            with contextlib.suppress(InputError), connect(workers=2) as client:
                found.append({pid for _, pid in run(client, make_work(), list(range(40))).values()})
                raise InputError("wrong")
        assert found[0] == found[1] and len(found[0]) == 2
    assert_gone(found[0])


@pytest.fixture(scope="module")
def two_workers():
    with connect(workers=2) as client:
        yield client


def test_one_worker_is_this_process():
    with connect(workers=1) as client:
        assert isinstance(client, InProcess)
        assert run(client, make_work(), [1, 2, 3]) == {n: (n * n, os.getpid()) for n in (1, 2, 3)}


def test_local_processes_do_every_task_once(two_workers, capfd):
    results = run(two_workers, make_work(), list(range(40)))
    assert {task: value for task, (value, _) in results.items()} == {n: n * n for n in range(40)}
    assert os.getpid() not in {pid for _, pid in results.values()}
    assert "40/40" in capfd.readouterr().err


def test_workers_have_one_thread(two_workers):
    found = run(two_workers, make_threads(), [0])[0]
    assert set(found.values()) == {"1"}


def test_bad_input_stops_the_run_with_its_own_line(two_workers):
    with pytest.raises(InputError, match=r"^two: expected anything else$"):
        run(two_workers, make_refuse_two(), [1, 2, 3])


def test_a_task_that_kills_its_workers_is_a_failure_and_the_rest_goes_on(two_workers):
    results = run(two_workers, make_die_on_three(), list(range(8)))
    failure = results.pop(3)
    assert isinstance(failure, Failure) and "died" in failure.reason
    assert results == {n: n for n in range(8) if n != 3}


def make_count(folder):
    def count(task):
        import time
        from pathlib import Path

        mine = Path(folder, str(task))
        mine.touch()
        time.sleep(0.2)
        at_work = len(list(Path(folder).iterdir()))
        mine.unlink()
        return at_work

    return count


def test_workers_that_come_later_get_work(tmp_path, monkeypatch):
    monkeypatch.setattr(dask_tasks, "_RECOUNT_S", 0.2)
    options: dict[str, Any] = {"threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with LocalCluster(n_workers=1, **options) as cluster, connect(scheduler=cluster.scheduler_address) as client:
        results = run_tasks(client, make_count(str(tmp_path)), list(range(60)), label="test", frames_of=lambda _: 1)
        first = next(results)
        cluster.scale(8)
        at_work = dict([first, *results])
    assert len(at_work) == 60 and at_work[first[0]] == 1 and max(at_work.values()) >= 7


def test_a_cluster_without_workers_is_waited_for_and_said(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(dask_tasks, "_RECOUNT_S", 0.2)
    monkeypatch.setattr(dask_tasks, "_PATIENCE_S", 0.5)
    options: dict[str, Any] = {"threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with LocalCluster(n_workers=1, **options) as cluster, connect(scheduler=cluster.scheduler_address) as client:
        results = run_tasks(client, make_count(str(tmp_path)), list(range(6)), label="test", frames_of=lambda _: 1)
        first = next(results)
        cluster.scale(0)
        threading.Timer(1.5, cluster.scale, (1,)).start()
        rest = list(results)
    assert sorted(task for task, _ in [first, *rest]) == list(range(6))
    assert caplog.text.count("the scheduler has no workers any more") == 1


def test_dask_says_nothing_of_its_own_and_stays_silent_after_an_error():
    """Some of its modules have levels of their own, which the level of `distributed` does not reach."""
    names = ("distributed", "distributed.client", "distributed.scheduler")
    kept = [logging.getLogger(name).level for name in names]
    try:
        for name in names[:2]:
            logging.getLogger(name).setLevel(logging.WARNING)
        before = [logging.getLogger(name).level for name in names]
        with dask_workers.silenced():
            assert not any(logging.getLogger(name).isEnabledFor(logging.ERROR) for name in names)
        assert [logging.getLogger(name).level for name in names] == before
        with contextlib.suppress(InputError), dask_workers.silenced():
            raise InputError("--scheduler: lost")
        assert not any(logging.getLogger(name).isEnabledFor(logging.ERROR) for name in names)
    finally:
        for name, level in zip(names, kept, strict=True):
            logging.getLogger(name).setLevel(level)


def test_a_scheduler_that_goes_away_is_one_line(tmp_path):
    file = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    place = ["--scheduler-file", str(file), "--no-dashboard"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    processes = [subprocess.Popen([*dask, "scheduler", "--port", "0", "--host", "127.0.0.1", *place], **quiet)]
    try:
        deadline = time.monotonic() + 60
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        processes.append(subprocess.Popen([*dask, "worker", "--nthreads", "1", *place], cwd=tmp_path, **quiet))
        with connect(scheduler=json.loads(file.read_text())["address"]) as client:
            results = run_tasks(client, make_work(), list(range(5000)), label="test", frames_of=lambda _: 1)
            next(results)
            processes[0].kill()
            with pytest.raises(InputError, match="lost the connection to the Dask scheduler") as caught:
                list(results)
        assert "\n" not in str(caught.value)
    finally:
        for process in processes:
            process.kill()
            process.wait(30)


@pytest.mark.parametrize(
    ("workers", "scheduler", "message"),
    [
        (0, None, "--workers 0"),
        (2, "tcp://127.0.0.1:9", "one of the two"),
        (None, "nonsense://x", "--scheduler nonsense"),
    ],
)
def test_impossible_clusters_are_named(workers, scheduler, message):
    with pytest.raises(InputError, match=message), connect(workers, scheduler):
        pass


def test_a_script_without_guard_is_told_what_to_do(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("from h2onet.pipeline.cluster import connect\nwith connect(workers=2):\n    print('reached')\n")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.returncode == 1 and "reached" not in done.stdout
    assert done.stderr.count('put what it runs below `if __name__ == "__main__":`, or use workers=1') == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("h2onet.errors.InputError: workers: Dask cannot start 2 here (Nanny failed to start")


def test_a_daemonic_process_is_told_at_once(monkeypatch):
    monkeypatch.setattr(multiprocessing.current_process(), "_config", {"daemon": True})
    with pytest.raises(InputError, match="workers: a daemonic process may start none; use workers=1"):
        check_cluster(2, None)
    check_cluster(1, None)
    check_cluster(None, None)  # how many tasks there are is not known yet
    with connect(workers=1, tasks=1) as where:
        assert where == InProcess()
    with pytest.raises(InputError, match="daemonic"), connect(tasks=3):
        pass


def test_a_script_without_file_is_told_at_once():
    script = "from h2onet.pipeline.cluster import check_cluster\ncheck_cluster(2, None)\n"
    done = subprocess.run([sys.executable, "-"], input=script, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("it comes from no file; save it, or use workers=1")
    assert not subprocess.run([sys.executable, "-c", script]).returncode  # which multiprocessing leaves out


@pytest.mark.parametrize("ends_well", [True, False])
def test_the_environment_is_afterwards_what_it_was(monkeypatch, ends_well):
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    before = dict(os.environ)
    with contextlib.suppress(InputError), connect(workers=2) as client:
        assert run(client, make_threads(), [0])[0]["OMP_NUM_THREADS"] == "1"
        if not ends_well:
            raise InputError("stopped")
    assert dict(os.environ) == before  # what trains next in this process is not pinned to one thread
    assert not pinned()


def test_workers_have_todays_environment_but_one_thread(monkeypatch):
    """Whatever the shell or a batch system says."""

    def variables():
        import os
        from pathlib import Path

        began = dict(pair.split("=", 1) for pair in Path("/proc/self/environ").read_text().split("\0") if pair)
        return os.environ["TURBOJPEG"], os.environ["OMP_NUM_THREADS"], began["OMP_NUM_THREADS"]

    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    for value in ("a", "b"):
        monkeypatch.setenv("TURBOJPEG", value)
        with connect(workers=2) as client:
            assert list(client.run(variables).values()) == [(value, "1", "1")] * 2
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_closing_leaves_no_process_behind():
    with connect(workers=2) as client:
        pids = {pid for _, pid in run(client, make_work(), list(range(8))).values()}
    assert_gone(pids)


def assert_gone(pids):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(os.path.exists(f"/proc/{pid}") for pid in pids):
        time.sleep(0.1)
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
