"""The rules that turn a picture of the hand into labels: "h2onet" (the authors', exactly) and "depth" (this project's).

Metres in the OpenCV camera frame, pixels with pixel i covering [i, i+1). Parts are 0..5 = thumb, index, middle, ring,
little, palm. Pure functions on arrays of one frame; `labeling.label` runs them over a dataset's frames.

h2onet: a part is occluded when fewer than 30 of its vertices project into a pixel of the dataset's hand mask that shows
the same part; the whole hand is occluded when the mask has less than 0.40 of the rendered pixels. There is no depth
test per vertex: that is the rule people train with, kept to the letter (without the photo-pixel accident of the
original).

depth: what a camera really sees. A vertex is *camera-facing* when the outward normal of the mesh and the direction to
the camera enclose less than 84.3 degrees (cosine above 0.1). It is *outside* when it projects beyond the image or lies
at most 0.05 m before the camera; *hidden* when the first surface at its pixel's centre, of hand and objects, lies more
than 5 mm nearer than the vertex; else visible. The visible fraction of a part is visible / camera-facing vertices.
"""

from dataclasses import dataclass

import numpy as np

from ..hand.parts import CAUSES, PARTS
from ..jit import njit, readonly
from .raster import NEAR, PartImage, View

RULES = {"h2onet": 1, "depth": 1}
"""Versions, stored with every set of labels: a number rises when a rule's outcome can change."""

MIN_VERTICES = 30
MIN_MASK_RATIO = 0.40
FACING_COSINE = 0.1
DEPTH_TOLERANCE = 0.005  # m
JOINT_SKIN = np.array([0.030] + 4 * [0.020] + 4 * [0.020, 0.015, 0.015, 0.015])
"""(21,) m: how deep below the hand's first surface a joint may lie and still count as seen. Wrist 30 mm; thumb and
first finger joints 20 mm; the other finger joints and fingertips 15 mm, about a finger's thickness, so that a
fingertip counts as seen from both sides and a joint behind another finger does not."""


NO_HANDS = np.empty((0, 0), np.float32)
"""Inverse depths of other hands where there are none."""
_COCO = np.array([2, 1, 1, 0, 1], np.uint8)  # by code of CAUSES


@dataclass(frozen=True, eq=False)
class AuthorsLabel:
    """occluded (7,) uint8 (six parts, global), visible_vertices (6,) int64, ratio = mask pixels / rendered pixels."""

    occluded: np.ndarray
    visible_vertices: np.ndarray
    ratio: float


@dataclass(frozen=True, eq=False)
class DepthLabel:
    """What the camera sees of each part and joint.

    counts: (6, 5) int64, camera-facing vertices of each part that are visible, hidden by an object, hidden by the own
      hand, outside the image, hidden by another hand (the order of CAUSES). visible_fraction: (6,) float32, visible
      / all five; 0 for 0/0.
    cause: (6,) uint8, the commonest reason, 0 when nothing is hidden; equal counts go to the first in that order.
    joint_visible: (21,) uint8, 1 = visible. coco_visibility: (21,) uint8 as COCO flags keypoints: 0 outside the image,
      1 inside and hidden, 2 visible.
    """

    counts: np.ndarray
    visible_fraction: np.ndarray
    cause: np.ndarray
    joint_visible: np.ndarray
    coco_visibility: np.ndarray


_vertices, _scalars, _faces = readonly("float64", 2), readonly("float64", 1), readonly("int32", 2)
_ids, _image, _depth_image = readonly("uint8", 1), readonly("uint8", 2), readonly("float32", 2)


@njit(inline="always")
def _pixel(u, v, width, height):
    """Column and row of a projected vertex, indexed as the original does; -1, -1 for one that does not count."""
    if u >= width or v >= height:
        return 0, 0
    if u > -width - 1.0 and v > -height - 1.0:  # NaN ends below and does not count
        x, y = int(u), int(v)  # truncates towards zero
        return (x + width if x < 0 else x), (y + height if y < 0 else y)
    return -1, -1


@njit(f"void({_vertices}, {_ids}, {_image}, int64, int64, {_image}, int64[::1])")
def _count_shown(points, parts, shown, left, top, mask, counts):
    """Count, per part, the vertices whose pixel is in the mask and shows that part; the original's pixel indices."""
    height, width = mask.shape
    for i in range(points.shape[0]):
        x, y = _pixel(points[i, 0], points[i, 1], width, height)
        row, column = y - top, x - left
        inside = x >= 0 and 0 <= row < shown.shape[0] and 0 <= column < shown.shape[1]
        if inside and mask[y, x] and shown[row, column] == parts[i]:
            counts[parts[i]] += 1


