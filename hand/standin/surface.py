"""The anatomy of the stand-in hand: its skeleton, and its skin as one smooth implicit surface.

Right hand, MANO's rest axes (fingers along -x, index side +z, palm faces -y). Millimetres inside this file, because the
anatomical tables are in millimetres; `standin.py` turns everything into metres.
Sources: joint positions and bone lengths are those measured on real frames (mean of eight people); widths and
thicknesses are everyday anthropometry of an adult hand. Nothing is taken from a licensed model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

FINGER_ORDER = ("index", "middle", "little", "ring", "thumb")  # MANO's order of the joints 1-15
PARENTS = np.array([-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14])
WRIST = np.array([93.0, 6.6, 6.4])

_FIRST_JOINT = {
    "index": (7.2, 1.5, 27.6),
    "middle": (0.6, 5.1, 3.2),
    "little": (25.7, -3.5, -37.1),
    "ring": (13.0, 2.5, -20.4),
    "thumb": (69.9, -8.9, 32.4),
}
_BONES = {  # first-second, second-third, third-tip
    "index": (31.8, 21.4, 22.3),
    "middle": (30.7, 22.6, 23.8),
    "little": (21.2, 18.9, 20.0),
    "ring": (27.8, 24.0, 23.1),
    "thumb": (30.8, 26.9, 34.1),
}
_DIRECTION = {  # of each bone; the fingers are straight with a natural spread, the thumb bends a little towards them
    "index": ((-1.0, 0.03, 0.07),) * 3,
    "middle": ((-1.0, 0.03, -0.07),) * 3,
    "little": ((-1.0, 0.02, -0.36),) * 3,
    "ring": ((-1.0, 0.03, -0.19),) * 3,
    "thumb": ((-0.62, -0.27, 0.74), (-0.76, -0.24, 0.60), (-0.84, -0.20, 0.50)),
}
_DORSAL = {  # where the nail looks; the thumb is turned towards the fingers
    "index": (0.0, 1.0, 0.04),
    "middle": (0.0, 1.0, 0.0),
    "little": (0.0, 1.0, -0.16),
    "ring": (0.0, 1.0, -0.06),
    "thumb": (0.34, 0.72, 0.60),
}
# Half widths and half thicknesses along a finger; position in bones from the first joint (3 = tip).
_PROFILE_AT = (-0.6, 0.0, 0.55, 1.0, 1.5, 2.0, 2.45, 3.0)
_PROFILE_WIDTH = (9.4, 9.8, 9.3, 9.4, 8.5, 8.4, 8.2, 7.8)
_PROFILE_DORSAL = (7.6, 8.6, 7.7, 8.3, 6.9, 7.0, 6.0, 5.4)
_PROFILE_PALMAR = (9.0, 9.6, 9.4, 7.5, 8.5, 6.8, 8.1, 7.0)
_THUMB_WIDTH = (11.5, 12.0, 11.8, 11.4, 9.6, 10.2, 10.6, 9.4)
_THUMB_DORSAL = (9.5, 9.5, 9.0, 9.4, 7.8, 8.4, 6.6, 5.4)
_THUMB_PALMAR = (12.0, 12.5, 12.0, 10.4, 9.2, 8.2, 9.2, 7.6)
_GIRTH = {"index": 1.0, "middle": 1.02, "little": 0.86, "ring": 0.97, "thumb": 1.0}
_ROUNDED_TIP = {"index": 9.5, "middle": 10.0, "little": 8.5, "ring": 9.5, "thumb": 12.5}


@dataclass(frozen=True)
class Finger:
    """One finger at rest, mm.

    `joints` (4, 3) from the first joint to the tip, unit `direction` (3, 3) of its bones, unit `dorsal` and `lateral`
    (3, 3) per bone (lateral = towards the index side), `reach` (4,) arc length.
    """

    name: str
    joints: np.ndarray
    direction: np.ndarray
    dorsal: np.ndarray
    lateral: np.ndarray
    reach: np.ndarray


@lru_cache(maxsize=1)
def fingers() -> dict[str, Finger]:
    """The five fingers by name, in MANO's joint order."""
    result = {}
    for name in FINGER_ORDER:
        direction = np.array(_DIRECTION[name])
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        dorsal = np.array(_DORSAL[name]) - (direction @ np.array(_DORSAL[name]))[:, None] * direction
        dorsal /= np.linalg.norm(dorsal, axis=1, keepdims=True)
        lengths = np.array(_BONES[name])
        steps = np.concatenate([np.zeros((1, 3)), np.cumsum(lengths[:, None] * direction, axis=0)])
        reach = np.concatenate([[0.0], np.cumsum(lengths)])
        joints = np.array(_FIRST_JOINT[name]) + steps
        result[name] = Finger(name, joints, direction, dorsal, np.cross(dorsal, direction), reach)
    return result


