"""One step on any preset: it runs, trains every parameter it should, and clips; data that come late show."""

import json
import time
from pathlib import Path

import pytest
import torch
from h2onet.data.clips import ClipDataset
from h2onet.data.loading.batches import collate
from h2onet.errors import InputError
from h2onet.hand.mano import HandModel
from h2onet.network.checkpoint import load_checkpoint
from h2onet.training import inputs
from h2onet.training.distributed import Processes
from h2onet.training.guard import Guard, TrainingStopped
from h2onet.training.loop import train
from h2onet.training.recipe import Recipe, load_recipe, preset_names
from h2onet.training.steps import Stepper
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


@pytest.fixture(scope="module")
def ho3d_clips(make_clips) -> Path:
    """A training store of HO3D."""
    return make_clips(dataset="ho3d-v2", frames=4)


def _stepper(recipe: Recipe, hand: HandModel, tmp_path: Path) -> Stepper:
    network = inputs.fresh_network(recipe, hand, None).train()
    return Stepper(
        network,
        hand,
        recipe,
        Guard(network, tmp_path / "skipped.jsonl", 1),
        dtype=None,
        device=torch.device("cpu"),
        processes=Processes(),
        name_frames=lambda batch: (),
    )


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_takes_a_step(name, clips, ho3d_clips, tiny, tmp_path) -> None:
    ours = tiny(name, "max_steps=1")
    assert (ours.lr, ours.gamma, ours.stage) == (load_recipe(name).lr, load_recipe(name).gamma, load_recipe(name).stage)
    result = train(ours, ho3d_clips if ours.dataset == "ho3d" else clips, tmp_path / "run", device="cpu")
    (line,) = [line for line in map(json.loads, (tmp_path / "run/metrics.jsonl").open()) if line["kind"] == "train"]
    assert result.steps == 1 and result.skipped_steps == 0 and line["lr"] == ours.lr
    assert ("occlusion" in line) == (ours.frames == 3) and ("rotation" in line) == (ours.stage == 2)
    assert load_checkpoint(tmp_path / "run/last").config.oriented == (ours.stage == 2)


def test_given_weights_have_their_own_rate_and_keep_it_over_a_resumption(clips, tiny, tmp_path) -> None:
    first, factor = tmp_path / "first", 0.01
    train(tiny("demo-single-stage2", "max_steps=1"), clips, first, device="cpu")
    changes = "lr=1e-3", "clip_norm=1e9", f"given_lr={factor}", "milestones=1"

    def run(out: str, steps: int, init: Path | None = None) -> dict[str, torch.Tensor]:
        recipe = tiny("demo-multi-stage2", *changes, f"max_steps={steps}")
        train(recipe, clips, tmp_path / out, init=init, resume=True, device="cpu")
        return dict(load_checkpoint(tmp_path / out / "last").named_parameters())

    given = dict(load_checkpoint(first / "last").named_parameters())
    # Adam's first step is the rate, whatever the gradient: 1e-3 for what starts anew, less for what was given.
    moved = {name: value - given[name] for name, value in run("once", 1, first / "last").items() if name in given}
    largest = max(float(change.detach().abs().max()) for change in moved.values())
    assert len(moved) > 100 and largest == pytest.approx(1e-3 * factor, rel=1e-2)
    start = dict(load_checkpoint(tmp_path / "once/last").named_parameters())
    twice, straight = run("once", 3), run("straight", 3, first / "last")
    assert all(torch.equal(twice[name], value) for name, value in straight.items())
    anew = [name for name in straight if name not in given]
    assert anew and all((straight[name] - start[name]).abs().max() > 2e-4 for name in anew if straight[name].ndim > 1)


def test_without_init_every_weight_has_the_whole_rate(clips, tiny, tmp_path, caplog) -> None:
    for name, factor in (("whole", 1), ("part", 0.01)):
        train(tiny("demo-single-stage2", f"given_lr={factor}", "max_steps=2"), clips, tmp_path / name, device="cpu")
        assert ("given_lr of demo-single-stage2 does nothing" in caplog.text) == (factor != 1)
    whole, part = (load_checkpoint(tmp_path / name / "last").state_dict() for name in ("whole", "part"))
    assert all(torch.equal(part[name], value) for name, value in whole.items())


