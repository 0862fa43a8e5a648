"""The hand model against an independent float64 linear blend skinning, and the datasets' placement rules."""

import numpy as np
import pytest
import torch
import yaml
from h2onet.errors import InputError
from h2onet.hand.camera import opencv_from_opengl, opencv_pose_from_opengl
from h2onet.hand.mano import HandModel, load_arrays, load_hand
from h2onet.hand.parts import JOINTS_FROM_MANO, TIPS
from h2onet.hand.rotations import matrix_from_axis_angle, mirror_pose, move_hand
from h2onet.hand.skinning import SkinnedHand
from scipy.linalg import expm


@pytest.fixture(params=["golden-right", "golden-left", "standin-right", "standin-left"], scope="module")
def arrays(request):
    """Every hand there is: MANO-format files of the reference folder and the built-in one."""
    source, _, side = request.param.partition("-")
    if source == "golden":
        return load_arrays(request.getfixturevalue("golden") / "labels" / "mano", side)
    return load_arrays("standin", side)


@pytest.fixture(scope="module")
def batch():
    """Poses with large and tiny rotations and one at rest, shapes and translations."""
    rng = np.random.default_rng(5)
    pose = rng.normal(scale=0.5, size=(6, 48))
    pose[0], pose[1] = 0.0, 1e-7 * rng.normal(size=48)
    pose[2, :3] *= np.pi / np.linalg.norm(pose[2, :3])
    return pose, rng.normal(size=(6, 10)), rng.normal(size=(6, 3))


def blend_skinning(a, pose, shape, translation):
    """MANO's equations once more, in plain loops: vertices and the 16 posed joints of one hand."""

    def rotation(v):
        return expm(np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]]))

    turns = [rotation(v) for v in pose.reshape(16, 3)]
    shaped = a.v_template + a.shapedirs @ shape
    rest = a.joint_regressor @ shaped
    correctives = np.concatenate([(turn - np.eye(3)).ravel() for turn in turns[1:]])
    posed = shaped + a.posedirs @ correctives
    orient, place = [turns[0]], [rest[0]]
    for joint in range(1, 16):
        parent = a.parents[joint]
        place.append(orient[parent] @ (rest[joint] - rest[parent]) + place[parent])
        orient.append(orient[parent] @ turns[joint])
    vertices = np.zeros_like(posed)
    for joint in range(16):
        moved = (posed - rest[joint]) @ orient[joint].T + place[joint]
        vertices += a.weights[:, joint, None] * moved
    return vertices + translation, np.array(place) + translation


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_equals_an_independent_skinning(arrays, batch, dtype, tolerance):
    hand = HandModel(arrays, dtype)
    mesh = hand(*(torch.tensor(x, dtype=dtype) for x in batch), tips="ho3d")
    assert mesh.vertices.dtype == mesh.joints.dtype == dtype
    for i, (pose, shape, translation) in enumerate(zip(*batch, strict=True)):
        vertices, joints = blend_skinning(arrays, pose, shape, translation)
        assert np.abs(mesh.vertices[i].numpy() - vertices).max() < tolerance
        tips = vertices[list(TIPS["ho3d"][arrays.side])]
        expected = np.concatenate([joints, tips])[list(JOINTS_FROM_MANO)]
        assert np.abs(mesh.joints[i].numpy() - expected).max() < tolerance


def test_the_hand_without_torch_is_the_same_and_its_bits_know_no_batch(arrays, batch):
    pose, shape, translation = batch
    hand, layer = SkinnedHand(arrays), HandModel(arrays, torch.float64)
    found = hand.pose(pose, shape, translation, tips="ho3d")
    expected = layer(*(torch.tensor(x) for x in batch), tips="ho3d")
    assert np.abs(found[0] - expected.vertices.numpy()).max() < 1e-14
    assert np.abs(found[1] - expected.joints.numpy()).max() < 1e-14
    assert np.abs(hand.root(shape) - layer.root(torch.tensor(shape)).numpy()).max() < 1e-16
    many = hand.pose(np.tile(pose, (3, 1)), np.tile(shape, (3, 1)), np.tile(translation, (3, 1)))
    alone = [hand.pose(pose[i : i + 1], shape[i : i + 1], translation[i : i + 1]) for i in range(len(pose))]
    for k in range(2):
        assert np.array_equal(many[k], np.tile(np.concatenate([mesh[k] for mesh in alone]), (3, 1, 1)))
    one_shape = hand.pose(pose, shape[:1])
    assert np.array_equal(one_shape[0], hand.pose(pose, np.repeat(shape[:1], 6, axis=0))[0])
    assert [part.shape for part in hand.pose(pose[:0], shape[:0])] == [(0, 778, 3), (0, 21, 3)]


