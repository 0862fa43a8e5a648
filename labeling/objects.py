"""The objects of a scene: meshes of the YCB models by name, loaded once per process, and placed before the camera.

Metres; object vertices in the object's own frame until `place` moves them into the OpenCV camera frame.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError, one_line
from ..jit import njit, readonly
from .raster import Mesh
from .wavefront import read_triangles

MESH_FILES = ("textured_simple.obj", "textured_simple_2000.obj", "google_16k/textured.obj")
"""A mesh below NAME/, as DexYCB has it; else decimated copies, else the YCB download's own, where only those are."""
LARGEST_FILE = 64 * 2**20
"""Bytes of a mesh file; YCB's largest has 2 MB."""
SMALLEST, LARGEST = 0.0005, 2.5
"""The radius of what a hand may hold, m: a bead, and furniture. A YCB object in centimetres is 3 to 16."""

GROUP = 64
"""Faces that are left out together where they cannot hide anything."""
_BOUNDS = ((np.minimum, np.min), (np.maximum, np.max))


@dataclass(frozen=True, eq=False)
class ObjectMesh:
    """vertices (V, 3) float64 m, faces (F, 3) int32, and the sphere (centre (3,) m, radius m) that holds them all.

    The same faces in groups of neighbours: `grouped` (F, 3) int32, and the spheres centres (G, 3) m, radii (G,) m, that
    hold each GROUP of them in a row.
    """

    vertices: np.ndarray
    faces: np.ndarray
    centre: np.ndarray
    radius: float
    grouped: np.ndarray
    centres: np.ndarray
    radii: np.ndarray

    @classmethod
    def of(cls, vertices: np.ndarray, faces: np.ndarray) -> "ObjectMesh":
        """The mesh of finite vertices (V, 3) and at least one face (F, 3)."""
        vertices, faces = np.ascontiguousarray(vertices, np.float64), np.ascontiguousarray(faces, np.int32)
        centre = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
        with np.errstate(over="ignore"):
            radius = float(np.linalg.norm(vertices - centre, axis=1).max())
        return cls(vertices, faces, centre, radius, *_groups(vertices, faces))


