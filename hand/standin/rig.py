"""How the stand-in hand moves: skinning weights, joint regressor and pose correctives on a given rest mesh.

Right hand; lengths in millimetres as in `standin_shape`, angles in radians; joints in MANO's order.
"""

from __future__ import annotations

import numpy as np

from .mesh import HandMesh, neighbour_average
from .surface import FINGER_ORDER, Finger, finger_coordinates, fingers, skeleton

# Half lengths (mm) of the zones in which the skin passes from one bone to the next, at the second and third joint.
_BEND = {"index": (8.5, 6.5), "middle": (8.5, 6.5), "little": (6.5, 5.5), "ring": (8.5, 6.5), "thumb": (9.5, 8.5)}
_LARGEST_BEND = np.deg2rad(100.0)


def _ease(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3 - 2 * x)


def _pass(x: np.ndarray) -> np.ndarray:
    """From one bone to the next: half straight, which folds the inner skin least, and half eased."""
    return 0.5 * np.clip(x, 0.0, 1.0) + 0.5 * _ease(x)


def skin_weights(mesh: HandMesh) -> np.ndarray:
    """Skinning weights (778, 16): smooth, at most four joints per vertex, rows sum to one."""
    points = mesh.vertices
    share = _finger_share(mesh)
    weights = np.zeros((len(points), 16))
    for k, name in enumerate(FINGER_ORDER):
        along, _, _ = finger_coordinates(fingers()[name], points)
        second, third = _BEND[name]
        reach = fingers()[name].reach
        past_second = _pass((along - reach[1]) / (2 * second) + 0.5)
        past_third = _pass((along - reach[2]) / (2 * third) + 0.5)
        first = 1 + 3 * k
        weights[:, first] = share[:, k] * (1 - past_second)
        weights[:, first + 1] = share[:, k] * past_second * (1 - past_third)
        weights[:, first + 2] = share[:, k] * past_second * past_third
    weights[:, 0] = 1 - share.sum(axis=1)
    average = neighbour_average(mesh.faces, len(points))
    palm = (mesh.tube < 0)[:, None]
    for _ in range(4):
        weights = np.where(palm, 0.5 * weights + 0.5 * (average @ weights), weights)
    return _four_largest(weights)


def _finger_share(mesh: HandMesh) -> np.ndarray:
    """How much each finger, as against the palm, moves each vertex: (778, 5) in MANO's finger order."""
    points, f = mesh.vertices, fingers()
    near, begun = np.zeros((2, len(points), 5))
    for k, name in enumerate(FINGER_ORDER[:4]):
        along, height, side = finger_coordinates(f[name], points)
        near[:, k] = np.exp(-((side / 7.0) ** 2) / 2) + 1e-12
        # The skin over a knuckle starts to move further back than the flesh on the palm's side.
        begun[:, k] = _ease((along + np.where(height > 0, 10.0, 8.0)) / 22.0)
    near[:, :4] /= near[:, :4].sum(axis=1, keepdims=True)
    thumb = f["thumb"]
    along, height, side = finger_coordinates(thumb, points)
    distance = np.hypot(height, side)
    own = _ease((along + 14.0) / 34.0) * _ease((40.0 - distance) / 29.0)
    share = near * begun * (1 - own[:, None])
    share[:, 4] = own
    for k in range(5):
        tube = mesh.tube == k
        kept = np.zeros(5)
        kept[k] = 1.0
        begun_here = begun[tube, k] if k < 4 else own[tube]
        share[tube] = begun_here[:, None] * kept
    return share


def _four_largest(weights: np.ndarray) -> np.ndarray:
    order = np.argsort(-weights, axis=1, kind="stable")
    kept = np.zeros_like(weights)
    rows = np.arange(len(weights))[:, None]
    kept[rows, order[:, :4]] = weights[rows, order[:, :4]]
    kept[kept < 1e-3] = 0.0
    return kept / kept.sum(axis=1, keepdims=True)


