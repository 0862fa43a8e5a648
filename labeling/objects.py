"""The objects of a scene: meshes of the YCB models by name, loaded once per process, and placed before the camera.

Metres; object vertices in the object's own frame until `place` moves them into the OpenCV camera frame.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..hand.errors import InputError

MESH_FILE = "textured_simple.obj"


@dataclass(frozen=True, eq=False)
class ObjectMesh:
    """vertices (V, 3) float64 m, faces (F, 3) int32, and the sphere (centre (3,) m, radius m) that holds them all."""

    vertices: np.ndarray
    faces: np.ndarray
    centre: np.ndarray
    radius: float


def _load(path: Path) -> ObjectMesh:
    """Read a mesh file as it is: no merging, because that reorders vertices."""
    import trimesh  # slow to import, and only needed with objects

    try:
        mesh = trimesh.load_mesh(path, process=False, skip_materials=True)
        vertices = np.ascontiguousarray(mesh.vertices, np.float64)
        faces = np.ascontiguousarray(mesh.faces, np.int32)
    except (ValueError, IndexError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{path}: expected a triangle mesh, found {error}; copy the file again") from error
    if len(faces) == 0 or not np.isfinite(vertices).all():
        raise InputError(f"{path}: expected a mesh with finite vertices, found {len(faces)} faces; copy the file again")
    centre = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    return ObjectMesh(vertices, faces, centre, float(np.linalg.norm(vertices - centre, axis=1).max()))


class ObjectLibrary:
    """Meshes in a folder laid out as DexYCB's `models/`: `<NAME>/textured_simple.obj`. Picklable; files are read on
    demand.

    folder: None when there are no meshes at all: then every object is missing.
    """

    def __init__(self, folder: str | Path | None):
        """Remember the folder; raises InputError when it is named but does not exist."""
        self.folder = None if folder is None else Path(folder)
        self._found: dict[str, ObjectMesh | None] = {}
        if self.folder is not None and not self.folder.is_dir():
            raise InputError(f"{self.folder}: expected the folder of object models, found none; pass --objects DIR")

    def get(self, name: str) -> ObjectMesh | None:
        """The mesh of the object called `name` (YCB folder name), None when its file is missing.

        Raises InputError for a file that holds no triangle mesh. What was found, or not, is kept with the library.
        """
        if name not in self._found:
            path = None if self.folder is None else self.folder / name / MESH_FILE
            self._found[name] = _load(path) if path is not None and path.is_file() else None
        return self._found[name]

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of the names that have no mesh, sorted."""
        return sorted(name for name in set(names) if self.get(name) is None)
