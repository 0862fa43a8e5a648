"""The processes that benchmarks/soak.py runs and interrupts, and what their stores hold."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil


class Reader(threading.Thread):
    """Reads a process's stderr, so that it never waits for us."""

    def __init__(self, process: subprocess.Popen) -> None:
        super().__init__(daemon=True)
        self.process, self.text = process, ""
        self.start()

    def run(self) -> None:
        assert self.process.stderr is not None
        self.text = self.process.stderr.read()


@contextmanager
def cluster(wanted: bool, folder: Path) -> Iterator[tuple[str | None, subprocess.Popen | None]]:
    """A Dask scheduler with two workers, as on a cluster; (None, None) where the command makes its own."""
    if not wanted:
        yield None, None
        return
    file = folder / "scheduler.json"
    file.unlink(missing_ok=True)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    dask, common = [sys.executable, "-m", "dask"], ["--scheduler-file", str(file), "--no-dashboard"]
    processes = [subprocess.Popen([*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", *common], **quiet)]
    try:
        while not (file.exists() and file.stat().st_size):
            time.sleep(0.05)
        worker = ["worker", "--nthreads", "1", "--no-nanny", "--death-timeout", "5", *common]
        processes += [subprocess.Popen([*dask, *worker], **quiet) for _ in range(2)]
        yield json.loads(file.read_text())["address"], processes[0]
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()
        file.unlink(missing_ok=True)


def children_of(process: subprocess.Popen) -> list[psutil.Process]:
    """The processes that a command has started, and theirs."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        return []


def command_line(process: psutil.Process) -> list[str]:
    """Its words; none where it has ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def kill_all(process: subprocess.Popen) -> None:
    """Kill a command and what it has started."""
    for each in children_of(process):
        with suppress(psutil.Error):
            each.kill()
    process.kill()
    process.wait()


def digest(store: Path) -> dict[str, str]:
    """SHA-256 of every file of a store by its path in it; its random token, and where it lies, do not count."""
    found = {}
    for path in sorted(each for each in store.rglob("*") if each.is_file()):
        data = path.read_bytes()
        if path.name == "zarr.json":
            data = json.dumps(_without_token(json.loads(data)), sort_keys=True).replace(str(store.parent), "").encode()
        found[str(path.relative_to(store))] = hashlib.sha256(data).hexdigest()
    return found


def _without_token(content: dict) -> dict:
    content.get("attributes", {}).pop("token", None)
    return content


def pause(pid: int, seconds: float) -> None:
    """Stop a process, and let it go on."""
    os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(pid, signal.SIGCONT)
