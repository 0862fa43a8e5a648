"""frames.npz: per-frame scores, so that two evaluations can be compared frame by frame and looked into.

Columns over the N frames in the order they were scored: sequence, recording (str), frame (int64), then one float per
frame and metric in the units of metrics.json, and joint_errors_mm, joint_errors_pa_mm (N, 21) where joints are known.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..array_files import NUMBERS, TEXT, names_of, read_npz
from ..durable import writing_file
from ..errors import InputError, one_line

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
        names = names_of(path)
        columns = read_npz(path, dict.fromkeys(names), dict.fromkeys(names, NUMBERS + TEXT))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({one_line(error, 160)}); run h2o evaluate again") from error
    missing = [name for name in KEYS if name not in columns]
    if missing:
        raise InputError(f"{path}: has no column {missing[0]!r}; run h2o evaluate again")
    rows = {name: column.shape[:1] for name, column in columns.items()}
    if len(set(rows.values())) > 1 or any(columns[name].ndim != 1 for name in KEYS):
        raise InputError(f"{path}: its columns have other lengths; run h2o evaluate again")
    return columns
