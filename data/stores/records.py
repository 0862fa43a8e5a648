"""The array side of a store: per-frame records packed into one array, and flat columns over all frames.

A record is one frame's fields packed as a little-endian NumPy structured type, so that a sequence is one Zarr array
and not thirty; `unpack_rows` or plain NumPy reads it back:
`array[:].view(np.dtype([(name, kind, tuple(shape)) for name, kind, shape in attrs["fields"]]))`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import zarr

from ...errors import InputError
from ...untrusted import fault
from .columns import (
    LABEL_BOUNDS,
    LATER_COLUMNS,
    SEQUENCE_ID,
    VERTICES,
    Schema,
    check_type,
    check_values,
    unknown_column,
)

Rows = dict[str, np.ndarray]
ZARR_FAULTS = (Exception,)
"""What Zarr and its codecs raise on damaged files: of more types than a list could name."""
_CHUNK_ROWS = 65536
_CHUNK_BYTES = 16 << 20


class Sequences(Protocol):
    """Finished camera sequences, in a folder or on an object store: what readers of either may use."""

    @property
    def token(self) -> str | None:
        """Random id of this store: workers of an old run must not commit to a new one."""
        ...

    def finished(self) -> dict[str, dict[str, Any]]:
        """Attributes of every finished sequence by key, in sorted order of the keys."""
        ...

    def read(self, key: str) -> tuple[Rows, dict[str, Any]]:
        """Per-frame arrays and attributes of a finished sequence; InputError when it is not finished."""
        ...

    def verify(self, key: str) -> str:
        """Compare a finished sequence with its checksum and return that; InputError when a byte differs."""
        ...

    def sizes(self) -> list[int]:
        """Bytes of every file of the store."""
        ...


def pack_rows(rows: Mapping[str, np.ndarray]) -> tuple[np.ndarray, list[list[Any]]]:
    """Per-frame arrays (F, ...) -> (bytes (F * itemsize,) uint8, fields [[name, dtype, shape], ...])."""
    arrays = {name: np.asarray(values) for name, values in rows.items()}
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"per-frame arrays of different lengths: {lengths}")
    fields = [[name, values.dtype.newbyteorder("<").str, list(values.shape[1:])] for name, values in arrays.items()]
    table = np.zeros(next(iter(lengths.values()), 0), dtype=record(fields))
    for name, values in arrays.items():
        table[name] = values
    return table.view(np.uint8).reshape(-1), fields


def unpack_rows(packed: np.ndarray, fields: list[list[Any]]) -> Rows:
    """Inverse of `pack_rows`: contiguous arrays by name."""
    table = np.frombuffer(packed.tobytes(), dtype=record(fields))
    return {name: np.ascontiguousarray(table[name]) for name, _, _ in fields}


def record(fields: list[list[Any]]) -> np.dtype:
    """The structured type of one frame's record."""
    return np.dtype([(name, kind, tuple(shape)) for name, kind, shape in fields])


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """One line for whatever Zarr and its codecs raise on damaged files."""
    try:
        yield
    except InputError:
        raise
    except ZARR_FAULTS as error:
        raise InputError(f"{path}: cannot be read ({fault(error)}); copy the store again, or build it anew") from None


