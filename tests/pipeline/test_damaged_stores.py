"""Stores that a copy or a purge damaged: a rerun mends them and says so, or is one clear line."""

import json
import logging
import os
import shutil
from pathlib import Path

import clip_scene
import numpy as np
import pytest
import raw_trees as raw
from h2onet.data.clips import verify
from h2onet.data.labels import LabelStore
from h2onet.data.stores import sequences as store_module
from h2onet.data.stores.keys import folder_name
from h2onet.errors import InputError
from h2onet.pipeline import build_clips as build_module
from h2onet.pipeline.build_clips import build_clips
from h2onet.pipeline.prepare_labels import LabelSettings, prepare_labels

KEY, OTHER = clip_scene.KEY, clip_scene.OTHER


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A dataset's root, its labels.zarr and its clips.zarr."""
    folder = tmp_path_factory.mktemp("made")
    raw.write_dexycb(folder / "root")
    label(folder)
    build_clips(folder / "labels.zarr", folder / "clips.zarr", workers=1)
    return folder


def label(folder: Path, out: Path | None = None, **options):
    out = out or folder / "labels.zarr"
    return prepare_labels(LabelSettings("dexycb", folder / "root", "train", "standin", out, workers=1, **options))


@pytest.fixture
def copy(made, tmp_path, monkeypatch) -> Path:
    """The stores copied; their dataset stays where it was."""
    monkeypatch.setattr(store_module, "PATIENCE_S", 0.2)
    for name in ("labels.zarr", "clips.zarr"):
        shutil.copytree(made / name, tmp_path / name)
    (tmp_path / "root").symlink_to(made / "root")
    return tmp_path


def contents(store: Path) -> dict[str, bytes]:
    """Every file but those that hold the run's own token and paths."""
    files = [path for path in store.rglob("*") if path.is_file() and path != store / "zarr.json"]
    return {str(path.relative_to(store)): path.read_bytes() for path in files}


def run(folder: Path, name: str):
    if name == "labels.zarr":
        return label(folder)
    return build_clips(folder / "labels.zarr", folder / "clips.zarr", workers=1)


def edit(file: Path, **changes) -> None:
    """Change attributes of a group; None removes one."""
    group = json.loads(file.read_text())
    for name, value in changes.items():
        group["attributes"][name] = value
        if value is None:
            del group["attributes"][name]
    file.write_text(json.dumps(group))


def damages() -> dict:
    return {
        "no zarr.json": lambda folder: (folder / "zarr.json").unlink(),
        "garbage": lambda folder: (folder / "zarr.json").write_bytes(b"\xff{"),
        "an array": lambda folder: shutil.copy(folder / "rows" / "zarr.json", folder / "zarr.json"),
        "another key": lambda folder: edit(folder / "zarr.json", key="other/key"),
        "no failures": lambda folder: edit(folder / "zarr.json", failures=None),
        "negative": lambda folder: edit(folder / "zarr.json", n_frames=-1),
        "rows cut": lambda folder: os.truncate(folder / "rows" / "c" / "0", 7),
        "rows gone": lambda folder: shutil.rmtree(folder / "rows"),
        "a file": lambda folder: (shutil.rmtree(folder), folder.write_bytes(b"")),
    }


@pytest.mark.parametrize("damage", damages())
@pytest.mark.parametrize("name", ["labels.zarr", "clips.zarr"])
def test_a_damaged_sequence_is_made_again_and_said(copy, made, name, damage, caplog):
    folder = next(entry for entry in (copy / name / "sequences").iterdir() if entry.is_dir())
    damages()[damage](folder)
    with caplog.at_level(logging.WARNING):
        done = run(copy, name)
    assert f"damaged, made again: {folder}" in caplog.text
    assert (done.done_now if name == "labels.zarr" else done.built) == 1 and done.failures == 0
    found, before = contents(copy / name), contents(made / name)
    assert {path for path in found if found[path] != before.get(path)} <= {"index/zarr.json"}
    assert found.keys() == before.keys()  # nothing is left beside them, no lock either


def test_pictures_that_a_copy_left_out_are_cut_again(copy, made):
    for file in (copy / "clips.zarr").glob("sequences/*/jpeg/c/0"):
        os.truncate(file, 100)
    assert verify(copy / "clips.zarr") and run(copy, "clips.zarr").built == 1
    assert verify(copy / "clips.zarr") == []


def test_an_index_of_labels_that_is_not_its_sequences_is_written_again(copy, made):
    for spoil in (
        lambda index: (index / "occluded" / "c" / "0" / "0").write_bytes(b"no zstd"),
        lambda index: shutil.rmtree(index / "frame"),
        lambda index: (index / "zarr.json").write_bytes(b"{"),
        lambda index: edit(index / "zarr.json", dataset="ho3d-v2"),
        lambda index: edit(index / "zarr.json", skipped=3),
    ):
        spoil(copy / "labels.zarr" / "index")
        assert run(copy, "labels.zarr").done_now == 0
        labels, before = LabelStore.open(copy / "labels.zarr"), LabelStore.open(made / "labels.zarr")
        assert labels.attrs == before.attrs
        for name in before.index:
            np.testing.assert_array_equal(labels[name], before[name])


