"""Triangles of a plain Wavefront OBJ file, as YCB's models are.

trimesh reads all others (`objects`), but importing it takes a third of a second in every process that labels, and
takes a file with tabs for an empty one.
"""

import re

import numpy as np

_BEGINNINGS = {b"v ", b"f ", b"vt", b"vn", b"g ", b"g", b"o ", b"s ", b"us", b"mt", b""}  # usemtl, mtllib
_OTHER_INDICES = re.compile(rb"/[0-9/]*")


def read_triangles(data: bytes) -> tuple[np.ndarray, np.ndarray] | None:
    """Vertices (V, 3) float64 in the file's order and faces (F, 3) int32, counted from 0; None if it is not plain.

    Plain are points of three coordinates, and triangles whose indices count from 1, one space or tab between numbers.
    Texture and normals are left out, so that no vertex is split. Indices beyond the vertices are not looked at.
    """
    lines = data.replace(b"\t", b" ").splitlines()
    if not {line[:2] for line in lines if line[:1] != b"#"} <= _BEGINNINGS:
        return None
    points, corners = ([line[1:] for line in lines if line[:2] == kind] for kind in (b"v ", b"f "))
    if not points or not corners or {line.count(b" ") for line in (*points, *corners)} != {3}:
        return None
    try:
        vertices = np.array(b"".join(points).split()).astype(np.float64).reshape(len(points), 3)
        faces = np.array(_OTHER_INDICES.sub(b"", b"".join(corners)).split()).astype(np.int64).reshape(len(corners), 3)
    except (ValueError, OverflowError):  # no numbers, or not three in a line
        return None
    return (vertices, (faces - 1).astype(np.int32)) if faces.min() >= 1 and faces.max() < 2**31 else None
