"""h2o predict --smooth: everything that is written shows the same smoothed hands, frame by frame."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from cli_trees import h2o
from h2onet.errors import InputError
from h2onet.hand.arrays import load_arrays
from h2onet.hand.skinning import SkinnedHand
from h2onet.inference.predict import predict
from h2onet.inference.predictor import HandResult
from h2onet.inference.smooth_run import SmoothReport, SmoothRun
from h2onet.network.checkpoint import save_checkpoint
from h2onet.network.h2onet import H2ONet
from mesh_reader import read_mesh

FRAMES = 9


@pytest.fixture(scope="module")
def checkpoint(untrained: Callable[[int], H2ONet], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint") / "net", untrained(1))


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A picture that changes a little from frame to frame."""
    rng = np.random.default_rng(1)
    ground = cv2.resize(rng.integers(0, 255, (9, 12, 3), np.uint8), (120, 90), interpolation=cv2.INTER_CUBIC)
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 20, (120, 90))
    for _ in range(FRAMES):
        writer.write(np.clip(ground + rng.normal(0, 12, ground.shape), 0, 255).astype(np.uint8))
    writer.release()
    return tmp_path / "v.avi"


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    """The same box in every frame; in frame 4 there is no hand."""
    named = {str(frame): [] if frame == 4 else [{"box": [20, 5, 100, 85]}] for frame in range(FRAMES)}
    (tmp_path / "boxes.json").write_text(json.dumps(named))
    return tmp_path / "boxes.json"


def rows(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]