def _groups(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Faces sorted along a curve that keeps neighbours together (Morton's), and a sphere round every GROUP of them."""
    middle = vertices[faces].mean(axis=1)
    low, high = middle.min(axis=0), middle.max(axis=0)
    cells = ((middle - low) / np.maximum(high - low, np.finfo(float).tiny) * 1023).astype(np.int64)
    code = np.zeros(len(faces), np.int64)
    for bit in range(10):
        for axis in range(3):
            code |= (cells[:, axis] >> bit & 1) << (3 * bit + axis)
    grouped = np.ascontiguousarray(faces[np.argsort(code, kind="stable")])
    corners, starts = vertices[grouped], np.arange(0, len(faces), GROUP)
    least, most = (bound.reduceat(pick(corners, axis=1), starts) for bound, pick in _BOUNDS)
    centres = (least + most) / 2
    reach = np.linalg.norm(corners - np.repeat(centres, GROUP, axis=0)[: len(faces), None], axis=2).max(axis=1)
    return grouped, centres, np.maximum.reduceat(reach, starts)


_matrix = readonly("float64", 2)


@njit(f"void({_matrix}, {_matrix}, {_matrix}, float64[:, ::1], float64[:, ::1])", error_model="numpy")
def _place(vertices, pose, k, moved, points):
    """Move vertices by a 3 x 4 pose and project them: one pass, several times faster than array by array."""
    for i in range(vertices.shape[0]):
        a, b, c = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        x = pose[0, 0] * a + pose[0, 1] * b + pose[0, 2] * c + pose[0, 3]
        y = pose[1, 0] * a + pose[1, 1] * b + pose[1, 2] * c + pose[1, 3]
        z = pose[2, 0] * a + pose[2, 1] * b + pose[2, 2] * c + pose[2, 3]
        moved[i, 0], moved[i, 1], moved[i, 2] = x, y, z
        points[i, 0] = (k[0, 0] * x + k[0, 1] * y) / z + k[0, 2]
        points[i, 1] = k[1, 1] * y / z + k[1, 2]


def place(mesh: ObjectMesh, pose: np.ndarray, intrinsics: np.ndarray) -> Mesh:
    """The object before the camera: pose (3, 4) camera_from_object, m; intrinsics (3, 3) px."""
    moved, points = np.empty_like(mesh.vertices), np.empty((len(mesh.vertices), 2))
    _place(
        mesh.vertices,
        np.ascontiguousarray(pose, np.float64),
        np.ascontiguousarray(intrinsics, np.float64),
        moved,
        points,
    )
    return Mesh(moved, mesh.faces, points)


def _load(path: Path) -> ObjectMesh:
    """Read a mesh file as it is: no merging, because that reorders vertices."""
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise InputError(f"{path}: expected a mesh below {LARGEST_FILE >> 20} MB, found {size >> 20} MB; decimate it")
    vertices, faces = read_triangles(path.read_bytes()) or _read_with_trimesh(path)
    if vertices.shape[1:] != (3,) or faces.shape[1:] != (3,):
        raise InputError(
            f"{path}: expected triangles of points in space, found points {vertices.shape} and faces {faces.shape};"
            " copy the file again"
        )
    if len(faces) == 0 or not np.isfinite(vertices).all():
        raise InputError(f"{path}: expected a mesh with finite vertices, found {len(faces)} faces; copy the file again")
    if faces.min() < 0 or faces.max() >= len(vertices):  # renderers believe them
        raise InputError(
            f"{path}: expected faces of its {len(vertices)} vertices, found one of vertex {faces.max() + 1}; copy the"
            " file again"
        )
    with np.errstate(over="ignore"):
        radius = float(np.linalg.norm(vertices - (vertices.min(axis=0) + vertices.max(axis=0)) / 2, axis=1).max())
    if not SMALLEST < radius < LARGEST:
        size = 2 * radius
        raise InputError(
            f"{path}: expected an object in metres, {2 * SMALLEST:g} to {2 * LARGEST:g} across, found {size:.3g}"
            + (": millimetres? divide its vertices by 1000" if radius >= LARGEST else "")
        )
    return ObjectMesh.of(vertices, faces)


def _read_with_trimesh(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import trimesh  # slow to import, and only needed with objects that are not plain

    try:
        mesh = trimesh.load_mesh(path, process=False, skip_materials=True)
        return np.ascontiguousarray(mesh.vertices, np.float64), np.asarray(mesh.faces)
    except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError, RecursionError) as error:
        reason = one_line(error, 160)
        raise InputError(f"{path}: expected a triangle mesh, found {reason}; copy the file again") from error


def find_models(folder: Path) -> tuple[Path, str] | None:
    """Where the models of `--objects` lie and which mesh file of theirs is taken: (folder, one of MESH_FILES).

    Looks in the folder and in its `models/`; None when neither holds a single model. InputError for no folder.
    """
    if not folder.is_dir():
        raise InputError(f"--objects {folder}: no such folder; expected NAME/{MESH_FILES[0]} in it")
    for file in MESH_FILES:
        for place in (folder, folder / "models"):
            if next(place.glob(f"*/{file}"), None) is not None:
                return place, file
    return None


class ObjectLibrary:
    """Meshes in a folder laid out as DexYCB's `models/`: `<NAME>/textured_simple.obj` (or another of MESH_FILES).

    Picklable; files are read on demand. folder: None when there are no meshes at all: then every object is missing.
    """

    def __init__(self, folder: str | Path | None):
        """Remember the folder, or its `models/`; raises InputError when it is named but does not exist."""
        self._found: dict[str, ObjectMesh | None] = {}
        self.folder, self.file = None if folder is None else Path(folder), MESH_FILES[0]
        if self.folder is not None:
            self.folder, self.file = find_models(self.folder) or (self.folder, self.file)

    def get(self, name: str) -> ObjectMesh | None:
        """The mesh of the object called `name` (YCB folder name), None when its file is missing.

        Raises InputError for a file that holds no triangle mesh. What was found, or not, is kept with the library.
        """
        if name not in self._found:
            path = None if self.folder is None else self.folder / name / self.file
            self._found[name] = _load(path) if path is not None and path.is_file() else None
        return self._found[name]

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of the names that have no mesh, sorted."""
        return sorted(name for name in set(names) if self.get(name) is None)
