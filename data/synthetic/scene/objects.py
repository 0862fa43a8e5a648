"""The 21 YCB names as procedural objects of YCB sizes: mesh, signed distance and texture, free of any licence.

Metres, each object in its own frame: origin at the middle of its bounds, z up as it rests on a table. Folder names and
numbers are DexYCB's (`dexycb_splits`); shapes and labels are drawn here and are nobody's product.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from .shapes import Box, Lathe, TexturedMesh, Tube
from .textures import TEXTURE, paint_part

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Part:
    """One shape of an object, moved by `at` (m), with its paint: base colour, accent colour (RGB) and pattern."""

    shape: Box | Lathe | Tube
    base: Colour
    accent: Colour
    pattern: str = "plain"
    at: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class YcbObject:
    """`ycb_id` is DexYCB's number; `grip` says how a hand takes it: "side" (stands tall) or "top" (lies flat)."""

    name: str
    ycb_id: int
    grip: str
    parts: tuple[Part, ...]

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Signed distance of points (..., 3) in m, object frame; negative inside."""
        return np.min([p.shape.distance(points - np.asarray(p.at)) for p in self.parts], axis=0)


def _can(r: float, h: float) -> Lathe:
    e = 0.0015
    return Lathe(
        (
            (0, -h / 2),
            (r - e, -h / 2),
            (r, -h / 2 + e),
            (r, h / 2 - e),
            (r - e, h / 2),
            (r - 2 * e, h / 2 - e),
            (0, h / 2 - e),
        )
    )


def _vessel(outside: list[tuple[float, float]], wall: float, floor: float) -> Lathe:
    inside = [(max(r - wall, 0.004), max(z, floor)) for r, z in reversed(outside[1:])]
    return Lathe((*outside, *inside, (0.0, floor)))


def _arc(centre: tuple[float, float], radius: tuple[float, float], start: float, end: float, n: int, plane: str):
    a = np.radians(np.linspace(start, end, n))
    p, q = centre[0] + radius[0] * np.cos(a), centre[1] + radius[1] * np.sin(a)
    zero = np.zeros(n)
    columns = {"xz": (p, zero, q), "xy": (p, q, zero), "yz": (zero, p, q)}[plane]
    return tuple(map(tuple, np.stack(columns, axis=1)))


def _bottle(corners: list[tuple[float, float]], flatten: float) -> Lathe:
    return Lathe(((0.0, corners[0][1]), *corners, (0.0, corners[-1][1])), flatten)


def _banana() -> Tube:
    path = _arc((0.055, 0.0), (0.09, 0.105), 118.0, 242.0, 15, "xy")
    return Tube(
        path,
        (0.006, 0.007, 0.011, 0.015, 0.017, 0.018, 0.0185, 0.0185, 0.0185, 0.018, 0.017, 0.014, 0.009, 0.006, 0.004),
    )


def _clamp(scale: float, colour: Colour) -> tuple[Part, ...]:
    s = scale
    jaw = Tube(
        ((0.030 * s, -0.075 * s, 0), (0.038 * s, -0.03 * s, 0), (0.022 * s, 0.02 * s, 0), (0.014 * s, 0.08 * s, 0)),
        (0.008, 0.012, 0.012, 0.007),
    )
    mirrored = Tube(tuple((-x, y, z) for x, y, z in jaw.path), jaw.radii)
    spring = Tube(((-0.03 * s, 0.0, 0), (0.03 * s, 0.0, 0)), (0.009, 0.009))
    return (
        Part(jaw, colour, (30, 30, 30), "stripes"),
        Part(mirrored, colour, (30, 30, 30), "stripes"),
        Part(spring, (150, 150, 155), (90, 90, 90)),
    )


def _drill() -> tuple[Part, ...]:
    dark, orange = (38, 38, 42), (226, 106, 24)
    return (
        Part(
            Tube(((-0.075, 0.055, 0), (-0.03, 0.06, 0), (0.035, 0.06, 0)), (0.024, 0.0285, 0.026)),
            orange,
            dark,
            "label",
        ),
        Part(Tube(((0.045, 0.06, 0), (0.09, 0.06, 0)), (0.016, 0.009)), dark, (90, 90, 95), "stripes"),
        Part(Tube(((-0.035, 0.04, 0), (-0.052, -0.05, 0)), (0.019, 0.0185)), dark, orange, "stripes"),
        Part(Box((0.085, 0.034, 0.056)), dark, orange, "label", (-0.045, -0.076, 0.0)),
    )


def _scissors() -> tuple[Part, ...]:
    grip, steel = (196, 36, 40), (176, 180, 188)
    ring = Tube(_arc((0.024, -0.062), (0.019, 0.027), 0.0, 340.0, 18, "xy"), (0.0055,) * 18, closed=True)
    other = Tube(tuple((-x, y, z) for x, y, z in ring.path), ring.radii, closed=True)
    return (
        Part(ring, grip, (120, 10, 20)),
        Part(other, grip, (120, 10, 20)),
        Part(
            Tube(((0.016, -0.037, 0), (0.003, 0.0, 0), (-0.010, 0.10, 0)), (0.005, 0.0065, 0.0025)),
            steel,
            (120, 124, 130),
        ),
        Part(
            Tube(((-0.016, -0.037, 0), (-0.003, 0.0, 0), (0.010, 0.10, 0)), (0.005, 0.0065, 0.0025)),
            steel,
            (120, 124, 130),
        ),
    )


def _mug() -> tuple[Part, ...]:
    cup = _vessel([(0.0, -0.04), (0.037, -0.04), (0.0405, -0.036), (0.0405, 0.04)], 0.004, -0.034)
    handle = Tube(_arc((0.038, 0.0), (0.033, 0.027), -88.0, 88.0, 13, "xz"), (0.0055,) * 13)
    return (Part(cup, (186, 42, 34), (230, 190, 60), "rings"), Part(handle, (186, 42, 34), (150, 30, 26)))


def _pitcher() -> tuple[Part, ...]:
    jug = _vessel([(0.0, -0.12), (0.05, -0.12), (0.053, -0.114), (0.058, 0.09), (0.064, 0.121)], 0.003, -0.116)
    handle = Tube(_arc((0.054, 0.01), (0.05, 0.08), -80.0, 80.0, 13, "xz"), (0.009,) * 13)
    return (Part(jug, (54, 96, 176), (225, 230, 240), "rings"), Part(handle, (44, 82, 158), (30, 60, 120)))


_MUSTARD = [
    (0.044, -0.0955),
    (0.048, -0.09),
    (0.048, 0.01),
    (0.043, 0.04),
    (0.018, 0.066),
    (0.016, 0.072),
    (0.016, 0.084),
    (0.006, 0.0955),
]
_BLEACH = [
    (0.047, -0.125),
    (0.0515, -0.118),
    (0.0515, 0.02),
    (0.045, 0.06),
    (0.022, 0.088),
    (0.019, 0.09),
    (0.019, 0.12),
    (0.016, 0.125),
]
_BOWL = [(0.0, -0.0275), (0.030, -0.0275), (0.046, -0.020), (0.062, -0.006), (0.074, 0.010), (0.080, 0.0275)]
WHITE, BLACK = (240, 238, 232), (32, 32, 36)


@cache
def catalogue() -> dict[str, YcbObject]:
    """All objects by YCB folder name, in the order of DexYCB's numbers 1 to 21."""
    entries: list[tuple[str, str, tuple[Part, ...]]] = [
        ("002_master_chef_can", "side", (Part(_can(0.051, 0.140), (28, 72, 150), (238, 214, 110), "label"),)),
        ("003_cracker_box", "side", (Part(Box((0.072, 0.164, 0.213)), (196, 32, 38), (246, 220, 120), "label"),)),
        ("004_sugar_box", "side", (Part(Box((0.049, 0.094, 0.176)), (244, 206, 40), (40, 70, 160), "label"),)),
        ("005_tomato_soup_can", "side", (Part(_can(0.034, 0.101), (206, 34, 40), WHITE, "label"),)),
        ("006_mustard_bottle", "side", (Part(_bottle(_MUSTARD, 0.60), (240, 196, 24), (170, 40, 30), "label"),)),
        ("007_tuna_fish_can", "top", (Part(_can(0.0427, 0.0335), (32, 70, 120), (210, 220, 230), "stripes"),)),
        ("008_pudding_box", "top", (Part(Box((0.137, 0.111, 0.038)), (116, 66, 40), (244, 226, 190), "label"),)),
        ("009_gelatin_box", "top", (Part(Box((0.101, 0.089, 0.030)), (222, 64, 92), (250, 240, 240), "label"),)),
        ("010_potted_meat_can", "side", (Part(Box((0.102, 0.058, 0.084)), (30, 56, 130), (246, 206, 60), "label"),)),
        ("011_banana", "top", (Part(_banana(), (236, 202, 66), (120, 90, 36), "spots"),)),
        ("019_pitcher_base", "side", _pitcher()),
        ("021_bleach_cleanser", "side", (Part(_bottle(_BLEACH, 0.65), WHITE, (40, 110, 190), "label"),)),
        ("024_bowl", "top", (Part(_vessel(_BOWL, 0.004, -0.022), (176, 40, 36), (240, 210, 120), "rings"),)),
        ("025_mug", "side", _mug()),
        ("035_power_drill", "top", _drill()),
        ("036_wood_block", "side", (Part(Box((0.088, 0.088, 0.205)), (188, 140, 88), (138, 94, 52), "wood"),)),
        ("037_scissors", "top", _scissors()),
        (
            "040_large_marker",
            "top",
            (Part(Tube(((0, -0.052, 0), (0, 0.052, 0)), (0.0095, 0.009)), BLACK, (220, 220, 224), "stripes"),),
        ),
        ("051_large_clamp", "top", _clamp(0.85, (24, 24, 28))),
        ("052_extra_large_clamp", "top", _clamp(1.1, (40, 40, 46))),
        ("061_foam_brick", "top", (Part(Box((0.053, 0.078, 0.051)), (178, 58, 44), (140, 40, 32), "spots"),)),
    ]
    return {name: YcbObject(name, i + 1, grip, _centre(parts)) for i, (name, grip, parts) in enumerate(entries)}


