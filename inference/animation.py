"""animation.glb: the hands of a whole video or sequence as one animated glTF file, a node for each.

Metres in glTF's axes (`hand.gltf`). One morph target per frame would need a weight for every pair of frames: 100 MB for
5,000 of them. Here each hand's node is moved and turned as its wrist is, and what remains of the motion is blended
of as few morph targets as keep every vertex within `BOUND`. Five more, named "thumb hidden" to "little hidden", change
no vertex but darken their finger, by as much as it is likely to be hidden.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ..hand.gltf import FROM_OPENCV, GltfWriter, hidden_changes, unit_normals, vertex_colours
from ..hand.low_rank import Blend, find_blend
from ..hand.parts import FINGERS
from .hand_result import HandResult

BOUND = 1e-4
"""m: no vertex is further off than this, if `MOST` shapes suffice."""
MOST = 200
"""Shapes: WebGL takes 256 vectors in any vertex shader, and the weight of a morph target is one of them."""
SEQUENCE_RATE = 30.0  # frames/s of pictures in order, which have no clock


@dataclass
class _Track:
    """What a hand did: the frames in which it is there, its meshes (V, 3) m, wrists and probabilities, glTF axes."""

    faces: NDArray[np.int32]
    frames: list[int] = field(default_factory=list)
    vertices: list[NDArray[np.float32]] = field(default_factory=list)
    wrists: list[NDArray[np.float64] | None] = field(default_factory=list)
    hidden: list[NDArray[np.float64] | None] = field(default_factory=list)


class Animation:
    """Collects the hands of frame after frame; `finish` makes the file of them."""

    def __init__(self, rate: float | None) -> None:
        """rate: frames per second of the video, None for pictures in order."""
        self.rate = rate or SEQUENCE_RATE
        self.frames = 0
        self._tracks: dict[str, _Track] = {}

    def add(self, hands: list[tuple[int, HandResult, NDArray[np.int32]]]) -> None:
        """The next frame's hands: each one's number, result and faces (F, 3)."""
        for number, result, faces in hands:
            track = self._tracks.setdefault(f"{result.side}-{number}", _Track(faces))
            track.frames.append(self.frames)
            track.vertices.append((result.vertices * FROM_OPENCV).astype(np.float32))
            track.wrists.append(None if result.root is None else result.root * FROM_OPENCV)
            track.hidden.append(result.fingers_hidden)
        self.frames += 1

    def finish(self) -> tuple[bytes | None, dict[str, Any]]:
        """The .glb, None without any hand, and what run.json says of it.

        That is: of each hand in how many frames it is, of how many shapes it is blended, and how far off in m it is.
        """
        writer, samplers, channels = GltfWriter(), list[dict[str, Any]](), list[dict[str, Any]]()
        facts: dict[str, Any] = {"rate": self.rate, "frames": self.frames, "hands": {}}
        for name, track in sorted(self._tracks.items()):
            node, curves, blend = _add_hand(writer, name, track)
            times = writer.floats(np.array(track.frames) / self.rate, bounds=True)
            for path, values in curves.items():
                samplers.append({"input": times, "output": writer.floats(values)})
                channels.append({"sampler": len(samplers) - 1, "target": {"node": node, "path": path}})
            changes, there = _appearances(track.frames, self.frames)
            if len(changes) > 1 or not there[0]:
                scales = writer.floats(np.repeat(there[:, None], 3, axis=1))
                # Half a frame early: at a frame's own time rounding would decide.
                starts = writer.floats(np.maximum(changes - 0.5, 0.0) / self.rate, bounds=True)
                samplers.append({"input": starts, "output": scales, "interpolation": "STEP"})
                channels.append({"sampler": len(samplers) - 1, "target": {"node": node, "path": "scale"}})
            shapes = len(blend.shapes)
            facts["hands"][name] = {"frames": len(track.frames), "shapes": shapes, "largest_error_m": blend.error}
        if not self._tracks:
            return None, facts  # glTF knows no empty scene
        writer.content["animations"] = [{"name": "hands", "samplers": samplers, "channels": channels}]
        return writer.finish(), facts


def _add_hand(writer: GltfWriter, name: str, track: _Track) -> tuple[int, dict[str, NDArray], Blend]:
    """Write a hand's mesh and node; its number, its curves by glTF's path, and the shapes that it is blended of."""
    turns, meshes = _turn_back(np.array(track.vertices))
    blend = find_blend(meshes.reshape(len(meshes), -1), BOUND, MOST)
    faces, count = track.faces, meshes.shape[1]
    base = blend.mean.reshape(-1, 3)
    normals, slopes = _blend_normals(meshes, faces, blend.weights)
    attributes = {
        "POSITION": writer.floats(base, vertices=True, bounds=True),
        "NORMAL": writer.floats(normals, vertices=True),
        "COLOR_0": writer.floats(vertex_colours(faces, count), vertices=True),
    }
    nothing = writer.zeros(count)
    targets = [
        (
            f"shape {number}",
            {
                "POSITION": writer.floats(shape.reshape(-1, 3), vertices=True, bounds=True),
                "NORMAL": writer.floats(slope, vertices=True),
                "COLOR_0": nothing,
            },
        )
        for number, (shape, slope) in enumerate(zip(blend.shapes, slopes, strict=True))
    ]
    weights, known = blend.weights, [hidden for hidden in track.hidden if hidden is not None]
    if known:
        for finger, change in zip(FINGERS, hidden_changes(faces, count), strict=True):
            colour = writer.floats(change, vertices=True)
            targets.append((f"{finger} hidden", {"POSITION": nothing, "NORMAL": nothing, "COLOR_0": colour}))
        unknown = np.zeros(len(FINGERS))
        shown = np.array([unknown if hidden is None else hidden for hidden in track.hidden])
        weights = np.concatenate([weights, shown], axis=1)
    quaternions = _continuous(Rotation.from_matrix(turns).as_quat())
    curves: dict[str, NDArray] = {"translation": _places(track.wrists), "rotation": quaternions}
    mesh = writer.add_mesh(name, attributes, writer.faces(faces, count), targets)
    if targets:
        curves["weights"] = weights.ravel()
    # At rest it is as in its first frame, for programs that show no animation.
    place = {path: values[0].astype(np.float32).astype(float).tolist() for path, values in curves.items()}
    if targets:
        place["weights"] = weights[0].astype(float).tolist()
    return writer.add_node(name, mesh, **place), curves, blend


def _turn_back(vertices: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """The rotation (N, 3, 3) about the wrist from the first mesh nearest to each (Kabsch 1976), and meshes without it.

    vertices (N, V, 3) m relative to the wrist, here and back: vertices = rotation @ mesh.
    """
    covariance = np.einsum("nvi,vj->nij", vertices, vertices[0], dtype=np.float64)
    left, _, right = np.linalg.svd(covariance)
    left[:, :, 2] *= np.sign(np.linalg.det(left @ right))[:, None]
    turns = left @ right
    return turns, np.einsum("nij,nvi->nvj", turns, vertices).astype(np.float32)


def _blend_normals(
    meshes: NDArray[np.float32], faces: NDArray[np.int32], weights: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Normals (V, 3), and their change (K, V, 3) with each weight: the least squares of the frames' own normals."""
    given = np.column_stack([np.ones(len(weights)), weights])
    solver = np.linalg.pinv(given)  # (1 + K, N)
    fitted = np.zeros((given.shape[1], meshes[0].size))
    for mesh, column in zip(meshes, solver.T, strict=True):
        fitted += column[:, None] * unit_normals(mesh.astype(np.float64), faces).ravel()
    mean, *_ = fitted = fitted.reshape(-1, *meshes.shape[1:])
    length = np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-6)
    return mean / length, fitted[1:] / length  # a viewer divides by the length anyway: glTF wants a unit to begin with


def _places(wrists: list[NDArray[np.float64] | None]) -> NDArray[np.float64]:
    """Wrists (N, 3) m; where there is none the one before, at first the first one, and the origin without any."""
    place = next((wrist for wrist in wrists if wrist is not None), np.zeros(3))
    found = []
    for wrist in wrists:
        place = place if wrist is None else wrist
        found.append(place)
    return np.array(found)


def _continuous(quaternions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quaternions (N, 4) with the sign of each chosen so that it is near the one before."""
    turned = np.where((quaternions[1:] * quaternions[:-1]).sum(1) < 0, -1.0, 1.0)
    return quaternions * np.cumprod(np.concatenate([[1.0], turned]))[:, None]


def _appearances(frames: list[int], total: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The frames at which a hand comes or goes, frame 0 first, and whether it is there from then on, 1 or 0."""
    there = np.zeros(total)
    there[frames] = 1
    changes = np.flatnonzero(np.concatenate([[1.0], np.diff(there)]))
    return changes, there[changes]
