"""The decoder's mesh hierarchy: five levels of one hand mesh, spirals round every vertex, up-sampling matrices.

Levels run from the finest (778 vertices) to the coarsest (49). Vertex positions are metres in the template's own axes;
nothing else here has a unit. The authors' hierarchy comes from their `transform.pkl`; any other topology, that of the
stand-in included, gets its own by quadric-error decimation.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import scipy.sparse

from ..errors import InputError
from .decimate import decimate, place_on_surface
from .pickles import safe_load

SIZES = (778, 389, 195, 98, 49)
SPIRAL_LENGTH = 9
_GET_FILE = "pass the transform.pkl of the authors' template folder, or leave it out to build a hierarchy from the hand"


@dataclass(frozen=True)
class Hierarchy:
    """Five levels, finest first.

    sizes: vertices per level. faces: per level `(F_i, 3)` int32. vertices: per level `(n_i, 3)` float64 m.
    spirals: `(n_i, 9)` int32 for the four finer levels, the vertex itself first. upsample: four csr matrices float32,
    `(n_i, n_{i+1})`, three weights per row (some may be zero), so that fine = upsample @ coarse.
    """

    sizes: tuple[int, ...]
    faces: tuple[np.ndarray, ...]
    vertices: tuple[np.ndarray, ...]
    spirals: tuple[np.ndarray, ...]
    upsample: tuple[scipy.sparse.csr_matrix, ...]

    @cached_property
    def sha256(self) -> str:
        """Hash of the spirals and up-sampling triplets: what a checkpoint's weights were trained on."""
        digest = hashlib.sha256(np.array(self.sizes, dtype="<i4").tobytes())
        for spirals, matrix in zip(self.spirals, self.upsample, strict=True):
            digest.update(spirals.astype("<i4").tobytes())
            digest.update(matrix.indices.astype("<i4").tobytes())
            digest.update(matrix.data.astype("<f4").tobytes())
        return digest.hexdigest()


def load_hierarchy(path: str | Path) -> Hierarchy:
    """The hierarchy in the authors' `transform.pkl` (vertices, face, up_transform for its levels), read safely.

    Raises InputError for a file that is missing, hostile, or holds other levels than 778, 389, 195, 98, 49.
    """
    content = safe_load(path)
    levels = content if isinstance(content, dict) else {}
    lists = [name for name in ("vertices", "face", "up_transform") if isinstance(levels.get(name), list)]
    if len(lists) != 3:
        raise InputError(f"{path}: expected lists vertices, face and up_transform, found {lists}; {_GET_FILE}")
    vertices = tuple(_numbers(path, "vertices", level) for level in content["vertices"])
    faces = tuple(_numbers(path, "face", level).astype(np.int32) for level in content["face"])
    upsample = tuple(_three_per_row(path, i, matrix) for i, matrix in enumerate(content["up_transform"]))
    sizes = tuple(len(level) for level in vertices)
    if sizes != SIZES or len(faces) != len(SIZES) or [m.shape for m in upsample] != list(pairwise(SIZES)):
        raise InputError(f"{path}: vertices: expected levels of {SIZES} vertices, found {sizes}; {_GET_FILE}")
    for level, size in zip(faces, sizes, strict=True):
        if level.min() < 0 or level.max() >= size:
            raise InputError(f"{path}: face: expected vertex ids 0..{size - 1}, found {level.max()}; {_GET_FILE}")
    return _with_spirals(vertices, faces, upsample)


def build_hierarchy(vertices: np.ndarray, faces: np.ndarray) -> Hierarchy:
    """A hierarchy for a hand of any topology: half the vertices per level, by quadric-error half-edge collapse.

    vertices `(778, 3)` m at rest, faces `(F, 3)`. Coarse vertices are a subset of the fine ones, numbered in the same
    order. Each fine vertex is interpolated from the coarse triangle nearest to it. Deterministic, about a second.
    Raises InputError for other sizes or faces out of range.
    """
    vertices, faces = np.asarray(vertices, dtype=np.float64), np.asarray(faces)
    if vertices.shape != (SIZES[0], 3) or not np.isfinite(vertices).all():
        raise InputError(f"vertices: expected {(SIZES[0], 3)} finite numbers, found {vertices.shape}")
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.min() < 0 or faces.max() >= len(vertices):
        raise InputError(f"faces: expected (F, 3) ids below {len(vertices)}, found {faces.shape}")
    all_vertices, all_faces, upsample = [vertices], [faces.astype(np.int32)], []
    for size in SIZES[1:]:
        fine = all_vertices[-1]
        kept, coarse_faces = decimate(fine, all_faces[-1], size)
        face, weights = place_on_surface(fine, fine[kept], coarse_faces)
        rows = np.arange(0, 3 * len(fine) + 1, 3)
        triplet = (weights.astype(np.float32).ravel(), coarse_faces[face].ravel(), rows)
        upsample.append(scipy.sparse.csr_matrix(triplet, shape=(len(fine), size)))
        all_vertices.append(fine[kept])
        all_faces.append(coarse_faces)
    return _with_spirals(tuple(all_vertices), tuple(all_faces), tuple(upsample))


