"""`train` from clips to checkpoints: both stages, resuming, signals, refusals."""

import json
from pathlib import Path

import pytest
import torch
from h2onet.network.checkpoint import load_checkpoint, read_metadata
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
