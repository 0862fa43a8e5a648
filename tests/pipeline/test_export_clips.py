"""Exports of clips: what other tools read back is what the store holds; nothing half-written, nothing overwritten."""

import importlib.util
import json
import shutil
import tarfile

import clip_scene
import cv2
import numpy as np
import pytest
from cli_trees import contents, h2o
from h2onet.data.clips import ClipStore
from h2onet.hand.parts import JOINT_NAMES
from h2onet.pipeline.build_clips import build_clips
from h2onet.pipeline.export_clips import FORMATS, export_clips
from h2onet.pipeline.exports.names import dotless, frame_stems
from h2onet.pipeline.exports.webdataset import write_shards
from h2onet.pipeline.labels.columns import flat_names

WITHOUT_PACKAGES = [name for name, chosen in FORMATS.items() if not chosen.needs]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """21 labelled frames in two sequences, one left hand's sequence among them that leaves the photo."""
    folder = tmp_path_factory.mktemp("clips")
    scene = clip_scene.Scene(place=(-0.28, -0.02, 0.6), left=True)
    build_clips(clip_scene.write_scene(folder, scene), folder / "c.zarr", workers=1)
    return folder / "c.zarr"


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unlabelled")
    build_clips(clip_scene.write_scene(folder, clip_scene.Scene(labelled=False)), folder / "c.zarr", workers=1)
    return folder / "c.zarr"


def members(path):
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


# -- webdataset -----------------------------------------------------------------------------------------------------


def test_every_frame_is_there_with_its_picture_and_row(unlabelled, tmp_path):
    store = ClipStore.open(unlabelled)
    assert write_shards(store, tmp_path, frames_per_shard=5) == "21 frames in 2 shards"
    shards = [members(tmp_path / f"clips-{i:06d}.tar") for i in range(2)]
    assert [len(shard) for shard in shards] == [24, 18]  # a sequence each, two members per frame
    key = clip_scene.OTHER.replace("/", "__") + "__000004"
    assert shards[1][key + ".jpg"] == store.jpegs(np.array([16]))[0]
    row = json.loads(shards[1][key + ".json"])
    assert row["sequence"] == clip_scene.OTHER and row["frame"] == 4 and row["is_left"] is False
    np.testing.assert_array_equal(np.float32(row["joints"]), store.index["joints"][16])
    np.testing.assert_array_equal(row["intrinsics"], store.index["intrinsics"][16])
    assert row["visible_fraction"] == [None] * 6 and row["occluded"] == [255] * 7
    assert json.loads((tmp_path / "clips.json").read_text())["dataset"] == "dexycb"


def test_sequences_with_dots_are_samples_of_their_own(tmp_path):
    keys = ("rig.1/cam0.25s", "rig.1/cam0.5s")
    labels = clip_scene.write_scene(tmp_path, clip_scene.Scene(sequences=dict.fromkeys(keys, (0, 3))))
    build_clips(labels, tmp_path / "c.zarr", workers=1)
    export_clips(tmp_path / "c.zarr", "webdataset", tmp_path / "out")
    names = [*members(tmp_path / "out" / "clips-000000.tar")]
    samples = {name.split(".")[0] for name in names}  # as webdataset groups files: up to the first dot
    assert len(names) == 8 and len(samples) == 4 and len({dotless(key) for key in keys}) == 2
    assert {name.split(".", 1)[1] for name in names} == {"jpg", "json"}


def test_two_hands_of_one_frame_have_two_names():
    index = {"frame": np.array([5, 5, 6, 5, 5, 5]), "sequence_id": np.array([0, 0, 0, 1, 1, 1])}
    assert frame_stems(index) == ["000005", "000005-2", "000006", "000005", "000005-2", "000005-3"]


# -- COCO -----------------------------------------------------------------------------------------------------------


