"""A hand-written DexYCB tree, its stores, and a folder for output that must not come to be."""

from pathlib import Path

import pytest
import raw_trees as raw
from cli_trees import h2o, prepare


@pytest.fixture(scope="package")
def dexycb(tmp_path_factory) -> Path:
    return raw.write_dexycb(tmp_path_factory.mktemp("raw") / "dexycb")


@pytest.fixture(scope="package")
def stores(dexycb, tmp_path_factory) -> Path:
    """A folder with labels.zarr and clips.zarr of the DexYCB tree."""
    folder = tmp_path_factory.mktemp("stores")
    assert h2o(*prepare(folder / "labels.zarr", dexycb)).code == 0
    cut = ("build-clips", "--labels", folder / "labels.zarr", "--out", folder / "clips.zarr", "--workers", 1)
    assert h2o(*cut).code == 0
    return folder


@pytest.fixture
def out(tmp_path) -> Path:
    """A folder that is not there and must not come to be."""
    return tmp_path / "out"