def skeleton() -> np.ndarray:
    """The 16 joints (16, 3) mm in MANO's order."""
    return np.concatenate([WRIST[None]] + [f.joints[:3] for f in fingers().values()])


def finger_coordinates(finger: Finger, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arc length along the finger, height towards the nail, and sideways offset of `points` (N, 3), each (N,) mm."""
    best = np.full(len(points), np.inf)
    along, height, side = np.zeros((3, len(points)))
    for k in range(3):
        offset = points - finger.joints[k]
        t = offset @ finger.direction[k]
        low = -np.inf if k == 0 else 0.0
        high = np.inf if k == 2 else finger.reach[k + 1] - finger.reach[k]
        clamped = np.clip(t, low, high)
        distance = np.linalg.norm(offset - clamped[:, None] * finger.direction[k], axis=1)
        nearer = distance < best - 1e-9
        best = np.where(nearer, distance, best)
        along = np.where(nearer, finger.reach[k] + clamped, along)
        height = np.where(nearer, offset @ finger.dorsal[k], height)
        side = np.where(nearer, offset @ finger.lateral[k], side)
    return along, height, side


def profile(finger: Finger, along: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Half width, dorsal and palmar half thickness (mm) at arc length `along`, before the tip is rounded off."""
    bones = np.interp(along, finger.reach, np.arange(4.0), left=-1.0, right=3.0)
    bones = np.where(along < 0, along / (finger.reach[1] - finger.reach[0]), bones)
    thumb = finger.name == "thumb"
    tables = (
        (_THUMB_WIDTH, _THUMB_DORSAL, _THUMB_PALMAR) if thumb else (_PROFILE_WIDTH, _PROFILE_DORSAL, _PROFILE_PALMAR)
    )
    girth = _GIRTH[finger.name]
    width, dorsal, palmar = (girth * _smooth_table(bones, np.array(table)) for table in tables)
    return width, dorsal, palmar


def _smooth_table(at: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Monotone-eased interpolation of a profile: flat at the anatomical stations, so that knuckles are round."""
    stations = np.array(_PROFILE_AT)
    i = np.clip(np.searchsorted(stations, at, side="right") - 1, 0, len(stations) - 2)
    t = np.clip((at - stations[i]) / (stations[i + 1] - stations[i]), 0.0, 1.0)
    return values[i] + (values[i + 1] - values[i]) * t * t * (3 - 2 * t)


def tip_start(finger: Finger) -> float:
    """Arc length (mm) from which the finger is rounded off towards its tip."""
    return float(finger.reach[3] - _ROUNDED_TIP[finger.name])


def finger_surface(finger: Finger, points: np.ndarray, start: float) -> np.ndarray:
    """Signed distance-like value (N,), mm, of the finger's skin from arc length `start` to its tip; negative inside."""
    along, height, side = finger_coordinates(finger, points)
    width, dorsal, palmar = profile(finger, along)
    thick = np.where(height > 0, dorsal, palmar)
    rounded = _ROUNDED_TIP[finger.name]
    cap = np.maximum(along - (finger.reach[3] - rounded), 0) / rounded + np.maximum(start - along, 0) / 8.0
    squared = cap**2 + (height / thick) ** 2 + (side / width) ** 2
    return (np.sqrt(squared) - 1) * np.sqrt(width * thick)


def _cone(
    points: np.ndarray, a: np.ndarray, b: np.ndarray, radius_a: float, radius_b: float, flat: float
) -> np.ndarray:
    """Distance to a rounded cone between `a` and `b`, `flat` times as thick (along y) as it is wide."""
    scale = np.array([1.0, 1.0 / flat, 1.0])
    p, a, b = points * scale, a * scale, b * scale
    axis = b - a
    t = np.clip((p - a) @ axis / (axis @ axis), 0, 1)
    return (np.linalg.norm(p - a - t[:, None] * axis, axis=1) - (radius_a + (radius_b - radius_a) * t)) * min(1.0, flat)


def _blend(a: np.ndarray, b: np.ndarray, reach: float) -> np.ndarray:
    """Smooth minimum: the union of two bodies with a fillet about `reach` mm wide."""
    h = np.maximum(reach - np.abs(a - b), 0) / reach
    return np.minimum(a, b) - h * h * reach / 4


# Where the skin between two neighbouring fingers ends (x), and half its thickness.
_WEB_FRONT = {("index", "middle"): -13.0, ("middle", "ring"): -8.0, ("ring", "little"): 12.0}
_WEB_RADIUS = 6.0


def web_point(a: str, b: str) -> np.ndarray:
    """The middle of the front of the web between two neighbouring fingers (3,), mm."""
    ends = _web_ends(*((a, b) if (a, b) in _WEB_FRONT else (b, a)))
    return (ends[0] + ends[1]) / 2 - np.array([_WEB_RADIUS, 0.0, 0.0])


def _web_ends(a: str, b: str) -> tuple[np.ndarray, np.ndarray]:
    """The two points inside the fingers' bases between which the web is stretched."""
    x = _WEB_FRONT[a, b] + _WEB_RADIUS
    first, second = (fingers()[name] for name in (a, b))
    below = np.array([0.0, -2.5, 0.0])
    return tuple(
        finger.joints[0] + (x - finger.joints[0][0]) / finger.direction[0][0] * finger.direction[0] + below
        for finger in (first, second)
    )  # type: ignore[return-value]


def _base_end(finger: Finger) -> np.ndarray:
    return finger.joints[0] + 0.3 * finger.reach[1] * finger.direction[0] + np.array([0.0, -2.0, 0.0])


_CARPUS = {"index": (88, 3.5, 17), "middle": (88, 5.5, 9), "ring": (88, 4.5, 0), "little": (88, 1, -9)}
_KNUCKLE_RADIUS = {"index": 11.6, "middle": 12.2, "ring": 11.4, "little": 10.2}


def sleeve_surface(points: np.ndarray) -> np.ndarray:
    """Signed distance-like value (N,), mm, of wrist, palm and webs, without thumb and fingers."""
    f = fingers()
    skin = _cone(points, np.array([150.0, 4, 5]), np.array([106.0, 3.5, 5]), 27.5, 26.5, 0.70)
    for name in ("middle", "ring", "index", "little"):
        finger, radius = f[name], _KNUCKLE_RADIUS[name]
        knuckle = finger.joints[0] + np.array([0.0, -1.6, 0.0])
        skin = _blend(skin, _cone(points, np.array(_CARPUS[name]), knuckle, 12.5, radius, 1.0), 9.0)
        skin = _blend(skin, _cone(points, knuckle, _base_end(finger), radius, 9.2 * _GIRTH[name], 1.0), 6.0)
    for a, b in _WEB_FRONT:
        skin = _blend(skin, _cone(points, *_web_ends(a, b), _WEB_RADIUS, _WEB_RADIUS, 1.0), 6.0)
    heel = np.array([84.0, -5, -10]), np.array([62.0, -7, -25]), np.array([36.0, -7, -35])  # the little finger's side
    skin = _blend(skin, _cone(points, heel[0], heel[1], 13.5, 12.5, 1.0), 10.0)
    return _blend(skin, _cone(points, heel[1], heel[2], 12.5, 10.5, 1.0), 10.0)


def palm_surface(points: np.ndarray) -> np.ndarray:
    """Signed distance-like value (N,), mm, of everything but the free fingers: the sleeve with the thumb's base."""
    thumb = fingers()["thumb"].joints
    thenar = _cone(points, np.array([80.0, -7, 19]), thumb[1] + np.array([2.0, -1.0, -2.0]), 14.5, 12.0, 1.0)
    skin = _blend(sleeve_surface(points), thenar, 12.0)
    return _blend(skin, _cone(points, np.array([46.0, -3, 26]), np.array([42.0, -12, 46]), 8.5, 6.0, 1.0), 18.0)


def hand_surface(points: np.ndarray) -> np.ndarray:
    """Signed distance-like value (N,), mm, of the whole skin at rest; negative inside."""
    skin = palm_surface(points)
    for name, finger in fingers().items():
        start = 24.0 if name == "thumb" else 8.0
        skin = _blend(skin, finger_surface(finger, points, start), 10.0 if name == "thumb" else 5.0)
    return skin


def project(surface, points: np.ndarray, steps: int = 1, longest: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """Newton steps of `points` (N, 3) onto the zero set of `surface`; returns the points and the unit normals."""
    offsets = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.3
    normal = np.zeros_like(points)
    for _ in range(steps):
        around = surface((points[None] + offsets[:, None]).reshape(-1, 3)).reshape(4, -1)
        gradient = np.einsum("kn,kc->nc", around, offsets) / (4 * 0.3**2)
        size = np.maximum(np.linalg.norm(gradient, axis=1), 0.2)
        normal = gradient / np.linalg.norm(gradient, axis=1, keepdims=True).clip(1e-9)
        step = np.clip(around.mean(axis=0) / size, -longest, longest)
        points = points - step[:, None] * normal
    return points, normal