@njit(f"void({_vertices}, int64, int64, {_image}, uint8[:, ::1])")
def _mark(points, left, top, mask, out):
    """Mark the pixels of the viewport whose part `_count_shown` asks for."""
    height, width = mask.shape
    for i in range(points.shape[0]):
        x, y = _pixel(points[i, 0], points[i, 1], width, height)
        row, column = y - top, x - left
        if x >= 0 and 0 <= row < out.shape[0] and 0 <= column < out.shape[1] and mask[y, x]:
            out[row, column] = 1


def pixels_that_count(points_2d: np.ndarray, view: View, hand_mask: np.ndarray) -> np.ndarray:
    """(h, w) uint8, 1 at the pixels of the viewport whose part the rule "h2onet" looks at (`authors_rule`)."""
    x0, y0, x1, y1 = view.viewport
    out = np.zeros((y1 - y0, x1 - x0), np.uint8)
    _mark(points_2d, x0, y0, np.ascontiguousarray(hand_mask).view(np.uint8), out)
    return out


def authors_rule(
    points_2d: np.ndarray, vertex_parts: np.ndarray, image: PartImage, hand_mask: np.ndarray
) -> AuthorsLabel:
    """The rule "h2onet" for one frame (docs/labels.md; the authors' labeller, its treatment of the borders included).

    points_2d: (V, 2) float64 px, projected vertices; vertex_parts: (V,) uint8; image: what the renderer saw;
    hand_mask: (H, W) bool, the dataset's hand segmentation.
    Vertices at x >= W or y >= H count as pixel (0, 0), negative indices from the far side, as in the original; where
    the original would crash (below -W or -H, NaN) the vertex does not count.
    """
    counts = np.zeros(len(PARTS), np.int64)
    mask = np.ascontiguousarray(hand_mask).view(np.uint8)
    _count_shown(points_2d, vertex_parts, image.part, *image.origin, mask, counts)
    rendered = np.count_nonzero(image.covered)
    in_mask = np.count_nonzero(hand_mask)
    ratio = in_mask / rendered if rendered else (np.inf if in_mask else np.nan)
    occluded = np.append(counts < MIN_VERTICES, ratio < MIN_MASK_RATIO).astype(np.uint8)
    return AuthorsLabel(occluded, counts, ratio)


@njit(f"void({_vertices}, {_faces}, float64, float64, uint8[::1])")
def _facing(vertices, faces, sense, cosine, out):
    """Mark the vertices whose area-weighted normal, times `sense`, looks at the camera in the origin."""
    normals = np.zeros((vertices.shape[0], 3))
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        px, py, pz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        qx, qy, qz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx
        for i in (a, b, c):
            normals[i, 0] += nx
            normals[i, 1] += ny
            normals[i, 2] += nz
    for i in range(vertices.shape[0]):
        dot, length, distance = 0.0, 0.0, 0.0
        for k in range(3):
            dot -= sense * normals[i, k] * vertices[i, k]
            length += normals[i, k] ** 2
            distance += vertices[i, k] ** 2
        out[i] = dot > cosine * np.sqrt(length * distance)


def outward_sense(vertices: np.ndarray, faces: np.ndarray) -> float:
    """+1 when the faces (F, 3) of a mesh (V, 3) turn so that normals point outward, -1 otherwise (signed volume)."""
    a, b, c = (vertices[faces[:, k]] - vertices.mean(axis=0) for k in range(3))
    return 1.0 if np.einsum("ij,ij->", a, np.cross(b, c)) > 0 else -1.0


def camera_facing(vertices: np.ndarray, faces: np.ndarray, sense: float = 1.0) -> np.ndarray:
    """(V,) bool: vertices (V, 3) m whose outward normal looks at the camera; sense: `outward_sense` of the mesh."""
    facing = np.empty(len(vertices), np.uint8)
    _facing(vertices, faces, sense, FACING_COSINE, facing)
    return facing.view(bool)


