"""Batches of frames: rows stay in order, whatever is wrong with a frame is said, and never becomes a label."""

import numpy as np
import pytest
from h2onet.data.frame import Frame, ObjectPose
from h2onet.errors import InputError
from h2onet.labeling.label import BATCH, RULES, label_frames
from h2onet.labeling.objects import ObjectLibrary
from h2onet.labeling.pose import Hands
from h2onet.labeling.raster import CpuRenderer


def but(frame: Frame, **fields) -> Frame:
    return Frame(**vars(frame) | fields)


def nan(array):
    array = np.array(array, np.float64)
    array.flat[0] = np.nan
    return array


BROKEN = {
    "mano_pose": lambda f: but(f, mano_pose=nan(f.mano_pose)),
    "mano_shape": lambda f: but(f, mano_shape=nan(f.mano_shape)),
    "mano_shape: expected 10 numbers": lambda f: but(f, mano_shape=None),
    "translation": lambda f: but(f, translation=np.full(3, np.inf)),
    "root": lambda f: but(f, root=nan(f.root)),
    "joints": lambda f: but(f, joints=np.full((21, 3), np.nan)),
    "joints: expected 21 x 3": lambda f: but(f, joints=np.zeros((16, 3))),
    "intrinsics: expected finite values and focal lengths above 0, found 0, 0": lambda f: but(
        f, intrinsics=np.zeros((3, 3))
    ),
    "intrinsics": lambda f: but(f, intrinsics=nan(f.intrinsics)),
    "hand: expected it 0.05 m or more before the camera": lambda f: but(f, root=f.root * (1, 1, -1)),
    "hand mask: expected the dataset's segmentation, found none": lambda f: but(f, hand_mask=None),
    "hand mask: expected 480 x 640": lambda f: but(f, hand_mask=np.ones((240, 320), bool)),
    "pose of object can": lambda f: but(f, objects=(ObjectPose("can", np.full((3, 4), np.nan)),)),
    "side": lambda f: but(f, side="both"),
}


def test_bad_frames_are_failures_that_name_the_file_and_the_reason(stage):
    good = stage.frame(stage.pose())
    frames = [good]
    for i, (_, spoil) in enumerate(BROKEN.items()):
        frames += [but(spoil(good), image=f"camera/color_{i:06d}.jpg"), good]
    labels = stage.label(*frames)
    bad = np.arange(1, len(frames), 2)
    assert [row for row, _ in labels.failures] == bad.tolist()
    for (row, failure), reason in zip(labels.failures, BROKEN, strict=True):
        assert failure.path == frames[row].image
        assert failure.reason.startswith(reason) and "\n" not in failure.reason
    assert not labels.labelled[bad].any() and labels.labelled[::2].all()
    assert (labels.occluded[bad] == 255).all() and (labels.cause[bad] == 255).all()
    assert (labels.visible_vertices[bad] == -1).all() and np.isnan(labels.visible_fraction[bad]).all()
    assert (labels.joint_visible[bad] == 255).all() and np.isnan(labels.mask_iou[bad]).all()
    np.testing.assert_array_equal(labels.occluded[::2], np.tile(labels.occluded[0], (len(BROKEN) + 1, 1)))


def test_a_frame_without_pose_and_mesh_is_unknown_but_no_failure(stage):
    blank = but(stage.frame(stage.pose()), mano_pose=None, mano_shape=None, hand_mask=None)
    labels = stage.label(blank)
    assert not labels.failures and not labels.labelled[0] and (labels.occluded[0] == 255).all()


def test_released_meshes_are_used_as_they_are(stage):
    """HO3D's evaluation: vertices instead of poses, no masks; the depth rule holds, the other is unknown."""
    posed = stage.frame(stage.pose())
    vertices, joints = stage.mesh(posed)
    ball = stage.sphere("ball", joints[8] * 0.8, 0.008)
    released = but(
        posed, mano_pose=None, mano_shape=None, hand_mask=None, vertices=vertices, joints=joints, objects=(ball,)
    )
    labels = stage.label(released, but(posed, objects=(ball,)), but(released, hand_mask=posed.hand_mask))
    assert not labels.failures
    np.testing.assert_array_equal(labels.labelled, [False, True, True])
    np.testing.assert_allclose(labels.visible_fraction[0], labels.visible_fraction[1])
    np.testing.assert_array_equal(labels.joint_visible[0], labels.joint_visible[1])
    np.testing.assert_array_equal(labels.occluded[1], labels.occluded[2])
    assert np.isnan(labels.mask_iou[0]) and labels.mask_iou[1] == labels.mask_iou[2]


def test_batches_do_not_change_labels(stage, poses):
    rng = np.random.default_rng(0)
    frames = [
        stage.frame(stage.pose(rng.normal(0, 1, 3), poses["bend"] * rng.uniform(0, 1, (15, 1))), side=side)
        for side in ("right", "left", "right", "left", "left")
    ]
    few = stage.label(*frames)
    repeat = BATCH // len(frames) + 2
    many = stage.label(*frames * repeat)
    for name in ("occluded", "visible_vertices", "visible_fraction", "cause", "joint_visible", "mask_iou"):
        one, two = getattr(few, name), getattr(many, name)
        np.testing.assert_array_equal(np.tile(one, (repeat, *[1] * (one.ndim - 1))), two, err_msg=name)
    single = [stage.label(frame) for frame in frames]
    np.testing.assert_array_equal(few.occluded, np.concatenate([labels.occluded for labels in single]))


def test_rules_can_be_chosen(stage, hands):
    frame = stage.frame(stage.pose(), side="left")
    both = stage.label(frame)
    depth = stage.label(but(frame, hand_mask=None), rules=("depth",))
    assert not depth.failures and not depth.labelled[0]
    np.testing.assert_array_equal(depth.visible_fraction, both.visible_fraction)
    right_only = label_frames([frame], Hands(hands.right), ObjectLibrary(None), CpuRenderer(), rules=("h2onet",))
    np.testing.assert_array_equal(right_only.occluded, both.occluded)
    assert np.isnan(right_only.visible_fraction).all()
    with pytest.raises(InputError, match=r"MANO_LEFT\.pkl"):
        label_frames([frame], Hands(hands.right), ObjectLibrary(None), CpuRenderer())
    with pytest.raises(InputError, match="expected some of h2onet, depth"):
        stage.label(frame, rules=("h2o",))


def test_the_translation_places_the_hand_for_the_depth_rule(stage, hands):
    """Wrist = J0(shape) + translation; the authors' rule stays with the wrist joint that the dataset gives."""
    frame = stage.frame(stage.pose())
    rest = hands.right.root(np.zeros((1, 10)))[0]
    placed = but(frame, translation=frame.root - rest)
    moved = but(frame, translation=frame.root - rest + (0.05, 0, 0))
    labels = stage.label(frame, placed, moved)
    np.testing.assert_array_equal(labels.visible_fraction[0], labels.visible_fraction[1])
    assert labels.mask_iou[1] == 1 and labels.mask_iou[2] < 0.7  # a wrong calibration shows at once
    np.testing.assert_array_equal(labels.occluded[0], labels.occluded[2])


def test_versions_are_named():
    assert RULES == {"h2onet": 1, "depth": 1}
    empty = label_frames([], None, ObjectLibrary(None), CpuRenderer())  # pyright: ignore[reportArgumentType]
    assert empty.occluded.shape == (0, 7) and empty.failures == ()