class Columns(Mapping[str, np.ndarray]):
    """The flat columns of a store's index by name, each read through Zarr when first asked for."""

    def __init__(self, path: Path, attrs: dict[str, Any], schema: Schema | None = None) -> None:
        self.attrs, self._path, self._schema = attrs, path, schema
        with _readable(path):
            self._group = zarr.open_group(path, mode="r", zarr_format=3, use_consolidated=False)
            self._names = tuple(sorted(self._group.array_keys()))
        self._read: Rows = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            if self._is_later(name):
                return unknown_column(name, self.attrs["frames"])
            if self._schema is not None and name in {**SEQUENCE_ID, **self._schema}:
                raise InputError(f"{self._path / name}: is missing; copy the store again, or run its command again")
            raise KeyError(name)
        if name not in self._read:
            array = self._open(name)
            with _readable(self._path / name):
                values = np.asarray(array[:])
            if self._schema is not None:
                check_values(str(self._path / name), name, values, LABEL_BOUNDS, len(self.attrs["sequences"]))
            self._read[name] = values
        return self._read[name]

    def _is_later(self, name: str) -> bool:
        """Is this a column of the schema that stores of an earlier version do not have?"""
        return self._schema is not None and name in self._schema and name in LATER_COLUMNS

    def _open(self, name: str) -> zarr.Array:
        """A column whose type, shape and chunks are as they should be."""
        with _readable(self._path / name):
            array = self._group[name]
            if not isinstance(array, zarr.Array):
                raise InputError(f"{self._path / name}: is no array; copy the store again")
            frames, tail, dtype, chunks = array.shape[0], array.shape[1:], array.dtype.str, array.nchunks
            # All are written, also those of zeros: what a copy left out must not be read as "visible".
            missing = chunks - array.nchunks_initialized if self.attrs.get("whole_chunks") else 0
        schema = {**SEQUENCE_ID, **VERTICES, **(self._schema or {name: (dtype, tail)})}
        if name not in schema:
            raise InputError(f"{self._path / name}: is no column of this store; copy the store again")
        check_type(str(self._path / name), dtype, tail, *schema[name])
        if frames != self.attrs["frames"]:
            raise InputError(
                f"{self._path / name}: has {frames} rows, the index {self.attrs['frames']}; copy the store again"
            )
        if missing:
            raise InputError(f"{self._path / name}: {missing} of {chunks} chunks are missing; copy the store again")
        return array

    def part(self, name: str, start: int, end: int) -> np.ndarray:
        """Rows of a column, not kept; InputError where it cannot be read."""
        if name not in self._names and self._is_later(name):
            return unknown_column(name, end - start)
        array = self._open(name)
        with _readable(self._path / name):
            return np.asarray(array[start:end])

    def check_whole(self) -> None:
        """InputError unless all columns of the schema are there in full; their contents are not read."""
        for name in {**SEQUENCE_ID, **(self._schema or {})}:
            if name not in self._names and not self._is_later(name):
                raise InputError(f"{self._path / name}: is missing; copy the store again")
            if name in self._names:
                self._open(name)

    def __iter__(self):
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def rows_length(rows: Mapping[str, np.ndarray]) -> int:
    """Number of frames in per-frame arrays of equal length."""
    return len(next(iter(rows.values()))) if rows else 0


def digest_of(packed: np.ndarray, fields: list[list[Any]], blobs: Mapping[str, np.ndarray]) -> str:
    """Checksum of one sequence: its packed records, their fields and its blobs."""
    digest = hashlib.sha256(json.dumps(fields).encode())
    digest.update(packed.tobytes())
    for name in sorted(blobs):
        digest.update(name.encode())
        digest.update(blobs[name].tobytes())
    return digest.hexdigest()


def write_one_chunk(group: zarr.Group, name: str, values: np.ndarray) -> None:
    """Write a 1-D array as one uncompressed chunk: readable by position from its file."""
    # Written even when all zero: a chunk that equals the fill value would otherwise have no file to map.
    array = group.create_array(
        name,
        shape=values.shape,
        chunks=(max(1, len(values)),),
        dtype=values.dtype,
        compressors=None,
        config={"write_empty_chunks": True},
    )
    array[:] = values


def append_column(group: zarr.Group, name: str, values: np.ndarray, column: zarr.Array | None) -> zarr.Array:
    """Append frames to a column of the index, which is made with the first ones, where `column` is None; returns it."""
    start = 0 if column is None else column.shape[0]
    shape = (start + len(values), *values.shape[1:])
    if column is None:
        row_bytes = max(1, values.dtype.itemsize * int(np.prod(values.shape[1:], dtype=np.int64)))
        rows = max(1, min(_CHUNK_ROWS, _CHUNK_BYTES // row_bytes))
        chunks = (rows, *(max(1, n) for n in values.shape[1:]))
        with zarr.config.set({"array.write_empty_chunks": True}):  # an array keeps what it was made with
            column = group.create_array(name, shape=shape, chunks=chunks, dtype=values.dtype)
    else:
        column.resize(shape)
    if len(values):
        column[start:] = values
    return column
