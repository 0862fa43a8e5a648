"""HO3D's own formats, pred.json and the released ground truth: reading, checking, and conversion to its axes and order.

Arrays here are in HO3D's terms: metres, OpenGL axes (hands at negative z), HO3D joint order (wrist; three joints each
of index, middle, little, ring, thumb; tips of thumb, index, middle, ring, little), frames in evaluation.txt's order.
They are scored in `official.py`.
"""

import mmap
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...data.readers.ho3d_lists import read_lines
from ...durable import writing_file
from ...errors import InputError, one_line
from ...hand.camera import opencv_from_opengl
from ...hand.parts import JOINTS, JOINTS_FROM_MANO, VERTICES
from .. import metrics

HO3D_FROM_JOINTS = [JOINTS_FROM_MANO.index(i) for i in range(JOINTS)]  # HO3D's order: MANO's joints, then the tips
FRAME_COUNTS = {"ho3d-v2": 11_524, "ho3d-v3": 20_137}
MOST_BYTES = 8 * 2**30  # of a zipped pred.json; v3's 20,137 frames take about 1.2 GB
_LONGEST_POINT = 1000  # bytes of JSON; with 17 digits a point has about 70
FREE_BYTES, MOST_INFLATED = 2**24, 20  # what a zip may inflate to; digits become a third, lists of null less
_WRONG_UNIT = 50.0  # times larger than the truth: millimetres (1000) or centimetres (100) instead of metres


@dataclass(frozen=True)
class Meshes:
    """Joints (N, 21, 3) and vertices (N, 778, 3) of every evaluation frame, m, OpenGL axes, HO3D joint order."""

    joints: NDArray[np.float64]
    vertices: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.joints)

    def select(self, frames: NDArray[np.int64]) -> "Meshes":
        """Some of the frames, in the order given; not a copy where these are all of them in order."""
        if np.array_equal(frames, np.arange(len(self))):
            return self
        return Meshes(self.joints[frames], self.vertices[frames])


def from_camera(joints: NDArray, vertices: NDArray) -> Meshes:
    """Turn joints (wrist, thumb .. little) and vertices, m, OpenCV camera frame, into HO3D's axes and order."""
    joints, vertices = np.asarray(joints, np.float64), np.asarray(vertices, np.float64)
    return Meshes(opencv_from_opengl(joints)[:, HO3D_FROM_JOINTS], opencv_from_opengl(vertices))


def write_ho3d(path: Path, joints: NDArray, vertices: NDArray, *, lines: NDArray[np.int64] | None = None) -> Path:
    """Write HO3D's pred.json, [joints, vertices] in OpenGL axes and HO3D joint order, and the zip to submit beside it.

    joints (N, 21, 3), vertices (N, 778, 3) m, in evaluation.txt's order; `lines` (N,) are their lines in that list.
    Raises InputError when a line is missing: the official script pairs by position and would score the wrong frames.
    Returns the zip's path.
    """
    if lines is not None:
        missing = np.setdiff1d(np.arange(lines.max() + 1 if len(lines) else 0), lines)
        if len(missing) or len(np.unique(lines)) != len(lines):
            raise InputError(
                f"{path}: HO3D wants every evaluation frame once in the list's order; {len(missing)} are missing"
                + (f" (first: line {missing[0] + 1} of evaluation.txt)" if len(missing) else " but some come twice")
                + "; build the clips of the whole evaluation split"
            )
    meshes = from_camera(joints, vertices)
    with writing_file(path) as file:
        file.write(b"[")
        for k, points in enumerate((meshes.joints, meshes.vertices)):
            file.write(b", [" if k else b"[")
            for n, frame in enumerate(points):
                rows = ", ".join(f"[{x:.8f}, {y:.8f}, {z:.8f}]" for x, y, z in frame.tolist())
                file.write((", [" if n else "[").encode() + rows.encode() + b"]")
            file.write(b"]")
        file.write(b"]")
    archive = path.with_suffix(".zip")
    with writing_file(archive) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.write(path, "pred.json")
    return archive


def read_points(path: Path, type_: Any) -> Any:
    """Read the outer structure of a JSON file; every frame stays raw bytes, to be parsed when needed."""
    if not path.is_file():
        raise InputError(f"{path}: file not found; expected a JSON file of HO3D's format")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: expected JSON, found an empty file")
    if zipfile.is_zipfile(path):
        data = read_zip(path)
    else:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # stays open: the raw frames point into it
    try:
        return msgspec.json.decode(data, type=type_)
    except (msgspec.DecodeError, RecursionError) as error:
        # Python's json module writes NaN and Infinity, which are not JSON.
        broken = re.search(rb"NaN|-?Infinity", data)
        if broken:
            before = len(re.findall(rb"\]\s*\]", data[: broken.start()]))
            raise InputError(
                f"{path}: holds {broken.group().decode()} after {before} frames (joints first, then vertices); the "
                "prediction is broken there: fix it, or write null for that frame and score the others"
            ) from error
        raise InputError(f"{path}: not of HO3D's JSON format: {one_line(error, 160)}") from error


