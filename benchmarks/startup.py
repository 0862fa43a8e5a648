"""How long commands take to start: wall and processor seconds, against another checkout where one is given.

    python benchmarks/startup.py [--baseline CHECKOUT] [--rounds 5] [--json runs/benchmarks/startup.json]

Measured are `h2o --help`, `h2o doctor`, and `h2o prepare-labels` from its start to the first finished camera sequence
of a tiny synthesized tree (two sequences of eight frames), in one process and with two workers. A checkout has an
environment of its own in .venv. Both take turns, after one round that fills the caches of compiled code; figures are
medians over the rounds. Processor seconds are those of the command and all its workers up to that moment, and are what
to compare where the machine has other work.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

RUN = "from h2onet.cli import main; main()"
POLL_S = 0.01
Sample = tuple[float, float]  # wall and processor seconds


def main() -> None:
    """Parse, measure in turn, print a table, write JSON."""
    options = arguments()
    pythons = {"now": Path(sys.executable)}
    if options.baseline is not None:
        pythons["before"] = (
            options.baseline.absolute() / ".venv/bin/python"
        )  # not resolved: its folder is the environment
    with tempfile.TemporaryDirectory(prefix="h2onet-startup-") as name:
        folder = Path(name)
        root = folder / "DEX_YCB"
        made = ("synthesize", root, "--layout", "dexycb", "--sequences", 1, "--cameras", 2, "--frames", 8)
        subprocess.run(command(pythons["now"], *made), check=True, capture_output=True, env=environment("now"))
        samples: dict[tuple[str, str], list[Sample]] = {}
        for number in range(options.rounds + 1):
            for case, measure in CASES.items():
                for which, python in pythons.items():
                    out = folder / f"{which}-{number}-{case.replace(' ', '-')}"
                    sample = measure(python, environment(which), root, out)
                    if number:
                        samples.setdefault((case, which), []).append(sample)
    result = summarise(samples, list(pythons)) | {
        "rounds": options.rounds,
        "load": os.getloadavg(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=2) + "\n")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--baseline", type=Path, help="another checkout, with its environment in .venv")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path("runs/benchmarks/startup.json"))
    return parser.parse_args()


def command(python: Path, *words: object) -> list[str]:
    """`h2o WORDS` of the environment that a Python belongs to."""
    return [str(python), "-c", RUN, *map(str, words)]


def environment(which: str) -> dict[str, str]:
    """This process's variables; a baseline finds its own package, not the one that PYTHONPATH may name."""
    kept = {name: value for name, value in os.environ.items() if which == "now" or name != "PYTHONPATH"}
    return kept | {"OMP_NUM_THREADS": "1"}


def to_the_end(*words: str) -> Callable[[Path, dict[str, str], Path, Path], Sample]:
    """A measurement of a command that needs no dataset, from start to end."""

    def measure(python: Path, variables: dict[str, str], _: Path, __: Path) -> Sample:
        before, began = os.times(), time.perf_counter()
        subprocess.run(command(python, *words), check=True, capture_output=True, env=variables)
        wall, after = time.perf_counter() - began, os.times()
        used = after.children_user + after.children_system - before.children_user - before.children_system
        return wall, used

    return measure


def to_first_sequence(workers: int) -> Callable[[Path, dict[str, str], Path, Path], Sample]:
    """A measurement of prepare-labels up to the first sequence in its store."""

    def measure(python: Path, variables: dict[str, str], root: Path, out: Path) -> Sample:
        store = out / "labels.zarr"
        given = ("--dataset", "dexycb", "--root", root, "--split", "train", "--mano", root / "mano", "--out", store)
        words = ("prepare-labels", *given, "--workers", workers)
        began = time.perf_counter()
        with subprocess.Popen(
            command(python, *words), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=variables
        ) as running:
            process = psutil.Process(running.pid)
            while not finished(store) and running.poll() is None:
                time.sleep(POLL_S)
            sample = time.perf_counter() - began, used(process)
            _, words_said = running.communicate()
        if running.returncode:
            raise SystemExit(
                f"prepare-labels of {python} ended with {running.returncode}: {words_said.decode()[-2000:]}"
            )
        return sample

    return measure


def finished(store: Path) -> bool:
    """Whether a whole sequence is in the store; a folder appears there in one step, under its own name."""
    return any(path.name != "zarr.json" and not path.name.startswith(".") for path in store.glob("sequences/*"))


def used(process: psutil.Process) -> float:
    """Processor seconds of a living process, of those it started, and of those that have ended."""
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        try:
            times = each.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


CASES = {
    "h2o --help": to_the_end("--help"),
    "h2o doctor": to_the_end("doctor"),
    "prepare-labels, one process": to_first_sequence(1),
    "prepare-labels, two workers": to_first_sequence(2),
}


def summarise(samples: dict[tuple[str, str], list[Sample]], which: list[str]) -> dict:
    """Medians and, with a baseline, the median of the rounds' ratios now / before; printed as a table."""
    cases: dict[str, dict] = {}
    print(f"{'':<30}{'':<8}{'wall s':>8}{'CPU s':>8}")
    for case in CASES:
        row = cases[case] = {}
        for name in which:
            walls, cpus = zip(*samples[case, name], strict=True)
            row[name] = {"wall_s": statistics.median(walls), "cpu_s": statistics.median(cpus)}
            print(f"{case:<30}{name:<8}{row[name]['wall_s']:>8.2f}{row[name]['cpu_s']:>8.2f}")
        if "before" in which:
            pairs = list(zip(samples[case, "now"], samples[case, "before"], strict=True))
            row["ratio"] = {
                kind: statistics.median(now[i] / before[i] for now, before in pairs)
                for i, kind in enumerate(("wall", "cpu"))
            }
            print(f"{'':<30}{'ratio':<8}{row['ratio']['wall']:>8.2f}{row['ratio']['cpu']:>8.2f}")
    return {"cases": cases}


if __name__ == "__main__":
    main()
