"""`h2o doctor --dataset table`: a sound table is ok, and every common mistake is named with its repair."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import raw_trees as raw
import table_trees as tables
from cli_trees import h2o, untouched
from h2onet.doctor_report import Finding
from h2onet.doctor_table import examine_table
from h2onet.hand.basis import hand_basis
from h2onet.hand.camera import opencv_from_opengl, opencv_pose_from_opengl


def rows(side: str = "right", *, joints: bool = True, pixels: bool = False, mask: bool = False) -> list[dict]:
    found = []
    for number in range(4):
        truth = raw.posed(side, number)
        more: dict = {"joints": truth.joints.tolist()} if joints else {}
        more |= {"joints_2d": raw.projected(truth.joints).tolist()} if pixels else {}
        more |= {"mask": f"m/{number}.png"} if mask else {}
        held = [{"name": "003_cracker_box", "pose": raw.object_pose(number).tolist()}]
        found.append(tables.row(number, side, objects=held, grasped=0, **more))
    return found


def write(root: Path, given: list[dict], side: str = "right", **keys) -> Path:
    tables.write(root, given, **keys)
    (root / "models/003_cracker_box").mkdir(parents=True)
    (root / "models/003_cracker_box/textured_simple.obj").write_text(raw.OBJ)
    for number in range(4):
        tables.write_mask(root / f"m/{number}.png", raw.hand_area(raw.posed(side, number).vertices))
    return root


def wrong(root: Path) -> list[Finding]:
    with untouched(root):
        return [finding for finding in examine_table(root, "standin") if finding.status == "wrong"]


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_sound_table_is_ok(tmp_path, side):
    root = write(tmp_path / "t", rows(side, pixels=True, mask=True), side)
    found = list(examine_table(root, "standin"))
    assert {finding.status for finding in found} == {"ok"}, found
    said = "\n".join(map(str, found))
    assert "4 rows of 1 sequences (train 4)" in said and "100% of a hand's joints" in said
    assert "joints 0.0 mm off" in said and "masks overlap by 0." in said and "a mesh for each of 1 objects" in said


SIDES = {"right": "left", "left": "right"}
EVIDENCE = [{"joints": True}, {"joints": False, "pixels": True}, {"joints": False, "mask": True}]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("evidence", EVIDENCE[:2], ids=["joints", "pixels"])
def test_the_wrong_side(tmp_path, side, evidence):
    given = [row | {"side": SIDES[side]} for row in rows(side, **evidence)]
    (finding,) = wrong(write(tmp_path / "t", given, side))
    assert "swap right and left" in finding.advice and "poses do not fit" in finding.what


@pytest.mark.parametrize("evidence", EVIDENCE, ids=["joints", "pixels", "masks"])
def test_components_taken_for_angles(tmp_path, evidence):
    given = rows(**evidence)
    for number, row in enumerate(given):
        truth = raw.posed("right", number)
        row["mano_pose"] = [*truth.pose[:3].tolist(), *(3 * truth.coefficients).tolist()]
        truth_pose = np.r_[truth.pose[:3], hand_basis("standin", "right").finger_pose(3 * truth.coefficients)]
        fill(row, truth_pose, truth.translation, tmp_path / "t", number)
    root = tables.write(tmp_path / "t", given)
    (finding,) = wrong(root)
    assert "say pca = 45" in finding.advice
    text = (root / "dataset.toml").read_text()
    (root / "dataset.toml").write_text("pca = 45\n" + text)
    assert wrong(root) == []


def fill(row: dict, pose: np.ndarray, translation: np.ndarray, root: Path, number: int) -> None:
    """Replace what a row says beside its pose by what another pose makes of it."""
    from h2onet.hand.arrays import load_arrays
    from h2onet.hand.skinning import SkinnedHand

    model = SkinnedHand(load_arrays("standin", "right"))
    vertices, joints = model.pose(pose[None], raw.BETAS[None], translation[None])
    if "joints" in row:
        row["joints"] = joints[0].tolist()
    if "joints_2d" in row:
        row["joints_2d"] = raw.projected(joints[0]).tolist()
    points = raw.projected(vertices[0]).astype(np.int32)
    area = np.zeros((480, 640), np.uint8)
    for face in model.faces:
        cv2.fillConvexPoly(area, points[face], 1)
    tables.write_mask(root / f"m/{number}.png", area.astype(bool))


def test_few_components_are_counted(tmp_path):
    given = [row | {"mano_pose": row["mano_pose"][:18]} for row in rows()]
    (finding,) = wrong(write(tmp_path / "t", given))
    assert "4 faults in 4 sampled rows, first: row 1: mano_pose has shape (18,)" in finding.what
    assert "say pca = 15" in finding.advice


def test_a_mean_that_is_left_out(tmp_path):
    mean = hand_basis("standin", "right").mean
    given = rows()
    for row in given:
        row["mano_pose"] = [*row["mano_pose"][:3], *(np.array(row["mano_pose"][3:]) - mean).tolist()]
    (finding,) = wrong(write(tmp_path / "t", given))
    assert "say flat_hand_mean = false" in finding.advice
    (finding,) = wrong(write(tmp_path / "u", rows(), flat_hand_mean=False))
    assert "say flat_hand_mean = true" in finding.advice


def test_joints_in_manos_order(tmp_path):
    given = [row | {"joints": np.array(row["joints"])[raw.TO_HO3D].tolist()} for row in rows()]
    (finding,) = wrong(write(tmp_path / "t", given))
    assert 'say joint_order = "mano"' in finding.advice


@pytest.mark.parametrize(("factor", "unit"), [(1000, "millimetres"), (100, "centimetres")])
def test_another_unit(tmp_path, factor, unit):
    given = rows()
    for row in given:
        for name in ("translation", "joints"):
            row[name] = (np.array(row[name]) * factor).tolist()
    (finding,) = wrong(write(tmp_path / "t", given))
    assert unit in finding.what and f"by {factor}" in finding.advice


def test_only_one_of_the_columns_is_in_millimetres(tmp_path):
    given = [row | {"translation": (1000 * np.array(row["translation"])).tolist()} for row in rows()]
    found = wrong(write(tmp_path / "t", given))
    assert [each.advice for each in found] == ["translations in millimetres? divide them by 1000"]
    given = [row | {"joints": (1000 * np.array(row["joints"])).tolist(), "wrist": row["joints"][0]} for row in rows()]
    (finding,) = wrong(write(tmp_path / "u", given))
    assert finding.advice == "divide joints and vertices by 1000"
    for row in (given := rows()):
        row["objects"][0]["pose"] = (np.array(row["objects"][0]["pose"]) * [1, 1, 1, 1000]).tolist()
    (finding,) = wrong(write(tmp_path / "v", given))
    assert "objects are 752 m from the camera" in finding.what


def test_opengl_axes(tmp_path):
    given = rows()
    rest = hand_basis("standin", "right").rest_wrist(raw.BETAS)
    for row in given:
        pose = np.array(row["mano_pose"])
        orient, offset = opencv_pose_from_opengl(pose[:3], np.array(row["translation"]), rest)
        row |= {"mano_pose": [*orient.tolist(), *pose[3:].tolist()], "translation": offset.tolist()}
        row["joints"] = opencv_from_opengl(np.array(row["joints"])).tolist()
    (finding,) = wrong(write(tmp_path / "t", given))
    assert "z is negative" in finding.what and "negate y and z" in finding.advice


def test_two_mistakes_are_both_named(tmp_path):
    given = [row | {"side": "left"} for row in rows()]
    for row in given:
        for name in ("translation", "joints"):
            row[name] = (np.array(row[name]) * 1000).tolist()
    found = [each.advice for each in wrong(write(tmp_path / "t", given))]
    assert any("by 1000" in text for text in found) and any("swap right and left" in text for text in found)


def test_a_wrist_that_is_called_translation(tmp_path):
    given = [row | {"translation": row["joints"][0]} for row in rows()]
    (finding,) = wrong(write(tmp_path / "t", given))
    assert "name the column wrist" in finding.advice


def test_photos_of_another_size_and_intrinsics_of_another_camera(tmp_path):
    (finding,) = wrong(write(tmp_path / "t", rows(), size=[1280, 720]))
    assert "the photo is 640x480 px, the table says 1280x720" in finding.what and "intrinsics" in finding.advice
    given = [row | {"intrinsics": [9000.0, 9000.0, 2000.0, 1500.0]} for row in rows()]
    (finding,) = wrong(write(tmp_path / "u", given))
    assert finding.what.startswith("0% of a hand's joints") and "intrinsics" in finding.advice


def test_a_mask_colour_that_is_nowhere(tmp_path):
    (finding,) = wrong(write(tmp_path / "t", rows(mask=True), mask={"right": [255, 0, 0]}))
    assert (
        "4 of 4 masks hold no hand, first: row 1: the hand colour [255, 0, 0] is nowhere in it; it has 0, 255"
        in finding.what
        and "[mask]" in finding.advice
    )


def test_what_cannot_be_checked_is_said(tmp_path):
    root = tables.write(tmp_path / "t", [tables.row(number) for number in range(2)])
    found = {finding.status: finding.what for finding in examine_table(root, "standin")}
    assert "cannot be checked" in found["note"] and "wrong" not in found
    assert len(list(examine_table(root, None))) == 1
    (finding,) = examine_table(tmp_path, None)
    assert finding.status == "missing" and "dataset.toml" in finding.advice


def test_the_command(tmp_path):
    root = write(tmp_path / "t", rows())
    done = h2o("doctor", "--dataset", "table", "--root", root, "--mano", "standin")
    assert done.code == 0 and "poses fit the rest of their rows" in done.out, done
    root = write(tmp_path / "u", [row | {"side": "left"} for row in rows()])
    done = h2o("doctor", "--dataset", "table", "--root", root, "--mano", "standin")
    assert done.code == 1 and "wrong" in done.out and "swap right and left" in done.out
    assert "--root DIR" in h2o("doctor", "--dataset", "table").error
