"""HandOccNet's annotation JSON: scanning huge files, reading equals the raw tree, writing equals what was written."""

import json
import logging
import random
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import raw_trees as trees
from h2onet.data.annotations import write_annotations
from h2onet.data.datasets import iter_frames, list_sequences
from h2onet.data.frame import Failure, Frame, Unannotated
from h2onet.data.readers import json_scan
from h2onet.data.readers.dexycb_splits import SERIALS
from h2onet.data.readers.handoccnet_index import index_annotations
from h2onet.errors import InputError
from h2onet.hand.mano import load_hand
from hypothesis import given, settings
from hypothesis import strategies as st

_json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text('ab"\\{}[]é', max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('k"\\{', max_size=2), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("scan")


@settings(max_examples=80, deadline=None)
@given(
    images=st.lists(st.dictionaries(st.text("abc", max_size=2), _json, max_size=3), max_size=4),
    annotations=st.lists(st.lists(_json, max_size=3), max_size=4),
    info=_json.filter(lambda value: not isinstance(value, list | dict)),
    block=st.integers(1, 60),
    indent=st.sampled_from([None, 1]),
)
def test_scanning_finds_every_entry_whatever_the_blocks(scratch, images, annotations, info, block, indent):
    path = scratch / "any.json"
    content = {"images": images, "info": info, "numbers": [1, 2], "annotations": annotations, "end": "x"}
    path.write_text(json.dumps(content, indent=indent, ensure_ascii=False), "utf-8")
    raw, found = path.read_bytes(), {"images": [], "annotations": []}
    before = json_scan.BLOCK
    json_scan.BLOCK = block
    try:
        for key, start, end, entry in json_scan.scan_entries(path):
            assert raw[start:end] == bytes(entry)
            found[key].append(json.loads(bytes(entry)))
    finally:
        json_scan.BLOCK = before
    assert found == {"images": images, "annotations": annotations}


@pytest.mark.parametrize("cut", [1, 7, 200])
def test_a_truncated_file_is_named(tmp_path, cut):
    path = tmp_path / "cut.json"
    path.write_text(json.dumps({"images": [{"id": i} for i in range(90)]})[:-cut])
    with pytest.raises(InputError, match=r"cut\.json: ends in the middle"):
        list(json_scan.scan_entries(path))


@pytest.fixture(scope="module")
def dexycb(tmp_path_factory) -> Path:
    recordings = {
        ("20200709-subject-01", "20200709_141754"): "right",
        ("20200709-subject-01", "20200709_141931"): "left",
    }
    return trees.write_dexycb(tmp_path_factory.mktemp("dexycb"), recordings, SERIALS[:2])


@pytest.fixture(scope="module")
def ho3d(tmp_path_factory) -> Path:
    return trees.write_ho3d(tmp_path_factory.mktemp("ho3d"))


@pytest.fixture(scope="module")
def dexycb_json(dexycb, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("json") / "DEX_YCB_s0_train_data.json"
    assert write_annotations("dexycb", dexycb, "train", "s0", "standin", out).annotations == 12
    return out


def frames(dataset, root, split, annotations="raw") -> list[Any]:
    sequences = list_sequences(dataset, root, split, annotations=annotations, mano="standin")
    return [item for sequence in sequences for item in iter_frames(sequence)]


def assert_same(a: Frame, b: Frame) -> None:
    assert (a.image, a.side, a.number, a.index, a.sequence, a.grasped) == (
        b.image,
        b.side,
        b.number,
        b.index,
        b.sequence,
        b.grasped,
    )
    for name in (
        "mano_pose",
        "mano_shape",
        "translation",
        "joints",
        "joints_2d",
        "root",
        "intrinsics",
        "box",
        "hand_mask",
    ):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None), name
        if x is not None:
            np.testing.assert_allclose(x.astype(float), y.astype(float), atol=2e-6, err_msg=name)
    assert [o.name for o in a.objects] == [o.name for o in b.objects]


def test_dexycb_json_gives_the_frames_of_the_raw_tree(dexycb, dexycb_json):
    raw: list[Any] = [item for item in frames("dexycb", dexycb, "train") if isinstance(item, Frame)]
    from_json = frames("dexycb", dexycb, "train", dexycb_json)
    assert len(raw) == len(from_json) == 12
    for a, b in zip(raw, from_json, strict=True):
        assert_same(a, b)


def test_dexycb_json_has_exactly_the_fields_of_handoccnets(dexycb, dexycb_json):
    content = json.loads(dexycb_json.read_text())
    assert set(content) == {"images", "annotations"}
    image, annotation = content["images"][1], content["annotations"][1]
    assert set(image) == {"id", "file_name", "width", "height"} and image["id"] == annotation["image_id"] == 2
    assert image["file_name"] == f"{trees.SUBJECT}/{trees.SEQUENCE}/{SERIALS[0]}/color_000002.jpg"
    assert set(annotation) == {
        *("id", "image_id", "joints_coord_cam", "joints_img", "cam_param", "hand_type", "mano_param"),
    }
    truth, model = trees.posed("right", 2), load_hand("standin", "right")
    expected = np.concatenate([truth.pose[:3], truth.coefficients @ model.hands_components])
    np.testing.assert_allclose(annotation["mano_param"]["pose"], expected, atol=1e-6)
    np.testing.assert_allclose(annotation["mano_param"]["shape"], trees.BETAS)
    assert annotation["cam_param"] == {"focal": [trees.FX, trees.FY], "princpt": [trees.CX, trees.CY]}


@pytest.mark.parametrize("split", ["train", "test"])
def test_ho3d_json_follows_the_list_and_gives_the_raw_frames(ho3d, tmp_path, split):
    out = tmp_path / "ho3d.json"
    lines = (ho3d / ("train.txt" if split == "train" else "evaluation.txt")).read_text().split()
    assert write_annotations("ho3d-v2", ho3d, split, "", "standin", out).annotations == len(lines)
    content = json.loads(out.read_text())
    assert [image["file_name"] for image in content["images"]] == [
        line.replace("/", "/rgb/") + ".png" for line in lines
    ]
    assert [annotation["image_id"] for annotation in content["annotations"]] == list(range(len(lines)))
    fields = {"joints_coord_cam", "mano_param"} if split == "train" else {"root_joint_cam", "bbox"}
    assert set(content["annotations"][0]) == {"id", "image_id", "cam_param"} | fields
    for part in ("train", "val") if split == "train" else ("test",):
        for a, b in zip(frames("ho3d-v2", ho3d, part), frames("ho3d-v2", ho3d, part, out), strict=True):
            assert_same(a, b)


def test_the_wrong_ho3d_file_is_named(ho3d, tmp_path):
    write_annotations("ho3d-v2", ho3d, "test", "", "standin", tmp_path / "e.json")
    with pytest.raises(InputError, match=r"e\.json: is the evaluation file, but --split is train"):
        list_sequences("ho3d-v2", ho3d, "train", annotations=tmp_path / "e.json")


def test_released_ground_truth_goes_with_the_json_too(tmp_path):
    root = trees.write_ho3d(tmp_path / "ho3d")
    write_annotations("ho3d-v2", root, "test", "", "standin", tmp_path / "e.json")
    trees.write_released(root)
    for frame in frames("ho3d-v2", root, "test", tmp_path / "e.json"):
        truth = trees.posed("right", frame.number, "ho3d")
        np.testing.assert_allclose(frame.vertices, truth.vertices, atol=1e-9)


def test_any_order_of_entries_is_read_alike(dexycb, dexycb_json, tmp_path):
    content = json.loads(dexycb_json.read_text())
    random.Random(5).shuffle(content["annotations"])
    shuffled = tmp_path / "shuffled.json"
    shuffled.write_text(json.dumps({"annotations": content["annotations"], "images": content["images"]}, indent=1))
    for a, b in zip(
        frames("dexycb", dexycb, "train", dexycb_json), frames("dexycb", dexycb, "train", shuffled), strict=True
    ):
        assert_same(a, b)


def test_images_without_annotation_are_counted(dexycb, dexycb_json, tmp_path):
    content = json.loads(dexycb_json.read_text())
    del content["annotations"][3]
    (tmp_path / "less.json").write_text(json.dumps(content))
    items = frames("dexycb", dexycb, "train", tmp_path / "less.json")
    assert [type(item) for item in items].count(Unannotated) == 1


def test_a_json_of_another_split_is_warned_about(dexycb, dexycb_json, caplog):
    with caplog.at_level(logging.WARNING):
        list_sequences("dexycb", dexycb, "test", annotations=dexycb_json)
    assert "4 of 4 camera recordings are not of s0 test" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["annotations"].append(c["annotations"][0]), "two annotations"),
        (lambda c: c["images"].append(c["images"][0]), "occurs twice"),
        (lambda c: c["annotations"][0].update(image_id=999), "names image 999"),
        (lambda c: c["images"][0].update(file_name="a.jpg"), "expected SUBJECT/SEQUENCE/SERIAL"),
        (lambda c: c["images"][0].update(width=320), "expected 640x480"),
        (lambda c: c["images"][0].pop("id"), "entry 1 is not"),
        (lambda c: c.update(annotations=[]), "0 annotations"),
    ],
)
def test_broken_files_are_named(dexycb_json, tmp_path, change, message):
    content = json.loads(dexycb_json.read_text())
    change(content)
    (tmp_path / "broken.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message) as caught:
        index_annotations(tmp_path / "broken.json", "dexycb")
    assert "broken.json" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: a["mano_param"].update(pose=[0.0] * 47), "mano_param.pose has shape (47,), expected (48,)"),
        (lambda a: a["cam_param"].update(focal=[0.0, 0.0]), "cam_param has focal lengths 0, 0, expected positive"),
        (lambda a: a.update(mano_param=None), "mano_param is missing"),
        (lambda a: a.pop("mano_param"), "mano_param is missing"),
        (lambda a: a.update(joints_coord_cam=None), "joints_coord_cam is missing"),
        (lambda a: a["mano_param"]["pose"].__setitem__(5, None), "is not what HandOccNet's files have"),
        (lambda a: a.update(hand_type=None), "is not what HandOccNet's files have"),
        (lambda a: a.update(hand_type="both"), "hand_type is 'both', expected right or left"),
        (lambda a: a["joints_img"].pop(), "joints_img has shape (20, 2), expected (21, 2)"),
        (lambda a: a["joints_img"][0].pop(), "joints_img is not numbers of shape (21, 2)"),
    ],
)
def test_a_bad_annotation_fails_its_frame_only(dexycb, dexycb_json, tmp_path, change, reason):
    content = json.loads(dexycb_json.read_text())
    change(content["annotations"][1])
    (tmp_path / "bad.json").write_text(json.dumps(content))
    items = frames("dexycb", dexycb, "train", tmp_path / "bad.json")
    (failure,) = [item for item in items if isinstance(item, Failure)]
    assert failure.path == content["images"][1]["file_name"] and reason in failure.reason
    assert sum(isinstance(item, Frame) for item in items) == 11