def test_a_rate_of_nothing_is_for_what_leaves_something_to_learn(clips, tiny, tmp_path, caplog) -> None:
    first = tmp_path / "first"
    train(tiny("demo-single-stage2", "max_steps=1", "keep_norm=true"), clips, first, device="cpu")
    assert "keep_norm of demo-single-stage2 does nothing" in caplog.text
    given = dict(load_checkpoint(first / "last").named_parameters())
    with pytest.raises(InputError, match=r"given_lr = 0\.0, but --init .* nothing would learn"):
        train(tiny("demo-single-stage2", "given_lr=0"), clips, tmp_path / "same", init=first / "last", device="cpu")
    assert not (tmp_path / "same").exists()
    more = tiny("demo-multi-stage2", "given_lr=0", "max_steps=1")
    train(more, clips, tmp_path / "more", init=first / "last", device="cpu")
    moved = {name for name, value in load_checkpoint(tmp_path / "more/last").named_parameters()
             if name not in given or not torch.equal(value, given[name])}  # fmt: skip
    assert moved and not moved & set(given)


def test_given_layers_can_keep_their_normalisation(clips, val_clips, tiny, tmp_path) -> None:
    first = tmp_path / "first"
    train(tiny("demo-single-stage2", "max_steps=2"), clips, first, device="cpu")

    def statistics(folder: Path) -> dict[str, torch.Tensor]:
        state = load_checkpoint(folder).state_dict()
        return {name: value for name, value in state.items() if "running_" in name}

    given, found = statistics(first / "last"), {}
    for keeps in ("true", "false"):
        recipe = tiny("demo-multi-stage2", f"keep_norm={keeps}", "epochs=2", "batch_size=8")
        # Validation between the epochs puts the network into evaluation mode and back.
        train(recipe, clips, tmp_path / keeps, val_clips=val_clips, init=first / "last", device="cpu")
        found[keeps] = statistics(tmp_path / keeps / "last")
    assert given.keys() < found["true"].keys()
    assert all(torch.equal(found["true"][name], value) for name, value in given.items())
    assert not any(torch.equal(found["false"][name], value) for name, value in given.items())
    starts = {"running_mean": 0.0, "running_var": 1.0}
    for name in found["true"].keys() - given.keys():  # what starts anew learns its own
        assert (found["true"][name] != starts[name.rpartition(".")[2]]).any(), name


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("stage", [1, 2])
def test_a_step_trains_all_that_it_should_and_clips(frames, stage, clips, hand, tmp_path) -> None:
    name = f"demo-{'single' if frames == 1 else 'multi'}-stage{stage}"
    recipe = load_recipe(name, ["width=0.125", "batch_size=4"])
    stepper, samples = _stepper(recipe, hand, tmp_path), inputs.training_clips(recipe, clips)
    assert stepper.optimiser.defaults["fused"] and stepper.optimiser.defaults["weight_decay"] == 0
    before = {name: value.clone() for name, value in stepper.network.named_parameters()}
    result = stepper.step(collate([samples[i] for i in range(4)]), 1, 0)
    trained = {name: p for name, p in stepper.network.named_parameters() if p.requires_grad}
    # Several processes wait for every gradient: none may be missing in any stage.
    assert [name for name, parameter in trained.items() if parameter.grad is None] == []
    # Stage 1 leaves the orientation alone.
    resting = [name for name in before if name not in trained]
    assert bool(resting) == (stage == 1) and all("orientation" in name or "_head" in name for name in resting)
    norm = torch.stack([p.grad.norm() for p in trained.values()]).norm()
    assert result.gradient_norm > 0.1 and norm == pytest.approx(0.1, rel=1e-3)
    moved = {name for name, value in stepper.network.named_parameters() if not torch.equal(value, before[name])}
    assert moved <= set(trained) and len(moved) > 0.9 * len(trained)


