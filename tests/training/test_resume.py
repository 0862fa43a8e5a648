"""Resuming is exact to the bit after SIGKILL and after signals; used folders and other recipes are refused."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from h2onet import cli
from h2onet.data.loading.batches import ClipLoader
from h2onet.errors import InputError
from h2onet.network.checkpoint import load_checkpoint, load_training_state
from h2onet.training import run as running
from h2onet.training.loop import train
from h2onet.training.recipe import to_toml
from h2onet.training.steps import Stepper
from h2onet.training.validation import validate

CHILD = """
import sys
from h2onet.training.loop import train
from h2onet.training.recipe import load_recipe
train(load_recipe(sys.argv[1]), sys.argv[2], sys.argv[3], resume=True, device="cpu")
"""
LONG = ("epochs=5", "max_steps=20", "checkpoint_every=10")


def _same(first: Path, second: Path) -> None:
    ours, theirs = load_checkpoint(first).state_dict(), load_checkpoint(second).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    states = [load_training_state(folder) for folder in (first, second)]
    moments = [state["optimiser"]["state"] for state in states]
    assert moments[0].keys() == moments[1].keys() and len(moments[0]) > 50
    for key, values in moments[0].items():
        assert all(torch.equal(values[name], moments[1][key][name]) for name in values)
    assert states[0]["sums"] == states[1]["sums"] and states[0]["loader"] == states[1]["loader"]


@pytest.fixture(scope="module")
def straight(clips, tmp_path_factory) -> Path:
    """20 steps without a break: 5 epochs of 4 steps, augmented."""
    out = tmp_path_factory.mktemp("straight") / "run"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(_recipe(), clips, out, device="cpu")
    torch.set_num_threads(threads)
    return out


def _recipe(*more: str):
    from h2onet.training.recipe import load_recipe

    small = "width=0.125 batch_size=4 milestones=[2] num_workers=0 tensorboard=false pictures=0 log_every=1 threads=1"
    return load_recipe("demo-single-stage1", [*small.split(), *LONG, *more])


def _lines(run: Path) -> list[str]:
    path = run / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def test_a_killed_run_resumes_bit_for_bit(straight, clips, tmp_path) -> None:
    (tmp_path / "mine.toml").write_text(to_toml(_recipe()))
    out = tmp_path / "run"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "mine.toml"), str(clips), str(out)], env=environment
    )
    deadline = time.monotonic() + 120
    # Eleven lines at least: step 10's checkpoint is written, and the run is already beyond it.
    while len(_lines(out)) < 14 and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    before = load_training_state(out / "last")["step"]
    assert 10 <= before < 20
    result = train(_recipe(), clips, out, resume=True, device="cpu")
    assert result.steps == 20
    _same(straight / "last", out / "last")
    steps = [line for line in _lines(out) if '"kind": "train"' in line]
    assert len(steps) == 20 and len(set(steps)) == 20


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_ends_the_step_in_hand_and_leaves_a_checkpoint(number, straight, clips, tmp_path, monkeypatch):
    taken, handler = Stepper.step, signal.getsignal(number)

    def step(self, batch, count, epoch):
        if count == 3:
            # Terminals and batch systems signal the loader's workers too, which the step in hand still needs.
            workers = [str(child.pid) for child in multiprocessing.active_children()]
            assert workers
            subprocess.run(["kill", f"-{int(number)}", *workers], check=True)
            time.sleep(0.3)
            assert len(multiprocessing.active_children()) == len(workers)
            os.kill(os.getpid(), number)
        return taken(self, batch, count, epoch)

    monkeypatch.setattr(Stepper, "step", step)
    result = train(_recipe("num_workers=1"), clips, tmp_path / "run", device="cpu")
    assert result.steps == 3 and result.interrupted == signal.Signals(number).name
    assert str(result).endswith(f"; left after {signal.Signals(number).name}")
    assert load_training_state(tmp_path / "run/last")["step"] == 3
    assert signal.getsignal(number) is handler
    monkeypatch.undo()
    if number == signal.SIGTERM:  # with another number of loader processes: the order is the same
        train(_recipe(), clips, tmp_path / "run", resume=True, device="cpu")
        _same(straight / "last", tmp_path / "run/last")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_ends_a_wait_for_data(number, straight, clips, tmp_path, monkeypatch):
    """Data that never comes, as from a file system that hangs: the third step's batch is not there when it is asked."""
    made = ClipLoader.__iter__

    def stuck(self):
        batches = made(self)
        yield next(batches)
        yield next(batches)
        threading.Timer(0.3, os.kill, (os.getpid(), number)).start()
        time.sleep(60)
        yield from batches

    monkeypatch.setattr(ClipLoader, "__iter__", stuck)
    begun = time.monotonic()
    result = train(_recipe(), clips, tmp_path / "run", device="cpu")
    assert result.steps == 2 and result.interrupted == signal.Signals(number).name
    assert time.monotonic() - begun < 55
    monkeypatch.undo()
    if number == signal.SIGTERM:
        train(_recipe(), clips, tmp_path / "run", resume=True, device="cpu")
        _same(straight / "last", tmp_path / "run/last")


