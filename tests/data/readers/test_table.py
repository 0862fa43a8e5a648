"""Tables: every number comes back, what is left out is worked out, every bad row is named by its number."""

import re
import sys

import numpy as np
import pytest
import raw_trees as raw
import table_trees as trees
from h2onet.data.datasets import iter_frames, list_sequences, refuse_foreign
from h2onet.data.frame import Failure, Frame, Unannotated
from h2onet.data.readers.table import open_table
from h2onet.errors import InputError
from h2onet.hand.basis import hand_basis


def items(root, split="train"):
    sequences = list_sequences("table", root, split, mano="standin")
    return [item for sequence in sequences for item in iter_frames(sequence)]


def frames(root, split="train") -> list[Frame]:
    found = items(root, split)
    assert all(isinstance(item, Frame) for item in found), found
    return found


def only(root) -> Frame:
    (found,) = frames(root)
    return found


def test_every_number_comes_back(tmp_path):
    truth = raw.posed("left", 3)
    pixels, pose = raw.projected(truth.joints) + 0.125, raw.object_pose(3)
    full = trees.row(
        3,
        "left",
        camera="c1",
        subject="anna",
        index=71,
        intrinsics=raw.INTRINSICS.tolist(),
        joints=truth.joints.tolist(),
        joints_2d=pixels.tolist(),
        wrist=truth.joints[0].tolist(),
        box=[1.0, 2.0, 30.5, 40.0],
        objects=[{"name": "mug", "pose": raw.object_pose(1).tolist()}, {"name": "box", "pose": pose.ravel().tolist()}],
        grasped=1,
    )
    frame = only(trees.write(tmp_path / "t", [full]))
    assert (frame.dataset, frame.sequence, frame.number, frame.index) == ("mine", "one/c1", 3, 71)
    assert (frame.image, frame.side, frame.width, frame.height) == ("photos/0003.jpg", "left", 640, 480)
    expected = {
        "intrinsics": raw.INTRINSICS,
        "mano_pose": truth.pose,
        "mano_shape": raw.BETAS,
        "translation": truth.translation,
        "joints": truth.joints,
        "joints_2d": pixels,
        "root": truth.joints[0],
        "box": np.array([1.0, 2.0, 30.5, 40.0]),
    }
    for name, value in expected.items():
        np.testing.assert_array_equal(getattr(frame, name), value, err_msg=name)
    assert [each.name for each in frame.objects] == ["mug", "box"] and frame.grasped == 1
    np.testing.assert_array_equal(frame.objects[1].pose, pose)
    assert frame.vertices is None and frame.hand_mask is None and frame.others == ()


@pytest.mark.parametrize("side", ["right", "left"])
def test_what_follows_from_the_rest_is_worked_out(tmp_path, side):
    truth = raw.posed(side, 2)
    wrist = trees.row(2, side, translation=None, wrist=truth.joints[0].tolist())
    placed = trees.row(2, side, sequence="two", image="photos/b.jpg")
    jointed = trees.row(2, side, sequence="three", image="photos/c.jpg", translation=None, joints=truth.joints.tolist())
    for frame in frames(trees.write(tmp_path / "t", [wrist, placed, jointed])):
        np.testing.assert_allclose(frame.translation, truth.translation, atol=1e-9)
        np.testing.assert_allclose(frame.joints, truth.joints, atol=1e-9)
        np.testing.assert_allclose(frame.joints_2d, raw.projected(truth.joints), atol=1e-6)
        np.testing.assert_allclose(frame.root, truth.joints[0], atol=1e-9)


@pytest.mark.parametrize("side", ["right", "left"])
def test_components_and_mean_are_added_where_the_table_says_so(tmp_path, side):
    truth, basis = raw.posed(side, 2), hand_basis("standin", side)
    turn, fingers = truth.pose[:3], truth.pose[3:]
    whole = [*turn, *truth.coefficients]
    few = [*turn, *truth.coefficients[:20]]
    cases = [
        (truth.pose, {}, truth.pose),
        (np.r_[turn, fingers - basis.mean], {"flat_hand_mean": False}, truth.pose),
        (whole, {"pca": 45}, truth.pose),
        (whole, {"pca": 45, "flat_hand_mean": True}, np.r_[turn, fingers - basis.mean]),
        (few, {"pca": 20}, np.r_[turn, basis.mean + truth.coefficients[:20] @ basis.components[:20]]),
    ]
    for number, (given, keys, expected) in enumerate(cases):
        root = trees.write(tmp_path / str(number), [trees.row(2, side, mano_pose=list(map(float, given)))], **keys)
        np.testing.assert_allclose(only(root).mano_pose, expected, atol=1e-12, err_msg=str(keys))


