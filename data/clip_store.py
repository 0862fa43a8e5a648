"""clips.zarr: the hands of one dataset split, cut out and ready for training, on top of `data/store.py`.

    <store>/zarr.json                 attrs: schema, schema_version, dataset, split, labels, rules, margin, codec, ...
    <store>/sequences/<key>/jpeg      uint8 (nbytes,), the frames' JPEGs one after the other in one plain chunk
    <store>/sequences/<key>/rows      the sequence's columns, packed (data/columns.py); the index is made from these
    <store>/index/<column>            flat arrays over all frames, each **one uncompressed chunk**: memory-mapped, so
                                      that opening costs nothing and all processes of a machine share the pages

Columns: those of labels.zarr that training and evaluation need, plus where the picture lies (`offset`, `length`), what
part of the photo it shows (`crop` x, y, width, height; `photo` width, height, whole pixels), and the box that the
network sees (`box` x0, y0, x1, y1 px, possibly leaving the photo; `box_rule` 0 joints, 1 given by the dataset, 2
whole photo). Metres, pixels, OpenCV camera frame; what the dataset does not say is NaN.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from ..hand.errors import InputError
from . import durable
from .columns import Rows, group_attributes, rows_length
from .photos import BadPhoto, decode
from .store import SequenceStore, folder_of

SCHEMA = "h2onet-clips"
SCHEMA_VERSION = 1

LABEL_COLUMNS = (
    "frame",
    "dataset_index",
    "labelled",
    "occluded",
    "visible_fraction",
    "cause",
    "joint_visible",
    "is_left",
    "has_pose",
    "intrinsics",
    "mano_pose",
    "mano_shape",
    "translation",
    "joints",
    "joints_2d",
    "root",
    "object_id",
)
"""Columns copied from labels.zarr, plus `vertices` where it has them; `box` is worked out anew (data/crops.py)."""
PICTURE_COLUMNS = {"offset": "i8", "length": "i4", "crop": "i2", "photo": "i2", "box": "f4", "box_rule": "u1"}


class Columns(Mapping[str, np.ndarray]):
    """The flat arrays of a clip index, memory-mapped read-only when first asked for."""

    def __init__(self, path: Path, columns: Mapping[str, Any]) -> None:
        self._path = path
        self._columns = columns
        self._open: Rows = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._open:
            self._open[name] = self._map(name)
        return self._open[name]

    def _map(self, name: str) -> np.ndarray:
        entry = self._columns[name]
        dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
        file = chunk_file(self._path / name, len(shape))
        expected = dtype.itemsize * math.prod(shape)
        found = file.stat().st_size if file.exists() else None
        if found != expected:
            raise InputError(
                f"{file}: has {found} bytes, expected {expected}; the index is damaged: run build-clips again"
            )
        return np.asarray(np.memmap(file, dtype, mode="r", shape=shape))

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


class ClipStore:
    """A finished clips.zarr, read-only: `index` columns, and the stored picture of a row.

    Keeps no file open, so that it may be used after a fork and be pickled.
    """

    def __init__(self, path: Path, attrs: dict[str, Any], entries: list[dict[str, Any]], columns: Columns) -> None:
        self.path, self.attrs, self.entries, self.index = path, attrs, entries, columns
        self._folders = [str(path / "sequences" / folder_of(entry["key"])) for entry in entries]

    @classmethod
    def open(cls, path: str | Path) -> ClipStore:
        """InputError when the store is missing, unfinished, of another version, or lacks a sequence of its index."""
        store = SequenceStore.open(path, schema=SCHEMA, version=SCHEMA_VERSION)
        index = group_attributes(store.path / "index")
        if index is None or index.get("state") != "complete":
            raise InputError(f"{path}: has no index, its build was interrupted; run build-clips again to finish it")
        entries = index["sequences"]
        there = {entry.name for entry in os.scandir(store.path / "sequences")}
        missing = [entry["key"] for entry in entries if folder_of(entry["key"]) not in there]
        if missing:
            raise InputError(
                f"{path}: sequences {missing[0]!r}{f' and {len(missing) - 1} more' if missing[1:] else ''} of the index"
                " are missing; copy the store again, or run build-clips again"
            )
        return cls(store.path, {**store.attrs, **index}, entries, Columns(store.path / "index", index["columns"]))

    def __len__(self) -> int:
        return int(self.attrs["frames"])

    @property
    def dataset(self) -> str:
        """dexycb, ho3d-v2 or ho3d-v3."""
        return self.attrs["dataset"]

    @property
    def fingerprint(self) -> str:
        """Changes when any column or sequence of the store does."""
        content = json.dumps([self.attrs["columns"], self.entries], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def key(self, row: int) -> str:
        """The camera sequence of a row."""
        return self.entries[int(self.index["sequence_id"][row])]["key"]

    def jpegs(self, rows: np.ndarray) -> list[bytes]:
        """The stored JPEG of every row, read by position; rows of one sequence share one opened file."""
        sequence_id, offset, length = (self.index[name][rows].tolist() for name in ("sequence_id", "offset", "length"))
        pictures, current, descriptor = [], -1, -1
        try:
            for number, start, size in zip(sequence_id, offset, length, strict=True):
                if number != current:
                    if descriptor >= 0:
                        os.close(descriptor)
                    descriptor, current = self._open(number), number
                pictures.append(os.pread(descriptor, size, start))
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        return pictures

    def _open(self, number: int) -> int:
        file = self._folders[number] + "/jpeg/c/0"
        try:
            return os.open(file, os.O_RDONLY)
        except FileNotFoundError:
            raise InputError(
                f"{file}: missing; sequence {self.entries[number]['key']!r} is damaged: see h2o clips verify"
            ) from None

    def pictures(self, rows: np.ndarray) -> list[np.ndarray]:
        """The stored parts of the photos of some rows, decoded: (height, width, 3) uint8 BGR each."""
        decoded = []
        for row, jpeg in zip(rows.tolist(), self.jpegs(rows), strict=True):
            try:
                decoded.append(decode(jpeg))
            except BadPhoto as error:
                raise InputError(
                    f"{self.path}: sequence {self.key(row)!r} frame {self.index['frame'][row]}: the stored picture"
                    f" {error}; see h2o clips verify"
                ) from None
        return decoded


def chunk_file(array: Path, dimensions: int) -> Path:
    """The file of a Zarr v3 array that consists of one chunk."""
    return array.joinpath("c", *["0"] * dimensions)


def write_index(store: SequenceStore, keys: Iterable[str], attrs: Mapping[str, Any]) -> int:
    """Write the flat arrays over the given finished sequences, atomically; returns the number of frames.

    Every column is one uncompressed chunk, that is the raw little-endian bytes: they are appended sequence by
    sequence, so that the whole index is never in memory. Their hashes go into the attributes, for `verify`.
    """
    entries, columns = [], {}
    with durable.building(store.path / "index") as temporary:
        group = zarr.open_group(temporary, mode="w", zarr_format=3)
        writers: dict[str, _Column] = {}
        try:
            for number, key in enumerate(keys):
                rows, sequence = store.read(key)
                frames = rows_length(rows)
                entries.append({"key": key, "frames": frames, "sha256": sequence["sha256"]})
                for name, values in {"sequence_id": np.full(frames, number, np.int32), **rows}.items():
                    if name not in writers:
                        writers[name] = _Column(temporary / name, values)
                    writers[name].append(values)
        finally:
            for writer in writers.values():
                writer.close()
        frames = sum(entry["frames"] for entry in entries)
        for name, writer in sorted(writers.items()):
            columns[name] = writer.finish(group, name, frames)
        group.attrs.update({**attrs, "sequences": entries, "columns": columns, "frames": frames, "state": "complete"})
        durable.replace(temporary, store.path / "index")
    return frames


class _Column:
    """One column on its way to disk: raw bytes first, Zarr's description of them afterwards, when the length is
    known.
    """

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
