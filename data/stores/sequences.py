"""A Zarr v3 store of camera sequences that survives `kill -9`: finished sequences are whole, others are not there.

    <store>/zarr.json          attrs: schema, schema_version, token, settings
    <store>/sequences/<key>/   one group per finished sequence ("/" in the key becomes "__"); attrs: key, n_frames,
                               fields, sha256, state="complete", ...; `rows` uint8 = packed records (records.py);
                               further 1-D uint8 arrays ("blobs"), each one uncompressed chunk, readable by byte ranges
    <store>/index/             flat arrays over all frames, written once at the end; attrs: the list of sequences

Few files on purpose, three per sequence and a handful per index column: Zarr reads every group's metadata on opening.
Nothing here knows what a label or a clip is.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from msgspec import Struct

from ... import durable, locks
from ...errors import InputError
from .attributes import (
    SequenceAttributes,
    check,
    check_attributes,
    check_settings,
    group_attributes,
    write_empty_store,
    write_sequences_group,
)
from .columns import Schema
from .keys import check_keys, folder_name
from .records import (
    Columns,
    Rows,
    append_column,
    digest_of,
    pack_rows,
    rows_length,
    write_one_chunk,
)
from .sequence_folder import find_damage, read_attributes, read_rows, verify_folder

PATIENCE_S = 90.0
"""How long a network file system may show one machine what another one has changed already (NFS: up to a minute)."""


def _within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Whether a condition holds now or soon."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(min(1.0, seconds / 10))
    return True


class SequenceStore:
    """A store in a folder: `SequenceStore(path)` is enough to commit from a worker, `create` and `open` check first.

    With the `token` of the store that a task was made for, nothing is committed to a store that replaced it: workers of
    a stopped run may still be running when its store is made anew with other settings.
    """

    def __init__(self, path: str | Path, token: str | None = None) -> None:
        self.path = Path(path)
        self._expected = token
        self._lock = locks.Lock(self.path / ".lock")

    # -- opening ----------------------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls, path: str | Path, settings: Mapping[str, Any], overwrite: bool = False, *, schema: str, version: int
    ) -> SequenceStore:
        """Make a store, or resume the one at `path` when its settings are equal; takes the writer's lock (see `close`).

        `settings` must survive JSON. InputError names the first differing setting, a foreign folder, another schema or
        version.
        """
        store = cls(path)
        wanted: dict[str, Any] = json.loads(json.dumps(settings))
        if store.path.exists():
            store._check(schema, None if overwrite else version)
            if not overwrite:
                check_settings(store.path, store.attrs, wanted)
                store._lock.acquire()
                store.sweep()
                durable.sweep_retired(store.path)
                write_sequences_group(store.path)
                return store
            store._retire()
        store.path.parent.mkdir(parents=True, exist_ok=True)
        with durable.building(store.path) as temporary:
            write_empty_store(temporary, wanted, schema, version)
            made = durable.publish(temporary, store.path)
        if not made:  # another run was quicker: its store is to be resumed or refused like any other
            return cls.create(path, settings, schema=schema, version=version)
        store._lock.acquire()
        durable.sweep_retired(store.path)
        return store

    @classmethod
    def open(cls, path: str | Path, *, schema: str, version: int) -> SequenceStore:
        """Open an existing store for reading. InputError when it is missing, something else, or of another version."""
        store = cls(path)
        store._check(schema, version)
        return store

    def close(self) -> None:
        """Release the writer's lock."""
        self._lock.release()

    @property
    def attrs(self) -> dict[str, Any]:
        """The store's own attributes."""
        return group_attributes(self.path) or {}

    @property
    def token(self) -> str | None:
        """Random id of this store: workers of an old run must not commit to a new one."""
        return self.attrs.get("token")

    def _check(self, schema: str, version: int | None) -> None:
        absent = "is no Zarr store" if self.path.exists() else "does not exist"
        check_attributes(self.path, group_attributes(self.path), schema, version, absent)

    def _retire(self) -> None:
        """Rename the store away; it is deleted when its successor is there (`durable.sweep_retired`)."""
        self._lock.acquire()
        durable.retire(durable.follow(self.path))
        self._lock.release()

    # -- sequences --------------------------------------------------------------------------------------------------

    def _folder(self, key: str) -> Path:
        return self.path / "sequences" / folder_name(key)

    def sweep(self, *, spare_living: bool = False) -> int:
        """Remove what interrupted attempts left, as `durable.sweep`; returns how many leftovers there were."""
        folders = (self.path, self.path / "sequences")
        return sum(durable.sweep(folder, spare_living=spare_living) for folder in folders)

    def finished(self) -> dict[str, dict[str, Any]]:
        """Attributes of every finished sequence by key, in sorted order of the keys; what is damaged is left out."""
        found = {}
        for entry in (self.path / "sequences").iterdir():
            if entry.name.startswith(".") or not entry.is_dir():
                continue
            try:
                attrs = read_attributes(entry)
            except InputError:
                continue
            if attrs is not None:
                found[attrs["key"]] = attrs
        return dict(sorted(found.items()))

    def discard_damaged(self, keys: Iterable[str], kind: type[Struct] = SequenceAttributes) -> list[str]:
        """Forget the ones of `keys` that are no whole finished sequence with attributes of `kind`; returns why.

        What a copy or a purge left of a sequence would otherwise stand where it is to be made again.
        """
        found = []
        for key in keys:
            if self._folder(key).exists():
                damage = find_damage(self._folder(key), key, kind)
                if damage is not None:
                    found.append(damage)
                    self.discard(key)
        return found

    def commit(
        self,
        key: str,
        rows: Mapping[str, np.ndarray],
        attrs: Mapping[str, Any],
        blobs: Mapping[str, np.ndarray] | None = None,
    ) -> bool:
        """Write one finished sequence at once. False when it was there already (a task that ran twice).

        What a damaged one left is replaced. `rows` are per-frame arrays (F, ...) of equal length, `blobs` 1-D uint8
        arrays, `attrs` JSON. DiskFull when there is no room; InputError when the store was replaced by another.
        """
        check_keys(self.path, [key])
        target = self._folder(key)
        if self._expected is not None and not _within(PATIENCE_S, lambda: self.token == self._expected):
            raise InputError(
                f"{self.path}: on {socket.gethostname()} it is not the store of this run: removed or made anew by"
                " another run, or a folder that this machine does not share; nothing is written there"
            )
        packed, fields = pack_rows(rows)
        blobs = {name: np.ascontiguousarray(values, np.uint8).reshape(-1) for name, values in (blobs or {}).items()}
        digest = digest_of(packed, fields, blobs)
        with durable.building(target) as temporary:
            group = zarr.open_group(temporary, mode="a", zarr_format=3)
            for name, values in {"rows": packed, **blobs}.items():
                write_one_chunk(group, name, values)
            group.update_attributes(
                {
                    **attrs,
                    "key": key,
                    "n_frames": rows_length(rows),
                    "fields": fields,
                    "blobs": sorted(blobs),
                    "sha256": digest,
                    "state": "complete",
                }
            )
            return durable.publish(temporary, target, lambda: find_damage(target, key) is None)

    def await_finished(self, keys: Iterable[str], lost: Collection[str] = ()) -> None:
        """Wait until this machine sees all of a run's sequences but the `lost` ones finished, and no others.

        InputError when some stay away (then the machines do not share the folder, or something removed them), or when
        there are sequences of something else.
        """
        expected = set(keys)
        wanted = expected - set(lost)
        if not _within(PATIENCE_S, lambda: wanted <= set(self.finished())):
            missing = sorted(wanted - set(self.finished()))
            raise InputError(
                f"{self.path}: {len(missing)} sequences that were finished are not here, for example {missing[0]}; do"
                " all machines see this folder under the same path? Run the same command again"
            )
        others = sorted(set(self.finished()) - expected)
        if others:
            raise InputError(
                f"{self.path}: {len(others)} sequences are not of this run, for example {self._folder(others[0])}; move"
                " them out of the store and run the same command again, or use --overwrite"
            )

    def discard(self, key: str) -> None:
        """Forget a finished sequence, so that it can be made again; harmless when it is not there."""
        durable.remove(self._folder(key))

    def read(self, key: str, schema: Schema | None = None) -> tuple[Rows, dict[str, Any]]:
        """Per-frame arrays and attributes of a finished sequence; InputError when it is not finished, or damaged.

        With a `schema` its columns are all there, in type and shape.
        """
        attrs = read_attributes(self._folder(key))
        if attrs is None or attrs["key"] != key:
            raise InputError(
                f"{self.path}: sequence {key!r} is not finished; run the command that builds the store again"
            )
        return read_rows(self._folder(key), attrs, schema), attrs

    def verify(self, key: str, schema: Schema | None = None) -> str:
        """Compare a finished sequence with its checksum and return that; InputError when a byte differs."""
        _, attrs = self.read(key, schema)
        return verify_folder(self._folder(key), attrs)

    def sizes(self) -> list[int]:
        """Bytes of every file of the store, its lock left out."""
        files = (Path(folder) / name for folder, _, names in os.walk(self.path) for name in names if name != ".lock")
        return [file.stat().st_size for file in files]

    # -- index ------------------------------------------------------------------------------------------------------

    def write_index(self, blocks: Iterable[Mapping[str, np.ndarray]], attrs: Mapping[str, Any]) -> None:
        """Write the flat arrays over all frames, atomically, replacing an earlier index.

        `blocks` are consecutive parts of the same columns, so that no more than one is in memory.
        """
        target = self.path / "index"
        with durable.building(target) as temporary:
            group = zarr.open_group(temporary, mode="a", zarr_format=3)
            total, columns = 0, dict[str, zarr.Array]()
            for block in blocks:
                for name, values in block.items():
                    columns[name] = append_column(group, name, np.asarray(values), columns.get(name))
                total += rows_length(block)
            group.update_attributes({**attrs, "frames": total, "whole_chunks": True, "state": "complete"})
            durable.replace(temporary, target)

    @property
    def has_index(self) -> bool:
        """Whether the index was written, as far as its attributes tell: the store was finished at least once."""
        try:
            attrs = group_attributes(self.path / "index")
        except InputError:
            return False
        return attrs is not None and attrs.get("state") == "complete"

    def read_index(self, kind: type[Struct] | None = None, schema: Schema | None = None) -> Columns:
        """The index, read lazily; InputError when the store was never finished.

        Attributes are those of `kind`, columns those of a `schema`; InputError where they are not.
        """
        attrs = group_attributes(self.path / "index")
        if attrs is None or attrs.get("state") != "complete":
            raise InputError(
                f"{self.path}: has no index, its run was interrupted; run the same command again to finish it"
            )
        if kind is not None:
            check(self.path / "index", attrs, kind)
        return Columns(self.path / "index", attrs, schema)

    @property
    def index(self) -> Columns:
        """`read_index` without looking at what it should hold."""
        return self.read_index()
