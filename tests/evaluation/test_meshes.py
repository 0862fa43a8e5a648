"""Meshes and tables of predictions: which frames, what an independent reader sees in the files, and refusals."""

import csv
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import trimesh
from h2onet.data.clips import ClipStore
from h2onet.errors import InputError
from h2onet.evaluation.evaluate import evaluate_clips
from h2onet.evaluation.meshes import MeshChoice
from h2onet.hand.gltf import FROM_OPENCV
from h2onet.hand.mano import HandModel

LEFT = "S2/left/cam1"


def listed(out: Path) -> list[dict[str, str]]:
    with (out / "meshes" / "frames.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def read(path: Path) -> trimesh.Trimesh:
    mesh = trimesh.load_mesh(path, process=False)
    assert isinstance(mesh, trimesh.Trimesh)
    if path.suffix == ".glb":
        mesh.apply_transform(np.diag([*FROM_OPENCV, 1.0]))
    return mesh


@pytest.mark.parametrize("form", ["obj", "ply", "glb"])
def test_meshes_are_those_of_the_prediction_and_the_truth(
    form: str, store: Path, make_checkpoint, hand: HandModel, tmp_path: Path
) -> None:
    frames = tmp_path / "frames.txt"
    frames.write_text(f"# two\nS1/R1/cam0/0004\n\n{LEFT} frame 2\n")
    options = {"meshes": form, "mesh_frames": str(frames), "predictions_out": tmp_path / "all.npz", "report": False}
    evaluate_clips(make_checkpoint(), store, tmp_path / "out", **options)
    rows, index = listed(tmp_path / "out"), ClipStore.open(store).index
    assert [(row["sequence"], row["frame"]) for row in rows] == [("S1/R1/cam0", "4"), (LEFT, "2")]
    assert len(list((tmp_path / "out" / "meshes").iterdir())) == 5
    with np.load(tmp_path / "all.npz") as file:
        said = {name: file[name] for name in file.files}
    for row in rows:
        (n,) = np.flatnonzero((said["sequence"] == row["sequence"]) & (said["frame"] == int(row["frame"])))
        predicted, truth = (read(tmp_path / "out" / "meshes" / row[name]) for name in ("prediction", "truth"))
        assert predicted.vertices == pytest.approx(said["vertices"][n], abs=2e-6)
        # The true mesh: its joints are the annotated ones, its outside is outside, for left hands too.
        joints = hand.joint_regressor_21("manopth") @ truth.vertices
        assert np.abs(joints - index["joints"][n]).max() < 2e-3
        # The wrist is open, and its rim would count for a closed mesh: the sign is that of the outward normals.
        normals = np.einsum("ij,ij->i", truth.face_normals, truth.triangles_center - truth.centroid)
        assert (truth.area_faces * normals).sum() > 0
        assert float(row["mpjpe_mm"]) >= float(row["pa_mpjpe_mm"]) > 0


def test_best_and_worst_are_by_the_aligned_error(store: Path, make_checkpoint, tmp_path: Path) -> None:
    evaluate_clips(
        make_checkpoint(), store, tmp_path, meshes="ply", mesh_frames="best:2, worst:3,every:20", report=False
    )
    with np.load(tmp_path / "frames.npz") as file:
        error, keys, numbers = file["pa_mpjpe_mm"], file["sequence"], file["frame"]
    order = np.argsort(error)
    expected = sorted({0, 20, *order[:2].tolist(), *order[-3:].tolist()})
    assert [(row["sequence"], int(row["frame"])) for row in listed(tmp_path)] == [
        (keys[n], numbers[n]) for n in expected
    ]
    # Another choice replaces the folder, so that what lies there is what frames.csv names.
    evaluate_clips(make_checkpoint(), store, tmp_path, meshes="obj", mesh_frames="every:100", report=False)
    assert sorted(path.name for path in (tmp_path / "meshes").iterdir()) == [
        "S1_R1_cam0_000000-truth.obj",
        "S1_R1_cam0_000000.obj",
        "frames.csv",
    ]


def test_stage_1_meshes_stand_at_the_origin(store: Path, make_checkpoint, tmp_path: Path) -> None:
    evaluate_clips(make_checkpoint(oriented=False), store, tmp_path, meshes="ply", mesh_frames="best:1", report=False)
    (row,) = listed(tmp_path)
    for name in ("prediction", "truth"):
        assert np.abs(read(tmp_path / "meshes" / row[name]).vertices).max() < 0.5


def test_without_truth_there_is_the_prediction_alone(make_store, make_checkpoint, tmp_path: Path) -> None:
    clips = make_store({"SM10": 3}, dataset="ho3d-v3", known=False)
    options = {"meshes": "ply", "report": False}
    with pytest.raises(InputError, match="no frame is best or worst; give every:N"):
        evaluate_clips(make_checkpoint(), clips, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
    evaluate_clips(make_checkpoint(), clips, tmp_path / "out", mesh_frames="every:1", **options)
    assert [(row["truth"], row["pa_mpjpe_mm"]) for row in listed(tmp_path / "out")] == [("", "")] * 3


@pytest.mark.parametrize("chosen", ["worst", "worst:0", "best:-1", "best:2,nowhere.txt", "", "best:2,,worst:2"])
def test_other_choices_are_refused(chosen: str) -> None:
    with pytest.raises(InputError, match="--mesh-frames: expected best:N"):
        MeshChoice.parse("obj", chosen)


def test_lists_of_frames_are_checked_before_any_work(store: Path, make_checkpoint, tmp_path: Path) -> None:
    frames, out = tmp_path / "frames.txt", tmp_path / "out"
    for text, words in (
        ("S1/R1/cam0/0099\n", r"no frame 99 of sequence 'S1/R1/cam0'"),
        ("S9/R1/cam0/0000\n", r"no frame 0 of sequence 'S9/R1/cam0'"),
        ("S1/R1/cam0/0001\nS1\n", r"line 2: expected SEQUENCE/FRAME, found 'S1'"),
        ("# nothing\n", "names no frame"),
    ):
        frames.write_text(text)
        with pytest.raises(InputError, match=words):
            evaluate_clips(make_checkpoint(), store, out, meshes="obj", mesh_frames=str(frames))
    assert not out.exists()
    (out / "meshes").mkdir(parents=True)
    (out / "meshes" / "mine.obj").write_text("somebody's own")
    with pytest.raises(InputError, match="not of h2o evaluate"):
        evaluate_clips(make_checkpoint(), store, out, meshes="obj")
    assert [path.name for path in out.rglob("*.*")] == ["mine.obj"]


def test_a_table_that_cannot_be_written_is_refused(
    store: Path, make_checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "pyarrow" else find(name, *more)
    )
    for name, words in (("said.csv", r"\.npz or \.parquet"), ("said.parquet", "pip install pyarrow")):
        with pytest.raises(InputError, match=words):
            evaluate_clips(make_checkpoint(), store, tmp_path / "out", predictions_out=tmp_path / name)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    for options in (
        {"out": tmp_path / "file"},
        {"out": tmp_path / "file" / "deeper" / "out"},
        {"out": tmp_path / "out", "predictions_out": tmp_path / "file" / "said.npz"},
        {"out": tmp_path / "out", "dexycb_txt": tmp_path / "file" / "pose.txt"},
    ):
        with pytest.raises(InputError, match="file is a file, expected a folder"):
            evaluate_clips(make_checkpoint(), store, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_parquet_holds_what_npz_holds(store: Path, make_checkpoint, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: no parquet")
    for name in ("said.npz", "said.parquet"):
        evaluate_clips(make_checkpoint(), store, tmp_path / "out", predictions_out=tmp_path / name, report=False)
    table = parquet.read_table(tmp_path / "said.parquet").to_pydict()
    with np.load(tmp_path / "said.npz") as file:
        for name in ("sequence", "recording", "frame", "is_left", "dataset_index"):
            assert table[name] == file[name].tolist()
        for name in ("box", "mano_pose"):
            np.testing.assert_array_equal(np.array(table[name], np.float32), file[name])
        for name in ("joints", "vertices"):
            assert np.array(table[name], np.float32).reshape(22, -1, 3).tolist() == file[name].tolist()
