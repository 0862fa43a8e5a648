"""clips.zarr: the hands of one dataset split, cut out and ready for training, on top of `stores/sequences.py`.

    <store>/zarr.json                 attrs: schema, schema_version, dataset, split, labels, rules, margin, codec, ...
    <store>/sequences/<key>/jpeg      uint8 (nbytes,), the frames' JPEGs one after the other in one plain chunk
    <store>/sequences/<key>/rows      the sequence's columns, packed (stores/records.py); the index is made from these
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
import os
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ..photos import BadPhoto, decode
from .attributes import ClipIndexAttributes, check, group_attributes
from .clip_index import ClipIndex
from .keys import folder_name
from .records import Sequences
from .remote import RemoteStore, is_url
from .sequences import SequenceStore

SCHEMA = "h2onet-clips"
SCHEMA_VERSION = 1


class MissingSequence(InputError):
    """A sequence of the index is not in the store."""


class ClipStore:
    """A finished clips.zarr, read-only: `index` columns, and the stored picture of a row.

    Keeps no file open, so that it may be used after a fork and be pickled.
    """

    def __init__(
        self,
        path: Path,
        attrs: dict[str, Any],
        entries: list[dict[str, Any]],
        columns: ClipIndex,
        remote: RemoteStore | None = None,
    ) -> None:
        self.path, self.attrs, self.entries, self.index, self.remote = path, attrs, entries, columns, remote
        self._folders = [str(path / "sequences" / folder_name(entry["key"])) for entry in entries]

    @classmethod
    def open(cls, path: str | Path) -> ClipStore:
        """Open a finished store; InputError when it is missing, unfinished or of another version.

        MissingSequence when it lacks a sequence of its index.

        `path` may be a URL; then the index is downloaded once per machine and pictures are read by byte ranges.
        """
        if is_url(path):
            return cls._open_remote(RemoteStore(str(path)))
        store = SequenceStore.open(path, schema=SCHEMA, version=SCHEMA_VERSION)
        index = group_attributes(store.path / "index")
        if index is None or index.get("state") != "complete":
            raise InputError(f"{path}: has no index, its build was interrupted; run build-clips again to finish it")
        check(store.path / "index", index, ClipIndexAttributes)
        entries, folder = index["sequences"], store.path / "sequences"
        there = {entry.name for entry in os.scandir(folder)} if folder.is_dir() else set()
        missing = [entry["key"] for entry in entries if folder_name(entry["key"]) not in there]
        if missing:
            raise MissingSequence(
                f"{path}: sequences {missing[0]!r}{f' and {len(missing) - 1} more' if missing[1:] else ''} of the index"
                " are missing; copy the store again, or run build-clips again"
            )
        return cls(store.path, {**store.attrs, **index}, entries, ClipIndex(store.path / "index", index))

    @classmethod
    def _open_remote(cls, remote: RemoteStore) -> ClipStore:
        attrs = remote.check(SCHEMA, SCHEMA_VERSION)
        folder, index = remote.index_folder()
        check(f"{remote}/index", index, ClipIndexAttributes)
        return cls(folder, {**attrs, **index}, index["sequences"], ClipIndex(folder, index), remote)

    def __str__(self) -> str:
        return str(self.remote or self.path)

    def __len__(self) -> int:
        return int(self.attrs["frames"])

    @property
    def sequences(self) -> Sequences:
        """The store's sequences, wherever they lie."""
        return self.remote or SequenceStore(self.path)

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
        if self.remote is not None:
            return self._fetch(self.remote, sequence_id, offset, length)
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

    def _fetch(self, remote: RemoteStore, sequence_id: list[int], offset: list[int], length: list[int]) -> list[bytes]:
        found: dict[int, bytes] = {}
        for number in set(sequence_id):
            at = [i for i, each in enumerate(sequence_id) if each == number]
            entry = self.entries[number]
            ends = [offset[i] + length[i] for i in at]
            parts = remote.ranges(entry["key"], entry["attempt"], [offset[i] for i in at], ends)
            found.update(zip(at, parts, strict=True))
        return [found[i] for i in range(len(sequence_id))]

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
                    f"{self}: sequence {self.key(row)!r} frame {self.index['frame'][row]}: the stored picture"
                    f" {error}; see h2o clips verify"
                ) from None
        return decoded
