"""bf16 on the CPU: close to float32, exact to resume, float32 in checkpoints.

Processors with matrix units (AMX) gain from it.
"""

import json
from pathlib import Path

import pytest
import torch
from h2onet.evaluation.evaluate import evaluate_clips
from h2onet.network.checkpoint import load_checkpoint, load_training_state
from h2onet.training.loop import train

PRESET = "demo-multi-stage2"
STEPS = 2


@pytest.fixture
def warm(clips, tiny, tmp_path) -> Path:
    """Weights that have seen a few steps: an untrained network magnifies any rounding."""
    recipe = tiny("demo-single-stage2", "batch_size=8", "epochs=9", "max_steps=12")
    train(recipe, clips, tmp_path / "warm", device="cpu")
    return tmp_path / "warm/last"


def _losses(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "train"]


@pytest.mark.timeout(900)  # slow without bf16 instructions, and more so beside other work
def test_bf16_on_the_cpu_trains_resumes_and_is_scored(warm, clips, val_clips, tiny, tmp_path, monkeypatch) -> None:
    def run(name: str, amp: str, *stops: int) -> Path:
        for stop in stops:
            recipe = tiny(PRESET, f"amp={amp}", "batch_size=4", "lr=1e-4", "epochs=9", f"max_steps={stop}")
            result = train(
                recipe, clips, tmp_path / name, val_clips=val_clips, init=warm, resume=stop > stops[0], device="cpu"
            )
            assert result.steps == stop and result.skipped_steps == 0
        return tmp_path / name

    formats = set()
    taken = torch.nn.functional.conv2d

    def watch(*args, **kwargs):
        result = taken(*args, **kwargs)
        formats.add(result.dtype)
        return result

    plain = run("plain", "auto", STEPS)
    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.functional, "conv2d", watch)
        half = run("half", "bf16", STEPS)
    for ours, theirs in zip(_losses(half), _losses(plain), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=0.05) and ours["loss"] != theirs["loss"]
    assert torch.bfloat16 in formats
    broken_off = run("broken-off", "bf16", 1, STEPS)
    states = [load_checkpoint(folder / "last").state_dict() for folder in (half, broken_off)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert {value.dtype for value in states[0].values() if value.is_floating_point()} == {torch.float32}
    moments = load_training_state(half / "last")["optimiser"]["state"]
    assert all(value["exp_avg"].dtype == torch.float32 for value in moments.values())
    scores = evaluate_clips(half / "last", val_clips, tmp_path / "scores", device="cpu")
    assert 0 < scores["pa_mpjpe_mm"] < 100 and scores["frames"] == 6
