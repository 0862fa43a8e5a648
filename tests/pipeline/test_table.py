"""Tables through the pipeline: equal to the raw tree where they are made from one, two hands, any dataset."""

import hashlib
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import raw_trees as raw
import table_trees as tables
from h2onet.data.annotations import write_annotations
from h2onet.data.clips import ClipDataset, ClipStore, clip_info, contact_sheet, verify
from h2onet.data.labels import LabelStore
from h2onet.data.loading.card import clip_card
from h2onet.data.readers.dexycb_splits import SERIALS, YCB_NAMES
from h2onet.errors import InputError
from h2onet.evaluation.scoring.facts import group_frames
from h2onet.hand.parts import CAUSES
from h2onet.pipeline.build_clips import build_clips
from h2onet.pipeline.exports.lerobot_features import tasks
from h2onet.pipeline.labels.coco import write_coco
from h2onet.pipeline.labels.page.rows import read_rows_of
from h2onet.pipeline.labels.report import report_labels
from h2onet.pipeline.prepare_labels import LabelSettings, prepare_labels
from h2onet.pipeline.view.stores import label_scene
from h2onet.pipeline.write_table import write_table

RECORDINGS = {("20200709-subject-01", "20200709_141754"): "right", ("20200709-subject-01", "20200709_141931"): "left"}


def label(root: Path, out: Path, dataset: str = "table", split: str = "train", **options: Any) -> LabelStore:
    settings: dict[str, Any] = {"mano": "standin", "workers": 1} | options
    prepare_labels(LabelSettings(dataset, root, split, out=out, **settings))
    return LabelStore.open(out)