def test_a_sequence_that_is_gone_when_all_is_done_is_an_error(copy, monkeypatch):
    cut = build_module.cut_sequence
    folder = copy / "clips.zarr" / "sequences"
    for entry in [entry for entry in folder.iterdir() if entry.is_dir()]:
        shutil.rmtree(entry)

    def cut_and_lose(task):
        done = cut(task)
        (folder / folder_name(task.key) / "zarr.json").unlink()
        return done

    monkeypatch.setattr(build_module, "cut_sequence", cut_and_lose)
    with pytest.raises(InputError, match=r"1 sequences that were finished are not here.*Run the same command again"):
        run(copy, "clips.zarr")


@pytest.mark.parametrize("name", ["labels.zarr", "clips.zarr"])
def test_a_sequence_of_something_else_is_an_error(copy, name):
    folder = next(entry for entry in (copy / name / "sequences").iterdir() if entry.is_dir())
    shutil.copytree(folder, folder.with_name("other"))
    edit(folder.with_name("other") / "zarr.json", key="other")
    with pytest.raises(InputError, match=r"1 sequences are not of this run, for example .*sequences/other; move"):
        run(copy, name)
    shutil.rmtree(folder.with_name("other"))
    (folder.parent / "@eaDir").mkdir()  # what network storage puts everywhere
    assert run(copy, name).failures == 0


@pytest.mark.parametrize("key", ["x__y/z", "../x/y", ".x/y", "x//y", "/x/y", "x/y\n", ""])
def test_keys_that_name_no_folder_of_their_own_are_refused(tmp_path, key):
    scene = clip_scene.Scene(sequences={KEY: (0, 1), OTHER: (0, 1)})
    labels = clip_scene.write_scene(tmp_path, scene)
    index = labels / "index" / "zarr.json"
    entries = json.loads(index.read_text())["attributes"]["sequences"]
    edit(index, sequences=[{**entries[0], "key": "x/y__z"}, {**entries[1], "key": key}])
    with pytest.raises(InputError, match="sequence"):
        build_clips(labels, tmp_path / "clips.zarr", workers=1)
    assert not (tmp_path / "clips.zarr").exists()


@pytest.mark.parametrize("name", ["labels.zarr", "clips.zarr"])
def test_overwrite_through_a_link_replaces_what_it_points_to(copy, name):
    disk = copy / "disk"
    disk.mkdir()
    (copy / name).rename(disk / "store")
    (copy / name).symlink_to(disk / "store")
    token = json.loads((disk / "store" / "zarr.json").read_text())["attributes"]["token"]
    if name == "labels.zarr":
        label(copy, overwrite=True)
    else:
        build_clips(copy / "labels.zarr", copy / name, workers=1, overwrite=True)
    assert (copy / name).readlink() == disk / "store" and [path.name for path in disk.iterdir()] == ["store"]
    assert json.loads((disk / "store" / "zarr.json").read_text())["attributes"]["token"] != token
    assert not [path for path in copy.iterdir() if path.name.startswith(".")]


def test_what_killed_workers_left_goes_and_strangers_stay(copy):
    left = copy / "clips.zarr" / "sequences" / f".tmp-key-{'0' * 32}"
    cut = build_module.cut_sequence
    folder = next(entry for entry in (copy / "clips.zarr" / "sequences").iterdir() if entry.is_dir())
    shutil.rmtree(folder)
    (copy / "clips.zarr" / ".tmp-mine").mkdir()

    def cut_after_a_kill(task):
        (left / "rows").mkdir(parents=True)
        return cut(task)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_module, "cut_sequence", cut_after_a_kill)
        run(copy, "clips.zarr")
    assert not left.exists() and (copy / "clips.zarr" / ".tmp-mine").exists()


@pytest.mark.parametrize("name", ["dataset", "image", "column"])
def test_an_index_of_labels_that_lacks_something_is_one_line(copy, name):
    index = copy / "labels.zarr" / "index"
    if name == "column":
        (index / "sequence_id" / "zarr.json").unlink()
    else:
        group = json.loads((index / "zarr.json").read_text())
        del group["attributes"][name]
        (index / "zarr.json").write_text(json.dumps(group))
    labels = LabelStore.open(copy / "labels.zarr")
    with pytest.raises(InputError, match=r"(attribute|sequence_id).* is missing; copy the store again"):
        labels.image(0)
        labels.export_json(copy / "json")
