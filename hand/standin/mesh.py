"""The mesh of the stand-in hand: 778 vertices and 1538 triangles on the skin of `standin_shape`, MANO's sizes.

The palm is a sleeve of rings from the wrist (16 vertices, open) to the webs (28), where four finger tubes of ten
segments are welded on; the thumb's tube is welded into a hole of the sleeve. A disk with a 16-edge boundary has
F = 2 V - 18 triangles, so V = 778 gives 1538. Then the palm's vertices are relaxed along the skin.
Right hand, millimetres, counter-clockwise triangles seen from outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.sparse import coo_array, csr_array

from ..parts import VERTICES
from .outline import ACROSS, along_loop, knuckle_loop, last_ring, ring_at, wrist_loop
from .surface import (
    FINGER_ORDER,
    Finger,
    finger_coordinates,
    fingers,
    hand_surface,
    project,
    sleeve_surface,
    tip_start,
    web_point,
)

SEGMENTS = 10
# Rings of the palm's sleeve: (place between wrist 0 and webs 1, vertices). The last is the row of the fingers' bases.
_SLEEVE = (
    (0.0, 16), (0.10, 16), (0.20, 17), (0.305, 20), (0.41, 20), (0.515, 21), (0.615, 23), (0.715, 23), (0.815, 24),
    (0.91, 25), (1.0, 28),
)  # fmt: skip
_HOLE = 8  # vertices of the sleeve that the thumb replaces
# Steps of a finger's rings: from its base to the second joint, to the third, to the last ring.
_STEPS = {"index": (3, 4, 3), "middle": (3, 4, 3), "ring": (3, 4, 3), "little": (2, 4, 4)}
_ANGLES = np.deg2rad(-54.0 + 36.0 * np.arange(SEGMENTS))  # from the nail's side towards the index side


@dataclass(frozen=True)
class HandMesh:
    """The mesh at rest: `vertices` (778, 3) mm, `faces` (1538, 3).

    `tips`: vertex ids per finger, the most distal first, then five round it from the nail over the index side to the
    pulp. `wrist`: the 16 boundary vertices in the order of the boundary edges. `tube` (778,): the index, in MANO's
    finger order, of the free finger that a vertex belongs to, -1 for the palm.
    """

    vertices: np.ndarray
    faces: np.ndarray
    tips: dict[str, list[int]]
    wrist: list[int]
    tube: np.ndarray


class _Builder:
    """Grows vertices and triangles; `free` says how much a vertex may slide along the skin."""

    def __init__(self) -> None:
        self.points: list[np.ndarray] = []
        self.free: list[float] = []
        self.tube: list[int] = []
        self.faces: list[tuple[int, int, int]] = []

    def add(self, points: np.ndarray, free: float, tube: int = -1) -> list[int]:
        first = len(self.points)
        self.points.extend(np.asarray(points, dtype=np.float64))
        self.free.extend([free] * len(points))
        self.tube.extend([tube] * len(points))
        return list(range(first, first + len(points)))

    def zip_loops(self, a: list[int], b: list[int], at_a: np.ndarray, at_b: np.ndarray) -> None:
        """Triangles between two closed loops running the same way round; `at_*` (n + 1,) rise from 0 to 1."""
        i = j = 0
        while i < len(a) or j < len(b):
            if j == len(b) or (i < len(a) and at_a[i + 1] + at_a[i] <= at_b[j + 1] + at_b[j]):
                self.faces.append((a[i % len(a)], b[j % len(b)], a[(i + 1) % len(a)]))
                i += 1
            else:
                self.faces.append((a[i % len(a)], b[j % len(b)], b[(j + 1) % len(b)]))
                j += 1

    def weld(self, a: list[int], b: list[int]) -> None:
        """Two triangles per segment between two rings of a finger, their diagonals alike on its two sides."""
        for i in range(SEGMENTS):
            j = (i + 1) % SEGMENTS
            if 2 <= i <= 6:
                self.faces += [(a[i], b[i], b[j]), (a[i], b[j], a[j])]
            else:
                self.faces += [(a[i], b[i], a[j]), (a[j], b[i], b[j])]


def build_mesh() -> HandMesh:
    """The whole rest mesh of the right hand, in construction order."""
    builder = _Builder()
    rings = _sleeve(builder)
    tips = {}
    for k, name in enumerate(ACROSS):
        tips[name] = _finger_tube(builder, fingers()[name], _base_loop(rings[-1], k))
    tips["thumb"] = _thumb(builder, fingers()["thumb"])
    return _finish(builder, tips, rings[0])


def _sleeve(builder: _Builder) -> list[list[int]]:
    """The palm's rings from the wrist to the webs; the last one carries three extra vertices inside the webs."""
    wrist, webs = wrist_loop(64), knuckle_loop()
    rings = []
    for place, count in _SLEEVE:
        u = np.arange(count) / count
        ring = (1 - place) * along_loop(wrist, u) + place * along_loop(webs, u)
        ring, _ = project(sleeve_surface, ring, steps=6) if 0 < place < 1 else (ring, ring)
        rings.append(builder.add(ring, 0.0 if place == 0 else 1.0))
        if len(rings) > 1:
            before = len(rings[-2])
            builder.zip_loops(rings[-2], rings[-1], np.arange(before + 1) / before, np.arange(count + 1) / count)
    rings[-1] += builder.add(np.array([web_point(a, b) for a, b in pairwise(ACROSS)]), 0.4)
    return rings


def _base_loop(ring: list[int], k: int) -> list[int]:
    """The ten vertices at the base of finger `k` (0 = little), in the order of `_ANGLES`."""
    index_side = ring[14] if k == 3 else ring[28 + k]
    little_side = ring[0] if k == 0 else ring[27 + k]
    back = [ring[1 + 3 * k + i] for i in range(4)]
    front = [ring[24 - 3 * k + i] for i in range(4)]
    return [*back, index_side, *front, little_side]