def test_joints_in_manos_order_are_turned(tmp_path):
    truth = raw.posed("right", 1)
    given = trees.row(1, joints=truth.joints[raw.TO_HO3D].tolist(), translation=None)
    np.testing.assert_array_equal(only(trees.write(tmp_path / "t", [given], joint_order="mano")).joints, truth.joints)


def test_meshes_without_a_pose(tmp_path):
    truth = raw.posed("right", 1)
    bare = {"mano_pose": None, "mano_shape": None, "translation": None}
    given = trees.row(1, **bare, vertices=truth.vertices.tolist(), joints=truth.joints.tolist())
    (sequence,) = list_sequences("table", trees.write(tmp_path / "t", [given]), "train", mano="standin")
    (frame,) = iter_frames(sequence)
    assert isinstance(frame, Frame) and sequence.facts is not None and sequence.facts.vertices
    assert frame.mano_pose is None and frame.translation is None
    np.testing.assert_array_equal(frame.vertices, truth.vertices)


def test_masks_by_colour_side_and_size(tmp_path):
    hand = raw.hand_area(raw.posed("right", 0).vertices)
    hand[::2] &= hand[1::2]  # whole pixels of a half-size mask
    hand = np.repeat(np.repeat(hand[::2, ::2], 2, axis=0), 2, axis=1)
    rows = [trees.row(i, mask=f"m/{i}.png", image=f"photos/{i}.jpg", frame=i) for i in range(5)]
    rows[1]["mask_value"] = [255, 0, 0]
    rows[2]["mask_value"] = 7
    root = trees.write(tmp_path / "t", rows)
    trees.write_mask(root / "m/0.png", hand)
    trees.write_mask(root / "m/1.png", hand, (255, 0, 0))
    trees.write_mask(root / "m/2.png", hand, 7, rest=8)
    trees.write_mask(root / "m/3.png", hand[::2, ::2])
    (root / "m/4.png").write_bytes((root / "m/0.png").read_bytes()[:-8])
    found = items(root)
    for frame in found[:4]:
        np.testing.assert_array_equal(frame.hand_mask, hand)
    assert isinstance(found[4], Failure) and "row 5" in found[4].reason and found[4].path == "m/4.png"
    assert isinstance(found[5], Frame) and found[5].hand_mask is None and len(found) == 6
    coloured = trees.write(tmp_path / "c", [trees.row(0, mask="m.png")], mask={"right": [0, 200, 0], "tolerance": 9})
    trees.write_mask(coloured / "m.png", hand, (4, 205, 0))
    np.testing.assert_array_equal(only(coloured).hand_mask, hand)
    trees.write_mask(coloured / "m.png", hand, (4, 215, 0))
    assert not only(coloured).hand_mask.any()


def test_two_hands_of_a_photo_see_each_other_and_have_sequences_of_their_own(tmp_path):
    rows = [trees.row(n, side) for n in (1, 0) for side in ("right", "left")]
    rows.append(trees.row(2, "right", unannotated="hand out of sight"))
    sequences = list_sequences("table", trees.write(tmp_path / "t", rows), "train", mano="standin")
    assert [each.key for each in sequences] == ["one/right", "one/left"]
    assert [each.numbers.tolist() for each in sequences] == [[0, 1, 2], [0, 1]]
    assert [each.indices.tolist() for each in sequences] == [[2, 0, 4], [3, 1]]
    right, left = (list(iter_frames(each)) for each in sequences)
    assert right.pop() == Unannotated("photos/0002.jpg", "hand out of sight")
    for own, other, side in ((right, left, "left"), (left, right, "right")):
        for frame, opposite in zip(own, other, strict=True):
            (seen,) = frame.others
            assert seen.side == side
            np.testing.assert_array_equal(seen.mano_pose, opposite.mano_pose)
            np.testing.assert_array_equal(seen.translation, opposite.translation)
    third = trees.row(0, "left", hand="guest")
    sequences = list_sequences("table", trees.write(tmp_path / "u", [*rows, third]), "train", mano="standin")
    assert [each.key for each in sequences] == ["one/right", "one/left", "one/guest"]
    assert [len(frame.others) for frame in iter_frames(sequences[2])] == [2]


def test_splits_by_row_by_pattern_and_by_default(tmp_path):
    rows = [trees.row(0, sequence=name, image=f"photos/{name}.jpg") for name in ("s1/a", "s1/b", "s2/a")]
    rows[0]["split"] = "test"
    root = trees.write(tmp_path / "t", rows, splits={"val": ["s2/*"], "train": ["s1/*"]})
    assert [[f.sequence for f in frames(root, s)] for s in ("train", "val", "test")] == [["s1/b"], ["s2/a"], ["s1/a"]]
    root = trees.write(tmp_path / "u", rows, split="val")
    assert [f.sequence for f in frames(root, "val")] == ["s1/b", "s2/a"]
    with pytest.raises(InputError, match="no row is of split train; its rows are of val, test"):
        list_sequences("table", root, "train")


