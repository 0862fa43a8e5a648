"""The head that predicts which joints are seen: what it changes, what it does not, and the weights taken from it."""

import json

import numpy as np
import pytest
import torch
from h2onet.errors import InputError
from h2onet.network.checkpoint import initialise, load_checkpoint, save_checkpoint
from h2onet.network.fusion import JointVisibility, visibility_of_parts
from h2onet.network.h2onet import H2ONet, NetworkConfig, build_network
from torch import Tensor

WIDTH = 0.125


@pytest.fixture(scope="module")
def make(hand, hierarchy):
    def network(**config) -> H2ONet:
        torch.manual_seed(5)
        return build_network(NetworkConfig(width=WIDTH, **config), hand, hierarchy).eval()

    return network


def pictures(*shape: int) -> Tensor:
    return torch.rand(*shape, 3, 128, 128, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("frames", [1, 3])
def test_the_head_changes_nothing_else(make, frames) -> None:
    plain, headed = make(frames=frames), make(frames=frames, joint_visibility=True)
    added = set(headed.state_dict()) - set(plain.state_dict())
    assert added and all(name.startswith("joint_visibility.") for name in added)
    assert set(plain.state_dict()) < set(headed.state_dict())
    images = pictures(2, frames) if frames > 1 else pictures(2)
    with torch.inference_mode():
        without, found = plain(images), headed(images)
    assert without.joint_visibility_logits is None and found.joint_visibility_logits.shape == (2, 21)
    for name in ("vertices", "joints", "joints_2d", "rotation"):
        torch.testing.assert_close(getattr(found, name), getattr(without, name), rtol=0, atol=0)


def test_a_windows_logits_are_those_of_its_frames(make) -> None:
    network = make(frames=3, joint_visibility=True)
    images = pictures(2, 3)
    with torch.inference_mode():
        whole = network(images)
        alone = torch.stack([network.encode(images[:, t]).joint_visibility_logits for t in range(3)], 1)
    torch.testing.assert_close(whole.frame_visibility_logits, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(whole.joint_visibility_logits, whole.frame_visibility_logits[:, 0], rtol=0, atol=0)


@pytest.mark.parametrize("frames", [1, 3])
def test_the_folded_network_says_the_same(make, frames) -> None:
    network = make(frames=frames, joint_visibility=True, fusion_weights="joints" if frames > 1 else "fingers")
    images = pictures(2, frames) if frames > 1 else pictures(2)
    with torch.inference_mode():
        expected, found = network(images), network.for_inference()(images)
    torch.testing.assert_close(found.joint_visibility_logits, expected.joint_visibility_logits, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.vertices, expected.vertices, rtol=1e-3, atol=1e-5)


def test_the_head_teaches_the_features_and_the_fingers_classifier_does_not(make) -> None:
    network = make(frames=3, joint_visibility=True).train()

    def reached(output: torch.Tensor) -> set[str]:
        network.zero_grad()
        output.sum().backward()
        named = network.named_parameters()
        found = {name for name, value in named if value.grad is not None and value.grad.any()}
        return {name.split(".")[0] for name in found if not name.startswith("decoder.reduce")}  # makes the features

    assert reached(network(pictures(2, 3)).joint_visibility_logits) == {"joint_visibility", "backbone"}
    assert reached(network(pictures(2, 3)).occlusion_logits) == {"occlusion"}


def test_a_part_is_as_visible_as_its_joints_on_average() -> None:
    logits = torch.zeros(1, 21)
    logits[0, 5:9] = torch.tensor([20.0, 20.0, -20.0, -20.0])  # the index finger: half of it
    logits[0, [0, 9, 13, 17]] = 20.0  # the palm: wrist and bases but the index finger's, which is seen too
    seen = visibility_of_parts(logits)[0]
    np.testing.assert_allclose(seen, [0.5, 0.5, 0.625, 0.625, 0.625, 1.0], atol=1e-6)


def test_frames_are_weighed_by_the_joints_where_that_is_asked_for(make) -> None:
    """With logits that differ between frames for the index finger alone, only its vertices' weights leave 1/3."""
    network = make(frames=3, joint_visibility=True, fusion_weights="joints")
    occlusion, joints = torch.zeros(1, 3, 2, 6), torch.zeros(1, 3, 21)
    joints[0, 0, 5:9] = -20.0  # hidden now
    weights = network.fusion.weights(occlusion, joints)[0]
    torch.testing.assert_close(weights.sum(0), torch.ones(weights.shape[1]))
    index = network.fusion.finger_of_vertex == 1
    palm = network.fusion.finger_of_vertex == 5
    expected = torch.tensor([0.0, 0.5, 0.5]).softmax(0)
    torch.testing.assert_close(weights[:, index], expected[:, None].expand(3, int(index.sum())))
    others = ~index & ~palm
    torch.testing.assert_close(weights[:, others], torch.full_like(weights[:, others], 1 / 3))
    assert (weights[0, palm] < weights[1, palm]).all()  # one of its five joints is hidden now
    torch.testing.assert_close(network.fusion.weights(occlusion), torch.full_like(weights, 1 / 3)[None])


def test_weights_from_joints_need_the_head() -> None:
    with pytest.raises(InputError, match="fusion_weights joints needs joint_visibility"):
        NetworkConfig(frames=3, fusion_weights="joints")
    with pytest.raises(InputError, match="fusion_weights must be fingers or joints"):
        NetworkConfig(frames=3, fusion_weights="palms", joint_visibility=True)


def test_it_is_saved_loaded_and_started_from_a_network_without_it(make, tmp_path) -> None:
    headed, plain = make(joint_visibility=True), make()
    saved = load_checkpoint(save_checkpoint(tmp_path / "headed", headed))
    assert saved.config.joint_visibility
    for name, value in headed.state_dict().items():
        assert torch.equal(saved.state_dict()[name], value), name
    report = initialise(make(joint_visibility=True), save_checkpoint(tmp_path / "plain", plain))
    assert report.missing and all(name.startswith("joint_visibility.") for name in report.missing)
    report = initialise(make(), tmp_path / "headed")
    assert report.unused and all(name.startswith("joint_visibility.") for name in report.unused)


def test_checkpoints_from_before_the_head_are_read(make, tmp_path) -> None:
    folder = save_checkpoint(tmp_path / "old", make())
    config = json.loads((folder / "config.json").read_text())
    for name in ("joint_visibility", "fusion_weights"):
        del config["network"][name]
    (folder / "config.json").write_text(json.dumps(config))
    assert load_checkpoint(folder).config == NetworkConfig(width=WIDTH)
    config["network"]["colour"] = "red"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="network: expected the fields"):
        load_checkpoint(folder)


def test_every_joint_is_judged_from_all(make) -> None:
    torch.manual_seed(0)
    head = JointVisibility(16).eval()
    sampled = torch.rand(1, 21, 32)
    changed = sampled.clone()
    changed[0, 20] += 1.0
    assert ((head(changed) - head(sampled)).abs() > 0).all()
