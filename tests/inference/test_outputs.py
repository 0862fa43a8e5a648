"""The folder of a run: what is not this command's stays, what is half done is found again."""

import fcntl
import os
from pathlib import Path

import numpy as np
import pytest
from h2onet.errors import InputError
from h2onet.hand.arrays import load_arrays, parts_by_faces
from h2onet.hand.camera import project
from h2onet.hand.draw import BLUE
from h2onet.hand.parts import FINGER_JOINTS
from h2onet.hand.zbuffer import MULTISAMPLE_4, rasterize
from h2onet.inference.outputs import (
    LONGEST_NAME,
    MARK,
    RUN,
    Outputs,
    check_output_folder,
    draw_hand,
    fitting_name,
    whole_run,
)
from h2onet.inference.predictor import HandResult
from h2onet.inference.sources import InputFrame

HEX = "0123456789abcdef" * 2
FACTS = '{"checkpoint_sha256": "0"}'


def write_run(out: Path, name: str) -> None:
    """A run that writes one overlay."""
    with whole_run(out) as folder:
        (folder / "overlays").mkdir()
        (folder / "overlays" / name).write_text(name)
        (folder / RUN).write_text(FACTS)


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_only_own_leftovers_of_dead_runs_are_swept(tmp_path: Path) -> None:
    others = [".tmp-notes", ".old-photos", f".tmp-run-{HEX}", f".old-run-{HEX}", f".tmp-model-{HEX}"]
    for name in others:
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.txt").write_text("mine")
    (tmp_path / ".tmp-file").write_text("mine")
    dead, living = tmp_path / f".tmp-run-{HEX[::-1]}", tmp_path / f".tmp-run-{'a' * 32}"
    for folder in (dead, living):
        folder.mkdir()
        (folder / MARK).touch()
    (tmp_path / f".tmp-run-{'b' * 32}").symlink_to(living)
    descriptor = os.open(living, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        write_run(tmp_path, "a.jpg")
    finally:
        os.close(descriptor)
    assert not dead.exists() and (living / MARK).exists() and (tmp_path / f".tmp-run-{'b' * 32}").is_symlink()
    assert all((tmp_path / name / "mine.txt").read_text() == "mine" for name in others)
    assert (tmp_path / ".tmp-file").exists() and (tmp_path / "overlays" / "a.jpg").exists()


@pytest.mark.parametrize("moves", range(5))
def test_a_run_killed_while_it_replaced_files_is_done_again(tmp_path: Path, moves: int) -> None:
    """After any of its moves: the next run takes the folder over, and leaves only its own files."""
    out, earlier, unfinished = (tmp_path / name for name in (".", f".tmp-earlier-{HEX}", f".tmp-run-{HEX}"))
    write_run(out, "a.jpg")
    earlier.mkdir()
    write_run(unfinished, "b.jpg")
    for folder in (earlier, unfinished):
        (folder / MARK).touch()
    steps = [(out, earlier, RUN), (out, earlier, "overlays"), (unfinished, out, "overlays"), (unfinished, out, RUN)]
    for source, target, name in steps[:moves]:
        (source / name).rename(target / name)
    check_output_folder(out, None, None)
    write_run(out, "c.jpg")
    assert tree(out) == ["overlays", "overlays/c.jpg", RUN]


def test_files_that_cannot_be_replaced_leave_the_earlier_run(tmp_path: Path, monkeypatch) -> None:
    write_run(tmp_path, "a.jpg")
    rename = os.rename

    def fail_once(source: Path, target: Path) -> None:
        if target == tmp_path / RUN and not failed:
            failed.append(target)
            raise PermissionError(13, "no")
        rename(source, target)

    failed: list[Path] = []
    monkeypatch.setattr(os, "rename", fail_once)
    with pytest.raises(PermissionError):
        write_run(tmp_path, "b.jpg")
    assert tree(tmp_path) == ["overlays", "overlays/a.jpg", RUN]
    check_output_folder(tmp_path, None, None)
    (tmp_path / RUN).unlink()
    with pytest.raises(InputError, match=r"holds overlays, but no run\.json"):
        check_output_folder(tmp_path, None, None)


def test_names_fit_on_every_disk(tmp_path: Path) -> None:
    long = ["y" * 251 + ".png", "y" * 251 + ".jpg", "é" * 125 + "z.png"]
    with Outputs(tmp_path, "none", None) as outputs:
        for name in [*long, "a\nb.png", os.fsdecode(b"\xff.png"), "-x.png"]:
            outputs.add(InputFrame(name, np.zeros((8, 8, 3), np.uint8)), [], None)  # type: ignore[arg-type]
    names = os.listdir(os.fsencode(tmp_path / "overlays"))
    assert len(names) == 6 and {b"a\nb.jpg", b"\xff.jpg", b"-x.jpg"} < set(names)
    fitted = {fitting_name(Path(name).stem, "-1.obj", name) for name in long}
    assert len(fitted) == 3 and all(len(os.fsencode(name)) <= LONGEST_NAME for name in fitted)


@pytest.mark.parametrize("told_by", ["occluded", "joints_seen"])
@pytest.mark.parametrize("side", [224, 1000])
def test_hidden_fingers_are_hatched_and_nothing_else_changes(side: int, told_by: str) -> None:
    """Index and ring finger: the pixels that show some of them change, in stripes; the others are the same bytes."""
    arrays = load_arrays("standin", "right")
    root, camera = np.array([0.06, 0.02, 0.3]), np.array([[side, 0, side / 2], [0, side, side / 2], [0, 0, 1.0]])
    flat = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # the palm towards the camera
    vertices = (arrays.v_template - arrays.joint_regressor[0] @ arrays.v_template) @ flat.T
    picture = np.random.default_rng(0).integers(90, 200, (side, side, 3), np.uint8)

    def draw(hidden: tuple[int, ...]) -> np.ndarray:
        chance, seen = np.zeros(6), np.ones(21)
        for finger in hidden:
            chance[finger], seen[np.array(FINGER_JOINTS[finger])] = 0.9, 0.1
        told = {"occluded": chance} if told_by == "occluded" else {"occluded": None, "joints_seen": seen}
        result = HandResult(
            vertices, np.zeros((21, 3)), np.full((21, 2), -1e3), root=root, box=np.full(4, -50.0), box_from="given",
            side="right", oriented=True, **told,
        )  # fmt: skip
        return draw_hand(picture, result, arrays.faces, camera, BLUE)

    points, parts = project(vertices + root, camera), parts_by_faces(arrays.faces)
    assert parts is not None
    raster = rasterize(points, (vertices + root)[:, 2], arrays.faces, width=side, height=side, samples=MULTISAMPLE_4)
    shown = np.isin(np.where(raster.face < 0, 5, parts.face[raster.face]), [1, 3])
    seen, hidden = draw(()), draw((1, 3))
    legend = np.zeros((side, side), bool)
    legend[:90, :170] = told_by == "occluded"  # its words change
    changed = (seen != hidden).any(2) & ~legend
    assert not changed[~shown.any(0)].any()
    all_of_it = shown.all(0) & ~legend
    assert all_of_it.sum() > side and 0.35 < changed[all_of_it].mean() < 0.65
