"""The stand-in hand in motion: fingers bend like fingers, shapes change what they say, pose components are a basis."""

import numpy as np
import pytest
import torch
from h2onet.hand.mano import load_hand
from h2onet.hand.parts import FINGERS
from h2onet.hand.standin.arrays import TIP_VERTICES, WRIST_LOOP, standin_arrays
from h2onet.hand.standin.components import sample_poses

FIRST_JOINT = {"thumb": 13, "index": 1, "middle": 4, "ring": 10, "little": 7}


@pytest.fixture(scope="module")
def model():
    return load_hand("standin", "right", torch.float64)


def posed(model, fingers, shape=None, global_orient=(0.0, 0.0, 0.0)):
    pose = torch.tensor(np.concatenate([global_orient, fingers]))[None]
    betas = torch.tensor(np.zeros(10) if shape is None else shape, dtype=torch.float64)[None]
    mesh = model(pose, betas)
    return mesh.vertices[0].numpy(), mesh.joints[0].numpy()


def edge_lengths(vertices, faces):
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.unique(np.sort(edges, axis=1), axis=0)
    return np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)


def capped_volume(vertices, faces):
    loop = np.array(WRIST_LOOP)
    fan = np.stack([np.roll(loop, 1), loop, np.full(16, len(vertices))], axis=1)
    corners = np.concatenate([vertices, vertices[loop].mean(axis=0, keepdims=True)])[np.concatenate([faces, fan])]
    return np.einsum("fi,fi", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6


def bone_lengths(joints):
    return {
        f: np.linalg.norm(np.diff(joints[[0, *range(4 * k + 1, 4 * k + 5)]], axis=0), axis=1)
        for k, f in enumerate(FINGERS)
    }


@pytest.mark.parametrize("name", ["rest", "fist", "point", "pinch", "spread", "hook", "thumb up"])
def test_skin_neither_collapses_nor_explodes(model, name):
    flat, _ = posed(model, np.zeros(45))
    vertices, _ = posed(model, sample_poses()[name])
    ratio = edge_lengths(vertices, model.faces) / edge_lengths(flat, model.faces)
    assert ratio.min() > 0.12
    assert np.percentile(ratio, 2) > 0.45
    assert ratio.max() < 2.6
    volume = capped_volume(vertices, model.faces) / capped_volume(flat, model.faces)
    assert 0.94 < volume < 1.06  # linear blending alone loses 9 % of a fist


def test_correctives_keep_the_volume_of_a_bent_finger(model):
    arrays = model.arrays
    plain = type(model)(type(arrays)(**{**vars(arrays), "posedirs": np.zeros_like(arrays.posedirs)}), torch.float64)
    flat, _ = posed(model, np.zeros(45))
    rest = capped_volume(flat, model.faces)
    fist = sample_poses()["fist"]
    kept = capped_volume(posed(model, fist)[0], model.faces)
    lost = capped_volume(posed(plain, fist)[0], model.faces)
    assert abs(kept - rest) < 0.5 * abs(lost - rest)
    assert 0.001 < np.abs(arrays.posedirs).max() < 0.010
    assert np.array_equal(posed(plain, np.zeros(45))[0], flat)


@pytest.mark.parametrize("name", ["fist", "point", "pinch"])
def test_finger_segments_stay_rigid(model, name):
    flat, flat_joints = posed(model, np.zeros(45))
    vertices, joints = posed(model, sample_poses()[name])
    for joint in range(1, 16):
        # Exactly rigid where only this joint holds the skin, nearly so where others have a small share.
        for share, tolerance, enough in ((0.999, 1e-4, 0), (0.85, 0.0035, 4)):
            own = np.flatnonzero(model.arrays.weights[:, joint] > share)
            assert len(own) >= enough, joint
            before = np.linalg.norm(flat[own][:, None] - flat[own][None], axis=2)
            after = np.linalg.norm(vertices[own][:, None] - vertices[own][None], axis=2)
            assert np.abs(after - before).max(initial=0) < tolerance, (joint, share)
    before, after = bone_lengths(flat_joints), bone_lengths(joints)
    for finger in FINGERS:
        assert np.allclose(after[finger], before[finger], atol=1e-6)


def test_a_fist_brings_the_fingertips_to_the_palm(model):
    flat, _ = posed(model, np.zeros(45))
    fist, joints = posed(model, sample_poses()["fist"])
    palm = model.arrays.v_template[model.parts.vertex == 5].mean(axis=0)
    for finger in ("index", "middle", "ring", "little"):
        tip = TIP_VERTICES[finger][0]
        assert np.linalg.norm(fist[tip] - palm) < 0.6 * np.linalg.norm(flat[tip] - palm)
        assert fist[tip, 1] < joints[0, 1]  # on the palm's side


def test_pointing_leaves_the_index_finger_out(model):
    _, joints = posed(model, sample_poses()["point"])
    reach = joints[0, 0] - joints[[8, 12, 16, 20], 0]
    assert reach[0] > 0.15
    assert (reach[1:] < 0.09).all()


def test_pinching_brings_thumb_and_index_pads_together(model):
    vertices, _ = posed(model, sample_poses()["pinch"])
    thumb, index = (vertices[TIP_VERTICES[f][1]] for f in ("thumb", "index"))
    assert np.linalg.norm(thumb - index) < 0.006


def test_spreading_moves_the_fingertips_apart(model):
    _, flat = posed(model, np.zeros(45))
    _, spread = posed(model, sample_poses()["spread"])
    tips = [4, 8, 12, 16, 20]
    gap = np.linalg.norm(np.diff(spread[tips], axis=0), axis=1) - np.linalg.norm(np.diff(flat[tips], axis=0), axis=1)
    assert (gap > 0.005).all()


def test_left_poses_mirror_right_poses(model):
    left = load_hand("standin", "left", torch.float64)
    turn = np.tile([1.0, -1.0, -1.0], 15)
    fist = sample_poses()["fist"]
    shape = np.linspace(-1, 1, 10)
    right_vertices, _ = posed(model, fist, shape, (0.3, -0.2, 0.9))
    left_vertices, _ = posed(left, fist * turn, shape, (0.3, 0.2, -0.9))
    assert np.allclose(left_vertices, right_vertices * (-1, 1, 1), atol=1e-12)


def test_pose_components_are_orthonormal_and_begin_with_closing():
    hand = standin_arrays("right")
    assert np.allclose(hand.hands_components @ hand.hands_components.T, np.eye(45), atol=1e-12)
    closing = hand.hands_components[0].reshape(15, 3)
    assert (closing[:12, 2] > 0.05).all()  # a right hand's fingers bend about +z
    assert np.linalg.norm(closing[12:]) < np.linalg.norm(closing[:12])
    assert np.allclose(np.abs(hand.hands_components[0]).max(), 0.35, atol=0.15)


def test_pose_coefficients_of_one_move_the_hand_visibly(model):
    hand = model.arrays
    start, _ = posed(model, hand.hands_mean)
    for k in range(45):
        moved, _ = posed(model, hand.hands_mean + hand.hands_components[k])
        assert 0.004 < np.linalg.norm(moved - start, axis=1).max() < 0.12, k


def test_stored_coefficients_are_the_sample_poses(model):
    for coefficients, pose in zip(model.arrays.hands_coeffs, sample_poses().values(), strict=True):
        assert np.allclose(model.finger_pose(coefficients), pose, atol=1e-12)


def test_mean_pose_is_a_slight_curl():
    hand = standin_arrays("right")
    mean = hand.hands_mean.reshape(15, 3)
    assert (mean[:12, 2] > 0.1).all() and (np.linalg.norm(mean, axis=1) < 0.7).all()


def test_shape_components_are_orthogonal_and_decreasing():
    directions = standin_arrays("right").shapedirs.reshape(-1, 10)
    size = np.linalg.norm(directions, axis=0)
    assert (np.diff(size) < 0).all()
    cosine = (directions.T @ directions) / size / size[:, None]
    assert np.allclose(cosine, np.eye(10), atol=1e-9)
    assert 0.004 < np.linalg.norm(standin_arrays("right").shapedirs[..., 0], axis=1).max() < 0.012


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_shape_components_change_what_they_say(model, sign):
    flat, joints = posed(model, np.zeros(45))
    rest = bone_lengths(joints)

    def change(component):
        shape = np.zeros(10)
        shape[component] = sign
        vertices, moved = posed(model, np.zeros(45), shape)
        now = bone_lengths(moved)
        return vertices, {f: sign * 1000 * (now[f] - rest[f]) for f in FINGERS}

    four = ("index", "middle", "ring", "little")
    vertices, bones = change(0)  # size
    assert all((bones[f] > 0).all() for f in FINGERS)
    assert sign * (capped_volume(vertices, model.faces) / capped_volume(flat, model.faces) - 1) > 0.08
    _, bones = change(1)  # finger length
    assert all((bones[f][1:] > 1.0).all() for f in four)
    vertices, bones = change(2)  # thickness
    assert max(np.abs(bones[f]).max() for f in FINGERS) < 2.0
    assert sign * (capped_volume(vertices, model.faces) / capped_volume(flat, model.faces) - 1) > 0.05
    vertices, _ = change(3)  # palm width
    palm = (model.parts.vertex == 5) & (flat[:, 0] < 0.06)
    assert sign * (np.ptp(vertices[palm, 2]) - np.ptp(flat[palm, 2])) > 0.002
    _, bones = change(4)  # thumb length
    assert bones["thumb"][1:].sum() > max(bones[f][1:].sum() for f in four) + 0.5
    _, bones = change(7)  # index against little finger
    assert bones["index"][1:].sum() > 0.8 and bones["little"][1:].sum() < -0.8


def test_large_shapes_keep_triangles_facing_outwards(model):
    rng = np.random.default_rng(0)
    average, _ = posed(model, sample_poses()["rest"])
    for _ in range(5):
        vertices, _ = posed(model, sample_poses()["rest"], rng.uniform(-1.5, 1.5, 10))
        assert capped_volume(vertices, model.faces) > 1e-4
        ratio = edge_lengths(vertices, model.faces) / edge_lengths(average, model.faces)
        assert ratio.min() > 0.3 and ratio.max() < 2.5