def test_a_worker_that_dies_is_one_line_and_keeps_the_last_step(clips, tmp_path, monkeypatch):
    taken = Stepper.step

    def step(self, batch, count, epoch):
        if count == 2:
            for child in multiprocessing.active_children():
                os.kill(child.pid, signal.SIGKILL)
        return taken(self, batch, count, epoch)

    monkeypatch.setattr(Stepper, "step", step)
    with pytest.raises(InputError, match=r"^loader: DataLoader worker") as caught:
        train(_recipe("num_workers=1", "checkpoint_every=1"), clips, tmp_path / "run", device="cpu")
    subprocess.run(["true"], check=True)  # when another process ends, torch must not bring up the killed one again
    assert "\n" not in str(caught.value) and load_training_state(tmp_path / "run/last")["step"] >= 1


def test_the_command_leaves_with_the_signal_s_exit_code(clips, tmp_path, monkeypatch, capsys) -> None:
    taken, out = Stepper.step, tmp_path / "run"

    def step(self, batch, count, epoch):
        os.kill(os.getpid(), signal.SIGTERM)
        return taken(self, batch, count, epoch)

    monkeypatch.setattr(Stepper, "step", step)
    small = ("width=0.125", "batch_size=4", "num_workers=0", "tensorboard=false", "threads=1")
    command = ["h2o", "train", "demo-single-stage1", "--clips", str(clips), "--out", str(out), "--set", *small]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 128 + signal.SIGTERM
    assert capsys.readouterr().out.endswith("; left after SIGTERM, go on with --resume\n")


def test_a_longer_run_than_planned_is_that_of_a_longer_plan(straight, clips, tmp_path) -> None:
    out = tmp_path / "run"
    train(_recipe("epochs=2"), clips, out, device="cpu")
    train(_recipe(), clips, out, resume=True, device="cpu")  # milestone and all after the first plan's end
    _same(straight / "last", out / "last")
    facts = ("kind", "step", "epoch", "lr", "loss")
    ours, theirs = ([[json.loads(line).get(fact) for fact in facts] for line in _lines(run)] for run in (out, straight))
    assert ours == theirs


@pytest.mark.parametrize("way", ["killed", "signal"])
def test_the_last_validation_is_made_up_for(way, clips, val_clips, tmp_path, monkeypatch) -> None:
    out, recipe, taken = tmp_path / "run", _recipe("epochs=2", "max_steps=0"), Stepper.step
    last = 8

    def step(self, batch, count, epoch):
        if count == last and way == "signal":
            os.kill(os.getpid(), signal.SIGTERM)
        return taken(self, batch, count, epoch)

    def killed(network, samples, *rest):
        if load_training_state(out / "last")["step"] == last:
            raise SystemExit("killed")
        return validate(network, samples, *rest)

    with monkeypatch.context() as patch:
        if way == "signal":
            patch.setattr(Stepper, "step", step)
            assert train(recipe, clips, out, val_clips=val_clips, device="cpu").interrupted == "SIGTERM"
        else:
            patch.setattr(running, "validate", killed)
            with pytest.raises(SystemExit):
                train(recipe, clips, out, val_clips=val_clips, device="cpu")
    assert [json.loads(line)["step"] for line in _lines(out) if '"val"' in line] == [4]
    result = train(recipe, clips, out, val_clips=val_clips, resume=True, device="cpu")
    assert (result.steps, result.epochs, result.interrupted) == (last, 2, None)
    assert [json.loads(line)["step"] for line in _lines(out) if '"val"' in line] == [4, last]
    assert sum('"train"' in line for line in _lines(out)) == last
    # Once more there is nothing left to do.
    assert train(recipe, clips, out, val_clips=val_clips, resume=True, device="cpu").steps == last
    assert sum('"val"' in line for line in _lines(out)) == 2


def test_used_folders_and_other_recipes_are_refused(straight, clips) -> None:
    with pytest.raises(InputError, match="already holds a run"):
        train(_recipe(), clips, straight, device="cpu")
    with pytest.raises(InputError, match=r"another recipe \(lr: .* -> 0.5\)"):
        train(_recipe("lr=0.5"), clips, straight, resume=True, device="cpu")
    assert load_training_state(straight / "last")["step"] == 20


def test_resuming_needs_the_same_data(straight, make_clips) -> None:
    with pytest.raises(InputError, match="loader state: made with samples"):
        train(_recipe("max_steps=30", "epochs=8"), make_clips(frames=6), straight, resume=True, device="cpu")


def test_overwrite_starts_anew_and_resume_starts_what_is_not_there(clips, tmp_path, tiny) -> None:
    out = tmp_path / "run"
    recipe = tiny("demo-single-stage1", "max_steps=1")
    assert train(recipe, clips, out, resume=True, device="cpu").steps == 1
    (out / "mine.txt").write_text("kept")
    assert train(recipe, clips, out, overwrite=True, device="cpu").steps == 1
    assert (out / "mine.txt").exists()
    assert sum('"kind": "train"' in line for line in _lines(out)) == 1