@njit(
    f"void({_vertices}, {_scalars}, {_scalars}, {_depth_image}, {_depth_image}, {_depth_image}, int64, int64, int64,"
    " int64, float64, uint8[::1])"
)
def _look(points, z, below_hand, hand, objects, others, left, top, width, height, tolerance, out):
    """State of every point, a code of CAUSES.

    The first surface at the point's pixel hides the point when it is the object's or the other hand's and more than
    `tolerance` nearer, or the hand's and more than `below_hand` nearer. An empty `others` is no other hand.
    """
    for i in range(points.shape[0]):
        u, v = points[i, 0], points[i, 1]
        if not (z[i] > NEAR and 0.0 <= u < width and 0.0 <= v < height):
            out[i] = 3
            continue
        row, column = int(v) - top, int(u) - left
        out[i] = 0
        if 0 <= row < hand.shape[0] and 0 <= column < hand.shape[1]:
            # Inverse depths: the larger is nearer, 0 is nothing.
            other = others[row, column] if others.shape[0] > 0 else np.float32(0.0)
            if other > objects[row, column] and other > hand[row, column]:
                if other * (z[i] - tolerance) > 1.0:
                    out[i] = 4
            elif objects[row, column] > hand[row, column]:
                if objects[row, column] * (z[i] - tolerance) > 1.0:
                    out[i] = 1
            elif hand[row, column] * (z[i] - below_hand[i]) > 1.0:
                out[i] = 2


def look(
    points: np.ndarray,
    points_2d: np.ndarray,
    below_hand: np.ndarray,
    hand: np.ndarray,
    objects: np.ndarray,
    view: View,
    others: np.ndarray = NO_HANDS,
) -> np.ndarray:
    """(P,) uint8: why the camera does not see each point, as a code of CAUSES (0 = it sees the point).

    points: (P, 3) m, OpenCV camera; points_2d: (P, 2) px, projected; below_hand: (P,) m, how deep below the hand's own
    surface a point may lie and still count as seen; hand, objects, others: (h, w) float32, inverse depths in the view's
    viewport; an empty `others` is no other hand. Points outside the viewport but in the image are seen: the viewport
    must hold all that could hide something.
    """
    out = np.empty(len(points), np.uint8)
    depths = np.ascontiguousarray(points[:, 2])
    corner = view.viewport[:2]
    _look(points_2d, depths, below_hand, hand, objects, others, *corner, view.width, view.height, DEPTH_TOLERANCE, out)
    return out


@njit(f"void({_ids}, {_ids}, {_ids}, int64[:, ::1])")
def _tally(states, facing, parts, counts):
    """Count the camera-facing vertices of each part by their state."""
    for i in range(len(states)):
        if facing[i]:
            counts[parts[i], states[i]] += 1


def depth_rule(
    vertex_state: np.ndarray, facing: np.ndarray, vertex_parts: np.ndarray, joint_state: np.ndarray
) -> DepthLabel:
    """The rule "depth" for one frame, from the states that `look` gives.

    vertex_state: (V,) uint8; facing: (V,) bool; vertex_parts: (V,) uint8; joint_state: (21,) uint8.
    """
    counts = np.zeros((len(PARTS), len(CAUSES)), np.int64)
    _tally(vertex_state, facing.view(np.uint8), vertex_parts, counts)
    total = counts.sum(axis=1)
    fraction = (counts[:, 0] / np.maximum(total, 1)).astype(np.float32)
    hidden = counts[:, 1:]
    cause = np.where(hidden.any(axis=1), hidden.argmax(axis=1) + 1, 0).astype(np.uint8)
    return DepthLabel(counts, fraction, cause, (joint_state == 0).astype(np.uint8), _COCO[joint_state])


@njit(f"UniTuple(int64, 2)({_depth_image}, {_depth_image}, Array(boolean, 2, 'A', readonly=True))")
def _overlap(hand, objects, mask):
    """How many pixels show the hand, and how many of them are in the mask."""
    rendered, shared = 0, 0
    for y in range(hand.shape[0]):
        for x in range(hand.shape[1]):
            seen = hand[y, x] > 0.0 and hand[y, x] >= objects[y, x]
            rendered += seen
            shared += seen and mask[y, x]
    return rendered, shared


def silhouette_iou(hand: np.ndarray, objects: np.ndarray, view: View, hand_mask: np.ndarray) -> float:
    """Agreement of the rendered hand, less what objects hide, with the dataset's mask: intersection over union.

    hand, objects: (h, w) float32 inverse depths in the viewport; hand_mask: (H, W) bool. NaN when both are empty.
    """
    x0, y0, x1, y1 = view.viewport
    rendered, shared = _overlap(hand, objects, hand_mask[y0:y1, x0:x1])
    union = rendered + np.count_nonzero(hand_mask) - shared
    return shared / union if union else float("nan")
