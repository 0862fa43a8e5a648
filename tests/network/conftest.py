"""Networks for the tests: small ones over a sphere (any topology will do), and the authors'."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from h2onet.hand.hierarchy import Hierarchy, build_hierarchy, load_hierarchy
from h2onet.hand.mano import HandModel, load_hand
from h2onet.network.checkpoint import load_checkpoint
from h2onet.network.h2onet import H2ONet, NetworkConfig
from scipy.spatial import ConvexHull

Builder = Callable[..., H2ONet]


@pytest.fixture(scope="session")
def sphere() -> Hierarchy:
    """A hierarchy over 778 points on a sphere of 8 cm: closed, of another topology than MANO's."""
    k = np.arange(778) + 0.5
    polar, turn = np.arccos(1 - 2 * k / 778), np.pi * (1 + 5**0.5) * k
    points = np.stack([np.cos(turn) * np.sin(polar), np.sin(turn) * np.sin(polar), np.cos(polar)], 1)
    faces = ConvexHull(points).simplices
    corners = points[faces]
    outward = np.einsum(
        "fc,fc->f", np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), corners[:, 0]
    )
    faces[outward < 0] = faces[outward < 0][:, ::-1]
    return build_hierarchy(0.08 * points, faces)


@pytest.fixture(scope="session")
def build(sphere: Hierarchy) -> Builder:
    """build(frames=1, width=0.25, ...) -> a fresh seeded network over the sphere, with lively batch statistics."""
    parts = np.minimum(np.arange(778) // 120, 5).astype(np.uint8)
    regressor = np.random.default_rng(0).dirichlet(np.full(778, 0.02), 21)

    def make(seed: int = 0, **config: object) -> H2ONet:
        torch.manual_seed(seed)
        settings = NetworkConfig(**({"width": 0.25} | config))  # type: ignore[arg-type]
        model = H2ONet(settings, sphere, vertex_parts=parts, joint_regressor=regressor)
        generator = torch.Generator().manual_seed(seed)
        for name, value in model.state_dict().items():
            if name.endswith("running_mean"):
                value.normal_(0.0, 0.1, generator=generator)
            elif name.endswith("running_var"):
                value.uniform_(0.5, 1.5, generator=generator)
            elif name.endswith(("correction_head.layers.6.weight", "fusion.head.linear.weight")):
                value.normal_(0.0, 0.05, generator=generator)  # start at zero; tests want to see them act
        return model.eval()

    return make


@pytest.fixture(scope="session")
def hand() -> HandModel:
    """The right stand-in hand."""
    return load_hand("standin")


@pytest.fixture(scope="session")
def hierarchy(hand: HandModel) -> Hierarchy:
    """The hierarchy of the stand-in's own mesh, made once: it takes seconds."""
    return build_hierarchy(hand.arrays.v_template, hand.faces)


@pytest.fixture(scope="session")
def official_code(golden: Path) -> ModuleType:
    """The reference folder's script that rebuilds official checkpoints."""
    spec = importlib.util.spec_from_file_location("golden_state_dict", golden / "state_dict.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def authors_hierarchy(golden: Path) -> Hierarchy:
    """The authors' mesh hierarchy."""
    return load_hierarchy(golden / "transform.pkl")


@pytest.fixture(scope="session")
def official_files(
    golden: Path, official_code: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Official-format checkpoint files by kind: "single", "multi"."""
    folder = tmp_path_factory.mktemp("official")
    for kind in ("single", "multi"):
        official_code.save_checkpoint(str(golden / f"keys_{kind}.json"), folder / f"{kind}.pth")
    return {kind: folder / f"{kind}.pth" for kind in ("single", "multi")}


@pytest.fixture(scope="session")
def official_models(official_files: dict[str, Path], authors_hierarchy: Hierarchy) -> dict[str, H2ONet]:
    """The networks of the official-format files. Shared by the session: tests must not change them."""
    return {kind: load_checkpoint(path, authors_hierarchy) for kind, path in official_files.items()}