def test_photos_may_lie_elsewhere_and_tell_their_own_size(tmp_path):
    root = trees.write(tmp_path / "t", [trees.row(0), trees.row(1, width=320, height=200)], size=None, photos="p")
    (root / "photos").rename(tmp_path / "photos")
    with pytest.raises(InputError, match="holds none of the photos"):
        list_sequences("table", root, "train")
    toml = root / "dataset.toml"
    toml.write_text(toml.read_text().replace('"p"', '".."'))
    first, second = frames(root)
    assert (first.width, first.height) == (640, 480) and (second.width, second.height) == (320, 200)
    assert list_sequences("table", root, "train")[0].root == str(tmp_path)


BAD = [
    ({"mano_pose": [float("nan")] * 48}, "mano_pose is not finite"),
    ({"mano_pose": [0.0] * 47}, r"mano_pose has shape \(47,\), expected \(48,\)"),
    ({"mano_pose": [0.0] * 47 + ["a"]}, "mano_pose is not numbers"),
    ({"mano_shape": None}, "mano_shape is missing"),
    ({"translation": None}, "translation: expected it, the wrist or joints"),
    ({"mano_pose": None, "translation": None}, "neither mano_pose nor"),
    ({"intrinsics": [1.0, 2.0]}, "intrinsics has shape"),
    ({"intrinsics": None}, "intrinsics is missing"),
    ({"intrinsics": [-600.0, 600.0, 320.0, 240.0]}, "focal lengths"),
    ({"joints": [[0.0, 0.0, float("inf")]] * 21}, "joints is not finite"),
    ({"image": "/etc/passwd"}, "image is '/etc/passwd', expected a path"),
    ({"image": "../other/0.jpg"}, "stays below its folder"),
    ({"image": "photos/gone.jpg"}, "the photo is missing"),
    ({"width": 640}, "expected both or neither"),
    ({"objects": [{"name": "../mug", "pose": [0.0] * 12}]}, "name of an object"),
    ({"objects": [{"name": "mug", "pose": [0.0] * 11}]}, "pose of object mug"),
    ({"objects": "mug"}, "objects"),
    ({"grasped": 0}, "grasped is 0"),
    ({"mask_value": 256}, "mask_value"),
]


@pytest.mark.parametrize(("change", "words"), BAD, ids=[words[:30] for _, words in BAD])
def test_a_bad_row_is_a_failure_that_names_it(tmp_path, change, words):
    rows = [trees.row(0), trees.row(1, **change), trees.row(2)]
    root = trees.write(tmp_path / "t", rows)
    (root / "photos/gone.jpg").unlink(missing_ok=True)
    first, failure, last = items(root)
    assert isinstance(first, Frame) and isinstance(last, Frame) and isinstance(failure, Failure)
    assert failure.reason.startswith("frames.jsonl row 2: ") and "\n" not in failure.reason
    assert re.search(words, failure.reason), failure.reason


def test_a_mask_that_leaves_its_folder_is_not_read(tmp_path):
    failure, frame = items(trees.write(tmp_path / "t", [trees.row(0, mask="../../mask.png")]))
    assert isinstance(failure, Failure) and "row 1" in failure.reason and isinstance(frame, Frame)


def test_the_fault_of_the_other_hand_is_one_of_the_photo(tmp_path):
    bad = trees.row(0, "left", mano_shape=[0.0] * 9)
    first, second = items(trees.write(tmp_path / "t", [trees.row(0), bad]))
    assert isinstance(first, Failure) and isinstance(second, Failure)
    assert first.reason == second.reason and "row 2: mano_shape" in first.reason


LISTING = [
    ('{"sequence": "one"}', "row 2: .*missing required field `frame`"),
    ("", "row 2: is empty"),
    ("{", "row 2: is no row as JSON"),
    ("[]", "row 2: is no row as JSON"),
    ({"side": "both"}, "row 2: .*side"),
    ({"split": "training"}, "row 2: .*split"),
    ({"frame": -1}, "row 2: frame is -1"),
    ({"frame": 1.5}, "row 2: .*frame"),
    ({"sequence": "../up"}, "row 2: sequence is '../up'"),
    ({"camera": "a/b"}, "row 2: camera is 'a/b'"),
    ({"frame": 0}, "row 2 repeats row 1: frame 0 of sequence one"),
]


@pytest.mark.parametrize(("change", "words"), LISTING, ids=[words[:30] for _, words in LISTING])
def test_a_row_that_cannot_be_listed_ends_the_run_in_one_line(tmp_path, change, words):
    second = change if isinstance(change, str) else trees.row(1) | change
    root = trees.write(tmp_path / "t", [trees.row(0), second])
    with pytest.raises(InputError, match=words) as caught:
        list_sequences("table", root, "train")
    assert "frames.jsonl" in str(caught.value) and "\n" not in str(caught.value)


