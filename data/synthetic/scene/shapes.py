"""Solid shapes for synthetic objects: each one is a triangle mesh and a signed distance at the same time.

Metres, the object's own frame (z up when it stands on a table). Meshes are wound counter-clockwise seen from outside
and carry normals and texture coordinates (v upwards, as OBJ files have it); distances are negative inside. The distance
lets a hand close its fingers on an object without a physics engine.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class TexturedMesh:
    """vertices (V, 3) m, normals (V, 3) unit, uv (V, 2) in [0, 1], faces (F, 3) int32."""

    vertices: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    faces: np.ndarray


@dataclass(frozen=True)
class Box:
    """An axis-aligned box of the given size (m); its six sides take the cells of a 3 x 2 grid of the texture."""

    size: tuple[float, float, float]

    def mesh(self, cells: int = 4) -> TexturedMesh:
        half = np.asarray(self.size) / 2
        step = np.linspace(0.0, 1.0, cells + 1)
        s, t = (g.ravel() for g in np.meshgrid(step, step))
        vertices, normals, uv, faces = [], [], [], []
        for side in range(6):
            axis, sign = side // 2, 1.0 if side % 2 == 0 else -1.0
            right, up = _side_axes(axis, sign)
            n = np.zeros(3)
            n[axis] = sign
            vertices.append(half * (n + (2 * s[:, None] - 1) * right + (2 * t[:, None] - 1) * up))
            normals.append(np.tile(n, (len(s), 1)))
            uv.append(np.stack([(axis + 0.01 + 0.98 * s) / 3, (side % 2 + 0.01 + 0.98 * t) / 2], axis=1))
            faces.append(_grid_faces(cells + 1, cells + 1) + side * len(s))
        joined = [np.concatenate(a) for a in (vertices, normals, uv)]
        return TexturedMesh(joined[0], joined[1], joined[2], np.concatenate(faces).astype(np.int32))

    def distance(self, points: np.ndarray) -> np.ndarray:
        q = np.abs(points) - np.asarray(self.size) / 2
        return np.linalg.norm(np.maximum(q, 0.0), axis=-1) + np.minimum(q.max(axis=-1), 0.0)


@dataclass(frozen=True)
class Lathe:
    """A profile of (radius, height) corners turned about z; `flatten` scales y (bottles).

    Corners run from bottom to top on the outside and, for a vessel, down the inside; both ends lie on the axis.
    """

    profile: tuple[tuple[float, float], ...]
    flatten: float = 1.0

    def mesh(self, around: int = 40) -> TexturedMesh:
        corners = np.asarray(self.profile)
        steps = np.diff(corners, axis=0)
        lengths = np.linalg.norm(steps, axis=1)
        along = np.concatenate([[0.0], np.cumsum(lengths)]) / lengths.sum()
        slope = np.stack([steps[:, 1], -steps[:, 0]], axis=1) / lengths[:, None]  # outward normal of every segment
        angle = np.linspace(0.0, 2 * np.pi, around + 1)
        vertices, normals, uv, faces, start = [], [], [], [], 0
        for i in range(len(steps)):
            ends = []
            for corner, other in ((i, i - 1), (i + 1, i + 1)):  # smooth across a corner unless it is sharp
                n = slope[i]
                if 0 <= other < len(steps) and slope[i] @ slope[other] > 0.75:
                    n = slope[i] + slope[other]
                ends.append((corners[corner], n / np.linalg.norm(n), along[corner]))
            for (r, z), (nr, nz), v in ends:
                c, s = np.cos(angle), np.sin(angle)
                vertices.append(np.stack([r * c, r * s * self.flatten, np.full_like(c, z)], axis=1))
                n = np.stack([nr * c, nr * s / self.flatten, np.full_like(c, nz)], axis=1)
                normals.append(n / np.linalg.norm(n, axis=1, keepdims=True))
                uv.append(np.stack([angle / (2 * np.pi), np.full_like(c, v)], axis=1))
            faces.append(_grid_faces(around + 1, 2) + start)
            start += 2 * (around + 1)
        joined = [np.concatenate(a) for a in (vertices, normals, uv, faces)]
        return _drop_slivers(joined[0], joined[1], joined[2], joined[3])

    def distance(self, points: np.ndarray) -> np.ndarray:
        r, z = np.hypot(points[..., 0], points[..., 1] / self.flatten)[..., None], points[..., 2, None]
        # Coordinate by coordinate: sums over an axis of two numbers take several times as long.
        (ar, az), (br, bz) = np.asarray(self.profile[:-1]).T, np.asarray(self.profile[1:]).T
        dr, dz = br - ar, bz - az
        wr, wz = r - ar, z - az
        t = np.clip((wr * dr + wz * dz) / (dr * dr + dz * dz), 0.0, 1.0)
        nearest = np.sqrt(((wr - t * dr) ** 2 + (wz - t * dz) ** 2).min(axis=-1))
        # even-odd rule in the (radius, height) half plane; the axis closes the outline
        crosses = (az <= z) != (bz <= z)
        at = ar + wz * dr / np.where(dz == 0, 1.0, dz)
        inside = (crosses & (r < at)).sum(axis=-1) % 2 == 1
        return np.where(inside, -nearest, nearest) * (self.flatten if self.flatten < 1 else 1.0)


@dataclass(frozen=True)
class Tube:
    """A round bar along a path of points (m) with a radius at each; its ends are rounded by their radius."""

    path: tuple[tuple[float, float, float], ...]
    radii: tuple[float, ...]
    closed: bool = field(default=False)

    def mesh(self, around: int = 14) -> TexturedMesh:
        path, radii = np.asarray(self.path), np.asarray(self.radii)
        tangents = np.gradient(path, axis=0) if not self.closed else np.roll(path, -1, 0) - np.roll(path, 1, 0)
        tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
        if not self.closed:  # three more rings at each end make a cap
            turn = np.radians([85.0, 55.0, 25.0])
            head = path[0] - np.outer(np.sin(turn) * radii[0], tangents[0])
            tail = path[-1] + np.outer(np.sin(turn[::-1]) * radii[-1], tangents[-1])
            path = np.concatenate([head, path, tail])
            radii = np.concatenate([np.cos(turn) * radii[0], radii, np.cos(turn[::-1]) * radii[-1]])
            tangents = np.concatenate([np.tile(tangents[0], (3, 1)), tangents, np.tile(tangents[-1], (3, 1))])
        else:
            path, radii, tangents = (np.concatenate([a, a[:1]]) for a in (path, radii, tangents))
        side = np.cross(tangents, _spare_axis(tangents))
        side /= np.linalg.norm(side, axis=1, keepdims=True)
        other = np.cross(tangents, side)
        angle = np.linspace(0.0, 2 * np.pi, around + 1)
        normals = side[:, None] * np.cos(angle)[:, None] + other[:, None] * np.sin(angle)[:, None]
        vertices = path[:, None] + radii[:, None, None] * normals
        v = np.linspace(0.0, 1.0, len(path))
        uv = np.stack(np.broadcast_arrays(angle / (2 * np.pi), v[:, None]), axis=-1)
        faces = _grid_faces(around + 1, len(path))
        return TexturedMesh(vertices.reshape(-1, 3), normals.reshape(-1, 3), uv.reshape(-1, 2), faces.astype(np.int32))

    def distance(self, points: np.ndarray) -> np.ndarray:
        path, radii = np.asarray(self.path), np.asarray(self.radii)
        if self.closed:
            path, radii = np.concatenate([path, path[:1]]), np.concatenate([radii, radii[:1]])
        a, d = path[:-1], np.diff(path, axis=0)
        w = points[..., None, :] - a
        t = np.clip((w * d).sum(-1) / (d * d).sum(-1), 0.0, 1.0)
        return (np.linalg.norm(w - t[..., None] * d, axis=-1) - (radii[:-1] + t * np.diff(radii))).min(axis=-1)


def _side_axes(axis: int, sign: float) -> tuple[np.ndarray, np.ndarray]:
    """Picture axes (right, up) of a box side seen from outside, so that right x up is the outward normal."""
    normal = np.zeros(3)
    normal[axis] = sign
    up = np.array([0.0, 1.0, 0.0]) if axis == 2 else np.array([0.0, 0.0, 1.0])
    return np.cross(up, normal), up


def _spare_axis(tangents: np.ndarray) -> np.ndarray:
    """The axis that all tangents are least along: a path in a plane keeps one side vector without twisting."""
    axis = np.zeros(3)
    axis[np.abs(tangents).sum(axis=0).argmin()] = 1.0
    return axis


def _grid_faces(columns: int, rows: int) -> np.ndarray:
    """Two triangles per cell of a grid stored row by row, counter-clockwise with columns to the right and rows up."""
    i = (np.arange(columns - 1) + columns * np.arange(rows - 1)[:, None]).ravel()
    return np.concatenate(
        [np.stack([i, i + 1, i + columns], axis=1), np.stack([i + 1, i + columns + 1, i + columns], axis=1)]
    )


def _drop_slivers(vertices: np.ndarray, normals: np.ndarray, uv: np.ndarray, faces: np.ndarray) -> TexturedMesh:
    """The mesh without the empty triangles of rings on the axis."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    keep = np.linalg.norm(np.cross(b - a, c - a), axis=1) > 1e-12
    return TexturedMesh(vertices, normals, uv, faces[keep].astype(np.int32))
