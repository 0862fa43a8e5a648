"""The commands around a network, from the real entry point: what they write, and where."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

_spec = importlib.util.spec_from_file_location("cli_trees", Path(__file__).with_name("cli_trees.py"))
assert _spec and _spec.loader
if "cli_trees" not in sys.modules:
    sys.modules["cli_trees"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["cli_trees"])
trees = sys.modules["cli_trees"]
raw = trees.load("raw_trees", Path(__file__).parent / "data" / "raw_trees.py")
h2o, untouched = trees.h2o, trees.untouched


@pytest.fixture(scope="module")
def dexycb(tmp_path_factory) -> Path:
    """A hand-written DexYCB tree: one right recording of one camera, 4 frames, the second without a hand."""
    return raw.write_dexycb(tmp_path_factory.mktemp("raw") / "dexycb")


@pytest.fixture(scope="module")
def run_folder(dexycb, tmp_path_factory) -> tuple[Path, Path]:
    """A run folder after one epoch of the narrow demo network, and the clips it saw."""
    folder = tmp_path_factory.mktemp("trained")
    assert h2o(*trees.prepare(folder / "labels.zarr", dexycb)).code == 0
    clips = folder / "clips.zarr"
    assert h2o("build-clips", "--labels", folder / "labels.zarr", "--out", clips, "--workers", 1).code == 0
    sets = ("--set", "epochs=1", "batch_size=2", "--set", "width=0.125", "--set", "num_workers=0")
    options = ("--clips", clips, "--val-clips", clips, "--out", folder / "run", "--device", "cpu")
    done = h2o("train", "demo-single-stage1", *options, *sets)
    assert done.code == 0, done
    return folder / "run", clips


def test_train_fills_the_run_folder(run_folder):
    run, _ = run_folder
    assert {"last", "best", "metrics.jsonl", "config.toml", "tensorboard"} <= {path.name for path in run.iterdir()}
    assert (run / "best" / "config.json").is_file() and list((run / "best").glob("*.safetensors"))
    assert [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_evaluate_writes_the_field_s_terms(run_folder, tmp_path):
    run, clips = run_folder
    done = h2o(
        "evaluate", "--checkpoint", run / "best", "--clips", clips, "--out", tmp_path / "score", "--device", "cpu"
    )
    assert done.code == 0, done
    metrics = json.loads((tmp_path / "score" / "metrics.json").read_text())
    scores = ["mpjpe_mm", "pa_mpjpe_mm", "mpvpe_mm", "pa_mpvpe_mm", "joint_auc", "vertex_auc"]
    scores += ["f_5", "f_15", "pa_f_5", "pa_f_15"]
    assert all(isinstance(metrics[name], float) and np.isfinite(metrics[name]) for name in scores)
    # The single-frame network says nothing about occlusion: no number is made up for it.
    assert metrics["occlusion_accuracy"] is None and metrics["occlusion_macro_f1"] is None
    assert metrics["frames"] == zarr.open_group(clips, mode="r")["index"]["frame"].shape[0]
    assert (tmp_path / "score" / "breakdown.json").is_file() and "mpjpe" in done.out.lower()


def test_predict_leaves_pictures_and_checkpoint_alone(run_folder, dexycb, tmp_path):
    run, _ = run_folder
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for photo in sorted(dexycb.glob("*-subject-*/*/*/color_*.jpg"))[:2]:
        shutil.copy(photo, pictures / f"{photo.parents[1].name}_{photo.name}")
    options = ("--checkpoint", run / "best", "--images", pictures, "--device", "cpu")
    with untouched(pictures, run):
        done = h2o("predict", *options, "--out", tmp_path / "out")
        assert done.code == 0, done
        both = ("--video", tmp_path / "nowhere.mp4", "--out", tmp_path / "both")
        assert "--video" in h2o("predict", *options, *both).error and not (tmp_path / "both").exists()
    meshes = list((tmp_path / "out").rglob("*.obj"))
    assert len(meshes) == 2 and all(m.read_text().count("\nv ") + m.read_text().startswith("v ") == 778 for m in meshes)