def _centre(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The parts moved so that the middle of their bounds is the origin, as in the YCB-Video models."""
    points = np.concatenate([p.shape.mesh().vertices + np.asarray(p.at) for p in parts])
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    x, y, z = (round(float(m), 6) for m in middle)
    return tuple(replace(p, at=(p.at[0] - x, p.at[1] - y, p.at[2] - z)) for p in parts)


def _rectangles(n: int) -> list[tuple[float, float, float, float]]:
    """Where in the texture (u0, v0, u1, v1) each of n parts lies: the first takes most of it."""
    if n == 1:
        return [(0.0, 0.0, 1.0, 1.0)]
    edges = np.linspace(0.0, 1.0, n)
    return [(0.0, 0.0, 0.7, 1.0), *((0.7, float(a), 1.0, float(b)) for a, b in itertools.pairwise(edges))]


@cache
def object_mesh(name: str) -> TexturedMesh:
    """The whole mesh of an object; its parts overlap, which a z-buffer does not mind."""
    parts, start = [], 0
    model = catalogue()[name]
    for part, (u0, v0, u1, v1) in zip(model.parts, _rectangles(len(model.parts)), strict=True):
        m = part.shape.mesh()
        uv = np.array([u0, v0]) + m.uv * np.array([u1 - u0, v1 - v0])
        parts.append((m.vertices + np.asarray(part.at), m.normals, uv, m.faces + start))
        start += len(m.vertices)
    vertices, normals, uv, faces = (np.concatenate(a) for a in zip(*parts, strict=True))
    return TexturedMesh(vertices, normals, uv, faces.astype(np.int32))


@cache
def object_texture(name: str) -> np.ndarray:
    """The texture (TEXTURE, TEXTURE, 3) uint8 RGB, first row = v of 1; the same for every seed, as a product's is."""
    model = catalogue()[name]
    image = np.zeros((TEXTURE, TEXTURE, 3), np.uint8)
    rng = np.random.default_rng(1000 + model.ycb_id)
    for part, (u0, v0, u1, v1) in zip(model.parts, _rectangles(len(model.parts)), strict=True):
        x0, x1 = round(u0 * TEXTURE), round(u1 * TEXTURE)
        y0, y1 = round((1 - v1) * TEXTURE), round((1 - v0) * TEXTURE)
        cells = (3, 2) if isinstance(part.shape, Box) else (1, 1)
        image[y0:y1, x0:x1] = paint_part(y1 - y0, x1 - x0, cells, part.base, part.accent, part.pattern, rng)
    return image


def write_models(folder: Path) -> None:
    """Write `<YCB_CLASS>/textured_simple.obj` with its material and texture for all 21 objects (metres)."""
    for name in catalogue():
        mesh, place = object_mesh(name), folder / name
        place.mkdir(parents=True)
        text = "mtllib textured_simple.obj.mtl\nusemtl material_0\n"
        text += _lines("v %.6f %.6f %.6f\n", mesh.vertices)
        text += _lines("vt %.5f %.5f\n", mesh.uv)
        text += _lines("vn %.4f %.4f %.4f\n", mesh.normals)
        text += _lines("f %d/%d/%d %d/%d/%d %d/%d/%d\n", np.repeat(mesh.faces + 1, 3, axis=1))
        (place / "textured_simple.obj").write_text(text)
        material = "newmtl material_0\nKa 1 1 1\nKd 1 1 1\nKs 0.1 0.1 0.1\nillum 2\nNs 20\nmap_Kd texture_map.png\n"
        (place / "textured_simple.obj.mtl").write_text(material)
        cv2.imwrite(str(place / "texture_map.png"), object_texture(name)[:, :, ::-1])


def _lines(form: str, rows: np.ndarray) -> str:
    """A line for each row, all at once: a third of the time of one after the other."""
    return form * len(rows) % tuple(rows.ravel().tolist())
