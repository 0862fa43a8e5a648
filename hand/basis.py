"""A hand's finger basis and rest wrist: finger poses from PCA coefficients, and J0, without posing a mesh.

Metres, radians. NumPy only, so that readers in worker processes stay light; `mano.py` poses meshes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..errors import InputError
from .array_record import HandArrays
from .arrays import load_arrays


@dataclass(frozen=True, eq=False)
class HandBasis:
    """One side's finger basis, mean (45,) and components (45, 45) rad, and its rest wrist J0 as a function of shape."""

    mean: np.ndarray
    components: np.ndarray
    wrist_template: np.ndarray  # (3,) m
    wrist_directions: np.ndarray  # (3, 10) m

    @classmethod
    def of(cls, arrays: HandArrays) -> HandBasis:
        """The basis of a hand's arrays."""
        wrist = arrays.joint_regressor[0]
        return cls(
            mean=arrays.hands_mean,
            components=arrays.hands_components,
            wrist_template=wrist @ arrays.v_template,
            wrist_directions=np.einsum("v,vck->ck", wrist, arrays.shapedirs),
        )

    def finger_pose(self, coefficients: np.ndarray) -> np.ndarray:
        """PCA coefficients (..., 45) to finger axis-angles (..., 45) rad, hand mean added (docs/hand.md)."""
        return self.mean + np.asarray(coefficients, np.float64) @ self.components

    def coefficients(self, finger_pose: np.ndarray) -> np.ndarray:
        """The PCA coefficients (..., 45) of finger axis-angles (..., 45) rad: the inverse of `finger_pose`."""
        offset = np.asarray(finger_pose, np.float64) - self.mean
        return np.linalg.solve(self.components.T, offset[..., None])[..., 0]

    def rest_wrist(self, shape: np.ndarray) -> np.ndarray:
        """J0 (3,) m of the betas (10,): wrist = translation + J0."""
        return self.wrist_template + self.wrist_directions @ shape


@lru_cache(maxsize=4)
def hand_basis(mano: str | None, side: str) -> HandBasis:
    """The basis of a side from a MANO folder or "standin"; loaded once per process. InputError when `mano` is None."""
    if mano is None:
        raise InputError("frames need the hand's basis: list the sequences with mano=FOLDER (or 'standin')")
    return HandBasis.of(load_arrays(mano, side))
