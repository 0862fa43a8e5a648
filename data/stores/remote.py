"""A store of camera sequences on an object store (S3 and others that fsspec supports), where nothing can be renamed.

    <url>/zarr.json                                    settings, as on disk
    <url>/sequences/<key>/<attempt>/{rows,jpeg}/...    one attempt's upload: a Zarr group of its own
    <url>/sequences/<key>/_DONE.json                   created only if absent, last: names the attempt that counts
    <url>/index/<attempt>/<column>/...                 the flat arrays; <url>/index/_DONE.json names the newest one

Readers trust `_DONE.json` alone; an attempt that was killed, or that came second, is never seen. One run writes a store
at a time: there is no lock. Sequences are built in a local folder and uploaded from there; the index is downloaded once
per machine and memory-mapped from the cache folder.
"""

from __future__ import annotations

import json
import re
import tempfile
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import fsspec
import numpy as np

from ...errors import InputError, brief, one_line
from ...untrusted import check_key, parse_json
from .attributes import (
    BY_COPY,
    ClipSequence,
    attributes_of,
    check,
    check_attributes,
    check_settings,
    write_empty_store,
)
from .index_cache import cached_folder
from .keys import folder_name
from .records import Rows, digest_of, record, unpack_rows

DONE = "_DONE.json"
_ATTEMPT = re.compile(r"attempt-[0-9a-f]{32}")  # as `_publish` names them; it becomes a folder of the cache


class _OneLine:
    """A file system whose failures are InputErrors that name the store.

    What is raised by the libraries below fsspec, for want of credentials, permission or a network, has no common class.
    That something is not there, or is there already, is an answer, and errors that name a local file are its own.
    """

    def __init__(self, fs: Any, url: str) -> None:
        self._fs, self._url = fs, url

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._fs, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            try:
                return found(*arguments, **options)
            except (FileNotFoundError, FileExistsError, TypeError, AttributeError):
                raise  # an answer, or a fault of this program
            except Exception as error:
                if getattr(error, "filename", None) is not None:
                    raise
                said = one_line(error, 160) or "no reason given"
                raise InputError(
                    f"{self._url}: {said} ({type(error).__name__}); check the address, the credentials and the network"
                ) from error

        return call


def is_url(path: str | Path) -> bool:
    """Whether a store's path names an object store: "s3://bucket/clips.zarr"."""
    return "://" in str(path)


