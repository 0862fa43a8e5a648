"""Shapes, widths, determinism, streaming, folding, gradient flow: properties that hold for any weights."""

import copy

import numpy as np
import pytest
import torch
from h2onet.errors import InputError
from h2onet.hand.mano import load_hand
from h2onet.network.fusion import JOINT_SETS
from h2onet.network.h2onet import IMAGE_SIZE, H2ONet, NetworkConfig, Prediction, build_network
from h2onet.network.layers import BATCH_NORMS
from h2onet.network.orientation import matrix_from_6d, nearest_visible, turn_about


def pictures(*leading: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*leading, 3, IMAGE_SIZE, IMAGE_SIZE, generator=generator, dtype=dtype)


def shapes(prediction: Prediction) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in vars(prediction).items() if value is not None}


@torch.inference_mode()
@pytest.mark.parametrize("width", [0.125, 0.25, 1.0])
def test_shapes_of_a_single_frame_network(build, width: float):
    assert shapes(build(width=width)(pictures(2))) == {
        "vertices": (2, 778, 3),
        "canonical_vertices": (2, 778, 3),
        "joints": (2, 21, 3),
        "joints_2d": (2, 21, 2),
        "rotation": (2, 3, 3),
        "canonical_joints": (2, 21, 3),
        "oriented_vertices": (2, 778, 3),
        "oriented_joints": (2, 21, 3),
    }


@torch.inference_mode()
@pytest.mark.parametrize(("frames", "width"), [(2, 0.25), (3, 0.25), (3, 1.0), (5, 0.125)])
def test_shapes_of_a_multi_frame_network(build, frames: int, width: float):
    assert shapes(build(frames=frames, width=width)(pictures(2, frames))) == {
        "vertices": (2, 778, 3),
        "canonical_vertices": (2, frames, 778, 3),
        "joints": (2, 21, 3),
        "joints_2d": (2, frames, 21, 2),
        "rotation": (2, frames, 3, 3),
        "occlusion_logits": (2, frames, 2, 6),
        "canonical_joints": (2, frames, 21, 3),
        "oriented_vertices": (2, frames, 778, 3),
        "oriented_joints": (2, frames, 21, 3),
        "correction": (2, 3, 3),
    }


def test_the_full_width_has_the_papers_size(build):
    """26.4 M and 30.5 M weights, less a gate that is never applied and the regressor, which is a buffer here."""
    gate = 2 * 1024 * 256 + 2 * (256 + 1024)
    for frames, total in ((1, 26_428_472), (3, 30_470_061)):
        model = build(frames=frames, width=1.0)
        assert sum(p.numel() for p in model.parameters()) == total - gate - 21 * 778


def test_a_narrow_network_is_narrow(build):
    full, quarter = (sum(p.numel() for p in build(width=w).parameters()) for w in (1.0, 0.25))
    assert 12 < full / quarter < 16


@torch.inference_mode()
def test_without_orientation_the_mesh_stays_canonical(build):
    for frames in (1, 3):
        prediction = build(frames=frames, oriented=False)(pictures(1, *([3] if frames == 3 else [])))
        assert prediction.rotation is prediction.oriented_vertices is prediction.correction is None
        canonical = prediction.canonical_vertices[:, 0] if frames == 3 else prediction.canonical_vertices
        torch.testing.assert_close(prediction.vertices, canonical)


@torch.inference_mode()
def test_the_same_pictures_give_the_same_numbers(build):
    images = pictures(2, 3)
    config = {"frames": 3, "joint_visibility": True}
    first, again = build(**config)(images), build(**config)(images)
    for name, value in vars(first).items():
        assert torch.equal(value, getattr(again, name)), name


@torch.inference_mode()
def test_samples_of_a_batch_do_not_mix(build):
    model, images = build(frames=3).double(), pictures(3, 3, dtype=torch.float64)
    together = model(images)
    for i in range(3):
        alone = model(images[i : i + 1])
        torch.testing.assert_close(together.vertices[i], alone.vertices[0], rtol=0, atol=1e-12)


@torch.inference_mode()
def test_joints_are_regressed_from_the_final_mesh(build):
    model = build(frames=3)
    prediction = model(pictures(2, 3))
    torch.testing.assert_close(prediction.joints, model.joint_regressor @ prediction.vertices)
    torch.testing.assert_close(prediction.oriented_joints, model.joint_regressor @ prediction.oriented_vertices)
    assert prediction.correction is not None
    assert (prediction.correction - torch.eye(3)).abs().max() > 0.01  # the correction acts, and joints include it


