"""The scene: meshes of a moment, cameras round a table, lights, skin and room.

Metres, the table's frame (z up, top at z = 0, the person at negative y); cameras are OpenCV (x right, y down, z
forward); colours are linear RGB in [0, 1] unless they say sRGB.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .textures import room_wall, table_top

WIDTH, HEIGHT = 640, 480
MIDDLE = (0.0, 0.0, 0.065)
"""Where things happen on the table, m."""

_PLACES = (  # azimuth from straight across the table (degrees, positive to the person's right), elevation, distance m
    (-24.0, 38.0, 0.90),
    (28.0, 46.0, 0.86),
    (2.0, 40.0, 0.92),
    (72.0, 30.0, 0.84),
    (-70.0, 34.0, 0.86),
    (108.0, 48.0, 0.90),
    (-104.0, 44.0, 0.92),
    (10.0, 76.0, 0.80),
)
SKIN = (  # sRGB, from pale to dark
    (241, 205, 182),
    (228, 180, 150),
    (214, 162, 128),
    (198, 142, 108),
    (172, 118, 86),
    (142, 96, 68),
    (108, 72, 52),
    (78, 54, 42),
)
_SLEEVES = ((36, 48, 82), (40, 40, 44), (150, 152, 156), (112, 34, 40), (58, 88, 64), (214, 210, 200), (86, 66, 110))


@dataclass(frozen=True, eq=False)
class Camera:
    """intrinsics (3, 3) px; camera_from_table (4, 4) m, OpenCV; `gain` (3,) is its exposure and white balance."""

    intrinsics: np.ndarray
    camera_from_table: np.ndarray
    gain: np.ndarray

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (V, 2) and depths (V,) m of table points (V, 3)."""
        p = points @ self.camera_from_table[:3, :3].T + self.camera_from_table[:3, 3]
        return p[:, :2] / p[:, 2:] * np.diag(self.intrinsics)[:2] + self.intrinsics[:2, 2], p[:, 2]


@dataclass(frozen=True, eq=False)
class WideLook:
    """What a wide look (`wide`) has beyond other values.

    skin (778, 3) float32 factors on the colours of the hand's vertices, and how it shines; textures (S, S, 3) linear by
    the object's place in the recording (others keep their own); backgrounds, one a camera, (480, 640, 3) sRGB instead
    of table and walls, or None; gains (cameras, 3) on exposure and white balance.
    """

    skin: np.ndarray
    shine: float
    textures: dict[int, np.ndarray]
    backgrounds: tuple[np.ndarray | None, ...]
    gains: np.ndarray


@dataclass(frozen=True, eq=False)
class Look:
    """How one recording looks.

    skin (3,) linear; sleeve (3,) linear, sleeve_start m above the wrist; lights (2, 3) unit towards the light;
    light_colours (2, 3); ambient (2, 3) from above and below; table and walls are sRGB images; `wide` adds to it.
    """

    skin: np.ndarray
    sleeve: np.ndarray
    sleeve_start: float
    lights: np.ndarray
    light_colours: np.ndarray
    ambient: np.ndarray
    table: np.ndarray
    table_half: np.ndarray
    walls: tuple[np.ndarray, ...]
    noise: float
    wide: WideLook | None = None


def linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB values 0..255 to linear light 0..1 (power 2.2)."""
    return (np.asarray(srgb, np.float32) / 255.0) ** 2.2


_LINEAR = linear(np.arange(256))


def look_at(position: np.ndarray, target: np.ndarray, roll: float = 0.0) -> np.ndarray:
    """camera_from_table (4, 4) of an OpenCV camera at `position` that looks at `target`, upright but for `roll` rad."""
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    rotation = np.stack([c * right + s * down, c * down - s * right, forward])
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, -rotation @ position
    return pose


def make_rig(
    rng: np.random.Generator,
    count: int = 8,
    spread: float = 0.05,
    centre: tuple[float, float, float] = MIDDLE,
    far: float = 1.0,
) -> tuple[Camera, ...]:
    """`count` cameras round the table, like DexYCB's.

    Each aims at `centre` (m) and misses it by about `spread` m; `far` multiplies their distance.
    """
    cameras = []
    for azimuth, elevation, distance in _PLACES[:count]:
        a, e = np.radians(azimuth + rng.normal(0.0, 4.0)), np.radians(elevation + rng.normal(0.0, 3.0))
        d = far * distance * rng.uniform(0.72, 0.95)
        target = np.array(centre) + np.append(rng.normal(0.0, spread, 2), rng.uniform(-0.035, 0.035))
        position = target + d * np.array([np.sin(a) * np.cos(e), np.cos(a) * np.cos(e), np.sin(e)])
        fx, fy = 613.5 + rng.normal(0.0, 2.0), 612.5 + rng.normal(0.0, 2.0)
        intrinsics = np.array([[fx, 0, 314 + rng.normal(0, 5)], [0, fy, 244 + rng.normal(0, 5)], [0, 0, 1.0]])
        gain = rng.uniform(0.9, 1.1) * rng.uniform(0.97, 1.03, 3)
        cameras.append(Camera(intrinsics, look_at(position, target, rng.normal(0.0, 0.03)), gain))
    return tuple(cameras)


def make_look(subject: int, rng: np.random.Generator) -> Look:
    """Skin by subject (the same in all of a subject's recordings), the rest by the generator."""
    own = np.random.default_rng([77, subject])
    skin = linear(np.array(SKIN[(3 * subject + 1) % len(SKIN)]) * own.uniform(0.95, 1.04, 3))
    azimuth, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.9, 1.9)
    key = np.array([np.cos(azimuth), np.sin(azimuth), height])
    fill = np.array([-np.cos(azimuth + rng.normal(0, 0.5)), -np.sin(azimuth), rng.uniform(0.5, 1.4)])
    lights = np.stack([key / np.linalg.norm(key), fill / np.linalg.norm(fill)])
    warmth = rng.uniform(-0.07, 0.07)
    tint = np.array([1.0 + warmth, 1.0, 1.0 - warmth])
    strength = rng.uniform([0.5, 0.12], [0.85, 0.35])
    ambient = np.stack([tint * rng.uniform(0.28, 0.45), np.array([1.0, 0.97, 0.94]) * rng.uniform(0.10, 0.18)])
    kind = str(rng.choice(["wood", "cloth", "plain", "board"], p=[0.3, 0.3, 0.25, 0.15]))
    return Look(
        skin=skin.astype(np.float32),
        sleeve=linear(np.array(_SLEEVES[int(rng.integers(len(_SLEEVES)))])),
        sleeve_start=float(own.uniform(0.05, 0.13)),
        lights=lights,
        light_colours=strength[:, None] * tint,
        ambient=ambient,
        table=table_top(kind, rng),
        table_half=rng.uniform([0.6, 0.5], [0.95, 0.7]),
        walls=tuple(room_wall(rng) for _ in range(5)),
        noise=float(rng.uniform(1.5, 3.0)),
    )


