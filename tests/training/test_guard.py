"""Steps that are not finite change nothing, are named, and too many in a row end the run with a diagnosis."""

import json
import re

import pytest
import torch
from h2onet.network.checkpoint import load_checkpoint, load_training_state
from h2onet.training.guard import Guard, SkippedStep, TrainingStopped, broken_terms
from h2onet.training.loop import train
from h2onet.training.steps import Stepper

RECORD = SkippedStep(1, 0, ("rotation",), {"rotation": "nan"}, (), ("a/000001",))


def _plant(monkeypatch, steps: set[int], field: str, value: float = float("nan")) -> None:
    """Put a value that is not finite into one sample of the batches of some steps."""
    taken = Stepper.step

    def step(self, batch, number, epoch):
        if number in steps:
            spoiled = batch[field].clone()
            spoiled[1] = value
            batch = {**batch, field: spoiled}
        return taken(self, batch, number, epoch)

    monkeypatch.setattr(Stepper, "step", step)


@pytest.mark.parametrize(
    ("field", "value", "broken"),
    [
        ("mano_pose", float("nan"), {"vertices", "joints", "edge"}),
        # an infinite L1 has a finite gradient: the term itself must be watched
        ("joints_2d", float("inf"), {"joints_2d"}),
        ("images", float("nan"), {"vertices", "joints_2d"}),
    ],
)
def test_a_planted_batch_is_skipped_and_named(field, value, broken, clips, tiny, tmp_path, monkeypatch) -> None:
    out = tmp_path / "run"
    _plant(monkeypatch, {2}, field, value)
    result = train(tiny("demo-single-stage1", "max_steps=3"), clips, out, device="cpu")
    assert result.steps == 3 and result.skipped_steps == 1
    (line,) = (out / "skipped.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert record["step"] == 2 and broken <= set(record["broken"]) and len(record["frames"]) == 4
    assert all(name.startswith("subject-0") for name in record["frames"])
    weights = load_checkpoint(out / "last").state_dict()
    assert all(torch.isfinite(tensor).all() for tensor in weights.values() if tensor.is_floating_point())
    logged = [json.loads(text, parse_constant=pytest.fail) for text in (out / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in logged if line["kind"] == "train"]
    assert losses[1] is None and all(0 < loss < 10 for loss in (losses[0], losses[2]))


def test_windows_are_named_with_their_past_frames(clips, tiny, tmp_path, monkeypatch) -> None:
    _plant(monkeypatch, {1}, "mano_pose")
    train(tiny("demo-multi-stage1", "max_steps=2"), clips, tmp_path / "run", device="cpu")
    record = json.loads((tmp_path / "run/skipped.jsonl").read_text())
    shape = r"subject-0[01]/recording/camera/(\d{6}) \(past (\d{6}) (\d{6})\)"
    windows = [re.fullmatch(shape, name) for name in record["frames"]]
    assert len(windows) == 4 and all(windows)
    for window in windows:
        assert window and window[3] <= window[2] <= window[1]


def test_a_skipped_step_leaves_no_trace(clips, tiny, tmp_path, monkeypatch) -> None:
    # Steps 1 and 3 after a spoiled 2 equal a run whose step 2 never reached the network.
    recipe = tiny("demo-single-stage1", "max_steps=3")
    with monkeypatch.context() as context:
        _plant(context, {2}, "images")
        train(recipe, clips, tmp_path / "spoiled", device="cpu")
    taken = Stepper.step

    def step(self, batch, number, epoch):
        return taken(self, batch, number, epoch) if number != 2 else first

    first = None

    def remember(self, batch, number, epoch):
        nonlocal first
        if number == 2:
            return first
        first = taken(self, batch, number, epoch)
        return first

    monkeypatch.setattr(Stepper, "step", remember)
    train(recipe, clips, tmp_path / "absent", device="cpu")
    ours, theirs = (load_checkpoint(tmp_path / name / "last").state_dict() for name in ("spoiled", "absent"))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_ten_in_a_row_stop_the_run_and_keep_the_last_good_checkpoint(clips, tiny, tmp_path, monkeypatch) -> None:
    out = tmp_path / "run"
    _plant(monkeypatch, set(range(3, 100)), "mano_shape")
    recipe = tiny("demo-single-stage1", "epochs=5", "checkpoint_every=2")
    with pytest.raises(TrainingStopped, match="10 steps in a row") as caught:
        train(recipe, clips, out, device="cpu")
    message = str(caught.value)
    assert "vertices" in message and "skipped.jsonl" in message and "lower lr" in message and "\n" not in message
    assert len((out / "skipped.jsonl").read_text().splitlines()) == 10
    assert load_training_state(out / "last")["step"] >= 2
    weights = load_checkpoint(out / "last").state_dict()
    assert all(torch.isfinite(tensor).all() for tensor in weights.values() if tensor.is_floating_point())


def test_broken_terms_name_the_gradient_only_when_all_terms_are_finite() -> None:
    nan, inf = float("nan"), float("inf")
    assert broken_terms({"a": 1.0, "b": 2.0}, 3.0) == ()
    assert broken_terms({"a": 1.0, "b": inf}, nan) == ("b",)
    assert broken_terms({"a": 1.0}, nan) == ("gradient",)


def test_single_skips_do_not_add_up(tmp_path) -> None:
    guard = Guard(torch.nn.BatchNorm1d(2), tmp_path / "skipped.jsonl", limit=2)
    for _ in range(5):
        guard.skip(RECORD)
        guard.accept()
    guard.skip(RECORD)
    with pytest.raises(TrainingStopped, match="2 steps in a row"):
        guard.skip(RECORD)
    assert guard.skipped == 7


def test_running_statistics_are_put_back(tmp_path) -> None:
    layer = torch.nn.BatchNorm1d(2)
    guard = Guard(layer, tmp_path / "skipped.jsonl", limit=5)
    layer(torch.randn(8, 2))
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    guard.remember()
    layer(torch.full((8, 2), float("nan")))
    assert not torch.isfinite(layer.get_buffer("running_mean")).all()
    guard.skip(RECORD)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    linear = torch.nn.Linear(2, 2)
    watching = Guard(linear, tmp_path / "x.jsonl", limit=5)
    linear.weight.grad = torch.full((2, 2), float("inf"))
    linear.bias.grad = torch.zeros(2)
    assert watching.broken_parameters() == ("weight",)
