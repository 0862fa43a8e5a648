"""Rotations of a hand: axis-angle vectors, matrices, mirroring, and moving a whole hand to another frame.

Axis-angle vectors are in radians, the angle being the vector's length. Everything here is numpy in float64 and batched
over leading axes. A pose is `(..., 48)`: global axis-angle first, then 15 finger joints in MANO's order.
"""

import numpy as np

from ..errors import InputError
from ..jit import njit, readonly

_MIRROR = np.array([1.0, -1.0, -1.0])


def matrix_from_axis_angle(axis_angle: np.ndarray) -> np.ndarray:
    """Axis-angle `(..., 3)` rad to rotation matrices `(..., 3, 3)` float64, acting on column vectors."""
    axis_angle = _float64(axis_angle, "axis_angle")
    matrices = np.empty((*axis_angle.shape[:-1], 3, 3))
    _fill_matrices(np.ascontiguousarray(axis_angle).reshape(-1, 3), matrices.reshape(-1, 3, 3))
    return matrices


@njit(f"void({readonly('float64', 2)}, float64[:, :, ::1])", error_model="numpy")
def _fill_matrices(vectors, matrices):
    """Through quaternions, operation by operation as scipy's Rotation: its bits, in a thirtieth of its time."""
    for n in range(len(vectors)):
        a, b, c = vectors[n, 0], vectors[n, 1], vectors[n, 2]
        angle = np.sqrt(a * a + b * b + c * c)
        squared = angle * angle
        if angle <= 1e-3:
            scale = 0.5 - squared / 48.0 + squared * squared / 3840.0
        else:
            scale = np.sin(angle / 2.0) / angle
        x, y, z, w = scale * a, scale * b, scale * c, np.cos(angle / 2.0)
        xx, yy, zz, ww = x * x, y * y, z * z, w * w
        matrix = matrices[n]
        matrix[0, 0], matrix[1, 1], matrix[2, 2] = xx - yy - zz + ww, -xx + yy - zz + ww, -xx - yy + zz + ww
        matrix[1, 0], matrix[0, 1] = 2.0 * (x * y + z * w), 2.0 * (x * y - z * w)
        matrix[0, 2], matrix[2, 0] = 2.0 * (x * z + y * w), 2.0 * (x * z - y * w)
        matrix[2, 1], matrix[1, 2] = 2.0 * (y * z + x * w), 2.0 * (y * z - x * w)


def axis_angle_from_matrix(matrix: np.ndarray) -> np.ndarray:
    """Rotation matrices `(..., 3, 3)` to axis-angle `(..., 3)` rad float64, angles in [0, pi].

    Goes through quaternions, so that it is exact near 0 and near pi (where the axis' sign is arbitrary). Matrices read
    from float32 files are moved to the nearest rotation first. Raises InputError where a matrix is no rotation.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.shape[-2:] != (3, 3):
        raise InputError(f"matrix: expected (..., 3, 3), found {matrix.shape}")
    flat, vectors = np.ascontiguousarray(matrix).reshape(-1, 3, 3), np.empty(matrix.shape[:-1])
    if _fill_axis_angles(flat, vectors.reshape(-1, 3)):
        return vectors
    error = np.abs(flat @ flat.transpose(0, 2, 1) - np.eye(3)).max(initial=0.0)
    if not error < 1e-3 or np.any(np.linalg.det(flat) < 0):
        raise InputError(f"matrix: expected rotations, found ones off by {error:.2g} or mirrored; check the input")
    # Here, because it takes long to import and workers that label never come here.
    from scipy.spatial.transform import Rotation

    return Rotation.from_matrix(flat).as_rotvec().reshape(*matrix.shape[:-2], 3)


@njit(f"boolean({readonly('float64', 3)}, float64[:, ::1])", error_model="numpy")
def _fill_axis_angles(matrices, vectors):
    """As scipy's Rotation, to the bit, in a hundredth of its time; False where it would take one for less than exact.

    It moves matrices to the nearest rotation whose rows are off from right angles by 1e-12.
    """
    for n in range(len(matrices)):
        m = matrices[n]
        for i in range(3):
            for k in range(i, 3):
                off = m[i, 0] * m[k, 0] + m[i, 1] * m[k, 1] + m[i, 2] * m[k, 2] - (1.0 if i == k else 0.0)
                if not abs(off) <= (1e-6 if i == k else 2e-13):
                    return False
        across = m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1], m[1, 2] * m[2, 0] - m[1, 0] * m[2, 2]
        if not m[0, 0] * across[0] + m[0, 1] * across[1] + m[0, 2] * (m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0]) > 0.5:
            return False
        trace = m[0, 0] + m[1, 1] + m[2, 2]
        if trace > m[0, 0] and trace > m[1, 1] and trace > m[2, 2]:
            x, y, z, w = m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], 1.0 + trace
        elif m[0, 0] >= m[1, 1] and m[0, 0] >= m[2, 2]:
            x, y, z = 1.0 - trace + 2.0 * m[0, 0], m[1, 0] + m[0, 1], m[2, 0] + m[0, 2]
            w = m[2, 1] - m[1, 2]
        elif m[1, 1] >= m[2, 2]:
            x, y, z = m[0, 1] + m[1, 0], 1.0 - trace + 2.0 * m[1, 1], m[2, 1] + m[1, 2]
            w = m[0, 2] - m[2, 0]
        else:
            x, y, z = m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], 1.0 - trace + 2.0 * m[2, 2]
            w = m[1, 0] - m[0, 1]
        norm = np.sqrt(x * x + y * y + z * z + w * w)
        x, y, z, w = x / norm, y / norm, z / norm, w / norm
        if w < 0.0 or (w == 0.0 and (x < 0.0 or (x == 0.0 and (y < 0.0 or (y == 0.0 and z < 0.0))))):
            x, y, z, w = -x, -y, -z, -w
        angle = 2.0 * np.arctan2(np.sqrt(x * x + y * y + z * z), w)
        squared = angle * angle
        if angle <= 1e-3:
            scale = 2.0 + squared / 12.0 + 7.0 * squared * squared / 2880.0
        else:
            scale = angle / np.sin(angle / 2.0)
        vectors[n, 0], vectors[n, 1], vectors[n, 2] = scale * x, scale * y, scale * z
    return True


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