def _finger_tube(builder: _Builder, finger: Finger, base: list[int]) -> list[int]:
    """Rings and cap of one finger, welded to its base loop; returns the tip's vertices."""
    base_along, _, _ = finger_coordinates(finger, np.array([builder.points[v] for v in base]))
    first, second, third = _STEPS[finger.name]
    # The webs on a finger's two sides lie at different depths: its first rings lean as its base does.
    share = np.arange(1, first + 1)[:, None] / first
    rings = [
        *((1 - share) * base_along + share * finger.reach[1]),
        *np.linspace(finger.reach[1], finger.reach[2], second + 1)[1:],
        *np.linspace(finger.reach[2], last_ring(finger), third + 1)[1:],
    ]
    return _tube(builder, finger, base, rings, 0.15)


def _tube(builder: _Builder, finger: Finger, base: list[int], along: list, free: float) -> list[int]:
    """Weld rings at `along` to the loop `base`, then the cap: the tip's vertices, the most distal first."""
    before, tube = base, FINGER_ORDER.index(finger.name)
    even = np.arange(SEGMENTS + 1) / SEGMENTS
    for k, s in enumerate(along):
        ring = builder.add(ring_at(finger, np.broadcast_to(s, SEGMENTS), _ANGLES), max(0.0, free - 0.2 * k), tube)
        if len(before) == SEGMENTS:
            builder.weld(before, ring)
        else:
            builder.zip_loops(before, ring, np.arange(len(before) + 1) / len(before), even)
        before = ring
    start, end = tip_start(finger), finger.reach[3]
    cap_angles = np.deg2rad(-36.0 + 72.0 * np.arange(5))
    cap = builder.add(ring_at(finger, np.full(5, start + 0.87 * (end - start)), cap_angles), 0.0, tube)
    for j in range(5):  # every vertex of the cap faces one edge of the last ring
        a, b, c = before[2 * j], before[2 * j + 1], before[(2 * j + 2) % SEGMENTS]
        d, e = cap[j], cap[(j + 1) % 5]
        builder.faces += [(a, d, b), (b, d, e), (b, e, c)]
    pole = builder.add(finger.joints[3][None], 0.0, tube)[0]
    builder.faces += [(cap[j], pole, cap[(j + 1) % 5]) for j in range(5)]
    return [pole, *cap]


def _thumb(builder: _Builder, thumb: Finger) -> list[int]:
    """Cut a hole into the sleeve where the thumb leaves it and weld the thumb's tube in."""
    points = np.array(builder.points)
    distance = np.linalg.norm(points - (thumb.joints[0] + 20.0 * thumb.direction[0]), axis=1)
    removed = set(np.argsort(distance, kind="stable")[:_HOLE].tolist())
    cut = [f for f in builder.faces if removed & set(f)]
    builder.faces = [f for f in builder.faces if not removed & set(f)]
    inside = {(f[i], f[(i + 1) % 3]) for f in cut for i in range(3)}
    following = {b: a for a, b in inside if (b, a) not in inside}  # as the remaining triangles run round the hole
    loop = [min(following)]
    while following[loop[-1]] != loop[0]:
        loop.append(following[loop[-1]])
    if len(loop) != len(following):
        raise RuntimeError("the thumb's hole is not one loop")
    along = [*np.linspace(15.0, thumb.reach[2], 7), *np.linspace(thumb.reach[2], last_ring(thumb), 6)[1:]]
    first = ring_at(thumb, np.full(SEGMENTS, along[0]), _ANGLES)
    shifts = [
        np.linalg.norm(points[np.roll(loop, -k)][:: len(loop) // 5][:5] - first[::2], axis=1).sum()
        for k in range(len(loop))
    ]
    return _tube(builder, thumb, np.roll(loop, -int(np.argmin(shifts))).tolist(), along, 1.0)


def _finish(builder: _Builder, tips: dict[str, list[int]], wrist: list[int]) -> HandMesh:
    faces = np.array(builder.faces)
    points, free = np.array(builder.points), np.array(builder.free)
    used = np.unique(faces)
    number = np.full(len(points), -1)
    number[used] = np.arange(len(used))
    points, free, faces = points[used], free[used], number[faces]
    points = relax(points, faces, free, rounds=40)
    if len(points) != VERTICES or len(faces) != 2 * VERTICES - 18:
        raise RuntimeError(f"the stand-in hand has {len(points)} vertices and {len(faces)} faces")
    tip_numbers = {name: number[v].tolist() for name, v in tips.items()}
    return HandMesh(points, faces, tip_numbers, number[wrist].tolist(), np.array(builder.tube)[used])


def neighbour_average(faces: np.ndarray, count: int) -> csr_array:
    """The sparse (V, V) matrix that replaces every vertex's value by the mean of its neighbours'."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.unique(np.sort(edges, axis=1), axis=0)
    both = np.concatenate([edges, edges[:, ::-1]])
    degree = np.bincount(both[:, 0], minlength=count)
    return coo_array((1.0 / degree[both[:, 0]], (both[:, 0], both[:, 1])), shape=(count, count)).tocsr()


def relax(points: np.ndarray, faces: np.ndarray, free: np.ndarray, rounds: int) -> np.ndarray:
    """Slide vertices along the skin towards the middle of their neighbours, `free` (V,) of the way each round."""
    average = neighbour_average(faces, len(points))
    moving = np.flatnonzero(free > 0)
    points = points.copy()
    for _ in range(rounds):
        points[moving] += 0.5 * free[moving, None] * (average @ points - points)[moving]
        points[moving] = project(hand_surface, points[moving])[0]
    return points
