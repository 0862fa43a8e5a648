"""What the flag `reliable` of `h2o predict` tells, where its limits come from, how often the spread holds the wrist.

    python benchmarks/reliable.py --out runs/reliable        the network that comes with the program
    python benchmarks/reliable.py --out runs/reliable --models MODELS --every 13 --json runs/benchmarks/presence.json
    python benchmarks/reliable.py --out runs/smoke --smoke   does the script run

Synthetic recordings of lifting and of gestures, of two seeds: on the first ("choose") the limits are looked for, on the
second ("report") those of the program are measured. Every frame is predicted as it is, with the box of its joints, and
spoiled in six ways: the box beside the hand or of a wrong size, the hand cut by the picture's border, a small picture,
a blurred one, a box without a hand, the other side. A hand is wrong where its joints are more than 60 mm off on
average (wrists put together), its 2D joints more than 15 % of the hand's longer side, or where there is none.

With --models (MediaPipe's, docs/predict.md) the detector finds the hands instead, in the frames as they are, of both
seeds: what its presence tells of the network's hands.
"""

import argparse
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from h2onet.data.datasets import iter_frames, list_sequences
from h2onet.data.frame import Frame
from h2onet.data.synthesize import SynthesizeSettings, synthesize
from h2onet.errors import InputError
from h2onet.inference import reliability
from h2onet.inference.detector import Detector
from h2onet.inference.predictor import Predictor
from h2onet.inference.reliability import signs_of
from numpy.typing import NDArray
from scipy.stats import rankdata

SEEDS = {"choose": 31, "report": 32}
HANDLINGS = ("lift", "gestures")
LARGEST_ERROR, LARGEST_ERROR_2D = 0.06, 0.15  # m; share of the hand's longer side in the picture
GRID = {  # misfit at most, extent at least and at most, inside at least
    "misfit": (0.03, 0.04, 0.05, 0.06, 0.07, 0.08),
    "extent": (0.0, 0.4, 0.45, 0.5, 0.55),
    "extent, at most": (0.75, 0.8, 0.85, 0.9, 1.0, np.inf),
    "inside": (0.0, 0.6, 0.7, 0.8, 0.9),
}
PRESENCES = (0.5, 0.9, 0.99, 1.01)  # bins of the detector's presence
SIDES = (8, 16, 24, 32, 48, 64, 128, 1000)  # px, bins of the box's side


@dataclass(frozen=True)
class Case:
    """A picture with a hand, spoiled or not: what the network is given, and the truth in this picture."""

    name: str
    picture: NDArray[np.uint8]
    box: NDArray[np.float64]
    side: str
    joints_2d: NDArray[np.float64]
    intrinsics: NDArray[np.float64]


def main() -> None:
    """Parse, synthesize, predict, measure, write."""
    parser = argparse.ArgumentParser(description="What `reliable` tells.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--checkpoint", default="synthetic")
    parser.add_argument("--recordings", type=int, default=20, help="of every dataset, 10 frames by 2 cameras each")
    parser.add_argument("--every", type=int, default=5, help="take every n-th frame")
    parser.add_argument("--models", type=Path, help="the detector's models: measures its presence instead")
    parser.add_argument("--json", type=Path, default=Path("runs/benchmarks/reliable.json"))
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    if options.smoke:
        options.recordings, options.every = 2, 10
    torch.set_num_threads(1)
    predictor = Predictor(options.checkpoint, mano="standin", track=False, device="cpu")
    if options.models is not None:
        found = presence_table(predictor, Detector.open(options.models), options)
    else:
        found = flags_table(predictor, options)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


def flags_table(predictor: Predictor, options: argparse.Namespace) -> dict[str, Any]:
    """The limits of the first seed's hands, and what the flag tells of the second's."""
    tables = {}
    for name, seed in SEEDS.items():
        rows = []
        for root in roots(options, name):
            rng = np.random.default_rng(seed)
            for frame, picture in pictures(root, options.every):
                measured = (measure(predictor, frame, case) for case in cases(frame, picture, rng))
                rows += [row for row in measured if row is not None]
        tables[name] = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    return {
        "options": {key: str(value) for key, value in vars(options).items()},
        "choose": {
            "signs, area under the curve": areas(tables["choose"]),
            "best limits": best_limits(tables["choose"]),
        },
        "report": report(tables["report"]),
    }


def presence_table(predictor: Predictor, detector: Detector, options: argparse.Namespace) -> dict[str, Any]:
    """The network's hands in the detector's boxes, by the detector's presence."""
    count, found = 0, []
    for root in (root for name in SEEDS for root in roots(options, name)):
        for frame, picture in pictures(root, options.every):
            assert frame.joints_2d is not None
            count += 1
            picture = np.ascontiguousarray(picture)
            for hand in detector.find(picture):
                case = Case("detected", picture, hand.box, hand.side, frame.joints_2d, frame.intrinsics)
                row = measure(predictor, frame, case)
                found += [] if row is None else [(hand.presence, row["wrong"])]
    presence, wrong = np.array(found, float).T
    bins = {f"{a} to {b}": (presence >= a) & (presence < b) for a, b in itertools.pairwise(PRESENCES)}
    return {
        "options": {key: str(value) for key, value in vars(options).items()},
        "frames": count,
        "hands": {name: {"hands": int(chosen.sum()), "wrong": share(wrong[chosen])} for name, chosen in bins.items()},
    }


