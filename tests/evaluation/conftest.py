"""Small clip stores with known truth and narrow untrained networks for the tests of evaluation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from clip_factory import make_clip_store
from h2onet.hand.hierarchy import build_hierarchy
from h2onet.hand.mano import HandModel, load_hand
from h2onet.network.checkpoint import save_checkpoint
from h2onet.network.h2onet import H2ONet, NetworkConfig, build_network

MakeStore = Callable[..., Path]
MakeCheckpoint = Callable[..., Path]


@pytest.fixture(autouse=True)
def threads(one_thread: None) -> None:
    """Every test of this room computes with one thread."""


@pytest.fixture(scope="session")
def hand() -> HandModel:
    """The right stand-in hand."""
    return load_hand("standin")


@pytest.fixture(scope="session")
def make_store(hand: HandModel, tmp_path_factory: pytest.TempPathFactory) -> MakeStore:
    """Makes a clips.zarr of these camera sequences (key -> number of frames) with the options of `make_clip_store`."""

    def make(sequences: dict[str, int], **options: Any) -> Path:
        return make_clip_store(tmp_path_factory.mktemp("clips"), hand, sequences, **options)

    return make


@pytest.fixture(scope="session")
def store(make_store: MakeStore) -> Path:
    """Two recordings, two cameras each, one of them with a left hand: 22 frames."""
    return make_store({"S1/R1/cam0": 6, "S1/R1/cam1": 6, "S2/left/cam0": 6, "S2/left/cam1": 4})


@pytest.fixture(scope="session")
def make_checkpoint(hand: HandModel, tmp_path_factory: pytest.TempPathFactory) -> MakeCheckpoint:
    """Saves an untrained narrow network: frames 1 or 3, oriented or not, by seed."""
    hierarchy = build_hierarchy(hand.arrays.v_template, hand.faces)

    def make(frames: int = 1, oriented: bool = True, seed: int = 0) -> Path:
        torch.manual_seed(seed)
        network = build_network(NetworkConfig(frames=frames, width=0.125, oriented=oriented), hand, hierarchy)
        spread(network.eval(), frames)
        return save_checkpoint(tmp_path_factory.mktemp("checkpoint") / "net", network.eval())

    return make


@torch.no_grad()
def spread(network: H2ONet, frames: int) -> None:
    """Untrained decoders say nearly nothing: make them say clouds of the size of hands, different for every picture."""
    for parameter in network.decoder.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter.flatten(1))
    image = torch.rand(2, 3, 128, 128) if frames == 1 else torch.rand(2, frames, 3, 128, 128)
    network.decoder.head.linear.weight *= 0.04 / network(image).vertices.std()
