"""How a hand grasps an object: its placement, and how far every finger bends before it touches.

Metres and radians, the table's frame (z up, table top at z = 0, the person sits at negative y). No physics: many
placements are tried, the palm slides until it touches, every phalanx bends until it touches (GraspIt's auto-grasp), and
the placement with the best hold and the least awkward arm wins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..scene.objects import YcbObject
from .skeleton import THUMB, Skeleton, chain, finger_rotations

Distance = Callable[[np.ndarray], np.ndarray]

OPEN = np.radians([12.0, 14.0, 8.0] * 4 + [2.0, 4.0, 4.0])
"""Bends of a hand about to take something round from the side."""
OPEN_ABOVE = np.radians([38.0, 30.0, 18.0] * 4 + [2.0, 8.0, 6.0])
"""Bends of a hand about to take something flat from above: fingertips point down."""
RELAXED = np.radians([22.0, 30.0, 16.0, 26.0, 34.0, 18.0, 34.0, 38.0, 20.0, 30.0, 36.0, 18.0, 8.0, 12.0, 10.0])
"""Bends of a hand at rest, curling more towards the little finger."""
CLOSED = np.radians([78.0, 95.0, 55.0] * 4 + [38.0, 45.0, 55.0])
"""As far as a finger goes when nothing stops it."""
SPREAD = np.radians([5.0, 0.0, -9.0, -4.0, 0.0])
_INDENT = 0.0015  # soft fingertips: contact means this deep, m


@dataclass(frozen=True, eq=False)
class Grasp:
    """A hand on an object.

    wrist (3,) m and rotation (3, 3) of the hand; `approach` (3,) unit, the direction it comes from; bends (15,) before
    and after closing; spreads (5,); how many fingers touch.
    """

    wrist: np.ndarray
    rotation: np.ndarray
    approach: np.ndarray
    open_bends: np.ndarray
    closed_bends: np.ndarray
    spreads: np.ndarray
    contacts: int
    score: float


def hand_rotation(side: str, fingers: np.ndarray, palm: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) after which MANO's rest hand points its fingers along `fingers` and faces `palm`."""
    palm = palm / np.linalg.norm(palm)
    fingers = fingers - (fingers @ palm) * palm
    fingers /= np.linalg.norm(fingers)
    sign = -1.0 if side == "right" else 1.0
    return np.stack([sign * fingers, -palm, np.cross(sign * fingers, -palm)], axis=1)


def phalanx_points(skeleton: Skeleton, bends: np.ndarray, spreads: np.ndarray) -> np.ndarray:
    """Points (..., 5, 3, 4, 3) m along every phalanx, in the hand's frame with the wrist at the origin."""
    joints, tips = chain(skeleton, finger_rotations(skeleton, bends, np.broadcast_to(spreads, (*bends.shape[:-1], 5))))
    starts = joints[..., 1:, :].reshape(*joints.shape[:-2], 5, 3, 3)
    ends = np.concatenate([starts[..., 1:, :], tips[..., None, :]], axis=-2)
    along = np.array([0.15, 0.42, 0.69, 0.92])
    return starts[..., None, :] + along[:, None] * (ends - starts)[..., None, :]


def _palm_points(skeleton: Skeleton) -> np.ndarray:
    """Points (N, 3) m in the palm's flesh, hand's frame; each is the middle of a ball of `_PALM_RADIUS`."""
    wrist, knuckles = skeleton.joints[0], skeleton.joints[[1, 4, 10, 7]]
    along = np.linspace(0.05, 0.98, 6)[:, None, None]
    return (along * (knuckles - wrist)).reshape(-1, 3)


_PALM_RADIUS = 0.0125


def close_fingers(
    skeleton: Skeleton, bends: np.ndarray, spreads: np.ndarray, distance: Distance, steps: int = 20
) -> np.ndarray:
    """Bend every finger from `bends` (15,) until it touches, in so many steps: bends (15,) rad.

    distance: signed distance of points in the hand's frame, m. A phalanx that touches stops the joints before it; those
    after it go on.
    """
    current, moving = bends.copy(), np.ones((5, 3), bool)
    touched = np.zeros(5, bool)
    for _ in range(3):
        goal = np.where(moving.ravel(), np.maximum(CLOSED, current), current)
        path = current + np.linspace(0.0, 1.0, steps)[:, None] * (goal - current)
        points = phalanx_points(skeleton, path, spreads)
        clearance = distance(points).min(axis=-1) - skeleton.radii + _INDENT  # (K, 5, 3)
        can_move = np.cumsum(moving, axis=1) > 0  # only phalanges after a moving joint can be stopped
        hit = (clearance < 0) & can_move
        first = np.where(hit.any(axis=0), hit.argmax(axis=0), steps)  # (5, 3)
        stop = first.min(axis=1)
        touched |= stop < steps
        at = np.clip(stop - 1, 0, steps - 1)
        current = path.reshape(steps, 5, 3)[at, np.arange(5)].ravel()
        reached = np.where(stop < steps, first.argmin(axis=1), 2)
        moving &= np.arange(3) > reached[:, None]
    free = np.repeat(~touched, 3)  # what nothing stopped does not end as a fist
    return np.where(free, bends + 0.6 * (current - bends), current)


