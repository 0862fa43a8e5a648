"""What a network says of one hand in one picture.

Metres in the OpenCV camera frame, relative to the wrist, in the hand's own side; 2D is pixels of the picture.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..hand.fitting import FittedHands
from ..hand.parts import FINGER_JOINTS, FINGERS


@dataclass(frozen=True)
class HandResult:
    """One hand in one picture.

    vertices (778, 3), joints (21, 3) m relative to the wrist (canonical orientation when `oriented` is False);
    joints_2d (21, 2) px; occluded (6,) probability that thumb .. little and the whole hand are hidden, None from a
    single-frame network; box (4,) x0, y0, x1, y1 px, the square that the network saw, and where it came from;
    joints_seen (21,) probability that each joint is seen, None from a network without a head for it.
    root (3,) m, the wrist in the camera frame, None without a camera or where no place before it fits; root_spread
    (3,) m, how far off it may be (`placement.Placement`); root_from, where the camera comes from (`cameras.Camera`),
    None where it is assumed.
    mano_pose (48,) rad, mano_shape (10,) and mano_wrist (3,) m, relative to the wrist as the mesh is: the hand model
    fitted to the mesh, vertices = LBS - J0 + mano_wrist, and mano_error, the mean distance in m; None without a model.
    misfit: how far the placed joints fall from the 2D joints, median, as a share of the box's side; None where no place
    fits, or without orientation. doubts: what speaks against the hand, in the words of `reliability.doubts_of`.
    """

    vertices: NDArray[np.float64]
    joints: NDArray[np.float64]
    joints_2d: NDArray[np.float64]
    occluded: NDArray[np.float64] | None
    root: NDArray[np.float64] | None
    box: NDArray[np.float64]
    box_from: str
    side: str
    oriented: bool
    joints_seen: NDArray[np.float64] | None = None
    mano_pose: NDArray[np.float64] | None = None
    mano_shape: NDArray[np.float64] | None = None
    mano_wrist: NDArray[np.float64] | None = None
    mano_error: float | None = None
    root_from: str | None = None
    root_spread: NDArray[np.float64] | None = None
    misfit: float | None = None
    doubts: tuple[str, ...] = ()

    @property
    def reliable(self) -> bool:
        """Nothing speaks against it."""
        return not self.doubts

    @property
    def fingers_hidden(self) -> NDArray[np.float64] | None:
        """(5,) probability that thumb .. little are hidden, or the mean of their joints' where only these are known."""
        if self.occluded is not None:
            return self.occluded[: len(FINGERS)]
        return None if self.joints_seen is None else 1 - self.joints_seen[np.array(FINGER_JOINTS)].mean(1)


def with_mano(result: HandResult, fitted: FittedHands, row: int = 0) -> HandResult:
    """The result with the parameters of its fitted hand, which is this row of `fitted`."""
    return replace(
        result,
        mano_pose=fitted.mano_pose[row],
        mano_shape=fitted.mano_shape[row],
        mano_wrist=fitted.wrist[row],
        mano_error=float(fitted.error[row]),
    )
