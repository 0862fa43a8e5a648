"""Where the hand stands before the camera: the wrist that makes root-relative joints project onto the 2D joints."""

import numpy as np
from numpy.typing import NDArray

NEAREST, FARTHEST = 0.05, 10.0  # m: outside this a fit says nothing about a hand
ROUNDS = 30
EXACT = 1e-4  # m: what counts as no misfit when weights are made
ASSUMED_FOCAL = 1.2  # of the longer side, where no intrinsics are known: a horizontal view of about 45 degrees


def wrist_from_projection(joints: NDArray, joints_2d: NDArray, intrinsics: NDArray) -> NDArray[np.float64] | None:
    """The wrist (3,) m, OpenCV camera, by linear equations; None where it would not stand before the camera.

    joints (21, 3) m relative to the wrist; joints_2d (21, 2) px; intrinsics (3, 3). From u = fx (X + x) / (Z + z) + cx
    follows fx x - (u - cx) z = (u - cx) Z - fx X, and the same for v: 42 equations for 3 unknowns, solved again and
    again with weights that turn squares into absolute distances, so that a few misplaced joints do not matter.
    """
    rays = np.linalg.solve(intrinsics, np.column_stack([joints_2d, np.ones(len(joints_2d))]).T).T
    u, v = (rays[:, :2] / rays[:, 2:]).T
    x, y, z = joints.T
    one, none = np.ones_like(u), np.zeros_like(u)
    system = np.stack([np.stack([one, none, -u], 1), np.stack([none, one, -v], 1)])
    wanted = np.stack([u * z - x, v * z - y])
    weights = np.ones_like(u)
    wrist = np.zeros(3)
    for _ in range(ROUNDS):
        root = np.sqrt(weights)
        wrist = np.linalg.lstsq((system * root[:, None]).reshape(-1, 3), (wanted * root).ravel(), rcond=None)[0]
        misfit = np.linalg.norm(system @ wrist - wanted, axis=0)
        weights = 1.0 / np.maximum(misfit, EXACT)
    if not (NEAREST < wrist[2] < FARTHEST and z.min() + wrist[2] > NEAREST):
        return None
    return wrist


def assumed_intrinsics(width: int, height: int) -> NDArray[np.float64]:
    """(3, 3) px for a picture of unknown camera: the principal point in the middle, a common field of view."""
    focal = ASSUMED_FOCAL * max(width, height)
    return np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])
