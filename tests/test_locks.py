"""Locks: one holder at a time, nothing left behind, and no race between removing a lock's file and opening it."""

from pathlib import Path

import pytest
from h2onet.errors import InputError
from h2onet.locks import Lock, is_locked, locked


def test_the_file_of_a_lock_is_there_only_while_it_is_held(tmp_path):
    first, second = Lock(tmp_path / ".lock"), Lock(tmp_path / ".lock")
    first.acquire()
    with pytest.raises(InputError, match="another run is writing"):
        second.acquire()
    assert (tmp_path / ".lock").exists()
    first.release()
    assert not list(tmp_path.iterdir())
    second.acquire()
    first.release()  # not held any more: harmless
    assert (tmp_path / ".lock").exists()
    second.release()


def test_a_lock_that_was_removed_between_opening_and_locking_does_not_count(tmp_path, monkeypatch):
    holder, late = Lock(tmp_path / ".lock"), Lock(tmp_path / ".lock")
    holder.acquire()
    opened = Path.open

    def slowly(path, *arguments, **options):
        file = opened(path, *arguments, **options)
        monkeypatch.setattr(Path, "open", opened)
        holder.release()  # the file that was just opened is gone from its folder now
        return file

    monkeypatch.setattr(Path, "open", slowly)
    late.acquire()
    with pytest.raises(InputError, match="another run is writing"):
        holder.acquire()
    late.release()
    assert not list(tmp_path.iterdir())


def test_a_store_that_was_moved_takes_no_other_lock_with_it(tmp_path):
    (tmp_path / "store").mkdir()
    first, second = Lock(tmp_path / "store" / ".lock"), Lock(tmp_path / "store" / ".lock")
    first.acquire()
    (tmp_path / "store").rename(tmp_path / "old")
    (tmp_path / "store").mkdir()
    second.acquire()
    first.release()
    assert (tmp_path / "store" / ".lock").exists()


def test_a_held_folder_is_seen(tmp_path):
    assert not is_locked(tmp_path) and not is_locked(tmp_path / "nowhere")
    with locked(tmp_path):
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)