@torch.inference_mode()
def test_meshes_turn_rigidly_about_the_wrist(build):
    prediction = build().double()(pictures(2, dtype=torch.float64))
    eye = torch.eye(3, dtype=torch.float64).expand(2, 3, 3)
    torch.testing.assert_close(prediction.rotation @ prediction.rotation.mT, eye)
    torch.testing.assert_close(torch.linalg.det(prediction.rotation), torch.ones(2, dtype=torch.float64))
    before, after = (
        vertices - joints[:, :1]
        for vertices, joints in (
            (prediction.canonical_vertices, prediction.canonical_joints),
            (prediction.vertices, prediction.joints),
        )
    )
    torch.testing.assert_close(after, before @ prediction.rotation.mT)


@torch.inference_mode()
def test_streaming_equals_recomputation(build):
    """Frames encoded once, in whatever order and batch, and fused: the numbers of the whole window."""
    model, video = build(frames=3).double(), pictures(7, dtype=torch.float64)
    seen = [model.encode(frame[None]) for frame in video]
    for t in range(4, 7):
        streamed = model.fuse(seen[t], seen[t - 2], seen[t - 4])
        window = model(torch.stack([video[t], video[t - 2], video[t - 4]])[None])
        for name, value in vars(window).items():
            torch.testing.assert_close(getattr(streamed, name), value, rtol=0, atol=1e-12, msg=name)


@torch.inference_mode()
@pytest.mark.parametrize("frames", [1, 3])
def test_folding_changes_nothing_but_the_norms(build, frames: int):
    model = build(frames=frames).double()
    folded = model.for_inference()
    images = pictures(2, *([3] if frames == 3 else []), dtype=torch.float64)
    wanted, found = model(images), folded(images)
    for name, value in vars(wanted).items():
        if value is not None:
            torch.testing.assert_close(getattr(found, name), value, rtol=0, atol=1e-10, msg=name)
    assert not any(isinstance(module, BATCH_NORMS) for module in folded.modules())
    assert any(isinstance(module, BATCH_NORMS) for module in model.modules())
    assert not any(p.requires_grad for p in folded.parameters())


@torch.inference_mode()
def test_bfloat16_autocast_keeps_meshes_and_rotations_in_float32(build):
    model = build(frames=3)
    images = pictures(1, 3)
    exact = model(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(images)
    for name in ("vertices", "canonical_vertices", "joints", "rotation", "joints_2d"):
        assert getattr(rough, name).dtype == torch.float32, name
    assert 0 < (rough.canonical_vertices - exact.canonical_vertices).abs().max() < 0.05 * exact.vertices.abs().max()


@torch.inference_mode()
def test_a_fresh_multi_frame_network_starts_as_its_single_frame_part(build, sphere):
    """Zero offset, identity correction: fusion has to earn its changes (documented departure)."""
    torch.manual_seed(0)
    model = H2ONet(
        NetworkConfig(frames=3, width=0.25),
        sphere,
        vertex_parts=np.zeros(778, np.uint8),
        joint_regressor=np.full((21, 778), 1 / 778),
    ).eval()
    images = pictures(1, 3)
    prediction = model(images)
    torch.testing.assert_close(prediction.correction, torch.eye(3)[None])
    alone = model.encode(images[:, 0])
    torch.testing.assert_close(prediction.canonical_vertices[:, 0], alone.canonical_vertices)
    assert torch.equal(model.decoder.lifting, torch.full((49, 21), 0.01))


def test_finger_weights_follow_visibility(build):
    """A finger hidden now and seen before takes its features from before; the palm averages."""
    model = build(frames=3)
    logits = torch.zeros(1, 3, 2, 6)
    logits[:, 0, 1, 1] = logits[:, 1, 0, 1] = 20.0  # index: occluded now, visible in the short past
    weights = model.fusion.weights(logits)[0]
    parts = model.fusion.finger_of_vertex
    torch.testing.assert_close(weights.sum(0), torch.ones(778))
    index = weights[:, parts == 1]
    assert (index[1] > index[2]).all() and (index[2] > index[0]).all()
    torch.testing.assert_close(weights[:, parts == 5], torch.full((3, int((parts == 5).sum())), 1 / 3))


def test_nearest_visible_frame():
    features = torch.arange(12.0).view(4, 3, 1)
    occluded = torch.tensor([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]], dtype=torch.bool)
    assert nearest_visible(features, occluded)[:, 0].tolist() == [0.0, 4.0, 8.0, 9.0]


