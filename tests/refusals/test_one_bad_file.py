"""One bad file is one row of failures.jsonl, whatever is wrong with it: the others are labelled, the exit code is 1."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import cli_trees as trees
import numpy as np
import pytest
import raw_trees as raw
from h2onet.hand.pickles import safe_load

h2o, prepare = trees.h2o, trees.prepare
LABEL = f"{raw.SUBJECT}/{raw.SEQUENCE}/{raw.SERIAL}/labels_000003.npz"


def only_row(folder: Path, done: trees.Done) -> dict[str, str]:
    """The one row of a run that lost one frame."""
    assert done.code == 1 and "1 failed" in done.out and "Traceback" not in done.err, done
    [row] = [json.loads(line) for line in (folder / "failures.jsonl").read_text("utf-8").splitlines()]
    assert len(row["reason"]) < 400 and row["reason"].isprintable()
    return row


# -- DexYCB -------------------------------------------------------------------------------------------------------


def _npy(path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    path.write_bytes(buffer.getvalue())


def _no_arrays(path: Path) -> None:
    with np.load(path) as file:
        names = file.files
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(f"{name}.npy", b"no array")


def _text(path: Path) -> None:
    raw.change_label(path, seg=np.full((480, 640), "255"))


def _complex(path: Path) -> None:
    raw.change_label(path, pose_m=np.ones((1, 51), np.complex64))


def _huge(path: Path) -> None:
    raw.change_label(path, joint_3d=np.full((1, 21, 3), 2**63, np.uint64))


def _other_shape(path: Path) -> None:
    raw.change_label(path, pose_y=np.zeros((2, 3, 400), np.float32))


def _infinite(path: Path) -> None:
    raw.change_label(path, pose_m=np.full((1, 51), np.inf, np.float32))


@pytest.mark.parametrize("damage", [_npy, _no_arrays, _text, _complex, _huge, _other_shape, _infinite])
def test_a_label_archive_of_dexycb(damage: Callable[[Path], None], dexycb: Path, tmp_path: Path) -> None:
    root = shutil.copytree(dexycb, tmp_path / "dexycb")
    damage(root / LABEL)
    row = only_row(tmp_path / "o", h2o(*prepare(tmp_path / "o" / "l.zarr", root)))
    assert row["file"].endswith(("labels_000003.npz", "color_000003.jpg"))


# -- HO3D ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["ho3d-v2", "ho3d-v3"])
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    root = tmp_path_factory.mktemp("raw") / request.param
    return request.param, raw.write_ho3d(root, request.param[-2:], train={"ABF10": 4})


METAS = {
    "objName with a line break": {"objName": "003_cracker_box\nx"},
    "objName of 5,000 letters": {"objName": "x" * 5000},
    "objName that leads elsewhere": {"objName": "../../models"},
    "objName that is a number": {"objName": 3},
    "camMat of huge integers": {"camMat": [[10**40] * 3] * 3},
    "handPose of text": {"handPose": np.array(["x"] * 48)},
    "handBeta of complex numbers": {"handBeta": np.ones(10, np.complex128)},
    "handTrans in a dictionary": {"handTrans": {"x": 1}},
    "objTrans of another shape": {"objTrans": np.zeros((4, 4))},
    "handJoints3D of lists of other lengths": {"handJoints3D": [[1.0], [1.0, 2.0]]},
}


@pytest.mark.parametrize("change", METAS.values(), ids=METAS)
def test_a_meta_of_ho3d(change: dict, release: tuple[str, Path], tmp_path: Path) -> None:
    dataset, source = release
    root, name = shutil.copytree(source, tmp_path / "ho3d"), "train/ABF10/meta/0002.pkl"
    meta = safe_load(root / name)
    raw.save_meta(root / name, meta | change)
    row = only_row(tmp_path / "o", h2o(*prepare(tmp_path / "o" / "l.zarr", root, dataset)))
    assert row["file"] == name and next(iter(change)) in row["reason"]


@pytest.mark.parametrize("number", [2**31 - 1, 2**31, 10**17])
def test_a_number_of_a_list_that_no_photo_has(number: int, release: tuple[str, Path], tmp_path: Path) -> None:
    dataset, source = release
    root = shutil.copytree(source, tmp_path / "ho3d")
    (root / "train.txt").write_text((root / "train.txt").read_text() + f"ABF10/{number}\n")
    row = only_row(tmp_path / "o", h2o(*prepare(tmp_path / "o" / "l.zarr", root, dataset)))
    assert f"/{number}." in row["file"]


@pytest.mark.parametrize(
    "line", ["../x/0001", "A B/0001", "ABF10/" + "9" * 19, "ABF10/\u0661", "x" * 5000 + "/1", "ABF10/-1"]
)
def test_a_line_of_a_list_that_names_no_frame(line: str, release: tuple[str, Path], tmp_path: Path) -> None:
    dataset, source = release
    root, out = shutil.copytree(source, tmp_path / "ho3d"), tmp_path / "o"
    (root / "train.txt").write_text((root / "train.txt").read_text() + line + "\n", "utf-8")
    error = trees.refused(out, *prepare(out / "l.zarr", root, dataset))
    assert f"{root / 'train.txt'}: line 5 is" in error and len(error) < 200 + len(str(root))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("num_frames: 1000000000", "num_frames is 1000000000"),
        ("num_frames: true", "num_frames is True"),
        ("mano_calib: ['../../x']", "mano_calib"),
        ("ycb_ids: [99999999999999999999999999]", "ycb_ids"),
        ("mano_sides: [" + "x" * 400 + "]", "mano_sides"),
        ("extrinsics: " + "[" * 20 + "]" * 20, "nested"),
    ],
)
def test_a_meta_of_dexycb(text: str, said: str, dexycb: Path, tmp_path: Path) -> None:
    root, folder = shutil.copytree(dexycb, tmp_path / "dexycb"), tmp_path / "o"
    meta = root / raw.SUBJECT / raw.SEQUENCE / "meta.yml"
    key = text.partition(":")[0]
    lines = [line for line in meta.read_text().splitlines() if not line.startswith(key)]
    meta.write_text("\n".join([*lines, text]) + "\n")
    done = h2o(*prepare(folder / "l.zarr", root))
    told = done.error if done.code == 2 else (folder / "failures.jsonl").read_text()
    assert str(meta) in told and said in told and len(told) < 500 + len(str(meta))