class RemoteStore:
    """Sequences below a URL. Holds no connection: clients are made per process, since none of them survives a fork.

    With a `token`, nothing is published in a store that replaced the one it names, as in `SequenceStore`.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url, self._expected = url.rstrip("/"), token
        protocol, _, self._root = self.url.partition("://")
        if protocol not in fsspec.available_protocols():
            raise InputError(f"{url}: no file system is known for {protocol!r}; use a local path or install it")
        if protocol in ("file", "local"):
            raise InputError(f"{url}: is on this machine; give its path, without {protocol}://")
        if protocol in ("http", "https"):
            raise InputError(
                f"{url}: a web server does not say what lies in a store; copy the store here, or give its address on"
                " the object store behind it (s3://...)"
            )

    def __str__(self) -> str:
        return self.url

    @property
    def fs(self) -> Any:
        """The file system, made in this process (fsspec keeps one per process). Its failures are InputErrors."""
        try:
            return _OneLine(fsspec.filesystem(self.url.partition("://")[0]), self.url)
        except ImportError as error:
            raise InputError(f"{self.url}: {error}; pip install 'h2onet[s3]'") from None

    @property
    def shared_by_threads(self) -> bool:
        """Whether all threads of a process use one connection; otherwise fsspec makes and keeps one for each."""
        return bool(self.fs.async_impl)

    def _path(self, *parts: str) -> str:
        return "/".join((self._root, *parts))

    def _json(self, *parts: str) -> dict[str, Any] | None:
        """The object in a JSON file of the store, with a checked attempt where it names one; None without the file."""
        try:
            data = self.fs.cat_file(self._path(*parts))
        except FileNotFoundError:
            return None
        return self._parse(data, "/".join(parts))

    def _parse(self, data: bytes, name: str) -> dict[str, Any]:
        source = f"{self.url}/{name}"
        content = parse_json(data, source, nan=True)
        if not isinstance(content, dict):
            raise InputError(f"{source}: holds {brief(content)}, expected an object; {BY_COPY}")
        if name.rpartition("/")[2] == DONE and not _ATTEMPT.fullmatch(str(content.get("attempt"))):
            found = brief(content.get("attempt"))
            raise InputError(f"{source}: attempt is {found}, expected attempt- and 32 hexadecimal digits; {BY_COPY}")
        return content

    # -- writing ----------------------------------------------------------------------------------------------------

    def create(self, settings: Mapping[str, Any], overwrite: bool, *, schema: str, version: int) -> None:
        """Make the store, or resume it when its settings are equal; errors as `SequenceStore.create`."""
        wanted = json.loads(json.dumps(settings))
        attrs = self._attributes()
        if attrs is not None and not overwrite:
            check_attributes(self.url, attrs, schema, version)
            check_settings(self.url, attrs, wanted)
            return
        if attrs is not None:
            check_attributes(self.url, attrs, schema, None)
            self.fs.rm(self._root, recursive=True)
        self.fs.invalidate_cache()
        with tempfile.TemporaryDirectory() as folder:
            write_empty_store(Path(folder), wanted, schema, version)
            for name in ("zarr.json", "sequences/zarr.json"):
                self.fs.pipe_file(self._path(name), (Path(folder) / name).read_bytes())

    def _attributes(self) -> dict[str, Any] | None:
        group = self._json("zarr.json")
        return None if group is None else attributes_of(group, f"{self.url}/zarr.json")

    @property
    def token(self) -> str | None:
        """Random id of this store: workers of an old run must not commit to a new one."""
        return (self._attributes() or {}).get("token")

    def check(self, schema: str, version: int | None) -> dict[str, Any]:
        """The store's attributes; InputError when it is missing, something else, or of another version."""
        attrs = self._attributes()
        check_attributes(self.url, attrs, schema, version)
        return attrs or {}

    def finished(self) -> dict[str, dict[str, Any]]:
        """Attributes of every finished sequence by key."""
        self.fs.invalidate_cache()
        done = sorted(path for path in self.fs.find(self._path("sequences")) if path.endswith("/" + DONE))
        files = self.fs.cat(done) if done else {}
        found = [self._sequence(data, path.rsplit("/", 2)[-2]) for path, data in files.items()]
        return {attrs["key"]: attrs for attrs in sorted(found, key=lambda attrs: attrs["key"])}

    def _sequence(self, data: bytes, folder: str) -> dict[str, Any]:
        """The attributes of a finished sequence; InputError where they are damaged or another sequence's."""
        name = f"sequences/{folder}/{DONE}"
        attrs = self._parse(data, name)
        check(f"{self.url}/{name}", attrs, ClipSequence)
        if folder_name(attrs["key"]) != folder:
            raise InputError(f"{self.url}/{name}: key is {brief(attrs['key'])}, another folder's; {BY_COPY}")
        return attrs

    def upload(self, key: str, folder: Path, attrs: Mapping[str, Any]) -> bool:
        """Publish a locally committed sequence; False (and nothing is left) when another attempt was first."""
        return self._publish(("sequences", folder_name(key)), folder, attrs, replace=False)

    def upload_index(self, folder: Path, attrs: Mapping[str, Any]) -> None:
        """Publish a locally written index, replacing the one that counted so far."""
        self._publish(("index",), folder, attrs, replace=True)

    def _publish(self, parts: tuple[str, ...], folder: Path, attrs: Mapping[str, Any], replace: bool) -> bool:
        attempt = "attempt-" + uuid.uuid4().hex
        files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
        for file in files:
            self.fs.put_file(str(file), self._path(*parts, attempt, file.relative_to(folder).as_posix()))
        self._check_upload(
            [*parts, attempt], {file.relative_to(folder).as_posix(): file.stat().st_size for file in files}
        )
        done = json.dumps({**attrs, "attempt": attempt}).encode()
        before = self._json(*parts, DONE) if replace else None
        try:
            self.fs.pipe_file(self._path(*parts, DONE), done, mode="overwrite" if replace else "create")
        except FileExistsError:
            self.fs.rm(self._path(*parts, attempt), recursive=True)
            return False
        if before is not None:
            self.fs.rm(self._path(*parts, before["attempt"]), recursive=True)
        return True

    def _check_upload(self, parts: list[str], sizes: Mapping[str, int]) -> None:
        """InputError unless an attempt lies there whole, in the store it was made for.

        Another run may sweep or replace what is still being uploaded.
        """
        self.fs.invalidate_cache()
        prefix = self._path(*parts)
        there = self.fs.find(prefix, detail=True).items()
        found = {path[path.index(parts[-1]) + len(parts[-1]) + 1 :]: entry["size"] for path, entry in there}
        replaced = self._expected is not None and self.token != self._expected
        if found != sizes or replaced:
            if found:
                self.fs.rm(prefix, recursive=True)
            what = "was made anew" if replaced else "lost files of an upload"
            raise InputError(f"{self.url}: {what} while this run was writing; let one run at a time write a store")

    def remove(self, key: str) -> None:
        """Remove a finished sequence, its `_DONE.json` first."""
        self.fs.rm_file(self._path("sequences", folder_name(key), DONE))
        self.sweep([key])

    def sweep(self, keys: Iterable[str]) -> None:
        """Remove everything of sequences that are not finished: what killed attempts left."""
        self.fs.invalidate_cache()
        there = {path.rstrip("/").rsplit("/", 1)[-1] for path in self.fs.ls(self._path("sequences"), detail=False)}
        for folder in sorted({folder_name(key) for key in keys} & there):
            self.fs.rm(self._path("sequences", folder), recursive=True)

    def put(self, name: str, data: bytes) -> None:
        """Write one file of the store (failures.jsonl, zarr.json)."""
        self.fs.pipe_file(self._path(name), data)

    # -- reading ----------------------------------------------------------------------------------------------------

    def read(self, key: str, attrs: Mapping[str, Any] | None = None) -> tuple[Rows, dict[str, Any]]:
        """Per-frame arrays and attributes of a finished sequence; `attrs` where they are known already."""
        folder = folder_name(key)
        if attrs is None:
            try:
                attrs = self._sequence(self.fs.cat_file(self._path("sequences", folder, DONE)), folder)
            except FileNotFoundError:
                raise InputError(
                    f"{self.url}: sequence {brief(key)} is not finished; run the command that builds it again"
                ) from None
        packed = np.frombuffer(self.fs.cat_file(self._chunk(key, attrs["attempt"], "rows")), np.uint8)
        if len(packed) != attrs["n_frames"] * record(attrs["fields"]).itemsize:
            raise InputError(
                f"{self.url}: sequence {brief(key)}: rows are damaged; remove it and run the command again"
            )
        return unpack_rows(packed, attrs["fields"]), dict(attrs)

    def verify(self, key: str) -> str:
        """Compare a sequence with its checksum and return that; InputError when a byte differs."""
        _, attrs = self.read(key)
        files = [self._chunk(key, attrs["attempt"], name) for name in ("rows", "jpeg")]
        rows, jpeg = (np.frombuffer(self.fs.cat_file(file), np.uint8) for file in files)
        if digest_of(rows, attrs["fields"], {"jpeg": jpeg}) != attrs["sha256"]:
            raise InputError(
                f"{self.url}: sequence {brief(key)}: checksum differs; remove it and run the command again"
            )
        return attrs["sha256"]

    def _chunk(self, key: str, attempt: str, name: str) -> str:
        return self._path("sequences", folder_name(key), attempt, name, "c", "0")

    def ranges(self, key: str, attempt: str, starts: list[int], ends: list[int]) -> list[bytes]:
        """Byte ranges of a sequence's pictures."""
        found = self.fs.cat_ranges([self._chunk(key, attempt, "jpeg")] * len(starts), starts, ends, on_error="return")
        for each in found:
            if isinstance(each, BaseException):
                raise InputError(
                    f"{self.url}: sequence {brief(key)} cannot be read ({one_line(each, 160)}); see h2o clips verify"
                )
        return found

    def index_folder(self) -> tuple[Path, dict[str, Any]]:
        """The index as a local folder (downloaded once, shared by all processes) and its attributes."""
        done = self._json("index", DONE)
        if done is None:
            raise InputError(f"{self.url}: has no index, its build was interrupted; run build-clips again to finish it")
        source = self._path("index", done["attempt"])

        def download(folder: Path) -> None:
            for path in self.fs.find(source):
                name = path.split(done["attempt"] + "/", 1)[1]
                try:
                    target = folder / check_key(name, "an object's name")
                except ValueError as error:
                    raise InputError(f"{self.url}/index: {error}; {BY_COPY}") from None
                target.parent.mkdir(parents=True, exist_ok=True)
                self.fs.get_file(path, str(target))

        return cached_folder(done["attempt"], download), done

    def sizes(self) -> list[int]:
        """Bytes of every object of the store."""
        return [entry["size"] for entry in self.fs.find(self._root, detail=True).values()]
