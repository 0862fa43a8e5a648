"""DexYCB's raw tree: splits by position, the frame's conventions, frames without a hand, damaged files."""

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import raw_trees as trees
from h2onet.data.annotations import write_annotations
from h2onet.data.datasets import iter_frames, list_sequences
from h2onet.data.frame import Failure, Frame, Unannotated
from h2onet.data.readers.dexycb import NO_JOINTS, NO_PIXELS, NO_POSE
from h2onet.data.readers.dexycb_splits import SERIALS, SUBJECTS, in_split, positions, sequence_list
from h2onet.data.readers.yaml_files import read_yaml
from h2onet.errors import InputError


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    recordings = {
        ("20200709-subject-01", "20200709_141754"): "right",
        ("20200709-subject-01", "20200709_141931"): "left",
    }
    return trees.write_dexycb(tmp_path_factory.mktemp("dexycb"), recordings, SERIALS[:2])


@pytest.fixture
def tree(made, tmp_path) -> Path:
    return shutil.copytree(made, tmp_path / "dexycb")


def frames(root, split="train", **options) -> list[Any]:
    sequences = list_sequences("dexycb", root, split, mano="standin", **options)
    return [item for sequence in sequences for item in iter_frames(sequence)]


def first_label(root: Path, number: int = 0) -> Path:
    return root / trees.SUBJECT / trees.SEQUENCE / SERIALS[0] / f"labels_{number:06d}.npz"


@pytest.mark.parametrize(
    ("setup", "counts"),
    [
        ("s0", (6400, 320, 1280)),
        ("s1", (5600, 800, 1600)),
        ("s2", (6000, 1000, 1000)),
        ("s3", (6000, 800, 1200)),
    ],
)
def test_split_sizes_are_the_toolkits(setup, counts):
    cells = [(s, c, i) for s in range(10) for c in range(8) for i in range(100)]
    splits = [{cell for cell in cells if in_split(setup, split, *cell)} for split in ("train", "val", "test")]
    assert tuple(map(len, splits)) == counts
    assert not splits[0] & splits[1] and not splits[1] & splits[2] and not splits[0] & splits[2]


def test_the_embedded_list_is_the_full_dataset(shared):
    rows = [line.split(",") for line in (shared / "data/dexycb_sequences.csv").read_text().splitlines()[1:]]
    ours = [[subject, name, side] for subject, names in sequence_list().items() for name, side in names.items()]
    assert ours == rows and len(positions()) == 1000


def test_a_partial_download_gets_the_position_of_the_full_list(tmp_path):
    # The fifth sequence of a subject is test (s0), although it is the only one here.
    fifth = list(sequence_list()[SUBJECTS[4]])[4]
    trees.write_dexycb(tmp_path, {(SUBJECTS[4], fifth): "right"}, frames=1)
    assert [s.key for s in list_sequences("dexycb", tmp_path, "test")] == [f"{SUBJECTS[4]}/{fifth}/{SERIALS[0]}"]
    with pytest.raises(InputError, match="s0 train"):
        list_sequences("dexycb", tmp_path, "train")


def test_unknown_sequences_go_by_their_place_and_are_warned_about(tmp_path, caplog):
    names = [f"20990101_{i:06d}" for i in range(6)]
    trees.write_dexycb(tmp_path, {(SUBJECTS[3], name): "right" for name in names}, frames=1)
    with caplog.at_level(logging.WARNING):
        test = list_sequences("dexycb", tmp_path, "test")
    assert [s.key.split("/")[1] for s in test] == [names[4]]
    assert "6 sequences are not in DexYCB's list" in caplog.text


def test_setups_choose_subjects_and_cameras(made):
    assert {s.key[-12:] for s in list_sequences("dexycb", made, "train", "s2")} == set(SERIALS[:2])
    assert len(list_sequences("dexycb", made, "train", "s1")) == 4
    with pytest.raises(InputError, match="s1 test"):
        list_sequences("dexycb", made, "test", "s1")


