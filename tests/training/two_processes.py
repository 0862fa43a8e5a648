"""One training step of the multi-frame network in float64 on a fixed batch that the processes share."""

from functools import cache
from pathlib import Path

import torch
from h2onet.hand.hierarchy import Hierarchy, build_hierarchy
from h2onet.hand.mano import load_hand
from h2onet.network.h2onet import NetworkConfig, build_network
from h2onet.training.distributed import Processes, share_batch_norm, wrap_network
from h2onet.training.guard import Guard
from h2onet.training.recipe import load_recipe
from h2onet.training.steps import Stepper

SAMPLES, FRAMES = 4, 3


def gradients(processes: Processes, as_released: bool) -> dict[str, torch.Tensor]:
    """Gradients ("gradient/name") after clipping, and running statistics ("buffer/name"), of one step."""
    settings = ["width=0.125", "channels_last=false", "joint_visibility=true"]
    settings.append(f"as_released={str(as_released).lower()}")
    recipe = load_recipe("demo-multi-stage2", settings)
    hand = load_hand("standin", dtype=torch.float64)
    torch.manual_seed(0)
    config = NetworkConfig(frames=FRAMES, width=0.125, joint_visibility=True)
    network = build_network(config, hand, _hierarchy()).double().train()
    if as_released:
        network.learn_joints()
    if processes.world > 1:
        share_batch_norm(network, torch.device("cpu"))
    stepper = Stepper(
        wrap_network(network, processes, torch.device("cpu")),
        hand,
        recipe,
        Guard(network, Path("unused"), 1),
        dtype=None,
        device=torch.device("cpu"),
        processes=processes,
        name_frames=lambda batch: (),
    )
    mine = slice(processes.rank, None, processes.world)
    result = stepper.step({name: value[mine] for name, value in _batch().items()}, 1, 0)
    found = {f"gradient/{name}": p.grad for name, p in network.named_parameters() if p.grad is not None}
    found |= {f"buffer/{name}": value for name, value in network.named_buffers() if "running" in name}
    return found | {"loss": torch.tensor(result.loss), "norm": torch.tensor(result.gradient_norm)}


@cache
def _hierarchy() -> Hierarchy:
    hand = load_hand("standin", dtype=torch.float64)
    return build_hierarchy(hand.arrays.v_template, hand.faces)


def _batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(SAMPLES, FRAMES, *shape, generator=generator, dtype=torch.float64)

    occluded = torch.randint(0, 2, (SAMPLES, FRAMES, 7), generator=generator).to(torch.uint8)
    occluded[1:, 1] = 255  # the processes' numbers of known labels differ
    joint_visible = torch.randint(0, 2, (SAMPLES, FRAMES, 21), generator=generator).to(torch.uint8)
    joint_visible[0, :, 5:] = 1  # of seen and of hidden joints
    joint_visible[1::2, :, ::3] = 255
    return {
        "images": normal(3, 128, 128).sigmoid(),
        "mano_pose": normal(48) * 0.3,
        "mano_shape": normal(10),
        "joints_2d": normal(21, 2).sigmoid(),
        "occluded": occluded,
        "joint_visible": joint_visible,
    }