def test_coco_has_the_stored_pictures_and_the_joints_in_them(clips, tmp_path):
    export_clips(clips, "coco", tmp_path / "out")
    coco, store = json.loads((tmp_path / "out" / "annotations.json").read_text()), ClipStore.open(clips)
    (category,) = coco["categories"]
    assert category["keypoints"] == list(JOINT_NAMES) and len(category["skeleton"]) == 20
    assert [image["id"] for image in coco["images"]] == [*range(1, 22)]
    assert [note["id"] for note in coco["annotations"]] == [*range(1, len(coco["annotations"]) + 1)]
    for row, image in enumerate(coco["images"]):
        data = (tmp_path / "out" / "images" / image["file_name"]).read_bytes()
        assert [data] == store.jpegs(np.array([row]))
        height, width = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape[:2]
        assert (image["width"], image["height"]) == (width, height)
        assert image["file_name"] == f"{image['sequence'].replace('/', '__')}/{image['frame']:06d}.jpg"
    flags = np.zeros((21, 21), int)
    for note in coco["annotations"]:
        row = note["image_id"] - 1
        points = np.array(note["keypoints"]).reshape(21, 3)
        flags[row] = points[:, 2]
        assert note["num_keypoints"] == (points[:, 2] > 0).sum() and note["side"] == "left"
        x, y, w, h = note["bbox"]
        known = points[points[:, 2] > 0, :2]
        np.testing.assert_allclose([x, y, x + w, y + h], [*known.min(axis=0), *known.max(axis=0)])
        np.testing.assert_allclose(
            known + store.index["crop"][row, :2], store.index["joints_2d"][row][points[:, 2] > 0], atol=1e-3
        )
    u, v = np.moveaxis(store.index["joints_2d"], -1, 0)
    inside = (u >= 0) & (u < 640) & (v >= 0) & (v < 480)  # of the photo: the stored part leaves out none of them
    np.testing.assert_array_equal(flags, np.where(inside, 1 + store.index["joint_visible"], 0))
    assert set(np.unique(flags)) == {0, 1, 2}


