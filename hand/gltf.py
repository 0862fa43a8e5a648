"""Hands as glTF 2.0 in one binary file (.glb): a mesh alone, and the writer that animations are made with.

Positions are metres in glTF's axes (x right, y up, z backward): an OpenCV camera's x right, y down, z forward turned by
half a turn about x, so that a glTF camera at the origin looks as the OpenCV one did. Colours are RGB; the file has them
linear, as glTF wants. The format is the Khronos Group's (glTF 2.0 Specification, ISO/IEC 12113:2022).

Written here because trimesh, which writes meshes of that kind, knows neither morph targets nor animations, and
pygltflib only mirrors the JSON: buffers, views and bounds, which are all there is to it, would remain to be written.
"""

import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import parts_by_faces
from .draw import FINGER_COLOURS, vertex_normals
from .parts import FINGERS, PALM

FROM_OPENCV = np.array([1.0, -1.0, -1.0])
"""Factors that turn points of an OpenCV camera into glTF's axes, and back."""
PALM_COLOUR, HIDDEN_COLOUR = (200, 200, 200), (45, 45, 45)
_FLOAT, _UINT16, _UINT32 = 5126, 5123, 5125
_KINDS = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}
_VERTICES, _INDICES = 34962, 34963  # what a part of the buffer is for: WebGL's ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER


class GltfWriter:
    """Collects a glTF file: JSON objects in `content`, arrays in one buffer."""

    def __init__(self) -> None:
        self.content: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": "h2onet"},
            "scene": 0,
            "scenes": [{"nodes": []}],
            "nodes": [],
            "meshes": [],
            # A hand is open at its wrist: seen from there it has an inside.
            "materials": [
                {
                    "name": "hand",
                    "doubleSided": True,
                    "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.7},
                }
            ],
            "accessors": [],
            "bufferViews": [],
        }
        self._buffer = bytearray()

    def floats(self, values: NDArray, *, vertices: bool = False, bounds: bool = False) -> int:
        """The accessor of (N,), (N, 3) or (N, 4) numbers as float32: per-vertex data, with their least and largest."""
        array = np.ascontiguousarray(values, "<f4")
        told = {} if not bounds else {key: _listed(f(array, axis=0)) for key, f in (("min", np.min), ("max", np.max))}
        kind = _KINDS[array.shape[1] if array.ndim == 2 else 1]
        view = self._view(array, _VERTICES if vertices else None)
        return self._accessor({"bufferView": view, "componentType": _FLOAT, "count": len(array), "type": kind} | told)

    def zeros(self, count: int) -> int:
        """The accessor of `count` vectors (0, 0, 0), which take no room in the file."""
        bounds = {"min": [0.0] * 3, "max": [0.0] * 3}
        return self._accessor({"componentType": _FLOAT, "count": count, "type": "VEC3"} | bounds)

    def faces(self, faces: NDArray, count: int) -> int:
        """The accessor of triangles (F, 3) of `count` vertices."""
        small = count < 2**16 - 1  # the largest number itself is reserved
        array = np.ascontiguousarray(faces, "<u2" if small else "<u4").ravel()
        view, kind = self._view(array, _INDICES), _UINT16 if small else _UINT32
        return self._accessor({"bufferView": view, "componentType": kind, "count": len(array), "type": "SCALAR"})

    def add_mesh(
        self, name: str, attributes: dict[str, int], faces: int, targets: Sequence[tuple[str, dict[str, int]]] = ()
    ) -> int:
        """A mesh of accessors by attribute (POSITION, NORMAL, COLOR_0) and named morph targets of the same kind."""
        primitive: dict[str, Any] = {"attributes": attributes, "indices": faces, "material": 0}
        mesh: dict[str, Any] = {"name": name, "primitives": [primitive]}
        if targets:
            primitive["targets"] = [target for _, target in targets]
            mesh["extras"] = {"targetNames": [target for target, _ in targets]}  # where Blender and three.js look
        return self._append("meshes", mesh)

    def add_node(self, name: str, mesh: int, **place: list[float]) -> int:
        """A node of the scene with a mesh, placed by glTF's translation, rotation, scale and weights."""
        node = self._append("nodes", {"name": name, "mesh": mesh} | place)
        self.content["scenes"][0]["nodes"].append(node)
        return node

    def finish(self) -> bytes:
        """The file."""
        text = json.dumps(
            self.content | {"buffers": [{"byteLength": len(self._buffer)}]}, separators=(",", ":"), allow_nan=False
        ).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text
        chunks += struct.pack("<I4s", len(self._buffer), b"BIN\0") + bytes(self._buffer)
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks

    def _view(self, array: NDArray, target: int | None) -> int:
        start, data = len(self._buffer), array.tobytes()
        self._buffer += data + bytes(-len(data) % 4)
        view = {"buffer": 0, "byteOffset": start, "byteLength": len(data)}
        return self._append("bufferViews", view if target is None else view | {"target": target})

    def _accessor(self, accessor: dict[str, Any]) -> int:
        return self._append("accessors", accessor)

    def _append(self, kind: str, value: dict[str, Any]) -> int:
        self.content[kind].append(value)
        return len(self.content[kind]) - 1


