"""Where `h2o build-clips` writes: a folder, or an object store by its URL. Both hold finished sequences and one index.

Paths and JSON only; what a sequence consists of is decided in `cut_hands`.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .. import durable
from ..data import failures
from ..data.datasets import refuse_inside
from ..data.frame import Failure
from ..data.stores.attributes import ClipSequence, group_attributes
from ..data.stores.clip_index import write_index
from ..data.stores.clips import SCHEMA, SCHEMA_VERSION
from ..data.stores.keys import folder_name
from ..data.stores.records import Rows
from ..data.stores.remote import RemoteStore, is_url
from ..data.stores.sequences import SequenceStore
from ..errors import InputError

log = logging.getLogger(__name__)


class ClipTarget(Protocol):
    """A store of clips that is being built, wherever it lies. `address` is its path or URL for workers."""

    address: str

    def refuse_inside(self, dataset: Path) -> None:
        """InputError where the store would lie inside the dataset."""
        ...

    def create(self, settings: Mapping[str, Any], overwrite: bool) -> None:
        """Make or resume the store; errors as `SequenceStore.create`."""
        ...

    @property
    def token(self) -> str | None:
        """Random id of this store: workers of an old run must not commit to a new one."""
        ...

    def close(self) -> None:
        """Release the writer's lock."""
        ...

    def keep_whole(self, keys: Iterable[str]) -> set[str]:
        """The finished ones of `keys`; those with failed photos are removed, so that they are tried again."""
        ...

    def commit(self, key: str, rows: Rows, attrs: Mapping[str, Any], jpeg: np.ndarray) -> None:
        """Write one finished sequence at once, as a worker does; idempotent, errors as `SequenceStore.commit`."""
        ...

    def await_finished(self, keys: Iterable[str], lost: Collection[str]) -> None:
        """Wait until this machine sees all of `keys` but the `lost` ones; errors as `SequenceStore.await_finished`."""
        ...

    def sweep(self) -> None:
        """Remove what killed workers left."""
        ...

    def finished(self) -> dict[str, dict[str, Any]]:
        """Attributes of the finished sequences by key."""
        ...

    def write_index(self, keys: list[str], attrs: Mapping[str, Any]) -> int:
        """Write the index and the store's own attributes; returns the number of frames."""
        ...

    def write_failures(self, failed: Iterable[Failure]) -> None:
        """Rewrite this store's rows of failures.jsonl."""
        ...


def clip_target(out: str | Path, token: str | None = None) -> ClipTarget:
    """The store of clips at a path or URL. With a `token`, only a store with that token is written to."""
    return RemoteTarget(str(out), token) if is_url(out) else LocalTarget(Path(out).expanduser(), token)


class LocalTarget:
    """A store in a folder; failures.jsonl lies beside it."""

    def __init__(self, out: Path, token: str | None = None) -> None:
        self._out = out
        self.address = str(out.resolve())
        self._store = SequenceStore(out, token)

    def __str__(self) -> str:
        return str(self._out)

    def refuse_inside(self, dataset: Path) -> None:
        """InputError where the store would lie inside the dataset."""
        refuse_inside(self._out, dataset, "--out")

    def create(self, settings: Mapping[str, Any], overwrite: bool) -> None:
        """Make or resume the store; errors as `SequenceStore.create`."""
        self._store = SequenceStore.create(self._out, settings, overwrite, schema=SCHEMA, version=SCHEMA_VERSION)

    @property
    def token(self) -> str | None:
        """Random id of this store: workers of an old run must not commit to a new one."""
        return self._store.token

    def close(self) -> None:
        """Release the writer's lock."""
        self._store.close()

    def keep_whole(self, keys: Iterable[str]) -> set[str]:
        """The finished ones of `keys`; those with failed photos are removed, so that they are tried again.

        Damaged ones are removed as well.
        """
        keys = list(keys)
        for damage in self._store.discard_damaged(keys, ClipSequence):
            log.warning("damaged, made again: %s", damage)
        done, finished = set(), self._store.finished()
        for key in keys:
            if key in finished and not finished[key]["failures"]:
                done.add(key)
            elif key in finished:
                self._store.discard(key)
        return done

    def commit(self, key: str, rows: Rows, attrs: Mapping[str, Any], jpeg: np.ndarray) -> None:
        """Write one finished sequence; errors as `SequenceStore.commit`."""
        self._store.commit(key, rows, attrs, blobs={"jpeg": jpeg})

    def await_finished(self, keys: Iterable[str], lost: Collection[str]) -> None:
        """As `SequenceStore.await_finished`."""
        self._store.await_finished(keys, lost)

    def sweep(self) -> None:
        """Remove what killed workers left."""
        self._store.sweep(spare_living=True)

    def finished(self) -> dict[str, dict[str, Any]]:
        """Attributes of the finished sequences by key."""
        return self._store.finished()

    def write_index(self, keys: list[str], attrs: Mapping[str, Any]) -> int:
        """Write the index and the store's own attributes; returns the number of frames."""
        frames = write_index(self._store, keys, attrs)
        # The same at the top, for people who look there first; readers of this project take it from the index.
        top = self._out / "zarr.json"
        durable.write_text(top, describe(json.loads(top.read_text("utf-8")), {**attrs, "frames": frames}))
        return frames

    def write_failures(self, failed: Iterable[Failure]) -> None:
        """Rewrite this store's rows of `failures.jsonl` beside it."""
        failures.write_failures(self._out, failed)


