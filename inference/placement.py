"""Where the hand stands before the camera: the wrist that makes root-relative joints project onto the 2D joints."""

import numpy as np
from numpy.typing import NDArray

NEAREST, FARTHEST = 0.05, 10.0  # m: a wrist outside this range is not that of a hand in view
TRIALS = 60
EXACT = 1e-6  # of the focal length: a smaller misfit is rounding
ASSUMED_FOCAL = 1.2  # of the longer side, where no intrinsics are known: a horizontal view of about 45 degrees


def wrist_from_projection(joints: NDArray, joints_2d: NDArray, intrinsics: NDArray) -> NDArray[np.float64] | None:
    """The wrist (3,) m, OpenCV camera, by linear equations; None where it would not stand before the camera.

    joints (21, 3) m relative to the wrist; joints_2d (21, 2) px; intrinsics (3, 3). From u = fx (X + x) / (Z + z) + cx
    follows fx x - (u - cx) z = (u - cx) Z - fx X, and the same for v: two equations per joint for 3 unknowns. Solved
    for many sets of four joints; the solution with the least median misfit says which joints to trust (Rousseeuw 1984).
    """
    rays = np.linalg.solve(intrinsics, np.column_stack([joints_2d, np.ones(len(joints_2d))]).T).T
    rays = rays[:, :2] / rays[:, 2:]
    one, none = np.ones(len(joints)), np.zeros(len(joints))
    system = np.stack([np.stack([one, none, -rays[:, 0]], 1), np.stack([none, one, -rays[:, 1]], 1)], 1)  # (21, 2, 3)
    wanted = rays * joints[:, 2:] - joints[:, :2]
    fours = np.random.default_rng(0).permuted(np.tile(np.arange(len(joints)), (TRIALS, 1)), axis=1)[:, :4]
    inverse = np.linalg.pinv(system[fours].reshape(TRIALS, 8, 3))
    wrists = (inverse @ wanted[fours].reshape(TRIALS, 8, 1))[..., 0]
    placed = joints + wrists[:, None]
    misfit = np.linalg.norm(placed[..., :2] / np.maximum(placed[..., 2:], NEAREST) - rays, axis=-1)
    misfit[placed[..., 2].min(1) < NEAREST] = np.inf
    median = np.median(misfit, axis=1)
    best = int(np.argmin(median))
    if not np.isfinite(median[best]):
        return None
    trusted = misfit[best] <= max(2.5 * float(median[best]), EXACT)
    wrist = np.linalg.lstsq(system[trusted].reshape(-1, 3), wanted[trusted].ravel(), rcond=None)[0]
    in_view = NEAREST < wrist[2] < FARTHEST and joints[:, 2].min() + wrist[2] > NEAREST
    return np.asarray(wrist, np.float64) if in_view else None


def assumed_intrinsics(width: int, height: int) -> NDArray[np.float64]:
    """(3, 3) px for a picture of unknown camera: the principal point in the middle, a common field of view."""
    focal = ASSUMED_FOCAL * max(width, height)
    return np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])
