"""Bad stores, presets and checkpoints: one clear line that starts with `h2o: `, exit code 2, nothing written or run."""

import json
from pathlib import Path

import cli_trees as trees
import numpy as np
import pytest
import raw_trees as raw
import torch

h2o, prepare, refused, Touch = trees.h2o, trees.prepare, trees.refused, trees.Touch


# -- stores -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["missing", "empty folder", "file", "other zarr"])
def no_store(request, stores, tmp_path) -> Path:
    """What is given as a store and is none."""
    path = tmp_path / "store"
    if request.param == "empty folder":
        path.mkdir()
    elif request.param == "file":
        path.write_bytes(b"PK\x03\x04")
    elif request.param == "other zarr":
        path.mkdir()
        (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    return path


def test_labels_that_are_none(no_store, out):
    assert str(no_store) in refused(out, "build-clips", "--labels", no_store, "--out", out / "c.zarr", "--workers", 1)


@pytest.mark.parametrize("command", ["info", "verify", "card"])
def test_clips_that_are_none(command, no_store, out):
    assert str(no_store) in refused(out, "clips", command, no_store)


def test_training_on_clips_that_are_none(no_store, out):
    assert str(no_store) in refused(out, "train", "demo-single-stage1", "--clips", no_store, "--out", out)


def test_labels_are_no_clips_and_clips_no_labels(stores, out):
    labels, clips = stores / "labels.zarr", stores / "clips.zarr"
    assert "clips" in refused(out, "clips", "info", labels)
    assert "labels" in refused(out, "build-clips", "--labels", clips, "--out", out / "c.zarr", "--workers", 1)
    assert "clips" in refused(out, "train", "demo-single-stage1", "--clips", labels, "--out", out)


def test_a_folder_that_is_no_store_is_never_replaced(dexycb, stores, out, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "holiday.jpg").write_bytes(b"dear")
    with trees.untouched(folder):
        for command in (
            prepare(folder, dexycb),
            ("build-clips", "--labels", stores / "labels.zarr", "--out", folder, "--workers", 1),
        ):
            assert str(folder) in refused(out, *command)
            assert str(folder) in refused(out, *command, "--overwrite")


# -- networks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "more", "words"),
    [
        ("dexycb-single-stage9", (), ("dexycb-single-stage9", "dexycb-single-stage1")),
        ("nowhere.toml", (), ("nowhere.toml",)),
        ("demo-single-stage1", ("--set", "epoch=1"), ("epoch", "epochs")),
        ("demo-single-stage1", ("--set", "epochs"), ("epochs", "=")),
        ("demo-single-stage1", ("--set", "epochs=many"), ("epochs", "many")),
        ("demo-single-stage1", ("--set", "batch_size=0"), ("batch_size", "0")),
        ("demo-single-stage1", ("--set", "lr=-1"), ("lr",)),
        ("demo-single-stage1", ("--device", "tpu"), ("tpu", "cpu")),
        ("demo-single-stage1", ("--init", "nowhere"), ("nowhere",)),
    ],
)
def test_training_that_cannot_begin(preset, more, words, stores, out, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    error = refused(
        out, "train", preset, "--clips", stores / "clips.zarr", "--out", out, "--set", "batch_size=2", *more
    )
    assert all(word in error for word in words)


def test_overrides_without_set_are_a_mistake(stores, out):
    error = refused(out, "train", "demo-single-stage1", "--clips", stores / "clips.zarr", "--out", out, "epochs=1")
    assert "epochs=1" in error and "--set" in error


def commands_with_a_checkpoint(checkpoint: Path, clips: Path, pictures: Path, out: Path) -> dict[str, tuple]:
    given = ("--checkpoint", checkpoint)
    return {
        "evaluate": ("evaluate", *given, "--clips", clips, "--out", out, "--device", "cpu"),
        "predict": ("predict", *given, "--images", pictures, "--out", out, "--device", "cpu"),
        "export": ("export", *given, "--out", out / "m.onnx"),
        "benchmark": ("benchmark", *given, "--device", "cpu"),
    }


@pytest.mark.parametrize("command", ["evaluate", "predict", "export", "benchmark"])
def test_checkpoints_that_are_none(command, stores, dexycb, out, tmp_path):
    pictures = dexycb / raw.SUBJECT / raw.SEQUENCE / raw.SERIAL
    marker, hostile, cut, empty = (tmp_path / name for name in ("marker", "hostile.pth", "cut.pth", "empty"))
    torch.save({"state_dict": Touch(marker)}, hostile)
    cut.write_bytes(hostile.read_bytes()[:100])
    empty.mkdir()
    for path in (tmp_path / "nowhere", empty, cut, hostile):
        error = refused(out, *commands_with_a_checkpoint(path, stores / "clips.zarr", pictures, out)[command])
        assert str(path) in error, path
    assert not marker.exists()


def test_predictions_that_are_none(out, tmp_path):
    (tmp_path / "pred.json").write_text("[[[0, 0")
    common = ("--ground-truth", tmp_path, "--dataset", "ho3d-v2", "--out", out)
    given = ("evaluate", "--predictions", tmp_path / "pred.json")
    assert str(tmp_path / "evaluation_xyz.json") in refused(out, *given, *common)
    for name in ("xyz", "verts"):
        (tmp_path / f"evaluation_{name}.json").write_text(
            json.dumps(np.zeros((1, 21 if name == "xyz" else 778, 3)).tolist())
        )
    assert str(tmp_path / "pred.json") in refused(out, *given, *common)
    assert "nowhere.json" in refused(out, *given, *common, "--predictions", tmp_path / "nowhere.json")
    assert "dexycb" in refused(out, *given, *common, "--dataset", "dexycb")
