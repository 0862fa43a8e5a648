"""labels.zarr: columns, lookup, the authors' per-frame files, nothing inside a dataset."""

import json

import numpy as np
import pytest
from h2onet.data.datasets import refuse_inside
from h2onet.data.frame import image_pattern
from h2onet.data.labels import COLUMNS, LabelStore, empty_columns
from h2onet.errors import InputError
from h2onet.hand.parts import LABELS

KEYS = ("20200709-subject-01/20200709_141754/836212060125", "20200709-subject-01/20200709_141754/839512060362")


def columns(frames: list[int]) -> dict[str, np.ndarray]:
    rows = empty_columns(len(frames))
    rows["frame"][:] = frames
    rows["labelled"][:] = [frame != 3 for frame in frames]
    rows["occluded"][rows["labelled"]] = [1, 0, 0, 1, 0, 0, 1]
    return rows


@pytest.fixture
def path(tmp_path):
    labels = LabelStore.create(tmp_path / "labels.zarr", {"dataset": "dexycb"})
    for key, frames in zip(KEYS, ([0, 2, 3], [1, 2]), strict=True):
        labels.commit(key, columns(frames), {})
    facts = {"dataset": "dexycb", "image": image_pattern("dexycb", "train")}
    labels.finish(reversed(KEYS), facts)
    labels.close()
    return tmp_path / "labels.zarr"


def test_columns_are_flat_in_the_order_of_the_sequences(path):
    labels = LabelStore.open(path)
    assert len(labels) == 5 and labels.sequences == list(reversed(KEYS))
    assert labels["frame"].tolist() == [1, 2, 0, 2, 3] and labels["sequence_id"].tolist() == [0, 0, 1, 1, 1]
    for name, (kind, shape) in COLUMNS.items():
        assert labels[name].dtype == np.dtype(kind) and labels[name].shape == (5, *shape), name


def test_frames_are_found_by_path_and_by_number(path):
    labels = LabelStore.open(path)
    for row in range(len(labels)):
        assert labels.row(labels.image(row)) == row
        key, frame = labels.sequences[labels["sequence_id"][row]], int(labels["frame"][row])
        assert labels.row(key, frame) == row == labels.row(f"/anywhere/{labels.image(row)}")
    with pytest.raises(KeyError):
        labels.row(KEYS[0], 1)
    with pytest.raises(KeyError):
        labels.row("not/a/frame.jpg")


@pytest.mark.parametrize(
    ("dataset", "split", "image"),
    [
        ("ho3d-v2", "val", "train/ABF10/rgb/0007.png"),
        ("ho3d-v3", "train", "train/ABF10/rgb/0007.jpg"),
        ("ho3d-v3", "test", "evaluation/ABF10/rgb/0007.jpg"),
    ],
)
def test_ho3d_paths(tmp_path, dataset, split, image):
    labels = LabelStore.create(tmp_path / "l.zarr", {})
    labels.commit("ABF10", columns([7]), {})
    labels.finish(["ABF10"], {"dataset": dataset, "image": image_pattern(dataset, split)})
    assert labels.image(0) == image and labels.row(image) == 0
    assert labels.export_json(tmp_path / "json") == 1
    assert json.loads((tmp_path / "json/ABF10/occ/0007.json").read_text())["global"] == 1


def test_the_authors_files(path, tmp_path):
    assert LabelStore.open(path).export_json(tmp_path / "json") == 4
    files = sorted(str(p.relative_to(tmp_path / "json")) for p in (tmp_path / "json").rglob("*.json"))
    assert files == sorted(
        [f"{KEYS[0]}/occ_{n:06d}.json" for n in (0, 2)] + [f"{KEYS[1]}/occ_{n:06d}.json" for n in (1, 2)]
    )
    content = json.loads((tmp_path / "json" / files[0]).read_text())
    assert list(content) == list(LABELS) and list(content.values()) == [1, 0, 0, 1, 0, 0, 1]


def test_it_knows_when_its_index_is_old(path):
    labels = LabelStore.open(path)
    assert labels.is_current(reversed(KEYS)) and not labels.is_current(KEYS)
    labels.store.discard(KEYS[0])
    assert not labels.is_current(reversed(KEYS))


def test_unfinished_stores_say_so(tmp_path):
    LabelStore.create(tmp_path / "l.zarr", {}).commit("ABF10", columns([7]), {})
    with pytest.raises(InputError, match="has no index, its run was interrupted"):
        LabelStore.open(tmp_path / "l.zarr")
    with pytest.raises(InputError, match="does not exist"):
        LabelStore.open(tmp_path / "nowhere.zarr")


def test_columns_are_held_to_the_schema(tmp_path):
    labels = LabelStore.create(tmp_path / "l.zarr", {})
    rows = columns([1])
    with pytest.raises(ValueError, match="joints: shape"):
        labels.commit("k", {**rows, "joints": np.zeros((1, 20, 3))}, {})
    del rows["cause"]
    with pytest.raises(ValueError, match="cause"):
        labels.commit("k", rows, {})
    assert labels.store.finished() == {}


def test_nothing_goes_into_a_dataset(tmp_path):
    (tmp_path / "DEX_YCB").mkdir()
    for inside in ("DEX_YCB", "DEX_YCB/labels.zarr", "x/../DEX_YCB/a/b"):
        with pytest.raises(InputError, match="lies inside the dataset"):
            refuse_inside(tmp_path / inside, tmp_path / "DEX_YCB", "--json")
    refuse_inside(tmp_path / "DEX_YCB_labels", tmp_path / "DEX_YCB", "--json")
