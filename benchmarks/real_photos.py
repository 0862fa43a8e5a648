"""What the detector and networks trained on synthetic pictures do on real photographs, against MediaPipe's landmarks.

    python benchmarks/real_photos.py --out runs/real --photos DIR --landmarks FILE --models hand_landmarker.task
    python benchmarks/real_photos.py ... --checkpoint synthetic runs/mine/last --overlays runs/real/overlays

DIR holds pictures, and beside NAME_img.jpg its camera matrix NAME_K.npy (3, 3) px. FILE is JSON: {"photos": {"a.jpg":
[{"side": "Left", "xy": [[x, y], ...]}, ...]}}, what MediaPipe says of each: 21 landmarks in px (wrist, thumb ..
little), its word for the side, which is that of a mirrored picture. Of every hand the error of a joint is its 2D
distance to the landmark, as a share of the longer side of the box round the landmarks; networks are run on the
detector's box. Beside them stand two yardsticks: the mean layout, which says of every crop that the joints lie where
they lie in synthetic training crops on average, and the same networks on synthetic test crops of other people and
objects. Intervals are 95 % bootstrap intervals over hands (photos) or recordings (synthetic); further networks are also
compared with the first one, hand by hand. `all` counts every hand that the detector finds, with its own landmarks for
truth: more hands, but not MediaPipe's word. Writes real_photos.json.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from h2onet.data.clips import ClipDataset
from h2onet.data.loading.batches import loader
from h2onet.data.loading.crops import SIZE, transform
from h2onet.data.readers.dexycb_splits import SUBJECTS
from h2onet.data.stores.clips import ClipStore
from h2onet.data.synthetic.choice import choose_sequences
from h2onet.evaluation.scoring.confidence import bootstrap_interval, recordings
from h2onet.hand.camera import project
from h2onet.hand.draw import overlay_skeleton
from h2onet.inference.detector import DetectedHand, Detector
from h2onet.inference.predictor import Predictor, crop, given_square
from h2onet.network.checkpoint import load_checkpoint
from learning import argument_parser, make_data

SIDES = {"Left": "right", "Right": "left"}
WITHIN = (0.1, 0.2)
SAME = 0.3  # of the box: a find whose landmarks lie farther away on average is another hand


def main() -> None:
    """Parse, make the synthetic data, measure, write."""
    options = arguments()
    clips = make_data(argparse.Namespace(**{**vars(options), "seed": options.seed + 2000}), "mixed")
    checkpoints = {Path(given).name if given == "synthetic" else str(given): given for given in options.checkpoint}
    photos = Photos(options.photos, options.landmarks, options.models)
    results = measure(photos, checkpoints, clips, lifting(options.recordings), options.overlays)
    (options.out / "real_photos.json").write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps({name: found["summary"] for name, found in results["networks"].items()}, indent=2))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argument_parser("Real photographs.", 320, 6, 3)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--landmarks", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True, help="as --detector of h2o predict takes them")
    parser.add_argument("--checkpoint", nargs="+", default=["synthetic"], help="networks to compare")
    parser.add_argument("--overlays", type=Path, help="folder for pictures to look at")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    return options


@dataclass(frozen=True)
class Photos:
    """Where photographs, MediaPipe's landmarks of them and the detector's models are."""

    folder: Path
    landmarks: Path
    models: Path


def lifting(count: int) -> set[str]:
    """The recordings ("subject/name") of a mixed synthetic tree of `count` that show lifting, not gestures."""
    chosen = choose_sequences(count)
    return {f"{SUBJECTS[choice.subject]}/{choice.name}" for choice in chosen[::2]}


def measure(
    photos: Photos,
    checkpoints: Mapping[str, str | Path],
    clips: Mapping[str, Path],
    lifted: set[str],
    overlays: Path | None = None,
) -> dict:
    """Everything: what the detector finds, and the mean layout's and every network's errors.

    clips: train and test, of a mixed tree whose recordings `lifted` show lifting.
    """
    torch.set_num_threads(1)
    told = json.loads(photos.landmarks.read_text())["photos"]
    hands, finds = detect(photos.folder, told, Detector.open(photos.models))
    layout = mean_layout(clips["train"])
    truth = SyntheticTruth(clips["test"], lifted)
    guesses = {"mean layout": [{"head": place(layout, hand)} for hand in hands]}
    synthetic = {"mean layout": np.broadcast_to(layout, truth.joints_2d.shape)}
    for name, checkpoint in checkpoints.items():
        predictor = Predictor(checkpoint, device="cpu", track=False)
        guesses[name] = [predict(predictor, hand) for hand in hands]
        synthetic[name] = truth.predict(checkpoint)
        if overlays is not None:
            draw(overlays / Path(name).as_posix().replace("/", "-"), hands, guesses[name])
    networks = {name: scores(hands, found, truth, synthetic[name]) for name, found in guesses.items()}
    first, *others = checkpoints
    return {
        "detector": finds,
        "hands": {"mediapipe": sum(hand["truth"] is not None for hand in hands), "all": len(hands)},
        "networks": networks,
        "paired": {name: paired(networks[first]["rows"], networks[name]["rows"]) for name in others},
    }


def paired(first: list[dict], second: list[dict]) -> dict:
    """The second network's error of the 2D head less the first one's, hand by hand: mean and interval by group."""
    differences = np.array([b["head"]["error"] - a["head"]["error"] for a, b in zip(first, second, strict=True)])
    known = np.array([row["truth"] == "mediapipe" for row in first])
    found = {}
    for group, chosen in (("mediapipe", known), ("all", np.ones(len(known), bool))):
        column = differences[chosen]
        interval = bootstrap_interval(column, np.arange(len(column)), draws=10_000)
        found[group] = [round(float(column.mean()), 4), [round(bound, 4) for bound in interval or ()]]
    return found


def detect(photos: Path, told: dict, detector: Detector) -> tuple[list[dict], dict]:
    """Every hand that the detector finds, with MediaPipe's landmarks of it where it has some; and a row per picture."""
    hands, rows = [], {}
    for path in sorted(photos.glob("*_img.*")):
        read = cv2.imread(str(path))
        assert read is not None, path
        picture = np.ascontiguousarray(np.asarray(read, np.uint8)[..., ::-1])
        found = detector.find(picture)
        wanted = [(np.array(hand["xy"]), SIDES[hand["side"]]) for hand in told.get(path.name, [])]
        matches = [nearest(truth, found) for truth, _ in wanted]
        rows[path.name] = {
            "mediapipe": len(wanted) if path.name in told else None,
            "found": [{"side": hand.side, "presence": round(hand.presence, 3)} for hand in found],
            "matched": sum(match is not None for match in matches),
            "error": [
                None if match is None else share(match.landmarks, truth)
                for match, (truth, _) in zip(matches, wanted, strict=True)
            ],
            "same_side": [
                match is not None and match.side == side for match, (_, side) in zip(matches, wanted, strict=True)
            ],
        }
        matrix = np.load(path.with_name(path.name.split("_img")[0] + "_K.npy")).astype(np.float64)
        for hand in found:
            own = next((t for (t, _), match in zip(wanted, matches, strict=True) if match is hand), None)
            hands.append({"name": path.name, "picture": picture, "hand": hand, "truth": own, "intrinsics": matrix})
    return hands, rows


