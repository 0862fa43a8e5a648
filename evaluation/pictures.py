"""Pictures of meshes on crops, drawn with the project's own z-buffer: no OpenGL is needed.

Pictures are (H, W, 3) uint8 RGB; meshes are metres in the OpenCV camera frame of the crop's own intrinsics.
"""

import base64

import cv2
import numpy as np
from numpy.typing import NDArray

from ..hand.camera import project
from ..hand.zbuffer import MULTISAMPLE_4, rasterize

Picture = NDArray[np.uint8]

BLUE, ORANGE = (86, 156, 214), (230, 145, 56)
LIGHT = np.array([0.3, -0.6, -0.75])  # towards the light, OpenCV camera axes
_HEAT = ((0.0, (46, 94, 170)), (0.5, (240, 228, 150)), (1.0, (190, 30, 45)))


def vertex_normals(vertices: NDArray, faces: NDArray) -> NDArray[np.float64]:
    """Area-weighted unit normals (V, 3) of a mesh: vertices (V, 3), faces (F, 3)."""
    corners = vertices[faces]
    face_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices, dtype=np.float64)
    for k in range(3):
        np.add.at(normals, faces[:, k], face_normals)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def overlay_mesh(
    picture: Picture,
    vertices: NDArray,
    faces: NDArray,
    intrinsics: NDArray,
    *,
    colors: NDArray | tuple[int, int, int] = BLUE,
    opacity: float = 0.85,
) -> Picture:
    """The picture with a shaded mesh over it: vertices (V, 3) m, colors RGB of the mesh or (V, 3) of its vertices."""
    height, width = picture.shape[:2]
    points = project(vertices, intrinsics)
    raster = rasterize(points, vertices[:, 2], faces, width=width, height=height, samples=MULTISAMPLE_4)
    normals = vertex_normals(vertices, faces)
    light = LIGHT / np.linalg.norm(LIGHT)
    # Both sides of a face are lit alike, so that a mirrored hand looks as solid as its twin.
    shade = 0.35 + 0.65 * np.abs(normals @ light)
    lit = np.clip(np.broadcast_to(np.asarray(colors, np.float64), (len(vertices), 3)) * shade[:, None], 0, 255)
    face_colors = lit[faces].mean(1)
    hit = raster.face >= 0
    drawn = np.where(hit[..., None], face_colors[np.maximum(raster.face, 0)], 0.0).sum(0)
    weight = opacity * hit.mean(0)[..., None]
    mesh = drawn / np.maximum(hit.sum(0), 1)[..., None]
    return np.clip(picture * (1 - weight) + mesh * weight + 0.5, 0, 255).astype(np.uint8)


def heat_colors(values: NDArray, maximum: float) -> NDArray[np.float64]:
    """(V, 3) RGB from blue (0) over pale yellow to red (`maximum` and more) for values (V,)."""
    scaled = np.clip(np.asarray(values, np.float64) / maximum, 0.0, 1.0)
    stops = [stop for stop, _ in _HEAT]
    return np.stack([np.interp(scaled, stops, [color[k] for _, color in _HEAT]) for k in range(3)], axis=-1)


def enlarged(picture: Picture, factor: int) -> Picture:
    """The picture enlarged by a whole factor; its intrinsics grow by the same factor."""
    return np.asarray(cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), np.uint8)


def data_uri(picture: Picture, *, quality: int = 88) -> str:
    """The picture as a JPEG data URI for a self-contained page."""
    done, encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"picture of shape {picture.shape} could not be encoded")
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