def roots(options: argparse.Namespace, name: str) -> Iterator[Path]:
    """The datasets of a seed, made where they are not there yet."""
    for handling in HANDLINGS:
        root = options.out / f"{name}-{handling}"
        if not root.is_dir():
            synthesize(SynthesizeSettings(root, "dexycb", options.recordings, 10, 2, SEEDS[name], handling=handling))
        yield root


def pictures(root: Path, every: int) -> Iterator[tuple[Frame, NDArray[np.uint8]]]:
    """Every n-th frame of a dataset, all splits, with its picture."""
    number = 0
    for split in ("train", "val", "test"):
        for sequence in list_sequences("dexycb", root, split, mano="standin", warn=False):
            for frame in iter_frames(sequence, masks=False):
                number += 1
                if isinstance(frame, Frame) and number % every == 0:
                    yield frame, np.asarray(cv2.imread(str(root / frame.image)), np.uint8)[..., ::-1]


def cases(frame: Frame, picture: NDArray[np.uint8], rng: np.random.Generator) -> Iterator[Case]:
    """The frame as it is, and spoiled."""
    assert frame.joints_2d is not None
    joints, camera, size = frame.joints_2d, frame.intrinsics, np.array(picture.shape[1::-1], np.float64)
    low, high = joints.min(0), joints.max(0)
    middle, side, box = (low + high) / 2, float((high - low).max()), np.concatenate([low, high])
    yield Case("as it is", picture, box, frame.side, joints, camera)
    angle, half = rng.uniform(0, 2 * np.pi), side / 2 * 2 ** rng.uniform(-1, 1)
    off = middle + side * rng.uniform(0.2, 0.8) * np.array([np.cos(angle), np.sin(angle)])
    yield Case("box beside", picture, np.concatenate([off - half, off + half]), frame.side, joints, camera)
    yield from cut(frame, picture, rng)
    scale = 2 ** rng.uniform(3, 6) / side
    small = np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    shrunk = np.diag([scale, scale, 1.0]) @ camera
    yield Case("small, 8 to 64 px", small, box * scale, frame.side, joints * scale, shrunk)
    blurred = np.asarray(cv2.GaussianBlur(picture, (0, 0), side * rng.uniform(0.02, 0.12)), np.uint8)
    yield Case("blurred", blurred, box, frame.side, joints, camera)
    for place in rng.uniform(0, size, (50, 2)):
        if np.abs(place - middle).max() > 1.6 * side:
            yield Case(
                "no hand", picture, np.concatenate([place - side / 2, place + side / 2]), frame.side, joints, camera
            )
            break
    yield Case("other side", picture, box, "left" if frame.side == "right" else "right", joints, camera)


def cut(frame: Frame, picture: NDArray[np.uint8], rng: np.random.Generator) -> Iterator[Case]:
    """The picture ends 20 to 70 % into the hand, on one side of four; none where too little would be left."""
    assert frame.joints_2d is not None
    low, high = frame.joints_2d.min(0), frame.joints_2d.max(0)
    axis, beginning, share = int(rng.integers(2)), bool(rng.integers(2)), rng.uniform(0.2, 0.7)
    first, last = np.zeros(2, int), np.array(picture.shape[1::-1])
    edge = low + share * (high - low) if beginning else high - share * (high - low)
    (first if beginning else last)[axis] = int(edge[axis])
    first, last = np.maximum(first, 0), np.minimum(last, picture.shape[1::-1])
    if (last - first).min() < 8:
        return
    part, camera = picture[first[1] : last[1], first[0] : last[0]], frame.intrinsics.copy()
    camera[:2, 2] -= first
    box = np.concatenate([np.maximum(low - first, 0), np.minimum(high - first, last - first)])
    yield Case("cut by the border", part, box, frame.side, frame.joints_2d - first, camera)


