"""Untrained narrow networks that say something: meshes the size of hands, and a past that moves them by millimetres."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from h2onet.hand.hierarchy import build_hierarchy
from h2onet.hand.mano import load_hand
from h2onet.network.h2onet import H2ONet, NetworkConfig, build_network

MakeNetwork = Callable[..., H2ONet]


def smooth(count: int, size: tuple[int, int] = (128, 128), seed: int = 1) -> torch.Tensor:
    """(count, 3, *size) in [0, 1], all different: of plain noise the encoder sees little but its mean."""
    small = torch.rand(count, 3, 10, 12, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(small, size, mode="bicubic").clamp(0, 1)


@pytest.fixture(autouse=True)
def threads(one_thread: None) -> None:
    """Every test of this room computes with one thread."""


@pytest.fixture(scope="session")
def untrained() -> MakeNetwork:
    """untrained(frames, width=0.125, ...): the same network every time, in eval mode."""
    hand = load_hand("standin")
    hierarchy = build_hierarchy(hand.arrays.v_template, hand.faces)

    @torch.no_grad()
    def make(frames: int, width: float = 0.125, **config: Any) -> H2ONet:
        torch.manual_seed(0)
        network = build_network(NetworkConfig(frames=frames, width=width, **config), hand, hierarchy).eval()
        loud(network.decoder)
        pictures = smooth(4)
        features = network.encode(pictures)
        network.decoder.head.linear.weight *= 0.04 / features.canonical_vertices.std()
        if frames > 1:
            loud(network.fusion)
            network.get_parameter("correction_head.layers.6.weight").normal_(0, 0.01)
            window = torch.stack([pictures[:frames], pictures[1 : frames + 1]])
            before = network.get_parameter("fusion.head.linear.weight").clone()
            network.get_parameter("fusion.head.linear.weight").zero_()
            without = network(window).vertices
            network.get_parameter("fusion.head.linear.weight").copy_(before)
            offset = (network(window).vertices - without).std()
            network.get_parameter("fusion.head.linear.weight").copy_(before * 0.02 / offset)
            first = [0, 1, 2], [0, 3, 2]  # the order of the past hardly counts: the fusion is a weighted sum
            other = network(torch.stack([pictures[list(chosen[:frames])] for chosen in first])).vertices
            assert (other[0] - other[1]).abs().max() > 1e-3, "the past does not matter: tests of windows see nothing"
        return network

    return make


def loud(module: torch.nn.Module) -> None:
    """Weights that keep the size of what passes through them."""
    for parameter in module.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter.flatten(1))
