"""frames.npz: per-frame scores, so that two evaluations can be compared frame by frame and looked into.

Columns over the N frames in the order they were scored: sequence, recording (str), frame (int64), then one float per
frame and metric in the units of metrics.json, and joint_errors_mm, joint_errors_pa_mm (N, 21) where joints are known.
"""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..durable import writing_file
from ..errors import InputError

NAME = "frames.npz"
KEYS = ("sequence", "recording", "frame")


def write_frames(out: Path, keys: Mapping[str, NDArray], values: Mapping[str, NDArray]) -> Path:
    """Write `out`/frames.npz from the KEYS columns (N,) and float columns (N, ...), stored as float32."""
    columns = {name: np.asarray(keys[name]) for name in KEYS}
    columns |= {name: np.asarray(value, np.float32) for name, value in values.items()}
    with writing_file(out / NAME) as file:
        np.savez_compressed(file, **columns)  # pyright: ignore[reportArgumentType]
    return out / NAME


def read_frames(folder: Path) -> dict[str, NDArray]:
    """Read the columns of a result folder's frames.npz. InputError where it is missing or cannot be read."""
    path = folder / NAME
    if not path.is_file():
        raise InputError(f"{path}: not found; expected a folder that h2o evaluate wrote")
    try:
        with np.load(path, allow_pickle=False) as file:
            columns = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}); run h2o evaluate again") from error
    missing = [name for name in KEYS if name not in columns]
    if missing:
        raise InputError(f"{path}: has no column {missing[0]!r}; run h2o evaluate again")
    return columns
