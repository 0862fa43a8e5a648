"""A person reaching for an object, grasping, lifting and turning it: the made-up motion of synthetic recordings.

Metres and radians, the table's frame: z up, table top at z = 0, x to the person's right, the person at negative y. One
step is one frame of a 30 Hz camera; speeds follow those measured on DexYCB (median of the wrist 8.5 mm per frame).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from ..scene.objects import catalogue, object_mesh
from .grasp import RELAXED, Grasp, find_grasp, hand_rotation
from .skeleton import Skeleton, chain, finger_rotations, pose_of

_MEAN_REACH = 0.0135  # m per frame
HOLD_AFTER_CLOSING = 3
CLOSING = 9  # frames from open to closed


@dataclass(frozen=True, eq=False)
class Recording:
    """One hand and the objects on a table over F frames, in the table's frame.

    present (F,) bool: the hand is there at all. pose (F, 48) rad: global first, hand mean included. wrist (F, 3) m.
    object_poses (F, n, 4, 4) table_from_object; `grasped` is an index into `objects`. touch is the first frame in which
    the hand holds the object (F when it never does). Values of absent frames mean nothing.
    """

    side: str
    betas: np.ndarray
    present: np.ndarray
    pose: np.ndarray
    wrist: np.ndarray
    objects: tuple[str, ...]
    object_poses: np.ndarray
    grasped: int
    touch: int

    def frames(self, start: int, count: int) -> Recording:
        """The part of `count` frames from `start` on."""
        part = slice(start, start + count)
        return Recording(
            self.side,
            self.betas,
            self.present[part],
            self.pose[part],
            self.wrist[part],
            self.objects,
            self.object_poses[part],
            self.grasped,
            self.touch - start,
        )


def smooth_step(t: np.ndarray) -> np.ndarray:
    """Minimum-jerk time course of a point-to-point movement (Flash and Hogan 1985), t in [0, 1]."""
    t = np.clip(t, 0.0, 1.0)
    return t**3 * (10.0 - 15.0 * t + 6.0 * t * t)


def resting_pose(name: str, x: float, y: float, yaw: float) -> np.ndarray:
    """Pose (4, 4) of an object standing on the table at (x, y), turned by `yaw` about the vertical."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("z", yaw).as_matrix()
    pose[:3, 3] = x, y, -object_mesh(name).vertices[:, 2].min()
    return pose


def make_recording(skeleton: Skeleton, grasped: str, length: int, others: int, rng: np.random.Generator) -> Recording:
    """`length` frames of one hand that takes `grasped`, with `others` more objects on the table.

    The hand starts far outside, is always "present" here, and goes on turning the object to the end.
    """
    thing = catalogue()[grasped]
    best: tuple[Grasp, np.ndarray] | None = None
    for _ in range(3):  # a person would also turn the object to where it can be held
        rest = resting_pose(grasped, rng.uniform(-0.07, 0.07), rng.uniform(-0.05, 0.07), rng.uniform(-np.pi, np.pi))
        grasp = find_grasp(skeleton, thing, rest, rng)
        if best is None or grasp.score > best[0].score:
            best = grasp, rest
        if best[0].contacts >= 4:
            break
    assert best is not None
    grasp, rest = best
    wrist, rotation, bends, touch = _reach(skeleton, grasp, rng)
    remaining = max(length - len(wrist), 1)
    carried = _carry(rest, remaining, rng)
    moved = carried @ np.linalg.inv(rest)
    wrist = np.concatenate([wrist, (moved[:, :3, :3] @ grasp.wrist) + moved[:, :3, 3]])[:length]
    rotation = np.concatenate([rotation, moved[:, :3, :3] @ grasp.rotation])[:length]
    bends = np.concatenate([bends, np.broadcast_to(grasp.closed_bends, (remaining, 15))])[:length]
    object_pose = np.concatenate([np.broadcast_to(rest, (len(wrist) - remaining, 4, 4)), carried])[:length]
    fingers = finger_rotations(skeleton, bends, np.broadcast_to(grasp.spreads, (len(bends), 5)))
    pose = np.concatenate([Rotation.from_matrix(rotation).as_rotvec(), pose_of(fingers)], axis=1)
    path = np.concatenate(chain(skeleton, fingers), axis=1) @ rotation.transpose(0, 2, 1) + wrist[:, None]
    names, places = place_others(grasped, object_pose, path, others, rng)
    still = np.broadcast_to(places, (len(wrist), *places.shape))
    poses = np.concatenate([object_pose[:, None], still], axis=1)
    all_names = (grasped, *names)
    order = np.argsort([catalogue()[n].ycb_id for n in all_names])
    return Recording(
        side=skeleton.side,
        betas=skeleton.betas,
        present=np.ones(len(wrist), bool),
        pose=pose,
        wrist=wrist,
        objects=tuple(all_names[i] for i in order),
        object_poses=poses[:, order],
        grasped=int(np.flatnonzero(order == 0)[0]),
        touch=touch,
    )


