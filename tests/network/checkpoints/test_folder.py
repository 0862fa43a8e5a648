"""A checkpoint folder is replaced at one instant, and a failed or killed save leaves the old one."""

import os
from pathlib import Path

import pytest
from h2onet import durable
from h2onet.network.checkpoints.folder import find_folder, replace_folder


@pytest.fixture(params=["exchange", "two renames"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the file system replaces a folder."""
    if request.param == "two renames":
        monkeypatch.setattr(durable, "exchange", lambda first, second: False)
    return request.param


def save(folder: Path, text: str) -> None:
    with replace_folder(folder) as temporary:
        (temporary / "config.json").write_text(text)


def test_exchange_swaps_folders_and_refuses_what_is_not_there(tmp_path: Path):
    for name in ("a", "b"):
        save(tmp_path / name, name)
    if not durable.exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this system or file system cannot exchange names")
    assert (tmp_path / "a/config.json").read_text() == "b" and (tmp_path / "b/config.json").read_text() == "a"
    assert not durable.exchange(tmp_path / "a", tmp_path / "missing")


def test_saving_replaces_and_leaves_nothing_behind(way: str, tmp_path: Path):
    for text in ("first", "second"):
        save(tmp_path / "last", text)
        assert {path.name: path.read_text() for path in (tmp_path / "last").iterdir()} == {"config.json": text}
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


def test_a_save_that_fails_leaves_the_old_checkpoint(way: str, tmp_path: Path):
    save(tmp_path / "last", "good")
    with pytest.raises(RuntimeError, match="killed here"), replace_folder(tmp_path / "last") as temporary:
        (temporary / "config.json").write_text("half")
        raise RuntimeError("killed here")
    assert (tmp_path / "last/config.json").read_text() == "good"
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


def test_a_crash_between_two_renames_leaves_the_previous_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target, rename = tmp_path / "last", os.rename
    save(target, "old")

    def dying(source: Path, destination: Path) -> None:
        if destination == target:
            raise KeyboardInterrupt
        rename(source, destination)

    with monkeypatch.context() as patch:
        patch.setattr(durable, "exchange", lambda first, second: False)
        patch.setattr(durable.os, "rename", dying)
        with pytest.raises(KeyboardInterrupt):
            save(target, "new")
    found = find_folder(target)
    assert found is not None and found != target and (found / "config.json").read_text() == "old"
    save(target, "new")
    assert find_folder(target) == target and [path.name for path in tmp_path.iterdir()] == ["last"]
