"""What the stand-in hand can be: ten shape components and forty-five pose components, all of plain meaning.

Right hand; lengths in millimetres as in `standin_shape`, angles in radians; joints in MANO's order. Shape: 0 size,
1 finger length, 2 thickness, 3 palm width, 4 thumb length, 5 palm length, 6 outer against middle fingers,
7 index against little finger, 8 fingertips' thickness, 9 hollow of the palm. Pose: 0 closing all fingers, 1 spread,
2 thumb opposition, then single fingers and finer motions; rows are orthonormal as those of a PCA.
"""

from __future__ import annotations

import numpy as np

from .rig import flexion_axis
from .surface import FINGER_ORDER, WRIST, fingers

# RMS displacement (mm) of a vertex per unit of each component.
_SHAPE_SIZE = (4.0, 2.4, 1.1, 1.0, 0.9, 0.8, 0.7, 0.6, 0.25, 0.2)


def shape_components(vertices: np.ndarray, normals: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Shape directions (778, 3, 10), mm per unit, mutually orthogonal, in the order of the module's docstring."""
    raw = [
        vertices - WRIST * np.array([0.55, 1.0, 1.0]),
        sum(_stretch(vertices, weights, name) for name in ("index", "middle", "ring", "little")),
        normals * (0.55 + 0.45 * weights[:, :1]),
        _palm_width(vertices, weights),
        _stretch(vertices, weights, "thumb"),
        _palm_length(vertices, weights),
        _stretch(vertices, weights, "index") + _stretch(vertices, weights, "little")
        - _stretch(vertices, weights, "middle") - _stretch(vertices, weights, "ring"),
        _stretch(vertices, weights, "index") - _stretch(vertices, weights, "little"),
        normals * weights[:, [3, 6, 9, 12, 15]].sum(axis=1)[:, None],
        normals * (weights[:, 0] * np.clip(-normals[:, 1], 0, 1))[:, None],
    ]  # fmt: skip
    basis = np.zeros((10, vertices.size))
    for k, field in enumerate(raw):
        flat = np.asarray(field).ravel()
        flat = flat - basis[:k].T @ (basis[:k] @ flat)
        basis[k] = flat / np.linalg.norm(flat)
    scale = np.array(_SHAPE_SIZE) * np.sqrt(len(vertices))
    return (basis * scale[:, None]).reshape(10, -1, 3).transpose(1, 2, 0)


def _palm_width(vertices: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Displacements that widen the palm from its middle; the fingers move along with their first joints."""
    sideways = weights[:, 0] * (vertices[:, 2] - WRIST[2])
    for k, finger in enumerate(fingers().values()):
        sideways += weights[:, 1 + 3 * k : 4 + 3 * k].sum(axis=1) * (finger.joints[0][2] - WRIST[2])
    return sideways[:, None] * np.array([0.0, 0.0, 1.0])


def _stretch(vertices: np.ndarray, weights: np.ndarray, name: str) -> np.ndarray:
    """Displacements that lengthen one finger along its bones, from its first joint on."""
    finger, first = fingers()[name], 1 + 3 * FINGER_ORDER.index(name)
    moved = np.zeros_like(vertices)
    for bone in range(3):
        start = finger.reach[bone] * finger.direction[: bone + 1].mean(axis=0)
        along = (vertices - finger.joints[bone]) @ finger.direction[bone]
        carried = start + along[:, None] * finger.direction[bone]
        moved += weights[:, first + bone, None] * carried
    return moved


def _palm_length(vertices: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Displacements that lengthen the palm from the wrist, carrying the fingers along."""
    along = np.clip(WRIST[0] - vertices[:, 0], 0, 85.0)
    thumb = weights[:, 13:].sum(axis=1)
    return np.stack([-along * (1 - 0.6 * thumb), np.zeros(len(vertices)), np.zeros(len(vertices))], axis=1)


def _bend(name: str, *angles: float) -> np.ndarray:
    """The pose (45,) that bends the three joints of a finger by `angles`."""
    pose = np.zeros((15, 3))
    first = 3 * FINGER_ORDER.index(name)
    for bone, angle in enumerate(angles):
        pose[first + bone] = angle * flexion_axis(fingers()[name], bone)
    return pose.ravel()


def _turn(name: str, about: str, *angles: float) -> np.ndarray:
    """The pose (45,) that turns a finger's joints about their `dorsal` axis (spread) or `direction` (twist)."""
    pose = np.zeros((15, 3))
    first = 3 * FINGER_ORDER.index(name)
    for bone, angle in enumerate(angles):
        pose[first + bone] = angle * getattr(fingers()[name], about)[bone]
    return pose.ravel()


def opposition(amount: float) -> np.ndarray:
    """The pose (45,) that brings the thumb before the palm: its metacarpal swings down and turns."""
    return amount * (
        _turn("thumb", "lateral", 0.75) + _turn("thumb", "direction", -0.45) + _turn("thumb", "dorsal", 0.2)
    )


def pose_components() -> np.ndarray:
    """Pose components (45, 45), rows orthonormal, from common to rare motions."""
    four = ("index", "middle", "ring", "little")
    modes = [
        sum(_bend(name, 0.9, 1.1, 0.7) for name in four) + _bend("thumb", 0.1, 0.3, 0.4),
        _turn("index", "dorsal", 1.0) - _turn("ring", "dorsal", 0.6) - _turn("little", "dorsal", 1.0)
        + _turn("thumb", "dorsal", 0.6),
        opposition(1.0),
        sum(_bend(name, 1.0, -0.6, -0.4) for name in four),
        _bend("thumb", 0.2, 1.0, 1.2),
        _bend("index", 1.0, 1.1, 0.7) - _bend("ring", 0.6, 0.7, 0.4) - _bend("little", 0.6, 0.7, 0.4),
        _bend("little", 1.0, 1.1, 0.7) - _bend("middle", 1.0, 1.1, 0.7),
        _bend("ring", 1.0, 1.1, 0.7) - _bend("middle", 0.5, 0.5, 0.3) - _bend("little", 0.5, 0.5, 0.3),
        _turn("thumb", "dorsal", 1.0),
        _turn("middle", "dorsal", 1.0) + _turn("ring", "dorsal", 0.5),
        sum(_bend(name, 0.0, 1.0, -1.0) for name in four),
        _turn("thumb", "direction", 1.0),
    ]  # fmt: skip
    modes += [_bend(name, *row) for row in ((1, 0, 0), (0, 1, 0), (0, 0, 1)) for name in (*four, "thumb")]
    for axis in ("dorsal", "direction"):
        modes += [_turn(name, axis, *row) for row in ((1, 0, 0), (0, 1, 0), (0, 0, 1)) for name in (*four, "thumb")]
    rows: list[np.ndarray] = []
    for mode in modes:
        left = np.asarray(mode, dtype=np.float64)
        length = np.linalg.norm(left)
        for _ in range(2):
            left = left - sum((row * (row @ left) for row in rows), np.zeros(45))
        if np.linalg.norm(left) > 1e-3 * length:
            rows.append(left / np.linalg.norm(left))
    return np.array(rows)


def mean_pose() -> np.ndarray:
    """The hand at ease (45,): slightly curled, more so towards the little finger."""
    bends = {
        "index": (0.25, 0.45, 0.2),
        "middle": (0.35, 0.5, 0.25),
        "ring": (0.4, 0.5, 0.25),
        "little": (0.4, 0.4, 0.2),
    }
    return sum(
        (_bend(name, *angles) for name, angles in bends.items()), opposition(0.3) + _bend("thumb", 0.05, 0.15, 0.2)
    )


def sample_poses() -> dict[str, np.ndarray]:
    """Named finger poses (45,), full axis-angle: flat, rest, fist, point, pinch, spread, hook, thumb up."""
    four = ("index", "middle", "ring", "little")
    closed = {name: _bend(name, 1.35, 1.65, 0.9) for name in four}
    # Closed fingers lean towards the thumb's ball.
    closed["ring"] = closed["ring"] + _turn("ring", "dorsal", 0.12)
    closed["little"] = closed["little"] + _turn("little", "dorsal", 0.3)
    tucked = opposition(0.9) + _bend("thumb", 0.25, 0.5, 0.9)
    fist = sum(closed.values(), tucked)
    spread = _turn("index", "dorsal", 0.2) - _turn("ring", "dorsal", 0.12) - _turn("little", "dorsal", 0.3)
    # Chosen so that the pads of thumb and index finger touch.
    pinch = _bend("index", 0.9, 0.81, 0.47) + opposition(0.89) + _bend("thumb", 0.0, 0.13, 0.24)
    return {
        "flat": np.zeros(45),
        "rest": mean_pose(),
        "fist": fist,
        "point": fist - closed["index"] + _bend("index", 0.1, 0.05, 0.0),
        "pinch": sum((_bend(name, 0.35, 0.45, 0.25) for name in four[1:]), pinch),
        "spread": spread + _turn("thumb", "dorsal", 0.25),
        "hook": sum((_bend(name, 0.1, 1.5, 0.9) for name in four), np.zeros(45)),
        "thumb up": sum(closed.values(), np.zeros(45)),
    }
