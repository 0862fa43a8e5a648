"""prepare-labels: what is in the store, what is refused, what fails by name, and that it can be repaired."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import raw_trees as trees
from h2onet.data.annotations import write_annotations
from h2onet.data.labels import LabelStore
from h2onet.data.readers.dexycb_splits import SERIALS
from h2onet.errors import InputError
from h2onet.hand.parts import CAUSES, LABELS
from h2onet.labeling import label as label_module
from h2onet.pipeline.prepare_labels import LabelSettings, prepare_labels

RECORDINGS = {("20200709-subject-01", "20200709_141754"): "right", ("20200709-subject-01", "20200709_141931"): "left"}
FIRST = f"{trees.SUBJECT}/{trees.SEQUENCE}/{SERIALS[0]}"


@pytest.fixture(scope="module")
def dexycb(tmp_path_factory) -> Path:
    return trees.write_dexycb(tmp_path_factory.mktemp("dexycb"), RECORDINGS, SERIALS[:2])


@pytest.fixture
def tree(dexycb, tmp_path) -> Path:
    return shutil.copytree(dexycb, tmp_path / "dexycb")


def run(root: Path, out: Path, dataset: str = "dexycb", split: str = "train", **options):
    settings: dict[str, Any] = {"mano": "standin", "workers": 1} | options
    return prepare_labels(LabelSettings(dataset, root, split, out=out, **settings))


def failures(out: Path) -> list[tuple[str, str]]:
    path = out.parent / "failures.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    assert all(row["store"] == out.name for row in rows)
    return [(row["file"], row["reason"]) for row in rows]


def test_dexycb_becomes_a_store(dexycb, tmp_path):
    out = tmp_path / "labels.zarr"
    summary = run(dexycb, out, json=tmp_path / "json")
    assert (summary.frames, summary.labelled, summary.failures) == (12, 12, 0)
    assert summary.skipped == {"pose_m is all 0": 4} and "without a hand: 4 (pose_m is all 0)" in str(summary)
    labels = LabelStore.open(out)
    assert len(labels.sequences) == 4 and labels["frame"].tolist() == [0, 2, 3] * 4
    assert labels["is_left"].tolist() == [False] * 6 + [True] * 6
    assert labels["labelled"].all() and labels["has_pose"].all()
    assert (labels["occluded"] <= 1).all() and (labels["visible_vertices"] >= 0).all()
    assert (labels["object_id"] == 2).all()
    row = labels.row(f"{FIRST}/color_000002.jpg")
    truth = trees.posed("right", 2)
    np.testing.assert_allclose(labels["mano_pose"][row], truth.pose, atol=1e-6)
    np.testing.assert_allclose(labels["translation"][row], truth.translation, atol=1e-6)
    np.testing.assert_allclose(labels["joints"][row], truth.joints, atol=1e-6)
    np.testing.assert_allclose(labels["object_pose"][row], trees.object_pose(2), atol=1e-6)
    assert labels.attrs["causes"] == list(CAUSES) and labels.attrs["labels"] == list(LABELS)
    assert labels.attrs["mano"]["left"]["source"] == "standin" and labels.attrs["mask"] == "seg == 255"
    files = list((tmp_path / "json").rglob("occ_*.json"))
    assert len(files) == 12 and not failures(out)


def test_the_json_gives_the_labels_of_the_raw_tree(dexycb, tmp_path):
    write_annotations("dexycb", dexycb, "train", "s0", "standin", tmp_path / "a.json")
    run(dexycb, tmp_path / "raw.zarr")
    run(dexycb, tmp_path / "json.zarr", annotations=tmp_path / "a.json")
    a, b = LabelStore.open(tmp_path / "raw.zarr"), LabelStore.open(tmp_path / "json.zarr")
    for name in ("frame", "dataset_index", "occluded", "visible_vertices", "cause", "joint_visible", "object_id"):
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    for name in ("mano_pose", "translation", "joints", "joints_2d", "visible_fraction", "object_pose"):
        np.testing.assert_allclose(a[name], b[name], atol=1e-5, err_msg=name)


@pytest.mark.parametrize(("version", "colour"), [("v2", "red"), ("v3", "blue")])
def test_ho3d_training_frames(tmp_path, version, colour):
    root = trees.write_ho3d(tmp_path / "ho3d", version)
    summary = run(root, tmp_path / "l.zarr", f"ho3d-{version}")
    labels = LabelStore.open(tmp_path / "l.zarr")
    assert summary.frames == len(labels) == 4 and labels["labelled"].all() and not labels["is_left"].any()
    assert (root / labels.image(0)).exists() and labels.attrs["mask"].startswith(f"seg {colour} > 200")
    assert run(root, tmp_path / "v.zarr", f"ho3d-{version}", "val").frames == 1


def test_ho3d_evaluation_without_ground_truth_has_rows_but_no_labels(tmp_path):
    root = trees.write_ho3d(tmp_path / "ho3d")
    for path in (root / "evaluation").rglob("*.pkl"):  # nothing is computed from objects here, so none are missed
        trees.save_meta(path, pickle.loads(path.read_bytes()) | {"objRot": None})  # noqa: S301 - written by this test
    summary = run(root, tmp_path / "l.zarr", "ho3d-v2", "test")
    labels = LabelStore.open(tmp_path / "l.zarr")
    assert (summary.frames, summary.labelled) == (2, 0) and labels.attrs["mask"] == "none"
    assert not labels["has_pose"].any() and (labels["occluded"] == 255).all() and (labels["cause"] == 255).all()
    assert np.isfinite(labels["root"]).all() and np.isfinite(labels["box"]).all()
    assert "object" not in str(summary) and labels.attrs["frames_without_objects"] == 0
    lines = (root / "evaluation.txt").read_text().split()
    for row in range(2):
        assert lines[labels["dataset_index"][row]] == f"{labels.sequences[0]}/{labels['frame'][row]:04d}"


def test_released_ground_truth_is_labelled_with_a_rendered_mask_that_is_named(tmp_path):
    root = trees.write_ho3d(tmp_path / "ho3d")
    trees.write_released(root)
    assert run(root, tmp_path / "l.zarr", "ho3d-v2", "test").labelled == 2
    labels = LabelStore.open(tmp_path / "l.zarr")
    assert labels.attrs["mask"].startswith("rendered") and np.isnan(labels["mask_iou"]).all()
    assert not labels["has_pose"].any() and (labels["occluded"] <= 1).all()
    truth = trees.posed("right", int(labels["frame"][0]), "ho3d")
    np.testing.assert_allclose(labels["vertices"][0], truth.vertices, atol=1e-6)


def test_without_object_meshes_nothing_is_guessed(tmp_path):
    root = trees.write_ho3d(tmp_path / "ho3d")
    trees.write_released(root)
    shutil.rmtree(root / "models")
    summary = run(root, tmp_path / "t.zarr", "ho3d-v2", "test")
    assert summary.labelled == 0 and "no mesh for 003_cracker_box (2 frames)" in str(summary)
    summary = run(root, tmp_path / "l.zarr", "ho3d-v2")
    labels = LabelStore.open(tmp_path / "l.zarr")
    assert summary.labelled == 4 and (labels["cause"] == 255).all() and np.isnan(labels["visible_fraction"]).all()
    assert labels.attrs["missing_objects"] == {"003_cracker_box": 4}


@pytest.mark.parametrize(
    ("version", "channel", "other"),
    [("v2", "blue", "red"), ("v3", "red", "blue"), ("v3", "green", "blue")],  # green is the object's: not empty
)
def test_a_colour_that_is_not_the_hand_is_refused_where_another_is_the_hand(tmp_path, version, channel, other):
    root = trees.write_ho3d(tmp_path / "ho3d", version)
    with pytest.raises(InputError, match=f"give --seg-channel {other}") as caught:
        run(root, tmp_path / "l.zarr", f"ho3d-{version}", seg_channel=channel)
    assert f"{channel} is nowhere in the masks or not where the hand is" in str(caught.value) and "\n" not in str(
        caught.value
    )
    assert run(root, tmp_path / "m.zarr", f"ho3d-{version}").labelled == 4


def test_a_recording_whose_masks_show_no_hand_is_labelled_all_the_same(tree, tmp_path):
    """DexYCB's cameras do not all see the hand: its `seg` is then without any, and the fingers count as occluded."""
    for path in (tree / FIRST).glob("labels_*.npz"):
        with np.load(path) as file:
            arrays = dict(file)
        arrays["seg"][arrays["seg"] == 255] = 0
        np.savez(path, **arrays)
    summary = run(tree, tmp_path / "l.zarr")
    labels = LabelStore.open(tmp_path / "l.zarr")
    rows = labels["sequence_id"] == labels.sequences.index(FIRST)
    assert summary.failures == 0 and summary.labelled == 12 and (labels["occluded"][rows] == 1).all()


