"""The camera: pinhole projection, intrinsics, and the one place where OpenGL axes become OpenCV axes.

Metres and pixels. OpenCV camera axes: x right, y down, z forward. OpenGL (HO3D): x right, y up, z backward. Pixel
coordinates are continuous: pixel i covers [i, i + 1).
"""

import numpy as np

from ..errors import InputError
from .rotations import axis_angle_from_matrix, matrix_from_axis_angle

OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0])


def intrinsics_matrix(fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
    """The `(3, 3)` float64 pinhole matrix of focal lengths and principal point, all in pixels."""
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def project(points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Project points `(..., 3)` m, OpenCV camera, to continuous pixels `(..., 2)` float64.

    intrinsics: one `(3, 3)`; or one per frame, `(N, 3, 3)` for points `(N, V, 3)`; or one per point, with the points'
    own leading axes. Nothing is clipped: points at or behind the camera (z <= 0) give numbers without meaning.
    Raises InputError for other shapes.
    """
    points = np.asarray(points, dtype=np.float64)
    intrinsics = np.asarray(intrinsics, dtype=np.float64)
    missing_axes = points.ndim - 1 - (intrinsics.ndim - 2)
    shapes_fit = points.shape[-1:] == (3,) and intrinsics.shape[-2:] == (3, 3)
    if not shapes_fit or (intrinsics.ndim > 2 and missing_axes not in (0, 1)):
        raise InputError(
            f"project: expected points (..., 3) and intrinsics (3, 3) or (..., 3, 3), "
            f"found {points.shape} and {intrinsics.shape}"
        )
    if intrinsics.ndim > 2 and missing_axes == 1:
        intrinsics = intrinsics[..., None, :, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        rays = points[..., :2] / points[..., 2:]
    # Spelled out instead of a matrix product, so that a point projects to the same bits alone and in a batch.
    # Element [1, 0] is not zero where a picture with unequal focal lengths was rotated.
    u = intrinsics[..., 0, 0] * rays[..., 0] + intrinsics[..., 0, 1] * rays[..., 1] + intrinsics[..., 0, 2]
    v = intrinsics[..., 1, 0] * rays[..., 0] + intrinsics[..., 1, 1] * rays[..., 1] + intrinsics[..., 1, 2]
    return np.stack([u, v], axis=-1)


def opencv_from_opengl(points: np.ndarray) -> np.ndarray:
    """Points or directions `(..., 3)` from OpenGL to OpenCV axes, and back: the function is its own inverse."""
    points = np.asarray(points)
    return points * np.array([1, -1, -1], dtype=points.dtype)


def opencv_pose_from_opengl(
    global_orient: np.ndarray, translation: np.ndarray, root: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """HO3D's global rotation and hand translation (OpenGL) in the OpenCV camera frame; its own inverse.

    The rotation acts about the rest wrist `root` = J0(shape), so R_cv = C R and t_cv = C (t + J0) - J0 (docs/hand.md).
    global_orient `(..., 3)` rad; translation, root `(..., 3)` m. Finger rotations do not change.
    """
    root = np.asarray(root, dtype=np.float64)
    orient = axis_angle_from_matrix(OPENCV_FROM_OPENGL @ matrix_from_axis_angle(global_orient))
    return orient, opencv_from_opengl(np.asarray(translation, dtype=np.float64) + root) - root
