"""The cache of downloaded indexes: whole entries only, used ones stay, forgotten ones go, whoever is at it."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from h2onet.data.stores.index_cache import KEEP_DAYS, cache_folder, cached_folder, forget_unused
from h2onet.durable import RETIRED, TEMPORARY

LONG_AGO = time.time() - (KEEP_DAYS + 1) * 86400


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return cache_folder()


def write(folder: Path) -> None:
    (folder / "column").write_bytes(b"x" * 1000)


def entry(cache: Path, name: str, when: float) -> Path:
    folder = cache / name
    folder.mkdir(parents=True)
    write(folder)
    os.utime(folder, (when, when))
    return folder


def names(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir()}


def test_an_entry_is_made_once_and_whole(cache):
    folder = cached_folder("a", write)
    assert folder == cache / "a" and (folder / "column").stat().st_size == 1000
    assert cached_folder("a", lambda _: pytest.fail("downloaded again")) == folder
    with pytest.raises(ConnectionError):
        cached_folder("b", lambda _: (_ for _ in ()).throw(ConnectionError()))
    assert names(cache) == {"a"}


def test_what_nobody_opens_goes_with_the_next_download(cache):
    for name in ("old", f"{TEMPORARY}half-1", f"{RETIRED}half-2"):
        entry(cache, name, LONG_AGO)
    entry(cache, "recent", time.time() - (KEEP_DAYS - 1) * 86400)
    entry(cache, f"{TEMPORARY}download", time.time())
    cached_folder("new", write)
    assert names(cache) == {"new", "recent", f"{TEMPORARY}download"}


def test_opening_keeps_an_entry(cache):
    entry(cache, "a", LONG_AGO)
    cached_folder("a", lambda _: pytest.fail("downloaded again"))
    assert forget_unused(cache) == 0 and names(cache) == {"a"}


_READER = """
    import sys
    from h2onet.data.stores.index_cache import cached_folder, forget_unused
    for i in range(40):
        folder = cached_folder(f"used-{i}", lambda folder: (folder / "column").write_bytes(b"x" * 1000))
        assert (folder / "column").read_bytes() == b"x" * 1000
        forget_unused(folder.parent)
        assert (folder / "column").read_bytes() == b"x" * 1000
"""


def test_several_processes_never_lose_what_they_opened(cache):
    for i in range(40):
        for kind in ("used", "unused"):
            entry(cache, f"{kind}-{i}", LONG_AGO)
    command = [sys.executable, "-c", textwrap.dedent(_READER)]
    readers = [subprocess.Popen(command) for _ in range(4)]
    assert [reader.wait(120) for reader in readers] == [0] * 4
    assert names(cache) == {f"used-{i}" for i in range(40)}