def test_the_wrist_is_the_rest_wrist_plus_translation(arrays, batch):
    hand = HandModel(arrays, torch.float64)
    pose, shape, translation = (torch.tensor(x) for x in batch)
    assert torch.allclose(hand(pose, shape, translation).joints[:, 0], hand.root(shape) + translation, atol=1e-13)
    assert torch.allclose(hand(pose, shape).joints[:, 0], hand.root(shape), atol=1e-13)


def test_one_shape_serves_a_batch_and_an_empty_batch_is_empty(arrays, batch):
    hand = HandModel(arrays, torch.float64)
    pose, shape, _ = (torch.tensor(x) for x in batch)
    assert torch.equal(hand(pose, shape[:1]).vertices, hand(pose, shape[:1].repeat(6, 1)).vertices)
    empty = hand(pose[:0], shape[:0])
    assert empty.vertices.shape == (0, 778, 3) and empty.joints.shape == (0, 21, 3)


def test_gradients_reach_pose_shape_and_translation(arrays):
    hand = HandModel(arrays, torch.float64)
    pose = torch.zeros(1, 48, dtype=torch.float64, requires_grad=True)
    shape = torch.zeros(1, 10, dtype=torch.float64, requires_grad=True)
    translation = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *x: hand(*x).joints, (pose, shape, translation))


def test_every_tensor_moves_to_the_device(arrays, batch):
    """torch's meta device has shapes but no values, and refuses to mix with any other device."""
    hand = HandModel(arrays).to("meta")
    mesh = hand(*(torch.tensor(x, dtype=torch.float32, device="meta") for x in batch))
    assert mesh.vertices.device.type == mesh.joints.device.type == "meta" and mesh.joints.shape == (6, 21, 3)
    assert {b.device.type for b in hand.buffers()} == {"meta"}


def test_nothing_to_train_and_nothing_licensed_in_a_checkpoint(arrays):
    hand = HandModel(arrays)
    assert list(hand.parameters()) == [] and hand.state_dict() == {}
    assert {b.dtype for b in hand.to(torch.float64).buffers() if b.is_floating_point()} == {torch.float64}


def test_tip_sets_differ_only_in_the_tips(arrays, batch):
    hand = HandModel(arrays, torch.float64)
    meshes = {name: hand(*(torch.tensor(x) for x in batch), tips=name) for name in TIPS}
    for name, mesh in meshes.items():
        chosen = mesh.vertices[:, list(TIPS[name][arrays.side])]
        assert torch.equal(mesh.joints[:, [4, 8, 12, 16, 20]], chosen)
        others = [i for i in range(21) if i not in (4, 8, 12, 16, 20)]
        assert torch.equal(mesh.joints[:, others], meshes["manopth"].joints[:, others])
    with pytest.raises(InputError, match="tips"):
        hand(*(torch.tensor(x) for x in batch), tips="nails")


def test_pca_coefficients_round_trip(arrays):
    hand = HandModel(arrays)
    coefficients = np.random.default_rng(1).normal(size=(2, 3, 45))
    fingers = hand.finger_pose(coefficients)
    expected = arrays.hands_mean + np.einsum("bck,kj->bcj", coefficients, arrays.hands_components)
    assert np.allclose(fingers, expected, atol=1e-12)
    assert np.allclose(hand.coefficients(fingers), coefficients, atol=1e-9)
    assert np.allclose(hand.finger_pose(np.zeros(45)), arrays.hands_mean)