def test_a_wrong_mask_is_noticed_with_numbers(tmp_path):
    root = trees.write_ho3d(tmp_path / "ho3d")
    for path in root.glob("train/*/seg/*.jpg"):
        cv2.imwrite(str(path), np.zeros((240, 320, 3), np.uint8))
    summary = run(root, tmp_path / "l.zarr", "ho3d-v2")
    assert "agree badly in 2 of 2 sequences (mean overlap 0.00" in str(summary)
    assert "pixels above 200 in red, green, blue" in str(summary)


@pytest.mark.parametrize(("off", "labelled"), [(0.04, 7), (0.2, 6)])
def test_joints_off_their_pose_are_a_note_and_far_off_a_failure(tree, tmp_path, off, labelled):
    path = tree / FIRST / "labels_000002.npz"
    with np.load(path) as file:
        joints = file["joint_3d"]
    trees.change_label(path, joint_3d=joints + np.float32([off, 0, 0]))
    summary = run(tree, tmp_path / "l.zarr", limit=9)
    assert summary.labelled == labelled and summary.failures == 7 - labelled
    if summary.failures:
        assert "200 mm off" in failures(tmp_path / "l.zarr")[0][1]
    else:
        assert "the joints of 1 frames are not where their pose puts them (up to 40 mm off" in str(summary)


