"""Where `h2o build-clips` writes: a folder, or an object store by its URL. Both hold finished sequences and one index.

Paths and JSON only; what a sequence consists of is decided in `cut_hands`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .. import durable
from ..data import failures
from ..data.frame import Failure
from ..data.stores.clip_index import write_index
from ..data.stores.clips import SCHEMA, SCHEMA_VERSION
from ..data.stores.records import Rows, group_attributes
from ..data.stores.remote import RemoteStore
from ..data.stores.sequences import SequenceStore


class LocalTarget:
    """A store in a folder."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.address = str(out.resolve())
        self._store = SequenceStore(out)

    def create(self, settings: Mapping[str, Any], overwrite: bool) -> None:
        """Make or resume; errors as `SequenceStore.create`."""
        self._store = SequenceStore.create(self.out, settings, overwrite, schema=SCHEMA, version=SCHEMA_VERSION)

    @property
    def token(self) -> str | None:
        """What tells this store from another one at the same place."""
        return self._store.token

    def close(self) -> None:
        """Let another run write."""
        self._store.close()

    def keep_whole(self, keys: Iterable[str]) -> set[str]:
        """The finished ones of `keys`; those with failed photos are removed, so that a repaired photo gets its
        frame.
        """
        done = set()
        finished = self._store.finished()
        for key in keys:
            if key in finished and not finished[key]["failures"]:
                done.add(key)
            elif key in finished:
                self._store.discard(key)
        return done

    def await_finished(self, keys: Iterable[str]) -> None:
        """Wait until this machine sees what workers have finished; errors as `SequenceStore.await_finished`."""
        self._store.await_finished(keys)

    def finished(self) -> dict[str, dict[str, Any]]:
        """Attributes of the finished sequences by key."""
        return self._store.finished()

    def write_index(self, keys: list[str], attrs: Mapping[str, Any]) -> int:
        """Write the index and the store's own attributes; returns the number of frames."""
        frames = write_index(self._store, keys, attrs)
        # The same at the top, for people who look there first; readers of this project take it from the index.
        with durable.writing_file(self.out / "zarr.json") as file:
            file.write(described((self.out / "zarr.json").read_bytes(), {**attrs, "frames": frames}))
        return frames

    def write_failures(self, failed: Iterable[Failure]) -> None:
        """Rewrite this store's rows of `failures.jsonl` beside it."""
        failures.write_failures(self.out, failed)


class RemoteTarget:
    """A store on an object store; failures.jsonl lies inside it."""

    def __init__(self, url: str) -> None:
        self.out = self.address = url.rstrip("/")
        self._store = RemoteStore(url)

    def create(self, settings: Mapping[str, Any], overwrite: bool) -> None:
        """Make or resume; errors as `SequenceStore.create`."""
        self._store.create(settings, overwrite, schema=SCHEMA, version=SCHEMA_VERSION)

    @property
    def token(self) -> str | None:
        """What tells this store from another one at the same place."""
        return self._store.token

    def close(self) -> None:
        """Nothing to let go: object stores know no lock."""

    def keep_whole(self, keys: Iterable[str]) -> set[str]:
        """As `LocalTarget.keep_whole`; what killed attempts left of unfinished sequences is removed."""
        keys, finished = set(keys), self._store.finished()
        failed = {key for key in keys & set(finished) if finished[key]["failures"]}
        for key in failed:
            self._store.remove(key)
        self._store.sweep(keys - set(finished))
        return (keys & set(finished)) - failed

    def await_finished(self, keys: Iterable[str]) -> None:
        """Nothing to wait for: object stores show at once what was written."""

    def finished(self) -> dict[str, dict[str, Any]]:
        """Attributes of the finished sequences by key."""
        return self._store.finished()

    def write_index(self, keys: list[str], attrs: Mapping[str, Any]) -> int:
        """Write the index here, upload it, and describe the store; returns the number of frames."""
        with tempfile.TemporaryDirectory() as folder:
            frames = write_index(_Fetched(Path(folder), self._store), keys, attrs)
            index = Path(folder) / "index"
            self._store.upload_index(index, group_attributes(index) or {})
        top = json.dumps(self._store.check(SCHEMA, SCHEMA_VERSION))
        group = {"zarr_format": 3, "node_type": "group", "attributes": json.loads(top)}
        self._store.put("zarr.json", described(json.dumps(group).encode(), {**attrs, "frames": frames}))
        return frames

    def write_failures(self, failed: Iterable[Failure]) -> None:
        """Rewrite failures.jsonl; empty without failures."""
        rows = failures.failure_rows(self.out.rsplit("/", 1)[-1], failed)
        self._store.put(failures.FILE, "".join(row + "\n" for row in rows).encode())


class _Fetched:
    """Rows of a remote store's sequences for an index that is written in a local folder."""

    def __init__(self, path: Path, store: RemoteStore) -> None:
        self.path = path
        self._store, self._attrs = store, store.finished()

    def read(self, key: str) -> tuple[Rows, dict[str, Any]]:
        return self._store.read(key, self._attrs[key])


def described(group: bytes, attrs: Mapping[str, Any]) -> bytes:
    """A Zarr group's zarr.json with more attributes."""
    content = json.loads(group)
    content["attributes"].update(attrs)
    return json.dumps(content, indent=2).encode()
