"""Hands from landmarks: what a camera would see of known hands comes back as those hands, in their place."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from h2onet.errors import InputError
from h2onet.hand.arrays import load_arrays
from h2onet.hand.skinning import SkinnedHand
from h2onet.hand.standin.arrays import write_mano_pickles
from h2onet.inference.cameras import Camera, picture_camera
from h2onet.inference.detection.finder import HandFinder
from h2onet.inference.detector import DetectedHand, Detector
from h2onet.inference.landmark_hands import LARGEST_SHAPE, LandmarkModel, LandmarkPredictor
from h2onet.inference.mano_fit import MeshFitter
from h2onet.inference.predict import predict
from hand_fakes import DotNetworks, paint_hand

MODEL = LandmarkModel("standin")
K = np.array([[610.0, 0, 320], [0, 610, 240], [0, 0, 1]])


def posed(side: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A likely hand: vertices (778, 3) and joints (21, 3) m about the wrist, and where it stands (3,) m."""
    rng = np.random.default_rng(seed)
    hand = SkinnedHand(load_arrays("standin", side))
    coefficients = 0.5 * rng.normal(size=45) * hand.arrays.hands_coeffs.std(0)
    fingers = hand.arrays.hands_mean + coefficients @ hand.arrays.hands_components
    turn = rng.normal(size=3)
    pose = np.concatenate([rng.uniform(0.3, 2.5) * turn / np.linalg.norm(turn), fingers])[None]
    shape = 0.7 * rng.normal(size=(1, 10))
    [vertices], [joints] = hand.pose(pose, shape, -hand.root(shape))
    return vertices, joints, np.array([rng.uniform(-0.2, 0.2), rng.uniform(-0.15, 0.15), rng.uniform(0.4, 0.9)])


def detected(side: str, joints: np.ndarray, place: np.ndarray, noise: float = 0.0, seed: int = 0) -> DetectedHand:
    """What the landmark model would say: exact pixels, and joints about their middle, off by `noise` m."""
    seen = (joints + place) @ K.T
    world = joints - joints.mean(0) + np.random.default_rng(seed).normal(0, noise, joints.shape)
    return DetectedHand(0, side, seen[:, :2] / seen[:, 2:], 0.99, 0.9, world)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("noise", [0.0, 0.004])
def test_a_hand_comes_back_where_it_was(side: str, noise: float) -> None:
    picture, camera = np.zeros((480, 640, 3), np.uint8), picture_camera(640, 480, K)
    away, meshes, pixels, off = [], [], [], []
    for seed in range(12):
        vertices, joints, place = posed(side, seed)
        hand = detected(side, joints, place, noise, seed)
        result = LandmarkPredictor(MODEL)(picture, hand, camera)
        assert result.side == side and result.oriented and result.occluded is None and result.root_from == "intrinsics"
        assert result.root is not None and result.misfit is not None
        assert np.array_equal(result.joints_2d, hand.landmarks)
        placed = (result.joints + result.root) @ K.T
        pixels.append(np.linalg.norm(placed[:, :2] / placed[:, 2:] - hand.landmarks, axis=1).mean())
        away.append(np.linalg.norm(result.joints - joints, axis=1).mean())
        meshes.append(np.linalg.norm(result.vertices - vertices, axis=1).mean())
        off.append(abs(result.root[2] / place[2] - 1))
    size = 610 * 0.18 / 0.65  # of a hand in these pictures, px
    assert np.median(pixels) < 0.015 * size and max(pixels) < 0.05 * size
    assert np.median(away) < (0.004 if noise == 0 else 0.007) and np.median(meshes) < (0.005 if noise == 0 else 0.008)
    assert np.median(off) < 0.05


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_parameters_are_those_of_the_mesh(side: str) -> None:
    _, joints, place = posed(side, 3)
    result = LandmarkPredictor(MODEL)(
        np.zeros((480, 640, 3), np.uint8), detected(side, joints, place), picture_camera(640, 480, K)
    )
    assert result.mano_pose is not None and result.mano_shape is not None and result.mano_wrist is not None
    hand = SkinnedHand(load_arrays("standin", side))
    shape = result.mano_shape[None]
    [mesh], _ = hand.pose(result.mano_pose[None], shape, result.mano_wrist[None] - hand.root(shape))
    assert np.abs(mesh - result.vertices).max() < 1e-9 and np.abs(result.joints[0]).max() < 1e-9
    a, b, c = result.vertices[LandmarkPredictor(MODEL).faces(side)].transpose(1, 0, 2)
    assert (a * np.cross(b, c)).sum() > 0, "faces outward"


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_size_of_the_landmarks_own_metres_does_not_matter(side: str) -> None:
    """They are off by up to half, and hands would be as small, with shapes that nobody has."""
    picture, camera = np.zeros((480, 640, 3), np.uint8), picture_camera(640, 480, K)
    _, joints, place = posed(side, 4)
    hand = detected(side, joints, place)
    one, half = (LandmarkPredictor(MODEL)(picture, replace(hand, world=f * hand.world), camera) for f in (1.0, 0.5))
    assert np.abs(one.vertices - half.vertices).max() < 1e-6 and one.doubts == half.doubts == ()