def test_what_one_frame_causes_is_that_frames_failure(tree, tmp_path, monkeypatch):
    whole = run(tree, tmp_path / "whole.zarr")

    def faulty(frame, *arguments):
        if frame.number == 2:
            raise IndexError("tuple index out of range")
        return label_depth(frame, *arguments)

    label_depth = label_module.label_depth
    monkeypatch.setattr(label_module, "label_depth", faulty)
    summary = run(tree, tmp_path / "l.zarr")
    assert summary.failures == 4 and summary.frames == whole.frames - 4 and summary.skipped == whole.skipped
    found = failures(tmp_path / "l.zarr")
    assert {reason for _, reason in found} == {"cannot be labelled: IndexError: tuple index out of range"}
    assert all(path.endswith("color_000002.jpg") for path, _ in found)
    good = LabelStore.open(tmp_path / "l.zarr"), LabelStore.open(tmp_path / "whole.zarr")
    kept = good[1]["frame"] != 2
    assert np.array_equal(good[0]["occluded"], good[1]["occluded"][kept])


def test_a_missing_calibration_is_one_line(tree, tmp_path):
    shutil.rmtree(tree / "calibration")
    with pytest.raises(InputError, match="has no calibration/; unpack calibration"):
        run(tree, tmp_path / "l.zarr")
    assert not (tmp_path / "l.zarr").exists()


