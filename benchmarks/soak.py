"""Long runs and sudden ends: memory over 20,000 frames of labels and clips, and 60 random interruptions with reruns.

    python benchmarks/soak.py [--frames 20000] [--interruptions 60] [--seed 0] [--json runs/benchmarks/soak.json]

The first part samples the memory that the processes of a run have to themselves (USS) four times a second and compares
its median over the last fifth of a run with that over the second fifth. The second part interrupts label and clip runs
at random moments: a worker, the command, or the Dask scheduler is killed; the command gets SIGTERM; a worker or the
command is stopped for three seconds and goes on. Three interruptions later the command runs to its end, and the store
must be the undisturbed run's, byte for byte. `make soak` runs it; a store that differs ends it with exit 1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from h2onet.cores import granted_cores
from h2onet.data.clips import ClipStore
from h2onet.data.labels import LabelStore
from h2onet.data.readers.dexycb_splits import SUBJECTS, sequence_list
from h2onet.data.synthesize import SynthesizeSettings, synthesize
from soak_runs import Reader, children_of, cluster, command_line, digest, kill_all, pause

H2O = [str(Path(sys.executable).with_name("h2o"))]
KINDS = ("kill a worker", "kill the command", "kill the scheduler", "SIGTERM", "stop a worker", "stop the command")
PAUSE = 3.0
PER_STORE = 3
RECORDINGS, CAMERAS = 2, 4


def main() -> None:
    """Both parts, a table, and the figures as JSON."""
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="h2onet-soak-") as folder:
        place = Path(folder)
        root = place / "DEX_YCB"
        synthesize(SynthesizeSettings(root, sequences=RECORDINGS, cameras=CAMERAS, frames=24, workers=2))
        result = {
            "machine": f"{platform.machine()}, {granted_cores()} cores, Python {platform.python_version()}",
            "memory": measure_memory(root, place, options.frames),
            "interruptions": interrupt_runs(root, place, options.interruptions, options.seed),
        }
    report(result)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nwritten: {options.json}")
    sys.exit(bool(result["interruptions"]["different"]))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--interruptions", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=Path("runs/benchmarks/soak.json"))
    return parser.parse_args()


def multiply(root: Path, target: Path, frames: int) -> Path:
    """The dataset with its recordings again and again under other recordings' names, as hard links: `frames` photos."""
    for name in ("calibration", "models", "mano"):
        shutil.copytree(root / name, target / name, copy_function=os.link)
    recordings = sorted(path.parent for path in root.glob("*/*/meta.yml"))
    photos = len(list(recordings[0].glob("*/color_*.jpg")))
    training = [
        (subject, name) for subject in SUBJECTS for i, name in enumerate(sequence_list()[subject]) if i % 5 != 4
    ]
    for number, (subject, name) in enumerate(training[: -(-frames // photos)]):
        shutil.copytree(recordings[number % len(recordings)], target / subject / name, copy_function=os.link)
    return target


def commands(root: Path, place: Path, workers: int = 2, scheduler: str | None = None) -> dict[str, list[str]]:
    """The two commands that fill `place`, by the store that they fill."""
    who = ["--scheduler", scheduler] if scheduler else ["--workers", str(workers)]
    labels, clips = place / "labels.zarr", place / "clips.zarr"
    source = ["--dataset", "dexycb", "--root", str(root), "--split", "train", "--mano", str(root / "mano")]
    return {
        "labels.zarr": [*H2O, "prepare-labels", *source, "--out", str(labels), *who],
        "clips.zarr": [*H2O, "build-clips", "--labels", str(labels), "--out", str(clips), *who],
    }


# -- memory ---------------------------------------------------------------------------------------------------------


def measure_memory(root: Path, place: Path, frames: int) -> dict[str, dict[str, float]]:
    """Memory of both commands over many frames: MB early and late, and their ratio."""
    many, out = multiply(root, place / "MANY", frames), place / "memory"
    out.mkdir()
    found = {}
    for store, command in commands(many, out).items():
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        samples = list(sample_memory(process))
        if process.wait():
            raise SystemExit(f"{' '.join(command)}: exit {process.returncode}")
        # Starting and ending are left out: the run itself begins with its second process that works.
        working = [sample for sample in samples if sample[0] == max(count for count, _ in samples)]
        fifth = len(working) // 5
        early = statistics.median(used for _, used in working[fifth : 2 * fifth])
        late = statistics.median(used for _, used in working[-fifth:])
        found[store] = {
            "frames": count(out / store),
            "seconds": time.monotonic() - started,
            "samples": len(working),
            "early_mb": early,
            "late_mb": late,
            "ratio": late / early,
        }
        print(f"{store}: {found[store]}", flush=True)
    shutil.rmtree(many)
    shutil.rmtree(out)
    return found


def count(store: Path) -> int:
    """The frames of a store."""
    return len(LabelStore.open(store) if store.name == "labels.zarr" else ClipStore.open(store))


def sample_memory(process: subprocess.Popen) -> Iterator[tuple[int, float]]:
    """How many processes a command has, and what they have to themselves together, MB, until it ends."""
    while process.poll() is None:
        used = []
        with suppress(psutil.Error):
            for each in (psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)):
                used.append(each.memory_full_info().uss / 2**20)
            yield len(used), sum(used)
        time.sleep(0.25)


# -- interruptions --------------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """What was done and what came of it."""

    done: Counter[str] = field(default_factory=Counter)
    exits: Counter[str] = field(default_factory=Counter)
    tracebacks: list[str] = field(default_factory=list)
    stores: int = 0
    different: list[str] = field(default_factory=list)


def interrupt_runs(root: Path, place: Path, interruptions: int, seed: int) -> dict:
    """Interrupt runs over the same small dataset at random moments, then compare what they leave."""
    rng, tally = random.Random(seed), Tally()
    small = multiply(root, place / "SMALL", 16 * 96)
    whole = place / "whole"
    whole.mkdir()
    for command in commands(small, whole).values():
        run(command)
    expected = {store: digest(whole / store) for store in commands(small, whole)}
    sequences = finished(whole / "labels.zarr")
    plan = [KINDS[number % len(KINDS)] for number in range(interruptions)]
    rng.shuffle(plan)
    while plan:
        for store in expected:
            out = place / f"run-{tally.stores}"
            out.mkdir()
            if store == "clips.zarr":
                os.symlink(whole / "labels.zarr", out / "labels.zarr")
            for turn in range(min(PER_STORE, len(plan))):
                # Each time at some moment of what is left: from the start, of another third, or of the last one.
                share = (turn + rng.uniform(-0.3, 0.9)) / PER_STORE
                interrupt(small, out, store, plan.pop(), round(share * sequences), rng.uniform(0, 0.3), tally)
            run(commands(small, out)[store])
            found = digest(out / store)
            wrong = sorted(
                name for name in found.keys() | expected[store].keys() if found.get(name) != expected[store].get(name)
            )
            tally.different += [f"{out.name}/{store}/{name}" for name in wrong]
            tally.stores += 1
            print(
                f"{tally.stores} stores, {sum(tally.done.values())} interruptions, {len(wrong)} files differ",
                flush=True,
            )
            shutil.rmtree(out)
    return {
        "interruptions": sum(tally.done.values()) - tally.done["ended before"],
        "by_kind": dict(sorted(tally.done.items())),
        "exits": dict(sorted(tally.exits.items())),
        "tracebacks": tally.tracebacks,
        "ended_before": tally.done["ended before"],
        "stores": tally.stores,
        "different": tally.different,
    }


def run(command: list[str]) -> None:
    """Run to the end; SystemExit with its words where it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr[-2000:]}")


def finished(store: Path) -> int:
    """How many sequences of a store are there."""
    return len(list((store / "sequences").glob("[0-9]*")))


def interrupt(root: Path, out: Path, store: str, kind: str, done: int, after: float, tally: Tally) -> None:
    """Start the command and interrupt it once, `after` seconds after it has finished `done` sequences.

    It ends by itself, by the interruption, or is killed after it hangs.
    """
    with cluster(kind == "kill the scheduler", out) as (address, scheduler):
        command = commands(root, out, scheduler=address)[store]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        reader = Reader(process)
        while finished(out / store) < done and process.poll() is None:
            time.sleep(0.01)
        time.sleep(after)
        workers = [child for child in children_of(process) if "spawn_main" in " ".join(command_line(child))]
        if process.poll() is not None:
            kind = "ended before"
        elif kind.endswith("a worker") and not workers:
            kind = "kill the command"
        strike(kind, process, workers, scheduler)
        try:
            code = process.wait(300)
        except subprocess.TimeoutExpired:
            kill_all(process)
            code = "hung"
        reader.join()
        for orphan in workers:  # of a command that was killed: they end by themselves, and must not write any more
            with suppress(psutil.Error):
                orphan.wait(60)
    tally.done[kind] += 1
    tally.exits[f"{kind}: exit {code}"] += 1
    if "Traceback" in reader.text:
        tally.tracebacks.append(f"{kind}, {store}: {reader.text[-1500:]}")
    if code == "hung":
        tally.different.append(f"{out.name}/{store}: hung after: {kind}")


def strike(
    kind: str, process: subprocess.Popen, workers: list[psutil.Process], scheduler: subprocess.Popen | None
) -> None:
    """Do what the kind says."""
    with suppress(psutil.Error, ProcessLookupError):
        if kind == "kill a worker":
            random.choice(workers).kill()
        elif kind == "kill the command":
            process.kill()
        elif kind == "kill the scheduler" and scheduler is not None:
            scheduler.kill()
        elif kind == "SIGTERM":
            process.terminate()
        elif kind == "stop a worker":
            pause(workers[0].pid, PAUSE)
        elif kind == "stop the command":
            pause(process.pid, PAUSE)


def report(result: dict) -> None:
    """Print the tables."""
    print("\n| run | frames | s | MB early | MB late | late / early |\n|---|---|---|---|---|---|")
    for store, row in result["memory"].items():
        numbers = f"{row['seconds']:.0f} | {row['early_mb']:.0f} | {row['late_mb']:.0f} | {row['ratio']:.3f}"
        print(f"| {store} | {row['frames']} | {numbers} |")
    found = result["interruptions"]
    print("\n| interruption | times |\n|---|---|")
    for kind, count in found["by_kind"].items():
        print(f"| {kind} | {count} |")
    print(
        f"\n{found['interruptions']} interruptions, {found['stores']} stores finished afterwards, "
        f"{len(found['different'])} files differ from the undisturbed run's, {len(found['tracebacks'])} tracebacks"
    )
    for line, count in found["exits"].items():
        print(f"  {line}: {count} times")


if __name__ == "__main__":
    main()
