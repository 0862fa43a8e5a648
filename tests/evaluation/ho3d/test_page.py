"""The page of a scored pred.json: what it says agrees with the scores, and pictures stand where the photos are."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import raw_trees as raw
from h2onet.evaluation.ho3d.official import evaluate_predictions
from h2onet.evaluation.ho3d.pictures import Photos, draw_pictures

FRAMES = {"SB11": 6, "AP10": 5, "AP11": 5}
NOISE = {"SB11": 0.002, "AP10": 0.004, "AP11": 0.02}  # m, by sequence


@pytest.fixture(autouse=True)
def no_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos are where the test puts them."""
    monkeypatch.delenv("HO3D_DIR", raising=False)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HO3D's own tree with its released truth."""
    root = raw.write_ho3d(tmp_path_factory.mktemp("tree") / "HO3D", evaluation=FRAMES)
    raw.write_released(root)
    return root


@pytest.fixture(scope="module")
def predictions(tree: Path) -> Path:
    """The truth with noise by sequence; AP10/0003 is not predicted."""
    rng, lists = np.random.default_rng(0), []
    lines = (tree / "evaluation.txt").read_text().split()
    for name in ("xyz", "verts"):
        points = [np.array(frame) for frame in json.loads((tree / f"evaluation_{name}.json").read_text())]
        said = [(p + rng.normal(0, NOISE[line[:4]], p.shape)).tolist() for p, line in zip(points, lines, strict=True)]
        said[lines.index("AP10/0003")] = None
        lists.append(said)
    path = tree.parent / "pred.json"
    path.write_text(json.dumps(lists))
    return path


@pytest.fixture(scope="module")
def scored(tree: Path, predictions: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    out = tmp_path_factory.mktemp("scored")
    return out, evaluate_predictions(predictions, tree, "ho3d-v2", out)


def cells(page: str) -> dict[str, list[str]]:
    """The texts of every table row by its first cell."""
    rows = re.findall(r"<tr[^>]*>(<td.*?)</tr>", page, re.S)
    split = [[re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)] for row in rows]
    return {row[0]: row[1:] for row in split if row}


def test_the_page_says_what_the_scores_say(scored: tuple[Path, dict[str, float]]) -> None:
    out, scores = scored
    page = (out / "report.html").read_text()
    rows = cells(page)
    for key, value in scores.items():
        (found,) = [row for name, row in rows.items() if name.startswith(f"{key} (")]
        assert found[0] == f"{value:f}"
        if "auc" not in key:  # an interval of means over frames, in the unit of its key
            low, high = (float(bound) for bound in found[1].split(" to "))
            assert low - 1e-3 <= value <= high + 1e-3, key
    assert rows["this evaluation"][0] == f"{10 * scores['xyz_procrustes_al_mean3d']:.2f}".removesuffix("0")
    assert rows["H2ONet, multi frame"][:6] == ["8.5", "82.9", "8.6", "82.8", "57.0", "96.6"]
    assert rows["AP10"][:2] == ["4", "1"] and rows["SB11"][:2] == ["6", "0"]
    worst = [name for name in rows if re.fullmatch(r"[A-Z0-9]+/\d{4}", name)]
    assert len(worst) == 10 and {name[:4] for name in worst[:5]} == {"AP11"}
    assert "1 of 16 frames are not predicted" in page and "the whole of ho3d-v2 11524" in page
    assert rows["predictions sha256"] == [json.loads((out / "protocol.json").read_text())["predictions_sha256"]]
    assert re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']*|url\((?!#)[^)]*\)|@import[^;]*""", page) == []


def test_curves_hold_the_scores(scored: tuple[Path, dict[str, float]]) -> None:
    out, scores = scored
    curves = json.loads((out / "report.json").read_text())
    titles = {
        "joints": "xyz", "joints, aligned": "xyz_procrustes_al", "joints, scale and translation": "xyz_scale_trans_al",
        "vertices": "mesh", "vertices, aligned": "mesh_al",
    }  # fmt: skip
    assert set(curves["pck"]) == set(titles)
    for title, key in titles.items():
        line = curves["pck"][title]
        assert np.trapezoid(line["value"], line["threshold_m"]) / 0.05 == pytest.approx(
            scores[f"{key}_auc3d"], abs=1e-6
        )
    for title, key in (("as submitted", "f_score"), ("aligned", "f_al_score")):
        line = dict(zip(curves["f_score"][title]["threshold_m"], curves["f_score"][title]["value"], strict=True))
        assert len(line) == 15 and list(line.values()) == sorted(line.values())
        assert line[0.005] == pytest.approx(scores[f"{key}_5"], abs=1e-6)
        assert line[0.015] == pytest.approx(scores[f"{key}_15"], abs=1e-6)
    assert {path.name for path in (out / "pieces").iterdir()} == {"pck.png", "f_score.png"}