def nearest(truth: np.ndarray, found: list[DetectedHand]) -> DetectedHand | None:
    """The find that lies nearest to these landmarks, if it is the same hand."""
    best = min(found, key=lambda hand: share(hand.landmarks, truth), default=None)
    return best if best is not None and share(best.landmarks, truth) < SAME else None


def distances(points: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Of every joint (..., 21, 2) as a share of the longer side of the true hand's box: (..., 21)."""
    return np.linalg.norm(points - truth, axis=-1) / np.ptp(truth, axis=-2).max(-1)[..., None]


def share(points: np.ndarray, truth: np.ndarray) -> float:
    """The mean distance."""
    return float(distances(points, truth).mean())


def aligned(points: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Points (..., 21, 2) moved, turned and scaled, but not mirrored, onto the truth: what is left is the form."""
    p, t = (each[..., 0] + 1j * each[..., 1] for each in (points, truth))
    p0, t0 = p.mean(-1, keepdims=True), t.mean(-1, keepdims=True)
    turn = ((p - p0).conj() * (t - t0)).sum(-1, keepdims=True) / (np.abs(p - p0) ** 2).sum(-1, keepdims=True)
    moved = t0 + turn * (p - p0)
    return np.stack([moved.real, moved.imag], -1)


def mean_layout(train: Path) -> np.ndarray:
    """Where the joints lie on average in the crops of right (and mirrored left) hands: (21, 2), 0 to 1."""
    samples = ClipDataset(train, require_pose=True)
    return np.mean([samples[i]["joints_2d"] for i in range(0, len(samples), 2)], axis=0)


def place(layout: np.ndarray, hand: dict) -> np.ndarray:
    """A layout (21, 2) of the crop in px of the hand's picture."""
    picture, found = hand["picture"], hand["hand"]
    square = given_square(found.box, picture.shape[1], picture.shape[0])
    _, to_crop = crop(picture, square, left=found.side == "left")
    points = transform(np.linalg.inv(np.vstack([to_crop, [0, 0, 1]]))[:2], layout * SIZE)
    return points * [-1, 1] + [picture.shape[1] - 1, 0] if found.side == "left" else points


def predict(predictor: Predictor, hand: dict) -> dict:
    """The joints (21, 2) px of the 2D head, and of the mesh as placed and projected (None: it could not be placed)."""
    found = hand["hand"]
    predictor.reset()
    result = predictor(hand["picture"], found.box, found.side, intrinsics=hand["intrinsics"])
    mesh = None
    if result.root is not None:
        mesh = project(result.joints + result.root, hand["intrinsics"])
    return {"head": result.joints_2d, "mesh": mesh}


class SyntheticTruth:
    """Test crops whose joints are known.

    joints_2d (N, 21, 2) in the crop, 0 to 1; their recordings (N,); lifted (N,) bool, else a gesture.
    """

    def __init__(self, test: Path, lifted: set[str]) -> None:
        self.samples = ClipDataset(test, require_pose=True)
        rows = [self.samples[i] for i in range(len(self.samples))]
        self.joints_2d = np.stack([row["joints_2d"] for row in rows]).astype(np.float64)
        store = ClipStore.open(test)
        self.recording = recordings(np.array([store.key(int(row["frame_index"])) for row in rows]), "dexycb")
        self.lifted = np.isin(self.recording, sorted(lifted))

    def predict(self, checkpoint: str | Path) -> np.ndarray:
        """What a single-frame network's 2D head says of them: (N, 21, 2)."""
        network = load_checkpoint(checkpoint).eval()
        with torch.inference_mode():
            found = [network(batch["images"]).joints_2d for batch in loader(self.samples, 48, shuffle=False)]
        return torch.cat(found).double().numpy()


def scores(hands: list[dict], guesses: list[dict], truth: SyntheticTruth, synthetic: np.ndarray) -> dict:
    """A row per hand, and means with intervals: on MediaPipe's hands, on all that were found, on synthetic crops."""
    rows = []
    for hand, guess in zip(hands, guesses, strict=True):
        target = hand["truth"] if hand["truth"] is not None else hand["hand"].landmarks
        row = {"name": hand["name"], "truth": "detector" if hand["truth"] is None else "mediapipe"}
        for kind in ("head", "mesh"):
            if (points := guess.get(kind)) is None:
                continue
            away = distances(points, target)
            row[kind] = {"px": float(np.linalg.norm(points - target, axis=1).mean()), **values(points, target, away)}
        rows.append(row)
    groups = {"mediapipe": [row for row in rows if row["truth"] == "mediapipe"], "all": rows}
    summary: dict = {
        f"{group}, {kind}": summarise([row[kind] for row in chosen if kind in row])
        for group, chosen in groups.items()
        for kind in ("head", "mesh")
        if any(kind in row for row in chosen)
    }
    away = distances(synthetic, truth.joints_2d)
    every = [values(*each) for each in zip(synthetic, truth.joints_2d, away, strict=True)]
    for group, chosen in (("lifting", truth.lifted), ("gestures", ~truth.lifted)):
        if chosen.any():
            some = [every[i] for i in np.flatnonzero(chosen)]
            summary[f"synthetic {group}, head"] = summarise(some, truth.recording[chosen])
    return {"rows": rows, "summary": summary}


def values(points: np.ndarray, target: np.ndarray, away: np.ndarray) -> dict[str, float]:
    """A hand's mean error, shares of joints within bounds, and the error that is left after alignment; of the box."""
    return {
        "error": float(away.mean()),
        **{f"pck_{bound}": float((away <= bound).mean()) for bound in WITHIN},
        "aligned": share(aligned(points, target), target),
    }


def summarise(rows: list[dict], clusters: np.ndarray | None = None) -> dict:
    """Mean and interval of every value."""
    clusters = np.arange(len(rows)) if clusters is None else clusters
    found: dict = {"hands": len(rows)}
    for key in rows[0]:
        column = np.array([row[key] for row in rows])
        interval = bootstrap_interval(column, clusters, draws=10_000)
        found[key] = [round(float(column.mean()), 4), [round(bound, 4) for bound in interval or ()]]
    return found


def draw(folder: Path, hands: list[dict], guesses: list[dict]) -> None:
    """Each hand's picture with MediaPipe's (or the detector's) landmarks, the 2D head's and the mesh's side by side."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (hand, guess) in enumerate(zip(hands, guesses, strict=True)):
        target = hand["truth"] if hand["truth"] is not None else hand["hand"].landmarks
        cells = []
        for points in (target, guess["head"], guess["mesh"]):
            big = cv2.resize(hand["picture"], None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
            cells.append(big if points is None else overlay_skeleton(big, 2 * points, thickness=2))
        cv2.imwrite(str(folder / f"{number:02d}-{Path(hand['name']).stem}.png"), np.hstack(cells)[..., ::-1])


if __name__ == "__main__":
    main()
