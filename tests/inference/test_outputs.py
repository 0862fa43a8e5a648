"""The folder of a run: what is not this command's stays, what is half done is found again."""

import fcntl
import os
from pathlib import Path

import cv2
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
    _chance,
    check_output_folder,
    draw_hand,
    fitting_name,
    whole_run,
    write_occlusion,
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
    changed, all_of_it = (seen != hidden).any(2), shown.all(0)
    assert not changed[~shown.any(0)].any()
    assert all_of_it.sum() > side and 0.35 < changed[all_of_it].mean() < 0.65


def words_of(hands: list[tuple[int, float]], height: int = 240, width: int = 640) -> np.ndarray:
    """What is written into a grey picture for hands of these numbers whose fingers are so likely hidden."""
    picture = np.full((height, width, 3), 128, np.uint8)
    at = np.zeros((21, 3))
    write_occlusion(
        picture,
        [(number, HandResult(at, at, at[:, :2], np.full(6, chance), None, np.zeros(4), "given", "right", True))
         for number, chance in hands],
    )  # fmt: skip
    return picture


def test_words_of_several_hands_stand_beside_each_other() -> None:
    """What one hand says changes no pixel of what another says, and no pixel is written outside a narrow picture."""
    for width in (640, 150):
        before = words_of([(0, 0.1), (1, 0.2), (2, 0.3)], width=width, height=400)
        places = []
        for hand in range(3):
            changed = [(0, 0.1), (1, 0.2), (2, 0.3)]
            changed[hand] = (hand, 0.15 + 0.1 * hand)
            places.append((words_of(changed, width=width, height=400) != before).any(2))
        assert all(place.any() for place in places) and not (np.sum(places, axis=0) > 1).any()
    assert words_of([(0, 0.1), (1, 0.9)], 7, 9).shape == (7, 9, 3)


@pytest.mark.parametrize("chance", [0.0, 0.06, 0.44, 0.88, 1.0])
def test_words_are_white_with_a_dark_edge_all_round(chance: float) -> None:
    """Beside every bright pixel there is a dark one, and no dark one is far from a bright one."""
    grey = words_of([(0, chance)]).mean(2)
    bright, dark = grey > 200, grey < 70
    assert bright.sum() > 100
    near = lambda mask, reach: cv2.dilate(mask.astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8)) > 0  # noqa: E731
    assert (near(dark, 2) | ~bright).all() and (near(grey > 150, 3) | ~dark).all()


def test_words_give_the_probability_of_what_they_say() -> None:
    assert _chance("thumb", 0.06) == "thumb seen 94%" and _chance("thumb", 0.88) == "thumb hidden 88%"
