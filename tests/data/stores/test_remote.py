"""What an object store says is checked before it becomes a path: attempts, keys, names of objects."""

import errno
import json
import uuid
from pathlib import Path

import fsspec
import pytest
from h2onet.data.stores import index_cache
from h2onet.data.stores.remote import DONE, RemoteStore
from h2onet.errors import InputError

ATTEMPT = "attempt-" + "0" * 32


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(index_cache, "cache_folder", lambda: tmp_path / "home" / "cache")
    return tmp_path


def store(files: dict[str, bytes]) -> RemoteStore:
    """A store in memory with these files."""
    url = f"memory://bucket/{uuid.uuid4().hex}"
    for name, content in files.items():
        fsspec.filesystem("memory").pipe_file(f"{url.removeprefix('memory:/')}/{name}", content)
    return RemoteStore(url)


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_an_index_lands_in_the_cache(cache: Path) -> None:
    done = json.dumps({"attempt": ATTEMPT}).encode()
    folder, attrs = store({f"index/{DONE}": done, f"index/{ATTEMPT}/frame/c/0": b"1234"}).index_folder()
    assert attrs == {"attempt": ATTEMPT} and (folder / "frame/c/0").read_bytes() == b"1234"
    assert everything_in(cache) == [f"home/cache/{ATTEMPT}/frame/c/0"]


@pytest.mark.parametrize(
    "attempt", ["../../..", "..", "/tmp/x", "attempt-1", ATTEMPT + "\n", "a/b", "", None, 7, [ATTEMPT]]
)
def test_an_attempt_that_is_no_name_of_one(attempt: object, cache: Path) -> None:
    damaged = store({f"index/{DONE}": json.dumps({"attempt": attempt}).encode(), "index/x/c": b"1"})
    with pytest.raises(InputError, match=r"_DONE\.json: attempt is .*expected attempt-"):
        damaged.index_folder()
    assert not everything_in(cache)


@pytest.mark.parametrize("name", ["../../escaped", "frame/../../../escaped", ".hidden", "a b"])
def test_an_object_that_would_land_elsewhere(name: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = store({f"index/{DONE}": json.dumps({"attempt": ATTEMPT}).encode()})
    monkeypatch.setattr(type(fsspec.filesystem("memory")), "find", lambda self, source: [f"{source}/{name}"])
    with pytest.raises(InputError, match="an object's name"):
        damaged.index_folder()
    assert not everything_in(cache)


@pytest.mark.parametrize("content", [b"{", b"[]", b"3", b"\xff\xfe", b'{"attempt": "x", "attempt": "y"}', b"[" * 99])
def test_damaged_json_is_one_line(content: bytes, cache: Path) -> None:
    with pytest.raises(InputError) as caught:
        store({f"index/{DONE}": content}).index_folder()
    assert DONE in str(caught.value) and str(caught.value).isprintable()


def test_a_sequence_in_the_folder_of_another(cache: Path) -> None:
    attrs = {"key": "B", "n_frames": 1, "fields": [], "sha256": "0" * 64, "state": "complete", "blobs": ["jpeg"]}
    attrs |= {"nbytes": 0, "failures": [], "attempt": ATTEMPT}
    with pytest.raises(InputError, match="key is 'B'"):
        store({f"sequences/A/{DONE}": json.dumps(attrs).encode()}).finished()
    assert list(store({f"sequences/B/{DONE}": json.dumps(attrs).encode()}).finished()) == ["B"]


@pytest.mark.parametrize("protocol", ["file", "local"])
def test_a_folder_is_given_as_a_path(protocol: str) -> None:
    with pytest.raises(InputError, match=f"is on this machine; give its path, without {protocol}://"):
        RemoteStore(f"{protocol}:///clips.zarr")


@pytest.mark.parametrize("protocol", ["http", "https"])
def test_a_web_server_is_refused(protocol: str) -> None:
    with pytest.raises(InputError, match="a web server does not say what lies in a store; copy the store here"):
        RemoteStore(f"{protocol}://host/clips.zarr")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError("Forbidden"), "Forbidden (PermissionError)"),
        (TimeoutError(), "no reason given (TimeoutError)"),
        (RuntimeError("no\ncredentials"), "no credentials (RuntimeError)"),
    ],
)
def test_what_fails_at_the_other_end_is_one_line(error: Exception, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    reached = store({"zarr.json": b"{}"})
    monkeypatch.setattr(type(fsspec.filesystem("memory")), "cat_file", fail)
    with pytest.raises(InputError) as caught:
        reached.check("h2onet-clips", 1)
    assert str(caught.value) == f"{reached}: {said}; check the address, the credentials and the network"


def test_errors_of_local_files_stay_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "cache/rows")

    reached = store({"a": b"1"})
    monkeypatch.setattr(type(fsspec.filesystem("memory")), "get_file", fail)
    with pytest.raises(OSError, match="cache/rows"):
        reached.fs.get_file("/bucket/a", "cache/rows")
