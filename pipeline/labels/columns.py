"""Columns of a labels.zarr in blocks of rows, and their flat names: what the commands of this room read through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ...data.labels import LabelStore
from ...data.stores.columns import LABEL_COLUMNS, VERTICES
from ...hand.parts import JOINT_NAMES, LABELS, PARTS

ROWS = 16384
"""Rows that are in memory at once."""
_BESIDE = ("object", "own_hand", "outside")
_AXES = {
    "hidden_fraction": (PARTS, _BESIDE),
    "hand_hidden_area": (("object", "other_hand", "outside"),),
    "box": (("x0", "y0", "x1", "y1"),),
    "crop": (("x", "y", "width", "height"),),
    "photo": (("width", "height"),),
    "translation": (("x", "y", "z"),),
    "root": (("x", "y", "z"),),
    "joints": (JOINT_NAMES, ("x", "y", "z")),
    "joints_2d": (JOINT_NAMES, ("x", "y")),
}
_BY_SIZE: dict[int, Sequence[str]] = {6: PARTS, 7: LABELS, 21: JOINT_NAMES}


def column_names(labels: LabelStore) -> list[str]:
    """The columns of a store in the order of the schema, later ones also where an old store lacks them."""
    return [*LABEL_COLUMNS, *(name for name in VERTICES if name in labels.index)]


def flat_names(name: str, shape: tuple[int, ...]) -> list[str]:
    """A name per number of a column of this shape per frame: `occluded_thumb`, `joints_index_tip_x`, `mano_pose_17`."""
    axes = _AXES.get(name) or tuple(_BY_SIZE.get(size) or [str(k) for k in range(size)] for size in shape)
    names = [name]
    for words in axes if shape else ():
        names = [f"{before}_{word}" for before in names for word in words]
    return names


def flat_rows(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """A column (N, ...) as one column (N,) per number, by `flat_names`."""
    numbers = values.reshape(len(values), -1)
    return {word: numbers[:, k] for k, word in enumerate(flat_names(name, values.shape[1:]))}


def blocks(frames: int, rows: int = ROWS) -> Iterator[tuple[int, int]]:
    """Starts and ends of consecutive blocks of rows."""
    for start in range(0, frames, rows):
        yield start, min(start + rows, frames)


def read_rows(labels: LabelStore, name: str, rows: np.ndarray) -> np.ndarray:
    """Rows of a column in the order given; neighbours are read together, and nothing is kept."""
    order = np.argsort(rows, kind="stable")
    ascending = rows[order]
    ends = [*(np.flatnonzero(np.diff(ascending) > ROWS) + 1).tolist(), len(rows)] if len(rows) else []
    parts, start = [], 0
    for end in ends:
        first = int(ascending[start])
        parts.append(labels.index.part(name, first, int(ascending[end - 1]) + 1)[ascending[start:end] - first])
        start = end
    found = np.concatenate(parts) if parts else labels.index.part(name, 0, 0)
    values = np.empty_like(found)
    values[order] = found
    return values


def frame_names(labels: LabelStore, rows: np.ndarray) -> list[str]:
    """SEQUENCE/FRAME of these rows."""
    keys, sequence, frame = labels.sequences, labels["sequence_id"], labels["frame"]
    return [f"{keys[sequence[row]]}/{frame[row]}" for row in rows.tolist()]
