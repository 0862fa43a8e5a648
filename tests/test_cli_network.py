"""The commands around a network, from the real entry point: what they write, and where."""

import json
import shutil
import zipfile
from pathlib import Path

import cli_trees as trees
import numpy as np
import pytest
import raw_trees as raw
import zarr

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


@pytest.fixture(scope="module")
def scored(run_folder) -> tuple[Path, "trees.Done"]:
    """What h2o evaluate writes and says of the stage 1 network."""
    run, clips = run_folder
    out = run.parent / "score"
    return out, h2o("evaluate", "--checkpoint", run / "best", "--clips", clips, "--out", out, "--device", "cpu")


def test_evaluate_writes_the_field_s_terms(run_folder, scored):
    out, done = scored
    assert done.code == 0, done
    metrics = json.loads((out / "metrics.json").read_text())
    scores = ["mpjpe_mm", "pa_mpjpe_mm", "mpvpe_mm", "pa_mpvpe_mm", "joint_auc", "vertex_auc"]
    scores += ["f_5", "f_15", "pa_f_5", "pa_f_15"]
    assert all(isinstance(metrics[name], float) and np.isfinite(metrics[name]) for name in scores)
    # The single-frame network says nothing about occlusion: no number is made up for it.
    assert metrics["occlusion_accuracy"] is None and metrics["occlusion_macro_f1"] is None
    assert metrics["frames"] == zarr.open_group(run_folder[1], mode="r")["index"]["frame"].shape[0]
    assert (out / "breakdown.json").is_file() and "mpjpe" in done.out.lower()
    assert "<!-- run: loss -->" in (out / "report.html").read_text()  # the checkpoint's own run, unasked


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


@pytest.fixture(scope="module")
def oriented(run_folder) -> Path:
    """A stage 2 network after one step, and the history of its run."""
    run, clips = run_folder
    folder = run.parent / "run2"
    sets = ("--set", "max_steps=1", "batch_size=2", "width=0.125", "num_workers=0")
    options = ("--clips", clips, "--val-clips", clips, "--out", folder, "--init", run / "best", "--device", "cpu")
    done = h2o("train", "demo-single-stage2", *options, *sets)
    assert done.code == 0, done
    return folder


def strict_json(path: Path):
    """The contents of a JSON file that every reader takes: no NaN, no Infinity."""

    def refuse(token: str):
        raise AssertionError(f"{path}: holds {token}")

    return json.loads(path.read_text(), parse_constant=refuse)


@pytest.fixture(scope="module")
def scored2(run_folder, oriented) -> tuple[Path, "trees.Done"]:
    """What h2o evaluate writes and says of the stage 2 network, with the curves of both runs and some meshes."""
    run, clips = run_folder
    out = run.parent / "score2"
    options = ("--checkpoint", oriented / "last", "--clips", clips, "--out", out, "--device", "cpu")
    curves = ("--curves", run, "--curves", oriented)
    with untouched(run, oriented):
        return out, h2o("evaluate", *options, *curves, "--meshes", "obj", "--mesh-frames", "best:1")


def test_predict_without_a_network_says_where_to_get_one(tmp_path):
    refused = h2o("predict", "--images", tmp_path, "--out", tmp_path / "out").error
    assert "--checkpoint: no network given" in refused and "docs/tutorial.md" in refused and "--hierarchy" in refused
    assert "--checkpoint synthetic" in refused and "a toy" in refused
    assert not (tmp_path / "out").exists()


def test_evaluate_with_curves_and_meshes(run_folder, oriented, scored2, tmp_path):
    out, done = scored2
    assert done.code == 0, done
    page = (out / "report.html").read_text()
    assert all(f"<!-- {name}: {plot} -->" in page for name in ("run", "run2") for plot in ("loss", "validation"))
    assert sorted(path.suffix for path in (out / "meshes").iterdir()) == [".csv", ".obj", ".obj"]
    for name in ("metrics", "breakdown", "protocol", "report"):
        assert strict_json(out / f"{name}.json")
    options = ("--checkpoint", oriented / "last", "--clips", run_folder[1], "--out", tmp_path / "no")
    for wrong, words in (
        (("--curves", tmp_path), "metrics.jsonl"),
        (("--meshes", "stl"), "expected obj, ply, glb"),
        (("--mesh-frames", "best:1"), "--meshes obj"),
        (("--meshes", "obj", "--mesh-frames", "some"), "best:N"),
        (("--frames", out), "goes with --predictions"),
    ):
        assert words in trees.refused(tmp_path / "no", "evaluate", *options, *wrong)


