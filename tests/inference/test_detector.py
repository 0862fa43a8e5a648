"""The detector against MediaPipe's own finds on photographs, and `h2o predict` with it: a row for every picture."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from h2onet.errors import InputError
from h2onet.hand.mano import load_hand
from h2onet.inference.detection.finder import HandFinder
from h2onet.inference.detection.networks import STRIDES, has_litert
from h2onet.inference.detector import VARIABLE, DetectedHand, Detector
from h2onet.inference.predict import predict
from h2onet.inference.prediction_run import NO_HAND
from h2onet.network.checkpoint import save_checkpoint
from h2onet.network.h2onet import NetworkConfig, build_network
from hand_fakes import DotNetworks, hand_shape, paint_hand, world_of

ENGINES = ("opencv", "litert")


@pytest.fixture(scope="module", params=ENGINES)
def detector(request: pytest.FixtureRequest) -> Detector:
    """The published models, run by each engine."""
    path = os.environ.get(VARIABLE)
    if not path:
        pytest.skip(f"the detector's models are not here: {VARIABLE} names no file")
    if request.param == "litert" and not has_litert():
        pytest.skip("ai-edge-litert is not installed")
    return Detector.open(path, request.param)


def photo(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path))
    assert picture is not None, path
    return np.ascontiguousarray(np.asarray(picture, np.uint8)[..., ::-1])


def away(hand: DetectedHand, truth: np.ndarray) -> np.ndarray:
    """Distance of every landmark as a share of the true hand's box."""
    return np.linalg.norm(hand.landmarks - truth, axis=1) / np.ptp(truth, axis=0).max()


# -- against MediaPipe ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference(shared: Path) -> dict[str, list[dict]]:
    """What MediaPipe itself finds, by photograph."""
    path = shared / "golden" / "mediapipe" / "landmarks.json"
    if not path.is_file():
        pytest.skip("MediaPipe's own landmarks are not among the reference data")
    return json.loads(path.read_text())["photos"]


def test_finds_what_mediapipe_finds(detector: Detector, reference: dict, shared: Path) -> None:
    false, distances = 0, []
    for name, wanted in reference.items():
        found = detector.find(photo(shared / "data" / "photos" / name))
        assert len(found) >= len(wanted), f"{name}: a hand is missed"
        false += len(found) - len(wanted)
        for hand in wanted:
            truth = np.array(hand["xy"])
            nearest = min(found, key=lambda each: away(each, truth).mean())
            distances.append(away(nearest, truth))
            assert np.median(distances[-1]) < 0.03, name
            # MediaPipe's word is that of a mirror.
            assert nearest.side == {"Left": "right", "Right": "left"}[hand["side"]], name
            assert nearest.presence > 0.5 and nearest.score > 0.5
    assert len(distances) == 8 and false <= 1
    assert np.median(distances) < 0.01


def test_a_mirrored_photo_shows_the_other_hand(detector: Detector, reference: dict, shared: Path) -> None:
    for name in ("138_img.jpg", "3698_img.jpg"):
        picture = photo(shared / "data" / "photos" / name)
        [plain] = detector.find(picture)
        [mirrored] = detector.find(np.ascontiguousarray(picture[:, ::-1]))
        assert (plain.side, mirrored.side) == ("right", "left")
        back = mirrored.landmarks * [-1, 1] + [picture.shape[1], 0]
        assert np.median(away(plain, back)) < 0.03


def test_two_hands_in_a_turned_large_picture(detector: Detector, reference: dict, shared: Path) -> None:
    photos = [photo(shared / "data" / "photos" / name) for name in ("2299_img.jpg", "138_img.jpg")]
    picture = np.concatenate([photos[0], photos[1][:, ::-1]], 1)
    picture = cv2.resize(picture, None, fx=5, fy=5, interpolation=cv2.INTER_CUBIC)
    for turns in range(4):
        turned = np.ascontiguousarray(np.rot90(picture, turns))
        assert sorted(hand.side for hand in detector.find(turned)) == ["left", "right"], turns


def test_two_photographed_hands_that_cross(detector: Detector, reference: dict, shared: Path) -> None:
    """A right and a left hand, cut out of photographs, pass each other in 300 frames: numbers and sides stay."""
    if detector._finder._networks.engine != "litert":  # type: ignore[attr-defined]
        pytest.skip("300 frames take OpenCV half a minute; LiteRT runs the same models")
    right, left = (cut_out_hand(reference, shared, name) for name in ("138_img.jpg", "2299_img.jpg"))
    left = (left[0][:, ::-1], left[1][:, ::-1])
    paper = cv2.GaussianBlur(np.random.default_rng(0).integers(60, 160, (360, 640, 3), np.uint8), (0, 0), 9)
    detector = Detector(detector._finder, STRIDES["litert"])
    seen = []
    for frame in range(300):
        swing = 200 * np.cos(2 * np.pi * frame / 150)
        places = {"right": np.array([320 + swing, 180]), "left": np.array([320 - swing, 190])}
        picture = paper.copy()
        for side, (hand, mask) in (("left", left), ("right", right)):
            x, y = np.round(places[side] - 112).astype(int)
            window = picture[y : y + 224, x : x + 224]
            window[:] = np.where(mask[..., None], hand, window)
        found = detector.follow(picture)
        nearest = [min(places, key=lambda side: abs(hand.box[[0, 2]].mean() - places[side][0])) for hand in found]
        apart = abs(2 * swing) > 100
        seen += [(hand.number, hand.side, near) for hand, near in zip(found, nearest, strict=True) if apart]
        assert len(found) <= 2 and (not apart or frame < 20 or len(found) >= 1)
    owners = {number: near for number, _, near in seen[:4]}
    assert sorted(owners.values()) == ["left", "right"] and {number for number, *_ in seen} == set(owners)
    assert all(owners[number] == side == near for number, side, near in seen)
    assert len(seen) > 300