def test_what_a_run_writes_shows_the_smooth_hands(checkpoint: Path, video: Path, boxes: Path, tmp_path: Path) -> None:
    words = ("predict", "--checkpoint", checkpoint, "--video", video, "--boxes", boxes, "--mano", "standin")
    words = (*words, "--intrinsics", "130,130,60,45", "--meshes", "ply")
    raw, smooth = tmp_path / "raw", tmp_path / "smooth"
    assert h2o(*words, "--out", raw).code == 0
    done = h2o(*words, "--out", smooth, "--smooth")
    assert done.code == 0, done
    before, after = rows(raw), rows(smooth)
    assert [row["name"] for row in after] == [f"{frame:06d}" for frame in range(FRAMES) if frame != 4]
    changed = {"joints_m", "joints_2d_px", "root_m", "mano_pose", "mano_shape", "mano_wrist_m", "mano_error_m"}
    for old, new in zip(before, after, strict=True):
        assert list(old) == list(new) and {name for name in old if old[name] != new[name]} <= changed | {"root"}
    joints = [np.array([row["joints_m"] for row in found]) for found in (before, after)]
    spread = [np.diff(each, 2, axis=0).std() for each in joints]
    assert 0 < spread[1] < 0.6 * spread[0]
    hand = SkinnedHand(load_arrays("standin", "right"))
    with np.load(smooth / "mano.npz") as arrays:
        assert arrays["mano_pose"].tolist() == [row["mano_pose"] for row in after]
    for row in after:
        shape = np.array([row["mano_shape"]])
        vertices, _ = hand.pose(np.array([row["mano_pose"]]), shape, np.array(row["mano_wrist_m"]) - hand.root(shape))
        drawn, _ = read_mesh(smooth / "meshes" / f"{row['name']}.ply")
        away = np.linalg.norm(vertices[0] + np.array(row["root_m"] or (0, 0, 0)) - drawn, axis=1).mean()
        assert away == pytest.approx(row["mano_error_m"], abs=5e-6)
    told = json.loads((smooth / "run.json").read_text())["smoothing"]
    assert (told["hands"], told["parts"]) == (1, 1)
    assert all(0 < told["after"][name] < told["before"][name] for name in ("joints_mm", "joints_2d_px"))
    line = next(line for line in done.out.splitlines() if line.startswith("smoothed 1 hands in 1 parts"))
    assert f"joints {told['before']['joints_mm']:.2f} -> {told['after']['joints_mm']:.2f} mm" in line
    capture = cv2.VideoCapture(str(smooth / "overlay.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == FRAMES
    capture.release()


def test_one_shape_for_all_frames_of_a_hand(checkpoint: Path, video: Path, boxes: Path, tmp_path: Path) -> None:
    words = ("predict", "--checkpoint", checkpoint, "--video", video, "--boxes", boxes, "--meshes", "none")
    words = (*words, "--out", tmp_path / "out", "--one-shape")
    for missing in ((), ("--smooth",), ("--mano", "standin")):
        assert "--one-shape: " in h2o(*words, *missing).error and not (tmp_path / "out").exists()
    assert h2o(*words, "--smooth", "--mano", "standin").code == 0
    shapes = {tuple(row["mano_shape"]) for row in rows(tmp_path / "out")}
    assert len(shapes) == 1 and json.loads((tmp_path / "out" / "run.json").read_text())["one_shape"] is True


def test_pictures_in_order_are_smoothed_and_unrelated_ones_refused(checkpoint: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(3):
        picture = np.random.default_rng(number).integers(0, 255, (60, 80, 3), np.uint8)
        cv2.imwrite(str(images / f"{number}.png"), picture)
    words = ("predict", "--checkpoint", checkpoint, "--images", images, "--out", tmp_path / "out", "--smooth")
    assert "--smooth: unrelated pictures" in h2o(*words).error and not (tmp_path / "out").exists()
    done = h2o(*words, "--sequence")
    assert done.code == 0 and "smoothed 1 hands" in done.out
    assert (
        len(list((tmp_path / "out" / "overlays").iterdir())) == len(list((tmp_path / "out" / "meshes").iterdir())) == 3
    )


def broken(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def wider(path: Path) -> None:
    cv2.imwrite(str(path), np.zeros((60, 90, 3), np.uint8))


@pytest.mark.parametrize("change", [broken, wider, Path.unlink])
def test_pictures_that_change_between_the_readings_are_refused(change, checkpoint, tmp_path, monkeypatch) -> None:
    """The second reading would draw fewer hands than the rows name, and say nothing of it."""
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    for number in range(3):
        cv2.imwrite(str(images / f"{number}.png"), np.full((60, 80, 3), 60 * number, np.uint8))
    smooth = SmoothRun.smooth

    def meanwhile(self: SmoothRun, told: list[dict]) -> SmoothReport:
        change(images / "1.png")
        return smooth(self, told)

    monkeypatch.setattr(SmoothRun, "smooth", meanwhile)
    with pytest.raises(InputError, match=r"--images .*images: was changed while --smooth read it a second time"):
        predict(checkpoint, out, images=images, sequence=True, smooth=True, device="cpu")
    assert not out.exists()


@pytest.mark.parametrize("frames", [FRAMES - 2, FRAMES + 1])
def test_a_video_that_changes_between_the_readings_is_refused(frames, checkpoint, video, tmp_path, monkeypatch) -> None:
    smooth, out = SmoothRun.smooth, tmp_path / "out"

    def meanwhile(self: SmoothRun, told: list[dict]) -> SmoothReport:
        writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 20, (120, 90))
        for _ in range(frames):
            writer.write(np.zeros((90, 120, 3), np.uint8))
        writer.release()
        return smooth(self, told)

    monkeypatch.setattr(SmoothRun, "smooth", meanwhile)
    with pytest.raises(InputError, match=r"--video .*v\.avi: was changed while --smooth read it a second time"):
        predict(checkpoint, out, video=video, smooth=True, device="cpu")
    assert not out.exists()


def test_every_hand_is_smoothed_by_itself() -> None:
    """Rows stand in the order of the hands of each frame, whatever that is; a run without hands says so."""
    rng = np.random.default_rng(0)
    joints = rng.normal(0, 0.05, (21, 3))
    joints -= joints[0]

    def seen(number: int) -> HandResult:
        moved = joints + rng.normal(0, 1e-3, joints.shape)
        moved, place = moved - moved[0], 300.0 * number
        return HandResult(moved, moved, 1000 * moved[:, :2] + place, None, None, np.zeros(4), "given", "right", True)

    run, written = SmoothRun(None), []
    for frame in range(6):
        numbers = [1, 0] if frame % 2 else [0, 1]
        run.keep([(number, seen(number), np.eye(3)) for number in numbers])
        written += [{"hand": number, "root": None} for number in numbers]
    report = run.smooth(written)
    assert (report.hands, report.parts) == (2, 2) and report.before.wrist_mm is None
    at = iter(written)
    for hands in run.frames:
        for number, result, _ in hands:
            row = next(at)
            assert row["hand"] == number and row["root"] is None and row["mano_pose"] is None
            assert np.array(row["joints_2d_px"]) == pytest.approx(result.joints_2d, abs=0.006)
            assert abs(result.joints_2d[0, 0] - 300 * number) < 50
    nothing = SmoothRun(None)
    nothing.keep([])
    assert "0 hands" in str(nothing.smooth([]))
