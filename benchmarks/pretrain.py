"""Trains a narrow single-frame network on synthetic recordings, for weights that nobody else's data have touched.

    python benchmarks/pretrain.py --out runs/pretrain            width 0.25: about two hours on two CPU cores
    python benchmarks/pretrain.py --out runs/smoke --smoke       does the script run

Two synthetic datasets in DexYCB's layout, of hands that lift objects and of gestures behind stacks. Stage 1 learns the
first one only: with pictures of every orientation a network that does not find 2D joints yet learns neither
(docs/training.md). Stage 2 learns both, and then lifting alone, which most pictures of hands with objects are like.
People and objects of the test splits are in no training split. What is finished is kept: the same command goes on where
it stopped. Writes pretrain.json with the scores on both test splits, and synthetic/, the weights packed as they lie in
network/checkpoints/synthetic (docs/weights.md).
"""

import argparse
import json

from h2onet.evaluation.evaluate import evaluate_clips
from h2onet.network.checkpoint import checkpoint_hash
from h2onet.network.checkpoints.synthetic import pack_checkpoint
from learning import Stage, argument_parser, describe, history, make_data, train_stages

HANDLINGS = ("lift", "gestures")
LIFT = (Stage("single-stage1", "demo-single-stage1", None, 6),)
BOTH = (Stage("single-stage2", "demo-single-stage2", "single-stage1", 8),)
LAST = (Stage("single-lift", "demo-single-stage2", "single-stage2", 6),)
SCORES = ("pa_mpjpe_mm", "pa_mpvpe_mm", "mpjpe_mm", "orientation_deg")


def main() -> None:
    """Parse, make the data, train, score, write."""
    options = arguments()
    clips = {handling: make_data(dataset(options, i), handling) for i, handling in enumerate(HANDLINGS)}
    lift, gestures = (clips[handling] for handling in HANDLINGS)
    train_stages((LIFT,), options, lift)
    train_stages((BOTH,), options, {"train": [lift["train"], gestures["train"]], "val": lift["val"]})
    train_stages((LAST,), options, lift)
    last = options.out / LAST[0].name / "last"
    scores = {name: evaluate_clips(last, found["test"], options.out / f"test-{name}") for name, found in clips.items()}
    data = {name: describe(found) | {"seed": dataset(options, i).seed} for i, (name, found) in enumerate(clips.items())}
    test = {name: {key: found.get(key) for key in SCORES} for name, found in scores.items()}
    pack_checkpoint(last, options.out / "synthetic", card(options, data, test))
    results = {
        "options": {key: str(value) for key, value in vars(options).items()},
        "data": data,
        "sha256": checkpoint_hash(last),
        "test": test,
        "curves": {stage.name: history(options.out / stage.name) for stage in (*LIFT, *BOTH, *LAST)},
    }
    (options.out / "pretrain.json").write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(test, indent=2))


def card(options: argparse.Namespace, data: dict, test: dict) -> dict:
    """What the packed weights say of themselves: command, data, epochs, scores on unseen people and objects."""
    sizes = " ".join(
        f"--{name} {getattr(options, name)}" for name in ("recordings", "frames", "cameras", "width", "seed")
    )
    return {
        "command": f"python benchmarks/pretrain.py --out runs/pretrain {sizes}",
        "data": {
            name: {"seed": facts["seed"], "frames": facts["train"]["frames"], "test_frames": facts["test"]["frames"]}
            for name, facts in data.items()
        },
        "epochs": {stage.name: stage.epochs for stage in (*LIFT, *BOTH, *LAST)},
        "test": test,
        "license": "MIT",
    }


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argument_parser("A narrow network from synthetic recordings alone.", 320, 12, 3)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.smoke:
        options.recordings, options.frames, options.cameras, options.width = 20, 14, 1, 0.125
    return options


def dataset(options: argparse.Namespace, number: int) -> argparse.Namespace:
    """The options with the folder and the seed of one of the datasets."""
    folder = options.out / HANDLINGS[number]
    folder.mkdir(exist_ok=True)
    return argparse.Namespace(**{**vars(options), "out": folder, "seed": options.seed + 1000 + number})


if __name__ == "__main__":
    main()
