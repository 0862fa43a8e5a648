"""Predictions in the forms that other people's scripts read: HO3D's pred.json, dex-ycb-toolkit's result text.

Input here is metres in the OpenCV camera frame with joints in A.6 order, left hands already mirrored back.
"""

import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ..hand.camera import opencv_from_opengl
from ..hand.errors import InputError
from .ho3d import HO3D_FROM_A6


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it there: no reader ever sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


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
    joints = opencv_from_opengl(np.asarray(joints, np.float64))[:, HO3D_FROM_A6]
    vertices = opencv_from_opengl(np.asarray(vertices, np.float64))

    def write(file: IO[bytes]) -> None:
        file.write(b"[")
        for k, points in enumerate((joints, vertices)):
            file.write(b", [" if k else b"[")
            for n, frame in enumerate(points):
                rows = ", ".join(f"[{x:.7f}, {y:.7f}, {z:.7f}]" for x, y, z in frame.tolist())
                file.write((", [" if n else "[").encode() + rows.encode() + b"]")
            file.write(b"]")
        file.write(b"]")

    write_atomically(path, write)
    archive = path.with_suffix(".zip")

    def pack(file: IO[bytes]) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bundle:
            bundle.write(path, "pred.json")

    write_atomically(archive, pack)
    return archive


def write_dexycb(path: Path, dataset_index: NDArray[np.int64], joints: NDArray) -> Path:
    """dex-ycb-toolkit's hand pose result: a line per image with its toolkit index and 63 numbers, mm, camera frame.

    dataset_index (N,) is the toolkit's index in the setup and split; joints (N, 21, 3) m, absolute.
    """
    if len(np.unique(dataset_index)) != len(dataset_index):
        raise InputError(f"{path}: the clips hold some toolkit indices twice; write the result of one setup and split")
    order = np.argsort(dataset_index)
    flat = np.asarray(joints, np.float64).reshape(len(joints), 63) * 1000.0

    def write(file: IO[bytes]) -> None:
        for n in order:
            file.write((f"{int(dataset_index[n])}," + ",".join(f"{value:.4f}" for value in flat[n]) + "\n").encode())

    write_atomically(path, write)
    return path
