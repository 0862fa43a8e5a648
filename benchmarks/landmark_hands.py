"""Hands fitted to the detector's landmarks, without a network: how true they are, and what they cost.

    python benchmarks/landmark_hands.py --models MODELS --photos DIR --json benchmarks/landmark_hands.json
    python benchmarks/landmark_hands.py --models MODELS --smoke          does the script run

In 3D against the truth of synthetic photos, lifting and gestures, in which the detector finds the hand (its landmarks
within 0.3 of the true hand's box): joints about the wrist, aligned by rotation, scale and translation, and the wrist's
depth. Beside it the network that comes with the program on the same hands, by the same boxes. In 2D against the
landmarks themselves, on real photographs (NAME_img.jpg, beside it NAME_K.npy): only whether mesh and picture agree.
REPEATS 0 is the fit to the landmark model's 3D points alone. MODELS as `--detector` of `h2o predict` takes them.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from h2onet.data.datasets import iter_frames, list_sequences
from h2onet.data.frame import Frame
from h2onet.data.synthesize import SynthesizeSettings, synthesize
from h2onet.evaluation.metrics import similarity_aligned
from h2onet.inference.cameras import picture_camera
from h2onet.inference.detector import DetectedHand, Detector
from h2onet.inference.hand_result import HandResult
from h2onet.inference.landmark_hands import LandmarkModel, LandmarkPredictor
from h2onet.inference.predictor import Predictor

REPEATS = (0, 1, 2, 4)
SAME = 0.3  # of the hand's box


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description="Hands from landmarks.")
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--recordings", type=int, default=12, help="of lifting and of gestures each, by 2 cameras")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--smoke", action="store_true", help="two recordings")
    options = parser.parse_args()
    torch.set_num_threads(1)
    detector = Detector.open(options.models)
    found = {"synthetic": synthetic(detector, 2 if options.smoke else options.recordings)}
    if options.photos is not None:
        found["photos"] = photographs(detector, options.photos)
    text = json.dumps(found, indent=1)
    print(text)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(text + "\n")


def synthetic(detector: Detector, recordings: int) -> dict:
    """Errors of the hands that the detector finds in synthetic photos, by how often the fit is repeated."""
    seen, hands = 0, list[tuple[Frame, np.ndarray, DetectedHand]]()
    with tempfile.TemporaryDirectory() as name:
        for handling in ("lift", "gestures"):
            root = Path(name) / handling
            synthesize(
                SynthesizeSettings(
                    root, "dexycb", handling=handling, sequences=recordings, frames=6, cameras=2, seed=41
                )
            )
            for frame in frames(root):
                seen += 1
                picture = read(root / frame.image)
                match = nearest(detector.find(picture), frame.joints_2d)
                if match is not None:
                    hands.append((frame, picture, match))
    rows = {str(repeats): summary(hands, by_landmarks(hands, repeats)) for repeats in REPEATS}
    network = Predictor("synthetic", track=False, device="cpu")
    rows["network"] = summary(
        hands,
        [network(picture, hand.box, hand.side, intrinsics=frame.intrinsics) for frame, picture, hand in hands],
    )
    sides = statistics.mean(frame.side == hand.side for frame, _, hand in hands)
    return {"photos": seen, "found": len(hands), "right_side": round(sides, 3), "rows": rows}


def frames(root: Path) -> Iterator[Frame]:
    """Every annotated frame of a synthetic tree whose hand lies in the picture."""
    for split in ("train", "val", "test"):
        for sequence in list_sequences("dexycb", root, split, mano=root / "mano", warn=False):
            for frame in iter_frames(sequence, masks=False):
                if not isinstance(frame, Frame) or frame.joints_2d is None:
                    continue
                if ((frame.joints_2d >= 0) & (frame.joints_2d < (frame.width, frame.height))).all():
                    yield frame


def read(path: Path) -> np.ndarray:
    """A picture, RGB."""
    picture = cv2.imread(str(path))
    assert picture is not None, path
    return np.ascontiguousarray(np.asarray(picture, np.uint8)[..., ::-1])


def nearest(found: list[DetectedHand], truth: np.ndarray | None) -> DetectedHand | None:
    """The find that is the true hand."""
    assert truth is not None
    size = np.ptp(truth, axis=0).max()
    away = [np.linalg.norm(hand.landmarks - truth, axis=1).mean() / size for hand in found]
    return found[int(np.argmin(away))] if away and min(away) < SAME else None


def by_landmarks(hands: list[tuple[Frame, np.ndarray, DetectedHand]], repeats: int) -> list[HandResult]:
    """Every hand fitted, the fit repeated so often."""
    predictor = LandmarkPredictor(LandmarkModel("standin"), repeats)
    return [
        predictor(picture, hand, picture_camera(frame.width, frame.height, frame.intrinsics))
        for frame, picture, hand in hands
    ]


def summary(hands: list[tuple[Frame, np.ndarray, DetectedHand]], results: list[HandResult]) -> dict:
    """Means and medians over hands."""
    aligned, about_wrist, depth, pixels = [], [], [], []
    for (frame, _, _), result in zip(hands, results, strict=True):
        assert frame.joints is not None and frame.joints_2d is not None
        truth = frame.joints - frame.joints[0]
        moved = np.asarray(similarity_aligned(result.joints[None], truth[None]))[0]
        aligned.append(1000 * np.linalg.norm(moved - truth, axis=1).mean())
        about_wrist.append(1000 * np.linalg.norm(result.joints - truth, axis=1).mean())
        if result.root is not None:
            depth.append(abs(result.root[2] / frame.root[2] - 1))
            pixels.append(miss(result, frame.intrinsics, frame.joints_2d))
    names = ("pa_mpjpe_mm", "mpjpe_mm", "depth_share", "error_2d_share")
    return {
        name: {"mean": round(float(np.mean(values)), 4), "median": round(float(np.median(values)), 4)}
        for name, values in zip(names, (aligned, about_wrist, depth, pixels), strict=True)
    }


def miss(result: HandResult, intrinsics: np.ndarray, points: np.ndarray) -> float:
    """How far the placed joints fall from points (21, 2) px, as a share of their box."""
    assert result.root is not None
    seen = (result.joints + result.root) @ intrinsics.T
    return float(np.linalg.norm(seen[:, :2] / seen[:, 2:] - points, axis=1).mean() / np.ptp(points, axis=0).max())


def photographs(detector: Detector, folder: Path) -> dict:
    """Agreement with the landmarks on real photographs, and the time of a fit, by repeats."""
    hands = []
    for path in sorted(folder.glob("*_img.*")):
        picture, matrix = read(path), np.load(path.with_name(path.name.split("_img")[0] + "_K.npy")).astype(float)
        hands += [(picture, hand, matrix) for hand in detector.find(picture)]
    rows = {}
    for repeats in REPEATS:
        predictor = LandmarkPredictor(LandmarkModel("standin"), repeats)
        misses, spent = [], []
        for _ in range(3):  # the first round compiles
            misses, spent = [], []
            for picture, hand, matrix in hands:
                camera = picture_camera(picture.shape[1], picture.shape[0], matrix)
                began = time.process_time()
                result = predictor(picture, hand, camera)
                spent.append(1000 * (time.process_time() - began))
                misses.append(miss(result, matrix, hand.landmarks))
        rows[str(repeats)] = {
            "miss_mean": round(statistics.mean(misses), 4),
            "miss_median": round(statistics.median(misses), 4),
            "cpu_ms_median": round(statistics.median(spent), 1),
        }
    return {"hands": len(hands), "rows": rows}


if __name__ == "__main__":
    main()
