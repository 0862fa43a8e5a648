"""Does the multi-frame network find a hidden finger where it was seen earlier? Stage 1, against the single-frame one.

    python benchmarks/fusion.py --out runs/gestures --start runs/learning/single-stage2-on
    python benchmarks/fusion.py --out runs/smoke --smoke       does the script run

Gestures behind stacks of objects (`h2o synthesize --handling gestures`): every finger is bent on its own and stays so
while a stack hides it, so that nothing but an earlier frame says where a hidden finger is. People, stacks and gestures
of the test frames are in no training frame. A single-frame network is trained on them (from --start, a run folder of
benchmarks/learning.py, or from scratch). From its end a single-frame and a multi-frame network see equally many
pictures at the same rates. Their errors are compared by what is seen of a finger: now, only earlier, never; and with
those of the multi-frame network without its past (the current frame three times). Writes fusion.json and fusion.png;
finished stages are kept. With the defaults three quarters of an hour on two CPU cores.
"""

import argparse
import json
import os
from pathlib import Path

from h2onet.data.clips import ClipDataset, window_of
from h2onet.data.stores.clips import ClipStore
from h2onet.evaluation.truth import load_truth_hand
from h2onet.network.allocator import keep_freed_memory
from h2onet.network.checkpoint import load_checkpoint
from h2onet.training.machine import pick_device
from learned import hidden_fingers, occlusion, overall, predict
from learning import Groups, Stage, argument_parser, describe, history, make_data, train_stages

# Gestures vary enough: a narrow network learns to read fingers sooner from pictures that are not turned far as well.
_SETTINGS = ("lr=5e-4", "rotation_degrees=10", "scale_range=0.1")
NAMES = ("single", "multi", "multi without past")


def main() -> None:
    """Parse, make the data, train, measure, write."""
    options = arguments()
    out: Path = options.out
    clips = make_data(options, "gestures")
    more = make_more(options)
    groups = stages(options)
    train_stages(groups, options, {"train": [clips["train"], *more], "val": clips["val"]})
    keep_freed_memory()
    results = {
        "options": {k: str(v) for k, v in vars(options).items()},
        "data": describe(clips) | {"more training frames": sum(len(ClipStore.open(path)) for path in more)},
        "other people and stacks": measure(options, clips["test"]),
        "other people": measure(options, out / "test-all.zarr"),
        "curves": {stage.name: history(out / stage.name) for group in groups for stage in group},
    }
    (out / "fusion.json").write_text(json.dumps(results, indent=2) + "\n")
    plot(results["other people"]["hidden_but_seen_earlier"], out / "fusion.png")
    print(json.dumps({name: value for name, value in results.items() if name != "curves"}, indent=2))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argument_parser("Hidden fingers: multi-frame against single-frame.", 600, 16, 1)
    parser.add_argument("--start", type=Path, help="run folder of a single-frame network of the same width")
    parser.add_argument("--trees", type=int, default=2, help="datasets of so many recordings to train on")
    options = parser.parse_args()
    if options.smoke:
        options.recordings, options.frames, options.width = 30, 12, 0.125
    return options


def make_more(options: argparse.Namespace) -> list[Path]:
    """More training clips, of other seeds: without them a network learns each recording's gesture by heart."""
    more = []
    for i in range(1, options.trees):
        folder = options.out / f"more-{i}"
        folder.mkdir(parents=True, exist_ok=True)
        one = argparse.Namespace(**{**vars(options), "out": folder, "seed": options.seed + i})
        more.append(make_data(one, "gestures")["train"])
    return more


def stages(options: argparse.Namespace) -> Groups:
    """The single-frame network alone, on all cores; then both from its end, side by side.

    Both see equally many pictures (a window is three).
    """
    start = None if options.start is None else str(options.start.resolve())
    alone = (*_SETTINGS, f"threads={os.cpu_count() or 1}")
    return (
        (Stage("single", "demo-single-stage1", start, 5, settings=alone),),
        (
            Stage("single-on", "demo-single-stage1", "single", 9, settings=_SETTINGS),
            Stage("multi", "demo-multi-stage1", "single", 3, settings=_SETTINGS),
        ),
    )


def measure(options: argparse.Namespace, clips: Path) -> dict:
    """Errors of both networks on held-out clips, the multi-frame one's with its past and without; mm."""
    device = pick_device(options.device)
    hand = load_truth_hand([ClipStore.open(clips)]).to(device)
    samples = ClipDataset(clips, frames=window_of("dexycb", train=False), require_pose=True)
    single, multi = (load_checkpoint(options.out / name / "last").to(device) for name in ("single-on", "multi"))
    guesses = {}
    for name, network in zip(NAMES, (single, multi, multi), strict=True):
        guesses[name], truth = predict(network, samples, hand, device, past=name != NAMES[2])
    return {
        "frames": len(truth.joints),
        "pa_mpjpe_mm": {name: overall(guess, truth)["pa_mpjpe_mm"] for name, guess in guesses.items()},
        "occlusion": occlusion(guesses["multi"], truth),
        "hidden_but_seen_earlier": hidden_fingers(guesses, truth, kinds=("aligned",)),
    }


def plot(groups: dict[str, dict], path: Path) -> None:
    """Aligned error of a finger by what is seen of it, one bar per network."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3.6))
    for i, name in enumerate(NAMES):
        places = [place + 0.27 * (i - 1) for place in range(len(groups))]
        bars = axes.bar(places, [group["aligned"][name] for group in groups.values()], 0.25, label=name)
        axes.bar_label(bars, fmt="%.1f", fontsize=8)
    axes.set_xticks(range(len(groups)), [f"{name}\n{group['fingers']} fingers" for name, group in groups.items()])
    axes.set_ylabel("aligned error of a finger, mm")
    axes.legend(loc="upper left")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
