"""HO3D's official scores: the golden case, partial predictions, and everything that is refused."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from h2onet.errors import InputError
from h2onet.evaluation.ho3d.files import write_ho3d
from h2onet.evaluation.ho3d.official import evaluate_predictions
from h2onet.hand.camera import opencv_from_opengl
from h2onet.hand.parts import JOINTS_FROM_MANO

LINES = ["SM1/0000", "SM1/0001", "SM1/0002", "AP10/0007", "AP10/0008"]
Release = Callable[..., tuple[Path, Path]]


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """Writes a ground truth folder of five frames and a pred.json; the change to the prediction is the caller's."""

    def make(change: Callable[[list, list], object] = lambda joints, vertices: None) -> tuple[Path, Path]:
        rng, place = np.random.default_rng(0), np.array([0.0, 0.0, -0.6])
        joints = rng.normal(0, 0.04, (5, 21, 3)) + place
        vertices = rng.normal(0, 0.04, (5, 778, 3)) + place
        (tmp_path / "evaluation_xyz.json").write_text(json.dumps(joints.tolist()))
        (tmp_path / "evaluation_verts.json").write_text(json.dumps(vertices.tolist()))
        (tmp_path / "evaluation.txt").write_text("\n".join(LINES) + "\n")
        lists = [(points + rng.normal(0, 0.004, points.shape)).tolist() for points in (joints, vertices)]
        replaced = change(*lists)
        path = tmp_path / "pred.json"
        path.write_text(json.dumps(lists if replaced is None else replaced))
        return tmp_path, path

    return make


def test_golden_scores_to_the_last_printed_digit(golden: Path, tmp_path: Path) -> None:
    folder = golden / "ho3d_evaluation"
    scores = evaluate_predictions(folder / "pred.json", folder, "ho3d-v2", tmp_path)
    expected = (folder / "scores.txt").read_text()
    assert (tmp_path / "scores.txt").read_text() == expected
    assert [f"{name}: {value:f}" for name, value in scores.items()] == expected.split("\n")[:-1]
    assert json.loads((tmp_path / "metrics.json").read_text()) == scores


def test_missing_frames_are_named_and_the_rest_is_scored(release: Release, tmp_path: Path) -> None:
    folder, path = release()
    whole = evaluate_predictions(path, folder, "ho3d-v3", tmp_path / "whole")
    assert not (tmp_path / "whole" / "missing.txt").exists()

    def drop(joints: list, vertices: list) -> None:
        joints[1] = vertices[1] = None
        joints[3] = vertices[3] = []

    folder, path = release(drop)
    part = evaluate_predictions(path, folder, "ho3d-v3", tmp_path / "part")
    assert (tmp_path / "part" / "missing.txt").read_text().split() == ["SM1/0001", "AP10/0007"]
    protocol = json.loads((tmp_path / "part" / "protocol.json").read_text())
    assert (protocol["frames"], protocol["frames_missing"]) == (3, 2)
    with np.load(tmp_path / "whole" / "frames.npz") as file:
        kept = file["mpjpe_mm"][[0, 2, 4]].mean() / 10
    assert part["xyz_mean3d"] == pytest.approx(kept, abs=1e-5)
    assert part["xyz_mean3d"] != whole["xyz_mean3d"]


def test_named_frames_in_another_order(release: Release, tmp_path: Path) -> None:
    folder, path = release()
    whole = evaluate_predictions(path, folder, "ho3d-v2", tmp_path / "whole")
    order = [4, 0, 3, 1, 2]
    folder, path = release(lambda joints, vertices: [[joints[n] for n in order], [vertices[n] for n in order]])
    names = tmp_path / "names.txt"
    names.write_text("\n".join(LINES[n] for n in order))
    assert evaluate_predictions(path, folder, "ho3d-v2", tmp_path / "named", frames=names) == pytest.approx(whole)
    names.write_text("\n".join(["SM1/0999", *LINES[1:]]))
    with pytest.raises(InputError, match="SM1/0999"):
        evaluate_predictions(path, folder, "ho3d-v2", tmp_path / "unknown", frames=names)


def scaled(factor: float) -> Callable[[list, list], list]:
    return lambda joints, vertices: [(np.array(part) * factor).tolist() for part in (joints, vertices)]