def test_six_numbers_to_a_rotation():
    x = torch.randn(50, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rotation = matrix_from_6d(x)
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3, dtype=torch.float64).expand(50, 3, 3))
    first = torch.nn.functional.normalize(x[:, :3], dim=-1)
    torch.testing.assert_close(rotation[:, 0], first)  # rows, not columns
    assert ((rotation[:, 1] * x[:, 3:]).sum(-1) > 0).all()
    torch.testing.assert_close(matrix_from_6d(rotation[:, :2].flatten(1)), rotation)


def test_degenerate_rotations_stay_finite():
    for values in ([0.0] * 6, [1.0, 0, 0, 2.0, 0, 0]):
        x = torch.tensor([values], requires_grad=True)
        matrix_from_6d(x).sum().backward()
        assert x.grad is not None and bool(x.grad.isfinite().all())


def test_turning_about_a_pivot_leaves_the_pivot():
    rotation = matrix_from_6d(torch.randn(2, 6, generator=torch.Generator().manual_seed(1)))
    points, pivot = torch.randn(2, 5, 3), torch.randn(2, 3)
    points[:, 0] = pivot
    turned = turn_about(points, pivot, rotation)
    torch.testing.assert_close(turned[:, 0], pivot)
    torch.testing.assert_close(turned[:, 1] - pivot, torch.einsum("bij,bj->bi", rotation, points[:, 1] - pivot))


def test_joint_sets_cover_the_hand():
    for sets in JOINT_SETS.values():
        fingers = [joint for finger in sets[:5] for joint in finger]
        assert sorted(fingers) == list(range(1, 21))
        assert sets[5][0] == 0 and len(sets[5]) == 5
    assert JOINT_SETS["corrected"][4] == (17, 18, 19, 20)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"frames": 0}, "frames"),
        ({"frames": 1.5}, "frames"),
        ({"width": 0.3}, "width"),
        ({"width": "wide"}, "width"),
        ({"width": 0}, "width"),
        ({"occlusion_joint_order": "mine"}, "occlusion_joint_order"),
        ({"oriented": "yes"}, "oriented"),
    ],
)
def test_bad_configurations_are_refused(changes: dict, word: str):
    with pytest.raises(InputError, match=word):
        NetworkConfig(**changes)


def test_bad_pictures_are_refused(build):
    single, multi = build(), build(frames=3)
    for model, images, words in (
        (single, pictures(1, 3), "B, 3, 128, 128"),
        (single, torch.zeros(1, 3, 256, 256), "128x128"),
        (single, torch.zeros(1, 3, 128, 128, dtype=torch.uint8), "divide uint8"),
        (multi, pictures(1), "B, T, 3, 128, 128"),
        (multi, pictures(1, 2), "expected 3 frames"),
    ):
        with pytest.raises(InputError, match=words):
            model(images)
    seen = single.encode(pictures(1))
    with pytest.raises(InputError, match="2 past frames, found 1"):
        multi.fuse(seen, seen)
    with pytest.raises(InputError, match="single-frame network"):
        multi.fuse(seen, seen, seen)


def test_tables_of_another_mesh_are_refused(sphere):
    with pytest.raises(InputError, match=r"vertex parts .* \(778,\), found \(100,\)"):
        H2ONet(NetworkConfig(), sphere, vertex_parts=np.zeros(100), joint_regressor=np.zeros((21, 778)))
    with pytest.raises(InputError, match=r"\(21, 778\), found \(16, 778\)"):
        H2ONet(NetworkConfig(), sphere, vertex_parts=np.zeros(778), joint_regressor=np.zeros((16, 778)))


def test_networks_are_built_for_the_hand_they_are_given(sphere):
    hand = load_hand("standin")
    model = build_network(NetworkConfig(width=0.125), hand)
    assert np.array_equal(model.faces.numpy(), hand.faces)
    np.testing.assert_allclose(model.joint_regressor.numpy(), hand.joint_regressor_21("manopth"), atol=1e-7)
    with pytest.raises(InputError, match="leave the hierarchy out"):
        build_network(NetworkConfig(width=0.125), hand, sphere)


def test_preparing_leaves_the_model_alone(build):
    model = build(frames=3).train()
    before = copy.deepcopy(model.state_dict())
    model.for_inference()
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
