#!/usr/bin/env bash
# FINDING: after a local Dask cluster was closed, the process that had it goes on with OMP_NUM_THREADS=1: the nannies set in its own environment what their workers are to inherit, and never take it back.
#
# What the process computes afterwards, and every program it starts, has one thread. Libraries that are loaded already
# keep their threads, but everything that asks the variable whether the user has pinned them is told yes.
# It matters for hand-object data because preparing labels with Dask and training on them go well in one process, a
# notebook say: on a node of 16 cores the training then runs on one, and nothing says why.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check \
  dask==2026.8.0 distributed==2026.8.0 numpy==2.4.6 threadpoolctl==3.6.0
cd "$work"
unset OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS

cat > main.py <<'PY'
import logging
import os
import subprocess
import sys
from importlib.metadata import version

from distributed import Client, LocalCluster

NAMES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
COUNT = "import numpy, threadpoolctl; print(threadpoolctl.threadpool_info()[0]['num_threads'])"


def pinned():
    return {name: os.environ[name] for name in NAMES if name in os.environ}


def threads():
    """Threads of NumPy's BLAS in a program that this process starts."""
    return int(subprocess.run([sys.executable, "-c", COUNT], check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    before, many = pinned(), threads()
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL) as cluster,
        Client(cluster) as client,
    ):
        assert client.submit(sum, [1, 2]).result() == 3
    after, few = pinned(), threads()
    print("distributed", version("distributed"), " cores:", os.cpu_count())
    print("  before the cluster:      ", before, " threads of a program started then:", many)
    print("  after it was closed:     ", after, " threads of a program started then:", few)
    assert before == {} and set(after.values()) == {"1"}, "the environment is left as it was now"
    assert few == 1
PY
venv/bin/python main.py 2> errors.txt || { cat errors.txt >&2; exit 1; }