KEYS = [
    ({"units": None}, "missing required field `units`"),
    ({"units": "mm"}, "divide millimetres by 1000"),
    ({"axes": "opengl"}, "negate y and z"),
    ({"camera": "fisheye"}, "undistort"),
    ({"name": "dexycb"}, "name of its own"),
    ({"name": "a/b"}, "name is 'a/b'"),
    ({"colour": 1}, "unknown field `colour`"),
    ({"pca": 46}, "pca"),
    ({"mask": {"right": 256}}, "mask.right"),
    ({"mask": {"both": 1}}, "both"),
    ({"window": {"past": [10, 5]}}, "increasing"),
    ({"window": {"past": [5], "jitter": [1.0, 2.0]}}, "increasing"),
    ({"splits": {"training": ["a"]}}, "splits"),
    ({"joint_order": "openpose"}, "joint_order"),
    ({"size": [0, 480]}, "size"),
]


@pytest.mark.parametrize(("keys", "words"), KEYS, ids=[words[:24] for _, words in KEYS])
def test_a_wrong_dataset_toml_is_one_line(tmp_path, keys, words):
    root = trees.write(tmp_path / "t", [trees.row(0)], **keys)
    with pytest.raises(InputError, match=words) as caught:
        list_sequences("table", root, "train")
    assert "dataset.toml" in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_that_is_no_table(tmp_path):
    (tmp_path / "t").mkdir()
    with pytest.raises(InputError, match=r"dataset\.toml: No such file"):
        list_sequences("table", tmp_path / "t", "train")
    root = trees.write(tmp_path / "u", [trees.row(0)])
    (root / "frames.parquet").touch()
    with pytest.raises(InputError, match="found both"):
        list_sequences("table", root, "train")
    with pytest.raises(InputError, match="annotations of its own"):
        list_sequences("table", root, "train", annotations="a.json")
    with pytest.raises(InputError, match="lies inside the dataset"):
        refuse_foreign(root / "out.png", "--out")


def test_columns_that_nobody_reads_are_named(tmp_path, caplog):
    list_sequences("table", trees.write(tmp_path / "t", [trees.row(0, mano_poze=[1.0])]), "train")
    assert "not read: 'mano_poze'" in caplog.text


def test_the_window_is_the_tables(tmp_path):
    def window(folder: str, **keys) -> tuple:
        facts = open_table(trees.write(tmp_path / folder, [trees.row(0)], **keys)).facts
        return facts.past, facts.jitter

    assert window("t") == ((5, 10), (4.0, 2.0))
    assert window("u", window={"past": [3], "jitter": [0.5]}) == ((3,), (0.5,))
    assert window("v", window={"past": []}) == ((), ())


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    root = trees.write(tmp_path / "t", [trees.row(0)])
    (root / "frames.jsonl").rename(root / "frames.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"frames\.parquet: needs pyarrow; run: pip install 'h2onet\[table\]'"):
        list_sequences("table", root, "train")


def test_a_parquet_that_is_none(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: no parquet")
    root = trees.write(tmp_path / "t", [trees.row(0)])
    (root / "frames.jsonl").rename(root / "frames.parquet")
    with pytest.raises(InputError, match="no whole Parquet file"):
        list_sequences("table", root, "train")


@pytest.mark.parametrize("group", [1, 2, 100])
def test_parquet_gives_the_frames_of_the_lines(tmp_path, group):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: no parquet")
    pq = pytest.importorskip("pyarrow.parquet")
    rows = [trees.row(n, side, index=None) for n in range(3) for side in ("right", "left")]
    rows[4] |= {"objects": [{"name": "mug", "pose": raw.object_pose(1).tolist()}], "grasped": 0}
    rows[5]["mano_pose"] = [float("nan")] * 48
    lines = trees.write(tmp_path / "t", rows)
    columns = trees.write(tmp_path / "u", rows)
    (columns / "frames.jsonl").unlink()
    pq.write_table(pa.Table.from_pylist(rows), columns / "frames.parquet", row_group_size=group)
    expected, found = items(lines), items(columns)
    assert len(expected) == len(found) == 6
    for a, b in zip(expected, found, strict=True):
        if isinstance(a, Failure):
            assert isinstance(b, Failure) and b.path == a.path
            assert b.reason == a.reason.replace("frames.jsonl", "frames.parquet")
            continue
        assert (a.sequence, a.number, a.index, a.image) == (b.sequence, b.number, b.index, b.image)
        for name in ("mano_pose", "translation", "joints", "joints_2d", "intrinsics"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert [each.name for each in a.objects] == [each.name for each in b.objects]
    assert {type(item) for item in found} == {Frame, Failure}
