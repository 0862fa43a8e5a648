"""The stand-in hand as a skeleton that bends: joint angles to rotations and joint positions, without a mesh.

Metres and radians, MANO's joint order (0 wrist; 1-3 index, 4-6 middle, 7-9 little, 10-12 ring, 13-15 thumb), MANO's
rest axes. A bend turns a joint about the stand-in's own hinge (positive closes the hand), a spread turns a finger
sideways in the palm's plane; the thumb's spread is its opposition, a turn about the forearm's axis to before the palm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from ....hand.array_record import HandArrays
from ....hand.parts import JOINTS_FROM_MANO, tip_vertices
from ....hand.standin.surface import FINGER_ORDER, fingers

PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
THUMB = 4
"""Row of the thumb among the fingers in MANO's order."""
TIP_ROWS = (1, 2, 4, 3, 0)
"""Tip vertex sets run thumb to little; these rows bring them into MANO's finger order."""


@dataclass(frozen=True, eq=False)
class Skeleton:
    """A subject's hand at rest.

    joints (16, 3) m, tips (5, 3) m in MANO's finger order, hinges (15, 3) unit, spreads (5, 3) unit, phalanx radii
    (5, 3) m, betas (10,).
    """

    side: str
    joints: np.ndarray
    tips: np.ndarray
    hinges: np.ndarray
    spreads: np.ndarray
    radii: np.ndarray
    betas: np.ndarray


def skeleton_of(arrays: HandArrays, betas: np.ndarray) -> Skeleton:
    """The skeleton of a hand with this shape; hinges are those of the stand-in, mirrored for a left hand."""
    shaped = arrays.v_template + arrays.shapedirs @ betas
    tips = shaped[list(tip_vertices("manopth", arrays.side))][np.array(TIP_ROWS)]
    flip = np.array([1.0, -1.0, -1.0]) if arrays.side == "left" else np.ones(3)  # axes are axial vectors
    hinges = np.concatenate([fingers()[name].lateral for name in FINGER_ORDER]) * flip
    spreads = np.stack([fingers()[name].dorsal[0] for name in FINGER_ORDER]) * flip
    spreads[THUMB] = (1.0, 0.0, 0.0)
    radii = np.array([(9.0, 7.8, 6.6), (9.2, 8.0, 6.8), (7.6, 6.8, 5.8), (8.6, 7.6, 6.4), (11.0, 9.6, 7.6)]) / 1000
    return Skeleton(arrays.side, arrays.joint_regressor @ shaped, tips, hinges, spreads, radii, np.asarray(betas))


def finger_rotations(skeleton: Skeleton, bends: np.ndarray, spreads: np.ndarray) -> np.ndarray:
    """Rotations (..., 15, 3, 3) of the finger joints from bends (..., 15) and spreads (..., 5), rad.

    A finger's first joint bends first and is spread after, so that spreading a bent finger still moves it sideways.
    """
    bends, spreads = np.asarray(bends, float), np.asarray(spreads, float)
    shape = bends.shape[:-1]
    matrices = Rotation.from_rotvec((bends[..., None] * skeleton.hinges).reshape(-1, 3)).as_matrix()
    matrices = matrices.reshape(*shape, 15, 3, 3)
    side = Rotation.from_rotvec((spreads[..., None] * skeleton.spreads).reshape(-1, 3)).as_matrix()
    matrices[..., 0::3, :, :] = side.reshape(*shape, 5, 3, 3) @ matrices[..., 0::3, :, :]
    return matrices


def pose_of(rotations: np.ndarray) -> np.ndarray:
    """Finger rotations (..., 15, 3, 3) as axis-angle (..., 45) rad (the full pose: hand mean included)."""
    return Rotation.from_matrix(rotations.reshape(-1, 3, 3)).as_rotvec().reshape(*rotations.shape[:-3], 45)


def chain(skeleton: Skeleton, rotations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joints (..., 16, 3) and tips (..., 5, 3), m, with the wrist at the origin and no global rotation.

    rotations: (..., 15, 3, 3) of the finger joints. Forward kinematics as MANO does it, without the skin.
    """
    shape = rotations.shape[:-3]
    joints, turned = np.zeros((*shape, 16, 3)), np.zeros((*shape, 16, 3, 3))
    turned[..., 0, :, :] = np.eye(3)
    for j in range(1, 16):
        parent = PARENTS[j]
        bone = skeleton.joints[j] - skeleton.joints[parent]
        joints[..., j, :] = joints[..., parent, :] + turned[..., parent, :, :] @ bone
        turned[..., j, :, :] = turned[..., parent, :, :] @ rotations[..., j - 1, :, :]
    last = skeleton.tips - skeleton.joints[3::3]
    tips = joints[..., 3::3, :] + (turned[..., 3::3, :, :] @ last[..., None])[..., 0]
    return joints, tips


def joints_21(joints: np.ndarray, tips: np.ndarray) -> np.ndarray:
    """Joints (..., 16, 3) and tips (..., 5, 3) of MANO's order as the project's 21 joints, thumb .. little."""
    in_set_order = tips[..., [TIP_ROWS.index(i) for i in range(5)], :]
    return np.concatenate([joints, in_set_order], axis=-2)[..., list(JOINTS_FROM_MANO), :]
