"""What the head for joints' visibility learns, what it costs the mesh, and what is gained by using it.

    python benchmarks/visibility.py --out runs/visibility            width 0.25: about 75 minutes on two CPU cores
    python benchmarks/visibility.py --out runs/smoke --smoke         does the script run

Gestures behind stacks of objects, as in benchmarks/fusion.py: people, stacks and gestures of the test frames are in no
training frame. Two single-frame networks learn them from the weights that come with the program, one with the head.
From the end of that one, three multi-frame networks see equally many pictures at the same rates: with frames weighed by
the finger classifier, weighed by the head (fusion_weights=joints), and as the first with sampling=hidden. Differences
are paired, with a 95 % bootstrap interval over recordings. Writes visibility.json; finished stages are kept.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from fusion import make_more
from h2onet.data.clips import ClipDataset, window_of
from h2onet.data.loading.batches import loader
from h2onet.data.stores.clips import ClipStore
from h2onet.evaluation.compare import compare
from h2onet.evaluation.evaluate import evaluate_clips
from h2onet.evaluation.scoring.visibility import occlusion_metrics
from h2onet.network.allocator import keep_freed_memory
from h2onet.network.checkpoint import load_checkpoint
from h2onet.network.checkpoints.folder import SYNTHETIC
from h2onet.network.fusion import visibility_of_parts
from learning import Groups, Stage, argument_parser, describe, history, make_data, train_stages

SETTINGS = ("lr=5e-4", "rotation_degrees=10", "scale_range=0.1")
HEAD = (*SETTINGS, "joint_visibility=true")
SINGLE = {"single": SETTINGS, "single-head": HEAD}
MULTI = {
    "multi-fingers": HEAD,
    "multi-joints": (*HEAD, "fusion_weights=joints"),
    "multi-hidden": (*HEAD, "sampling=hidden"),
}
RUNS = (*SINGLE, *MULTI)
PAIRS = (("single", "single-head"), ("multi-fingers", "multi-joints"), ("multi-fingers", "multi-hidden"))
PAIRED = ("pa_mpjpe_mm", "pa_mpvpe_mm", "pa_mpjpe_seen_earlier_mm", "pa_mpjpe_never_seen_mm", "occlusion_accuracy")
SHOWN = (
    *("pa_mpjpe_mm", "pa_mpvpe_mm", "pa_mpjpe_seen_earlier_mm", "pa_mpjpe_never_seen_mm"),
    *("occlusion_accuracy", "occlusion_macro_f1", "occlusion_roc_auc", "occlusion_pr_auc"),
    *("joint_visibility_roc_auc", "joint_visibility_map", "joint_visibility_macro_f1"),
)


def main() -> None:
    """Parse, make the data, train, score, write."""
    options = arguments()
    clips = make_data(options, "gestures")
    more = make_more(options)
    groups = stages(options)
    train_stages(groups, options, {"train": [clips["train"], *more], "val": clips["val"]})
    keep_freed_memory()
    tests = {"other people and stacks": clips["test"], "other people": options.out / "test-all.zarr"}
    results = {
        "options": {k: str(v) for k, v in vars(options).items()},
        "data": describe(clips) | {"more training frames": sum(len(ClipStore.open(path)) for path in more)},
        **{name: measure(options, path, name) for name, path in tests.items()},
        "curves": {stage.name: history(options.out / stage.name) for group in groups for stage in group},
    }
    (options.out / "visibility.json").write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps({name: results[name] for name in tests}, indent=2))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argument_parser("Joints seen or hidden: learned, scored, used.", 600, 16, 1)
    parser.add_argument("--trees", type=int, default=2, help="datasets of so many recordings to train on")
    parser.add_argument("--epochs", type=int, nargs=2, default=(5, 1), help="of the single- and the multi-frame stages")
    options = parser.parse_args()
    if options.smoke:
        options.recordings, options.frames = 30, 12
    return options


def stages(options: argparse.Namespace) -> Groups:
    """Two networks at a time: both single-frame ones, then the multi-frame ones."""
    single, multi = options.epochs
    first = tuple(
        Stage(name, "demo-single-stage1", SYNTHETIC.name, single, settings=settings)
        for name, settings in SINGLE.items()
    )
    second = [
        Stage(name, "demo-multi-stage1", "single-head", multi, settings=settings) for name, settings in MULTI.items()
    ]
    return first, tuple(second[:2]), tuple(second[2:])


def measure(options: argparse.Namespace, clips: Path, name: str) -> dict:
    """Scores of every network on held-out clips, the pairs' differences, and fingers told by the head for joints."""
    folders = {run: options.out / f"{name.replace(' ', '-')}-{run}" for run in RUNS}
    found = {}
    for run, folder in folders.items():
        checkpoint = options.out / run / "last"
        metrics = evaluate_clips(checkpoint, clips, folder, report=False, device=options.device, batch_size=16)
        found[run] = {key: metrics[key] for key in SHOWN if metrics.get(key) is not None}
    return {
        "frames": len(ClipStore.open(clips)),
        "scores": found,
        "fingers of multi-fingers, told by the joints": fingers_by_joints(
            options.out / "multi-fingers" / "last", clips
        ),
        "differences": {f"{b} - {a}": difference(folders[a], folders[b]) for a, b in PAIRS},
    }


@torch.inference_mode()
def fingers_by_joints(checkpoint: Path, clips: Path) -> dict[str, float | None]:
    """The scores of the occlusion outputs, with a finger's probability taken from the head for its joints."""
    network = load_checkpoint(checkpoint)
    samples = ClipDataset(clips, frames=window_of("dexycb", train=False))
    hidden, labels = [], []
    for batch in loader(samples, 16):
        logits = network(batch["images"]).joint_visibility_logits
        hidden.append(1 - visibility_of_parts(logits).numpy())
        labels.append(batch["occluded"][:, 0].numpy())
    return occlusion_metrics(np.concatenate(hidden), np.concatenate(labels))


def difference(first: Path, second: Path) -> dict[str, dict]:
    """Paired differences of two evaluations, the second less the first."""
    found = {}
    for line in compare(first, second).lines:
        if line.metric in PAIRED and line.difference is not None:
            interval = None if line.interval is None else [round(end, 4) for end in line.interval]
            found[line.metric] = {"mean": round(line.difference, 4), "interval": interval}
    return found


if __name__ == "__main__":
    main()
