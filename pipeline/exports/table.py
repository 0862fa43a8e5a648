"""Clips as one Parquet file without pictures: a row per frame, a column per number.

`sequence`, then the columns of the index by `labels.columns.flat_names`, in the store's types, units and codes (255
unknown, NaN where the dataset says nothing). `crop` is the part of the photo that the store's picture shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...data.stores.clips import ClipStore
from ...data.stores.columns import CLIP_COLUMNS, known_schema
from ..labels.columns import blocks, flat_rows
from ..labels.export import write_parquet

_OF_PICTURES = ("offset", "length")
_ROWS = 4096


def write_table(clips: ClipStore, folder: Path) -> str:
    """Write `frames.parquet`; returns what was written, in words."""
    write_parquet(_rows(clips), folder / "frames.parquet")
    return f"{len(clips)} frames in frames.parquet"


def _rows(clips: ClipStore) -> Iterator[dict[str, np.ndarray]]:
    keys = np.array([entry["key"] for entry in clips.entries], dtype=np.str_)
    names = [name for name in known_schema(clips.index, CLIP_COLUMNS) if name not in _OF_PICTURES]
    for start, end in blocks(len(clips), _ROWS):
        flat = {"sequence": keys[clips.index["sequence_id"][start:end]]}
        for name in names:
            flat |= flat_rows(name, clips.index[name][start:end])
        yield flat
