"""What is written has the permissions that the user's umask leaves, also where a library writes for its user alone."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import cli_trees as trees
import pytest
import torch
from h2onet.hand.hierarchy import build_hierarchy
from h2onet.hand.mano import load_hand
from h2onet.network.checkpoint import save_checkpoint
from h2onet.network.h2onet import NetworkConfig, build_network


@pytest.fixture
def umask() -> Iterator[int]:
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


def wrong(folder: Path, umask: int) -> list[str]:
    """The files and folders below that have other permissions than the umask leaves."""
    found = []
    for path in (folder, *folder.rglob("*")):
        wanted = (0o777 if path.is_dir() else 0o666) & ~umask
        if stat.S_IMODE(path.stat().st_mode) != wanted:
            found.append(f"{path.relative_to(folder)} {stat.S_IMODE(path.stat().st_mode):o}")
    return found


def test_checkpoints(umask: int, tmp_path: Path) -> None:
    hand = load_hand("standin")
    hierarchy = build_hierarchy(hand.arrays.v_template, hand.faces)
    network = build_network(NetworkConfig(frames=1, width=0.125, oriented=False), hand, hierarchy)
    assert not wrong(save_checkpoint(tmp_path / "a" / "net", network, {"step": 1, "x": torch.zeros(2)}), umask)


def test_datasets_labels_clips_and_their_exports(umask: int, tmp_path: Path) -> None:
    out = tmp_path / "out"
    root, size = out / "data", ("--sequences", 2, "--frames", 3, "--cameras", 1)
    commands = (
        ("synthesize", root, "--layout", "ho3d-v2", *size, "--workers", 1),
        (*trees.prepare(out / "l.zarr", root, "ho3d-v2"), "--json", out / "json", "--sheet", out / "s.png"),
        ("build-clips", "--labels", out / "l.zarr", "--out", out / "c.zarr", "--workers", 1),
        ("annotations", *trees.prepare(out, root, "ho3d-v2")[1:9], "--out", out / "a.json"),
        ("clips", "export", out / "c.zarr", "--out", out / "shards"),
        ("clips", "sheet", out / "c.zarr", "--out", out / "clips.png"),
    )
    for command in commands:
        done = trees.h2o(*command)
        assert done.code == 0, done
    assert not wrong(out, umask)
