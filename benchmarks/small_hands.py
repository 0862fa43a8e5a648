"""From what size on the detector finds a hand in a large picture: looked at as a whole, and in pieces as well.

    python benchmarks/small_hands.py --models MODELS --photos DIR --backgrounds A.jpg B.png ... --json FILE

Photographs of hands (NAME_img.jpg) in which the detector finds one are scaled, so that the hand's longer side is a
share of a 1920 x 1080 picture's width, and laid somewhere on a background (pictures without hands, scaled to that
size), three times each. Found is a hand whose landmarks lie within 0.3 of its size of where they should. Everything
else that is found is false, also on the backgrounds by themselves. MODELS as `--detector` of `h2o predict` takes them.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from h2onet.inference.detection.finder import HandFinder, SeenHand, find_hands, new_hands, once
from h2onet.inference.detection.model_files import read_models
from h2onet.inference.detection.networks import HandNetworks

WIDTH, HEIGHT = 1920, 1080
SHARES = (0.12, 0.10, 0.08, 0.06, 0.05, 0.04, 0.03, 0.02)
TIMES = 3
NEAR = 0.3


@dataclass(frozen=True)
class Photo:
    """A photograph of a hand, and where that is in it."""

    picture: np.ndarray
    hand: SeenHand


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description="Small hands in large pictures.")
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--backgrounds", type=Path, nargs="+", required=True)
    parser.add_argument("--engine", default="opencv")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    finder = HandFinder(HandNetworks(read_models(options.models), options.engine, threads=1))
    cv2.setNumThreads(1)
    pictures = [read(path) for path in sorted(options.photos.glob("*_img.*"))]
    photos = [Photo(picture, found[0]) for picture in pictures if (found := find_hands(finder, picture))]
    grounds = [np.asarray(cv2.resize(read(path), (WIDTH, HEIGHT)), np.uint8) for path in options.backgrounds]
    rng = np.random.default_rng(0)
    rows = [measure(finder, photos, grounds, share, rng) for share in SHARES]
    began = time.process_time()
    false = sum(len(find_hands(finder, ground)) for ground in grounds)
    seconds = (time.process_time() - began) / len(grounds)
    without = {"pictures": len(grounds), "false": false, "cpu_s": round(seconds, 2)}
    found = {"photos": len(photos), "engine": options.engine, "rows": rows, "without_a_hand": without}
    print(json.dumps(found, indent=1))
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def read(path: Path) -> np.ndarray:
    """A picture, RGB."""
    picture = cv2.imread(str(path))
    assert picture is not None, path
    return np.ascontiguousarray(np.asarray(picture, np.uint8)[..., ::-1])


def measure(
    finder: HandFinder, photos: list[Photo], grounds: list[np.ndarray], share: float, rng: np.random.Generator
) -> dict:
    """How many hands of this size are found, and what it costs in seconds of one core."""
    row = {"share": share, "hands": 0, "whole": 0, "pieces": 0, "false": 0, "whole_cpu_s": 0.0, "pieces_cpu_s": 0.0}
    for photo in photos:
        scale = share * WIDTH / photo.hand.size
        small = cv2.resize(photo.picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        for _ in range(TIMES):
            scene = grounds[rng.integers(len(grounds))].copy()
            y, x = rng.integers(HEIGHT - small.shape[0] + 1), rng.integers(WIDTH - small.shape[1] + 1)
            scene[y : y + small.shape[0], x : x + small.shape[1]] = small
            truth = photo.hand.landmarks * scale + [x, y]
            for way, look in (("whole", as_a_whole), ("pieces", find_hands)):
                began = time.process_time()
                near = [is_near(hand, truth) for hand in look(finder, scene)]
                row[f"{way}_cpu_s"] += time.process_time() - began
                row[way] += any(near)
            row["false"] += len(near) - any(near)
            row["hands"] += 1
    return {name: round(value / row["hands"], 2) if name.endswith("_s") else value for name, value in row.items()}


def as_a_whole(finder: HandFinder, picture: np.ndarray) -> list[SeenHand]:
    """What one look at the whole picture finds."""
    return once(new_hands(finder, picture, []))


def is_near(hand: SeenHand, truth: np.ndarray) -> bool:
    """Whether a find is the hand with these landmarks (21, 2) px."""
    away = np.linalg.norm(hand.landmarks - truth, axis=1).mean()
    return bool(away < NEAR * np.ptp(truth, axis=0).max())


if __name__ == "__main__":
    main()
