"""Soft shadows of the first light: its depth map of the scene, and the share of it that reaches a point.

Table's frame (m, unit vectors). The light is parallel; the map is orthographic and centred on the action.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ....hand.zbuffer import rasterize
from ....jit import njit
from .room import Backdrop, Geometry, Look

_SIZE = 320
_SPAN = 0.9  # m
_BIAS = 0.007  # m
SCALE = _SIZE / _SPAN
"""Pixels of the shadow map per metre."""


@dataclass(frozen=True, eq=False)
class ShadowMap:
    """The scene as seen by the first light.

    `axes` (3, 3) rows right, down, away; nearest (S, S) float32, m along `away`; range (2, S, S), the least and the
    greatest of it in the 5 x 5 pixels round each; table (S, S) float32, the share of light that reaches the table
    there.
    """

    axes: np.ndarray
    centre: np.ndarray
    nearest: np.ndarray
    range: np.ndarray
    table: np.ndarray


def cast_shadows(geometry: Geometry, light: np.ndarray, centre: np.ndarray) -> ShadowMap:
    """Depths along a parallel light (unit vector towards it), over 0.9 m round `centre` (3,)."""
    axes = light_axes(light)
    p = (geometry.vertices - centre) @ axes.T
    pixels = p[:, :2] * SCALE + _SIZE / 2
    # The z-buffer assumes that 1/z is linear on the screen. Here depth itself is: give it z with 1/z = 1 - depth / 4.
    z = 1.0 / (1.0 - p[:, 2] / 4.0)
    seen = rasterize(pixels, z, geometry.faces, width=_SIZE, height=_SIZE)
    hit = seen.face[0] >= 0
    nearest = np.where(hit, (1.0 - seen.inverse_depth[0]) * 4.0, np.float32(9.0)).astype(np.float32)
    at = (np.arange(_SIZE) + 0.5 - _SIZE / 2) * (_SPAN / _SIZE)
    table_depth = -(centre[2] + axes[0, 2] * at + (axes[1, 2] * at)[:, None]) / axes[2, 2]
    table = cv2.blur((nearest >= table_depth - _BIAS).astype(np.float32), (5, 5))
    box = np.ones((5, 5), np.uint8)
    around = np.stack([cv2.erode(nearest, box), cv2.dilate(nearest, box)])
    return ShadowMap(axes, centre, nearest, around, table)


def light_axes(light: np.ndarray) -> np.ndarray:
    """Rows right, down, away (3, 3) of the view from a parallel light."""
    right = np.cross(light, [0.31, 0.95, 0.02])
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(-light, right), -light])


def table_shadow_places(look: Look, backdrop: Backdrop, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where in the shadow map each pixel of a camera's table lies: x and y (H, W) float32, outside for the rest."""
    p = (backdrop.points - centre) @ light_axes(look.lights[0])[:2].T * SCALE
    places = np.where(backdrop.table[..., None], p + _SIZE / 2 - 0.5, -9.0).astype(np.float32)
    return np.ascontiguousarray(places[..., 0]), np.ascontiguousarray(places[..., 1])


@njit()
def _region(x, y, left, right, top, bottom):
    """The smallest region with all pixels whose place (x, y) lies between these bounds."""
    rows, columns = x.shape
    first, end, least, most = rows, 0, columns, 0
    for row in range(rows):
        px, py, found = x[row], y[row], 0
        for column in range(columns):  # without an end in between, so that it is compiled to vector instructions
            found += (left <= px[column]) & (px[column] <= right) & (top <= py[column]) & (py[column] <= bottom)
        if not found:
            continue
        first, end = min(first, row), row + 1
        for column in range(least):
            if left <= px[column] <= right and top <= py[column] <= bottom:
                least = column
                break
        for column in range(columns - 1, most - 1, -1):
            if left <= px[column] <= right and top <= py[column] <= bottom:
                most = column + 1
                break
    return (first, end, least, most) if end else (0, 0, 0, 0)


def share_on_table(
    places: tuple[np.ndarray, np.ndarray], shadows: ShadowMap
) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """The share (H, W) float32 of the first light that reaches the empty scene, and the region where it may not be 1.

    places: `table_shadow_places`; only what may be in shadow is looked up in the map. Region: rows, columns, first and
    end each.
    """
    share = np.ones_like(places[0])
    dark = shadows.table < 1.0
    rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
    if not len(rows):
        return share, (0, 0, 0, 0)
    bounds = (columns[0] - 1.0, columns[-1] + 1.0, rows[0] - 1.0, rows[-1] + 1.0)  # neighbours are mixed in
    top, bottom, left, right = region = _region(*places, *bounds)
    if bottom:
        here = np.s_[top:bottom, left:right]
        x, y = (np.ascontiguousarray(place[here]) for place in places)
        share[here] = cv2.remap(shadows.table, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=1.0)
    return share, region


@njit(fastmath=True, inline="always")
def share_of_light(x, y, z, light, at, nearest, range_of_nearest):
    """Share of the first light that reaches a point: 25 taps of the shadow map where they do not all agree.

    light[at:]: axes (9), centre (3) and scale of the map, one after the other.
    """
    dx, dy, dz = x - light[at + 9], y - light[at + 10], z - light[at + 11]
    scale, size = light[at + 12], nearest.shape[0]
    u = (light[at] * dx + light[at + 1] * dy + light[at + 2] * dz) * scale + size * 0.5
    v = (light[at + 3] * dx + light[at + 4] * dy + light[at + 5] * dz) * scale + size * 0.5
    d = light[at + 6] * dx + light[at + 7] * dy + light[at + 8] * dz - _BIAS
    share = 1.0
    if not (u < 6 or v < 6 or u >= size - 6 or v >= size - 6):
        i, j = int(u), int(v)
        if range_of_nearest[1, j, i] < d:
            share = 0.0
        elif range_of_nearest[0, j, i] < d:
            fu, fv = u - i, v - j
            total = 0.0
            for b in range(-2, 3):  # a 5 x 5 box whose rim is weighted by the fraction: smooth as the point moves
                wv = 1.0 - fv if b == -2 else (fv if b == 2 else 1.0)
                for a in range(-2, 3):
                    wu = 1.0 - fu if a == -2 else (fu if a == 2 else 1.0)
                    if nearest[j + b, i + a] >= d:
                        total += wu * wv
            share = total / 16.0
    return share