@dataclass(frozen=True, eq=False)
class Geometry:
    """All meshes of a moment as one.

    vertices, normals (V, 3) float64; colours (V, 3) float32 linear (used where a face has no texture); uv (V, 2)
    float32; faces (F, 3) int32; identity (F,) uint8 as in DexYCB's seg; texture (F,) int32, -1 = none; shine (F,)
    float32.
    """

    vertices: np.ndarray
    normals: np.ndarray
    colours: np.ndarray
    uv: np.ndarray
    faces: np.ndarray
    identity: np.ndarray
    texture: np.ndarray
    shine: np.ndarray


@dataclass(frozen=True, eq=False)
class Backdrop:
    """What a camera sees of the empty scene.

    colour (H, W, 3) float32 linear and unlit, depth (H, W) float32 m, table (H, W) bool, points (H, W, 3) float32 m in
    the table's frame.
    """

    colour: np.ndarray
    depth: np.ndarray
    table: np.ndarray
    points: np.ndarray


_ROOM = np.array([[-2.2, 2.2], [-1.8, 2.6], [-0.75, 1.9]])  # walls, floor and ceiling, m


def make_backdrop(camera: Camera, look: Look, background: np.ndarray | None = None) -> Backdrop:
    """Table and room as this camera sees them, by casting one ray through every pixel's centre.

    background (H, W, 3) sRGB is what they look like instead; they stay where they are.
    """
    u, v = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    k = camera.intrinsics
    rays = np.stack([(u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], np.ones_like(u)], axis=-1)
    rotation = camera.camera_from_table[:3, :3]
    eye = -rotation.T @ camera.camera_from_table[:3, 3]
    # Length such that the parameter is the camera's depth. One plane per axis from here on: (3, H, W).
    rays = np.ascontiguousarray(np.moveaxis(rays @ rotation, -1, 0))
    with np.errstate(divide="ignore"):  # leaving the room on each axis
        reach = [np.maximum((low - e) / r, (high - e) / r) for (low, high), e, r in zip(_ROOM, eye, rays, strict=True)]
        down = -eye[2] / rays[2]
    depth = np.minimum(np.minimum(reach[0], reach[1]), reach[2])
    points = [e + depth * r for e, r in zip(eye, rays, strict=True)]
    on = [e + down * r for e, r in zip(eye, rays, strict=True)]
    table = (down > 0) & (down < depth)
    table &= (np.abs(on[0]) < look.table_half[0]) & (np.abs(on[1]) < look.table_half[1])
    # The wall is the one that is left through; on a tie the first one. Walls are numbered by axis and side.
    index = np.where(reach[2] == depth, 4, 0)
    for axis in (1, 0):
        index = np.where(reach[axis] == depth, 2 * axis + (rays[axis] > 0), index)
    index[table] = -1
    colour = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    for i, image in enumerate(look.walls):
        here = index == i
        if here.any():
            a, b = (1, 2) if i < 2 else (0, 2) if i < 4 else (0, 1)
            s = (points[a][here] - _ROOM[a, 0]) / (_ROOM[a, 1] - _ROOM[a, 0])
            t = (points[b][here] - _ROOM[b, 0]) / (_ROOM[b, 1] - _ROOM[b, 0])
            colour[here] = _sample(image, s, 1 - t) * 0.8
    s, t = (np.clip(place[table] / 1.9 + 0.5, 0, 1) for place in on[:2])
    colour[table] = _sample(look.table, s, t)
    # One ray per pixel leaves stairs along the table's rim: soften the pixels next to it.
    rim = cv2.morphologyEx(table.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    colour = np.where(rim[..., None], cv2.GaussianBlur(colour, (5, 5), 1.0), colour)
    if background is not None:
        colour = _LINEAR[background]
    points = np.stack([np.where(table, *both) for both in zip(on, points, strict=True)], axis=-1, dtype=np.float32)
    return Backdrop(colour, np.where(table, down, depth).astype(np.float32), table, points)


def _sample(image: np.ndarray, s: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Linear colours (N, 3) of an sRGB image at N places (s, t) in [0, 1] from its top left corner."""
    x, y = np.zeros((2, -(-len(s) // WIDTH), WIDTH), np.float32)  # in rows: OpenCV takes less than 32,767 px a side
    x.flat[: len(s)], y.flat[: len(s)] = s * (image.shape[1] - 1), t * (image.shape[0] - 1)
    seen = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return _LINEAR[seen.reshape(-1, 3)[: len(s)].astype(np.uint8, copy=False)]