def test_the_index_counts_subject_sequence_camera_frame(made):
    sequences = list_sequences("dexycb", made, "train")
    assert np.concatenate([s.indices for s in sequences]).tolist() == list(range(16))
    assert [s.key.split("/")[1:] for s in sequences][1] == ["20200709_141754", SERIALS[1]]


def test_a_missing_camera_still_counts_in_the_index_and_is_said(tree, caplog):
    shutil.rmtree(tree / trees.SUBJECT / trees.SEQUENCE / SERIALS[0])
    assert list_sequences("dexycb", tree, "train")[0].indices.tolist() == [4, 5, 6, 7]
    assert "1 camera folders of s0 train are not there" in caplog.text
    caplog.clear()
    shutil.rmtree(tree / trees.SUBJECT / trees.SEQUENCE)
    list_sequences("dexycb", tree, "train")
    assert "camera folders" not in caplog.text


def test_other_folders_in_a_subject_are_no_sequences(tree, caplog):
    before = [s.key for s in list_sequences("dexycb", tree, "train")]
    caplog.clear()
    (tree / trees.SUBJECT / "backup").mkdir()
    (tree / trees.SUBJECT / "20200709_141754.tar").write_bytes(b"")
    assert [s.key for s in list_sequences("dexycb", tree, "train")] == before
    assert "not in DexYCB's list" not in caplog.text


def test_a_sequence_without_its_meta_is_named(tree):
    (tree / trees.SUBJECT / trees.SEQUENCE / "meta.yml").unlink()
    with pytest.raises(InputError, match=r"20200709_141754/meta\.yml: No such file.*is the dataset complete"):
        list_sequences("dexycb", tree, "train")


@pytest.mark.parametrize(("place", "side"), [(0, "right"), (2, "left")])
def test_frames_speak_the_projects_conventions(made, place, side):
    sequence = list_sequences("dexycb", made, "train", mano="standin")[place]
    items: list[Any] = list(iter_frames(sequence))
    assert [type(item) for item in items] == [Frame, Unannotated, Frame, Frame]
    frame, truth = items[2], trees.posed(side, 2)
    assert (frame.side, frame.number, frame.sequence) == (side, 2, sequence.key)
    assert frame.image == f"{sequence.key}/color_000002.jpg"
    np.testing.assert_allclose(frame.mano_pose, truth.pose, atol=1e-6)
    np.testing.assert_allclose(frame.joints, truth.joints, atol=1e-6)
    np.testing.assert_allclose(frame.translation, truth.translation, atol=1e-7)
    np.testing.assert_allclose(frame.joints_2d, trees.projected(truth.joints), atol=1e-3)
    np.testing.assert_allclose(frame.intrinsics, trees.INTRINSICS)
    np.testing.assert_array_equal(frame.root, frame.joints[0])
    np.testing.assert_array_equal(frame.hand_mask, trees.hand_area(truth.vertices))


def test_absent_objects_are_left_out_and_the_held_one_is_found(made):
    frame = frames(made)[0]
    assert [o.name for o in frame.objects] == ["003_cracker_box"] and frame.grasped == 0
    np.testing.assert_allclose(frame.objects[0].pose, trees.object_pose(0), atol=1e-6)


def with_others(tree: Path, sides: str = "[left]") -> Path:
    """The first recording with another hand in its second frame with a hand (2), absent in the others."""
    meta = tree / trees.SUBJECT / trees.SEQUENCE / "meta.yml"
    meta.write_text(meta.read_text() + f"other_sides: {sides}\n")
    for path in meta.parent.glob("*/labels_*.npz"):
        truth = trees.posed("left", 7)
        row = np.concatenate([truth.pose[:3], truth.coefficients, truth.translation])[None].astype(np.float32)
        trees.change_label(path, other_pose_m=row if path.name == "labels_000002.npz" else np.zeros_like(row))
    return meta


def test_the_real_dataset_has_no_other_hands(made):
    assert all(not item.others for item in frames(made) if isinstance(item, Frame))


