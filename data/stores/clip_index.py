"""The index of a clips.zarr: flat arrays over all frames, each one uncompressed Zarr chunk, written once and mapped.

An uncompressed chunk is the raw little-endian bytes of its array: it can be written by appending and read by mapping,
and is still plain Zarr. `stores/clips.py` says what the columns mean.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import zarr

from ... import durable
from ...errors import InputError
from .columns import (
    CLIP_BOUNDS,
    CLIP_COLUMNS,
    LATER_COLUMNS,
    SEQUENCE_ID,
    Schema,
    check_table,
    check_values,
    known_schema,
    unknown_column,
)
from .keys import check_keys
from .records import Rows, rows_length
from .sequence_folder import check_fields

INDEX_COLUMNS: Schema = {**SEQUENCE_ID, **CLIP_COLUMNS}


class ClipIndex(Mapping[str, np.ndarray]):
    """The columns of a clip index by name, each mapped read-only when first asked for."""

    def __init__(self, path: Path, attrs: Mapping[str, Any]) -> None:
        """`attrs` are the checked attributes of the index. InputError unless its columns are those of a clips.zarr."""
        self.path = path
        self._columns, self._sequences = attrs["columns"], len(attrs["sequences"])
        self._frames, self._open = attrs["frames"], Rows()
        found = {name: (entry["dtype"], tuple(entry["shape"][1:])) for name, entry in self._columns.items()}
        check_table(path, found, known_schema(found, INDEX_COLUMNS))
        for name, entry in self._columns.items():
            if entry["shape"][0] != attrs["frames"]:
                raise InputError(
                    f"{path}: column {name} has shape {entry['shape']}, the index {attrs['frames']} frames; run"
                    " build-clips again"
                )

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._open and name in LATER_COLUMNS and name not in self._columns:
            self._open[name] = unknown_column(name, self._frames)
        if name not in self._open:
            values = self._map(name)
            check_values(str(self.path / name), name, values, CLIP_BOUNDS, self._sequences)
            self._open[name] = values
        return self._open[name]

    def _map(self, name: str) -> np.ndarray:
        entry = self._columns[name]
        dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
        file = chunk_file(self.path / name, len(shape))
        expected = dtype.itemsize * math.prod(shape)
        found = file.stat().st_size if file.is_file() else None
        if found != expected:
            raise InputError(
                f"{file}: has {found} bytes, expected {expected}; the index is damaged: run build-clips again"
            )
        if expected == 0:  # a store without a frame: nothing to map
            return np.empty(shape, dtype)
        return np.asarray(np.memmap(file, dtype, mode="r", shape=shape))

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


def chunk_file(array: Path, dimensions: int) -> Path:
    """The file of a Zarr v3 array that consists of one chunk."""
    return array.joinpath("c", *["0"] * dimensions)


class IndexSource(Protocol):
    """Where the rows of finished sequences come from, and the folder that gets the index (`SequenceStore`, say)."""

    path: Path

    def read(self, key: str) -> tuple[Rows, dict[str, Any]]:
        """Per-frame arrays and attributes of a finished sequence."""
        ...


def write_index(store: IndexSource, keys: Iterable[str], attrs: Mapping[str, Any]) -> int:
    """Write the flat arrays over the given finished sequences, atomically; returns the number of frames.

    Every column is one uncompressed chunk, that is the raw little-endian bytes: they are appended sequence by
    sequence, so that the whole index is never in memory. Their hashes go into the attributes, for `verify`.
    """
    entries, columns, keys = [], {}, list(keys)
    check_keys(store.path, keys)
    with durable.building(store.path / "index") as temporary:
        group = zarr.open_group(temporary, mode="a", zarr_format=3)
        writers: dict[str, _Column] = {}
        try:
            for number, key in enumerate(keys):
                rows, sequence = store.read(key)
                check_fields(f"{store.path}: sequence {key}", sequence["fields"], CLIP_COLUMNS)
                frames = rows_length(rows)
                attempt = {"attempt": sequence["attempt"]} if "attempt" in sequence else {}
                entries.append({"key": key, "frames": frames, "sha256": sequence["sha256"], **attempt})
                later = {name: unknown_column(name, frames) for name in LATER_COLUMNS if name in CLIP_COLUMNS}
                for name, values in {"sequence_id": np.full(frames, number, np.int32), **later, **rows}.items():
                    if name not in writers:
                        writers[name] = _Column(temporary / name, values)
                    writers[name].append(values)
        finally:
            for writer in writers.values():
                writer.close()
        frames = sum(entry["frames"] for entry in entries)
        for name, writer in sorted(writers.items()):
            columns[name] = writer.finish(group, name, frames)
        group.update_attributes(
            {**attrs, "sequences": entries, "columns": columns, "frames": frames, "state": "complete"}
        )
        durable.replace(temporary, store.path / "index")
    return frames


class _Column:
    """One column being written: the raw bytes first, then Zarr's description of them, when the length is known."""

    def __init__(self, path: Path, values: np.ndarray) -> None:
        self.dtype, self.row = values.dtype.newbyteorder("<"), values.shape[1:]
        chunk = chunk_file(path, values.ndim)
        chunk.parent.mkdir(parents=True)
        self._file = chunk.open("wb")
        self._digest = hashlib.sha256()

    def append(self, values: np.ndarray) -> None:
        data = np.ascontiguousarray(values, self.dtype).tobytes()
        self._file.write(data)
        self._digest.update(data)

    def close(self) -> None:
        self._file.close()

    def finish(self, group: zarr.Group, name: str, frames: int) -> dict[str, Any]:
        shape = (frames, *self.row)
        group.create_array(name, shape=shape, chunks=shape, dtype=self.dtype, compressors=None)
        return {"dtype": self.dtype.str, "shape": list(shape), "sha256": self._digest.hexdigest()}
