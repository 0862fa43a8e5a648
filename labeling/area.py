"""How much of the hand's picture is seen: shares of its projected silhouette, by what covers the rest.

Pixels with pixel i covering [i, i+1), inverse depths in 1/m. The silhouette is the whole hand's, also where it leaves
the image, and only what is modelled (objects, other hands, the image's border) hides something: the definition of
HOT3D's `visibilities_modeled`. A hand does not hide its own silhouette.
"""

import math
from dataclasses import dataclass

import numpy as np

from ..jit import njit, readonly
from .raster import NEAR, Mesh, Renderer, View

MOST_PIXELS = 4096
"""Longest side of the picture of a hand that leaves the image; a larger silhouette is counted on a coarser grid."""

_depths, _points, _faces = readonly("float32", 2), readonly("float64", 2), readonly("int32", 2)


@dataclass(frozen=True)
class HandArea:
    """Shares of the hand's silhouette, in [0, 1].

    visible: seen, of the whole silhouette. hidden: by objects, by other hands, outside the image, of the whole
    silhouette; with `visible` they sum to 1. before_objects: of its pixels in the image, those that no object covers
    (other hands left out). NaN where there is no silhouette, and the first two where a part of it is not before the
    camera.
    """

    visible: float
    hidden: tuple[float, float, float]
    before_objects: float


@njit(f"UniTuple(int64, 4)({_depths}, {_depths}, {_depths})")
def _count(hand, objects, others):
    """Pixels of the hand in the image, those that are seen, those that an object covers, and that objects leave."""
    silhouette, seen, by_object, left = 0, 0, 0, 0
    for y in range(hand.shape[0]):
        for x in range(hand.shape[1]):
            own = hand[y, x]
            if not own > 0.0:
                continue
            silhouette += 1
            thing = objects[y, x]
            other = others[y, x] if others.shape[0] > 0 else np.float32(0.0)
            left += own >= thing
            if own >= thing and own >= other:
                seen += 1
            elif thing >= other:
                by_object += 1
    return silhouette, seen, by_object, left


def hand_area(
    renderer: Renderer, mesh: Mesh, view: View, hand: np.ndarray, objects: np.ndarray, others: np.ndarray
) -> HandArea:
    """The shares of a frame's hand from what was drawn of it.

    hand, objects, others: (h, w) float32, inverse depths in the view's viewport, `objects` and `others` exact wherever
    they are nearer than the hand; an empty `others` is no other hand. The hand is drawn once more where it leaves the
    image.
    """
    silhouette, seen, by_object, left = _count(hand, objects, others)
    before_objects = left / silhouette if silhouette else math.nan
    whole = _whole_silhouette(renderer, mesh, view, silhouette)
    if not whole > 0:
        return HandArea(math.nan, (math.nan, math.nan, math.nan), before_objects)
    by_other = silhouette - seen - by_object
    return HandArea(seen / whole, (by_object / whole, by_other / whole, (whole - silhouette) / whole), before_objects)


@njit(f"UniTuple(float64, 5)({_points}, {_points})")
def _extent(points, vertices):
    """Smallest and largest pixel coordinates x0, y0, x1, y1 of the vertices, and the smallest of their depths."""
    x0, y0, x1, y1, near = np.inf, np.inf, -np.inf, -np.inf, np.inf
    for i in range(points.shape[0]):
        x0, x1 = min(x0, points[i, 0]), max(x1, points[i, 0])
        y0, y1 = min(y0, points[i, 1]), max(y1, points[i, 1])
        near = min(near, vertices[i, 2])
    return x0, y0, x1, y1, near


@njit(f"int64({_points}, {_faces}, float64, float64, int32[:, ::1], float64[::1])")
def _take_leaving(points, faces, width, height, out, bounds):
    """Copy the faces with a corner outside the image to the start of `out`; their number, and their x0, y0, x1, y1."""
    count = 0
    bounds[:2], bounds[2:] = np.inf, -np.inf
    for f in range(faces.shape[0]):
        inside = True
        for k in range(3):
            u, v = points[faces[f, k], 0], points[faces[f, k], 1]
            inside = inside and 0.0 <= u < width and 0.0 <= v < height
        if inside:
            continue
        for k in range(3):
            out[count, k] = faces[f, k]
            for axis in range(2):
                place = points[faces[f, k], axis]
                bounds[axis] = min(bounds[axis], place)
                bounds[axis + 2] = max(bounds[axis + 2], place)
        count += 1
    return count


@njit(f"int64({_depths}, float64, float64, float64, float64, float64)")
def _count_outside(drawn, x0, y0, scale, width, height):
    """Pixels that show something and whose centre is not in the image; the corner is x0, y0 px, `scale` pixels a px."""
    count = 0
    for row in range(drawn.shape[0]):
        v = (row + 0.5) / scale + y0
        for column in range(drawn.shape[1]):
            if drawn[row, column] > 0.0:
                u = (column + 0.5) / scale + x0
                count += not (0.0 < u < width and 0.0 < v < height)
    return count


def _whole_silhouette(renderer: Renderer, mesh: Mesh, view: View, inside: int) -> float:
    """Pixels of the hand's silhouette, in the image (`inside` of them) and beyond; NaN when it reaches the camera."""
    x0, y0, x1, y1, near = _extent(mesh.points_2d, mesh.vertices)
    if near <= NEAR:
        return math.nan
    if x0 >= 0 and y0 >= 0 and x1 < view.width and y1 < view.height:
        return inside
    if not inside:
        return 1.0  # however large it is, all of it is outside
    # Only faces that leave the image can add to what is known inside it.
    leaving, bounds = np.empty(mesh.faces.shape, np.int32), np.empty(4)
    count = _take_leaving(mesh.points_2d, mesh.faces, float(view.width), float(view.height), leaving, bounds)
    if not count:  # only vertices of no face lie outside
        return inside
    low, high = bounds[:2], bounds[2:]
    start = np.floor(low) - 1
    scale = min(1.0, MOST_PIXELS / (float((high - start).max()) + 2))
    width, height = (int(side) for side in np.ceil((high - start) * scale) + 2)
    intrinsics = view.intrinsics.astype(np.float64)
    intrinsics[:2] -= start[:, None] * intrinsics[2]
    intrinsics[:2] *= scale
    shifted = Mesh(mesh.vertices, leaving[:count], (mesh.points_2d - start) * scale)
    drawn = renderer.inverse_depth([shifted], View(intrinsics, width, height, (0, 0, width, height)))
    return inside + _count_outside(drawn, *start.tolist(), scale, float(view.width), float(view.height)) / scale**2
