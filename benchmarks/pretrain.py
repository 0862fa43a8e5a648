"""Trains a narrow single-frame network on synthetic recordings, for weights that nobody else's data have touched.

    python benchmarks/pretrain.py --out runs/pretrain            width 0.25: hours on two CPU cores
    python benchmarks/pretrain.py --out runs/more --go-on        the last step alone, from the weights in the package
    python benchmarks/pretrain.py --out runs/smoke --smoke       does the script run

Three synthetic datasets in DexYCB's layout: hands that lift objects, gestures behind stacks, and twice as many hands
that lift objects. Stage 1 learns the first one only: with pictures of every orientation a network that does not find 2D
joints yet learns neither (docs/training.md). Stage 2 learns the first two, then lifting alone, which most pictures of
hands with objects are like, and at last lifting in three times as many recordings, beside a head that says which joints
are seen: its gradient puts into the features what a multi-frame network wants to know of them. The package leaves the
head out. People and objects of the test splits are in no training split. What is finished is kept: the same command
goes on where it stopped. Writes pretrain.json with the scores on both test splits, and synthetic/, the weights packed
as they lie in network/checkpoints/synthetic (docs/weights.md).
"""

import argparse
import json
from dataclasses import replace

from h2onet.evaluation.evaluate import evaluate_clips
from h2onet.network.checkpoint import checkpoint_hash, read_metadata
from h2onet.network.checkpoints.folder import SYNTHETIC
from h2onet.network.checkpoints.synthetic import pack_checkpoint
from learning import Stage, argument_parser, describe, history, make_data, train_stages

# Datasets by name: how the hand handles the objects, and how many times --recordings.
DATASETS = {"lift": ("lift", 1), "gestures": ("gestures", 1), "more": ("lift", 2)}
TESTED = ("lift", "gestures")
STAGE1 = Stage("single-stage1", "demo-single-stage1", None, 6)
STAGE2 = Stage("single-stage2", "demo-single-stage2", "single-stage1", 8)
LIFTING = Stage("single-lift", "demo-single-stage2", "single-stage2", 6)
LAST = Stage("single-last", "demo-single-stage2", "single-lift", 8, settings=("joint_visibility=true", "threads=0"))
TRAINED_ON = {STAGE1: ["lift"], STAGE2: ["lift", "gestures"], LIFTING: ["lift"], LAST: ["lift", "more"]}
SCORES = ("pa_mpjpe_mm", "pa_mpvpe_mm", "mpjpe_mm", "orientation_deg")


def main() -> None:
    """Parse, make the data, train, score, write."""
    options = arguments()
    clips = {name: make_data(dataset(options, name), handling) for name, (handling, _) in DATASETS.items()}
    stages = [replace(LAST, start=SYNTHETIC.name)] if options.go_on else [STAGE1, STAGE2, LIFTING, LAST]
    started_from = earlier_step() if options.go_on else None
    for stage, names in zip(stages, list(TRAINED_ON.values())[-len(stages) :], strict=True):
        train = [clips[name]["train"] for name in names]
        train_stages(((stage,),), options, {"train": train, "val": clips["lift"]["val"]})
    last = options.out / LAST.name / "last"
    scores = {name: evaluate_clips(last, clips[name]["test"], options.out / f"test-{name}") for name in TESTED}
    data = {name: describe(found) | {"seed": dataset(options, name).seed} for name, found in clips.items()}
    test = {name: {key: found.get(key) for key in SCORES} for name, found in scores.items()}
    epochs = {stage.name: stage.epochs for stage in stages}
    pack_checkpoint(last, options.out / "synthetic", card(options, data, epochs, test, started_from))
    results = {
        "options": {key: str(value) for key, value in vars(options).items()},
        "data": data,
        "started_from": started_from,
        "sha256": checkpoint_hash(last),
        "test": test,
        "curves": {stage.name: history(options.out / stage.name) for stage in stages},
    }
    (options.out / "pretrain.json").write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(test, indent=2))


def earlier_step() -> dict:
    """What the weights in the package, from which --go-on goes on, say of how they were made."""
    before = read_metadata(SYNTHETIC)["card"]
    return {"sha256": checkpoint_hash(SYNTHETIC)} | {key: before[key] for key in ("command", "data", "epochs")}


def card(options: argparse.Namespace, data: dict, epochs: dict, test: dict, started_from: dict | None) -> dict:
    """What the packed weights say of themselves: command, data, epochs, scores on unseen people and objects."""
    sizes = " ".join(
        f"--{name} {getattr(options, name)}" for name in ("recordings", "frames", "cameras", "width", "seed")
    )
    return {
        "command": f"python benchmarks/pretrain.py --out runs/pretrain {sizes}{' --go-on' * options.go_on}",
        "started_from": started_from,
        "data": {
            name: {"seed": facts["seed"], "frames": facts["train"]["frames"], "test_frames": facts["test"]["frames"]}
            for name, facts in data.items()
        },
        "epochs": epochs,
        "test": test,
        "license": "MIT",
    }


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argument_parser("A narrow network from synthetic recordings alone.", 320, 12, 3)
    parser.add_argument("--go-on", action="store_true", help="only the last step, from the weights in the package")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.smoke:
        options.recordings, options.frames, options.cameras = 20, 14, 1
        options.width = options.width if options.go_on else 0.125  # the weights in the package have theirs
    return options


def dataset(options: argparse.Namespace, name: str) -> argparse.Namespace:
    """The options with the folder, the seed and the number of recordings of one of the datasets."""
    folder = options.out / name
    folder.mkdir(exist_ok=True)
    number, recordings = list(DATASETS).index(name), options.recordings * DATASETS[name][1]
    changed = {"out": folder, "seed": options.seed + 1000 + number, "recordings": recordings}
    return argparse.Namespace(**{**vars(options), **changed})


if __name__ == "__main__":
    main()
