"""One moment of a recording as meshes, and a camera's photo, segmentation and depth of it.

The table's frame and metres for meshes; photos are uint8 RGB (480, 640, 3). The forearm belongs to no label: where it
is nearest, seg is 0, as in a photo where only the hand itself is labelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from ....hand.draw import vertex_normals
from ....hand.parts import FINGERS, PARTS, parts_of
from ....hand.standin.arrays import WRIST_LOOP
from .objects import catalogue, object_mesh, object_texture
from .room import HEIGHT, WIDTH, Geometry, Look, WideLook, linear
from .shading import View, develop, paint
from .shadows import ShadowMap

HAND, OTHER_HAND = 255, 254
"""Identities in a shot: of the annotated hand, as in DexYCB's seg, and of the person's other one, which it lacks."""
_RINGS = 13
_ALONG = [i / (_RINGS - 1) for i in range(_RINGS)]


@dataclass(frozen=True, eq=False)
class Shot:
    """photo (480, 640, 3) uint8 **BGR**, as encoders take it; seg (480, 640) uint8, 0 / 1-21 / 254 / 255; depth (480,

    640) float32 m.
    """

    photo: np.ndarray
    seg: np.ndarray
    depth: np.ndarray


@dataclass(frozen=True, eq=False)
class HandShape:
    """A hand of one moment.

    vertices (778, 3) m; `back` (3,) is where its forearm points; faces (1538, 3); colours (778, 3) float32 linear;
    identity in the shot.
    """

    vertices: np.ndarray
    back: np.ndarray
    faces: np.ndarray
    colours: np.ndarray
    identity: int = HAND


def skin_colours(rest: np.ndarray, faces: np.ndarray, weights: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """Linear colours (778, 3) float32 of the hand's vertices: redder tips and knuckles, a paler palm, nails.

    rest: (778, 3) m, the hand at rest in MANO's axes; weights: (778, 16).
    """
    normal = vertex_normals(rest, faces)
    if (normal * (rest - rest.mean(axis=0))).sum() < 0:  # MANO_LEFT lists its faces the other way round
        normal = -normal
    palmar = np.clip(-normal[:, 1], 0.0, 1.0)
    colours = np.tile(skin, (len(rest), 1))
    colours += palmar[:, None] * 0.25 * (skin.max() * np.array([1.0, 0.80, 0.74]) - colours)
    part = parts_of(faces, weights).vertex
    red = np.array([1.04, 0.86, 0.86])
    joint = np.sort(weights, axis=1)[:, -2]  # where two joints share a vertex there is a knuckle
    colours *= 1.0 - 0.35 * np.clip(joint, 0, 0.5)[:, None] * (1.0 - red)
    for finger in range(len(FINGERS)):
        mine = np.flatnonzero(part == PARTS.index(FINGERS[finger]))
        end = rest[mine, 0] * (1.0 if rest[0, 0] > 0 else -1.0)
        tip = end - end.min()
        fade = np.clip(1.0 - tip / 0.022, 0.0, 1.0)[:, None]
        colours[mine] *= 1.0 - fade * (1.0 - red)
        nail = (tip > 0.002) & (tip < 0.013) & (normal[mine, 1] > 0.72)
        colours[mine[nail]] = 0.55 * colours[mine[nail]] + 0.45 * linear(np.array([244, 206, 200]))
    return np.clip(colours, 0.0, 1.0).astype(np.float32)


def arm_line(wrist: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Points (13, 3) m along the middle of the arm that begins at `wrist` (3,).

    `back` (3,) is where the hand's own forearm axis points; the arm bends from there towards the person.
    """
    home = np.array([0.35 * wrist[0], -0.95, 0.22]) - wrist
    home /= np.linalg.norm(home)
    points = []
    for t in _ALONG:
        axis = back + min(1.8 * t, 1.0) * (0.25 * back + 0.75 * home - back)
        points.append(wrist + 0.62 * t * axis / np.linalg.norm(axis))
    return np.stack(points)


