#!/usr/bin/env bash
# FINDING: a Dask worker that takes longer to restart than distributed.deploy.lost-worker-timeout (15 s) is closed the moment it is back, and a local cluster goes on without it for good.
#
# When a worker process dies, its nanny starts another. LocalCluster waits 15 s for it, then strikes it off and closes it
# after all; nothing replaces it, worker_spec still lists it, and with the last worker gone submitted work waits for ever.
# The timeout is 1 s here and the restart takes 6 s (a preload that sleeps), so that the script is short; with a long
# timeout the same restart succeeds.
# It matters for hand-object data because the workers that prepare such data import torch, OpenGL and mesh libraries: on
# a loaded machine that takes more than 15 s, and one worker that ran out of memory ends a run of hours in a standstill.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check dask==2026.8.0 distributed==2026.8.0
cd "$work"

cat > slow.py <<'PY'
"""Preload of every worker: the first start is quick, the ones after a death take six seconds."""
import os
import time


def dask_setup(worker):
    if os.path.exists("died"):
        time.sleep(6)
PY

cat > main.py <<'PY'
import logging
import os
import time
from importlib.metadata import version

import dask
from distributed import Client, LocalCluster, wait

LONGEST = 90  # seconds until the script gives up waiting for what it expects


def die():
    open("died", "w").close()
    os._exit(1)


def until(happened):
    end = time.monotonic() + LONGEST
    while not happened() and time.monotonic() < end:
        time.sleep(0.2)
    return happened()


def after_a_death(timeout):
    """Whether work is done after the worker's death, the workers the cluster keeps, and those it was asked for."""
    if os.path.exists("died"):
        os.remove("died")
    settings = {
        "distributed.deploy.lost-worker-timeout": timeout,
        "distributed.worker.preload": [os.path.abspath("slow.py")],
        "distributed.scheduler.allowed-failures": 0,
    }
    with dask.config.set(settings):
        cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL)
        with cluster, Client(cluster) as client:
            wait(client.submit(die), timeout=LONGEST)
            if timeout == "1s":
                until(lambda: not cluster.workers)
                time.sleep(20)  # time for the new process to come and be closed
            work = client.submit(sum, [1, 2])
            try:
                done = work.result(timeout=10 if timeout == "1s" else LONGEST) == 3
            except TimeoutError:
                done = False
            return done, len(cluster.workers), len(cluster.worker_spec)


if __name__ == "__main__":
    default = dask.config.get("distributed.deploy.lost-worker-timeout")
    print("distributed", version("distributed"), " default lost-worker-timeout:", default)
    found = {timeout: after_a_death(timeout) for timeout in ("1s", "10 minutes")}
    for timeout, (done, kept, asked) in found.items():
        print(f"  lost-worker-timeout {timeout:10s} work done: {done!s:5s} workers kept: {kept} of {asked}")
    assert default == "15s"
    assert found["10 minutes"] == (True, 1, 1)
    assert found["1s"] == (False, 0, 1), "a slow worker is kept or replaced now"
PY
venv/bin/python main.py 2> errors.txt || { cat errors.txt >&2; exit 1; }
