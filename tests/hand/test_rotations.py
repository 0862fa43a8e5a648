"""Round trips between axis-angle and matrices, mirroring, and moving a hand to another frame."""

import itertools

import numpy as np
import pytest
import torch
from h2onet.errors import InputError
from h2onet.hand.mano import rotation_matrices
from h2onet.hand.rotations import (
    axis_angle_from_matrix,
    matrix_from_axis_angle,
    mirror_pose,
    move_hand,
    rotate_global,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.linalg import expm
from scipy.spatial.transform import Rotation

numbers = st.floats(-1.0, 1.0, allow_nan=False, allow_subnormal=False)
vectors = arrays(np.float64, 3, elements=numbers).filter(lambda v: np.linalg.norm(v) > 1e-3)
# Angles everywhere, and crowded near zero and near pi, where naive formulas fail.
angles = st.one_of(
    st.floats(0.0, np.pi), st.floats(0.0, 1e-6), st.floats(np.pi - 1e-6, np.pi), st.sampled_from([0.0, 1e-12, np.pi])
)


def cross_matrix(v):
    return np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])


@given(vectors, angles)
def test_matrix_is_the_exponential(axis, angle):
    vector = axis / np.linalg.norm(axis) * angle
    expected = expm(cross_matrix(vector))
    assert np.abs(matrix_from_axis_angle(vector) - expected).max() < 1e-14
    assert np.abs(rotation_matrices(torch.tensor(vector)).numpy() - expected).max() < 1e-14


@given(arrays(np.float64, (5, 3), elements=st.floats(-200, 200) | st.floats(-1e-3, 1e-3)))
def test_matrices_are_scipys_to_the_bit(vectors):
    """Labels of stores from before hang on the last bits; scipy made those matrices then."""
    found, theirs = matrix_from_axis_angle(vectors), Rotation.from_rotvec(vectors).as_matrix()
    assert found.tobytes() == theirs.tobytes()


def _signed_permutations() -> np.ndarray:
    """All 24 rotations that take axes to axes: two or three entries of the diagonal and the trace are equal."""
    rows = [np.eye(3)[list(order)] for order in itertools.permutations(range(3))]
    found = [np.diag(signs) @ row for row in rows for signs in itertools.product((1.0, -1.0), repeat=3)]
    return np.stack([matrix for matrix in found if np.linalg.det(matrix) > 0])


@given(arrays(np.float64, (5, 3), elements=st.floats(-4, 4) | st.floats(-1e-3, 1e-3)), st.integers(0, 23))
def test_axis_angles_are_scipys_to_the_bit(vectors, turn):
    matrices = _signed_permutations()[turn] @ Rotation.from_rotvec(vectors).as_matrix()
    for given_matrices in (matrices, _signed_permutations(), np.float32(matrices)):
        theirs = Rotation.from_matrix(given_matrices).as_rotvec()
        assert axis_angle_from_matrix(given_matrices).tobytes() == theirs.tobytes()


def test_memory_mapped_and_transposed_vectors_are_read():
    vectors = np.random.default_rng(0).normal(size=(4, 2, 3))
    vectors.flags.writeable = False
    expected = np.stack([[matrix_from_axis_angle(v) for v in row] for row in vectors])
    assert (matrix_from_axis_angle(vectors) == expected).all()
    assert (matrix_from_axis_angle(vectors.swapaxes(0, 1)) == expected.swapaxes(0, 1)).all()
    assert matrix_from_axis_angle(np.empty((0, 3))).shape == (0, 3, 3)
    assert np.isnan(matrix_from_axis_angle(np.array([np.nan, 0, 0]))).any()


@given(vectors, angles)
def test_round_trip_from_axis_angle(axis, angle):
    vector = axis / np.linalg.norm(axis) * angle
    back = axis_angle_from_matrix(matrix_from_axis_angle(vector))
    # At pi the two axes mean the same rotation.
    assert min(np.abs(back - vector).max(), np.abs(back + vector).max() + (angle < 3.1)) < 1e-9