class RemoteTarget:
    """A store on an object store; failures.jsonl lies inside it."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.address = url.rstrip("/")
        self._store = RemoteStore(url, token)

    def __str__(self) -> str:
        return self.address

    def refuse_inside(self, dataset: Path) -> None:
        """No-op: datasets lie in folders."""

    def create(self, settings: Mapping[str, Any], overwrite: bool) -> None:
        """Make or resume the store; errors as `SequenceStore.create`."""
        self._store.create(settings, overwrite, schema=SCHEMA, version=SCHEMA_VERSION)

    @property
    def token(self) -> str | None:
        """Random id of this store: workers of an old run must not commit to a new one."""
        return self._store.token

    def close(self) -> None:
        """No-op: object stores have no lock."""

    def keep_whole(self, keys: Iterable[str]) -> set[str]:
        """As `LocalTarget.keep_whole`; what killed attempts left of unfinished sequences is removed as well."""
        keys, finished = set(keys), self._store.finished()
        failed = {key for key in keys & set(finished) if finished[key]["failures"]}
        for key in failed:
            self._store.remove(key)
        self._store.sweep(keys - set(finished))
        return (keys & set(finished)) - failed

    def commit(self, key: str, rows: Rows, attrs: Mapping[str, Any], jpeg: np.ndarray) -> None:
        """Write one finished sequence into a local folder and upload it from there."""
        with tempfile.TemporaryDirectory() as folder:
            SequenceStore(folder).commit(key, rows, attrs, blobs={"jpeg": jpeg})
            built = Path(folder) / "sequences" / folder_name(key)
            self._store.upload(key, built, group_attributes(built) or {})

    def await_finished(self, keys: Iterable[str], lost: Collection[str]) -> None:
        """InputError when some of `keys` are neither there nor lost: object stores show at once what was written."""
        missing = sorted(set(keys) - set(lost) - set(self._store.finished()))
        if missing:
            raise InputError(
                f"{self.address}: {len(missing)} sequences that were finished are not there, for example {missing[0]};"
                " run the same command again"
            )

    def sweep(self) -> None:
        """No-op: an attempt that does not count is removed when its sequence is tried again."""

    def finished(self) -> dict[str, dict[str, Any]]:
        """Attributes of the finished sequences by key."""
        return self._store.finished()

    def write_index(self, keys: list[str], attrs: Mapping[str, Any]) -> int:
        """Write the index here, upload it, and describe the store; returns the number of frames."""
        with tempfile.TemporaryDirectory() as folder:
            frames = write_index(_RemoteRows(Path(folder), self._store), keys, attrs)
            index = Path(folder) / "index"
            self._store.upload_index(index, group_attributes(index) or {})
        group = {"zarr_format": 3, "node_type": "group", "attributes": self._store.check(SCHEMA, SCHEMA_VERSION)}
        self._store.put("zarr.json", describe(group, {**attrs, "frames": frames}).encode())
        return frames

    def write_failures(self, failed: Iterable[Failure]) -> None:
        """Rewrite failures.jsonl; empty without failures."""
        rows = failures.failure_rows(self.address.rsplit("/", 1)[-1], failed)
        self._store.put(failures.FILE, "".join(row + "\n" for row in rows).encode())


class _RemoteRows:
    """Rows of a remote store's sequences for an index that is written in a local folder."""

    def __init__(self, path: Path, store: RemoteStore) -> None:
        self.path = path
        self._store, self._attrs = store, store.finished()

    def read(self, key: str) -> tuple[Rows, dict[str, Any]]:
        return self._store.read(key, self._attrs[key])


def describe(group: Mapping[str, Any], attrs: Mapping[str, Any]) -> str:
    """The zarr.json of a Zarr group with more attributes."""
    return json.dumps({**group, "attributes": {**group["attributes"], **attrs}}, indent=2)
