"""Meshes and skeletons over pictures, drawn with the project's own z-buffer: no OpenGL is needed.

Pictures are (H, W, 3) uint8 RGB; meshes are metres in the OpenCV camera frame; pixels are continuous, pixel i covers
[i, i + 1).
"""

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..durable import writing_file
from .camera import project
from .parts import FINGER_CHAINS
from .zbuffer import MULTISAMPLE_4, rasterize, viewport_of

Picture = NDArray[np.uint8]

BLUE, ORANGE = (86, 156, 214), (230, 145, 56)
LIGHT = np.array([0.3, -0.6, -0.75])  # towards the light, OpenCV camera axes
# Seen from the back (+y), fingers up: MANO's fingers run along -x, the palm faces -y (docs/standin.md).
_BACK_VIEW = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
FINGER_COLOURS = ((230, 140, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (204, 101, 167))  # Okabe and Ito
HATCH = (15, 15, 15)
_STRIPES = 80  # a hand is so many stripes long, or up to 1.4 times more or fewer: a finger has about four dark ones
_HOLLOW = (20, 20, 20)  # inside a ring: else the finger's line would run through it
_WRIST = (220, 220, 220)


def vertex_normals(vertices: NDArray, faces: NDArray) -> NDArray[np.float64]:
    """Area-weighted unit normals (V, 3) of a mesh: vertices (V, 3), faces (F, 3)."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    each = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices, dtype=np.float64)
    for k in range(3):
        for axis in range(3):  # half the time of np.add.at
            normals[:, axis] += np.bincount(faces[:, k], each[:, axis], minlength=len(vertices))
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def from_the_back(vertices: NDArray, side: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A hand without global rotation before a camera at its back: vertices (V, 3) m and intrinsics (3, 3).

    vertices (V, 3) m relative to the wrist. A hand of 0.2 m fills a picture of side x side px.
    """
    focal = side / 0.256
    camera = np.array([[focal, 0.0, side / 2], [0.0, focal, side / 2], [0.0, 0.0, 1.0]])
    return np.asarray(vertices, np.float64) @ _BACK_VIEW.T + [0.0, 0.07, 1.0], camera


def overlay_mesh(
    picture: Picture,
    vertices: NDArray,
    faces: NDArray,
    intrinsics: NDArray,
    *,
    colours: NDArray | tuple[int, int, int] = BLUE,
    opacity: float = 0.85,
    hatched: NDArray[np.bool_] | None = None,
) -> Picture:
    """The picture with a shaded mesh over it: vertices (V, 3) m, colours RGB of the mesh or (V, 3) of its vertices.

    Faces that are `hatched` (F,) have dark diagonal stripes, whose width follows the mesh's size in the picture.
    """
    height, width = picture.shape[:2]
    points = project(vertices, intrinsics)
    # Memory and time follow the mesh, not the picture: that of a phone has 12 million pixels.
    window = viewport_of(points, width, height)
    raster = rasterize(
        points, vertices[:, 2], faces, width=width, height=height, samples=MULTISAMPLE_4, viewport=window
    )
    normals = vertex_normals(vertices, faces)
    light = LIGHT / np.linalg.norm(LIGHT)
    # Both sides of a face are lit alike, so that a mirrored hand looks as solid as its twin.
    shade = 0.35 + 0.65 * np.abs(normals @ light)
    lit = np.clip(np.broadcast_to(np.asarray(colours, np.float64), (len(vertices), 3)) * shade[:, None], 0, 255)
    face_colours = lit[faces].mean(1)
    hit = raster.face >= 0
    seen = np.where(hit[..., None], face_colours[np.maximum(raster.face, 0)], 0.0)
    if hatched is not None:
        seen[hit & hatched[raster.face] & _stripes(points, window)] = HATCH
    summed = seen.sum(0)
    weight = opacity * hit.mean(0)[..., None]
    mesh = summed / np.maximum(hit.sum(0), 1)[..., None]
    drawn = picture.copy()
    part = drawn[window[1] : window[3], window[0] : window[2]]
    part[:] = np.clip(part * (1 - weight) + mesh * weight + 0.5, 0, 255).astype(np.uint8)
    return drawn


def _stripes(points: NDArray, window: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """Where diagonal stripes are dark in a window x0, y0, x1, y1 of the picture, for a mesh of points (V, 2) px.

    Their width is a power of two, so that in a video it hardly ever changes, and they stand still on the picture.
    """
    extent = float(np.clip(np.ptp(points, axis=0).max(), 1, 1e6))
    width = 2 ** max(1, round(math.log2(extent / _STRIPES)))
    y, x = np.mgrid[window[1] : window[3], window[0] : window[2]]
    return (x + y) // width % 2 == 0


def overlay_skeleton(
    picture: Picture,
    joints_2d: NDArray,
    *,
    thickness: int = 2,
    colours: Sequence[tuple[int, int, int]] = FINGER_COLOURS,
    filled: NDArray[np.bool_] | None = None,
) -> Picture:
    """The picture with the five finger chains over it: joints_2d (21, 2) px, wrist, thumb .. little.

    `colours` are the fingers', RGB. With `filled` (21,) joints are larger, discs where it is True, else rings round a
    dark middle; the wrist is grey.
    """
    drawn = picture.copy()
    points = np.clip(np.asarray(joints_2d), -1e4, 1e4)
    shift = 4  # cv2 takes fixed-point coordinates; its pixel centres are whole numbers
    fixed = np.round((points - 0.5) * 2**shift).astype(np.int64)
    for chain, colour in zip(FINGER_CHAINS, colours, strict=True):
        line = fixed[list(chain)].reshape(-1, 1, 2).astype(np.int32)
        cv2.polylines(drawn, [line], False, colour, thickness, cv2.LINE_AA, shift)
        for joint in chain[1:]:
            x, y = (int(value) for value in fixed[joint])
            cv2.circle(drawn, (x, y), (thickness + 1) << (shift - 1), colour, -1, cv2.LINE_AA, shift)
    if filled is not None:
        radius = (2 * thickness + 1) << shift
        chains = zip(FINGER_CHAINS, colours, strict=True)
        for joint, colour in [(0, _WRIST), *((joint, colour) for chain, colour in chains for joint in chain[1:])]:
            x, y = (int(value) for value in fixed[joint])
            cv2.circle(drawn, (x, y), radius, colour, -1, cv2.LINE_AA, shift)
            if not filled[joint]:
                cv2.circle(drawn, (x, y), radius - (thickness << shift), _HOLLOW, -1, cv2.LINE_AA, shift)
    return drawn


def encode_picture(picture: Picture, suffix: str, options: Sequence[int] = ()) -> bytes:
    """A picture, (H, W, 3) RGB or (H, W), as a PNG or JPEG file by `suffix`, with cv2's encoder `options`."""
    pixels = picture[..., ::-1] if picture.ndim == 3 else picture
    done, encoded = cv2.imencode(suffix, pixels, list(options))
    if not done:
        raise ValueError(f"picture of shape {picture.shape} could not be encoded as {suffix}")
    return encoded.tobytes()


def write_picture(path: Path, picture: Picture, options: Sequence[int] = ()) -> None:
    """Write a picture as PNG or JPEG by the path's suffix; the file appears whole."""
    data = encode_picture(picture, path.suffix, options)
    with writing_file(path) as file:
        file.write(data)
