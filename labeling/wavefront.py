"""Triangles of a plain Wavefront OBJ file, as YCB's models are.

trimesh reads all others (`objects`), but importing it takes a third of a second in every process that labels.
"""

import re
import warnings

import numpy as np

_BEGINNINGS = {b"v ", b"f ", b"vt", b"vn", b"g ", b"g", b"o ", b"s ", b"us", b"mt", b""}  # usemtl, mtllib
_OTHER_INDICES = re.compile(rb"/[0-9/]*")


def read_triangles(data: bytes) -> tuple[np.ndarray, np.ndarray] | None:
    """Vertices (V, 3) float64 in the file's order and faces (F, 3) int32, counted from 0; None if it is not plain.

    Plain are points of three coordinates, and triangles whose indices count from 1, one space between all numbers.
    Texture and normals are left out, so that no vertex is split. Indices beyond the vertices are not looked at.
    """
    lines = data.splitlines()
    if not {line[:2] for line in lines if line[:1] != b"#"} <= _BEGINNINGS:
        return None
    points = _table([line for line in lines if line.startswith(b"v ")])
    faces = _table([line for line in lines if line.startswith(b"f ")], _OTHER_INDICES)
    if points is None or faces is None or not 1 <= faces.min() <= faces.max() < 2**31 or (faces % 1).any():
        return None
    return points, (faces - 1).astype(np.int32)


def _table(lines: list[bytes], leave_out: re.Pattern[bytes] | None = None) -> np.ndarray | None:
    """The numbers (N, 3) after the first letter of each line; None where there are others, or none at all."""
    if {line.count(b" ") for line in lines} != {3}:
        return None
    text = b"".join(line[1:] for line in lines)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # how NumPy says that it met something else than a number
        try:
            numbers = np.fromstring(leave_out.sub(b"", text) if leave_out else text, sep=" ")
        except (DeprecationWarning, ValueError):
            return None
    return numbers.reshape(-1, 3) if len(numbers) == 3 * len(lines) else None
