"""What narrows the gap to real photographs without one of them in training: arms of equal length, then the photos.

    python benchmarks/real_gap.py --out runs/gap --photos DIR --landmarks FILE --models hand_landmarker.task
    python benchmarks/real_gap.py --out runs/smoke --smoke          does the script run

Every arm goes on from the weights that come with the program for as many samples at the same rates. `more` sees more
of the same (the control), `photo` has augment_photo=true, `looks` sees the same recordings with wide looks
(h2o synthesize --looks wide), `both` has both, and `turned` is `both` with crops turned by any angle. All are measured
on the photographs (real_photos.py) and on synthetic test frames of other people and objects. Finished arms are kept:
the same command goes on where it stopped. Writes gap.json.
"""

import argparse
import json
from pathlib import Path

from h2onet.data.stores.clips import ClipStore
from h2onet.network.checkpoints.folder import SYNTHETIC
from learning import Stage, argument_parser, describe, grasped, history, keep_recordings, make_data, train_stage
from real_photos import Photos, lifting, measure

LOOKS = ("plain", "wide")
PHOTO = ("augment_photo=true",)
TURNED = (*PHOTO, "rotation_degrees=90", "rotation_probability=1")
ARMS = {
    "more": ("plain", ()),
    "photo": ("plain", PHOTO),
    "looks": ("wide", ()),
    "both": ("wide", PHOTO),
    "turned": ("wide", TURNED),
}
"""Which looks an arm's data have, and what its recipe says beyond the preset."""

RATE = ("lr=5e-4", "keep_norm=false")
"""New looks are farther away than what the preset is for: more of the network has to move."""


def main() -> None:
    """Parse, make the data, train the arms, measure, write."""
    options = arguments()
    clips = {looks: make_data(dataset(options, looks), "mixed", looks) for looks in LOOKS}
    seen = {looks: first_people(options, clips[looks]["train"]) for looks in LOOKS}
    checkpoints: dict[str, str | Path] = {SYNTHETIC.name: SYNTHETIC.name}
    for name in options.arms:
        looks, settings = ARMS[name]
        stage = Stage(name, "synthetic-single-stage2", SYNTHETIC.name, options.epochs, settings=(*settings, *RATE))
        train_stage(stage, options, {"train": seen[looks]}, on_cpu=True)
        checkpoints[name] = options.out / name / "last"
    results = {
        "options": {key: str(value) for key, value in vars(options).items()},
        "data": {looks: describe({**found, "train": seen[looks]}) for looks, found in clips.items()},
        "arms": {name: {"looks": ARMS[name][0], "settings": ARMS[name][1]} for name in options.arms},
        "curves": {name: history(options.out / name) for name in options.arms},
    }
    if options.photos is not None:
        photos = Photos(options.photos, options.landmarks, options.models)
        results |= measure(photos, checkpoints, clips["plain"], lifting(options.recordings))
    (options.out / "gap.json").write_text(json.dumps(results, indent=2) + "\n")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argument_parser("What narrows the gap to real photographs.", 320, 6, 3)
    parser.add_argument("--photos", type=Path, help="folder of photographs; without it nothing real is measured")
    parser.add_argument("--landmarks", type=Path, help="what MediaPipe finds in them (real_photos.py)")
    parser.add_argument("--models", type=Path, help="as --detector of h2o predict takes them")
    parser.add_argument("--people", type=int, help="train on the first so many people of the split (default: all)")
    parser.add_argument("--epochs", type=int, default=4, help="of every arm")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.smoke:
        options.recordings, options.frames, options.cameras = 20, 6, 1
    return options


def first_people(options: argparse.Namespace, train: Path) -> Path:
    """The training clips, of the first people only where the options say so."""
    if options.people is None:
        return train
    out = train.with_name(f"train-{options.people}.zarr")
    if not out.exists():
        keep_recordings(train, set(grasped(ClipStore.open(train)).values()), out, options.people)
    return out


def dataset(options: argparse.Namespace, looks: str) -> argparse.Namespace:
    """The options with the folder of one of the datasets; both have the same seed, so the same people and motion."""
    folder = options.out / looks
    folder.mkdir(exist_ok=True)
    return argparse.Namespace(**{**vars(options), "out": folder, "seed": options.seed + 2000})


if __name__ == "__main__":
    main()