def read_zip(path: Path) -> bytes:
    """The one JSON file of a zip as it is submitted to HO3D's server; InputError for any other zip."""
    try:
        with zipfile.ZipFile(path) as bundle:
            names = [name for name in bundle.namelist() if name.lower().endswith(".json")]
            if len(names) != 1:
                raise InputError(f"{path}: expected one .json file in the zip, found {len(names)}")
            entry = bundle.getinfo(names[0])
            size = entry.file_size
            if size > min(MOST_BYTES, FREE_BYTES + MOST_INFLATED * entry.compress_size):
                raise InputError(
                    f"{path}: {size} bytes of JSON in {entry.compress_size}; expected at most {MOST_BYTES}, and "
                    f"{MOST_INFLATED} to one: is it a prediction?"
                )
            return bundle.read(names[0])
    except InputError:
        raise
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise InputError(f"{path}: the zip cannot be read ({one_line(error, 160)}); write it again") from error


def to_array(frames: list[msgspec.Raw], points: int, path: Path, field: str) -> NDArray[np.float64]:
    """Parse raw frames to (N, points, 3) m; InputError names the first frame of another shape or without numbers."""
    decoder = msgspec.json.Decoder(list[float])
    array = np.empty((len(frames), points * 3))
    for n, raw in enumerate(frames):
        text = bytes(raw)
        rows = text.count(b"[") - 1
        if len(text) > points * _LONGEST_POINT:
            raise InputError(f"{path}: {field}: frame {n}: {len(text)} bytes for {points} points of 3 numbers")
        try:
            # Flat lists become arrays several times faster than nested ones.
            numbers = decoder.decode(b"[" + text.translate(None, b"[]") + b"]")
        except (msgspec.DecodeError, ValueError, OverflowError) as error:
            raise InputError(
                f"{path}: {field}: frame {n}: {one_line(error, 160)}; expected {points} points of 3 numbers"
            ) from error
        if rows != points or len(numbers) != points * 3:
            raise InputError(
                f"{path}: {field}: frame {n}: expected {points} points of 3 numbers, found {rows} points and "
                f"{len(numbers)} numbers"
            )
        array[n] = numbers
    return array.reshape(-1, points, 3)


def load_ground_truth(folder: Path) -> Meshes:
    """Read evaluation_xyz.json and evaluation_verts.json of the release (November 2024)."""
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


def load_predictions(path: Path) -> tuple[Meshes, NDArray[np.int64], int]:
    """Read a pred.json, [joints per frame, vertices per frame]: its meshes, their positions in it, and its length.

    A frame that is null or [] in both lists was not predicted; all others are returned.
    """
    parts = read_points(path, list[list[msgspec.Raw]])
    if len(parts) != 2 or len(parts[0]) != len(parts[1]):
        found = ", ".join(str(len(part)) for part in parts)
        raise InputError(f"{path}: expected [joints, vertices] with as many frames each, found lists of {found} frames")
    absent = [[bytes(raw).strip() in (b"null", b"[]") for raw in part] for part in parts]
    for n, (joints, vertices) in enumerate(zip(*absent, strict=True)):
        if joints != vertices:
            raise InputError(f"{path}: frame {n} has {'vertices' if joints else 'joints'} only; give both or neither")
    given = np.flatnonzero(~np.array(absent[0], bool))
    chosen = [[part[n] for n in given.tolist()] for part in parts]
    meshes = Meshes(to_array(chosen[0], JOINTS, path, "joints"), to_array(chosen[1], VERTICES, path, "vertices"))
    return meshes, given, len(parts[0])


def read_evaluation_list(folder: Path) -> list[str] | None:
    """Read the lines "SEQ/NNNN" of the evaluation.txt beside the ground truth; None where there is none."""
    path = folder / "evaluation.txt"
    return read_frame_names(path) if path.is_file() else None


def read_frame_names(path: Path) -> list[str]:
    """Read the names "SEQ/NNNN" in a list of frames; InputError where it is no text."""
    try:
        return " ".join(read_lines(path)).split()
    except ValueError as error:
        raise InputError(f"{path}: not readable ({one_line(error, 160)}); expected HO3D's list of frames") from None


def check_predictions(path: Path, predicted: Meshes, truth: Meshes) -> None:
    """Refuse predictions in OpenCV axes, another unit or another joint order; the frames of both are the same."""
    if not len(predicted):
        raise InputError(f"{path}: holds no predicted frame")
    if (predicted.joints[..., 2] > 0).all():
        raise InputError(
            f"{path}: all z are positive: these are OpenCV axes; HO3D wants OpenGL, multiply by (1, -1, -1)"
        )
    sample = slice(None, None, max(1, len(predicted) // 200))
    found, true = predicted.joints[sample], truth.joints[sample]
    size, true_size = (np.linalg.norm(points - points[:, :1], axis=-1).mean() for points in (found, true))
    if size > _WRONG_UNIT * true_size:
        raise InputError(
            f"{path}: hands are {size / true_size:.0f} times larger than the truth; HO3D wants metres, divide by "
            f"{1000 if size > 300 * true_size else 100}"
        )
    as_given = metrics.point_errors(metrics.similarity_aligned(found, true), true).mean()
    reordered = metrics.point_errors(metrics.similarity_aligned(found[:, HO3D_FROM_JOINTS], true), true).mean()
    if reordered < 0.5 * as_given:
        raise InputError(
            f"{path}: the joints fit the ground truth {as_given / reordered:.1f} times better when read in the order "
            "wrist, thumb, index, middle, ring, little; reorder them to HO3D's joint order"
        )