def test_objects_are_found_in_their_other_forms(tree, tmp_path):
    models, expected = tree / "models", run(tree, tmp_path / "a.zarr")
    run(tree, tmp_path / "b.zarr", objects=tree)  # the parent of models/
    a, b = (LabelStore.open(tmp_path / name)["visible_fraction"] for name in ("a.zarr", "b.zarr"))
    assert np.array_equal(a, b) and np.isfinite(a).all() and expected.warnings == ()
    for number, form in enumerate(("textured_simple_2000.obj", "google_16k/textured.obj")):
        for mesh in [*models.glob("*/textured_simple*.obj")]:
            (mesh.parent / form).parent.mkdir(exist_ok=True)
            mesh.rename(mesh.parent / form)
        summary = run(tree, tmp_path / f"{number}.zarr")
        assert f"NAME/{form}: no textured_simple.obj is there" in str(summary)
        assert np.array_equal(a, LabelStore.open(tmp_path / f"{number}.zarr")["visible_fraction"])
    (tmp_path / "empty" / "003_cracker_box").mkdir(parents=True)
    with pytest.raises(InputError, match="holds no object model"):
        run(tree, tmp_path / "c.zarr", objects=tmp_path / "empty")


def test_limit_takes_the_first_frames(dexycb, tmp_path):
    run(dexycb, tmp_path / "l.zarr", limit=6)
    labels = LabelStore.open(tmp_path / "l.zarr")
    assert labels["frame"].tolist() == [0, 2, 3, 0] and labels["dataset_index"].tolist() == [0, 2, 3, 4]
    with pytest.raises(InputError, match="limit=6, now limit=7"):
        run(dexycb, tmp_path / "l.zarr", limit=7)


def test_a_second_run_does_nothing_and_other_settings_are_refused(dexycb, tmp_path):
    out = tmp_path / "l.zarr"
    first = run(dexycb, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.name != ".lock"}
    again = run(dexycb, out)
    assert again.done_now == 0 and again.frames == first.frames
    assert before == {path: path.stat().st_mtime_ns for path in before}
    with pytest.raises(InputError, match="setup='s0', now setup='s1'"):
        run(dexycb, out, setup="s1")
    assert run(dexycb, out, setup="s1", overwrite=True).done_now == 4


def _truncate(folder: Path) -> None:
    path = folder / "labels_000002.npz"
    path.write_bytes(path.read_bytes()[:500])


def _nan(folder: Path) -> None:
    trees.change_label(folder / "labels_000002.npz", pose_m=np.full((1, 51), np.nan, np.float32))


def _behind(folder: Path) -> None:
    pose = np.load(folder / "labels_000002.npz")["pose_m"]
    pose[0, 50] = -1.0
    trees.change_label(folder / "labels_000002.npz", pose_m=pose)


def _no_label(folder: Path) -> None:
    (folder / "labels_000002.npz").unlink()


def _no_photo(folder: Path) -> None:
    (folder / "color_000002.jpg").unlink()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_truncate, "not readable"),
        (_nan, "not finite"),
        (_behind, "found it behind"),
        (_no_label, "the file is missing"),
        (_no_photo, "the photo is missing"),
    ],
)
def test_a_bad_frame_is_named_and_nothing_else_lost(dexycb, tree, tmp_path, damage, reason):
    damage(tree / FIRST)
    out = tmp_path / "out" / "l.zarr"
    for _ in range(2):  # tried again, listed once
        summary = run(tree, out)
        assert (summary.frames, summary.failures) == (11, 1) and summary.done_now in (4, 1)
        [(file, why)] = failures(out)
        assert file.startswith(FIRST) and "000002" in file and reason in why
    shutil.copytree(dexycb / FIRST, tree / FIRST, dirs_exist_ok=True)
    assert run(tree, out).failures == 0 and not (out.parent / "failures.jsonl").exists()
    assert len(LabelStore.open(out)) == 12


def test_zero_intrinsics_fail_their_camera_by_name(tree, tmp_path):
    path = tree / "calibration/intrinsics" / f"{SERIALS[1]}_640x480.yml"
    path.write_text("color: {fx: 0.0, fy: 0.0, ppx: 1.0, ppy: 1.0}\n")
    summary = run(tree, tmp_path / "l.zarr")
    assert (summary.frames, summary.failures) == (6, 2)
    assert all(path.name in why and "(4 frames)" in why for _, why in failures(tmp_path / "l.zarr"))


