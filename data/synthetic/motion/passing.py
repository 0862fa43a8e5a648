"""The person's other hand, which passes between the first one and a camera and hides it for a while.

Metres and radians, the table's frame as in `reach`. The hand comes along its own arm, stays some frames, goes back and
comes again. Which camera it passes, how far before the first hand and how it is turned is found by trying: nothing may
be touched, and an arm should be able to get there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from ..scene.objects import catalogue
from ..scene.room import HEIGHT, WIDTH, Camera
from ..scene.shot import arm_line
from .grasp import RELAXED, SPREAD, hand_rotation
from .reach import Recording, smooth_step
from .skeleton import THUMB, Skeleton, chain, finger_rotations, pose_of

_TRIES = 24
_FLESH = 0.02  # round joints, with some air
_FINGER = 0.012
_ARM = 0.045  # round the middle of an arm in its sleeve
_STRAIGHT = 0.6  # as an arm is at least, if it can: the cosine between its ends
_BEFORE = np.arange(0.06, 0.31, 0.02)  # of the first hand, on the line to the camera
_NEAREST = 0.3  # to the camera
_ASIDE = 0.27  # where the hand waits, away from before the first one
_STEP = 0.016  # per frame
_STAY, _REST = (6, 16), (8, 30)  # frames before the first hand, and aside
_SMOOTHED = 7  # frames over which the first hand's way is smoothed
_SOME = slice(None, None, 3)  # frames that are looked at to judge a try


@dataclass(frozen=True, eq=False)
class _Passing:
    """One try: rotation (F, 3, 3) and wrist (F, 3) m of the hand, and how good it is (more is better)."""

    rotation: np.ndarray
    wrist: np.ndarray
    score: float


def make_passing(
    skeleton: Skeleton, first: Recording, joints: np.ndarray, cameras: Sequence[Camera], rng: np.random.Generator
) -> Recording:
    """The other hand beside a recording of the first one, over the same frames and with the same objects.

    skeleton: of the other hand; joints: (F, 21, 3) m of the first. The hand is always present, and is before the first
    one, seen from one of the cameras, in part of the frames.
    """
    count = len(joints)
    way = _way(first, joints)
    fingers = finger_rotations(skeleton, *_bends(count, rng))
    inside = np.concatenate(chain(skeleton, fingers), axis=1)  # about the wrist, in the hand's own frame
    aside, across = _passes(count, rng), _drift(count, rng)
    best: _Passing | None = None
    for _ in range(_TRIES):
        tried = _try(skeleton, first, joints, way, inside, aside, across, cameras, rng)
        if best is None or tried.score > best.score:
            best = tried
    assert best is not None
    return replace(
        first,
        side=skeleton.side,
        present=np.ones(count, bool),
        pose=np.concatenate([Rotation.from_matrix(best.rotation).as_rotvec(), pose_of(fingers)], axis=1),
        wrist=best.wrist,
        touch=count,
    )


def _way(first: Recording, joints: np.ndarray) -> np.ndarray:
    """The first hand's middle (F, 3), smoothed; where it is absent that of the nearest frame, or the object's place."""
    if not first.present.any():
        return first.object_poses[:, first.grasped, :3, 3]
    there = np.flatnonzero(first.present)
    middle = np.stack([np.interp(np.arange(len(joints)), there, axis) for axis in joints[there].mean(axis=1).T], axis=1)
    padded = np.pad(middle, ((_SMOOTHED // 2, _SMOOTHED // 2), (0, 0)), mode="edge")
    return np.stack([padded[i : i + len(middle)] for i in range(_SMOOTHED)]).mean(axis=0)


def _bends(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Bends (count, 15) and spreads (count, 5) of a hand at ease, more or less open, never quite still."""
    sway = 0.04 * np.sin(0.19 * np.arange(count)[:, None] + rng.uniform(0, 6, 15))
    spreads = SPREAD * rng.uniform(0.6, 1.8)
    spreads[THUMB] = np.radians(rng.uniform(0.0, 20.0))
    return RELAXED * rng.uniform(0.1, 1.3) + sway, np.tile(spreads, (count, 1))


