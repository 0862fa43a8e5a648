"""`torchrun ... -m h2onet.cli train`, as docs/training.md shows it.

Two processes make the run of one, end in good order on signals that reach every process at once, go on from there, and
report a mistake once.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from h2onet.network.checkpoint import load_checkpoint, load_training_state
from h2onet.training.loop import train
from h2onet.training.recipe import load_recipe

PRESET = "demo-single-stage2"
# Float32 rounds otherwise when two processes add up: a trained start and a small rate keep that from growing. Batches
# in another order, or other augmentation, change the losses by hundredths.
SMALL = [
    "width=0.125",
    "lr=1e-6",
    "milestones=[]",
    "epochs=50",
    "log_every=1",
    "checkpoint_every=1000",
    "pictures=0",
    "tensorboard=false",
    "threads=1",
    "channels_last=false",
]
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "h2onet.cli")


@pytest.fixture(scope="module", autouse=True)
def a_port() -> None:
    """torchrun's processes find each other through a port of this machine."""
    try:
        socket.create_server(("localhost", 0)).close()
    except OSError as error:
        pytest.skip(f"torchrun cannot bind a port on localhost here ({error})")


@pytest.fixture(scope="module")
def warm(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that have seen a few steps."""
    out = tmp_path_factory.mktemp("warm") / "run"
    recipe = load_recipe(PRESET, [*SMALL, "lr=1e-3", "batch_size=8", "max_steps=12", "num_workers=0"])
    train(recipe, clips, out, device="cpu")
    return out / "last"


def _torchrun(*arguments: object) -> subprocess.Popen:
    return subprocess.Popen(
        [*TORCHRUN, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finish(child: subprocess.Popen) -> tuple[int, str, str]:
    try:
        out, err = child.communicate(timeout=100)
    finally:
        child.kill()
    return child.returncode, out, err


def _lines(run: Path) -> list[dict]:
    file = run / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _stopped_at(child: subprocess.Popen, run: Path, number: int, beyond: int) -> int:
    """Signal torchrun once the run is beyond a step; the step of the checkpoint that it leaves."""
    deadline = time.monotonic() + 100
    while sum(line["kind"] == "train" for line in _lines(run)) <= beyond and time.monotonic() < deadline:
        assert child.poll() is None, child.communicate()
        time.sleep(0.05)
    child.send_signal(number)
    code, out, err = _finish(child)
    name = signal.Signals(number).name
    assert code != 0 and "DataLoader worker" not in err, err
    assert out.count("\n") == 1 and f"left after {name}, go on with --resume" in out
    step = load_training_state(run / "last")["step"]
    assert step > beyond and _lines(run)[-1]["step"] == step, "a step was lost"
    return step


@pytest.mark.timeout(900)  # six processes on however few cores there are
def test_a_run_that_is_stopped_twice_is_the_run_of_one_process(warm, clips, val_clips, tmp_path) -> None:
    run, alone = tmp_path / "run", tmp_path / "alone"
    given = ("--clips", clips, "--val-clips", val_clips, "--init", warm, "--device", "cpu")
    command = ("train", PRESET, *given, "--out", run, "--resume", "--set")
    # torchrun passes signals to whole process groups, the loader's workers included.
    first = _stopped_at(_torchrun(*command, *SMALL, "batch_size=4", "num_workers=0"), run, signal.SIGTERM, 1)
    second = _stopped_at(_torchrun(*command, *SMALL, "batch_size=4", "num_workers=1"), run, signal.SIGINT, first)
    last = second + 2
    code, out, err = _finish(_torchrun(*command, *SMALL, "batch_size=4", "num_workers=0", f"max_steps={last}"))
    assert code == 0, err
    assert out.count("\n") == 1 and f"{run}: {last} steps" in out and "left after" not in out
    assert "UserWarning" not in err and err.count("WARNING") == 0, err
    assert sorted(path.name for path in run.iterdir()) == ["best", "card.md", "config.toml", "last", "metrics.jsonl"]
    assert load_checkpoint(run / "best").config.width == 0.125

    recipe = load_recipe(PRESET, [*SMALL, "batch_size=8", "num_workers=0", f"max_steps={last}"])
    train(recipe, clips, alone, val_clips=val_clips, init=warm, device="cpu")
    theirs, ours = _lines(run), _lines(alone)
    assert [(line["kind"], line["step"]) for line in theirs] == [(line["kind"], line["step"]) for line in ours]
    assert [line["step"] for line in theirs if line["kind"] == "train"] == list(range(1, last + 1))
    assert theirs[0]["loss"] == pytest.approx(ours[0]["loss"], abs=1e-5)
    for one, other in zip(theirs, ours, strict=True):
        if one["kind"] == "train":
            assert one["loss"] == pytest.approx(other["loss"], abs=1e-3), one
            assert (one["lr"], one["epoch"], one["skipped"]) == (other["lr"], other["epoch"], 0)
        else:  # every sample once, whichever process had it
            assert one["score"] == pytest.approx(other["score"], abs=0.05), one
            assert one["val_loss"] == pytest.approx(other["val_loss"], abs=1e-3), one


def test_a_mistake_is_said_once(clips, tmp_path) -> None:
    child = _torchrun("train", PRESET, "--clips", clips, "--out", tmp_path / "run", "--set", "lrr=3")
    code, out, err = _finish(child)
    told = [line for line in err.splitlines() if line.startswith("h2o: ")]
    assert code != 0 and out == "" and len(told) == 1 and "unknown key 'lrr'" in told[0]
    # What follows is torchrun's own report, with the exit codes; no process of ours shows where it failed.
    assert "exitcode  : 2" in err and "cli.py" not in err and not (tmp_path / "run").exists()
