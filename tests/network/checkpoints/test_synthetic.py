"""The weights in the package: what their card says, how they are packed, and where their name is understood."""

import json
import logging
import shutil

import numpy as np
import pytest
import torch
from h2onet.errors import InputError
from h2onet.hand.hierarchy import build_hierarchy
from h2onet.network.checkpoint import (
    checkpoint_hash,
    initialise,
    load_checkpoint,
    read_metadata,
    save_checkpoint,
)
from h2onet.network.checkpoints.folder import CONFIG, SYNTHETIC, WEIGHTS, file_sha256
from h2onet.network.checkpoints.own import read_weights
from h2onet.network.checkpoints.synthetic import OF_THE_MESH, pack_checkpoint, unpack_tensors
from h2onet.network.h2onet import H2ONet, NetworkConfig, build_network
from h2onet.network.tables import is_table
from safetensors.torch import load_file

WIDTH = 0.25


@pytest.fixture
def fresh(hand, hierarchy) -> H2ONet:
    torch.manual_seed(3)
    return build_network(NetworkConfig(width=WIDTH), hand, hierarchy)


def test_they_are_small_and_their_card_names_all_that_made_them() -> None:
    assert (SYNTHETIC / WEIGHTS).stat().st_size < 4_000_000
    config = json.loads((SYNTHETIC / CONFIG).read_text())
    assert config["weights_sha256"] == file_sha256(SYNTHETIC / WEIGHTS) == checkpoint_hash("synthetic")
    card = read_metadata("synthetic")["card"]
    assert card["command"].startswith("python benchmarks/pretrain.py")
    assert set(card["data"]) == {"lift", "gestures", "more"} and set(card["test"]) == {"lift", "gestures"}
    for name, data in card["data"].items():
        assert data["seed"] >= 0 and data["frames"] > 1000, name
    for name, scores in card["test"].items():
        assert 0 < scores["pa_mpjpe_mm"] < scores["mpjpe_mm"], name
    earlier = card["started_from"]
    assert earlier["command"].startswith("python benchmarks/pretrain.py") and len(earlier["epochs"]) == 3
    assert len(card["unpacked_sha256"]) == len(earlier["sha256"]) == 64


def test_they_are_an_oriented_single_frame_network_over_the_standins_mesh(fresh) -> None:
    network = load_checkpoint("synthetic")
    assert network.config == NetworkConfig(frames=1, width=WIDTH, oriented=True)
    state, own = network.state_dict(), fresh.state_dict()
    for name in filter(is_table, own):
        assert torch.equal(state[name], own[name]) and state[name].dtype == own[name].dtype, name
    with torch.inference_mode():
        hands = network(torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0)))
    assert hands.vertices.isfinite().all()
    assert 0.1 < float((hands.vertices.amax(1) - hands.vertices.amin(1)).norm(dim=1).mean()) < 0.4  # a hand, in metres


def test_packing_keeps_tables_and_vectors_and_rounds_matrices_to_float16(fresh, tmp_path) -> None:
    source = save_checkpoint(tmp_path / "best", fresh, metadata={"recipe": {"frames": 1}, "step": 7})
    packed = pack_checkpoint(source, tmp_path / "packed", {"command": "by hand"})
    kept = json.loads((packed / CONFIG).read_text())["metadata"]
    assert kept["recipe"] == {"frames": 1} and kept["card"]["unpacked_sha256"] == checkpoint_hash(source)
    before, after = read_weights(source), unpack_tensors(load_file(packed / WEIGHTS))
    assert before.keys() == after.keys()
    for name, value in before.items():
        exact = is_table(name) or name == "joint_regressor" or value.dim() < 2
        assert torch.equal(after[name], value if exact else value.half().float()), name
        assert after[name].dtype == value.dtype, name


def test_the_head_for_joints_is_left_out_of_a_package(hand, hierarchy, tmp_path) -> None:
    network = build_network(NetworkConfig(width=WIDTH, joint_visibility=True), hand, hierarchy)
    source = save_checkpoint(tmp_path / "best", network, metadata={"recipe": {}})
    left_out = (
        read_weights(source).keys()
        - unpack_tensors(load_file(pack_checkpoint(source, tmp_path / "packed", {}) / WEIGHTS)).keys()
    )
    assert left_out and all(name.startswith("joint_visibility.") for name in left_out)
    assert json.loads((tmp_path / "packed" / CONFIG).read_text())["network"]["joint_visibility"] is False


def test_what_float16_cannot_hold_is_not_packed(fresh, tmp_path) -> None:
    kernel = next(value for value in fresh.state_dict().values() if value.dim() == 4)
    kernel[0, 0, 0, 0] = 1e6
    source = save_checkpoint(tmp_path / "best", fresh, metadata={"recipe": {}})
    with pytest.raises(InputError, match="beyond float16"):
        pack_checkpoint(source, tmp_path / "packed", {})


@pytest.mark.parametrize("frames", [1, 3])
def test_a_network_of_the_same_mesh_starts_from_all_of_them(hand, hierarchy, frames) -> None:
    network = build_network(NetworkConfig(width=WIDTH, frames=frames), hand, hierarchy)
    report = initialise(network, "synthetic")
    weights = read_weights(SYNTHETIC)
    learned = {name for name in weights if not is_table(name) and name != "joint_regressor"}
    assert set(report.found) == learned and not report.unused
    assert all(torch.equal(network.state_dict()[name], weights[name]) for name in learned)
    assert bool(report.missing) == (frames == 3)


def test_on_another_mesh_the_decoder_starts_anew_and_that_is_said(hand, caplog) -> None:
    other = build_hierarchy(hand.arrays.v_template[:, [1, 2, 0]] * [1.0, 2.0, 0.5], hand.faces)
    torch.manual_seed(3)
    network = build_network(NetworkConfig(width=WIDTH), hand, other)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with caplog.at_level(logging.INFO):
        report = initialise(network, "synthetic")
    assert "the mesh decoder starts anew" in caplog.text
    weights = read_weights(SYNTHETIC)
    for name, value in network.state_dict().items():
        kept = is_table(name) or name == "joint_regressor" or name.startswith(OF_THE_MESH)
        assert torch.equal(value, before[name] if kept else weights[name]), name
    assert not any(name.startswith(OF_THE_MESH) for name in report.found)


def test_another_width_is_refused_with_the_way_on(hand, hierarchy) -> None:
    network = build_network(NetworkConfig(width=0.125), hand, hierarchy)
    with pytest.raises(InputError, match=r"synthetic: has width 0.25, .* 0.125; add --set width=0.25"):
        initialise(network, "synthetic")


def test_a_folder_of_that_name_comes_first(fresh, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = checkpoint_hash("synthetic")
    own = checkpoint_hash(save_checkpoint("synthetic", fresh))
    assert checkpoint_hash("synthetic") == own != shipped
    np.testing.assert_array_equal(load_checkpoint("synthetic").faces.numpy(), fresh.faces.numpy())
    shutil.rmtree("synthetic")
    (tmp_path / "synthetic").mkdir()
    with pytest.raises(InputError, match="expected a checkpoint folder"):
        load_checkpoint("synthetic")
