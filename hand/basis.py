"""What readers need of the hand: finger poses from PCA coefficients and the rest wrist J0, without posing anything.

Metres, radians. NumPy only, so that readers in worker processes stay light; `hand/mano.py` poses meshes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..errors import InputError
from .arrays import load_arrays


@dataclass(frozen=True, eq=False)
class HandBasis:
    """One side's finger basis, mean (45,) and components (45, 45) rad, and its rest wrist J0 as a function of shape."""

    mean: np.ndarray
    components: np.ndarray
    wrist_template: np.ndarray  # (3,) m
    wrist_directions: np.ndarray  # (3, 10) m

    def finger_pose(self, coefficients: np.ndarray) -> np.ndarray:
        """45 PCA coefficients -> full axis-angle (45,) with the mean (docs/hand.md)."""
        return self.mean + coefficients @ self.components

    def rest_wrist(self, shape: np.ndarray) -> np.ndarray:
        """J0 (3,) m of the betas (10,): wrist = translation + J0."""
        return self.wrist_template + self.wrist_directions @ shape


@lru_cache(maxsize=4)
def hand_basis(mano: str | None, side: str) -> HandBasis:
    """The basis of a side from a MANO folder or "standin"; loaded once per process. InputError when `mano` is None."""
    if mano is None:
        raise InputError("frames need the hand's basis: list the sequences with mano=FOLDER (or 'standin')")
    arrays = load_arrays(mano, side)
    wrist = arrays.joint_regressor[0]
    return HandBasis(
        mean=np.asarray(arrays.hands_mean, np.float64),
        components=np.asarray(arrays.hands_components, np.float64),
        wrist_template=wrist @ arrays.v_template,
        wrist_directions=np.einsum("v,vck->ck", wrist, arrays.shapedirs),
    )
