"""Meshes as files that every 3D program opens: Wavefront OBJ and binary PLY. Vertices in metres, as given."""

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

FORMATS = ("obj", "ply")


def mesh_bytes(vertices: NDArray, faces: NDArray, form: str) -> bytes:
    """A mesh as the bytes of an OBJ or PLY file: vertices (V, 3) m, faces (F, 3) counted from 0."""
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
    raise InputError(f"mesh format {form!r}: expected {' or '.join(FORMATS)}")
