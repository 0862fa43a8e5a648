"""What a GPU makes of this project, in one command and less than nine minutes: speed, memory, agreement, learning.

    python benchmarks/gpu.py [--device cuda|cpu] [--json runs/benchmarks/gpu.json] [--only PART ...]
    python benchmarks/gpu.py --device cpu --smoke        does the script run: tiny sizes, an eighth of the width

Meant for one data-centre GPU beside 16 cores. Needs no dataset: clips are synthesized. The parts, in this order, each
in a process and a time of its own: machine, data (`gpu_bench.py`), training, loader (`gpu_training.py`), inference,
labels (`gpu_inference.py`), learning, compiled. Whatever happens to one, the others run: its error stands beside its
name in the JSON, which is written anew with every figure, so that a run that is killed leaves what it has measured.
Exit code 0 means that all parts were done or said why they do not apply here, 1 that some failed.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import platform
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import gpu_bench
import gpu_inference
import gpu_training
from gpu_bench import Bench, NotHere

TOTAL_S = 530.0
SMOKE_SLACK = 10.0
"""Of a smoke run's times: nothing is measured, and it should also end on a slow and busy machine."""
GRACE = 1.3
"""A part is asked to end within its time, and killed after this much of it."""
PARTS: dict[str, tuple[Callable[[Bench], None], float]] = {
    "machine": (gpu_bench.machine, 10),
    "data": (gpu_bench.data, 120),
    "training": (gpu_training.training, 70),
    "loader": (gpu_training.loading, 40),
    "inference": (gpu_inference.inference, 45),
    "labels": (gpu_inference.labels, 25),
    "learning": (gpu_training.learning, 90),
    "compiled": (gpu_inference.compiled, 100),
}


def main() -> None:
    """Run the parts one after the other; JSON after every figure."""
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a part's process ends with this one
    began = time.monotonic()
    slack = SMOKE_SLACK if options.smoke else 1.0
    gpu_bench.hierarchy()  # here, for all parts
    report: dict[str, Any] = {
        "command": " ".join(["python", "benchmarks/gpu.py", *sys.argv[1:]]),
        "device": options.device,
        "smoke": options.smoke,
        "width": gpu_bench.SMOKE_WIDTH if options.smoke else 1.0,
        "python": f"{platform.python_version()}, {platform.machine()}",
        "parts": {},
    }
    if options.smoke:
        report["note"] = "smoke: tiny sizes and a narrow network; the figures say only that the script runs"
    with tempfile.TemporaryDirectory(prefix="h2onet-gpu-") as folder:
        bench = Bench(options.device, options.smoke, Path(folder), seed=0)
        for name in options.only or PARTS:
            part, seconds = PARTS[name]
            left = slack * TOTAL_S - (time.monotonic() - began)
            entry: dict[str, Any] = {"state": "failed", "error": "killed with the whole run", "figures": {}}
            report["parts"][name] = entry
            if left < 5:
                entry["error"] = f"not begun: the {slack * TOTAL_S:g} s of the run were over"
            else:
                run_part(part, bench, min(slack * seconds, left), entry, lambda: write(options.json, report))
            report["seconds"] = round(time.monotonic() - began, 1)
            write(options.json, report)
            said = f": {entry['error']}" if "error" in entry else ""
            print(f"{name}: {entry['state']} in {entry.get('seconds', 0):.1f} s{said}", flush=True)
            print(json.dumps(entry["figures"], indent=2), flush=True)
    failed = [name for name, entry in report["parts"].items() if entry["state"] == "failed"]
    print(f"written: {options.json}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    sys.exit(1 if failed else 0)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--smoke", action="store_true", help="tiny sizes and a narrow network: does the script run")
    parser.add_argument("--json", type=Path, default=Path("runs/benchmarks/gpu.json"))
    parser.add_argument("--only", nargs="+", choices=PARTS, help="some of the parts, in the order given")
    return parser.parse_args()


def run_part(
    part: Callable[[Bench], None], bench: Bench, seconds: float, entry: dict[str, Any], save: Callable[[], None]
) -> None:
    """Run a part in a process group of its own and fill `entry` with what it reports."""
    # Forked: the libraries are loaded once. This process never touches the GPU, so that its children may.
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    began = time.monotonic()
    process = context.Process(target=work, args=(theirs, part, replace(bench, seconds=seconds)))
    process.start()
    theirs.close()
    ended = False
    try:
        while not ended and ours.poll(max(0.0, began + GRACE * seconds - time.monotonic())):
            try:
                name, value = ours.recv()
            except EOFError:
                break
            ended = name in ("done", "stopped", "skipped", "failed")
            if ended:
                entry["state"] = name
                entry.pop("error")
                entry |= {} if value is None else {"error": value}
            else:
                entry["figures"][name] = value
                save()
        over = time.monotonic() - began > GRACE * seconds
        if not ended:
            process.join(0 if over else 5)
            entry["error"] = f"killed after {seconds:.0f} s" if over else f"its process ended with {process.exitcode}"
    finally:
        end_group(process)
        ours.close()
    entry["seconds"] = round(time.monotonic() - began, 1)


def end_group(process: Any) -> None:
    """End a part's process with all that it started."""
    process.join(2)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.join()


def work(pipe: Connection, part: Callable[[Bench], None], bench: Bench) -> None:
    """A part's process: every figure goes through the pipe, then how it ended."""
    os.setpgrp()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    bench.begin(lambda name, value: pipe.send((name, value)))
    try:
        part(bench)
    except NotHere as reason:
        pipe.send(("skipped", str(reason)))
    except BaseException as error:  # noqa: BLE001 any error of a part is its result
        where = traceback.extract_tb(error.__traceback__)[-1]
        words = " ".join(str(error).split())[:2000]
        pipe.send(("failed", f"{type(error).__name__}: {words} ({Path(where.filename).name}:{where.lineno})"))
    else:
        pipe.send(("stopped", "its time was over before all was measured") if bench.stopped else ("done", None))


def write(path: Path, report: dict[str, Any]) -> None:
    """Replace the JSON file; a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(report, indent=2) + "\n")
    temporary.replace(path)


if __name__ == "__main__":
    main()
