"""Two gloo processes take the step that one process takes with the whole batch, batch normalisation included."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from h2onet.errors import InputError
from h2onet.training.distributed import SharedBatchNorm, from_environment
from h2onet.training.loop import train

# Each process: one step of the multi-frame stage 2 in float64 on its half of a random batch.
CHILD = """
import sys
from pathlib import Path
import torch
sys.path.insert(0, {tests!r})
from two_processes import gradients
from h2onet.training.distributed import from_environment, process_group
torch.set_num_threads(1)
processes = from_environment()
with process_group(processes, torch.device("cpu")):
    for as_released in (False, True):
        found = gradients(processes, as_released)
        if processes.first:
            torch.save(found, f"{out}/gradients-{{as_released}}.pt")
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> Path:
    """What two processes wrote."""
    out = tmp_path_factory.mktemp("two")
    code = CHILD.format(tests=str(Path(__file__).parent), out=str(out))
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


@pytest.mark.parametrize("as_released", [False, True])
def test_gradients_of_two_processes_are_those_of_one(both, as_released: bool) -> None:
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        from two_processes import gradients
    finally:
        sys.path.pop(0)
    theirs = torch.load(both / f"gradients-{as_released}.pt", weights_only=True)
    ours = gradients(from_environment(), as_released)
    assert theirs.keys() == ours.keys() and sum(name.startswith("gradient/") for name in ours) > 100
    assert any("joint_visibility" in name for name in ours)  # the batch's seen and hidden joints are shared unequally
    for name, value in ours.items():
        torch.testing.assert_close(
            theirs[name], value, atol=1e-9, rtol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_one_process_needs_no_group() -> None:
    layer, plain = SharedBatchNorm(3), torch.nn.BatchNorm1d(3)
    values = torch.randn(8, 3)
    torch.testing.assert_close(layer(values), plain(values))


def test_every_process_needs_a_sample_to_validate(clips, make_clips, tiny, tmp_path, monkeypatch) -> None:
    few = make_clips(split="val", sequences=1, frames=3)
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(InputError, match="val-clips: 3 samples for 4 processes"):
        train(tiny(), clips, tmp_path / "run", val_clips=few, device="cpu")


def test_odd_environments_are_refused(monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(InputError, match="torchrun"):
        from_environment()
