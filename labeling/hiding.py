"""The objects of a frame that can hide something of the hand, and where they do.

Metres in the OpenCV camera frame, pixels with pixel i covering [i, i+1). Most of what lies around a hand is beside or
behind it: with a renderer that draws by the z-buffer's rules, only what can change a label is drawn.
"""

from collections.abc import Sequence

import numpy as np

from ..data.frame import Frame
from ..hand.triangles import TILE, draw_before
from ..jit import njit, readonly
from .objects import GROUP, ObjectLibrary, ObjectMesh, place
from .raster import NEAR, Renderer, View

Placed = tuple[ObjectMesh, np.ndarray]
"""An object and where it stands: (3, 4) float64 camera_from_object, m."""

_matrix, _numbers, _depths = readonly("float64", 2), readonly("float64", 1), readonly("float32", 2)


def objects_at(frame: Frame, view: View, objects: ObjectLibrary, far: float) -> tuple[list[Placed], list[str]]:
    """The frame's objects that can hide something of the view nearer than `far` m, and the names without a mesh.

    All-zero poses are DexYCB's "absent". Objects whose bounding sphere lies behind the hand or beside the view are left
    out: they cannot change a label.
    """
    found, absent = [], []
    k = np.ascontiguousarray(view.intrinsics, np.float64)
    for item in frame.objects:
        mesh = objects.get(item.name)
        pose = np.ascontiguousarray(item.pose, np.float64)
        if mesh is None:
            if np.any(pose[:, :3]):
                absent.append(item.name)
        elif _may_hide(pose, mesh.centre, mesh.radius, far, k, *view.viewport):
            found.append((mesh, pose))
    return found, absent


@njit(f"boolean(float64, float64, float64, float64, {_matrix}, int64, int64, int64, int64)", error_model="numpy")
def _beside(x, y, z, radius, k, x0, y0, x1, y1):
    """Whether a sphere (m) surely projects outside the viewport: it lies beyond one of the four planes of its sides."""
    u, v = k[0, 0] * x + k[0, 1] * y + k[0, 2] * z, k[1, 1] * y + k[1, 2] * z
    across = np.hypot(k[0, 0], k[0, 1])
    return (
        x0 * z - u > radius * np.hypot(across, k[0, 2] - x0)
        or u - x1 * z > radius * np.hypot(across, k[0, 2] - x1)
        or y0 * z - v > radius * np.hypot(k[1, 1], k[1, 2] - y0)
        or v - y1 * z > radius * np.hypot(k[1, 1], k[1, 2] - y1)
    )


@njit(f"boolean({_matrix}, {_numbers}, float64, float64, {_matrix}, int64, int64, int64, int64)", error_model="numpy")
def _may_hide(pose, centre, radius, far, k, x0, y0, x1, y1):
    """Whether an object in a sphere (m) is there and can lie before what is nearer than `far` m in the viewport."""
    if not pose[:, :3].any():
        return False
    placed = pose[:, 3].copy()
    for i in range(3):
        for j in range(3):
            placed[i] += pose[i, j] * centre[j]
    return placed[2] - radius <= far and not _beside(placed[0], placed[1], placed[2], radius, k, x0, y0, x1, y1)


@njit(
    f"void({_depths}, {_matrix}, {_numbers}, float64, int64, int64, float64, float32[:, ::1], float32[:, ::1])",
    error_model="numpy",
)
def _depth_to_beat(hand, points, z, tolerance, left, top, near, out, tiles):
    """Fill `out` (h, w) with the inverse depth above which a surface can matter, and `tiles` with its least values.

    That is the hand's own where there is a hand; where there is none and points project, what would hide the nearest of
    them by more than `tolerance` m; and infinity elsewhere.
    """
    height, width = hand.shape
    for y in range(height):
        for x in range(width):
            out[y, x] = hand[y, x] if hand[y, x] > 0.0 else np.inf
    for i in range(len(z)):
        u, v = points[i, 0] - left, points[i, 1] - top
        if not (z[i] > near and 0.0 <= u < width and 0.0 <= v < height):
            continue
        x, y = int(np.floor(points[i, 0])) - left, int(np.floor(points[i, 1])) - top
        if not hand[y, x] > 0.0:
            out[y, x] = min(out[y, x], np.float32((1.0 - 1e-5) / (z[i] - tolerance)))
    tiles[:] = np.inf
    for y in range(height):
        for x in range(width):
            tiles[y // TILE, x // TILE] = min(tiles[y // TILE, x // TILE], out[y, x])


def depth_of_objects(
    renderer: Renderer,
    placed: Sequence[Placed],
    view: View,
    hand: np.ndarray,
    points: np.ndarray,
    points_2d: np.ndarray,
    tolerance: float,
) -> np.ndarray:
    """(h, w) float32, 1/z in 1/m of the objects' first surface, exact wherever it decides something.

    It decides at pixels with a hand where it is nearer than `hand` (h, w), and at pixels without where it lies more
    than `tolerance` m before one of the points (P, 3) m that project there (P, 2) px. A sparing renderer gives, at all
    other pixels, a depth that does not decide; others draw everything.
    """
    if not renderer.sparing:
        return renderer.inverse_depth([place(mesh, pose, view.intrinsics) for mesh, pose in placed], view)
    if not placed or 0 in hand.shape:
        return np.zeros_like(hand)
    x0, y0 = view.viewport[:2]
    k = np.ascontiguousarray(view.intrinsics, np.float64)
    depths = np.ascontiguousarray(points[:, 2])
    front, tiles = np.empty_like(hand), np.empty([-(-side // TILE) for side in hand.shape], np.float32)
    _depth_to_beat(hand, points_2d, depths, tolerance, x0, y0, NEAR, front, tiles)
    for mesh, pose in placed:
        groups = (mesh.vertices, mesh.grouped, mesh.centres, mesh.radii, GROUP)
        draw_before(*groups, pose, k, x0, y0, NEAR, tiles, front)
    return front