def test_sequences_add_up(scored: tuple[Path, dict[str, float]]) -> None:
    out, scores = scored
    rows = json.loads((out / "breakdown.json").read_text())["sequence"]
    assert {key: row["frames"] + row["not_predicted"] for key, row in rows.items()} == FRAMES
    mean = sum(row["frames"] * row["mpvpe_mm"] for row in rows.values()) / 15
    assert mean / 10 == pytest.approx(scores["mesh_mean3d"], abs=1e-6)
    assert rows["SB11"]["pa_mpjpe_mm"] < rows["AP10"]["pa_mpjpe_mm"] < rows["AP11"]["pa_mpjpe_mm"]


def test_pictures_come_from_the_photos_where_they_are(
    scored: tuple[Path, dict[str, float]], tree: Path, predictions: Path, tmp_path: Path, monkeypatch
) -> None:
    page = (scored[0] / "report.html").read_text()
    assert page.count("data:image/jpeg") == 9 * 4 and "frames have no pictures" not in page
    lone = tmp_path / "truth"
    lone.mkdir()
    for name in ("evaluation_xyz.json", "evaluation_verts.json", "evaluation.txt"):
        (lone / name).write_bytes((tree / name).read_bytes())
    assert evaluate_predictions(predictions, lone, "ho3d-v2", tmp_path / "a") == scored[1]
    page = (tmp_path / "a" / "report.html").read_text()
    assert "data:image" not in page and f"no photos in {lone}/evaluation" in page
    monkeypatch.setenv("HO3D_DIR", str(tree))
    evaluate_predictions(predictions, lone, "ho3d-v2", tmp_path / "b")
    assert (tmp_path / "b" / "report.html").read_text().count("data:image/jpeg") == 9 * 4


def test_photos_that_cannot_be_used_are_named(tree: Path, predictions: Path, tmp_path: Path) -> None:
    photos = Photos.beside(tree, "ho3d-v2")
    assert not isinstance(photos.frame("SB11/0000"), str)
    assert "0099.png: the photo is missing" in str(photos.frame("SB11/0099"))
    assert "the photo is missing" in str(Photos.beside(tree, "ho3d-v3").frame("SB11/0000"))  # v3 has .jpg
    copy = raw.write_ho3d(tmp_path / "HO3D", evaluation=FRAMES)
    raw.write_released(copy)
    for photo in (copy / "evaluation").rglob("*.png"):
        photo.write_bytes(b"no picture")
    (copy / "evaluation/SB11/meta/0001.pkl").write_bytes(b"no meta")
    assert "meta/0001.pkl: " in str(Photos.beside(copy, "ho3d-v2").frame("SB11/0001"))
    evaluate_predictions(predictions, copy, "ho3d-v2", tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "data:image" not in page and "9 frames have no pictures (evaluation/" in page


def test_frames_without_names_still_give_a_page(tree: Path, predictions: Path, tmp_path: Path) -> None:
    for name in ("evaluation_xyz.json", "evaluation_verts.json"):
        (tmp_path / name).write_bytes((tree / name).read_bytes())
    evaluate_predictions(predictions, tmp_path, "ho3d-v3", tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert json.loads((tmp_path / "out" / "breakdown.json").read_text()) == {"sequence": {}, "confidence_95": {}}
    assert "No intervals: the frames have no names" in page and "line 4" in page and "H2ONet" not in page


def test_dots_lie_where_the_camera_sees_the_vertices(tree: Path) -> None:
    found = Photos.beside(tree, "ho3d-v2").frame("AP10/0002")
    assert not isinstance(found, str)
    frame, photo = found
    truth = raw.posed("right", 2, "ho3d").vertices
    drawn = draw_pictures(frame, photo, truth + np.array([0.02, 0.0, 0.0]), truth)
    assert list(drawn) == ["crop", "truth", "prediction", "error, 0 to 30 mm"]
    seen = raw.projected(truth)
    low, high = seen.min(0), seen.max(0)
    # The square of the crop: the larger side of the vertices' box enlarged by half, about its middle.
    side = 1.5 * (high - low).max()
    expected = (seen - (low + high) / 2) * 256 / side + 128
    changed = (drawn["truth"] != drawn["crop"]).any(2)
    rows, columns = np.nonzero(changed)
    radius = 3.0
    extent = np.array([columns.min(), rows.min(), columns.max(), rows.max()])
    assert extent == pytest.approx([*(expected.min(0) - radius), *(expected.max(0) + radius)], abs=2.0)
    inside = [changed[round(y), round(x)] for x, y in expected]
    assert np.mean(inside) > 0.98
    orange = drawn["truth"][changed].mean(0)
    blue = drawn["prediction"][(drawn["prediction"] != drawn["crop"]).any(2)].mean(0)
    assert orange[0] > orange[2] + 50 and blue[2] > blue[0] + 50
    where = [np.argwhere((drawn[name] != drawn["crop"]).any(2)).mean(0)[1] for name in ("truth", "prediction")]
    shift = 0.02 * raw.FX / truth[:, 2].mean() * 256 / side
    assert where[1] - where[0] == pytest.approx(shift, rel=0.1)
    # A hand that only stands elsewhere has no error of its own: all dots are of the blue end.
    heat = drawn["error, 0 to 30 mm"]
    dots = heat[(heat != 245).any(2)]
    assert (dots[:, 2].astype(int) >= dots[:, 0]).mean() > 0.95