def test_joints_that_are_null_are_projected(dexycb, dexycb_json, tmp_path):
    content = json.loads(dexycb_json.read_text())
    for annotation in content["annotations"]:
        annotation["joints_img"] = None
    (tmp_path / "null.json").write_text(json.dumps(content))
    for a, b in zip(
        frames("dexycb", dexycb, "train", dexycb_json),
        frames("dexycb", dexycb, "train", tmp_path / "null.json"),
        strict=True,
    ):
        np.testing.assert_allclose(a.joints_2d, b.joints_2d, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.update(cam_param={"f": 1}), r"first\.json: the annotation is not .* other file"),
        (lambda a: a["joints_coord_cam"][0].__setitem__(2, -0.6), r"behind the camera \(z = -0\.6 m\): OpenGL axes"),
    ],
)
def test_a_file_of_another_kind_is_refused_by_its_first_annotation(dexycb, dexycb_json, tmp_path, change, message):
    content = json.loads(dexycb_json.read_text())
    change(content["annotations"][0])
    (tmp_path / "first.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        list_sequences("dexycb", dexycb, "train", annotations=tmp_path / "first.json")


@pytest.mark.parametrize("dataset", ["dexycb", "ho3d-v2"])
def test_a_json_beside_the_wrong_root_is_refused(dexycb_json, ho3d, tmp_path, dataset):
    path = dexycb_json
    if dataset == "ho3d-v2":
        path = write_annotations("ho3d-v2", ho3d, "test", "", "standin", tmp_path / "e.json").out
    (tmp_path / "other").mkdir()
    split = "train" if dataset == "dexycb" else "test"
    with pytest.raises(InputError, match=rf"other: has none of the recordings of .*{path.name}, for example .*--root"):
        list_sequences(dataset, tmp_path / "other", split, annotations=path)


def test_without_label_files_masks_are_failures_and_frames_stay(dexycb_json, tmp_path):
    recordings = {
        ("20200709-subject-01", "20200709_141754"): "right",
        ("20200709-subject-01", "20200709_141931"): "left",
    }
    root = trees.write_dexycb(tmp_path / "tree", recordings, SERIALS[:2])
    for path in root.rglob("labels_000002.npz"):
        path.unlink()
    items = frames("dexycb", root, "train", dexycb_json)
    assert sum(isinstance(item, Failure) for item in items) == 4
    assert [f.hand_mask is None for f in items if isinstance(f, Frame)].count(True) == 4


def test_the_file_appears_whole_or_not_at_all(dexycb, tmp_path):
    with pytest.raises(InputError, match="lies inside the dataset"):
        write_annotations("dexycb", dexycb, "train", "s0", "standin", dexycb / "annotations" / "x.json")
    assert not (dexycb / "annotations").exists()
    with pytest.raises(InputError):
        write_annotations("dexycb", dexycb, "val", "s0", "standin", tmp_path / "x.json")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_replaced_only_when_told_to(dexycb, tmp_path):
    out = tmp_path / "a.json"
    out.write_text("precious")
    with pytest.raises(InputError, match=r"a\.json: exists; add --overwrite"):
        write_annotations("dexycb", dexycb, "train", "s0", "standin", out)
    with pytest.raises(InputError, match="no such folder"):
        write_annotations("dexycb", tmp_path / "nowhere", "train", "s0", "standin", out, overwrite=True)
    assert out.read_text() == "precious"
    write_annotations("dexycb", dexycb, "train", "s0", "standin", out, overwrite=True)
    assert len(json.loads(out.read_text())["images"]) == 12
    with pytest.raises(InputError, match="is a folder"):
        write_annotations("dexycb", dexycb, "train", "s0", "standin", tmp_path, overwrite=True)
    with pytest.raises(InputError, match=r"a\.json is a file, not a folder"):
        write_annotations("dexycb", dexycb, "train", "s0", "standin", out / "b" / "c.json")


def test_frames_that_cannot_be_read_are_listed_and_left_out(dexycb, tmp_path):
    root = shutil.copytree(dexycb, tmp_path / "tree")
    name = f"{trees.SUBJECT}/{trees.SEQUENCE}/{SERIALS[0]}/labels_000002.npz"
    (root / name).write_bytes(b"no zip")
    done = write_annotations("dexycb", root, "train", "s0", "standin", tmp_path / "out" / "a.json")
    assert (done.annotations, done.failures) == (11, 1) and "1 frames cannot be read" in str(done)
    (row,) = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines()]
    assert (row["store"], row["file"]) == ("a.json", name) and row["reason"]
    shutil.copy(dexycb / name, root / name)
    write_annotations("dexycb", root, "train", "s0", "standin", tmp_path / "out" / "a.json", overwrite=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.json"]


_FULL = """
    import resource, sys
    from h2onet.data.annotations import write_annotations
    from h2onet.errors import InputError
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
    try:
        write_annotations("dexycb", sys.argv[1], "train", "s0", "standin", sys.argv[2])
    except InputError as error:
        print(error)
"""


def test_a_full_disk_is_one_line_and_leaves_nothing(dexycb, tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(_FULL), str(dexycb), str(tmp_path / "a.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{tmp_path}/a.json: File too large") and len(done.stdout.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_pycocotools_reads_it(dexycb_json):
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed").COCO(str(dexycb_json))
    for annotation in coco.anns.values():
        assert coco.loadImgs(annotation["image_id"])[0]["width"] == 640


def test_the_golden_json_is_read_like_the_golden_tree(golden):
    root = golden / "labels/DEX_YCB"
    mano = golden / "labels/mano"
    path = root / "annotations/DEX_YCB_s0_test_data.json"
    sequences = [list_sequences("dexycb", root, "test", annotations=kind, mano=mano) for kind in ("raw", path)]
    found: list[list[Any]] = [[f for s in some for f in iter_frames(s) if isinstance(f, Frame)] for some in sequences]
    assert list(map(len, found)) == [20, 20]
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a.mano_pose, b.mano_pose, atol=1e-6)
        np.testing.assert_allclose(a.translation, b.translation, atol=1e-6)
        np.testing.assert_array_equal(a.hand_mask, b.hand_mask)