def test_an_fp16_overflow_lowers_the_scale_and_is_no_fault(clips, hand, tmp_path) -> None:
    recipe = load_recipe("demo-single-stage1", ["width=0.125", "batch_size=4"])
    stepper, samples = _stepper(recipe, hand, tmp_path), inputs.training_clips(recipe, clips)
    batch = collate([samples[i] for i in range(4)])
    # The loss stays finite in float32; 2^120 times it does not survive the way back.
    stepper.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**120, backoff_factor=2.0**-118)
    weights = [value.clone() for value in stepper.network.parameters()]
    assert not stepper.step(batch, 1, 0).taken  # a guard of limit 1 would have stopped
    assert all(torch.equal(a, b) for a, b in zip(weights, stepper.network.parameters(), strict=True))
    assert stepper.scaler.get_scale() == 4.0 and stepper.guard.skipped == 0 and not stepper.guard.path.exists()
    assert stepper.step(batch, 2, 0).taken
    # A loss that is not finite is a fault at any scale.
    batch["joints_2d"][0] = float("nan")
    with pytest.raises(TrainingStopped, match="joints_2d"):
        stepper.step(batch, 3, 0)


def test_slow_data_show_as_waiting(clips, tiny, tmp_path, monkeypatch, capsys) -> None:
    quick = ClipDataset.__getitem__

    def slow(self, index):
        time.sleep(0.3)
        return quick(self, index)

    monkeypatch.setattr(ClipDataset, "__getitem__", slow)
    result = train(tiny("demo-single-stage1", "max_steps=2", "tensorboard=true"), clips, tmp_path / "run", device="cpu")
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert result.wait_share > 0.5 and lines[0]["wait_share"] > 0.5 and lines[0]["samples_per_s"] < 4
    share = f"{result.wait_share:.0%}"
    assert f"wait {share}" in capsys.readouterr().err and f"{share} of the time waiting" in str(result)
    board = EventAccumulator(str(tmp_path / "run/tensorboard"))
    board.Reload()
    shown = {name: [event.value for event in board.Scalars(name)] for name in ("train/loss", "train/wait_share")}
    assert shown["train/loss"] == pytest.approx([line["loss"] for line in lines[:2]])
    assert shown["train/wait_share"] == pytest.approx([line["wait_share"] for line in lines[:2]])


@pytest.mark.parametrize("validated", [True, False])
def test_training_and_validation_speak_the_same_names(clips, val_clips, tiny, tmp_path, validated: bool) -> None:
    """Every loss of a step has its twin among the epoch's means and in the validation, under the same name."""
    recipe = tiny("demo-single-stage1", "max_steps=1", "tensorboard=true")
    train(recipe, clips, tmp_path / "run", val_clips=val_clips if validated else None)
    board = EventAccumulator(str(tmp_path / "run/tensorboard"))
    board.Reload()
    groups: dict[str, set[str]] = {}
    for tag in board.Tags()["scalars"]:
        group, _, name = tag.partition("/")
        groups.setdefault(group, set()).add(name)
    assert set(groups) == {"train", "train_epoch"} | ({"val"} if validated else set())
    losses = groups["train_epoch"] - {"epoch"}
    assert {"loss", "vertices"} < losses <= groups["train"]
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert board.Scalars("train_epoch/loss")[0].value == pytest.approx(lines[-1]["train_loss"])
    if validated:
        assert losses <= groups["val"] and {"pa_mpjpe_mm", "score"} < groups["val"]
        assert board.Scalars("val/loss")[0].value == pytest.approx(lines[-1]["val_loss"])
        assert board.Scalars("val/vertices")[0].value == pytest.approx(lines[-1]["val_loss_vertices"])


def test_pictures_reach_the_board(clips, tiny, tmp_path) -> None:
    train(tiny("demo-single-stage1", "max_steps=1", "tensorboard=true", "pictures=2"), clips, tmp_path / "run")
    board = EventAccumulator(str(tmp_path / "run/tensorboard"))
    board.Reload()
    (image,) = board.Images("samples")
    assert (image.height, image.width, image.step) == (24 + 2 * 256, 4 * 256, 1)
