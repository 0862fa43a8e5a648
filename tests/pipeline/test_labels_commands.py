"""h2o labels: what is exported reads back as the store, what differs is found, what is damaged is named."""

import csv
import json
import shutil

import clip_scene
import numpy as np
import pytest
from cli_trees import h2o
from h2onet.data.labels import LabelStore
from h2onet.hand.parts import CAUSES, FINGERS, JOINT_NAMES, LABELS
from h2onet.pipeline.labels.columns import blocks, column_names, flat_names, read_rows
from h2onet.pipeline.labels.compare import compare_labels

KEY, OTHER = clip_scene.KEY, clip_scene.OTHER


@pytest.fixture
def store(tmp_path):
    return clip_scene.write_scene(tmp_path, clip_scene.Scene())


def other_store(tmp_path, change, **scene):
    """The same scene in another folder, with `change` applied to the rows of every sequence (a key, its columns)."""
    made = clip_scene.write_scene(tmp_path / "other", clip_scene.Scene(**scene))
    old = LabelStore.open(made)
    new = LabelStore.create(tmp_path / "changed.zarr", {"scene": "changed"})
    for key in old.sequences:
        rows, _ = old.store.read(key)
        new.commit(key, change(key, rows), {"failures": []})
    facts = {name: old.attrs[name] for name in ("dataset", "split", "setup", "root", "image", "photo", "rules", "mano")}
    new.finish(old.sequences, facts)
    new.close()
    return tmp_path / "changed.zarr"


def test_csv_reads_back_as_the_store(store, tmp_path):
    out = tmp_path / "labels.csv"
    done = h2o("labels", "export", store, "--to", "csv", "--out", out)
    assert done.code == 0 and done.out.startswith("21 frames")
    with out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    labels = LabelStore.open(store)
    assert len(rows) == 21 and len({*rows[0]}) == len(rows[0])
    assert [row["sequence"] for row in rows] == [labels.sequences[i] for i in labels["sequence_id"]]
    for name in column_names(labels):
        values = labels[name].reshape(21, -1)
        for k, word in enumerate(flat_names(name, labels[name].shape[1:])):
            read = np.array([float(row[word] or "nan") for row in rows]).astype(values.dtype)
            np.testing.assert_array_equal(read, values[:, k], err_msg=word)
    assert {"occluded_thumb", "occluded_global", "joints_index_tip_x", "hidden_fraction_palm_own_hand"} <= set(rows[0])


