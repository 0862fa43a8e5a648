"""Annotations that are numbers but no hand: wrong units and impossible cameras become failures with the numbers."""

from dataclasses import replace

import numpy as np
import pytest
import trimesh
from h2onet.data.frame import ObjectPose
from h2onet.errors import InputError
from h2onet.labeling.objects import ObjectLibrary


def reason(stage, frame) -> str:
    """Why the frame was not labelled; a good frame beside it must be."""
    labels = stage.label(frame, stage.frame(stage.pose()))
    assert labels.labelled[1], "the good frame"
    assert [row for row, _ in labels.failures] == [0]
    assert not labels.labelled[0] and np.isnan(labels.visible_fraction[0]).all()
    return labels.failures[0][1].reason


@pytest.mark.parametrize("field", ["joints", "root", "translation", "vertices"])
def test_millimetres_are_refused(stage, field):
    frame = stage.frame(stage.pose())
    vertices, joints = stage.mesh(frame)
    given = {"joints": joints, "root": frame.root, "translation": frame.root, "vertices": vertices}[field]
    found = reason(stage, replace(frame, **{field: given * 1000}))
    assert found.startswith(f"{field}: expected metres") and "millimetres" in found
    assert f"{np.abs(given).max() * 1000:g}" in found


@pytest.mark.parametrize("side", ["right", "left"])
def test_joints_far_off_the_pose_are_refused(stage, side):
    frame = stage.frame(stage.pose(), side=side)
    _, joints = stage.mesh(frame)
    good = stage.label(replace(frame, joints=joints))
    assert not good.failures and good.joints_off[0] < 1e-6
    found = reason(stage, replace(frame, joints=joints + np.array([0.12, 0, 0])))
    assert "joints" in found and "120 mm off" in found
    near = stage.label(replace(frame, joints=joints + np.array([0.04, 0, 0])))
    assert not near.failures
    np.testing.assert_allclose(near.joints_off, 0.04, atol=1e-6)


def test_joints_of_another_hand_than_the_mesh_are_refused(stage):
    frame = stage.frame(stage.pose(), mask=None)
    vertices, joints = stage.mesh(frame)
    released = replace(frame, mano_pose=None, mano_shape=None, vertices=vertices, joints=joints)
    assert not stage.label(released).failures
    assert "mm off" in reason(stage, replace(released, joints=joints + np.array([0, 0.3, 0])))


def test_cameras_without_an_inverse_are_refused(stage):
    frame = stage.frame(stage.pose())
    flat = frame.intrinsics.copy()
    flat[1, 0], flat[0, 1] = flat[0, 0], flat[1, 1]
    assert reason(stage, replace(frame, intrinsics=flat)).startswith("intrinsics: expected a matrix with an inverse")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda pose: np.hstack([pose[:, :3], pose[:, 3:] + 600.0]), "expected metres"),
        (lambda pose: np.hstack([pose[:, :3] * 1000, pose[:, 3:]]), "columns of length 1e+03"),
        (lambda pose: np.hstack([pose[:, :3] * [1, 1, -1], pose[:, 3:]]), "determinant -1"),
    ],
)
def test_impossible_object_poses_are_refused(stage, change, words):
    ball = stage.sphere("ball", [0, 0, 0.5], 0.02)
    assert not stage.label(stage.frame(stage.pose(), objects=[ball])).failures
    found = reason(stage, stage.frame(stage.pose(), objects=[ObjectPose("ball", change(ball.pose))]))
    assert found.startswith("pose of object ball: ") and words in found


def test_an_absent_object_has_no_rotation(stage):
    absent = ObjectPose("ball", np.zeros((3, 4)))
    assert not stage.label(stage.frame(stage.pose(), objects=[absent])).failures


@pytest.mark.parametrize(("scale", "words"), [(1000, "divide its vertices by 1000"), (1 / 1000, "found 6e-05")])
def test_object_meshes_in_another_unit_are_refused(tmp_path, scale, words):
    folder = tmp_path / "ball"
    folder.mkdir()
    ball = trimesh.creation.icosphere(subdivisions=2, radius=0.03)
    ball.export(folder / "textured_simple.obj")
    assert ObjectLibrary(tmp_path).get("ball") is not None
    trimesh.Trimesh(ball.vertices * scale, ball.faces).export(folder / "textured_simple.obj")
    with pytest.raises(InputError, match="expected an object in metres") as refused:
        ObjectLibrary(tmp_path).get("ball")
    assert words in str(refused.value) and str(folder) in str(refused.value)