def _passes(count: int, rng: np.random.Generator) -> np.ndarray:
    """Distances (count,) from before the first hand: aside, there, aside and so on, minimum jerk between them.

    The middle of one stay lies in the recording's middle third. Short recordings have quicker hands, so that they begin
    or end with the hand aside.
    """
    parts, stays, done = [], [], 0
    while not stays or done < stays[0] + 2 * count:
        stop = rng.uniform(-0.03, 0.05)
        steps = min(int((_ASIDE - stop) / _STEP / rng.uniform(0.85, 1.2)), max(count // 3, 1))
        coming = _ASIDE + smooth_step(np.arange(steps) / steps) * (stop - _ASIDE)
        rest = int(rng.integers(*_REST)) + (0 if stays else count)
        stay = min(int(rng.integers(*_STAY)), max(count // 3, 1))
        stays.append(done + rest + steps + stay // 2)
        parts += [np.full(rest, _ASIDE), coming, np.full(stay, stop), coming[::-1]]
        done += rest + 2 * steps + stay
    start = stays[0] - int(count * rng.uniform(1 / 3, 2 / 3))
    return np.concatenate(parts)[start : start + count]


def _drift(count: int, rng: np.random.Generator) -> np.ndarray:
    """Distances (count,) across the hand's way: another one in every recording, and slowly changing."""
    return rng.uniform(-0.03, 0.03) + 0.012 * np.sin(np.arange(count) * rng.uniform(0.08, 0.2) + rng.uniform(0, 6))


def _try(
    skeleton: Skeleton,
    first: Recording,
    joints: np.ndarray,
    way: np.ndarray,
    inside: np.ndarray,
    aside: np.ndarray,
    across: np.ndarray,
    cameras: Sequence[Camera],
    rng: np.random.Generator,
) -> _Passing:
    """The hand before one camera, as near to the first one as it gets without touching anything."""
    eyes = np.stack([-c.camera_from_table[:3, :3].T @ c.camera_from_table[:3, 3] for c in cameras])
    away = eyes[int(rng.integers(len(eyes)))] - way
    reach = np.linalg.norm(away, axis=1)
    away /= reach[:, None]
    inward = -1.0 if skeleton.side == "right" else 1.0  # a left hand points to the right
    palm = -away[len(away) // 2] + rng.normal(0.0, 0.25, 3)
    turn, pitch = rng.uniform(-0.1, 1.5), rng.uniform(-0.7, 0.5)
    shown = hand_rotation(skeleton.side, np.array([inward * np.cos(turn), np.sin(turn), pitch]), palm)
    ends = Rotation.concatenate([Rotation.from_rotvec(rng.normal(0.0, 0.1, 3)) for _ in range(2)])
    rotation = Slerp([0.0, 1.0], ends)(np.linspace(0.0, 1.0, len(way))).as_matrix() @ shown
    forward, beside = inward * shown[:, 0], shown[:, 2]
    knuckle = skeleton.joints[4] - skeleton.joints[0]
    placed = inside @ rotation.transpose(0, 2, 1)
    path = way - rotation @ knuckle - aside[:, None] * forward + across[:, None] * beside
    low = placed[..., 2].min(axis=1)
    farthest, clear, wrist = _BEFORE[0], -np.inf, path
    room = max(reach.min() - _NEAREST, _BEFORE[1])
    for before in _BEFORE[room > _BEFORE]:
        moved = path + before * away
        moved[:, 2] += np.maximum(0.0, _FLESH - low - moved[:, 2])
        found = _clearance(first, joints, placed + moved[:, None])
        if found > clear:
            farthest, clear, wrist = before, found, moved
        if found >= _FLESH:
            break
    back = -inward * rotation[:, :, 0]
    score = -40.0 * max(0.0, _FLESH - clear) - 4.0 * farthest - 1.0 * max(0.0, inward * away[len(away) // 2, 0])
    arms = np.stack([arm_line(*of) for of in zip(wrist[_SOME], back[_SOME], strict=True)])
    score -= 8.0 * _behind_arm(first, joints, arms, eyes) + 40.0 * max(0.0, _ARM - arms[..., 2].min())
    score -= 2.0 * max(0.0, _STRAIGHT - _straightness(arms))
    score += 3.0 * min(0.5, _most_hidden(first, joints, placed + wrist[:, None], cameras, eyes))
    return _Passing(rotation, wrist, float(score))


def _clearance(first: Recording, joints: np.ndarray, points: np.ndarray) -> float:
    """Least distance of points (F, J, 3) from all objects, and from the first hand's joints less its own flesh."""
    least = np.inf
    for i, name in enumerate(first.objects):
        poses = first.object_poses[_SOME, i]
        local = (points[_SOME] - poses[:, None, :3, 3]) @ poses[:, :3, :3]
        least = min(least, float(catalogue()[name].distance(local).min()))
    there = first.present[_SOME]
    apart = points[_SOME][there][:, :, None] - joints[_SOME][there][:, None]
    return min(least, float(np.linalg.norm(apart, axis=-1).min(initial=np.inf)) - _FLESH)


def _straightness(arms: np.ndarray) -> float:
    """How well the arms (f, 13, 3) end in the direction in which they begin: the mean cosine."""
    first, last = arms[:, 1] - arms[:, 0], arms[:, -1] - arms[:, -2]
    return float(((first * last).sum(axis=1) / np.linalg.norm(first, axis=1) / np.linalg.norm(last, axis=1)).mean())


def _most_hidden(
    first: Recording, joints: np.ndarray, points: np.ndarray, cameras: Sequence[Camera], eyes: np.ndarray
) -> float:
    """The largest share of the first hand's joints that one photo shows behind points (F, J, 3) of the other hand."""
    there = first.present[_SOME]
    if not there.any():
        return 0.0
    shown = joints[_SOME][there]
    found = []
    for camera, eye in zip(cameras, eyes, strict=True):
        pixels, depth = camera.project(shown.reshape(-1, 3))
        inside = (depth > 0) & (pixels >= 0).all(axis=1) & (pixels < [WIDTH, HEIGHT]).all(axis=1)
        sight, from_eye = (shown - eye)[:, :, None], (points[_SOME][there] - eye)[:, None]
        along = (sight * from_eye).sum(axis=-1) / (sight**2).sum(axis=-1)
        apart = np.linalg.norm(from_eye - along[..., None] * sight, axis=-1)
        behind = ((apart < _FINGER) & (along > 0.0) & (along < 1.0)).any(axis=-1)
        found.append((behind & inside.reshape(behind.shape)).mean(axis=1).max())
    return float(max(found))


def _behind_arm(first: Recording, joints: np.ndarray, arms: np.ndarray, eyes: np.ndarray) -> float:
    """Share of the first hand's joints that the arm (f, 13, 3) hides from the cameras: no label would tell why."""
    there = first.present[_SOME]
    if not there.any():
        return 0.0
    sight = joints[_SOME][there][:, None] - eyes[:, None]  # (f, C, 21, 3)
    from_eye = arms[there][:, None, None] - eyes[:, None, None]  # (f, C, 1, 13, 3)
    along = (from_eye * sight[..., None, :]).sum(axis=-1) / (sight**2).sum(axis=-1)[..., None]
    apart = np.linalg.norm(from_eye - np.clip(along, 0.0, 1.0)[..., None] * sight[..., None, :], axis=-1)
    return float(((apart < _ARM) & (along < 1.0)).any(axis=-1).mean())