@pytest.mark.parametrize("focal", [40.0, 150.0, 6000.0])
@pytest.mark.parametrize("middle", [(112.0, 112.0), (5000.0, 5000.0)])
def test_another_camera_than_the_pictures_takes_no_hand_apart(focal: float, middle: tuple[float, float]) -> None:
    wrong = np.array([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1]])
    for seed in range(6):
        _, joints, place = posed("right", seed)
        hand = detected("right", joints, place)
        result = LandmarkPredictor(MODEL)(np.zeros((480, 640, 3), np.uint8), hand, picture_camera(640, 480, wrong))
        assert result.mano_shape is not None and result.mano_error is not None
        assert np.abs(result.mano_shape).max() < LARGEST_SHAPE
        assert np.ptp(result.joints, axis=0).max() < 0.25 and result.mano_error < 0.05


def test_landmarks_that_are_one_point_are_refused() -> None:
    hand = detected("right", *posed("right", 1)[1:])
    with pytest.raises(InputError, match="one and the same point"):
        LandmarkPredictor(MODEL)(
            np.zeros((480, 640, 3), np.uint8), replace(hand, world=np.zeros((21, 3))), picture_camera(640, 480, K)
        )


def test_without_a_camera_there_is_no_place() -> None:
    _, joints, place = posed("right", 1)
    assumed = picture_camera(640, 480, None)
    assert isinstance(assumed, Camera)
    result = LandmarkPredictor(MODEL)(np.zeros((480, 640, 3), np.uint8), detected("right", joints, place), assumed)
    assert result.root_from is None and result.misfit is not None and result.misfit < 0.05


def test_what_it_needs_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((50, 50, 3), np.uint8))
    given = {"images": tmp_path / "images", "out": tmp_path / "out"}
    with pytest.raises(InputError, match=r"^--checkpoint landmarks: .* give --detector FILE$"):
        predict("landmarks", **given, mano="standin")
    with pytest.raises(InputError, match=r"^--boxes: not with --checkpoint landmarks"):
        predict("landmarks", **given, mano="standin", boxes="b.json")
    with pytest.raises(InputError, match=r"a\.png: is a file; give the folder it lies in"):
        predict("landmarks", tmp_path / "out", images=tmp_path / "images" / "a.png")
    with pytest.raises(InputError, match=r"^--sequence: says that --images are frames"):
        predict("landmarks", tmp_path / "out", video=tmp_path / "v.avi", sequence=True)


def test_one_side_is_enough_for_hands_of_that_side(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_mano_pickles(tmp_path)
    (tmp_path / "MANO_LEFT.pkl").unlink()
    predictor = LandmarkPredictor(LandmarkModel(tmp_path))
    assert "left hands are listed as failures" in caplog.text
    MeshFitter(tmp_path, warn=False)  # as --smooth has it beside the model
    assert len(caplog.records) == 1
    MeshFitter(tmp_path)
    assert "hands of that side get no MANO parameters" in caplog.text
    picture, camera = np.zeros((480, 640, 3), np.uint8), picture_camera(640, 480, K)
    _, joints, place = posed("right", 2)
    assert predictor(picture, detected("right", joints, place), camera).side == "right"
    with pytest.raises(InputError, match=r"MANO_LEFT\.pkl"):
        predictor(picture, detected("left", *posed("left", 2)[1:]), camera)


@pytest.fixture
def dots(monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector that takes two coloured dots for a flat hand, wherever the file is."""
    monkeypatch.setattr(Detector, "open", lambda path, stride: Detector(HandFinder(DotNetworks()), sha256="5" * 64))


@pytest.mark.usefixtures("dots")
@pytest.mark.parametrize("smooth", [False, True])
def test_a_video_becomes_meshes_without_a_network(tmp_path: Path, smooth: bool) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 20, (320, 240))
    for frame in range(8):
        picture = np.full((240, 320, 3), 60, np.uint8)
        paint_hand(picture, np.array([130 + 4 * frame, 170]), np.array([140 + 4 * frame, 110]))
        writer.write(np.ascontiguousarray(picture[..., ::-1]))
    writer.release()
    given = {"video": tmp_path / "v.avi", "out": tmp_path / "out", "detector": "models.task", "smooth": smooth}
    for wrong, told in (
        ({}, "--mano DIR, or --mano standin"),
        ({"mano": "standin", "hierarchy": "h.pkl"}, "--hierarchy"),
    ):
        with pytest.raises(InputError, match=told):
            predict("landmarks", **given, **wrong)
    assert not (tmp_path / "out").exists()
    summary = predict("landmarks", **given, mano="standin", meshes="glb", fov=60.0)
    assert (summary.frames, summary.hands, summary.failures) == (8, 8, 0)
    rows = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    assert all(row["side"] == "right" and row["root_from"] == "fov" and row["occluded"] is None for row in rows)
    assert all(np.array(row["mano_pose"]).shape == (48,) and np.isfinite(row["root"]).all() for row in rows)
    assert all(row["mano_error_m"] < 0.02 for row in rows)
    said = json.loads((tmp_path / "out" / "run.json").read_text())
    assert said["checkpoint"] == "landmarks" and said["checkpoint_sha256"] == "5" * 64
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {
        "overlay.mp4",
        "animation.glb",
        "mano.npz",
        "meshes",
    }
