"""A table of two hands from labels to the page: multi-frame training with its own window, an evaluation."""

import json
from pathlib import Path

import numpy as np
import pytest
import table_trees as tables
from h2onet.data.clips import ClipStore
from h2onet.errors import InputError
from h2onet.evaluation.evaluate import evaluate_clips
from h2onet.pipeline.build_clips import build_clips
from h2onet.pipeline.prepare_labels import LabelSettings, prepare_labels
from h2onet.training.inputs import _windows
from h2onet.training.loop import train
from h2onet.training.recipe import load_recipe

CHANGES = ["epochs=1", "width=0.125", "batch_size=2", "milestones=[]", "threads=1"]


def clips(root: Path, out: Path) -> str:
    prepare_labels(LabelSettings("table", root, "train", "standin", out / "labels.zarr", workers=1))
    build_clips(out / "labels.zarr", out / "clips.zarr", workers=1)
    return str(out / "clips.zarr")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("own")
    rows = [
        tables.row(number, side, mask="m.png", subject="anna", camera=3, image=f"photos/{side}{number}.jpg")
        for number in range(4)
        for side in ("right", "left")
    ]
    root = tables.write(folder / "t", rows, window={"past": [1, 2], "jitter": [0, 1]})
    tables.write_mask(root / "m.png", np.ones((480, 640), bool))
    return clips(root, folder)


def test_training_evaluation_and_page(store, tmp_path, one_thread):
    recipe = load_recipe("demo-multi-stage1", CHANGES)
    assert _windows(recipe, [store], train=True)["mine"].past == (1, 2)
    train(recipe, [store], tmp_path / "run")
    metrics = evaluate_clips(tmp_path / "run/last", store, tmp_path / "result")
    assert metrics["frames"] == 8 and metrics["pa_mpjpe_mm"] > 0
    assert "mine train: 8 frames" in (tmp_path / "result/report.html").read_text()
    protocol = json.loads((tmp_path / "result/protocol.json").read_text())
    assert protocol["dataset"] == "mine" and protocol["past_frames"] == [1, 2]
    groups = json.loads((tmp_path / "result/breakdown.json").read_text())
    assert {"anna"} == set(groups["subject"]) and {"3"} == set(groups["camera"])
    assert {"right", "left"} == set(groups["hand_side"])


def test_a_table_for_presets_of_another_dataset_is_refused(store, tmp_path):
    with pytest.raises(InputError, match="holds mine, but preset"):
        train(load_recipe("dexycb-single-stage1", CHANGES), [store], tmp_path / "run")


def test_two_tables_of_one_name_must_agree_about_the_past(store, tmp_path):
    other = clips(tables.write(tmp_path / "t", [tables.row(n) for n in range(2)]), tmp_path)
    assert ClipStore.open(other).dataset == "mine"
    with pytest.raises(InputError, match="names of their own"):
        _windows(load_recipe("demo-multi-stage1", CHANGES), [store, other], train=True)


def test_a_multi_frame_network_needs_a_past(tmp_path):
    root = tables.write(tmp_path / "t", [tables.row(n) for n in range(2)], window={"past": []})
    with pytest.raises(InputError, match=r"\[window\] past"):
        _windows(load_recipe("demo-multi-stage1", CHANGES), [clips(root, tmp_path)], train=True)
