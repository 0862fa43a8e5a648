"""Where the hand stands before the camera: the wrist that makes root-relative joints project onto the 2D joints."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEAREST, FARTHEST = 0.05, 10.0  # m: a wrist outside this range is not that of a hand in view
TRIALS = 60
EXACT = 1e-6  # of the focal length: a smaller misfit is rounding
SURE = 4.0
"""Standard errors in the spread: a network's joints err together, not each by itself (docs/predict.md measures it)."""


@dataclass(frozen=True, eq=False)
class Placement:
    """wrist (3,) m, OpenCV camera; spread (3,) m, how far off it may be either way; misfit px.

    The spread: the farthest that the wrist moves as the focal length goes through its range, and `SURE` standard errors
    of the solution, by how the trusted joints miss. misfit: how far the placed joints fall from the 2D joints, median.
    """

    wrist: NDArray[np.float64]
    spread: NDArray[np.float64]
    misfit: float


def place_wrist(joints: NDArray, joints_2d: NDArray, intrinsics: NDArray, focal_share: float = 0.0) -> Placement | None:
    """The wrist by linear equations; None where it would not stand before the camera.

    joints (21, 3) m relative to the wrist; joints_2d (21, 2) px; intrinsics (3, 3), whose focal length may be off by
    `focal_share` of itself. From u = fx (X + x) / (Z + z) + cx follows fx x - (u - cx) z = (u - cx) Z - fx X, and the
    same for v: two equations per joint for 3 unknowns. Solved for many sets of four joints; the solution with the least
    median misfit says which joints to trust (Rousseeuw 1984).
    """
    rays = np.linalg.solve(intrinsics, np.column_stack([joints_2d, np.ones(len(joints_2d))]).T).T
    rays = rays[:, :2] / rays[:, 2:]
    system, wanted = _equations(joints, rays)
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
    wrist, error = _solve(joints[trusted], rays[trusted])
    if not (NEAREST < wrist[2] < FARTHEST and joints[:, 2].min() + wrist[2] > NEAREST):
        return None
    moved = np.zeros(3)
    for factor in (1 - focal_share, 1 + focal_share) if focal_share else ():
        moved = np.maximum(moved, np.abs(_solve(joints[trusted], rays[trusted] / factor)[0] - wrist))
    return Placement(wrist, moved + SURE * error, _misfit(joints + wrist, joints_2d, intrinsics))


def _equations(joints: NDArray, rays: NDArray) -> tuple[NDArray, NDArray]:
    """Of every joint two equations for the wrist: (N, 2, 3) and their right sides (N, 2); rays (N, 2) at depth 1."""
    one, none = np.ones(len(joints)), np.zeros(len(joints))
    system = np.stack([np.stack([one, none, -rays[:, 0]], 1), np.stack([none, one, -rays[:, 1]], 1)], 1)
    return system, rays * joints[:, 2:] - joints[:, :2]


def _solve(joints: NDArray, rays: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The wrist (3,) m by least squares over all these joints, and its standard error (3,) m."""
    system, wanted = (each.reshape(2 * len(joints), -1) for each in _equations(joints, rays))
    inverse = np.linalg.pinv(system)
    wrist = inverse @ wanted
    rest = system @ wrist - wanted
    variance = float((rest**2).sum()) / max(len(system) - 3, 1)
    return wrist[:, 0], np.sqrt(variance * (inverse**2).sum(axis=1))


def _misfit(placed: NDArray, joints_2d: NDArray, intrinsics: NDArray) -> float:
    pixels = placed @ intrinsics.T
    return float(np.median(np.linalg.norm(pixels[:, :2] / pixels[:, 2:] - joints_2d, axis=1)))
