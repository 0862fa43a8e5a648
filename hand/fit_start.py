"""Where a fit begins: a hand's pose in closed form, from the turns of its parts or from the directions of its bones.

Metres, radians, MANO's joint order unless said otherwise. Rotations act on column vectors.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.spatial.transform import Rotation

from .array_record import HandArrays
from .parts import FINGER_JOINTS, JOINTS_FROM_MANO

_PALM = [0, *(joints[0] for joints in FINGER_JOINTS)]  # of the 21 joints: those that no finger moves
_MANO_OF_JOINT = dict(enumerate(JOINTS_FROM_MANO))


def nearest_rotations(moments: np.ndarray) -> np.ndarray:
    """The rotations (..., 3, 3) R that make trace(R^T M) largest: Kabsch's, of moments M = sum of y x^T."""
    u, _, vt = np.linalg.svd(moments)
    u[..., :, 2] *= np.linalg.det(u @ vt)[..., None]
    return u @ vt


class PartTurns:
    """The pose of a mesh from how each joint's part of it is turned, by its vertices' weights."""

    def __init__(self, arrays: HandArrays) -> None:
        # Squared: what two joints share tells least about either.
        shares = arrays.weights.T**2
        shares = shares / shares.sum(axis=1, keepdims=True)
        centres = shares @ arrays.v_template
        offsets = shares[:, None] * (arrays.v_template - centres[:, None]).transpose(0, 2, 1)
        self._offsets = offsets.reshape(48, -1)  # they sum to 0: observed vertices need no centre
        self._parents = arrays.parents

    def pose(self, vertices: np.ndarray) -> np.ndarray:
        """mano_pose (B, 48) of meshes (B, 778, 3)."""
        moments = (self._offsets @ vertices).reshape(-1, 16, 3, 3).swapaxes(2, 3)
        world = nearest_rotations(moments)
        own = world.copy()
        own[:, 1:] = world[:, self._parents[1:]].swapaxes(2, 3) @ world[:, 1:]
        return _axis_angles(own)


def bone_pose(joints: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """mano_pose (B, 48) that points each bone of the hand at rest (21, 3) where `joints` (B, 21, 3) have it.

    The palm is laid onto its joints; then each finger joint makes the least turn, so that none twists about its bone.
    """
    palm, wanted = rest[_PALM], joints[:, _PALM]
    palm, wanted = palm - palm.mean(axis=0), wanted - wanted.mean(axis=1, keepdims=True)
    turns = np.tile(np.eye(3), (len(joints), 16, 1, 1))
    turns[:, 0] = nearest_rotations(wanted.swapaxes(1, 2) @ palm)
    for finger in FINGER_JOINTS:
        so_far = turns[:, 0]
        for joint, end in pairwise(finger):
            bone = np.broadcast_to(rest[end] - rest[joint], (len(joints), 3))
            target = ((joints[:, end] - joints[:, joint])[:, None] @ so_far)[:, 0]
            turns[:, _MANO_OF_JOINT[joint]] = least_turns(bone, target)
            so_far = so_far @ turns[:, _MANO_OF_JOINT[joint]]
    return _axis_angles(turns)


def least_turns(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The smallest rotations (B, 3, 3) that take directions `start` to `end`, both (B, 3) of any length."""
    axis = np.cross(start, end)
    sine = np.linalg.norm(axis, axis=1, keepdims=True)
    angle = np.arctan2(sine, (start * end).sum(axis=1, keepdims=True))
    return Rotation.from_rotvec(axis / np.maximum(sine, 1e-300) * angle).as_matrix()


def _axis_angles(turns: np.ndarray) -> np.ndarray:
    return Rotation.from_matrix(turns.reshape(-1, 3, 3)).as_rotvec().reshape(len(turns), 48)