@given(vectors, angles)
def test_round_trip_from_matrix(axis, angle):
    matrix = matrix_from_axis_angle(axis / np.linalg.norm(axis) * angle)
    vector = axis_angle_from_matrix(matrix)
    assert np.linalg.norm(vector) <= np.pi + 1e-12
    assert np.abs(matrix_from_axis_angle(vector) - matrix).max() < 1e-12


@given(vectors, angles)
def test_float32_matrices_are_taken_to_the_nearest_rotation(axis, angle):
    matrix = matrix_from_axis_angle(axis / np.linalg.norm(axis) * angle)
    again = matrix_from_axis_angle(axis_angle_from_matrix(matrix.astype(np.float32)))
    assert np.abs(again - matrix).max() < 1e-6


def test_batches_keep_their_axes():
    vectors = np.random.default_rng(0).normal(size=(2, 5, 3))
    matrices = matrix_from_axis_angle(vectors)
    assert matrices.shape == (2, 5, 3, 3)
    assert np.array_equal(matrices[1, 4], matrix_from_axis_angle(vectors[1, 4]))
    assert axis_angle_from_matrix(matrices).shape == (2, 5, 3)
    assert matrix_from_axis_angle(np.zeros((0, 3))).shape == (0, 3, 3)


@pytest.mark.parametrize("matrix", [np.diag([1.0, 1.0, -1.0]), 2 * np.eye(3), np.full((3, 3), np.nan), np.eye(2)])
def test_no_rotations_are_refused(matrix):
    with pytest.raises(InputError):
        axis_angle_from_matrix(matrix)


@given(arrays(np.float64, (2, 48), elements=st.floats(-3, 3)))
@settings(max_examples=20)
def test_mirroring_turns_the_mirrored_way(pose):
    mirrored = mirror_pose(pose)
    flip = np.diag([-1.0, 1.0, 1.0])
    turned = matrix_from_axis_angle(mirrored.reshape(2, 16, 3))
    assert np.abs(turned - flip @ matrix_from_axis_angle(pose.reshape(2, 16, 3)) @ flip).max() < 1e-12
    assert np.array_equal(mirror_pose(mirrored), pose)


def test_mirroring_keeps_the_dtype_and_refuses_odd_lengths():
    assert mirror_pose(np.ones(45, dtype=np.float32)).dtype == np.float32
    with pytest.raises(InputError):
        mirror_pose(np.ones(47))


def test_global_rotation_composes_from_the_left():
    rng = np.random.default_rng(1)
    pose, turn = rng.normal(size=(4, 48)), matrix_from_axis_angle(rng.normal(size=3))
    turned = rotate_global(pose, turn)
    expected = turn @ matrix_from_axis_angle(pose[:, :3])
    assert np.abs(matrix_from_axis_angle(turned[:, :3]) - expected).max() < 1e-12
    assert np.array_equal(turned[:, 3:], pose[:, 3:])


def test_moving_a_hand_there_and_back():
    rng = np.random.default_rng(2)
    pose, translation, root, offset = rng.normal(size=48), *rng.normal(size=(3, 3))
    turn = matrix_from_axis_angle(rng.normal(size=3))
    there, moved = move_hand(pose, translation, root, turn, offset)
    assert np.allclose(moved + root, turn @ (translation + root) + offset, atol=1e-12)
    _, back = move_hand(there, moved, root, turn.T, -turn.T @ offset)
    assert np.allclose(back, translation, atol=1e-12)


def test_torch_rotations_have_gradients_everywhere():
    rng = np.random.default_rng(3)
    points = torch.tensor(np.concatenate([np.zeros((1, 3)), 1e-5 * rng.normal(size=(2, 3)), rng.normal(size=(3, 3))]))
    assert torch.autograd.gradcheck(rotation_matrices, points.requires_grad_(True))


def test_read_only_axis_angles_are_taken():
    axis_angle = np.array([[0.1, -0.2, 0.3]])
    expected = matrix_from_axis_angle(axis_angle)
    axis_angle.flags.writeable = False
    np.testing.assert_array_equal(matrix_from_axis_angle(axis_angle), expected)