def test_a_missing_mask_keeps_the_frame_without_its_label(tmp_path):
    root = trees.write_ho3d(tmp_path / "ho3d")
    (root / "train/ABF10/seg/0002.jpg").unlink()
    summary = run(root, tmp_path / "l.zarr", "ho3d-v2")
    assert (summary.frames, summary.labelled, summary.failures) == (4, 3, 1)
    assert failures(tmp_path / "l.zarr") == [("train/ABF10/seg/0002.jpg", "the mask is missing")]
    labels = LabelStore.open(tmp_path / "l.zarr")
    row = labels.row("ABF10", 2)
    assert labels["has_pose"][row] and (labels["occluded"][row] == 255).all()
    assert np.isfinite(labels["visible_fraction"][row]).all()


def test_failures_of_other_stores_stay_listed(tree, tmp_path):
    other = {"store": "other.zarr", "file": "x", "reason": "y"}
    (tmp_path / "failures.jsonl").write_text(json.dumps(other) + "\n")
    run(tree, tmp_path / "l.zarr")
    assert [json.loads(line) for line in (tmp_path / "failures.jsonl").read_text().splitlines()] == [other]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mano": "nowhere"}, "nowhere"),
        ({"split": "all"}, "--split all"),
        ({"renderer": "vulkan"}, "renderer"),
        ({"objects": Path("nowhere")}, "--objects nowhere"),
        ({"limit": 0}, "--limit 0"),
        ({"workers": 0}, "--workers 0"),
        ({"workers": None, "scheduler": "nonsense://nowhere"}, "--scheduler"),
        ({"annotations": "nowhere.json"}, r"nowhere\.json"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(dexycb, tmp_path, options, message):
    with pytest.raises(InputError, match=message) as caught:
        run(dexycb, tmp_path / "out" / "l.zarr", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["out", "json", "sheet"])
def test_nothing_is_written_inside_the_dataset(dexycb, tmp_path, option):
    before = sorted(dexycb.rglob("*"))
    options: dict[str, Any] = {"out": tmp_path / "l.zarr"} | {option: dexycb / "inside.png"}
    with pytest.raises(InputError, match=f"--{option} .*inside the dataset"):
        run(dexycb, **options)
    run(dexycb, tmp_path / "l.zarr")
    assert sorted(dexycb.rglob("*")) == before


def test_the_sheet_is_a_picture(dexycb, tmp_path):
    run(dexycb, tmp_path / "l.zarr", sheet=tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("annotations", ["raw", "DEX_YCB/annotations/DEX_YCB_s0_test_data.json"])
def test_the_authors_labels_are_reproduced(golden, tmp_path, annotations):
    folder = golden / "labels"
    path = annotations if annotations == "raw" else folder / annotations
    run(folder / "DEX_YCB", tmp_path / "l.zarr", split="test", mano=folder / "mano", annotations=path)
    labels = LabelStore.open(tmp_path / "l.zarr")
    expected = json.loads((folder / "expected.json").read_text())
    rows = [labels.row(entry["file_name"]) for entry in expected]
    np.testing.assert_array_equal(labels["occluded"][rows], [[entry[name] for name in LABELS] for entry in expected])
    counts = np.array([entry["visible_vertices"] for entry in expected])
    assert np.abs(labels["visible_vertices"][rows] - counts).max() <= 2
    assert (labels["visible_vertices"][rows] == counts).all(axis=1).sum() >= 18
    assert labels.attrs["mask_iou_median"] > 0.99


def test_a_missing_root_is_all_that_is_said(tmp_path, caplog):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        run(tmp_path / "nowhere", tmp_path / "labels.zarr")
    assert not caplog.records and list(tmp_path.iterdir()) == []
