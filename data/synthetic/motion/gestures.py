"""A hand that shows gestures while moving to and fro behind a stack of objects: no object explains its pose.

Metres and radians, the table's frame as in `reach`. Every finger is bent on its own, and a gesture is held while the
stack hides one finger after another from the cameras across the table: the pose of a hidden finger follows neither from
an object nor from the other fingers, only from frames in which it was visible.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from ..choice import GRASPED
from ..scene.objects import catalogue, object_mesh
from .grasp import hand_rotation
from .reach import Recording, resting_pose, smooth_step
from .skeleton import THUMB, Skeleton, chain, finger_rotations, pose_of

FAMILIES = 3
"""A stack's objects are of one family: every third of the objects that recordings grasp."""
_AZIMUTH, _ELEVATION = np.radians(-24.0), np.radians(38.0)  # of the first camera, see `scene.room`
_STACKED = 3
_NEAREST = 0.09  # behind the stack's axis
_FLESH = 0.025  # round joints, with some air
_HEIGHT = (0.10, 0.13)  # of the knuckles
_WAY = 0.16  # m to both sides of the stack
_STEP = 0.014  # per frame
_HELD, _CHANGE = (30, 60), 7  # frames of a gesture, and from one to the next
_KINDS = np.radians(  # straight, bent, closed: least and most of a finger's three bends
    [[(-8, 10), (0, 14), (0, 8)], [(0, 60), (15, 80), (8, 45)], [(68, 82), (80, 98), (38, 55)]]
)
_THUMB_BENDS, _THUMB_OPPOSED = np.radians([(-8, 22), (0, 40), (0, 55)]), np.radians((0.0, 22.0))


def make_gestures(skeleton: Skeleton, lowest: str, length: int, rng: np.random.Generator) -> Recording:
    """`length` frames of one hand behind a stack that stands on `lowest`, which counts as the grasped object.

    The hand is always present; `touch` is `length`: it never holds anything.
    """
    names, poses = _stack(lowest, rng)
    side, up, away = _view(rng)
    rotation = _attitude(skeleton.side, side, up, away, length, rng)
    fingers = finger_rotations(skeleton, *_gestures(length, rng))
    joints = np.concatenate(chain(skeleton, fingers), axis=1) @ rotation.transpose(0, 2, 1)
    knuckle = skeleton.joints[4] - skeleton.joints[0]
    path = np.append(poses[0][:2, 3], rng.uniform(*_HEIGHT)) + _sway(length, rng)[:, None] * side
    path += (0.025 * _sway(length, rng) / _WAY)[:, None] * up
    wrist = path - rotation @ knuckle
    back = np.array([-away[0], -away[1], 0.0]) / np.hypot(away[0], away[1])
    wrist[:, 2] += max(0.0, _FLESH - (joints[..., 2] + wrist[:, 2:]).min())
    wrist += _clear_of(names, poses, joints + wrist[:, None], back) * back
    order = np.argsort([catalogue()[name].ycb_id for name in names])
    return Recording(
        side=skeleton.side,
        betas=skeleton.betas,
        present=np.ones(length, bool),
        pose=np.concatenate([Rotation.from_matrix(rotation).as_rotvec(), pose_of(fingers)], axis=1),
        wrist=wrist,
        objects=tuple(names[i] for i in order),
        object_poses=np.broadcast_to(np.stack([poses[i] for i in order]), (length, len(names), 4, 4)),
        grasped=int(np.flatnonzero(order == 0)[0]),
        touch=length,
    )


def _stack(lowest: str, rng: np.random.Generator) -> tuple[list[str], list[np.ndarray]]:
    """Names and poses (4, 4) of objects one on the other, each turned at random about the vertical.

    All are of one family (`FAMILIES`): selecting recordings by their lowest object can then select by whole stacks.
    """
    family = GRASPED[GRASPED.index(lowest) % FAMILIES :: FAMILIES]
    tall = [n for n in family if n != lowest and np.ptp(object_mesh(n).vertices[:, 2]) > 0.075]
    names = [lowest, *(str(n) for n in rng.permutation(tall)[: _STACKED - 1])]
    poses, top = [], 0.0
    for name in names:
        x, y = rng.normal([0.0, 0.06], 0.008)
        pose = resting_pose(name, x, y, rng.uniform(-np.pi, np.pi))
        pose[2, 3] += top
        top += np.ptp(object_mesh(name).vertices[:, 2])
        poses.append(pose)
    return names, poses