def _reach(
    skeleton: Skeleton, grasp: Grasp, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Wrist (n, 3), rotation (n, 3, 3), bends (n, 15) of reaching and closing, and the frame at which it holds."""
    outward = 1.0 if skeleton.side == "right" else -1.0
    start = np.array([outward * rng.uniform(0.05, 0.30), rng.uniform(-0.72, -0.62), rng.uniform(0.06, 0.22)])
    before = grasp.wrist - rng.uniform(0.09, 0.14) * grasp.approach
    before[2] = max(before[2], 0.05)
    control = np.stack([start, 0.45 * start + 0.55 * before + [0.0, 0.0, rng.uniform(0.02, 0.10)], before, grasp.wrist])
    length = np.linalg.norm(np.diff(control, axis=0), axis=1).sum()
    arrive = max(int(length / _MEAN_REACH / rng.uniform(0.85, 1.2)), 16)
    count = arrive + CLOSING // 2 + HOLD_AFTER_CLOSING + 1
    t = np.arange(count) / arrive
    s = smooth_step(t)[:, None]
    wrist = (
        (1 - s) ** 3 * control[0]
        + 3 * (1 - s) ** 2 * s * control[1]
        + 3 * (1 - s) * s**2 * control[2]
        + s**3 * control[3]
    )
    inward = -outward
    relaxed = hand_rotation(
        skeleton.side,
        np.array([0.25 * inward * rng.random(), 1.0, rng.uniform(-0.2, 0.1)]),
        np.array([inward * rng.uniform(0.1, 0.9), 0.0, -1.0]),
    )
    turn = Slerp([0.0, 1.0], Rotation.from_matrix(np.stack([relaxed, grasp.rotation])))
    rotation = turn(smooth_step(np.minimum(t * 1.2, 1.0))).as_matrix()
    opening = smooth_step(t / 0.65)[:, None]
    delay = np.repeat(rng.uniform(0.0, 2.5, 5), 3)  # fingers do not close in step
    closing = smooth_step((np.arange(count)[:, None] - (arrive - CLOSING // 2) - delay) / (CLOSING - 2.5))
    curl = RELAXED * rng.uniform(0.7, 1.2) + 0.03 * np.sin(0.19 * np.arange(count)[:, None] + rng.uniform(0, 6, 15))
    bends = (1 - opening) * curl + opening * grasp.open_bends
    bends = bends + closing * (grasp.closed_bends - bends)
    return wrist, rotation, bends, arrive + CLOSING // 2


def _carry(rest: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Poses (count, 4, 4) of the held object: lifted, then turned and moved about, minimum jerk between stops."""
    poses = np.empty((count, 4, 4))
    position, attitude = rest[:3, 3].copy(), Rotation.from_matrix(rest[:3, :3])
    home = attitude
    lifted = position + np.array([0.0, 0.0, rng.uniform(0.09, 0.17)])
    done, first = 0, True
    while done < count:
        if first:
            goal = lifted + np.append(rng.uniform(-0.06, 0.06, 2), 0.0)
            turned = Rotation.from_rotvec(rng.normal(0.0, 0.22, 3)) * home
        else:
            goal = lifted + rng.uniform([-0.11, -0.13, -0.05], [0.11, 0.10, 0.10])
            turned = Rotation.from_rotvec(rng.uniform(-1.0, 1.0, 3) * [0.75, 0.6, 1.0]) * home
        swing = 0.11 * (turned * attitude.inv()).magnitude()  # the wrist's way as the object turns
        distance = np.linalg.norm(goal - position) + swing
        steps = max(int(distance / 0.0088 / rng.uniform(0.85, 1.2)), 8)
        s = smooth_step(np.arange(1, steps + 1) / steps)
        part = slice(done, min(done + steps, count))
        n = part.stop - part.start
        poses[part, :3, 3] = (position + s[:, None] * (goal - position))[:n]
        poses[part, :3, :3] = Slerp([0.0, 1.0], Rotation.concatenate([attitude, turned]))(s).as_matrix()[:n]
        position, attitude, first = goal, turned, False
        done += steps
    drift = np.arange(count)[:, None] * rng.uniform(0.15, 0.4, 3) + rng.uniform(0, 6, 3)
    poses[:, :3, 3] += 0.0012 * np.sin(drift) * smooth_step(np.arange(count) / 12)[:, None]
    poses[:, 3] = 0.0, 0.0, 0.0, 1.0
    return poses


def place_others(
    grasped: str, carried: np.ndarray, path: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[tuple[str, ...], np.ndarray]:
    """Up to `count` other objects that stand clear of the hand's path (F, J, 3) and of the moving object (F, 4, 4)."""
    names = [str(n) for n in rng.permutation([n for n in catalogue() if n not in (grasped, "051_large_clamp")])]
    own = object_mesh(grasped).vertices[::7]
    swept = np.einsum("fij,vj->fvi", carried[::4, :3, :3], own) + carried[::4, None, :3, 3]
    near = np.concatenate([path[::2].reshape(-1, 3), swept.reshape(-1, 3)])
    near = near[(near[:, 2] < 0.33) & (np.abs(near[:, :2]).max(axis=1) < 0.6)]
    chosen: list[tuple[str, np.ndarray]] = []
    for name in names[:count]:
        thing = catalogue()[name]
        for _ in range(12):
            angle, radius = rng.uniform(-0.35, np.pi + 0.35), rng.uniform(0.17, 0.36)
            pose = resting_pose(name, radius * np.cos(angle), radius * np.sin(angle), rng.uniform(-np.pi, np.pi))
            points = near
            for other, stands in chosen:
                surface = object_mesh(other).vertices[::5] @ stands[:3, :3].T + stands[:3, 3]
                points = np.concatenate([points, surface])
            if thing.distance((points - pose[:3, 3]) @ pose[:3, :3]).min() > 0.03:
                chosen.append((name, pose))
                break
    return tuple(n for n, _ in chosen), np.array([p for _, p in chosen]).reshape(-1, 4, 4)