def measure(predictor: Predictor, frame: Frame, case: Case) -> dict[str, Any] | None:
    """The signs and the errors of a case; None where its box cannot be taken."""
    assert frame.joints is not None
    predictor.reset()
    try:
        hand = predictor(case.picture, case.box, case.side, intrinsics=case.intrinsics)
    except InputError:
        return None
    error = float(np.linalg.norm(hand.joints - (frame.joints - frame.joints[0]), axis=1).mean())
    extent = float(np.ptp(case.joints_2d, axis=0).max())
    error_2d = float(np.linalg.norm(hand.joints_2d - case.joints_2d, axis=1).mean()) / extent
    wrong = case.name == "no hand" or error > LARGEST_ERROR or error_2d > LARGEST_ERROR_2D
    unplaced = hand.root is None or hand.root_spread is None
    beyond = np.full(3, np.nan) if unplaced else np.abs(hand.root - frame.root) / hand.root_spread
    height, width = case.picture.shape[:2]
    return {
        "case": case.name,
        "error": error,
        "error_2d": error_2d,
        "wrong": wrong,
        "reliable": hand.reliable,
        "misfit": np.inf if hand.misfit is None else hand.misfit,
        "mano_error": hand.mano_error,
        "beyond": beyond,
        "depth_error": np.nan if hand.root is None else hand.root[2] / frame.root[2] - 1,
        **signs_of(hand.joints_2d, hand.box, width, height),
    }


def areas(table: dict[str, NDArray]) -> dict[str, float]:
    """How well every sign alone tells wrong hands from right ones: the area under the ROC curve, 0.5 is nothing."""
    aside = np.abs(np.log(np.maximum(table["extent"], 1e-6) * 1.5))
    values = {
        "misfit": table["misfit"],
        "outside the picture": -table["inside"],
        "extent away from 2/3": aside,
        "smallness of the box": -table["side"],
        "MANO's fit": table["mano_error"].astype(float),
    }
    wrong = table["wrong"].astype(bool)
    return {name: area(sign, wrong) for name, sign in values.items()}


def area(sign: NDArray, wrong: NDArray[np.bool_]) -> float:
    """The probability that a wrong hand's sign is above a right one's."""
    bad, good = int(wrong.sum()), int((~wrong).sum())
    return round(float(rankdata(sign)[wrong].sum() - bad * (bad + 1) / 2) / (bad * good), 3)


def best_limits(table: dict[str, NDArray]) -> list[dict[str, float | None]]:
    """The ten sets of limits that keep most of the right hands less the wrong ones (Youden's index)."""
    wrong, found = table["wrong"].astype(bool), []
    for misfit, least, most, inside in itertools.product(*GRID.values()):
        kept = (table["misfit"] <= misfit) & (table["inside"] >= inside)
        kept &= (table["extent"] >= least) & (table["extent"] <= most)
        right, bad = float(kept[~wrong].mean()), float(kept[wrong].mean())
        limits = dict(zip(GRID, (misfit, least, most if most < np.inf else None, inside), strict=True))
        found.append(
            {"index": round(right - bad, 3), "right kept": round(right, 3), "wrong kept": round(bad, 3)} | limits
        )
    return sorted(found, key=lambda each: -each["index"])[:10]


def report(table: dict[str, NDArray]) -> dict[str, Any]:
    """What the program's own flag tells, case by case, and how often the spread holds the wrist."""
    limits = {name: value for name, value in vars(reliability).items() if name.isupper() and "PRESENCE" not in name}
    kinds = {name: table["case"] == name for name in dict.fromkeys(table["case"].tolist())}
    small, usual = kinds["small, 8 to 64 px"] | kinds["as it is"], kinds["as it is"]
    bins = {f"{a} to {b} px": small & (table["side"] >= a) & (table["side"] < b) for a, b in itertools.pairwise(SIDES)}
    beyond = table["beyond"][usual]
    return {
        "limits": limits,
        "all": flagged(table, np.ones(len(usual), bool)),
        "cases": {name: flagged(table, chosen) for name, chosen in kinds.items()},
        "wrong, by the box's side": {
            name: {"hands": int(chosen.sum()), "wrong": share(table["wrong"][chosen])} for name, chosen in bins.items()
        },
        "as it is, true intrinsics: wrist within the spread (x, y, z)": [share(axis <= 1) for axis in beyond.T],
        "as it is: depth off, median share": round(float(np.nanmedian(np.abs(table["depth_error"][usual]))), 3),
    }


def flagged(table: dict[str, NDArray], chosen: NDArray[np.bool_]) -> dict[str, Any]:
    """Hands, how many are called reliable, and how the two groups differ: share wrong, median errors."""
    found: dict[str, Any] = {"hands": int(chosen.sum()), "reliable": share(table["reliable"][chosen])}
    for name, group in (("reliable", chosen & table["reliable"]), ("others", chosen & ~table["reliable"])):
        if group.any():
            found[f"{name}: wrong"] = share(table["wrong"][group])
            found[f"{name}: joints off, mm, median"] = round(1000 * float(np.median(table["error"][group])), 1)
            found[f"{name}: 2D joints off, share of the hand, median"] = round(
                float(np.median(table["error_2d"][group])), 3
            )
    return found


def share(flags: NDArray) -> float | None:
    """The share that is true; None of nothing."""
    return round(float(np.mean(flags)), 3) if len(flags) else None


if __name__ == "__main__":
    main()
