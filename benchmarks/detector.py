"""What the detector costs: one run of each model by OpenCV and by LiteRT, and its share of a video's frames.

    python benchmarks/detector.py --models hand_landmarker.task --picture hand.jpg --json benchmarks/detector.json

Processor time of one thread (all engines and torch are held to one), so that other processes on the machine matter
little; the median over runs. The video is the picture, moved about a larger one; the network has full width, and its
weights are untrained, which costs the same. The share is that of all processor time of the frames after the first
second: decoding, detector, network, drawing, mesh files, video encoding.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from h2onet.hand.mano import load_hand
from h2onet.inference import predict as predicting
from h2onet.inference.detection.finder import HandFinder
from h2onet.inference.detection.model_files import read_models
from h2onet.inference.detection.networks import HAND_SIDE, STRIDES, HandNetworks
from h2onet.inference.detection.palms import SIDE
from h2onet.inference.detector import DetectedHand, Detector
from h2onet.network.checkpoint import save_checkpoint
from h2onet.network.h2onet import NetworkConfig, build_network

ENGINES = ("opencv", "litert")
SIZE = (640, 480)
SETTLED = 30  # frames that are not counted


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description="Cost of the hand detector.")
    parser.add_argument("--models", type=Path, required=True, help="as --detector of h2o predict takes them")
    parser.add_argument("--picture", type=Path, required=True, help="a photograph with one hand, for the video")
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--json", type=Path, help="where the figures are written")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    files = read_models(options.models)
    found: dict = {"machine": f"{platform.machine()}, {platform.system()}, one thread", "models": files.names}
    with tempfile.TemporaryDirectory() as folder:
        video = make_video(Path(folder) / "v.avi", options.picture, options.frames)
        torch.manual_seed(0)
        network = build_network(NetworkConfig(frames=3), load_hand("standin")).eval()
        checkpoint = save_checkpoint(Path(folder) / "net", network)
        for engine in ENGINES:
            networks = HandNetworks(files, engine, threads=1)
            found[engine] = {
                "palms_ms": milliseconds(lambda run=networks.palms: run(noise(SIDE)), options.runs),
                "landmarks_ms": milliseconds(lambda run=networks.hand: run(noise(HAND_SIDE)), options.runs),
                "video": shares(
                    Detector(HandFinder(networks), STRIDES[engine]), checkpoint, video, Path(folder) / engine
                ),
            }
            print(engine, json.dumps(found[engine]))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


def noise(side: int) -> np.ndarray:
    """A square picture."""
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)


def milliseconds(call: Callable[[], object], runs: int) -> float:
    """The median processor time of a call, after two that warm up."""
    taken = []
    for _ in range(runs + 2):
        begun = time.process_time()
        call()
        taken.append(1000 * (time.process_time() - begun))
    return round(statistics.median(taken[2:]), 2)


def make_video(path: Path, picture: Path, frames: int) -> Path:
    """The picture on a grey ground, carried round in it: some pixels a frame, as a hand moves."""
    shown = cv2.imread(str(picture))
    assert shown is not None, picture
    shown = cv2.resize(shown, (280, 280), interpolation=cv2.INTER_AREA)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, SIZE)
    for frame in range(frames):
        x, y = (round(90 + 80 * wave(2 * np.pi * frame / 90)) for wave in (np.sin, np.cos))
        ground = np.full((SIZE[1], SIZE[0], 3), 120, np.uint8)
        ground[y : y + 280, x + 90 : x + 370] = shown
        writer.write(ground)
    writer.release()
    return path


class Timed(Detector):
    """Notes when each frame's detection began and how much processor time it took."""

    def __init__(self, detector: Detector) -> None:
        self.__dict__.update(detector.__dict__)
        self.begun: list[float] = []
        self.taken: list[float] = []
        self.hands: list[int] = []

    def follow(self, picture: np.ndarray | None) -> list[DetectedHand]:
        """As that of the detector."""
        self.begun.append(time.process_time())
        found = super().follow(picture)
        self.taken.append(time.process_time() - self.begun[-1])
        self.hands.append(len(found))
        return found


def shares(detector: Detector, checkpoint: Path, video: Path, out: Path) -> dict:
    """Milliseconds a frame, of all and of the detector, while its track holds."""
    timed = Timed(detector)
    Detector.open = classmethod(lambda cls, path: timed)  # type: ignore[method-assign, assignment]
    predicting.predict(checkpoint, out, video=video, detector="given", device="cpu")
    count = len(timed.begun) - 1 - SETTLED
    whole = 1000 * (timed.begun[-1] - timed.begun[SETTLED]) / count
    own = 1000 * sum(timed.taken[SETTLED:-1]) / count
    return {
        "frames_with_the_hand": sum(number == 1 for number in timed.hands) / len(timed.hands),
        "frames_with_palms": timed.tracker.palm_runs,
        "frame_ms": round(whole, 2),
        "detector_ms": round(own, 2),
        "share": round(own / whole, 4),
    }


if __name__ == "__main__":
    main()
