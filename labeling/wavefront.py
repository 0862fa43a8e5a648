"""Triangles of a plain Wavefront OBJ file, as YCB's models are.

trimesh reads all others (`objects`), but importing it takes a third of a second in every process that labels, and
takes a file with tabs for an empty one.
"""

import re

import numpy as np

_BEGINNINGS = {b"v ", b"f ", b"vt", b"vn", b"g ", b"g", b"o ", b"s ", b"us", b"mt", b""}  # usemtl, mtllib
_OTHER_INDICES = re.compile(rb"/[0-9/]*")
_INTEGERS, _NUMBERS = b"0123456789 ", b"0123456789 +-.eE"


def read_triangles(data: bytes) -> tuple[np.ndarray, np.ndarray] | None:
    """Vertices (V, 3) float64 in the file's order and faces (F, 3) int32, counted from 0; None if it is not plain.

    Plain are points of three coordinates, and triangles whose indices count from 1, one space or tab between numbers.
    Texture and normals are left out, so that no vertex is split; vertices without a face are, as by trimesh.
    """
    if b"\\\n" in data or b"\\\r" in data or data.count(b"\r") != data.count(b"\r\n"):
        return None  # lines that go on, also of comments, and line ends of old
    lines = data.replace(b"\t", b" ").splitlines()
    if not {line[:2] for line in lines if line[:1] != b"#"} <= _BEGINNINGS:
        return None
    points, corners = ([line[1:] for line in lines if line[:2] == kind] for kind in (b"v ", b"f "))
    if not points or not corners or {line.count(b" ") for line in (*points, *corners)} != {3}:
        return None
    numbers, indices = b"".join(points), _OTHER_INDICES.sub(b"", b"".join(corners))
    if numbers.translate(None, _NUMBERS) or indices.translate(None, _INTEGERS):
        return None
    try:
        vertices = np.array(numbers.split()).astype(np.float64).reshape(len(points), 3)
        faces = np.array(indices.split()).astype(np.int64).reshape(len(corners), 3) - 1
    except (ValueError, OverflowError):  # no numbers, or not three in a line
        return None
    if faces.min() < 0 or faces.max() >= len(vertices):
        return None
    used = np.zeros(len(vertices), bool)
    used[faces] = True
    return vertices[used], (np.cumsum(used, dtype=np.int32) - 1)[faces]
