"""The curves that the stand-in hand's mesh is strung on: its open wrist, the row of finger bases, a finger's rings.

Right hand, millimetres, MANO's rest axes. Loops run from the little finger's side over the back of the hand to the
thumb's side and back along the palm side.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from .surface import Finger, fingers, profile, project, sleeve_surface, tip_start, web_point

ACROSS = ("little", "ring", "middle", "index")  # from the little finger's side to the index finger's
_WRIST_PLANE = 110.0  # x of the open end


def along_loop(loop: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Points of a closed loop at positions `u` in [0, 1), each vertex of the loop taking an equal share."""
    closed = np.concatenate([loop, loop[:1]])
    at = np.arange(len(closed)) / len(loop)
    return np.stack([np.interp(u, at, closed[:, c]) for c in range(3)], axis=1)


def wrist_loop(count: int) -> np.ndarray:
    """The open end: from the little finger's side over the back to the thumb's side and back along the palm side."""
    angle = 2 * np.pi * np.arange(count) / count
    loop = np.stack([np.full(count, _WRIST_PLANE), 3.5 + 19 * np.sin(angle), 5 - 27 * np.cos(angle)], axis=1)
    for _ in range(8):
        loop = project(sleeve_surface, loop)[0]
        loop[:, 0] = _WRIST_PLANE
    return _equal_steps(loop)


def _equal_steps(loop: np.ndarray) -> np.ndarray:
    closed = np.concatenate([loop, loop[:1]])
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    at = length[-1] * np.arange(len(loop)) / len(loop)
    return np.stack([np.interp(at, length, closed[:, c]) for c in range(3)], axis=1)


def knuckle_loop() -> np.ndarray:
    """The 28 vertices round the row of finger bases: corner, two dorsal, corner ... over the back, then the palm."""
    f = fingers()
    inner = [web_point(a, b) for a, b in pairwise(ACROSS)]
    little, index = f["little"], f["index"]
    ends = [
        little.joints[0] + 10.5 * little.direction[0] - 8.0 * little.lateral[0],
        index.joints[0] + 16.0 * index.direction[0] + 9.0 * index.lateral[0],
    ]
    corners = [ends[0], *inner, ends[1]]
    back, front = [], []
    for k, name in enumerate(ACROSS):
        finger = f[name]
        for share in (0.0, 1 / 3, 2 / 3):
            point = (1 - share) * corners[k] + share * corners[k + 1]
            lift = 0.0 if share == 0.0 else 3.0
            back.append(point + finger.dorsal[0] * (6.0 + lift) - (0.5 + lift) * finger.direction[0])
            front.append(point - finger.dorsal[0] * (6.5 + lift) - 0.5 * finger.direction[0])
    back.append(ends[1] + 6.0 * index.dorsal[0])
    front.append(ends[1] - 6.5 * index.dorsal[0])
    return np.array([ends[0], *back, ends[1], *front[::-1]])


def ring_at(finger: Finger, along: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Skin points (N, 3) of a finger at arc lengths `along` (N,) mm and `angles` (N,) round its axis."""
    bone = np.clip(np.searchsorted(finger.reach, along, side="right") - 1, 0, 2)
    centre = finger.joints[bone] + (along - finger.reach[bone])[:, None] * finger.direction[bone]
    width, dorsal, palmar = profile(finger, along)
    start = tip_start(finger)
    shrink = np.sqrt(1 - (np.maximum(along - start, 0) / (finger.reach[3] - start)) ** 2)
    up, side = np.cos(angles), np.sin(angles)
    radius = shrink / np.sqrt((up / np.where(up > 0, dorsal, palmar)) ** 2 + (side / width) ** 2)
    around = up[:, None] * finger.dorsal[bone] + side[:, None] * finger.lateral[bone]
    return centre + radius[:, None] * around


def last_ring(finger: Finger) -> float:
    """Arc length (mm) of the last full ring before the cap."""
    return tip_start(finger) + 0.5 * (finger.reach[3] - tip_start(finger))