def test_regressor_gives_the_rest_joints_in_order(arrays):
    hand = HandModel(arrays, torch.float64)
    rest = hand(torch.zeros(1, 48, dtype=torch.float64), torch.zeros(1, 10, dtype=torch.float64), tips="h2onet")
    regressor = hand.joint_regressor_21("h2onet")
    assert regressor.shape == (21, 778)
    assert np.abs(regressor @ rest.vertices[0].numpy() - rest.joints[0].numpy()).max() < 1e-12


def test_mirrored_stand_in_poses_to_the_mirrored_mesh(batch):
    right, left = (HandModel(load_arrays("standin", side), torch.float64) for side in ("right", "left"))
    pose, shape, translation = batch
    flip = np.array([-1.0, 1.0, 1.0])
    a = right(torch.tensor(pose), torch.tensor(shape), torch.tensor(translation))
    b = left(torch.tensor(mirror_pose(pose)), torch.tensor(shape), torch.tensor(translation * flip))
    assert np.abs(a.vertices.numpy() * flip - b.vertices.numpy()).max() < 1e-12


def test_moving_a_hand_moves_its_mesh(arrays, batch):
    hand = HandModel(arrays, torch.float64)
    pose, shape, translation = batch
    turn, offset = matrix_from_axis_angle(np.array([0.3, -1.0, 0.4])), np.array([0.1, 0.2, 0.9])
    root = hand.root(torch.tensor(shape)).numpy()
    moved = move_hand(pose, translation, root, turn, offset)
    before = hand(torch.tensor(pose), torch.tensor(shape), torch.tensor(translation)).vertices.numpy()
    after = hand(torch.tensor(moved[0]), torch.tensor(shape), torch.tensor(moved[1])).vertices.numpy()
    assert np.abs(before @ turn.T + offset - after).max() < 1e-12


def test_ho3d_pose_gives_the_same_mesh_in_opencv_axes(arrays, batch):
    hand = HandModel(arrays, torch.float64)
    pose, shape, translation = batch
    root = hand.root(torch.tensor(shape)).numpy()
    orient, moved = opencv_pose_from_opengl(pose[:, :3], translation, root)
    pose_cv = np.concatenate([orient, pose[:, 3:]], axis=1)
    opengl = hand(torch.tensor(pose), torch.tensor(shape), torch.tensor(translation)).vertices.numpy()
    opencv = hand(torch.tensor(pose_cv), torch.tensor(shape), torch.tensor(moved)).vertices.numpy()
    assert np.abs(opencv_from_opengl(opengl) - opencv).max() < 1e-12


def test_dexycb_labels_are_reproduced(golden):
    """Raw DexYCB: PCA coefficients plus the mean, and the translation added to the un-centred mesh, give joint_3d."""
    root, checked = golden / "labels" / "DEX_YCB", 0
    for meta_file in sorted(root.glob("*/*/meta.yml")):
        meta = yaml.safe_load(meta_file.read_text())
        hand = load_hand(golden / "labels" / "mano", meta["mano_sides"][0], torch.float64)
        calibration = yaml.safe_load((root / "calibration" / f"mano_{meta['mano_calib'][0]}" / "mano.yml").read_text())
        shape = torch.tensor([calibration["betas"]], dtype=torch.float64)
        for label_file in sorted(meta_file.parent.glob("*/labels_*.npz")):
            label = np.load(label_file)
            parameters = label["pose_m"][0].astype(np.float64)
            if not parameters.any():
                continue
            pose = np.concatenate([parameters[:3], hand.finger_pose(parameters[3:48])])
            mesh = hand(torch.tensor(pose)[None], shape, torch.tensor(parameters[48:])[None], tips="manopth")
            assert np.abs(mesh.joints[0].numpy() - label["joint_3d"][0]).max() < 1e-6
            checked += 1
    assert checked == 20


def test_a_second_model_is_cheap_and_shares_the_arrays(golden):
    one, two = (load_hand(golden / "labels" / "mano", "right") for _ in range(2))
    assert one.arrays is two.arrays
    assert not one.arrays.v_template.flags.writeable and not one.faces.flags.writeable


def test_nothing_is_printed(arrays, capfd):
    HandModel(arrays)
    assert capfd.readouterr() == ("", "")
