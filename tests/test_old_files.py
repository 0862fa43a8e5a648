"""Files that version 0.1.0 wrote (before the rooms were rearranged) are read, and mean what they meant.

tests/fixtures/state-0.1.0.tar.xz holds a labels store with its JSON files, a clips store, a checkpoint (a multi-frame
network of width 0.125 whose weights are signs times a constant, so that they pack well) and the scores that 0.1.0
gave it on these clips. The data is `h2o synthesize --layout dexycb --sequences 5 --frames 3 --cameras 1 --seed 4`.
"""

import hashlib
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from h2onet.data.clips import ClipDataset, ClipStore, verify
from h2onet.data.labels import LabelStore
from h2onet.data.stores.columns import LABEL_COLUMNS, LATER_COLUMNS
from h2onet.evaluation.compare import compare
from h2onet.evaluation.evaluate import evaluate_clips
from h2onet.hand.standin.arrays import write_mano_pickles
from h2onet.network.checkpoint import load_checkpoint
from safetensors.numpy import load_file

HASH_THEN = "592db8d9e026faf052c0b3603971a03c1decda02d309459bcf0042ca1547ef9d"
PACKED = Path(__file__).with_name("fixtures") / "state-0.1.0.tar.xz"


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("state-0.1.0")
    with tarfile.open(PACKED) as bundle:
        bundle.extractall(folder, filter="data")
    # 0.1.0 computed the hand anew on every machine, so its file had other last digits, and another hash, on each.
    written = hashlib.sha256(write_mano_pickles(folder / "mano")[0].read_bytes()).hexdigest()
    for file in folder.rglob("*.json"):
        file.write_text(file.read_text().replace(HASH_THEN, written))
    return folder


def test_labels_are_what_plain_zarr_reads_and_what_their_json_says(old: Path):
    labels, plain = LabelStore.open(old / "labels.zarr"), zarr.open_group(old / "labels.zarr" / "index", mode="r")
    assert len(labels) == 9
    for name, array in plain.arrays():
        assert np.array_equal(labels[name], array[:], equal_nan=array.dtype.kind == "f"), name
    for name in LATER_COLUMNS:  # unknown, in the index and in every sequence
        rows, _ = labels.store.read(labels.sequences[0], LABEL_COLUMNS)
        for values in (labels[name], labels.index.part(name, 0, 9), rows[name]):
            assert np.isnan(values).all() if values.dtype.kind == "f" else (values == 0).all(), name
    files = sorted((old / "json").rglob("occ_*.json"))
    said = sorted(tuple(json.loads(path.read_text()).values()) for path in files)
    assert said == sorted(tuple(row) for row in labels["occluded"].tolist())


def test_clips_are_whole_and_their_crops_are_read(old: Path):
    assert verify(str(old / "clips.zarr")) == []
    plain = zarr.open_group(old / "clips.zarr" / "index", mode="r")
    store = ClipStore.open(old / "clips.zarr")
    for name, array in plain.arrays():
        assert np.array_equal(store.index[name], array[:], equal_nan=array.dtype.kind == "f"), name
    assert np.isnan(store.index["hand_visible_area"]).all() and store.index["hand_hidden_area"].shape == (9, 3)
    samples = ClipDataset(old / "clips.zarr")
    assert len(samples) == 9 and np.ptp(samples[0]["images"]) > 0.5


def test_a_checkpoint_loads_every_tensor(old: Path):
    network, stored = load_checkpoint(old / "checkpoint"), load_file(old / "checkpoint" / "model.safetensors")
    state = network.state_dict()
    assert set(state) <= set(stored)
    for name, value in state.items():
        assert np.array_equal(value.numpy(), stored[name]), name


def test_scores_are_what_they_were(old: Path, tmp_path: Path):
    found = evaluate_clips(old / "checkpoint", old / "clips.zarr", tmp_path, mano=old / "mano", report=False)
    before = json.loads((old / "score" / "metrics.json").read_text())
    assert set(found) >= set(before)
    for name, value in before.items():
        assert found[name] == (value if value is None else pytest.approx(value, rel=1e-4, abs=1e-6)), name
    pairs = compare(old / "score", tmp_path)
    assert pairs.recordings == 3 and all(abs(line.difference or 0.0) < 0.01 for line in pairs.lines)
