"""Rotations of a hand: axis-angle vectors, matrices, mirroring, and moving a whole hand to another frame.

Axis-angle vectors are in radians, the angle being the vector's length. Everything here is numpy in float64 and batched
over leading axes. A pose is `(..., 48)`: global axis-angle first, then 15 finger joints in MANO's order.
"""

import numpy as np
from scipy.spatial.transform import Rotation

from ..errors import InputError

_MIRROR = np.array([1.0, -1.0, -1.0])


def matrix_from_axis_angle(axis_angle: np.ndarray) -> np.ndarray:
    """Axis-angle `(..., 3)` rad to rotation matrices `(..., 3, 3)` float64, acting on column vectors."""
    axis_angle = _float64(axis_angle, "axis_angle")
    # A copy: scipy refuses read-only arrays, which is what memory-mapped labels are.
    return Rotation.from_rotvec(np.array(axis_angle.reshape(-1, 3))).as_matrix().reshape(*axis_angle.shape[:-1], 3, 3)


def axis_angle_from_matrix(matrix: np.ndarray) -> np.ndarray:
    """Rotation matrices `(..., 3, 3)` to axis-angle `(..., 3)` rad float64, angles in [0, pi].

    Goes through quaternions, so that it is exact near 0 and near pi (where the axis' sign is arbitrary). Matrices read
    from float32 files are moved to the nearest rotation first. Raises InputError where a matrix is no rotation.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.shape[-2:] != (3, 3):
        raise InputError(f"matrix: expected (..., 3, 3), found {matrix.shape}")
    flat = matrix.reshape(-1, 3, 3)
    error = np.abs(flat @ flat.transpose(0, 2, 1) - np.eye(3)).max(initial=0.0)
    if not error < 1e-3 or np.any(np.linalg.det(flat) < 0):
        raise InputError(f"matrix: expected rotations, found ones off by {error:.2g} or mirrored; check the input")
    return Rotation.from_matrix(flat).as_rotvec().reshape(*matrix.shape[:-2], 3)


def mirror_pose(pose: np.ndarray) -> np.ndarray:
    """The pose `(..., 3k)` of the mirrored hand (x -> -x): (a, b, c) -> (a, -b, -c), every joint and the global part.

    Its own inverse; keeps the dtype. The betas stay as they are (docs/hand.md).
    """
    pose = np.asarray(pose)
    if pose.shape[-1] % 3:
        raise InputError(f"pose: expected (..., 3k), found {pose.shape}")
    joints = pose.reshape(*pose.shape[:-1], -1, 3)
    return (joints * _MIRROR.astype(pose.dtype)).reshape(pose.shape)


def rotate_global(pose: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """The pose `(..., 48)` with its global part turned by `rotation` `(3, 3)` or `(..., 3, 3)` from the left."""
    pose = np.array(pose, dtype=np.float64)
    pose[..., :3] = axis_angle_from_matrix(np.asarray(rotation) @ matrix_from_axis_angle(pose[..., :3]))
    return pose


def move_hand(
    pose: np.ndarray, translation: np.ndarray, root: np.ndarray, rotation: np.ndarray, offset: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pose and translation of the hand after every point x became `rotation @ x + offset`.

    The global rotation turns about the rest wrist `root` = J0(shape), so t' = R (t + J0) + offset - J0 (docs/hand.md).
    pose `(..., 48)` rad; translation, root, offset `(..., 3)` m; rotation `(3, 3)` or `(..., 3, 3)`.
    """
    root = np.asarray(root, dtype=np.float64)
    wrist = np.asarray(translation, dtype=np.float64) + root
    return rotate_global(pose, rotation), (np.asarray(rotation) @ wrist[..., None])[..., 0] + offset - root


def _float64(array: np.ndarray, name: str) -> np.ndarray:
    array = np.asarray(array, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] != 3:
        raise InputError(f"{name}: expected (..., 3), found {array.shape}")
    return array