def test_coco_tools_score_the_truth_as_perfect_and_a_shifted_one_as_less(clips, tmp_path, capsys):
    coco_tools = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    evaluation_tools = pytest.importorskip("pycocotools.cocoeval", reason="pycocotools is not installed")
    export_clips(clips, "coco", tmp_path / "out")
    truth = coco_tools.COCO(str(tmp_path / "out" / "annotations.json"))

    def precision(shift):
        found = []
        for note in truth.dataset["annotations"]:
            points = np.array(note["keypoints"], float).reshape(21, 3)
            points[:, 0] += shift
            points[:, 2] = 1
            found.append({"image_id": note["image_id"], "category_id": 1, "keypoints": points.ravel().tolist(),
                          "score": 0.9})  # fmt: skip
        evaluation = evaluation_tools.COCOeval(truth, truth.loadRes(found), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.full(21, 0.035)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        return evaluation.stats[0]

    exact, near, far = precision(0.0), precision(12.0), precision(60.0)
    assert exact == pytest.approx(1.0) and exact > near > far


def test_coco_of_hands_without_labels_is_refused(unlabelled, tmp_path):
    refused = h2o("clips", "export", unlabelled, "--to", "coco", "--out", tmp_path / "out")
    assert refused.code == 2 and "no joint's visibility is known" in refused.err.splitlines()[-1]
    assert not any(tmp_path.iterdir())


# -- Parquet --------------------------------------------------------------------------------------------------------


def test_tables_read_back_as_the_store(clips, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    export_clips(clips, "parquet", tmp_path / "out")
    table, store = parquet.read_table(tmp_path / "out" / "frames.parquet"), ClipStore.open(clips)
    assert table["sequence"].to_pylist() == [store.key(row) for row in range(21)]
    expected = ["sequence"]
    for name in store.index:
        if name in ("sequence_id", "offset", "length"):
            continue
        values = store.index[name]
        for k, word in enumerate(flat_names(name, values.shape[1:])):
            found = table[word].to_numpy()
            assert found.dtype == values.dtype, word
            np.testing.assert_array_equal(found, values.reshape(21, -1)[:, k], err_msg=word)
            expected.append(word)
    assert sorted(table.column_names) == sorted(expected)
    assert {"occluded_thumb", "crop_width", "photo_height", "box_x1", "joints_index_tip_x"} <= set(expected)


@pytest.mark.parametrize("reader", ["pandas", "polars", "duckdb"])
def test_table_readers_count_the_same(reader, clips, tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    module = pytest.importorskip(reader, reason=f"{reader} is not installed")
    export_clips(clips, "parquet", tmp_path / "out")
    path = str(tmp_path / "out" / "frames.parquet")
    if reader == "duckdb":
        counted = module.sql(f"select sequence, sum(occluded_thumb), avg(root_z) from '{path}' group by all").fetchall()
    else:
        rows = module.read_parquet(path)[["sequence", "occluded_thumb", "root_z"]].to_numpy().tolist()
        counted = [
            (key, sum(r[1] for r in rows if r[0] == key), np.mean([r[2] for r in rows if r[0] == key]))
            for key in {row[0] for row in rows}
        ]
    store = ClipStore.open(clips)
    for key, hidden, depth in counted:
        own = store.index["sequence_id"] == [entry["key"] for entry in store.entries].index(key)
        assert hidden == store.index["occluded"][own, 0].sum()
        assert depth == pytest.approx(store.index["root"][own, 2].mean(), rel=1e-5)
    assert len(counted) == 2


# -- all of them ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", WITHOUT_PACKAGES)
def test_the_same_store_gives_the_same_bytes_and_nothing_is_overwritten(to, clips, tmp_path):
    for name in ("a", "b"):
        done = h2o("clips", "export", clips, "--to", to, "--out", tmp_path / name)
        assert done.code == 0 and done.out.startswith("21 ")
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)
    assert (tmp_path / "a" / "README.md").read_text() == h2o("clips", "card", clips).out
    before = contents(tmp_path / "a")
    refused = h2o("clips", "export", clips, "--to", to, "--out", tmp_path / "a")
    assert refused.error == f"h2o: --out {tmp_path / 'a'}: exists already; give a new folder"
    assert contents(tmp_path / "a") == before


@pytest.mark.parametrize("to", FORMATS)
def test_bad_stores_and_places_are_refused_in_one_line(to, clips, tmp_path):
    if any(importlib.util.find_spec(name) is None for name in FORMATS[to].needs):
        pytest.skip(f"{' or '.join(FORMATS[to].needs)} is not installed")
    (tmp_path / "file").write_text("precious")
    for store, out, said in (
        (tmp_path / "no.zarr", tmp_path / "out", "does not exist"),
        (clips, tmp_path / "file", "exists already"),
        (clips, tmp_path / "file" / "out", "is a file, expected a folder"),
        (clips, clips / "out", "lies inside the store"),
    ):
        assert said in h2o("clips", "export", store, "--to", to, "--out", out).error
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("to", [name for name in FORMATS if name not in WITHOUT_PACKAGES])
def test_missing_packages_are_named_with_their_extra(to, clips, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    refused = h2o("clips", "export", clips, "--to", to, "--out", tmp_path / "out")
    needs = " and ".join(FORMATS[to].needs)
    assert refused.error == f"h2o: --to {to}: needs {needs}; run: pip install 'h2onet[{to}]'"
    assert not any(tmp_path.iterdir())


def test_an_unknown_format_is_refused(clips, tmp_path):
    refused = h2o("clips", "export", clips, "--to", "tfrecord", "--out", tmp_path / "out")
    assert refused.error == "h2o: --to: expected webdataset, lerobot, coco, parquet, found 'tfrecord'"


def test_a_picture_that_cannot_be_read_leaves_nothing(clips, tmp_path):
    pytest.importorskip("av", reason="av is not installed")
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    damaged = tmp_path / "damaged.zarr"
    shutil.copytree(clips, damaged)
    (file,) = (damaged / "sequences" / clip_scene.OTHER.replace("/", "__") / "jpeg").rglob("0")
    file.write_bytes(bytes(file.stat().st_size))
    refused = h2o("clips", "export", damaged, "--to", "lerobot", "--out", tmp_path / "out")
    assert refused.code == 2 and "see h2o clips verify" in refused.err.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.zarr"]
