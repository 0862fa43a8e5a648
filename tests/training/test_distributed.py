"""Two gloo processes take the step that one process takes with the whole batch, batch normalisation included."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from h2onet.hand.errors import InputError
from h2onet.training.distributed import SharedBatchNorm, from_environment
from h2onet.training.loop import train
from h2onet.training.recipe import to_toml

# Each process: first one step of the multi-frame stage 2 in float64 on its half of a random batch, then a short
# `train`.
CHILD = """
import sys
from pathlib import Path
import torch
sys.path.insert(0, {tests!r})
from two_processes import gradients
from h2onet.training.distributed import from_environment, joined
from h2onet.training.loop import train
from h2onet.training.recipe import load_recipe
torch.set_num_threads(1)
processes = from_environment()
with joined(processes, torch.device("cpu")):
    found = gradients(processes)
    if processes.first:
        torch.save(found, {out!r} + "/gradients.pt")
    train(load_recipe({recipe!r}), {clips!r}, {out!r} + "/run", val_clips={val!r}, device="cpu")
"""


@pytest.fixture(scope="module")
def both(clips, val_clips, tmp_path_factory) -> Path:
    """What two processes wrote."""
    from h2onet.training.recipe import load_recipe

    out = tmp_path_factory.mktemp("two")
    small = "width=0.125 batch_size=2 max_steps=3 epochs=1 num_workers=0 tensorboard=false pictures=0 log_every=1"
    # torch's channels-last batch normalisation rounds ten times worse on CPUs, which an untrained network magnifies.
    recipe = load_recipe("demo-multi-stage2", [*small.split(), "threads=1", "channels_last=false"])
    (out / "recipe.toml").write_text(to_toml(recipe))
    code = CHILD.format(
        tests=str(Path(__file__).parent),
        out=str(out),
        recipe=str(out / "recipe.toml"),
        clips=str(clips),
        val=str(val_clips),
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        **os.environ,
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    children = [
        subprocess.Popen([sys.executable, "-c", code], env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(2)
    ]
    try:
        assert [child.wait(timeout=150) for child in children] == [0, 0]
    finally:
        for child in children:
            child.kill()
    return out


def test_gradients_of_two_processes_are_those_of_one(both) -> None:
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        from two_processes import gradients
    finally:
        sys.path.pop(0)
    theirs, ours = torch.load(both / "gradients.pt", weights_only=True), gradients(from_environment())
    assert theirs.keys() == ours.keys() and sum(name.startswith("gradient/") for name in ours) > 100
    for name, value in ours.items():
        torch.testing.assert_close(
            theirs[name], value, atol=1e-9, rtol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_a_whole_run_of_two_processes_follows_that_of_one(both, clips, val_clips, tmp_path) -> None:
    from h2onet.training.recipe import load_recipe

    recipe = load_recipe(both / "recipe.toml", ["batch_size=4"])
    train(recipe, clips, tmp_path / "run", val_clips=val_clips, device="cpu")
    theirs, ours = (
        [json.loads(line) for line in (folder / "run/metrics.jsonl").read_text().splitlines()]
        for folder in (both, tmp_path)
    )
    first = theirs[0], ours[0]
    assert first[0]["loss"] == pytest.approx(first[1]["loss"], abs=1e-4)
    assert first[0]["gradient_norm"] == pytest.approx(first[1]["gradient_norm"], rel=1e-2)
    # One file, written once; validation saw all samples once.
    assert [line["step"] for line in theirs] == [line["step"] for line in ours]
    assert theirs[-1]["kind"] == "val" and theirs[-1]["pa_mpjpe_mm"] == pytest.approx(ours[-1]["pa_mpjpe_mm"], rel=0.05)


def test_one_process_needs_no_group() -> None:
    layer, plain = SharedBatchNorm(3), torch.nn.BatchNorm1d(3)
    values = torch.randn(8, 3)
    torch.testing.assert_close(layer(values), plain(values))


def test_odd_environments_are_refused(monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(InputError, match="torchrun"):
        from_environment()