def contents(store: Path) -> dict[str, str]:
    """Every array of every sequence of a store, rows and pictures, by its bytes."""
    files = [path for path in (store / "sequences").rglob("*") if path.is_file() and path.name != "zarr.json"]
    assert files
    return {str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def assert_equal_to_source(
    root: Path, tmp_path: Path, dataset: str, split: str, *, rows: str = "jsonl", annotations: Path | None = None
) -> None:
    """Labels and clips of a table written from the source are the source's, byte for byte."""
    objects = {"objects": root / "models"}
    done = write_table(
        str(annotations or dataset), root, [split], "s0", "standin", tmp_path / "table", rows=rows, dataset=dataset
    )
    assert done.rows > 0
    own = label(root, tmp_path / "raw.zarr", dataset, split, annotations=annotations or "raw", **objects)
    made = label(tmp_path / "table", tmp_path / "made.zarr", split=split, **objects)
    assert len(made) == len(own) > 0 and made.sequences == own.sequences
    assert contents(tmp_path / "made.zarr") == contents(tmp_path / "raw.zarr")
    assert [each["sha256"] for each in made.attrs["sequences"]] == [each["sha256"] for each in own.attrs["sequences"]]
    assert [made.image(i) for i in range(len(own))] == [own.image(i) for i in range(len(own))]
    assert made.attrs["dataset"] == f"{dataset}-table" and made.attrs["skipped"] == own.attrs["skipped"]
    for name in ("raw", "made"):
        build_clips(tmp_path / f"{name}.zarr", tmp_path / f"{name}-clips.zarr", workers=1)
    assert contents(tmp_path / "made-clips.zarr") == contents(tmp_path / "raw-clips.zarr")
    clips = [ClipStore.open(tmp_path / f"{name}-clips.zarr") for name in ("raw", "made")]
    assert clips[0].fingerprint == clips[1].fingerprint


@pytest.fixture(scope="module")
def dexycb(tmp_path_factory) -> Path:
    """Left and right, frames without a hand, without a photo, damaged, without an object, an object without a mesh."""
    root = raw.write_dexycb(tmp_path_factory.mktemp("dexycb"), RECORDINGS, SERIALS[:2], frames=6)
    first = root / raw.SUBJECT / raw.SEQUENCE / SERIALS[0]
    (first / "color_000003.jpg").unlink()
    (first / "labels_000004.npz").write_bytes(b"damaged")
    raw.change_label(first / "labels_000005.npz", pose_y=np.zeros((2, 3, 4), np.float32))
    second = root / raw.SUBJECT / raw.SEQUENCE / SERIALS[1]
    both = np.stack([raw.object_pose(7), raw.object_pose(2)]).astype(np.float32)
    raw.change_label(second / "labels_000002.npz", pose_y=both)
    shutil.rmtree(root / "models/025_mug")
    return root


def test_the_scene_of_a_table_shows_every_object_as_the_datasets_own_does(dexycb, tmp_path, caplog):
    write_table("dexycb", dexycb, ["train"], "s0", "standin", tmp_path / "table")
    options = {"objects": dexycb / "models"}
    label(dexycb, tmp_path / "raw.zarr", "dexycb", **options)
    key = label(tmp_path / "table", tmp_path / "made.zarr", **options).sequences[1]
    caplog.clear()
    own, made = (
        list(label_scene(tmp_path / f"{name}.zarr", sequence=key, most=300).frames) for name in ("raw", "made")
    )
    assert any(frame.objects for frame in own) and not caplog.records
    for one, other in zip(own, made, strict=True):
        assert [thing.name for thing in one.objects] == [thing.name for thing in other.objects]
        for thing, same in zip(one.objects, other.objects, strict=True):
            np.testing.assert_allclose(thing.pose, same.pose, atol=1e-6)


@pytest.mark.parametrize("rows", ["jsonl", "parquet"])
def test_dexycb(dexycb, tmp_path, rows):
    if rows == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed: no parquet")
    assert_equal_to_source(dexycb, tmp_path, "dexycb", "train", rows=rows)
    left = json.loads((tmp_path / "failures.jsonl").read_text().splitlines()[0])
    assert left["file"].endswith("color_000003.jpg")
    store = LabelStore.open(tmp_path / "made.zarr")
    assert store["is_left"].any() and not store["is_left"].all() and store.attrs["missing_objects"]
    assert set(store.attrs["origins"][store.sequences[0]]) == {"recording", "subject", "camera"}


@pytest.mark.parametrize("version", ["v2", "v3"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_ho3d(tmp_path, version, split):
    root = raw.write_ho3d(tmp_path / "ho3d", version)
    folder = root / "train/SM2/seg"
    next(iter(sorted(folder.iterdir()))).unlink()
    meta = root / "train/ABF10/meta/0001.pkl"
    content = pickle.loads(meta.read_bytes())  # noqa: S301 - written by this test
    raw.save_meta(meta, content | {"objRot": None}) if version == "v2" else meta.unlink()
    assert_equal_to_source(root, tmp_path, f"ho3d-{version}", split)
    assert {each["recording"] for each in LabelStore.open(tmp_path / "made.zarr").attrs["origins"].values()} <= {
        "ABF1",
        "SM",
    }


@pytest.mark.parametrize("version", ["v2", "v3"])
@pytest.mark.parametrize("released", [True, False])
def test_ho3d_evaluation(tmp_path, version, released):
    root = raw.write_ho3d(tmp_path / "ho3d", version)
    if released:
        raw.write_released(root)
    assert_equal_to_source(root, tmp_path, f"ho3d-{version}", "test")
    assert ("vertices" in LabelStore.open(tmp_path / "made.zarr").store.read("SB11")[0]) == released


@pytest.mark.parametrize("dataset", ["dexycb", "ho3d-v2"])
def test_annotation_json(dexycb, tmp_path, dataset):
    root = dexycb if dataset == "dexycb" else raw.write_ho3d(tmp_path / "ho3d")
    write_annotations(dataset, root, "train", "s0", "standin", tmp_path / "annotations.json")
    assert_equal_to_source(root, tmp_path, dataset, "train", annotations=tmp_path / "annotations.json")


def test_the_dataset_of_a_json_is_that_of_its_tree(tmp_path):
    root = raw.write_ho3d(tmp_path / "ho3d", "v3")
    write_annotations("ho3d-v3", root, "train", "s0", "standin", tmp_path / "a.json")
    write_table(str(tmp_path / "a.json"), root, ["train"], "s0", "standin", tmp_path / "table")
    assert 'name = "ho3d-v3-table"' in (tmp_path / "table/dataset.toml").read_text()


def test_several_splits_share_a_table(tmp_path):
    root = raw.write_ho3d(tmp_path / "ho3d")
    assert write_table("ho3d-v2", root, ["train", "val", "test"], "s0", "standin", tmp_path / "t").rows == 7
    assert [len(label(tmp_path / "t", tmp_path / f"{s}.zarr", split=s)) for s in ("train", "val", "test")] == [4, 1, 2]


def test_writing_a_table_is_refused_where_it_would_do_harm(dexycb, tmp_path, monkeypatch):
    def refuse(words: str, out: Path = tmp_path / "t", source: str = "dexycb", splits=("train",), **more: Any) -> None:
        with pytest.raises(InputError, match=words):
            write_table(source, dexycb, list(splits), "s0", "standin", out, **more)

    refuse("lies inside the dataset", dexycb / "table")
    refuse("expected dexycb, ho3d-v2, ho3d-v3 or a HandOccNet", source="freihand")
    refuse("the source is dexycb", dataset="ho3d-v2")
    refuse("given twice", splits=("train", "train"))
    refuse("--rows csv", rows="csv")
    refuse("split", splits=("training",))
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    refuse("needs pyarrow", rows="parquet")
    assert not list(tmp_path.iterdir())
    (tmp_path / "t").mkdir()
    refuse("exists", overwrite=True)
    (tmp_path / "t").rmdir()
    write_table("dexycb", dexycb, ["train"], "s0", "standin", tmp_path / "t")
    refuse("exists")
    write_table("dexycb", dexycb, ["train"], "s0", "standin", tmp_path / "t", overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"t", "failures.jsonl"}


# -- tables of their own -------------------------------------------------------------------------------------------


def two_hands(root: Path) -> Path:
    """A right hand, and the same frames' left one 15 cm nearer to the camera, where the right one's picture is."""
    rows = []
    for number in range(3):
        rows.append(tables.row(number))
        wrist, other = raw.posed("right", number), raw.posed("left", number)
        towards = wrist.joints[9] * 0.75 - other.joints[9]
        rows.append(tables.row(number, "left", translation=(other.translation + towards).tolist()))
    return tables.write(root, rows)


def test_another_hand_hides_and_is_named_as_the_cause(tmp_path):
    labels = label(two_hands(tmp_path / "t"), tmp_path / "l.zarr")
    assert labels.sequences == ["one/right", "one/left"]
    right = labels["is_left"] == 0
    other = CAUSES.index("other hand")
    assert (labels["cause"][right] == other).any(axis=1).all() and not (labels["cause"][~right] == other).any()
    assert (labels["other_hand_fraction"][right].max(axis=1) > 0.5).all()
    assert (labels["other_hand_fraction"][~right] == 0).all()
    alone = tables.write(tmp_path / "u", [tables.row(number) for number in range(3)])
    assert not (label(alone, tmp_path / "m.zarr")["cause"] == other).any()


def test_the_page_of_labels_draws_what_a_table_names(tmp_path):
    label(two_hands(tmp_path / "rig"), tmp_path / "labels.zarr")
    said = report_labels([tmp_path / "labels.zarr"], tmp_path / "page.html")
    assert "6 of 6 pictures drawn" in said, said


def objects_of_its_own(root: Path) -> Path:
    """Two cameras: one sees a mug of YCB and a kettle, the other a jar; each holds its last one."""
    pose = raw.object_pose(1).tolist()

    def held(*names: str) -> dict[str, Any]:
        return {"objects": [{"name": name, "pose": pose} for name in names], "grasped": len(names) - 1}

    rows = [tables.row(n, camera="a", subject="anna", **held("025_mug", "kettle")) for n in range(2)]
    rows += [tables.row(n, camera="b", subject="bob", recording="r", **held("jar")) for n in range(2)]
    rows += [tables.row(5, camera="c", **held("025_mug")), tables.row(5, camera="d")]
    for name in ("025_mug", "kettle", "jar"):
        mesh = root / "models" / name / "textured_simple.obj"
        mesh.parent.mkdir(parents=True, exist_ok=True)
        mesh.write_text(raw.OBJ)
    return tables.write(root, rows)


@pytest.mark.parametrize("rows", ["jsonl", "parquet"])
def test_objects_keep_the_tables_names_everywhere(tmp_path, rows):
    root = objects_of_its_own(tmp_path / "t")
    if rows == "parquet":
        pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: no parquet")
        import pyarrow.parquet as pq  # pyright: ignore[reportMissingImports]

        content = [json.loads(line) for line in (root / "frames.jsonl").read_text().splitlines()]
        names = dict.fromkeys(name for row in content for name in row)
        columns = {name: [row.get(name) for row in content] for name in names}
        pq.write_table(pa.table(columns), root / "frames.parquet", row_group_size=2)
        (root / "frames.jsonl").unlink()
    labels = label(root, tmp_path / "labels.zarr", objects=root / "models")
    assert labels.attrs["object_names"] == [*YCB_NAMES, "jar", "kettle"]
    mug, jar, kettle = YCB_NAMES.index("025_mug") + 1, len(YCB_NAMES) + 1, len(YCB_NAMES) + 2
    assert labels["object_id"].tolist() == [kettle, kettle, jar, jar, mug, -1]
    assert np.isfinite(labels["object_pose"][:5]).all()
    page = read_rows_of([tmp_path / "labels.zarr"]).groups
    assert page["object"].names == ("025_mug", "jar", "kettle", "not annotated")
    assert page["subject"].names == ("anna", "bob", "not named by the dataset")
    assert page["camera"].names == ("a", "b", "c", "d")
    build_clips(tmp_path / "labels.zarr", tmp_path / "clips.zarr", workers=1)
    clips = ClipStore.open(tmp_path / "clips.zarr")
    keys = np.array([clips.key(row) for row in range(len(clips))])
    groups = group_frames(clips, np.arange(len(clips)), keys)
    assert groups["object"].tolist() == ["kettle", "kettle", "jar", "jar", "025_mug", "none"]
    assert tasks(clips, slice(0, None, 2)) == [f"right hand with {name}" for name in ("kettle", "jar", "025_mug")]
    assert "3: 025_mug, jar, kettle" in clip_card(tmp_path / "clips.zarr")


def test_a_photo_of_a_table_leads_to_its_row(tmp_path):
    labels = label(two_hands(tmp_path / "t"), tmp_path / "l.zarr")
    rows = {labels.image(row): row for row in reversed(range(len(labels)))}
    assert len(rows) == 3 and {path: labels.row(path) for path in rows} == rows
    for other in ("photos/0009.jpg", "t/photos/0000.jpg", "one/right/0000.jpg"):
        with pytest.raises(KeyError):
            labels.row(other)
    assert labels.row("one/left", 2) == 5


def test_the_h2onet_rule_runs_where_a_row_has_a_mask(tmp_path):
    rows = [tables.row(0, mask="m.png"), tables.row(1), tables.row(2, mask="gone.png")]
    root = tables.write(tmp_path / "t", rows)
    tables.write_mask(root / "m.png", raw.hand_area(raw.posed("right", 0).vertices))
    labels = label(root, tmp_path / "l.zarr")
    assert labels["labelled"].tolist() == [True, False, False] and (labels["cause"] != 255).all()
    assert (labels["occluded"][0] <= 1).all() and labels["mask_iou"][0] > 0.5
    assert labels.attrs["mask"] == "the dataset's" and labels.attrs["failures"] == 1
    (failure,) = [json.loads(line) for line in (tmp_path / "failures.jsonl").read_text().splitlines()]
    assert failure["file"] == "gone.png" and "row 3: the mask is missing" in failure["reason"]


def test_photos_of_any_size_and_place_become_clips(tmp_path):
    rows = [tables.row(n, sequence=f"s/{n % 2}", image=f"deep/{n}/picture {n}.jpg") for n in range(4)]
    root = tables.write(tmp_path / "t", rows, size=None, window={"past": [1, 2], "jitter": [0, 0]})
    labels = label(root, tmp_path / "l.zarr")
    assert labels.image(1) == "deep/2/picture 2.jpg" and labels.photo(2) == ("deep/1/picture 1.jpg", (640, 480))
    summary = build_clips(tmp_path / "l.zarr", tmp_path / "c.zarr", workers=1)
    assert (summary.frames, summary.sequences, summary.failures) == (4, 2, 0)
    assert verify(tmp_path / "c.zarr") == [] and "mine" in str(clip_info(tmp_path / "c.zarr"))
    contact_sheet(tmp_path / "c.zarr", tmp_path / "sheet.png")
    store = ClipStore.open(tmp_path / "c.zarr")
    assert store.dataset == "mine" and store.attrs["window"]["past"] == [1, 2]
    write_coco(labels, tmp_path / "coco.json")
    images = json.loads((tmp_path / "coco.json").read_text())["images"]
    assert images[1]["file_name"] == "deep/2/picture 2.jpg" and images[1]["width"] == 640
    (root / "deep/2/picture 2.jpg").write_bytes(raw._PHOTO[:-2])
    assert build_clips(tmp_path / "l.zarr", tmp_path / "d.zarr", workers=1).failures == 1


def test_single_photos_have_no_past(tmp_path):
    root = tables.write(tmp_path / "t", [tables.row(n) for n in range(3)], window={"past": []})
    label(root, tmp_path / "l.zarr")
    build_clips(tmp_path / "l.zarr", tmp_path / "c.zarr", workers=1)
    contact_sheet(tmp_path / "c.zarr", tmp_path / "sheet.png")
    assert ClipDataset(str(tmp_path / "c.zarr"))[0]["images"].shape == (3, 128, 128)


def test_a_changed_table_is_not_resumed(tmp_path):
    root = tables.write(tmp_path / "t", [tables.row(0), tables.row(1)])
    label(root, tmp_path / "l.zarr")
    (root / "dataset.toml").write_text((root / "dataset.toml").read_text() + "flat_hand_mean = false\n")
    with pytest.raises(InputError, match="made with reader="):
        label(root, tmp_path / "l.zarr")
    tables.write(root, [tables.row(0), tables.row(1), tables.row(2)])
    with pytest.raises(InputError, match="made with"):
        label(root, tmp_path / "l.zarr")


def test_nothing_is_written_into_the_table_or_its_photos(tmp_path):
    root = tables.write(tmp_path / "t", [tables.row(0)])
    with pytest.raises(InputError, match="lies inside the dataset"):
        label(root, root / "l.zarr")
    (tmp_path / "elsewhere").mkdir()
    shutil.move(root / "photos", tmp_path / "elsewhere/photos")
    toml = root / "dataset.toml"
    toml.write_text(f'photos = "{tmp_path / "elsewhere"}"\n' + toml.read_text())
    with pytest.raises(InputError, match="lies inside the dataset"):
        label(root, tmp_path / "elsewhere/l.zarr")
    assert len(label(root, tmp_path / "l.zarr")) == 1