def test_compare_prints_a_table_and_refuses_unlike_protocols(scored, scored2, tmp_path):
    first, second = scored2[0], tmp_path / "worse"
    shutil.copytree(first, second)
    metrics = json.loads((first / "metrics.json").read_text())
    (second / "metrics.json").write_text(json.dumps(metrics | {"mpjpe_mm": metrics["mpjpe_mm"] + 1}))
    with np.load(first / "frames.npz") as file:
        columns = {name: file[name] for name in file.files}
    np.savez(second / "frames.npz", **columns | {"mpjpe_mm": columns["mpjpe_mm"] + 1})
    done = h2o("compare", first, second)
    assert done.code == 0 and done.err == "", done
    assert done.out.startswith(f"A: {first} (")
    lines = {line.split()[0]: line.split()[1:] for line in done.out.splitlines()}
    assert lines["mpjpe_mm"][:3] == [f"{metrics['mpjpe_mm']:.4f}", f"{metrics['mpjpe_mm'] + 1:.4f}", "+1.000"]
    assert lines["pa_mpjpe_mm"][2] == "+0.000" and "one recording: no interval and no test" in done.out
    told = h2o("compare", first, scored[0]).error
    assert "meshes 'oriented' against 'canonical" in told and "--force" in told
    forced = h2o("compare", first, scored[0], "--force")
    assert forced.code == 0 and "not the same protocol: meshes" in forced.out


def test_ho3d_is_scored_from_the_zip_as_from_the_clips(oriented, tmp_path):
    """Clips of a HO3D tree with its released truth, the submission that is written, and its official scores."""
    root = raw.write_ho3d(tmp_path / "ho3d", evaluation={"SB11": 3, "AP10": 2})
    raw.write_released(root)
    with untouched(root):
        assert h2o(*trees.prepare(tmp_path / "labels.zarr", root, "ho3d-v2", split="test")).code == 0
        clips, out = tmp_path / "clips.zarr", tmp_path / "out"
        assert h2o("build-clips", "--labels", tmp_path / "labels.zarr", "--out", clips, "--workers", 1).code == 0
        options = ("--checkpoint", oriented / "best", "--clips", clips, "--device", "cpu")
        done = h2o("evaluate", *options, "--out", out, "--ho3d-json", tmp_path / "pred.json")
        assert done.code == 0, done
        with zipfile.ZipFile(tmp_path / "pred.zip") as archive:
            assert archive.namelist() == ["pred.json"]
            archive.extractall(tmp_path / "submitted")
        given = ("--predictions", tmp_path / "submitted" / "pred.json", "--ground-truth", root, "--dataset", "ho3d-v2")
        done = h2o("evaluate", *given, "--out", tmp_path / "official")
        assert done.code == 0, done
        assert "--meshes" in trees.refused(
            tmp_path / "no", "evaluate", *given, "--meshes", "obj", "--out", tmp_path / "no"
        )
        assert "--mano" in trees.refused(tmp_path / "no", "evaluate", *given, "--mano", root, "--out", tmp_path / "no")
        page = (tmp_path / "official" / "report.html").read_text()
        assert "data:image/jpeg" in page and "xyz_procrustes_al_auc3d" in page
    official, metrics = (strict_json(folder / "metrics.json") for folder in (tmp_path / "official", out))
    assert done.out == (tmp_path / "official" / "scores.txt").read_text()
    assert done.out.splitlines()[0] == f"xyz_mean3d: {official['xyz_mean3d']:f}" and len(official) == 14
    for name, value in official.items():
        assert metrics[name] == pytest.approx(value, rel=2e-4, abs=3e-4), name
