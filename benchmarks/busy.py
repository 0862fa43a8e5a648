"""Training beside other busy processes: samples per second, and against another checkout where one is given.

    python benchmarks/busy.py [--busy 4] [--steps 24] [--baseline CHECKOUT] [--json runs/benchmarks/busy.json]

Trains the demo's single-frame network (width 0.25, batch 8, torch's threads left open) for some steps on a small
synthesized store, alone and beside processes that do nothing but compute. A checkout has an environment of its own in
.venv; it trains on the same clips. A run that takes longer than --limit seconds is ended; its rate is then what it had
reached. Rates are those of the last half of the steps, from metrics.jsonl. "shared": the same batch shared by one
process of one thread per core, under torchrun.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from h2onet.cores import granted_cores
from h2onet.data.synthesize import SynthesizeSettings, synthesize
from h2onet.pipeline.build_clips import build_clips
from h2onet.pipeline.prepare_labels import LabelSettings, prepare_labels

SETTINGS = ("epochs=1000", "milestones=[]", "log_every=1", "tensorboard=false", "pictures=0", "checkpoint_every=100000")
BATCH = 8
RUN = "from h2onet.cli import main; main()"


def main() -> None:
    """Parse, make clips, train alone and beside others, print and write."""
    options = arguments()
    pythons = {"now": sys.executable}
    if options.baseline is not None:
        pythons["before"] = str(options.baseline.absolute() / ".venv/bin/python")
    rates: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="h2onet-busy-") as name:
        folder = Path(name)
        clips = make_clips(folder)
        for case, count in (("alone", 0), (f"beside {options.busy} busy processes", options.busy)):
            rates[case] = {}
            for which, python in pythons.items():
                with busy_processes(count):
                    rates[case][which] = train(python, clips, folder / f"{which}-{count}", options)
                print(f"{case}, {which}: {rates[case][which]:.2f} samples/s", flush=True)
            with busy_processes(count):
                rates[case]["shared"] = train(sys.executable, clips, folder / f"shared-{count}", options, share=True)
            print(f"{case}, shared: {rates[case]['shared']:.2f} samples/s", flush=True)
    result = {
        "machine": f"{platform.machine()}, {granted_cores()} cores, Python {platform.python_version()}",
        "steps": options.steps,
        "limit_s": options.limit,
        "samples_per_s": rates,
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=2) + "\n")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Training beside other busy processes.")
    parser.add_argument("--busy", type=int, default=4)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--limit", type=float, default=150.0, help="seconds after which a run is ended")
    parser.add_argument("--baseline", type=Path, help="another checkout, with its environment in .venv")
    parser.add_argument("--json", type=Path, default=Path("runs/benchmarks/busy.json"))
    return parser.parse_args()


def make_clips(folder: Path) -> Path:
    """A store of 32 frames."""
    root, labels, clips = folder / "DEX_YCB", folder / "labels.zarr", folder / "clips.zarr"
    synthesize(SynthesizeSettings(root, sequences=1, cameras=2, frames=20, workers=1))
    prepare_labels(LabelSettings("dexycb", root, "train", mano=root / "mano", out=labels, workers=1))
    build_clips(labels, clips, workers=1)
    return clips


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """So many processes that each keep a core busy."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def train(python: str, clips: Path, out: Path, options: argparse.Namespace, *, share: bool = False) -> float:
    """Samples per second of a training run: over the last half of its steps, or of those it made within the limit.

    share: as many processes of one thread as there are cores, each with its part of the batch.
    """
    start, chosen = ["-c", RUN], ["--set", *SETTINGS, f"max_steps={options.steps}"]
    if share:
        cores = granted_cores()
        start = ["-m", "torch.distributed.run", "--nproc-per-node", str(cores), "-m", "h2onet.cli"]
        chosen += ["threads=1", f"batch_size={max(BATCH // cores, 2)}"]
    command = [python, *start, "train", "demo-single-stage1", "--clips", str(clips), "--out", str(out), *chosen]
    environment = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
    quiet = subprocess.DEVNULL
    child = subprocess.Popen([*command, "--device", "cpu"], env=environment, stdout=quiet, stderr=quiet)
    try:
        child.wait(options.limit)
    except subprocess.TimeoutExpired:
        child.terminate()  # torchrun ends its processes, too
        child.wait()
    file = out / "metrics.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    found = [line["samples_per_s"] for line in lines if line["kind"] == "train"]
    last = found[len(found) // 2 :]
    return len(last) / sum(1 / rate for rate in last) if last else 0.0


if __name__ == "__main__":
    main()
