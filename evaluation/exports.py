"""Predictions in the forms that other people's scripts read: HO3D's pred.json, dex-ycb-toolkit's result text.

Input here is metres in the OpenCV camera frame, joints wrist, thumb .. little, left hands mirrored back.
"""

import importlib.util
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data.clips import ClipStore
from ..data.readers.dexycb_splits import SUBJECTS, position_in_split, sequence_list, subjects_of
from ..durable import writing_file
from ..errors import InputError
from .ho3d.files import from_camera


def write_ho3d(path: Path, joints: NDArray, vertices: NDArray, *, lines: NDArray[np.int64] | None = None) -> Path:
    """HO3D's pred.json, [joints, vertices] in OpenGL axes and HO3D joint order, and beside it the zip to submit.

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


def check_folder(folder: Path, option: str) -> None:
    """InputError where `folder` is no folder that can be written to, and cannot become one."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise InputError(f"{option}: {there} is a file, expected a folder; give another name")
    if not os.access(there, os.W_OK):
        raise InputError(f"{option}: {there} cannot be written to; give another name")


def check_table(path: Path) -> None:
    """InputError where `write_predictions` could not write `path`: another suffix, or parquet without pyarrow."""
    if path.suffix not in (".npz", ".parquet"):
        raise InputError(f"--predictions-out {path}: expected a name that ends in .npz or .parquet")
    if path.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise InputError(f"--predictions-out {path}: needs pyarrow; run: pip install pyarrow, or give a name in .npz")


def write_predictions(path: Path, keys: Mapping[str, NDArray], joints: NDArray, vertices: NDArray) -> Path:
    """Predictions for anyone's script, as .npz or .parquet by the name's end; `check_table` has passed `path`.

    `keys` are sequence, recording, frame (N,); joints (N, 21, 3) and vertices (N, 778, 3) become float32 m in the
    OpenCV camera frame, joints wrist, thumb .. little. Parquet holds a frame's points flat: 63 and 2334 numbers.
    """
    columns = {name: np.asarray(values) for name, values in keys.items()}
    points = {"joints": np.asarray(joints, np.float32), "vertices": np.asarray(vertices, np.float32)}
    with writing_file(path) as file:
        if path.suffix == ".parquet":
            import pyarrow as pa  # pyright: ignore[reportMissingImports]
            import pyarrow.parquet  # pyright: ignore[reportMissingImports]

            flat = {
                name: pa.FixedSizeListArray.from_arrays(values.ravel(), values[0].size)
                for name, values in points.items()
            }
            pyarrow.parquet.write_table(pa.table(columns | flat), file, row_group_size=1000)
        else:
            np.savez(file, **columns, **points)  # pyright: ignore[reportArgumentType]
    return path


def missing_recordings(store: ClipStore) -> tuple[int, int]:
    """How many recordings of a DexYCB store's setup and split have no frame in it, and how many the whole split has.

    The toolkit's index counts the frames of all of them: with some missing when labels were prepared, those of the
    store are smaller numbers than the toolkit's.
    """
    setup, split = store.attrs["setup"], store.attrs["split"]
    whole = {
        f"{SUBJECTS[subject]}/{name}"
        for subject in subjects_of(setup, split)
        for place, name in enumerate(sequence_list()[SUBJECTS[subject]])
        if position_in_split(setup, split, place)
    }
    return len(whole - {entry["key"].rsplit("/", 1)[0] for entry in store.entries}), len(whole)


def write_dexycb(path: Path, dataset_index: NDArray[np.int64], joints: NDArray) -> Path:
    """dex-ycb-toolkit's hand pose result: a line per image with its toolkit index and 63 numbers, mm, camera frame.

    dataset_index (N,) is the toolkit's index in the setup and split; joints (N, 21, 3) m, absolute.
    """
    if len(np.unique(dataset_index)) != len(dataset_index):
        raise InputError(f"{path}: the clips hold some toolkit indices twice; write the result of one setup and split")
    order = np.argsort(dataset_index)
    flat = np.asarray(joints, np.float64).reshape(len(joints), 63) * 1000.0

    with writing_file(path) as file:
        for n in order:
            file.write((f"{int(dataset_index[n])}," + ",".join(f"{value:.4f}" for value in flat[n]) + "\n").encode())
    return path