@pytest.mark.parametrize("from_json", [False, True])
def test_other_hands_in_fields_of_their_own_are_read_with_the_persons_shape(tree, tmp_path, from_json):
    with_others(tree)
    options = {}
    if from_json:
        options["annotations"] = tmp_path / "a.json"
        write_annotations("dexycb", tree, "train", "s0", "standin", options["annotations"])
    found = {f.image: f.others for f in frames(tree, **options) if isinstance(f, Frame)}
    having = {image for image, others in found.items() if others}
    assert having == {f"{trees.SUBJECT}/{trees.SEQUENCE}/{serial}/color_000002.jpg" for serial in SERIALS[:2]}
    (other,), truth = found[min(having)], trees.posed("left", 7)
    assert (other.side, other.vertices) == ("left", None)
    np.testing.assert_allclose(other.mano_pose, truth.pose, atol=1e-6)
    np.testing.assert_allclose(other.mano_shape, trees.BETAS)
    np.testing.assert_allclose(other.translation, truth.translation, atol=1e-7)


def test_what_is_wrong_with_other_hands_is_said(tree):
    meta = with_others(tree)
    path, text = first_label(tree, 2), meta.read_text()
    trees.change_label(path, other_pose_m=np.full((1, 51), np.nan, np.float32))
    trees.change_label(first_label(tree, 3), other_pose_m=np.zeros((2, 51), np.float32))
    failed = {Path(item.path).name: item.reason for item in frames(tree) if isinstance(item, Failure)}
    assert failed == {
        "labels_000002.npz": "not readable: other_pose_m is not finite",
        "labels_000003.npz": "not readable: other_pose_m has shape (2, 51), expected (1, 51)",
    }
    for sides, reason in (("[both]", "other_sides is 'both', expected right or left"), ("left", "expected a list")):
        meta.write_text(text.replace("other_sides: [left]", f"other_sides: {sides}"))
        assert any(reason in item.reason for item in frames(tree) if isinstance(item, Failure))


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"pose_m": np.zeros((1, 51), np.float32)}, NO_POSE),
        ({"joint_3d": np.full((1, 21, 3), -1, np.float32)}, NO_JOINTS),
        ({"joint_2d": np.full((1, 21, 2), -1, np.float32)}, NO_PIXELS),
    ],
)
def test_frames_without_a_hand_say_why(tree, arrays, reason):
    trees.change_label(first_label(tree), **arrays)
    item = frames(tree)[0]
    assert isinstance(item, Unannotated) and item.reason == reason


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:700])


def _nan(path: Path) -> None:
    trees.change_label(path, pose_m=np.full((1, 51), np.nan, np.float32))


def _shape(path: Path) -> None:
    trees.change_label(path, joint_3d=np.ones((1, 20, 3), np.float32))


def _pickle(path: Path) -> None:
    np.savez(path, pose_m=np.array([{}], dtype=object))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_truncate, "not readable"),
        (Path.unlink, "the file is missing"),
        (_nan, "pose_m is not finite"),
        (_shape, "joint_3d has shape"),
        (_pickle, "not readable"),
    ],
)
def test_a_damaged_label_file_is_a_failure_with_its_name(tree, damage, reason):
    damage(first_label(tree))
    items = frames(tree)
    assert isinstance(items[0], Failure) and items[0].path.endswith("labels_000000.npz") and reason in items[0].reason
    assert isinstance(items[2], Frame)


def test_no_flipped_bit_stops_a_run(tree):
    path = first_label(tree)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    sequence = list_sequences("dexycb", tree, "train", mano="standin")[0]
    told = set()
    for _ in range(500):
        content = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            content[rng.choice([rng.integers(300), rng.integers(len(whole)), -1 - rng.integers(400)])] ^= (
                1 << rng.integers(8)
            )
        path.write_bytes(bytes(content))
        item = next(iter_frames(sequence))
        assert isinstance(item, Frame | Failure)
        told |= {item.reason} if isinstance(item, Failure) else set()
    assert len(told) > 5 and all(reason.startswith("not readable: ") for reason in told)


