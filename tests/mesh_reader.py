"""Reads the meshes that the project writes, OBJ and PLY, for tests of what they hold."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def read_mesh(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices (V, 3) and faces (F, 3) of a file that `hand.mesh_files` made."""
    data = path.read_bytes()
    if data.startswith(b"ply\n"):
        head, _, body = data.partition(b"end_header\n")
        counts = {line.split()[1]: int(line.split()[2]) for line in head.split(b"\n") if line.startswith(b"element")}
        size = counts[b"vertex"] * 12
        rows = np.frombuffer(body[size:], np.dtype([("count", "u1"), ("corners", "<i4", (3,))]))
        return np.frombuffer(body[:size], "<f4").reshape(-1, 3).astype(np.float64), rows["corners"].astype(np.int64)
    lines = [line.split() for line in data.decode().splitlines()]
    vertices = np.array([[float(x) for x in line[1:4]] for line in lines if line[:1] == ["v"]])
    faces = np.array([[int(corner) - 1 for corner in line[1:4]] for line in lines if line[:1] == ["f"]], np.int64)
    return vertices, faces