def mesh_glb(vertices: NDArray, faces: NDArray, hidden: NDArray | None = None) -> bytes:
    """A .glb of one mesh: vertices (V, 3) m in OpenCV axes, faces (F, 3), with normals and its parts' colours.

    hidden (5,): how far thumb .. little are hidden, 0 to 1: so far their colour goes to dark grey. Meshes whose parts
    are not known are of the palm's colour.
    """
    writer, points = GltfWriter(), vertices * FROM_OPENCV
    colours = vertex_colours(faces, len(points))
    if hidden is not None:
        for change, share in zip(hidden_changes(faces, len(points)), hidden, strict=True):
            colours += change * share
    attributes = {
        "POSITION": writer.floats(points, vertices=True, bounds=True),
        "NORMAL": writer.floats(unit_normals(points, faces), vertices=True),
        "COLOR_0": writer.floats(np.clip(colours, 0, 1), vertices=True),
    }
    writer.add_node("hand", writer.add_mesh("hand", attributes, writer.faces(faces, len(points))))
    return writer.finish()


def unit_normals(points: NDArray, faces: NDArray) -> NDArray[np.float64]:
    """Unit normals (V, 3); that of a vertex without a triangle of any size is z, since glTF knows no other length."""
    normals = vertex_normals(points, faces)
    normals[np.abs(normals).max(1) < 0.1] = (0.0, 0.0, 1.0)
    return normals


def vertex_colours(faces: NDArray, count: int) -> NDArray[np.float64]:
    """Linear RGB (V, 3) of a hand's vertices by their parts; the palm's colour where these are not known."""
    parts = parts_by_faces(faces)
    colours = np.array([_linear(colour) for colour in (*FINGER_COLOURS, PALM_COLOUR)])
    return colours[np.full(count, PALM) if parts is None else parts.vertex]


def hidden_changes(faces: NDArray, count: int) -> list[NDArray[np.float64]]:
    """For thumb .. little what to add to the colours (V, 3) to show that finger as hidden."""
    parts, colours = parts_by_faces(faces), vertex_colours(faces, count)
    if parts is None:
        return [np.zeros((count, 3)) for _ in FINGERS]
    dark = _linear(HIDDEN_COLOUR)
    return [np.where((parts.vertex == finger)[:, None], dark - colours, 0.0) for finger in range(len(FINGERS))]


def _linear(colour: tuple[int, int, int]) -> NDArray[np.float64]:
    """sRGB 0..255 to linear 0..1 (IEC 61966-2-1)."""
    value = np.array(colour) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _listed(values: NDArray) -> list[float]:
    """float32 numbers as JSON numbers that are exactly those of the buffer."""
    return np.atleast_1d(values).astype(np.float64).tolist()
