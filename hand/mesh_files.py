"""Meshes as files that every 3D program opens: Wavefront OBJ, binary PLY, and glTF's .glb.

Vertices in metres: as given in OBJ and PLY, turned from OpenCV's axes to glTF's in a .glb, which has normals and
colours, too.
"""

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .gltf import mesh_glb

FORMATS = ("obj", "ply", "glb")


def mesh_bytes(vertices: NDArray, faces: NDArray, form: str, hidden: NDArray | None = None) -> bytes:
    """A mesh as the bytes of a file of one of `FORMATS`: vertices (V, 3) m, faces (F, 3) counted from 0.

    hidden (5,): how far thumb .. little are hidden, 0 to 1, where it is known; only a .glb shows it.
    """
    if form == "glb":
        return mesh_glb(vertices, faces, hidden)
    if form == "obj":
        lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in np.asarray(vertices, np.float64).tolist()]
        lines += [f"f {a} {b} {c}" for a, b, c in (np.asarray(faces) + 1).tolist()]
        return ("\n".join(lines) + "\n").encode()
    if form == "ply":
        head = (
            "ply\nformat binary_little_endian 1.0\n"
            f"element vertex {len(vertices)}\nproperty float x\nproperty float y\nproperty float z\n"
            f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
        )
        rows = np.empty(len(faces), np.dtype([("count", "u1"), ("corners", "<i4", (3,))]))
        rows["count"], rows["corners"] = 3, faces
        return head.encode() + np.asarray(vertices, "<f4").tobytes() + rows.tobytes()
    raise InputError(f"mesh format {form!r}: expected {', '.join(FORMATS)}")
