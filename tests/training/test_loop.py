"""`train` from clips to checkpoints: both stages, resuming, signals, refusals."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from h2onet.cores import granted_cores
from h2onet.network.checkpoint import load_checkpoint, read_metadata
from h2onet.network.threads import PINNED_BY
from h2onet.training import machine
from h2onet.training.loop import train


def _lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "preset", ["demo-single-stage1", "demo-single-stage2", "demo-multi-stage1", "demo-multi-stage2"]
)
def test_a_stage_runs_and_leaves_a_whole_run_folder(preset, clips, val_clips, tiny, tmp_path) -> None:
    recipe = tiny(preset, "pictures=2", "max_steps=2", "tensorboard=true")
    result = train(recipe, clips, tmp_path / "run", val_clips=val_clips, device="cpu")
    run = tmp_path / "run"
    assert result.steps == 2 and result.skipped_steps == 0 and result.interrupted is None
    for name in ("last", "best"):
        model = load_checkpoint(run / name)
        assert model.config.frames == recipe.frames and model.config.oriented == (recipe.stage == 2)
    assert read_metadata(run / "last")["step"] == 2
    kinds = {line["kind"] for line in _lines(run)}
    assert kinds == {"train", "val"}
    val = next(line for line in _lines(run) if line["kind"] == "val")
    assert result.best_score == pytest.approx(val["pa_mpjpe_mm"] + val["pa_mpvpe_mm"])
    assert (run / "samples/epoch-0001.png").stat().st_size > 1000
    assert list((run / "tensorboard").iterdir()) and (run / "config.toml").is_file()
    assert torch.isfinite(
        model(torch.rand(1, 3, 128, 128) if recipe.frames == 1 else torch.rand(1, 3, 3, 128, 128)).vertices
    ).all()


def test_mixed_precision_and_deterministic_mode_train(clips, tiny, tmp_path) -> None:
    recipe = tiny("demo-multi-stage2", "amp=bf16", "deterministic=true", "max_steps=2")
    try:
        result = train(recipe, clips, tmp_path / "run", device="cpu")
    finally:
        torch.use_deterministic_algorithms(False)
    assert result.skipped_steps == 0 and result.chosen_on == "training loss"
    assert all(line["loss"] < 10 for line in _lines(tmp_path / "run") if line["kind"] == "train")
    weights = load_checkpoint(tmp_path / "run/best").state_dict()
    assert {tensor.dtype for tensor in weights.values() if tensor.is_floating_point()} == {torch.float32}


def test_a_warning_says_when_a_stage_lacks_its_start(clips, tiny, tmp_path, caplog) -> None:
    train(tiny("demo-single-stage2", "max_steps=1"), clips, tmp_path / "run", val_clips=clips, device="cpu")
    assert "starts from random weights; demo-single-stage2 is meant to start from" in caplog.text
    assert "validation clips are also trained on" in caplog.text


def test_open_threads_are_found_by_timing_and_pinned_ones_kept(clips, tiny, tmp_path, capsys, monkeypatch) -> None:
    for name in PINNED_BY:
        monkeypatch.delenv(name, raising=False)
    asked = ("max_steps=6", "epochs=2", "batch_size=4")
    train(tiny("demo-single-stage1", *asked, "threads=0"), clips, tmp_path / "open", device="cpu")
    told = [line for line in capsys.readouterr().err.splitlines() if "granted cores" in line]
    assert told and "torch computes with" in told[0]
    used = {line["threads"] for line in _lines(tmp_path / "open") if line["kind"] == "train"}
    assert used <= set(range(1, granted_cores() + 1))
    train(tiny("demo-single-stage1", *asked), clips, tmp_path / "one", device="cpu")
    assert "torch computes with" not in capsys.readouterr().err
    assert {line["threads"] for line in _lines(tmp_path / "one") if line["kind"] == "train"} == {1}


def test_what_leaves_threads_alone(tiny, monkeypatch, one_thread) -> None:
    for name in PINNED_BY:
        monkeypatch.delenv(name, raising=False)
    cpu, said = torch.device("cpu"), []
    free = tiny("demo-single-stage1", "threads=0")
    assert machine.step_timer(free, cpu, 1, said.append) is not nullcontext
    assert machine.step_timer(tiny(), cpu, 1, said.append) is nullcontext
    assert (
        machine.step_timer(tiny("demo-single-stage1", "threads=0", "deterministic=true"), cpu, 1, said.append)
        is nullcontext
    )
    assert machine.step_timer(free, cpu, 2, said.append) is nullcontext
    assert machine.step_timer(free, torch.device("cuda"), 1, said.append) is nullcontext
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert machine.step_timer(free, cpu, 1, said.append) is nullcontext