def set_nan(joints: list, vertices: list) -> None:
    vertices[2][5][1] = float("nan")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda joints, vertices: [joints[:4], vertices[:4]], "expected 5 frames .* found 4"),
        (lambda joints, vertices: [joints, vertices[:4]], "lists of 5, 4 frames"),
        (lambda joints, vertices: [[*joints[:-1], joints[0][:20]], vertices], "frame 4: expected 21 points"),
        (lambda joints, vertices: [[[*p[:5], [*p[5], 1.0], *p[6:]] for p in joints], vertices], "64 numbers"),
        (lambda joints, vertices: [[None, *joints[1:]], vertices], "frame 0 has vertices only"),
        (set_nan, "NaN after 7 frames"),
        (
            lambda joints, vertices: [(np.array(part) * [1, -1, -1]).tolist() for part in (joints, vertices)],
            "all z are positive.*multiply by",
        ),
        (scaled(0.0), "every hand is a single point"),
        (scaled(1000.0), "divide by 1000"),
        (scaled(100.0), "divide by 100"),
        (
            lambda joints, vertices: [np.array(joints)[:, list(JOINTS_FROM_MANO)].tolist(), vertices],
            "reorder them to HO3D's joint order",
        ),
        (lambda joints, vertices: {"joints": joints}, "not of HO3D's JSON format"),
    ],
)
def test_what_cannot_be_meant_is_refused(release: Release, tmp_path: Path, change: Callable, words: str) -> None:
    folder, path = release(change)
    with pytest.raises(InputError, match=words) as error:
        evaluate_predictions(path, folder, "ho3d-v2", tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_point_among_hands_is_scored_and_said(release: Release, tmp_path: Path, caplog) -> None:
    folder, path = release(
        lambda joints, vertices: [[(np.array(part[0]) * 0).tolist(), *part[1:]] for part in (joints, vertices)]
    )
    scores = evaluate_predictions(path, folder, "ho3d-v2", tmp_path / "out")
    assert f"1 of 5 hands are a single point (all zeros?) and are scored as given: {LINES[0]};" in caplog.text
    assert np.isfinite(list(scores.values())).all()


def test_hands_relative_to_a_joint_are_scored_and_said(release: Release, tmp_path: Path, caplog) -> None:
    folder, path = release()
    absolute = evaluate_predictions(path, folder, "ho3d-v2", tmp_path / "absolute")
    assert not caplog.text.count("origin")

    def centre(joints: list, vertices: list) -> list:
        middle = np.array(joints)[:, 4:5]
        return [(np.array(part) - middle).tolist() for part in (joints, vertices)]

    folder, path = release(centre)
    relative = evaluate_predictions(path, folder, "ho3d-v2", tmp_path / "relative")
    assert "joint 4 is at the origin in every frame" in caplog.text
    assert relative["xyz_mean3d"] > 10 > absolute["xyz_mean3d"]
    assert relative["xyz_procrustes_al_mean3d"] == pytest.approx(absolute["xyz_procrustes_al_mean3d"], abs=1e-5)


def test_missing_files_and_datasets_are_named(release: Release, tmp_path: Path) -> None:
    folder, path = release()
    with pytest.raises(InputError, match="nowhere"):
        evaluate_predictions(tmp_path / "nowhere.json", folder, "ho3d-v2", tmp_path / "out")
    with pytest.raises(InputError, match="ho3d-v2 or ho3d-v3"):
        evaluate_predictions(path, folder, "dexycb", tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file is a file, expected a folder"):
        evaluate_predictions(path, folder, "ho3d-v2", tmp_path / "file")
    (folder / "evaluation_verts.json").unlink()
    with pytest.raises(InputError, match="evaluation_verts"):
        evaluate_predictions(path, folder, "ho3d-v2", tmp_path / "out")


def test_export_is_read_back_with_the_same_scores(release: Release, tmp_path: Path) -> None:
    """Our own pred.json, from OpenCV axes and our joint order, scores like the file that was in HO3D's form."""
    folder, path = release()
    expected = evaluate_predictions(path, folder, "ho3d-v2", tmp_path / "given")
    joints, vertices = (np.array(part) for part in json.loads(path.read_text()))
    a6 = opencv_from_opengl(joints)[:, [0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20]]
    archive = write_ho3d(tmp_path / "ours.json", a6, opencv_from_opengl(vertices), lines=np.arange(5))
    assert evaluate_predictions(tmp_path / "ours.json", folder, "ho3d-v2", tmp_path / "ours") == pytest.approx(
        expected, abs=1e-5
    )
    assert archive.suffix == ".zip"
    with pytest.raises(InputError, match=r"line 2 of evaluation\.txt"):
        write_ho3d(tmp_path / "gap.json", a6[:4], vertices[:4], lines=np.array([0, 2, 3, 4]))
    assert not (tmp_path / "gap.json").exists()


def test_the_zip_for_the_server_is_read_as_the_json(release: Release, tmp_path: Path) -> None:
    folder, path = release()
    archive = tmp_path / "pred.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.write(path, "pred.json")
    scores = [evaluate_predictions(file, folder, "ho3d-v2", tmp_path / file.suffix[1:]) for file in (path, archive)]
    assert scores[0] == scores[1]
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as bundle:
        bundle.writestr("a.json", "[]")
        bundle.writestr("b.json", "[]")
    damaged = bytearray(archive.read_bytes())
    damaged[2000:2020] = bytes(20)
    (tmp_path / "damaged.zip").write_bytes(damaged)
    for name in ("two.zip", "damaged.zip"):
        with pytest.raises(InputError, match=name):
            evaluate_predictions(tmp_path / name, folder, "ho3d-v2", tmp_path / "out")
