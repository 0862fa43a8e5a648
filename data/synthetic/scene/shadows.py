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

    `axes` (3, 3) rows right, down, away; nearest (S, S) float32, m along `away`; table (S, S) float32, the share of
    light that reaches the table there.
    """

    axes: np.ndarray
    centre: np.ndarray
    nearest: np.ndarray
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
    return ShadowMap(axes, centre, nearest, table)


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


@njit(fastmath=True)
def light_share(x, y, z, light):
    """Share of the first light that reaches a point: 12 taps of the shadow map."""
    axes, nearest, scale = light.axes, light.nearest, light.scale
    dx, dy, dz = x - light.centre[0], y - light.centre[1], z - light.centre[2]
    size = nearest.shape[0]
    u = (axes[0, 0] * dx + axes[0, 1] * dy + axes[0, 2] * dz) * scale + size * 0.5
    v = (axes[1, 0] * dx + axes[1, 1] * dy + axes[1, 2] * dz) * scale + size * 0.5
    d = axes[2, 0] * dx + axes[2, 1] * dy + axes[2, 2] * dz - _BIAS
    if u < 6 or v < 6 or u >= size - 6 or v >= size - 6:
        return 1.0
    i, j = int(u), int(v)
    fu, fv = u - i, v - j
    total = 0.0
    for b in range(-2, 3):  # a 5 x 5 box whose rim is weighted by the fraction: smooth as the point moves
        wv = 1.0 - fv if b == -2 else (fv if b == 2 else 1.0)
        for a in range(-2, 3):
            wu = 1.0 - fu if a == -2 else (fu if a == 2 else 1.0)
            if nearest[j + b, i + a] >= d:
                total += wu * wv
    return total / 16.0