def test_parquet_reads_back_as_the_store(store, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "labels.parquet"
    assert h2o("labels", "export", store, "--to", "parquet", "--out", out).code == 0
    labels, table = LabelStore.open(store), parquet.read_table(out)
    for name in column_names(labels):
        for k, word in enumerate(flat_names(name, labels[name].shape[1:])):
            values = labels[name].reshape(21, -1)[:, k]
            assert table[word].to_numpy().dtype == values.dtype, word
            np.testing.assert_array_equal(table[word].to_numpy(), values, err_msg=word)


def test_coco_has_the_joints_their_flags_and_ids_from_1(store, tmp_path):
    out = tmp_path / "labels.json"
    assert h2o("labels", "export", store, "--to", "coco", "--out", out).code == 0
    coco, labels = json.loads(out.read_text()), LabelStore.open(store)
    (category,) = coco["categories"]
    assert category["keypoints"] == list(JOINT_NAMES) and len(category["skeleton"]) == 20
    assert {bone for pair in category["skeleton"] for bone in pair} == set(range(1, 22))
    assert [image["id"] for image in coco["images"]] == [note["id"] for note in coco["annotations"]] == [*range(1, 22)]
    assert all((tmp_path / "root" / image["file_name"]).is_file() for image in coco["images"])
    for row, note in enumerate(coco["annotations"]):
        points = np.array(note["keypoints"]).reshape(21, 3)
        u, v = labels["joints_2d"][row].T
        inside = (u >= 0) & (u < 640) & (v >= 0) & (v < 480)
        np.testing.assert_array_equal(points[:, 2], np.where(inside, 1 + labels["joint_visible"][row], 0))
        np.testing.assert_allclose(points[:, :2], labels["joints_2d"][row] * inside[:, None], rtol=1e-6)
        x, y, w, h = note["bbox"]
        assert note["num_keypoints"] == inside.sum() and note["area"] == w * h
        np.testing.assert_allclose([x, x + w, y, y + h], [u[inside].min(), u[inside].max(), v[inside].min(),
                                                        v[inside].max()], rtol=1e-5)  # fmt: skip


def test_coco_tools_read_it(store, tmp_path):
    tools = pytest.importorskip("pycocotools.coco")
    h2o("labels", "export", store, "--to", "coco", "--out", tmp_path / "labels.json")
    read = tools.COCO(str(tmp_path / "labels.json"))
    assert len(read.getImgIds()) == len(read.getAnnIds()) == 21 and 0 not in read.getAnnIds()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to", "yaml", "--out", "x"), "--to: expected csv, parquet, coco, found 'yaml'"),
        (("--to", "csv", "--out", "there.csv"), "--out there.csv: exists already; give a new name"),
    ],
)
def test_exports_that_cannot_be_are_refused_in_one_line(store, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.csv").write_text("precious")
    refused = h2o("labels", "export", store, *arguments)
    assert refused.code == 2 and said in refused.error and refused.error.count("\n") <= 1


def test_a_store_and_its_copy_do_not_differ(store, tmp_path):
    shutil.copytree(store, tmp_path / "copy.zarr")
    same = h2o("labels", "compare", store, tmp_path / "copy.zarr")
    assert same.code == 0 and same.out.rstrip().endswith("nothing differs")


def test_exactly_what_was_changed_is_found(store, tmp_path):
    def change(key, rows):
        if key == OTHER:
            rows["occluded"][[2, 5], 0] = 1 - rows["occluded"][[2, 5], 0]
            rows["joints"][3] += [0.0, 0.25, 0.0]
            rows["mask_iou"][4] = 0.5  # was NaN
        return rows

    changed = other_store(tmp_path, change)
    found = compare_labels(store, changed)
    assert found.common == 21 and not found.only_a and not found.only_b and not found.columns_only
    differing = {name: column for name, column in found.columns.items() if column.frames}
    assert set(differing) == {"occluded", "joints", "mask_iou"}
    assert (differing["occluded"].frames, differing["occluded"].values) == (2, 2)
    assert differing["occluded"].first == (f"{OTHER}/2", f"{OTHER}/5") and differing["occluded"].largest is None
    assert (differing["joints"].frames, differing["joints"].values) == (1, 21)
    assert differing["joints"].largest == pytest.approx(0.25) and differing["joints"].first == (f"{OTHER}/3",)
    assert (differing["mask_iou"].frames, differing["mask_iou"].largest) == (1, 0.0)
    said = h2o("labels", "compare", store, changed)
    assert said.code == 1 and "3 of" in said.out and f"{OTHER}/3" in said.out


def test_frames_of_one_store_only_are_named(store, tmp_path):
    fewer = other_store(tmp_path, lambda key, rows: rows, sequences={OTHER: tuple(range(2, 12))})
    found = compare_labels(store, fewer)
    assert (found.common, found.only_a, found.only_b) == (7, 14, 3)
    assert found.first_a[0] == f"{KEY}/0" and found.first_b == (f"{OTHER}/9", f"{OTHER}/10", f"{OTHER}/11")
    assert found.differs


def test_stores_without_a_common_frame_are_not_said_to_agree(store, tmp_path):
    other = other_store(tmp_path, lambda key, rows: rows, sequences={OTHER: tuple(range(100, 104))})
    said = h2o("labels", "compare", store, other)
    assert said.code == 1 and said.out.rstrip().endswith("no frame is in both: no column was compared")


def test_info_counts_what_the_columns_hold(store):
    said, labels = h2o("labels", "info", store), LabelStore.open(store)
    assert said.code == 0 and "h2onet 1, depth 1" in said.out and "21 in 2 camera sequences" in said.out
    for i, label in enumerate(LABELS):
        hidden = int((labels["occluded"][:, i] == 1).sum())
        assert [label, str(hidden), "21"] in [line.split()[:3] for line in said.out.splitlines()], label
    for finger in FINGERS:
        assert [finger, "21", *["0"] * (len(CAUSES) - 1)] in [line.split() for line in said.out.splitlines()]


def test_verify_names_what_is_damaged(store):
    intact = h2o("labels", "verify", store)
    assert intact.code == 0 and intact.out.strip() == "no problems found"
    rows = store / "sequences" / OTHER.replace("/", "__") / "rows" / "c" / "0"
    data = bytearray(rows.read_bytes())
    data[len(data) // 2] ^= 1
    rows.write_bytes(bytes(data))
    damaged = h2o("labels", "verify", store)
    assert damaged.code == 1 and OTHER in damaged.out and damaged.out.strip().endswith("1 problems")
    missing = h2o("labels", "verify", store.parent / "nothing.zarr")
    assert missing.code == 2 and "does not exist" in missing.error


def test_rows_in_any_order_are_those_of_the_column(store):
    labels, rng = LabelStore.open(store), np.random.default_rng(0)
    for rows in (np.arange(0), rng.permutation(21), rng.integers(0, 21, 40)):
        np.testing.assert_array_equal(read_rows(labels, "occluded", rows), labels["occluded"][rows])
    assert list(blocks(10, 4)) == [(0, 4), (4, 8), (8, 10)] and list(blocks(0)) == []