def test_a_missing_photo_is_a_failure(tree):
    first_label(tree, 2).with_name("color_000002.jpg").unlink()
    assert [i.path for i in frames(tree) if isinstance(i, Failure)] == [
        f"{trees.SUBJECT}/{trees.SEQUENCE}/{SERIALS[0]}/color_000002.jpg"
    ]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            f"calibration/intrinsics/{SERIALS[0]}_640x480.yml",
            "color: {fx: 0, fy: 0, ppx: 1, ppy: 1}",
            "expected positive",
        ),
        (f"calibration/intrinsics/{SERIALS[0]}_640x480.yml", "depth: {fx: 1}", "color.fx is missing"),
        (
            "calibration/mano_20200709_140042_subject-01_right/mano.yml",
            "betas: [1, 2]",
            "betas has shape (2,), expected (10,)",
        ),
        ("calibration/mano_20200709_140042_subject-01_right/mano.yml", "betas:\n", "betas is missing"),
        ("calibration/mano_20200709_140042_subject-01_right/mano.yml", "\0\0\0", "not the plain YAML"),
        (f"{trees.SUBJECT}/{trees.SEQUENCE}/meta.yml", ("[14, 2]", "[99]"), "ycb_ids"),
        (f"{trees.SUBJECT}/{trees.SEQUENCE}/meta.yml", ("[14, 2]", ""), "ycb_ids is None"),
        (f"{trees.SUBJECT}/{trees.SEQUENCE}/meta.yml", ("ycb_grasp_ind: 1", "ycb_grasp_ind:"), "ycb_grasp_ind is None"),
        (f"{trees.SUBJECT}/{trees.SEQUENCE}/meta.yml", ("[right]", "[]"), "mano_sides is []"),
        (f"{trees.SUBJECT}/{trees.SEQUENCE}/meta.yml", ("_right']", "_left']"), "No such file or directory"),
    ],
)
def test_a_broken_calibration_fails_its_recordings_only(tree, file, text, message):
    path = tree / file
    path.write_text(text if isinstance(text, str) else path.read_text().replace(*text))
    failures = [item for item in frames(tree) if isinstance(item, Failure)]
    assert failures and all(message in f.reason and "(4 frames)" in f.reason for f in failures)
    assert all(path.name in f.reason or "mano.yml" in f.reason for f in failures)


@pytest.mark.parametrize(
    "change", [("num_frames: 4", "num_frames: four"), ("serials: [", "serials: {"), ("serials:", "x:")]
)
def test_a_meta_that_cannot_be_counted_is_named(tree, change):
    path = tree / trees.SUBJECT / trees.SEQUENCE / "meta.yml"
    path.write_text(path.read_text().replace(*change).replace("serials: {'", "serials: #'"))
    with pytest.raises(InputError, match=r"20200709_141754/meta\.yml: .*copy the file again"):
        list_sequences("dexycb", tree, "train")


def test_yaml_knows_tuples_and_runs_nothing(tree, tmp_path):
    poses = read_yaml(tree / "calibration/extrinsics_20200702_151821/extrinsics.yml")["extrinsics"]
    expected = np.hstack([np.eye(3), [[0], [0], [0.5]]])
    np.testing.assert_array_equal(np.reshape(poses[SERIALS[0]], (3, 4)), expected)
    hostile = tmp_path / "hostile.yml"
    hostile.write_text("a: !!python/object/apply:os.system ['touch /tmp/never']\n")
    with pytest.raises(InputError, match=r"hostile\.yml"):
        read_yaml(hostile)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "training"}, "--split training"),
        ({"setup": "s9"}, "--setup s9"),
        ({"root": "nowhere"}, "nowhere: no such folder"),
    ],
)
def test_wrong_options_are_named(made, options, message):
    arguments = {"root": made, "split": "train"} | options
    with pytest.raises(InputError, match=message):
        list_sequences("dexycb", **arguments)


def test_an_empty_root_says_what_was_expected(tmp_path):
    with pytest.raises(InputError, match=r"no subject folders such as 20200709-subject-01"):
        list_sequences("dexycb", tmp_path, "train")


def test_listing_needs_no_hand_but_frames_do(made):
    with pytest.raises(InputError, match=r"mano=FOLDER"):
        list(iter_frames(list_sequences("dexycb", made, "train")[0]))