def _clear_of(names: list[str], poses: list[np.ndarray], joints: np.ndarray, back: np.ndarray) -> float:
    """How far back (3,) all joints (F, J, 3) must go for the flesh round them to clear the stack, m."""
    points = joints.reshape(-1, 3)
    for distance in np.arange(_NEAREST, 0.4, 0.005):
        moved = points + distance * back
        clearances = (
            catalogue()[name].distance((moved - pose[:3, 3]) @ pose[:3, :3]).min()
            for name, pose in zip(names, poses, strict=True)
        )
        if min(clearances) > _FLESH:
            return float(distance)
    raise RuntimeError(f"no place for the hand behind the stack of {', '.join(names)}")


def _view(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors (3,) right (level), up, and from the hand to a camera across the table; right-handed."""
    a, e = _AZIMUTH + rng.normal(0.0, 0.08), _ELEVATION + rng.normal(0.0, 0.06)
    away = np.array([np.sin(a) * np.cos(e), np.cos(a) * np.cos(e), np.sin(e)])
    side = np.array([np.cos(a), -np.sin(a), 0.0])
    return side, np.cross(side, away), away


def _sway(count: int, rng: np.random.Generator) -> np.ndarray:
    """Distances (count,) from the middle, minimum jerk between stops on both sides of it."""
    many = max(count, 2)  # more stops than can be reached
    sides = rng.choice([-1.0, 1.0]) * np.resize([1.0, -1.0], many)
    stops = sides * rng.uniform(0.2, 1.0, many) * _WAY
    steps = np.maximum(np.abs(np.diff(stops)) / _STEP, 6).astype(int)
    parts = [a + smooth_step(np.arange(n) / n) * (b - a) for a, b, n in zip(stops[:-1], stops[1:], steps, strict=True)]
    whole = np.concatenate([*parts, stops[-1:]])
    start = int(rng.integers(0, len(parts[0]) + 1))
    return np.resize(whole[start:], count)


def _attitude(
    hand: str, side: np.ndarray, up: np.ndarray, away: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Rotations (count, 3, 3): the palm faces the camera and the fingers point inward, both roughly."""
    inward = -1.0 if hand == "right" else 1.0
    roll = rng.normal(0.2, 0.35)
    shown = hand_rotation(hand, np.cos(roll) * inward * side + np.sin(roll) * up, away)
    lean = Rotation.from_rotvec(rng.normal(0.0, 0.2, 3))
    ends = Rotation.concatenate([Rotation.from_rotvec(rng.normal(0.0, 0.12, 3)) * lean for _ in range(2)])
    return Slerp([0.0, 1.0], ends)(np.linspace(0.0, 1.0, count)).as_matrix() @ shown


def _gestures(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Bends (count, 15) and spreads (count, 5): one gesture after the other, each held for a second or two."""
    bends, spreads = _gesture(rng)
    all_bends, all_spreads = np.tile(bends, (count, 1)), np.tile(spreads, (count, 1))
    at = int(rng.integers(*_HELD)) - int(rng.integers(0, _HELD[0]))
    while at < count:
        next_bends, next_spreads = _gesture(rng)
        s = smooth_step((np.arange(count - at) + 1) / _CHANGE)[:, None]
        all_bends[at:] += s * (next_bends - bends)
        all_spreads[at:] += s * (next_spreads - spreads)
        bends, spreads = next_bends, next_spreads
        at += int(rng.integers(*_HELD))
    return all_bends, all_spreads


def _gesture(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Bends (15,) and spreads (5,): each finger straight, bent or closed, independent of the others."""
    bends = np.empty((5, 3))
    kinds = rng.choice(len(_KINDS), THUMB, p=(0.4, 0.25, 0.35))
    for finger, kind in enumerate(kinds):
        bends[finger] = rng.uniform(_KINDS[kind, :, 0], _KINDS[kind, :, 1])
    bends[THUMB] = rng.uniform(_THUMB_BENDS[:, 0], _THUMB_BENDS[:, 1])
    spreads = np.radians([4.0, 0.0, -8.0, -4.0, 0.0]) + rng.normal(0.0, 0.04, 5) * np.append(kinds == 0, 1)
    spreads[THUMB] = rng.uniform(*_THUMB_OPPOSED)
    return bends.ravel(), spreads
