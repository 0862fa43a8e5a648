"""Replay of recorded motion on the stand-in hand: wrist, global rotation and object as they were, fingers by bones.

Recorded motion is in the master camera's frame (`recorded`; OpenCV, metres) and becomes a recording in the table's,
like made-up ones. The recorded finger numbers are coefficients of a basis that is not public, so the fingers are
turned until every bone points where the recorded joints say. See docs/synthetic.md.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from ....hand.array_record import HandArrays
from .reach import Recording, place_others
from .recorded import Motion
from .skeleton import TIP_ROWS, Skeleton, joints_21, pose_of, skeleton_of


def fit_betas(motion: Motion, subject: str, arrays: HandArrays) -> np.ndarray:
    """The shape (10,) for which the hand's bones come nearest to the subject's, which are constant over all frames."""
    rows = [
        start + int(np.argmax(motion.present[start:end]))
        for name, (start, end) in motion.spans.items()
        if name.startswith(subject)
    ]
    joints = motion.joints[[row for row in rows if motion.present[row]]]
    lengths = np.median(np.linalg.norm(_bones(joints), axis=-1), axis=0)

    def residual(betas: np.ndarray) -> np.ndarray:
        skeleton = skeleton_of(arrays, betas)
        own = np.linalg.norm(_bones(joints_21(skeleton.joints, skeleton.tips)), axis=-1)
        return np.concatenate([(own - lengths) * 1000.0, 0.5 * betas])

    return np.round(np.clip(least_squares(residual, np.zeros(10)).x, -3.0, 3.0), 6)


def _bones(joints: np.ndarray) -> np.ndarray:
    """The bones (..., 20, 3) m of joints (..., 21, 3): finger by finger, wrist to first joint, then on to the tip."""
    fingers = joints[..., 1:, :].reshape(*joints.shape[:-2], 5, 4, 3)
    wrist = np.broadcast_to(joints[..., None, :1, :], (*fingers.shape[:-2], 1, 3))
    return np.diff(np.concatenate([wrist, fingers], axis=-2), axis=-2).reshape(*joints.shape[:-2], 20, 3)


def retarget_fingers(skeleton: Skeleton, joints: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Finger rotations (F, 15, 3, 3), MANO's order, that point every bone where `joints` (F, 21, 3) have it.

    rotation: (F, 3, 3) the hand's global rotation. A direction leaves the turn about the bone open: a first joint is
    turned so that its hinge lies across the plane in which the finger bends, as far as it bends at all.
    """
    local = joints @ rotation  # rows times R = R^T applied to each
    bones = _bones(local).reshape(-1, 5, 4, 3)
    bones = bones / np.linalg.norm(bones, axis=-1, keepdims=True)
    turned = np.empty((len(joints), 15, 3, 3))
    for row in range(5):
        first, target = 3 * row, bones[:, TIP_ROWS[row], 1:]
        chain = np.stack([*skeleton.joints[first + 1 : first + 4], skeleton.tips[row]])
        rest = np.diff(chain, axis=0)
        rest /= np.linalg.norm(rest, axis=1, keepdims=True)
        hinge = skeleton.hinges[first]
        swing = _least_turn(np.broadcast_to(rest[0], target[:, 0].shape), target[:, 0])
        natural = swing @ hinge
        bend = np.cross(target[:, 0], target[:, 1]) + np.cross(target[:, 1], target[:, 2])
        bend *= np.sign((bend * natural).sum(axis=1, keepdims=True))
        across = bend + 0.3 * natural
        turned[:, first] = _frames(target[:, 0], across) @ _frames(rest[:1], hinge[None])[0].T
        so_far = turned[:, first]
        for k in (1, 2):
            local_target = (so_far.transpose(0, 2, 1) @ target[:, k, :, None])[..., 0]
            turned[:, first + k] = _least_turn(np.broadcast_to(rest[k], local_target.shape), local_target)
            so_far = so_far @ turned[:, first + k]
    return turned


def _frames(along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Right-handed frames (F, 3, 3), columns: `along`, `across` made perpendicular, their cross product."""
    a = along / np.linalg.norm(along, axis=1, keepdims=True)
    b = across - (across * a).sum(axis=1, keepdims=True) * a
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    return np.stack([a, b, np.cross(a, b)], axis=-1)


def _least_turn(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The smallest rotations (F, 3, 3) that take unit vectors `start` to `end`, both (F, 3)."""
    axis = np.cross(start, end)
    sine = np.linalg.norm(axis, axis=1, keepdims=True)
    angle = np.arctan2(sine, (start * end).sum(axis=1, keepdims=True))
    return Rotation.from_rotvec(axis / np.maximum(sine, 1e-12) * angle).as_matrix()


def replay(
    motion: Motion,
    name: str,
    skeleton: Skeleton,
    world_from_table: np.ndarray,
    frames: int,
    step: int,
    others: int,
    rng: np.random.Generator,
) -> Recording:
    """Up to `frames` frames of a recorded sequence, every `step`-th, about the moment when the object first moves."""
    start, end = motion.spans[name]
    rows = np.arange(start, end, step)
    inverse = np.linalg.inv(world_from_table)
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(motion.object_rotation[rows]).as_matrix()
    poses[:, :3, 3] = motion.object_translation[rows]
    moved = np.linalg.norm(poses[:, :3, 3] - poses[0, :3, 3], axis=1) > 0.01
    touch = int(moved.argmax()) if moved.any() else len(rows)
    turn = inverse[:3, :3] @ Rotation.from_rotvec(motion.rotation[rows]).as_matrix()
    joints = motion.joints[rows] @ inverse[:3, :3].T + inverse[:3, 3]
    fingers = retarget_fingers(skeleton, joints, turn)
    present = motion.present[rows]
    names, places = place_others(motion.object_name[start], inverse @ poses, joints[present], others, rng)
    still = np.broadcast_to(places, (len(rows), *places.shape))
    whole = Recording(
        side=skeleton.side,
        betas=skeleton.betas,
        present=present,
        pose=np.concatenate([Rotation.from_matrix(turn).as_rotvec(), pose_of(fingers)], axis=1),
        wrist=joints[:, 0],
        objects=(motion.object_name[start], *names),
        object_poses=np.concatenate([(inverse @ poses)[:, None], still], axis=1),
        grasped=0,
        touch=touch,
    )
    begin = int(np.clip(touch - 0.4 * frames, 0, max(len(rows) - frames, 0)))
    return whole.frames(begin, min(frames, len(rows)))
