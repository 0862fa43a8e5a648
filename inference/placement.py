"""Where the hand stands before the camera: the wrist that makes root-relative joints project onto the 2D joints."""

import numpy as np
from numpy.typing import NDArray

NEAREST, FARTHEST = 0.05, 10.0  # m: outside this a fit says nothing about a hand
ASSUMED_FOCAL = 1.2  # of the longer side, where no intrinsics are known: a horizontal view of about 45 degrees


def wrist_from_projection(joints: NDArray, joints_2d: NDArray, intrinsics: NDArray) -> NDArray[np.float64] | None:
    """The wrist (3,) m, OpenCV camera, by linear least squares; None where it would not stand before the camera.

    joints (21, 3) m relative to the wrist; joints_2d (21, 2) px; intrinsics (3, 3). From u = fx (X + x) / (Z + z) + cx
    follows fx x - (u - cx) z = (u - cx) Z - fx X, and the same for v: 42 equations for 3 unknowns. Fitted twice, the
    second time without the quarter of the joints that fit worst.
    """
    rays = np.linalg.solve(intrinsics, np.column_stack([joints_2d, np.ones(len(joints_2d))]).T).T
    rays = rays[:, :2] / rays[:, 2:]
    kept = np.arange(len(joints))
    wrist = np.zeros(3)
    for last in (False, True):
        x, y, z = joints[kept].T
        u, v = rays[kept].T
        one, none = np.ones_like(u), np.zeros_like(u)
        system = np.concatenate([np.stack([one, none, -u], 1), np.stack([none, one, -v], 1)])
        wrist = np.linalg.lstsq(system, np.concatenate([u * z - x, v * z - y]), rcond=None)[0]
        placed = joints + wrist
        if not (NEAREST < wrist[2] < FARTHEST and placed[:, 2].min() > NEAREST):
            return None
        if not last:
            misfit = np.linalg.norm(placed[:, :2] / placed[:, 2:] - rays, axis=1)
            kept = np.argsort(misfit, kind="stable")[: int(np.ceil(0.75 * len(joints)))]
    return wrist


def assumed_intrinsics(width: int, height: int) -> NDArray[np.float64]:
    """(3, 3) px for a picture of unknown camera: the principal point in the middle, a common field of view."""
    focal = ASSUMED_FOCAL * max(width, height)
    return np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])
