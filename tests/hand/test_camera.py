"""Projection, and the change from OpenGL to OpenCV axes."""

import numpy as np
import pytest
from h2onet.errors import InputError
from h2onet.hand.camera import intrinsics_matrix, opencv_from_opengl, opencv_pose_from_opengl, project
from h2onet.hand.rotations import matrix_from_axis_angle
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

RNG = np.random.default_rng(0)
POINTS = RNG.uniform([-0.1, -0.1, 0.5], [0.1, 0.1, 0.7], size=(4, 7, 3))


def test_projection_is_the_pinhole():
    k = intrinsics_matrix(610.0, 600.0, 313.0, 245.0)
    homogeneous = POINTS @ k.T
    assert np.allclose(project(POINTS, k), homogeneous[..., :2] / homogeneous[..., 2:], atol=1e-10)
    assert np.array_equal(project(np.array([0.0, 0.0, 0.5]), k), [313.0, 245.0])
    assert (project(np.array([0.1, 0.1, 0.5]), k) > [313.0, 245.0]).all(), "x right, y down"


def test_one_camera_per_frame_or_per_point():
    cameras = np.stack([intrinsics_matrix(600.0 + i, 600.0, 320.0 + i, 240.0) for i in range(4)])
    each = np.stack([project(p, k) for p, k in zip(POINTS, cameras, strict=True)])
    assert np.array_equal(project(POINTS, cameras), each)
    per_point = np.broadcast_to(cameras[:, None], (4, 7, 3, 3))
    assert np.array_equal(project(POINTS, per_point), each)
    # As many frames as points: still one camera per point when the leading axes are the same.
    assert np.array_equal(project(POINTS[:, 0], cameras), each[:, 0])


def test_skew_is_used():
    k = np.array([[600.0, 3.0, 320.0], [0.0, 600.0, 240.0], [0.0, 0.0, 1.0]])
    homogeneous = POINTS @ k.T
    assert np.allclose(project(POINTS, k), homogeneous[..., :2] / homogeneous[..., 2:], atol=1e-10)


@pytest.mark.parametrize(("points", "k"), [((5, 2), (3, 3)), ((5, 3), (3, 4)), ((3,), (4, 5, 3, 3))])
def test_other_shapes_are_refused(points, k):
    with pytest.raises(InputError, match="project"):
        project(np.ones(points), np.ones(k))


def test_opengl_points_and_back():
    assert np.array_equal(opencv_from_opengl(np.array([1.0, 2.0, -3.0])), [1.0, -2.0, 3.0])
    assert np.array_equal(opencv_from_opengl(opencv_from_opengl(POINTS)), POINTS)
    assert opencv_from_opengl(POINTS.astype(np.float32)).dtype == np.float32


@given(arrays(np.float64, (3, 3), elements=st.floats(-1.5, 1.5)))
def test_hand_poses_move_with_their_points(vectors):
    """Any point x of the hand, R (x - J0) + J0 + t, must land where C takes it; and the change undoes itself."""
    orient, translation, root = vectors
    orient_cv, translation_cv = opencv_pose_from_opengl(orient, translation, root)
    x = np.array([0.3, -0.2, 0.5])
    in_opengl = matrix_from_axis_angle(orient) @ (x - root) + root + translation
    in_opencv = matrix_from_axis_angle(orient_cv) @ (x - root) + root + translation_cv
    assert np.allclose(opencv_from_opengl(in_opengl), in_opencv, atol=1e-9)
    again, translation_again = opencv_pose_from_opengl(orient_cv, translation_cv, root)
    assert np.allclose(matrix_from_axis_angle(again), matrix_from_axis_angle(orient), atol=1e-9)
    assert np.allclose(translation_again, translation, atol=1e-12)


def test_full_matrix_counts_in_projection():
    """Intrinsics of a rotated picture have an element [1, 0]: the projection is the whole matrix product."""
    rng = np.random.default_rng(3)
    points = rng.normal(size=(7, 3)) + np.array([0, 0, 4])
    intrinsics = np.array([[500.0, 12.0, 60.0], [-9.0, 520.0, 70.0], [0.0, 0.0, 1.0]])
    expected = points @ intrinsics.T
    np.testing.assert_allclose(project(points, intrinsics), expected[:, :2] / expected[:, 2:], rtol=1e-13)