def _forearm(hand: np.ndarray, back: np.ndarray, look: Look, colours: np.ndarray) -> tuple[np.ndarray, ...]:
    """A sleeve and arm that continue the wrist's opening: vertices, normals, colours, faces."""
    loop = np.array(WRIST_LOOP)
    rim = hand[loop]
    middle = rim.mean(axis=0)
    n = len(loop)
    rings, tones = [], []
    for t, centre in zip(_ALONG, arm_line(middle, back), strict=True):
        clothed = 0.62 * t > look.sleeve_start
        swell = (1.0 + 0.75 * t) * (1.16 if clothed else 1.0)
        rings.append(centre + (rim - middle) * swell)
        tones.append(np.tile(look.sleeve, (n, 1)) if clothed else colours[loop])
    vertices = np.concatenate(rings)
    i = np.arange(n) + n * np.arange(_RINGS - 1)[:, None]
    j = (np.arange(n) + 1) % n + n * np.arange(_RINGS - 1)[:, None]
    faces = np.concatenate([np.stack([i, j, i + n], -1).reshape(-1, 3), np.stack([j, j + n, i + n], -1).reshape(-1, 3)])
    centres = np.repeat(np.stack([r.mean(axis=0) for r in rings]), n, axis=0)
    normals = vertices - centres
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return vertices, normals, np.concatenate(tones).astype(np.float32), faces.astype(np.int32)


@cache
def _texture(name: str) -> np.ndarray:
    return linear(object_texture(name))


def textures_of(objects: tuple[str, ...], wide: WideLook | None = None) -> np.ndarray:
    """Linear textures (n, S, S, 3) float32 of a recording's objects, in their order."""
    painted = wide.textures if wide is not None else {}
    return np.stack([painted[i] if i in painted else _texture(name) for i, name in enumerate(objects)])


def geometry_of(hands: Sequence[HandShape], objects: tuple[str, ...], poses: np.ndarray, look: Look) -> Geometry:
    """All meshes of one moment: the hands that are there with their arms, and objects at poses (n, 4, 4)

    table_from_object.
    """
    parts: list[tuple[np.ndarray, ...]] = []
    shine = 0.05 if look.wide is None else look.wide.shine
    for hand in hands:
        skin = vertex_normals(hand.vertices, hand.faces)
        parts.append(_entry(hand.vertices, skin, hand.colours, None, hand.faces, hand.identity, -1, shine))
        arm, normals, tones, arm_faces = _forearm(hand.vertices, hand.back, look, hand.colours)
        parts.append(_entry(arm, normals, tones, None, arm_faces, 0, -1, 0.01))
    for i, (name, pose) in enumerate(zip(objects, poses, strict=True)):
        mesh = object_mesh(name)
        vertices = mesh.vertices @ pose[:3, :3].T + pose[:3, 3]
        normals = mesh.normals @ pose[:3, :3].T
        parts.append(_entry(vertices, normals, None, mesh.uv, mesh.faces, catalogue()[name].ycb_id, i, 0.12))
    starts = np.cumsum([0] + [len(p[0]) for p in parts[:-1]])
    moved = [(*p[:4], p[4] + start, *p[5:]) for p, start in zip(parts, starts, strict=True)]
    return Geometry(*(np.ascontiguousarray(np.concatenate(column)) for column in zip(*moved, strict=True)))


def _entry(vertices, normals, colours, uv, faces, identity: int, texture: int, shine: float) -> tuple[np.ndarray, ...]:
    """One mesh in the column order of `Geometry`."""
    n, f = len(vertices), len(faces)
    return (
        vertices,
        normals,
        np.zeros((n, 3), np.float32) if colours is None else colours.astype(np.float32),
        np.zeros((n, 2), np.float32) if uv is None else uv.astype(np.float32),
        faces.astype(np.int32),
        np.full(f, identity, np.uint8),
        np.full(f, texture, np.int32),
        np.full(f, shine, np.float32),
    )


@cache
def _grain() -> np.ndarray:
    """Unit noise (700, 3 * 900) float32 of 900 pixels' channels a row, cut at a random place for every photo.

    Drawing fresh noise would cost more than a whole picture.
    """
    return np.random.default_rng(5).standard_normal((700, 3 * 900), dtype=np.float32)


def take_shot(
    geometry: Geometry,
    textures: np.ndarray,
    view: View,
    look: Look,
    shadows: ShadowMap,
    rng: np.random.Generator,
) -> Shot:
    """The camera's shot of this moment: shaded, slightly blurred, with exposure and sensor noise."""
    picture, seg, depth = paint(geometry, textures, view, look, shadows)
    picture = cv2.GaussianBlur(picture, (3, 3), 0.55)
    x, y = int(rng.integers(900 - WIDTH)), int(rng.integers(700 - HEIGHT))
    photo = develop(picture, _grain(), (x, y), look.noise)
    return Shot(photo, seg, depth)