def _place(
    rotation: np.ndarray,
    approach: np.ndarray,
    target: np.ndarray,
    grip_point: np.ndarray,
    points: np.ndarray,
    radii: np.ndarray,
    scene: Distance,
) -> np.ndarray | None:
    """Slide the open hand along `approach` until it touches; the wrist (3,), or None when it never gets near.

    Sphere tracing: the clearance itself says how far the hand may go without missing a touch.
    """
    turned = points @ rotation.T - rotation @ grip_point + target
    back = 0.30
    for _ in range(24):
        clearance = float((scene(turned - back * approach) - radii).min())
        if clearance < 0.001 or back < -0.08:
            break
        back -= clearance
    return target - rotation @ grip_point - back * approach if clearance >= 0.0 and back < 0.25 else None


def find_grasp(
    skeleton: Skeleton, thing: YcbObject, pose: np.ndarray, rng: np.random.Generator, tries: int = 40
) -> Grasp:
    """The best of many random grasps of an object standing at `pose` (4, 4) on the table.

    Deterministic from `rng`. Some grasp is always returned; `contacts` tells how well it holds.
    """
    inverse, middle = pose[:3, :3].T, pose[:3, 3]

    def on_object(points: np.ndarray) -> np.ndarray:
        return thing.distance((points - middle) @ inverse.T)

    def scene(points: np.ndarray) -> np.ndarray:
        return np.minimum(on_object(points), points[..., 2])

    best: Grasp | None = None
    for attempt in range(6 * tries):
        grasp = _try(skeleton, thing, pose, on_object, scene, rng)
        if grasp is not None and (best is None or grasp.score > best.score):
            best = grasp
        if best is not None and attempt >= tries - 1:
            break
    if best is None:
        raise RuntimeError(f"no grasp found for {thing.name}: its shape leaves no room for a hand")
    return best


def _directions(side: str, grip: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Where the palm faces and where the fingers point, both (3,), as an arm from negative y can have them."""
    inward = -1.0 if side == "right" else 1.0  # the palm of a right hand faces left
    if grip == "side":
        turn, pitch = rng.uniform(-0.5, 0.75), rng.uniform(-0.45, 0.1)
        palm = np.array([inward * np.cos(turn), np.sin(turn), pitch])
        fingers = np.array([-inward * np.sin(turn), np.cos(turn), rng.uniform(-0.35, 0.15)])
    else:
        turn = inward * rng.uniform(-0.5, 0.9)
        palm = np.array([inward * rng.uniform(0.0, 0.45), rng.uniform(0.0, 0.4), -1.0])
        fingers = np.array([np.sin(turn), np.cos(turn), 0.0])
    return palm, fingers


def _try(
    skeleton: Skeleton,
    thing: YcbObject,
    pose: np.ndarray,
    on_object: Distance,
    scene: Distance,
    rng: np.random.Generator,
) -> Grasp | None:
    palm, fingers = _directions(skeleton.side, thing.grip, rng)
    rotation = hand_rotation(skeleton.side, fingers, palm)
    above = thing.grip == "top"
    bends = (OPEN_ABOVE if above else OPEN) * rng.uniform(0.15, 1.1) + rng.normal(0.0, 0.04, 15)
    spreads = SPREAD + rng.normal(0.0, 0.03, 5)
    # Opposition is a turn about +x in the right hand's and in the left hand's axes alike.
    spreads[THUMB] = np.radians(rng.uniform(35.0, 65.0) if not above else rng.uniform(30.0, 55.0))
    phalanges = phalanx_points(skeleton, bends, spreads)
    points = np.concatenate([phalanges.reshape(-1, 3), _palm_points(skeleton)])
    radii = np.concatenate([np.repeat(skeleton.radii.ravel(), 4), np.full(24, _PALM_RADIUS)])
    knuckle = skeleton.joints[4] - skeleton.joints[0]
    if above:
        grip_point = 0.55 * phalanges[1, 2, -1] + 0.45 * phalanges[THUMB, 2, -1]
        target = pose[:3, 3] + np.append(rng.normal(0.0, 0.008, 2), 0.0)
    else:
        grip_point = 0.85 * knuckle
        extent = pose[2, 3]
        target = pose[:3, 3] + np.array([0.0, 0.0, extent * rng.uniform(-0.1, 0.45)])
    approach = palm / np.linalg.norm(palm)
    wrist = _place(rotation, approach, target, grip_point, points, radii, scene)
    if wrist is None:
        return None
    closed = close_fingers(skeleton, bends, spreads, lambda p: scene(p @ rotation.T + wrist))
    held = phalanx_points(skeleton, closed, spreads)
    gap = (on_object(held @ rotation.T + wrist).min(axis=-1) - skeleton.radii).min(axis=-1)
    holds = gap < 0.003
    opposed = holds[THUMB] and holds[:THUMB].any()
    score = 0.7 * holds.sum() + 2.0 * opposed + 1.2 * fingers[1] / np.linalg.norm(fingers) + rng.normal(0.0, 0.3)
    score -= 25.0 * max(0.0, 0.045 - wrist[2])  # an arm that would lie in the table
    return Grasp(wrist, rotation, approach, bends, closed, spreads, int(holds.sum()), float(score))
