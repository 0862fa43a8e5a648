"""What a fit holds to be likely beside what it sees: mild pulls on shape and finger turns, and joint limits if asked.

Joints are believed to be off by `noise` (m, standard deviation of a coordinate), shapes to be about 1 and turns about
as wide as `HINGE` and `EASE` say; the fit is the likeliest hand. Where joints say nothing of a turn, the prior decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .array_record import HandArrays
from .fit_points import PARAMETERS, SHAPE
from .parts import FINGER_JOINTS, JOINTS, JOINTS_FROM_MANO, VERTICES, tip_vertices

TWIST, BEND, SPREAD = 0, 1, 2
"""A finger joint's axes: along its bone; the one that closes the hand when it is turned by; the third."""
HINGE, EASE = 0.17, 0.8
"""rad, round the hand's mean pose: what a hinge cannot do (every twist, the spread of second and third joints), and all
other turns of finger joints."""
_LIMIT = 5e-3  # m per rad beyond a joint's limits: as much as if every point lay so far off
_D = np.pi / 180
# Twist, bend and spread (rad) of the first, second and third joint of index to little finger, from the flat hand:
# the orthopaedists' ranges of motion (AAOS, 1965), and 15 to 20 degrees for MANO's rest pose and axes.
_FINGER_LIMITS = _D * np.array(
    [[(-20, 20), (-50, 110), (-35, 35)], [(-15, 15), (-20, 130), (-15, 15)], [(-15, 15), (-30, 105), (-15, 15)]]
)
# The thumb's axes differ from hand to hand: a ball for its first joint, less twist for the others.
_THUMB_LIMITS = _D * np.array([[(-60, 60)] * 3, [(-30, 30), (-90, 90), (-90, 90)], [(-30, 30), (-110, 110), (-90, 90)]])


@dataclass(frozen=True, eq=False)
class Prior:
    """A quadratic form (61, 61) m2, per point, round a centre (61,), and limits (15, 3, 2) rad of finger joints.

    `axes` (15, 3, 3): twist, bend, spread of joints 1 to 15 in MANO's order, as rows; no limits where they are None.
    """

    normal: np.ndarray
    centre: np.ndarray
    axes: np.ndarray
    limits: np.ndarray | None

    def added(self, equations: np.ndarray, parameters: np.ndarray, points: int) -> np.ndarray:
        """Normal equations (B, 62, 62) of that many points with the prior's share, at parameters (B, 61)."""
        pulled = ((parameters - self.centre)[:, None] @ self.normal)[:, 0]  # one by one: bits know no batch
        equations = equations.copy()
        equations[:, :-1, :-1] += points * self.normal
        equations[:, -1, :-1] += points * pulled
        equations[:, -1, -1] += points * (pulled * (parameters - self.centre)).sum(axis=1)
        if self.limits is not None:
            self._add_limits(equations, parameters, points * _LIMIT**2)
        equations[:, :-1, -1] = equations[:, -1, :-1]
        return equations

    def _add_limits(self, equations: np.ndarray, parameters: np.ndarray, weight: float) -> None:
        assert self.limits is not None
        turns = (self.axes @ parameters[:, 3:48].reshape(-1, 15, 3, 1))[..., 0]
        beyond = turns - np.clip(turns, self.limits[..., 0], self.limits[..., 1])  # (B, 15, 3)
        equations[:, -1, 3:48] += weight * (beyond[..., None, :] @ self.axes).reshape(-1, 45)
        equations[:, -1, -1] += weight * (beyond**2).sum(axis=(1, 2))
        blocks = self.axes.swapaxes(1, 2) @ ((beyond != 0)[..., None] * self.axes)
        for joint in range(15):
            own = slice(3 + 3 * joint, 6 + 3 * joint)
            equations[:, own, own] += weight * blocks[:, joint]


def for_vertices(arrays: HandArrays, noise: float, *, limits: bool) -> Prior:
    """The prior of a fit to meshes, which leave nothing open: it holds shapes that hardly move a vertex near zero."""
    normal = np.zeros((PARAMETERS, PARAMETERS))
    normal[SHAPE, SHAPE] = noise**2 / VERTICES * np.eye(10)
    return Prior(normal, np.zeros(PARAMETERS), *_axes_and_limits(arrays, limits))


def for_joints(arrays: HandArrays, noise: float, *, limits: bool) -> Prior:
    """The prior of a fit to joints alone, which are off by about `noise` m."""
    axes, bounds = _axes_and_limits(arrays, limits)
    normal, centre = np.zeros((PARAMETERS, PARAMETERS)), np.zeros(PARAMETERS)
    centre[3:48] = arrays.hands_mean
    normal[SHAPE, SHAPE] = np.eye(10)
    for joint in range(15):
        width = np.full(3, EASE)
        width[TWIST] = HINGE
        if joint < 12 and joint % 3:  # the thumb's hinges lie elsewhere
            width[SPREAD] = HINGE
        own = slice(3 + 3 * joint, 6 + 3 * joint)
        normal[own, own] = axes[joint].T / width**2 @ axes[joint]
    return Prior(normal * noise**2 / JOINTS, centre, axes, bounds)


def _axes_and_limits(arrays: HandArrays, limits: bool) -> tuple[np.ndarray, np.ndarray | None]:
    bounds = np.concatenate([np.tile(_FINGER_LIMITS, (4, 1, 1)), _THUMB_LIMITS])
    return finger_axes(arrays), bounds if limits else None


def finger_axes(arrays: HandArrays) -> np.ndarray:
    """Twist, bend and spread axes (15, 3, 3) of joints 1 to 15: unit rows, rest axes (the palm faces -y)."""
    tips = arrays.v_template[list(tip_vertices("manopth", arrays.side))]
    rest = np.concatenate([arrays.joint_regressor @ arrays.v_template, tips])[list(JOINTS_FROM_MANO)]
    axes = np.empty((15, 3, 3))
    for finger in FINGER_JOINTS:
        for joint, end in pairwise(finger):
            bone = rest[end] - rest[joint]
            bone /= np.linalg.norm(bone)
            bend = np.cross([0.0, 1.0, 0.0], bone)
            bend /= np.linalg.norm(bend)
            axes[JOINTS_FROM_MANO[joint] - 1] = bone, bend, np.cross(bone, bend)
    return axes
