"""Bad input: one clear line that starts with `h2o: `, exit code 2, nothing written, nothing of a file run."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cli_trees as trees
import numpy as np
import pytest
import raw_trees as raw
from h2onet.hand.standin.arrays import write_mano_pickles

h2o, prepare, refused, Touch = trees.h2o, trees.prepare, trees.refused, trees.Touch


@pytest.fixture(scope="module")
def ho3d(tmp_path_factory) -> Path:
    return raw.write_ho3d(tmp_path_factory.mktemp("raw") / "ho3d")


# -- datasets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", ["dexycb", "ho3d-v2", "ho3d-v3"])
def test_a_missing_root(dataset, out, tmp_path):
    error = refused(out, *prepare(out / "l.zarr", tmp_path / "nowhere", dataset))
    assert str(tmp_path / "nowhere") in error and "--root" in error


@pytest.mark.parametrize("dataset", ["dexycb", "ho3d-v2", "ho3d-v3"])
def test_an_empty_dataset_folder(dataset, out, tmp_path):
    (tmp_path / "empty").mkdir()
    assert str(tmp_path / "empty") in refused(out, *prepare(out / "l.zarr", tmp_path / "empty", dataset))
    assert not list((tmp_path / "empty").iterdir())


@pytest.mark.parametrize(("dataset", "tree"), [("ho3d-v2", "dexycb"), ("dexycb", "ho3d")])
def test_the_folder_of_another_dataset(dataset, tree, out, request):
    root = request.getfixturevalue(tree)
    assert str(root) in refused(out, *prepare(out / "l.zarr", root, dataset))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--split", "training"), ("--split", "training", "train, val, test")),
        (("--setup", "s4"), ("--setup", "s4", "s0, s1, s2, s3")),
        (("--dataset", "dexycb2"), ("--dataset", "dexycb2", "ho3d-v2")),
        (("--renderer", "vulkan"), ("renderer", "vulkan", "pyrender")),
        (("--objects", "nowhere"), ("--objects", "nowhere")),
        (("--annotations", "nowhere.json"), ("nowhere.json",)),
        (("--limit", "0"), ("--limit",)),
        (("--workers", "0"), ("--workers",)),
        (("--scheduler", "tcp://127.0.0.1:9"), ("--scheduler", "--workers")),
    ],
)
def test_wrong_values_are_named_with_what_was_expected(more, words, dexycb, out):
    error = refused(out, *prepare(out / "l.zarr", dexycb), *more)
    assert all(word in error for word in words)


def test_a_split_without_frames(dexycb, out):
    assert "val" in refused(out, *prepare(out / "l.zarr", dexycb, split="val"))


@pytest.mark.parametrize("text", ["", "{", '{"images": 3}', "[]", '{"images": [], "annotations": [{"id": ', "\0" * 50])
def test_a_corrupt_annotation_file(text, dexycb, out, tmp_path):
    path = tmp_path / "broken.json"
    path.write_text(text)
    assert str(path) in refused(out, *prepare(out / "l.zarr", dexycb), "--annotations", path)


@pytest.mark.parametrize("option", ["--out", "--json", "--sheet"])
def test_outputs_inside_the_dataset(option, dexycb, out):
    with trees.untouched(dexycb):
        assert "inside the dataset" in refused(out, *prepare(out / "l.zarr", dexycb), option, dexycb / "inside")


def test_clips_inside_the_dataset(dexycb, stores, out):
    with trees.untouched(dexycb):
        command = ("build-clips", "--labels", stores / "labels.zarr", "--out", dexycb / "c.zarr", "--workers", 1)
        assert "inside the dataset" in refused(out, *command)


def test_a_motion_file_that_is_none(out, tmp_path):
    path = tmp_path / "motion.npz"
    np.savez(path, hand_pose=np.zeros((3, 48)))
    whole = path.read_bytes()
    command = ("synthesize", out, "--layout", "dexycb", "--motion", path, "--workers", 1)
    for content in (b"", whole[: len(whole) // 2], whole):
        path.write_bytes(content)
        assert str(path) in refused(out, *command)
    assert str(tmp_path / "nowhere.npz") in refused(out, *command, "--motion", tmp_path / "nowhere.npz")
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("parent", ["a file", "no place for folders"])
def test_outputs_that_cannot_be_written(parent, dexycb, stores, out, tmp_path):
    blocked = tmp_path / "file" if parent == "a file" else Path("/proc/nowhere")
    if parent == "a file":
        blocked.write_text("precious")
    elif not Path("/proc/self").exists():
        pytest.skip("no /proc here")
    labels, clips = ("--labels", stores / "labels.zarr"), stores / "clips.zarr"
    for command in (
        prepare(blocked / "l.zarr", dexycb),
        ("annotations", *prepare(out, dexycb)[1:9], "--out", blocked / "a.json"),
        ("build-clips", *labels, "--out", blocked / "c.zarr", "--workers", 1),
        ("clips", "sheet", clips, "--out", blocked / "s.png"),
        ("clips", "export", clips, "--out", blocked / "shards"),
        ("train", "demo-single-stage1", "--clips", clips, "--out", blocked / "run", "--set", "batch_size=2"),
        ("synthesize", blocked / "s", "--layout", "dexycb", "--workers", 1),
    ):
        error = refused(out, *command)
        assert str(blocked) in error or str(blocked.parent) in error
    assert parent != "a file" or blocked.read_text() == "precious"


def test_synthesize_overwrites_nothing_that_is_not_its_own(dexycb, out):
    with trees.untouched(dexycb):
        command = ("synthesize", dexycb, "--layout", "dexycb", "--workers", 1)
        assert "--overwrite" in refused(out, *command)
        assert "synthetic.json" in refused(out, *command, "--overwrite")


# -- the hand -----------------------------------------------------------------------------------------------------


def test_a_missing_mano_folder_or_file(dexycb, out, tmp_path):
    error = refused(out, *prepare(out / "l.zarr", dexycb, mano=tmp_path / "nowhere"))
    assert str(tmp_path / "nowhere") in error
    write_mano_pickles(tmp_path / "mano")
    (tmp_path / "mano" / "MANO_RIGHT.pkl").unlink()
    error = refused(out, *prepare(out / "l.zarr", dexycb, mano=tmp_path / "mano"))
    assert "MANO_RIGHT.pkl" in error and str(tmp_path / "mano") in error


def test_a_hostile_mano_file_is_not_run(dexycb, out, tmp_path):
    marker, folder = tmp_path / "marker", tmp_path / "mano"
    write_mano_pickles(folder)
    path = folder / "MANO_RIGHT.pkl"
    path.write_bytes(pickle.dumps({"v_template": Touch(marker)}, protocol=2))
    for command in (
        prepare(out / "l.zarr", dexycb, mano=folder),
        ("annotations", *prepare(out / "a.json", dexycb, mano=folder)[1:9], "--out", out / "a.json"),
    ):
        error = refused(out, *command)
        assert str(path) in error and "system" in error and "nothing was run" in error
    done = h2o("doctor", "--mano", folder)
    assert done.code == 1 and "nothing was run" in done.out
    assert not marker.exists()
    os.system(f"{sys.executable} -c \"import pickle; pickle.load(open('{path}', 'rb'))\"")
    assert marker.exists(), "the attack is none: the test says nothing"


@pytest.mark.parametrize("keep", [0, 10, 5000])
def test_a_truncated_mano_file(keep, dexycb, out, tmp_path):
    write_mano_pickles(tmp_path / "mano")
    path = tmp_path / "mano" / "MANO_RIGHT.pkl"
    path.write_bytes(path.read_bytes()[:keep])
    assert str(path) in refused(out, *prepare(out / "l.zarr", dexycb, mano=tmp_path / "mano"))


# -- a single bad frame is no bad input ---------------------------------------------------------------------------


def test_a_hostile_ho3d_meta_is_a_failure_and_not_run(ho3d, tmp_path):
    root, marker = shutil.copytree(ho3d, tmp_path / "ho3d"), tmp_path / "marker"
    name = "train/ABF10/meta/0001.pkl"
    (root / name).write_bytes(pickle.dumps({"objRot": Touch(marker)}, protocol=2))
    done = h2o(*prepare(tmp_path / "o" / "l.zarr", root, "ho3d-v2"))
    held_out = sorted((root / "train.txt").read_text().split())[::20]
    assert "ABF10/0001" not in held_out
    assert done.code == 1 and "3 frames, 3 labelled, 1 failed" in done.out and "Traceback" not in done.err
    [row] = [json.loads(line) for line in (tmp_path / "o" / "failures.jsonl").read_text().splitlines()]
    assert row["file"] == name and "system" in row["reason"] and not marker.exists()


def _shortened(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def _pickled(path: Path) -> None:
    # An npz whose array is a pickled object: reading it would run what it says.
    np.savez(path, pose_m=np.array([Touch(path.parents[3] / "marker")], dtype=object))


def _foreign(path: Path) -> None:
    np.savez(path, something=np.zeros(3))


@pytest.mark.parametrize("damage", [_shortened, _pickled, _foreign])
def test_a_bad_label_archive_is_a_failure(damage: Callable[[Path], None], dexycb, tmp_path):
    root = shutil.copytree(dexycb, tmp_path / "dexycb")
    name = f"{raw.SUBJECT}/{raw.SEQUENCE}/{raw.SERIAL}/labels_000003.npz"
    damage(root / name)
    done = h2o(*prepare(tmp_path / "o" / "l.zarr", root))
    assert done.code == 1 and "2 frames, 2 labelled, 1 failed" in done.out and "Traceback" not in done.err
    [row] = [json.loads(line) for line in (tmp_path / "o" / "failures.jsonl").read_text().splitlines()]
    assert row["file"] == name and not list(tmp_path.rglob("marker"))


@pytest.mark.parametrize("inside", ["dexycb", "ho3d", "store"])
@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "--checkpoint", "x", "--clips", "x", "--out"),
        ("evaluate", "--out", "results", "--checkpoint", "x", "--clips", "x", "--predictions-out"),
        ("demo", "--out"),
        ("clips", "sheet", "x", "--out"),
        ("clips", "export", "x", "--out"),
        ("predict", "--checkpoint", "x", "--images", "x", "--out"),
        ("export", "--checkpoint", "x", "--out"),
        ("train", "demo-single-stage1", "--clips", "x", "--out"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_results_never_lie_inside_a_dataset_or_a_store(command, inside, dexycb, ho3d, stores):
    place = {"dexycb": dexycb / raw.SUBJECT, "ho3d": ho3d / "train", "store": stores / "clips.zarr"}[inside]
    with trees.untouched(place):
        error = h2o(*command, place / "out").error
    assert f"{command[-1]} {place / 'out'}: lies inside the {'store' if inside == 'store' else 'dataset'}" in error


def test_stores_lie_inside_no_other_store(dexycb, stores):
    error = h2o(*prepare(stores / "clips.zarr" / "labels.zarr", dexycb)).error
    assert f"lies inside the store {stores / 'clips.zarr'}" in error


def test_paths_that_are_no_text_are_refused(dexycb, tmp_path):
    out = tmp_path / os.fsdecode(b"by\xe9te") / "labels.zarr"
    assert "--out" in (error := h2o(*prepare(out, dexycb)).error) and "no text in UTF-8" in error
    moved = tmp_path / os.fsdecode(b"mo\xf6ved")
    moved.mkdir()
    assert "--root" in (error := h2o(*prepare(tmp_path / "labels.zarr", moved)).error) and "no text in UTF-8" in error
    assert not (tmp_path / "labels.zarr").exists()


def test_a_closed_standard_output_is_no_error(stores):
    program = Path(sys.executable).with_name("h2o")
    done = subprocess.run(["sh", "-c", f'"{program}" clips info "{stores / "clips.zarr"}" >&-'], capture_output=True)
    assert done.returncode == 0 and not done.stderr, done
