"""Predictions in formats that other people's scripts read: npz, parquet, dex-ycb-toolkit's result text.

Input here is metres in the OpenCV camera frame, joints wrist, thumb .. little, left hands mirrored back.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data.clips import ClipStore
from ..data.frame import recording_of
from ..data.readers.dexycb_splits import SUBJECTS, position_in_split, sequence_list, subjects_of
from ..durable import writing_file
from ..errors import InputError

STORE_COLUMNS = ("is_left", "dataset_index", "box", "mano_pose")
"""What `write_predictions` copies from the clips beside sequence, recording and frame: given, not predicted."""


def check_predictions_path(path: Path) -> None:
    """InputError where `write_predictions` could not write `path`: another suffix, or parquet without pyarrow."""
    if path.suffix not in (".npz", ".parquet"):
        raise InputError(f"--predictions-out {path}: expected a name that ends in .npz or .parquet")
    if path.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise InputError(f"--predictions-out {path}: needs pyarrow; run: pip install pyarrow, or give a name in .npz")


def write_predictions(
    path: Path, keys: Mapping[str, NDArray], given: Mapping[str, NDArray], joints: NDArray, vertices: NDArray
) -> Path:
    """Write predictions as .npz or .parquet, by the suffix of a `path` that `check_predictions_path` has passed.

    `keys` are sequence, recording, frame (N,), `given` the STORE_COLUMNS by their names in the store; joints (N, 21, 3)
    and vertices (N, 778, 3) become float32 m in the OpenCV camera frame, joints wrist, thumb .. little. Parquet holds
    what a frame has several of flat: 63, 2334, 4 and 48 numbers.
    """
    points = {"joints": np.asarray(joints, np.float32), "vertices": np.asarray(vertices, np.float32)}
    columns = {name: np.asarray(values) for name, values in (*keys.items(), *given.items())} | points
    with writing_file(path) as file:
        if path.suffix == ".parquet":
            import pyarrow as pa  # pyright: ignore[reportMissingImports]
            import pyarrow.parquet  # pyright: ignore[reportMissingImports]

            flat = {
                name: pa.FixedSizeListArray.from_arrays(np.ascontiguousarray(values).ravel(), values[0].size)
                for name, values in columns.items()
                if values.ndim > 1
            }
            pyarrow.parquet.write_table(pa.table(columns | flat), file, row_group_size=1000)
        else:
            np.savez(file, **columns)  # pyright: ignore[reportArgumentType]
    return path


def count_missing_recordings(store: ClipStore) -> tuple[int, int]:
    """How many recordings of a DexYCB store's setup and split have no frame in it, and how many the whole split has.

    The toolkit's index counts the frames of all of them: where some were missing when labels were prepared, the store's
    indices are smaller than the toolkit's.
    """
    setup, split = store.attrs["setup"], store.attrs["split"]
    whole = {
        f"{SUBJECTS[subject]}/{name}"
        for subject in subjects_of(setup, split)
        for place, name in enumerate(sequence_list()[SUBJECTS[subject]])
        if position_in_split(setup, split, place)
    }
    return len(whole - {recording_of(entry["key"], store.dataset) for entry in store.entries}), len(whole)


def write_dexycb(path: Path, dataset_index: NDArray[np.int64], joints: NDArray) -> Path:
    """Write dex-ycb-toolkit's hand pose result: a line per image with its toolkit index and 63 numbers, mm.

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
