"""The scripts of examples/ run as they stand, on one small synthesized tree."""

import ast
import csv
import json
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import raw_trees as trees
from h2onet.data.clips import ClipStore
from h2onet.data.datasets import iter_frames, list_sequences
from h2onet.data.frame import Frame
from h2onet.data.labels import LabelStore
from h2onet.data.synthesize import SynthesizeSettings, synthesize
from h2onet.hand.basis import hand_basis

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A synthetic DexYCB tree: a recording of one camera for each split of setup s0."""
    folder = tmp_path_factory.mktemp("examples") / "DEX_YCB"
    synthesize(SynthesizeSettings(out=folder, sequences=3, frames=4, cameras=1, workers=1))
    return folder


def run(monkeypatch, name: str, *arguments: object) -> None:
    """An example as `python examples/NAME ARGUMENTS`, in this process."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_label_and_look(root, tmp_path, monkeypatch, capsys) -> None:
    run(monkeypatch, "label_and_look.py", "--root", root, "--out", tmp_path)
    told = capsys.readouterr().out
    assert len(LabelStore.open(tmp_path / "labels.zarr")) == 4
    assert cv2.imread(str(tmp_path / "labels.png")) is not None
    assert told.count("occluded in") == 7 and "most hidden: " in told


def test_train_score_and_read(root, tmp_path, monkeypatch, capsys) -> None:
    """Training on a tree, its result, and its stores read without this project."""
    out = tmp_path / "score"
    run(monkeypatch, "train_and_score.py", "--root", root, "--out", out, "--epochs", 1, "--width", 0.125)
    metrics = json.loads((out / "result" / "metrics.json").read_text())
    assert metrics["frames"] == 4 and metrics["pa_mpjpe_mm"] > 0
    assert (out / "result" / "report.html").is_file() and "(1, 778, 3), metres" in capsys.readouterr().out

    labels, clips = out / "train" / "labels.zarr", out / "train" / "clips.zarr"
    run(monkeypatch, "read_with_plain_zarr.py", "--labels", labels, "--clips", clips, "--row", 3, "--out", tmp_path)
    rows = list(csv.DictReader((tmp_path / "labels.csv").open()))
    read = [[int(row[name]) for name in list(row)[2:]] for row in rows]
    assert np.array_equal(read, LabelStore.open(labels)["occluded"])
    store = ClipStore.open(clips)
    assert (tmp_path / "clip.jpg").read_bytes() == store.jpegs(np.array([3]))[0]
    clip = json.loads((tmp_path / "clip.json").read_text())
    assert clip["sequence"] == store.key(3) and clip["frame"] == store.index["frame"][3]


def test_freihand_becomes_a_table(tmp_path, monkeypatch, capsys) -> None:
    """On a tree in FreiHAND's layout: lists of cameras, of hands [48 pose, 10 shape, 2 root px, scale], of joints."""
    tree, table = tmp_path / "freihand", tmp_path / "table"
    truths = [trees.posed("right", number) for number in range(5)]
    mean = hand_basis("standin", "right").mean
    hands = [[[*t.pose[:3], *(t.pose[3:] - mean), *trees.BETAS, 112.0, 112.0, 900.0]] for t in truths]
    lists = {"K": [trees.INTRINSICS.tolist()] * 5, "mano": hands, "xyz": [truth.joints.tolist() for truth in truths]}
    for folder in ("rgb", "mask"):
        (tree / "training" / folder).mkdir(parents=True)
    for name, content in lists.items():
        (tree / f"training_{name}.json").write_text(json.dumps(content))
    for number, truth in enumerate(truths):
        photo, hand = np.full((224, 224, 3), 90, np.uint8), trees.hand_area(truth.vertices)[128:352, 208:432]
        cv2.imwrite(str(tree / f"training/rgb/{number:08d}.jpg"), photo)
        cv2.imwrite(str(tree / f"training/mask/{number:08d}.jpg"), hand.astype(np.uint8) * 255)
    script = runpy.run_path(str(EXAMPLES / "freihand_to_table.py"))
    monkeypatch.setitem(script["convert"].__globals__, "CHUNK", 2)
    assert script["convert"](tree, table) == 5
    sequences = list_sequences("table", table, "train", mano="standin")
    frames = [frame for sequence in sequences for frame in iter_frames(sequence)]
    assert [each.key for each in sequences] == ["0000", "0001"] and all(isinstance(each, Frame) for each in frames)
    assert len(list_sequences("table", table, "val")[0]) == 1
    for frame, truth in zip(frames, truths, strict=False):
        assert (frame.width, frame.height) == (224, 224) and frame.hand_mask.any()
        np.testing.assert_allclose(frame.mano_pose, truth.pose, atol=1e-12)
        np.testing.assert_allclose(frame.translation, truth.translation, atol=1e-9)
        np.testing.assert_array_equal(frame.joints, truth.joints)
    run(monkeypatch, "freihand_to_table.py", tree, tmp_path / "whole")
    assert "5 rows in" in capsys.readouterr().out
    (tree / "training_xyz.json").write_text("[]")
    with pytest.raises(SystemExit, match="have 5, 5, 0 entries"):
        script["convert"](tree, tmp_path / "none")


def test_the_plain_reader_says_where_its_stores_come_from(tmp_path, monkeypatch, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "read_with_plain_zarr.py", "--labels", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert (
        ended.value.code == 2
        and "nowhere: no such store; `python examples/train_and_score.py`" in capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()


def test_the_plain_reader_needs_nothing_of_this_project() -> None:
    tree = ast.parse((EXAMPLES / "read_with_plain_zarr.py").read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names == {"argparse", "json", "pathlib", "typing", "numpy", "zarr"}


def test_every_example_is_run_here() -> None:
    text = Path(__file__).read_text()
    assert all(f'"{path.name}"' in text for path in EXAMPLES.glob("*.py"))