def cut_out_hand(reference: dict, shared: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A photograph and the mask of the hand in it: what is near the bones."""
    picture, landmarks = photo(shared / "data" / "photos" / name), np.array(reference[name][0]["xy"])
    mask = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(landmarks[[0, 1, 5, 9, 13, 17]].round().astype(np.int32)), 1)
    for finger in range(5):
        chain = landmarks[[0, *range(1 + 4 * finger, 5 + 4 * finger)]].round().astype(np.int32)
        cv2.polylines(mask, [chain], False, 1, 24)
    return picture, mask > 0


# -- h2o predict with it --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = build_network(NetworkConfig(frames=1, width=0.125), load_hand("standin")).eval()
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint") / "net", network)


@pytest.fixture
def dots(monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector that takes two coloured dots for a hand, wherever the file is."""
    monkeypatch.setattr(Detector, "open", lambda path, stride: Detector(HandFinder(DotNetworks())))


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def painted(shape: tuple[int, int, int], wrist: tuple[float, float], middle: tuple[float, float]) -> np.ndarray:
    picture = np.full(shape, 60, np.uint8)
    paint_hand(picture, np.array(wrist), np.array(middle))
    return picture


@pytest.mark.usefixtures("dots")
def test_every_picture_of_a_folder_has_its_row(checkpoint: Path, tmp_path: Path) -> None:
    """A hand, none, a panorama of 8,000 px, a broken file: nothing is lost, nothing stops the rest."""
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    save = {
        "hand.png": painted((240, 320, 3), (150, 160), (170, 110)),
        "empty.png": np.full((240, 320, 3), 60, np.uint8),
        "panorama.png": painted((700, 8000, 3), (7000, 400), (7000, 300)),
    }
    for name, picture in save.items():
        cv2.imwrite(str(images / name), picture[..., ::-1])
    (images / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    summary = predict(checkpoint, out, images=images, detector="models.task", meshes="none")
    assert (summary.frames, summary.hands, summary.failures, summary.without_hands) == (3, 2, 2, 0)
    failed = {row["name"]: row["reason"] for row in rows(out / "failures.jsonl")}
    assert set(failed) == {"empty.png", "broken.jpg"} and failed["empty.png"] == NO_HAND
    first, second = rows(out / "predictions.jsonl")
    assert (first["name"], second["name"]) == ("hand.png", "panorama.png")
    for row, wrist in ((first, (150, 160)), (second, (7000, 400))):
        said = row["detector"]
        assert np.array(said["landmarks"]).shape == (21, 2) and said["landmarks"][0] == pytest.approx(wrist, abs=1.5)
        assert said["presence"] == 0.98 and 0.9 < said["score"] < 1
        assert row["box_from"] == "detected" and row["side"] == "right"
        low, high = np.array(row["box"])[:2], np.array(row["box"])[2:]
        assert (low < np.array(said["landmarks"]).min(0)).all() and (high > np.array(said["landmarks"]).max(0)).all()


class TwoHands(Detector):
    """A left and a right hand in every picture."""

    def find(self, picture: np.ndarray) -> list[DetectedHand]:
        place = np.array([picture.shape[1] / 3, picture.shape[0] / 1.5])
        found = [
            (side, 60 * hand_shape(side == "right") + place * [1 + n, 1]) for n, side in enumerate(("left", "right"))
        ]
        return [
            DetectedHand(number, side, landmarks, 0.99, 0.8, world_of(landmarks))
            for number, (side, landmarks) in enumerate(found)
        ]


def test_several_hands_are_several_rows(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Detector, "open", lambda path, stride: TwoHands(HandFinder(DotNetworks())))
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8))
    summary = predict(checkpoint, tmp_path / "out", images=tmp_path / "images", detector="models.task")
    assert (summary.hands, summary.failures) == (2, 0)
    found = rows(tmp_path / "out" / "predictions.jsonl")
    assert [(row["hand"], row["side"]) for row in found] == [(0, "left"), (1, "right")]
    assert sorted(path.name for path in (tmp_path / "out" / "meshes").iterdir()) == ["a-0.obj", "a-1.obj"]


@pytest.mark.usefixtures("dots")
def test_a_video_in_which_a_hand_comes_and_goes(checkpoint: Path, tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 20, (320, 240))
    empty = (0, 1, 6, 7)
    for frame in range(12):
        picture = painted((240, 320, 3), (150 + 4 * frame, 160), (160 + 4 * frame, 110))
        writer.write(np.full_like(picture, 60) if frame in empty else np.ascontiguousarray(picture[..., ::-1]))
    writer.release()
    out = tmp_path / "out"
    summary = predict(checkpoint, out, video=tmp_path / "v.avi", detector="models.task", meshes="none")
    assert (summary.frames, summary.hands, summary.failures, summary.without_hands) == (12, 8, 0, 4)
    assert "4 without a hand" in str(summary)
    found = rows(out / "predictions.jsonl")
    assert {row["hand"] for row in found} == {0}, "it is the same hand when it comes back"
    assert {int(row["name"]) for row in rows(out / "failures.jsonl")} == set(empty)
    assert {int(row["name"]) for row in found} | set(empty) == set(range(12))


def test_boxes_and_detector_are_one_too_many(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match="--boxes and --detector"):
        predict(checkpoint, tmp_path / "out", images=tmp_path / "images", boxes="b.json", detector="models.task")
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((50, 50, 3), np.uint8))
    (tmp_path / "models.task").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"no whole \.task") as error:
        predict(checkpoint, tmp_path / "out", images=tmp_path / "images", detector=tmp_path / "models.task")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()