def spirals_of(faces: np.ndarray, vertices: np.ndarray, length: int = SPIRAL_LENGTH) -> np.ndarray:
    """The spiral `(V, length)` int32 round every vertex of a mesh: itself, its ring, the ring round that, and so on.

    The order is that of OpenMesh's circulators, on which the official weights depend (docs/hand.md). Where the rings
    end before the spiral is full, the spiral is the `length` nearest vertices by distance instead.
    faces `(F, 3)`, vertices `(V, 3)`. Raises InputError for fewer vertices than `length`.
    """
    if len(vertices) < length:
        raise InputError(f"spirals: expected at least {length} vertices, found {len(vertices)}")
    rings = _rings(np.asarray(faces), len(vertices))
    spirals = np.empty((len(vertices), length), dtype=np.int32)
    for vertex in range(len(vertices)):
        spiral, last = [vertex], rings[vertex]
        following = _next_ring(rings, last, spiral)
        spiral = spiral + last
        while following and len(spiral) + len(following) < length:
            spiral, last = spiral + following, following
            following = _next_ring(rings, last, spiral)
        spiral = spiral + following
        # The authors' code asks for one ring more than it may need, and turns to distance when there is none.
        if not following:
            offsets = np.asarray(vertices, dtype=np.float64) - vertices[vertex]
            spiral = np.einsum("vc,vc->v", offsets, offsets).argsort(kind="stable").tolist()
        spirals[vertex] = spiral[:length]
    return spirals


def _rings(faces: np.ndarray, count: int) -> list[list[int]]:
    """The neighbours of every vertex in circulation order, starting where OpenMesh's circulator starts."""
    following: list[dict[int, int]] = [{} for _ in range(count)]
    start = [-1] * count
    for a, b, c in faces.tolist():
        for before, vertex, after in ((a, b, c), (b, c, a), (c, a, b)):
            following[vertex][before] = after
            start[vertex] = after  # the last face wins
    rings = []
    for vertex in range(count):
        step = following[vertex]
        arrivals = set(step.values())
        open_starts = [neighbour for neighbour in step if neighbour not in arrivals]
        ring: list[int] = []
        neighbour = open_starts[0] if open_starts else start[vertex]
        while neighbour != -1 and neighbour not in ring:
            ring.append(neighbour)
            neighbour = step.get(neighbour, -1)
        rings.append(ring)
    return rings


def _next_ring(rings: list[list[int]], last: list[int], spiral: list[int]) -> list[int]:
    """The ring after `last`: for each of its vertices in order, the new neighbours, those after a known one first."""
    ring: list[int] = []
    known, seen = set(last), {*last, *spiral}
    for vertex in last:
        around = rings[vertex]
        first = next((i for i, neighbour in enumerate(around) if neighbour in known), len(around))
        for neighbour in around[first + 1 :] + around[:first]:
            if neighbour not in seen:
                seen.add(neighbour)
                ring.append(neighbour)
    return ring


def _numbers(path: str | Path, name: str, level: object) -> np.ndarray:
    array = np.asarray(level)
    if array.ndim != 2 or array.shape[1] != 3 or len(array) == 0 or array.dtype.kind not in "fiu":
        raise InputError(f"{path}: {name}: expected numbers of shape (N, 3), found {array.shape} {array.dtype}")
    if not np.isfinite(array).all():
        raise InputError(f"{path}: {name}: expected finite numbers, found NaN or infinity; {_GET_FILE}")
    return array.astype(np.float64)


def _three_per_row(path: str | Path, level: int, matrix: object) -> scipy.sparse.csr_matrix:
    if not scipy.sparse.issparse(matrix):
        raise InputError(f"{path}: up_transform[{level}]: expected a sparse matrix, found {type(matrix).__name__}")
    csr = scipy.sparse.csr_matrix(matrix, dtype=np.float32)
    if not (np.diff(csr.indptr) == 3).all() or not np.isfinite(csr.data).all():
        raise InputError(f"{path}: up_transform[{level}]: expected three finite weights in every row; {_GET_FILE}")
    return csr


def _with_spirals(
    vertices: tuple[np.ndarray, ...], faces: tuple[np.ndarray, ...], upsample: tuple[scipy.sparse.csr_matrix, ...]
) -> Hierarchy:
    for matrix in upsample:
        matrix.sort_indices()  # one order of a row's columns, so that equal hierarchies have equal hashes
    sizes = tuple(len(level) for level in vertices)
    spirals = tuple(spirals_of(f, v) for f, v in zip(faces[:-1], vertices[:-1], strict=True))
    return Hierarchy(sizes, faces, vertices, spirals, upsample)