def joint_regressor(vertices: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sparse non-negative (16, 778) regressor: every joint is the weighted mean of the skin round it, exactly."""
    regressor = np.zeros((16, len(vertices)))
    for joint, place in enumerate(skeleton()):
        if joint == 0:
            near = (np.abs(vertices[:, 0] - place[0]) < 18.0) & (np.linalg.norm(vertices - place, axis=1) < 38.0)
            spread = np.abs(vertices[:, 0] - place[0]) / 10.0
        else:
            finger = fingers()[FINGER_ORDER[(joint - 1) // 3]]
            along, height, side = finger_coordinates(finger, vertices)
            past = along - finger.reach[(joint - 1) % 3]
            reach = 13.0 if (joint - 1) % 3 == 0 else 8.0
            near = (np.abs(past) < reach) & (np.hypot(height, side) < (30.0 if joint == 13 else 16.0))
            near &= _follows(weights, joint)
            spread = past / (reach / 2)
        ids = np.flatnonzero(near)
        wanted = np.exp(-(spread[ids] ** 2))
        regressor[joint, ids] = _convex_weights(vertices[ids], place, wanted / wanted.sum())
    return regressor


def _follows(weights: np.ndarray, joint: int) -> np.ndarray:
    """Vertices that no finger but the joint's own moves."""
    first = 1 + 3 * ((joint - 1) // 3)
    others = np.ones(16, dtype=bool)
    others[[0, first, first + 1, first + 2]] = False
    return weights[:, others].sum(axis=1) < 0.35


def _convex_weights(points: np.ndarray, target: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The non-negative weights nearest to `wanted` whose mean of `points` is `target` exactly (active set)."""
    active = np.arange(len(points))
    while len(active) >= 4:
        rows = np.concatenate([points[active].T - target[:, None], np.ones((1, len(active)))])
        missing = np.array([0.0, 0.0, 0.0, 1.0]) - rows @ wanted[active]
        # Steps in proportion to the wanted weights, so that small ones do not turn negative first.
        scaled = rows * wanted[active]
        result = wanted[active] + wanted[active] * (rows.T @ np.linalg.solve(scaled @ rows.T, missing))
        if result.min() >= 0:
            weights = np.zeros(len(points))
            weights[active] = result
            return weights
        active = active[result > 0]
    raise RuntimeError("a joint of the stand-in hand lies outside the skin round it")


def rotation(axis: np.ndarray, angle: float | np.ndarray) -> np.ndarray:
    """The matrices (..., 3, 3) of turns by `angle` (...) about the unit `axis` (3,)."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.asarray(angle)[..., None, None]
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def flexion_axis(finger: Finger, bone: int) -> np.ndarray:
    """The axis about which a positive turn bends a bone towards the palm."""
    return np.cross(finger.direction[bone], -finger.dorsal[bone])


def pose_correctives(vertices: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pose blend shapes (778, 3, 135), mm: what linear blend skinning loses at a bent joint.

    Linear blending pulls skin that follows a joint half-way towards the joint's axis. For sample turns of each joint
    the correct place of such skin is the joint's own turn by the blended angle; the offsets that lead there are fitted,
    by ridge regression, as linear functions of the joint's rotation matrix minus identity - MANO's pose feature.
    """
    joints = skeleton()
    correctives = np.zeros((len(vertices), 3, 135))
    for joint in range(1, 16):
        finger = fingers()[FINGER_ORDER[(joint - 1) // 3]]
        bone = (joint - 1) % 3
        below = weights[:, joint : joint + 3 - bone].sum(axis=1)  # this joint and those it carries
        ids = np.flatnonzero((below > 0.01) & (below < 0.99))
        features, offsets = [], []
        for axis, angle in _sample_turns(finger, bone):
            features.append((rotation(axis, angle) - np.eye(3)).ravel())
            offsets.append(_lost_by_blending(vertices[ids] - joints[joint], below[ids], axis, angle))
        matrix, wanted = np.array(features), np.array(offsets).reshape(len(features), -1)
        fitted = np.linalg.solve(matrix.T @ matrix + 0.02 * np.eye(9), matrix.T @ wanted)
        correctives[ids, :, 9 * (joint - 1) : 9 * joint] = fitted.reshape(9, len(ids), 3).transpose(1, 2, 0)
    return correctives


def _sample_turns(finger: Finger, bone: int) -> list[tuple[np.ndarray, float]]:
    bend = flexion_axis(finger, bone)
    turns = [(bend, angle) for angle in np.linspace(-0.3, _LARGEST_BEND, 9) if abs(angle) > 1e-9]
    turns += [(finger.dorsal[bone], angle) for angle in (-0.4, -0.2, 0.2, 0.4)]
    return turns + [(finger.direction[bone], angle) for angle in (-0.4, -0.2, 0.2, 0.4)]


def _lost_by_blending(arm: np.ndarray, share: np.ndarray, axis: np.ndarray, angle: float) -> np.ndarray:
    """Rest-pose offsets (N, 3) that bring linearly blended skin to a turn by `share` times the angle."""
    wanted = (rotation(axis, angle * share) @ arm[..., None])[..., 0]
    blended = (1 - share)[:, None, None] * np.eye(3) + share[:, None, None] * rotation(axis, angle)
    return np.linalg.solve(blended, wanted[..., None])[..., 0] - arm
