"""HO3D's own protocol: a pred.json scored against the released ground truth, as the official script prints it.

Arrays here are in HO3D's terms: metres, OpenGL axes (hands at negative z), HO3D joint order (wrist; three joints each
of index, middle, little, ring, thumb; tips of thumb, index, middle, ring, little), frames in evaluation.txt's order.
Scores are centimetres, areas and fractions, under the keys of the official scores.txt.
"""

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..hand.errors import InputError
from . import metrics

JOINTS, VERTICES = 21, 778
A6_FROM_HO3D = [0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20]
HO3D_FROM_A6 = [int(i) for i in np.argsort(A6_FROM_HO3D)]
FRAMES = {"ho3d-v2": 11_524, "ho3d-v3": 20_137}
MIDDLE_1 = 4  # HO3D order; the scale reference of the official script
CHUNK = 512


@dataclass(frozen=True)
class Meshes:
    """Joints (N, 21, 3) and vertices (N, 778, 3) of every evaluation frame, m, OpenGL axes, HO3D joint order."""

    joints: NDArray[np.float64]
    vertices: NDArray[np.float64]


def read_points(path: Path, type_: Any) -> Any:
    """The outer structure of a JSON file with every frame left as raw bytes, so that a frame is parsed when needed."""
    if not path.is_file():
        raise InputError(f"{path}: file not found; expected a JSON file of HO3D's format")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: expected JSON, found an empty file")
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # stays open: the raw frames point into it
    try:
        return msgspec.json.decode(data, type=type_)
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: not of HO3D's JSON format: {error}") from error


def to_array(frames: list[msgspec.Raw], points: int, path: Path, field: str) -> NDArray[np.float64]:
    """Raw frames to (N, points, 3) m; InputError names the first frame that has another shape or holds no numbers."""
    decoder = msgspec.json.Decoder(list[list[float]])
    array = np.empty((len(frames), points, 3))
    for n, raw in enumerate(frames):
        try:
            frame = np.asarray(decoder.decode(raw), np.float64)
        except (msgspec.DecodeError, ValueError) as error:
            raise InputError(f"{path}: {field}: frame {n}: {error}; expected {points} points of 3 numbers") from error
        if frame.shape != (points, 3):
            raise InputError(f"{path}: {field}: frame {n}: expected shape ({points}, 3), found {frame.shape}")
        array[n] = frame
    return array


def load_ground_truth(folder: Path) -> Meshes:
    """evaluation_xyz.json and evaluation_verts.json of the release (November 2024)."""
    joints = read_points(folder / "evaluation_xyz.json", list[msgspec.Raw])
    vertices = read_points(folder / "evaluation_verts.json", list[msgspec.Raw])
    if len(joints) != len(vertices):
        raise InputError(
            f"{folder}: evaluation_xyz.json has {len(joints)} frames, evaluation_verts.json {len(vertices)}"
        )
    return Meshes(
        to_array(joints, JOINTS, folder / "evaluation_xyz.json", "joints"),
        to_array(vertices, VERTICES, folder / "evaluation_verts.json", "vertices"),
    )


def load_predictions(path: Path) -> Meshes:
    """A pred.json: [joints per frame, vertices per frame]."""
    parts = read_points(path, list[list[msgspec.Raw]])
    if len(parts) != 2 or len(parts[0]) != len(parts[1]):
        found = ", ".join(str(len(part)) for part in parts)
        raise InputError(f"{path}: expected [joints, vertices] with as many frames each, found lists of {found} frames")
    return Meshes(to_array(parts[0], JOINTS, path, "joints"), to_array(parts[1], VERTICES, path, "vertices"))


def check_predictions(path: Path, predicted: Meshes, truth: Meshes) -> None:
    """Refuse predictions that cannot be meant: wrong count, OpenCV axes, another joint order."""
    if len(predicted.joints) != len(truth.joints):
        raise InputError(
            f"{path}: expected {len(truth.joints)} frames like the ground truth, found {len(predicted.joints)}; "
            "predictions go in evaluation.txt's order, one for every line"
        )
    if len(predicted.joints) and (predicted.joints[..., 2] > 0).all():
        raise InputError(
            f"{path}: all z are positive: these are OpenCV axes; HO3D wants OpenGL, multiply by (1, -1, -1)"
        )
    sample = slice(None, None, max(1, len(predicted.joints) // 200))
    found, true = predicted.joints[sample], truth.joints[sample]
    as_given = metrics.point_errors(metrics.similarity_aligned(found, true), true).mean()
    reordered = metrics.point_errors(metrics.similarity_aligned(found[:, HO3D_FROM_A6], true), true).mean()
    if reordered < 0.5 * as_given:
        raise InputError(
            f"{path}: the joints fit the ground truth {as_given / reordered:.1f} times better when read in the order "
            "wrist, thumb, index, middle, ring, little; reorder them to HO3D's joint order"
        )


def score(predicted: Meshes, truth: Meshes) -> dict[str, float]:
    """The 14 values of the official scores.txt: errors in cm, areas under the curve and F-scores in [0, 1]."""
    joints, joints_pa, joints_st = [], [], []
    vertices, vertices_pa, f_raw, f_pa = [], [], [], []
    for start in range(0, len(truth.joints), CHUNK):
        part = slice(start, start + CHUNK)
        p, t = predicted.joints[part], truth.joints[part]
        joints.append(metrics.point_errors(p, t))
        joints_pa.append(metrics.point_errors(metrics.similarity_aligned(p, t), t))
        joints_st.append(metrics.point_errors(metrics.scale_translation_aligned(p, t, reference=MIDDLE_1), t))
        p, t = predicted.vertices[part], truth.vertices[part]
        aligned = metrics.similarity_aligned(p, t)
        vertices.append(metrics.point_errors(p, t))
        vertices_pa.append(metrics.point_errors(aligned, t))
        f_raw.append(metrics.f_scores(p, t))
        f_pa.append(metrics.f_scores(aligned, t))
    scores: dict[str, float] = {}
    for name, errors in (
        ("xyz_mean3d", joints),
        ("xyz_procrustes_al_mean3d", joints_pa),
        ("xyz_scale_trans_al_mean3d", joints_st),
        ("mesh_mean3d", vertices),
        ("mesh_al_mean3d", vertices_pa),
    ):
        together = np.concatenate(errors)
        scores[name] = float(together.mean() * 100.0)
        scores[name.replace("mean3d", "auc3d")] = metrics.auc(together)
    raw, aligned = np.concatenate(f_raw).mean(0), np.concatenate(f_pa).mean(0)
    for k, millimetres in enumerate((5, 15)):
        scores[f"f_score_{millimetres}"] = float(raw[k])
        scores[f"f_al_score_{millimetres}"] = float(aligned[k])
    return scores
