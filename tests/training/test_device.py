"""What training does with a device that is not the CPU, as far as it can be proven without a GPU."""

import contextlib
from pathlib import Path

import pytest
import torch
from h2onet.errors import InputError
from h2onet.hand.mano import load_hand
from h2onet.training import machine
from h2onet.training.distributed import Processes
from h2onet.training.guard import Guard
from h2onet.training.inputs import fresh_network
from h2onet.training.loop import train
from h2onet.training.steps import Stepper

META = torch.device("meta")


@pytest.mark.parametrize(
    ("preset", "settings"),
    [("demo-single-stage2", ()), ("demo-multi-stage2", ()), ("demo-multi-stage2", ("as_released=true",))],
)
def test_a_step_creates_nothing_beside_its_device(preset, settings, tiny, monkeypatch) -> None:
    """torch refuses to mix a tensor of the meta device with one of the CPU, as it refuses GPU and CPU."""
    with pytest.raises(RuntimeError, match="device"):
        torch.ones(2, device=META) + torch.ones(2)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # unknown to the meta device
    recipe, hand = tiny(preset, "batch_size=2", *settings), load_hand("standin")
    network = fresh_network(recipe, hand, None)
    if recipe.as_released:
        network.learn_joints()
    network.train().to(META).to(memory_format=torch.channels_last)
    guard = Guard(network, Path("skipped.jsonl"), 1)
    step = Stepper(
        network,
        hand.to(META),
        recipe,
        guard,
        dtype=None,
        device=META,
        processes=Processes(),
        name_frames=lambda batch: (),
    )
    lead = (2,) if recipe.frames == 1 else (2, recipe.frames)
    sizes = {"images": (3, 128, 128), "mano_pose": (48,), "mano_shape": (10,), "joints_2d": (21, 2)}
    batch = {name: torch.zeros(*lead, *size) for name, size in sizes.items()}
    batch["occluded"] = torch.zeros(*lead, 7, dtype=torch.uint8)
    guard.remember()
    terms, loss = step._forward(batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(step.parameters, recipe.clip_norm)
    guard.restore()
    assert {term.device for term in (*terms.values(), loss)} == {META}
    assert all(parameter.grad is not None and parameter.grad.device == META for parameter in step.parameters)


@pytest.mark.parametrize(("computes", "expected"), [(True, torch.bfloat16), (False, None)])
def test_auto_is_bf16_only_where_the_gpu_computes_in_it(computes, expected, monkeypatch) -> None:
    # torch's function says True for older GPUs, which emulate it, unless it is told not to.
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or computes
    )
    assert machine.autocast_dtype("auto", torch.device("cuda", 0)) is expected


def test_random_states_of_more_gpus_than_there_are_now(monkeypatch) -> None:
    states, given = machine.random_states(), []
    states["cuda"] = [torch.full((16,), i, dtype=torch.uint8) for i in range(4)]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", given.extend)
    machine.restore_random_states(states)
    assert [int(state[0]) for state in given] == [0, 1]


def test_processes_of_one_machine_may_not_share_a_gpu(tiny, tmp_path, monkeypatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="--device cuda:0: torchrun gives every process a GPU of its own"):
        train(tiny("demo-single-stage1"), tmp_path / "clips.zarr", tmp_path / "run", device="cuda:0")
