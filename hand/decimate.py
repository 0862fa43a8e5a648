"""Mesh decimation by half-edge collapse, and where the removed vertices lie on what is left.

Vertices `(V, 3)` in any one length unit, faces `(F, 3)` vertex ids. A half-edge collapse moves a vertex onto a
neighbour and so removes it: the coarse vertices are a subset of the fine ones, in the same places. Their order follows
the quadric error of Garland and Heckbert (1997); ties go to the lower vertex ids, so every run gives the same result.
"""

import heapq

import numpy as np

from ..errors import InputError

# Planes at right angles to boundary edges weigh this much more than faces: they hold the wrist's outline in place.
_BOUNDARY_WEIGHT = 10.0
# A share of the squared edge length in the cost: prefers short edges where the surface is flat, which avoids slivers.
_LENGTH_WEIGHT = 0.005
# How far a face may turn in a collapse: the cosine between its old and its new normal.
_LEAST_COSINE = 0.2


def decimate(vertices: np.ndarray, faces: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The ids of the `count` vertices kept, ascending, and the coarse faces `(F', 3)` int32 numbered by them.

    The coarse mesh stays a manifold with the same boundaries, and no face turns over, while such collapses exist; only
    then faces may turn, and only after that may the surface pinch. Raises InputError when `count` cannot be reached.
    """
    mesh = _Collapser(np.asarray(vertices, dtype=np.float64), np.asarray(faces))
    for level in range(3):
        mesh.reduce_to(count, level)
    if len(mesh.alive) > count:
        raise InputError(
            f"decimate: expected a mesh that shrinks to {count} vertices, found one stuck at {len(mesh.alive)}; "
            "it has vertices without faces"
        )
    kept = np.array(sorted(mesh.alive), dtype=np.int64)
    position = np.full(len(vertices), -1)
    position[kept] = np.arange(len(kept))
    coarse = np.array([mesh.faces[f] for f in sorted(mesh.faces)], dtype=np.int64).reshape(-1, 3)
    return kept, position[coarse].astype(np.int32)


def place_on_surface(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest point of a surface to each of `points` `(N, 3)`: its face id `(N,)` and barycentric weights `(N, 3)`.

    Weights are at least 0, sum to 1 and are multiples of 1e-6. Ties go to the lower face id.
    """
    triangles = _Triangles(np.asarray(vertices, dtype=np.float64)[faces])
    face = np.empty(len(points), dtype=np.int64)
    weights = np.empty((len(points), 3))
    for i, point in enumerate(np.asarray(points, dtype=np.float64)):
        candidates = triangles.nearest_weights(point)
        offsets = np.einsum("fk,fkc->fc", candidates, triangles.corners) - point
        distance = np.einsum("fc,fc->f", offsets, offsets)
        # Faces round a shared vertex are equally near but for rounding, which must not choose between them.
        face[i] = np.flatnonzero(distance <= distance.min() + (1e-8 * triangles.extent) ** 2)[0]
        weights[i] = np.round(candidates[face[i]], 6)
        weights[i, weights[i].argmax()] += 1.0 - weights[i].sum()
    return face, weights


class _Triangles:
    """Triangles `(F, 3, 3)` with the products that finding nearest points on them needs again and again."""

    def __init__(self, corners: np.ndarray) -> None:
        self.corners = corners
        self.extent = float(np.ptp(corners.reshape(-1, 3), axis=0).max())
        self.along = corners[:, [1, 2, 0]] - corners  # edges a-b, b-c, c-a
        self.squared = np.einsum("fec,fec->fe", self.along, self.along)
        self.uu, self.vv = self.squared[:, 0], self.squared[:, 2]
        self.uv = -np.einsum("fc,fc->f", self.along[:, 0], self.along[:, 2])
        self.area = self.uu * self.vv - self.uv**2
        self.has_area = self.area > 1e-12 * self.uu * self.vv

    def nearest_weights(self, point: np.ndarray) -> np.ndarray:
        """Barycentric weights `(F, 3)` of the point of each triangle that is nearest to `point` `(3,)`.

        The foot of the perpendicular when it lies inside, else the nearest of the points on the three edges.
        """
        offset = point - self.corners
        along = np.einsum("fec,fec->fe", offset, self.along)
        pu, pv = along[:, 0], -np.einsum("fc,fc->f", offset[:, 0], self.along[:, 2])
        area = np.where(self.has_area, self.area, 1.0)
        b = (self.vv * pu - self.uv * pv) / area
        c = (self.uu * pv - self.uv * pu) / area
        inside = np.stack([1.0 - b - c, b, c], axis=1)
        t = np.clip(along / np.maximum(self.squared, 1e-300), 0.0, 1.0)
        gap = offset - t[..., None] * self.along
        edge = np.einsum("fec,fec->fe", gap, gap).argmin(axis=1)
        row = np.arange(len(self.corners))
        on_edge = np.zeros_like(inside)
        on_edge[row, edge] = 1.0 - t[row, edge]
        on_edge[row, (edge + 1) % 3] = t[row, edge]
        use_inside = self.has_area & (inside >= 0.0).all(axis=1)
        return np.where(use_inside[:, None], inside, on_edge)


def _rounded(cost: float) -> float:
    """Nine digits: costs that are equal by symmetry stay equal on a machine that rounds its sums otherwise."""
    return float(f"{cost:.8e}")


class _Collapser:
    """A mesh being collapsed: faces by id, the faces at each vertex, and the planes that each vertex stands for."""

    def __init__(self, vertices: np.ndarray, faces: np.ndarray) -> None:
        self.vertices = vertices
        self.points = np.concatenate([vertices, np.ones((len(vertices), 1))], axis=1)  # homogeneous
        self.alive = set(range(len(vertices)))
        self.faces: dict[int, tuple[int, int, int]] = {i: (int(a), int(b), int(c)) for i, (a, b, c) in enumerate(faces)}
        self.around: list[set[int]] = [set() for _ in vertices]
        for i, face in self.faces.items():
            for vertex in face:
                self.around[vertex].add(i)
        self.version = [0] * len(vertices)
        self.quadrics = np.zeros((len(vertices), 4, 4))
        self.weights = np.zeros(len(vertices))  # of a vertex's planes together: cost / weight is a squared distance
        self._add_planes()

    def reduce_to(self, count: int, level: int) -> None:
        """Collapse the cheapest edges until `count` vertices are left or none may go at this level of leniency."""
        heap: list[tuple[float, int, int, int, int]] = []
        self._offer(heap, self.alive)
        while heap and len(self.alive) > count:
            _, gone, kept, gone_version, kept_version = heapq.heappop(heap)
            fresh = self.version[gone] == gone_version and self.version[kept] == kept_version
            if fresh and self._allowed(gone, kept, level):
                self._offer(heap, self._collapse(gone, kept))

    def _add_planes(self) -> None:
        for i, face in self.faces.items():
            normal = self._normal(face)
            area = float(np.linalg.norm(normal))
            if area == 0.0:
                continue
            for vertex in face:
                self._add_plane(vertex, normal / area, self.vertices[face[0]], area)
            for a, b in (face[:2], face[1:], (face[2], face[0])):
                if self.around[a] & self.around[b] == {i}:
                    along = self.vertices[b] - self.vertices[a]
                    upright = np.cross(along, normal / area)
                    length = float(np.linalg.norm(upright))  # not zero: the face has an area
                    for vertex in (a, b):
                        self._add_plane(vertex, upright / length, self.vertices[a], _BOUNDARY_WEIGHT * length**2)

    def _add_plane(self, vertex: int, normal: np.ndarray, point: np.ndarray, weight: float) -> None:
        plane = np.append(normal, -normal @ point)
        self.quadrics[vertex] += weight * np.outer(plane, plane)
        self.weights[vertex] += weight

    def _normal(self, face: tuple[int, int, int]) -> np.ndarray:
        a, b, c = (self.vertices[vertex] for vertex in face)
        return np.cross(b - a, c - a)

    def _neighbours(self, vertex: int) -> set[int]:
        return {other for face in self.around[vertex] for other in self.faces[face]} - {vertex}

    def _offer(self, heap: list[tuple[float, int, int, int, int]], touched: set[int]) -> None:
        """Put both directions of every edge at the `touched` vertices on the heap, at its ends' present versions."""
        edges = {(min(v, other), max(v, other)) for v in touched for other in self._neighbours(v)}
        for vertex, other in edges:
            quadric = self.quadrics[vertex] + self.quadrics[other]
            weight = max(self.weights[vertex] + self.weights[other], 1e-300)
            along = self.points[vertex] - self.points[other]
            length = _LENGTH_WEIGHT * float(along @ along)
            for gone, kept in ((vertex, other), (other, vertex)):
                place = self.points[kept]
                cost = _rounded(max(float(place @ quadric @ place), 0.0) / weight + length)
                heapq.heappush(heap, (cost, gone, kept, self.version[gone], self.version[kept]))

    def _on_boundary(self, vertex: int) -> bool:
        return any(len(self.around[vertex] & self.around[other]) == 1 for other in self._neighbours(vertex))

    def _allowed(self, gone: int, kept: int, level: int) -> bool:
        """Whether the collapse keeps the mesh a manifold (levels 0 and 1) and turns no face over (level 0)."""
        if level == 2:
            return True
        shared = self.around[gone] & self.around[kept]
        # The link condition: the ends share no neighbours but those across the edge's own one or two faces.
        if len(self._neighbours(gone) & self._neighbours(kept)) != len(shared) or len(shared) not in (1, 2):
            return False
        # A boundary vertex may only slide along its boundary: anything else closes, splits or moves the outline.
        if len(shared) == 2 and self._on_boundary(gone):
            return False
        return level == 1 or not self._turns_a_face(gone, kept, shared)

    def _turns_a_face(self, gone: int, kept: int, shared: set[int]) -> bool:
        for face in self.around[gone] - shared:
            before = self._normal(self.faces[face])
            a, b, c = (kept if vertex == gone else vertex for vertex in self.faces[face])
            after = self._normal((a, b, c))
            if before @ after <= _LEAST_COSINE * np.linalg.norm(before) * np.linalg.norm(after):
                return True
        return False

    def _collapse(self, gone: int, kept: int) -> set[int]:
        """Move `gone` onto `kept`; returns the vertices whose surroundings changed."""
        for face in sorted(self.around[gone]):
            corners = self.faces[face]
            if kept in corners:
                del self.faces[face]
                for vertex in corners:
                    self.around[vertex].discard(face)
            else:
                a, b, c = (kept if vertex == gone else vertex for vertex in corners)
                self.faces[face] = (a, b, c)
                self.around[kept].add(face)
        self.around[gone] = set()
        self.alive.remove(gone)
        self.quadrics[kept] += self.quadrics[gone]
        self.weights[kept] += self.weights[gone]
        changed = self._neighbours(kept) | {kept}
        for vertex in (gone, *changed):
            self.version[vertex] += 1
        return changed
