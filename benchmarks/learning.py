"""Does it learn what the paper claims? Trains both networks on synthetic data, measures on unseen people and objects.

    python benchmarks/learning.py --out runs/learning            narrow, for two CPU cores: about an hour
    python benchmarks/learning.py --out runs/learning --width 1 --recordings 600 --epochs-scale 2     for a GPU
    python benchmarks/learning.py --out runs/smoke --smoke       does the script run

Writes learning.json and learning.png. What is finished is kept: the same command goes on where it stopped.
Questions: (1) training and held-out curves; (2) does stage 2 orient the canonical mesh; (3) occlusion accuracy per
finger against always saying the commoner class; (4) where a finger is hidden now but was seen in an earlier frame of
the window, is the multi-frame network better than the single-frame one, and than itself without the past (the current
frame three times)? For (4) both networks start from the same oriented single-frame one and then see equally many
samples with the same rates, so that the comparison is not one of training time.
"""

import argparse
import json
import multiprocessing
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from h2onet.data.stores.clip_index import write_index
from h2onet.data.stores.clips import ClipStore
from h2onet.data.stores.sequences import SequenceStore
from h2onet.data.synthesize import SynthesizeSettings, synthesize
from h2onet.data.synthetic.motion.gestures import FAMILIES
from h2onet.network.allocator import keep_freed_memory
from h2onet.network.checkpoints.folder import SYNTHETIC
from h2onet.pipeline.build_clips import build_clips
from h2onet.pipeline.prepare_labels import LabelSettings, prepare_labels
from h2onet.training.loop import train
from h2onet.training.machine import pick_device
from h2onet.training.recipe import load_recipe
from learned import measure

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Stage:
    """One training run.

    Its folder, preset, the folder whose weights it starts from (or "synthetic", those in the package), epochs, whether
    the rate falls near the end, and what else differs from the preset.
    """

    name: str
    preset: str
    start: str | None
    epochs: int
    decay: bool = True
    settings: tuple[str, ...] = ()


Groups = tuple[tuple[Stage, ...], ...]


# Groups run one after the other; the stages of a group do not depend on each other and share the CPU's cores.
GROUPS: Groups = (
    (Stage("single-stage1", "demo-single-stage1", None, 8),),
    (Stage("single-stage2", "demo-single-stage2", "single-stage1", 8, decay=False),),
    (
        Stage("single-stage2-on", "demo-single-stage2", "single-stage2", 3),
        Stage("multi-stage2", "demo-multi-stage2", "single-stage2", 3),
    ),
)
STAGES = tuple(stage for group in GROUPS for stage in group)
# Every third object, by its place among those that were grasped, is left to the test split.
HELD_OUT = FAMILIES


def main() -> None:
    """Parse, make the data, train, measure, write."""
    options = arguments()
    out: Path = options.out
    clips = make_data(options, "lift")
    train_stages(GROUPS, options, clips)
    device = pick_device(options.device)
    keep_freed_memory()
    results = {
        "options": {k: str(v) for k, v in vars(options).items()},
        "data": describe(clips),
        "other people and objects": measure(out, clips["test"], device),
        "other people": measure(out, out / "test-all.zarr", device),
    }
    results["curves"] = {stage.name: history(out / stage.name) for stage in STAGES}
    (out / "learning.json").write_text(json.dumps(results, indent=2) + "\n")
    plot(results["curves"], out / "learning.png")
    print(json.dumps({name: value for name, value in results.items() if name != "curves"}, indent=2))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argument_parser("Learning on synthetic data, measured on unseen people and objects.", 200, 20, 3)
    options = parser.parse_args()
    if options.smoke:
        options.recordings, options.frames, options.cameras, options.width = 20, 14, 1, 0.125
    return options


def argument_parser(description: str, recordings: int, frames: int, cameras: int) -> argparse.ArgumentParser:
    """What every benchmark of learning is told, with the size of its dataset by default."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recordings", type=int, default=recordings)
    parser.add_argument("--frames", type=int, default=frames)
    parser.add_argument("--cameras", type=int, default=cameras)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--epochs-scale", type=float, default=1.0)
    parser.add_argument("--workers", type=int, help="processes that make the data (default: one per core)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="few recordings, two steps a stage")
    return parser


def make_data(options: argparse.Namespace, handling: str, looks: str = "plain") -> dict[str, Path]:
    """Clips of DexYCB's setup s1 (other people in every split), without shared objects between training and test."""
    root = options.out / "DEX_YCB"
    if not root.exists():
        synthesize(
            SynthesizeSettings(
                root,
                "dexycb",
                options.recordings,
                options.frames,
                options.cameras,
                options.seed,
                handling,
                looks=looks,
                workers=options.workers,
            )
        )
    whole = {}
    for split in SPLITS:
        labels, whole[split] = options.out / f"{split}-labels.zarr", options.out / f"{split}-all.zarr"
        if not whole[split].exists():
            given = {"dataset": "dexycb", "root": root, "split": split, "setup": "s1", "mano": root / "mano"}
            prepare_labels(LabelSettings(**given, out=labels, workers=options.workers))
            build_clips(labels, whole[split], workers=options.workers)
    objects = sorted({thing for path in whole.values() for thing in grasped(ClipStore.open(path)).values()})
    unseen = set(objects[::HELD_OUT])
    clips = {split: options.out / f"{split}.zarr" for split in SPLITS}
    for split in SPLITS:
        if not clips[split].exists():
            keep_recordings(whole[split], set(objects) - unseen if split == "train" else unseen, clips[split])
    return clips


def keep_recordings(source: Path, objects: set[int], out: Path, people: int | None = None) -> None:
    """Copy a clip store and keep in its index only the recordings that grasp one of these objects.

    people: only those of the first so many people, too.
    """
    store = ClipStore.open(source)
    first = sorted({key.split("/")[0] for key in grasped(store)})[:people]
    keys = [key for key, thing in grasped(store).items() if thing in objects and key.split("/")[0] in first]
    temporary = out.with_suffix(".part")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(source, temporary, ignore=shutil.ignore_patterns("index"))
    attrs = {k: v for k, v in store.attrs.items() if k not in ("sequences", "columns", "frames", "state")}
    write_index(SequenceStore(temporary), keys, attrs)
    temporary.rename(out)


def grasped(store: ClipStore) -> dict[str, int]:
    """The grasped object's YCB id of every camera sequence."""
    sequence, thing = store.index["sequence_id"], store.index["object_id"]
    return {entry["key"]: int(thing[sequence == i][0]) for i, entry in enumerate(store.entries)}


def describe(clips: dict[str, Path]) -> dict[str, dict]:
    """Frames, people and objects of every split; those of training and test must differ."""
    found = {}
    for split, path in clips.items():
        store = ClipStore.open(path)
        people = sorted({entry["key"].split("/")[0] for entry in store.entries})
        found[split] = {"frames": len(store), "people": people, "objects": sorted(set(grasped(store).values()))}
    if set(found["train"]["people"]) & set(found["test"]["people"]):
        raise RuntimeError("people of the test split are in the training split")
    if set(found["train"]["objects"]) & set(found["test"]["objects"]):
        raise RuntimeError("objects of the test split are in the training split")
    return found


def train_stages(groups: Groups, options: argparse.Namespace, clips: Mapping[str, Path | list[Path]]) -> None:
    """All stages on clips of "train", chosen on those of "val"; finished ones are not run again."""
    on_cpu = pick_device(options.device).type == "cpu"
    for group in groups:
        if not on_cpu or len(group) == 1:
            for stage in group:
                train_stage(stage, options, clips, on_cpu)
            continue
        context = multiprocessing.get_context("spawn")
        running = [context.Process(target=train_stage, args=(stage, options, clips, on_cpu)) for stage in group]
        for process in running:
            process.start()
        for process in running:
            process.join()
        if any(process.exitcode for process in running):
            raise SystemExit(f"{', '.join(stage.name for stage in group)}: training failed; see above")


def train_stage(
    stage: Stage, options: argparse.Namespace, clips: Mapping[str, Path | list[Path]], on_cpu: bool
) -> None:
    """One stage, going on where an interrupted run of it stopped."""
    count = max(1, round(stage.epochs * options.epochs_scale))
    settings = [
        f"width={options.width}",
        f"epochs={count}",
        f"milestones=[{max(1, count * 3 // 4)}]" if stage.decay else "milestones=[]",
        f"batch_size={options.batch}",
        f"reference_batch={options.batch}",
        f"seed={options.seed}",
        # A second thread gains a narrow network a third, and beside other work loses it nine tenths.
        f"threads={int(on_cpu)}",
        *stage.settings,
        *(["max_steps=2"] if options.smoke else []),
    ]
    summary = train(
        load_recipe(stage.preset, settings),
        clips["train"],
        options.out / stage.name,
        val_clips=clips.get("val"),
        init=stage.start if stage.start in (None, SYNTHETIC.name) else options.out / stage.start / "last",
        resume=True,
        device=options.device,
    )
    print(summary, flush=True)
    if summary.interrupted:
        raise SystemExit(f"{stage.name}: stopped by {summary.interrupted}; the same command goes on")


def history(run: Path) -> dict[str, list]:
    """Steps, training losses and validation scores of a run."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    training = [line for line in lines if line["kind"] == "train"]
    scores = [line for line in lines if line["kind"] == "val"]
    return {
        "step": [line["step"] for line in training],
        "loss": [line["loss"] for line in training],
        "val_step": [line["step"] for line in scores],
        "val_loss": [line["val_loss"] for line in scores],
        "score_mm": [line["score"] for line in scores],
        "samples_per_s": [line["samples_per_s"] for line in training],
    }


def plot(curves: dict[str, dict[str, list]], path: Path) -> None:
    """One column per stage: losses above, held-out PA-MPJPE + PA-MPVPE below."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, len(curves), figsize=(4 * len(curves), 6), squeeze=False)
    for column, (name, curve) in zip(axes.T, curves.items(), strict=True):
        column[0].semilogy(curve["step"], curve["loss"], label="training", linewidth=0.8)
        column[0].semilogy(curve["val_step"], curve["val_loss"], "o-", label="other people and objects")
        column[1].plot(curve["val_step"], curve["score_mm"], "o-", color="tab:green")
        column[0].set_title(name)
        column[1].set_xlabel("step")
    axes[0, 0].set_ylabel("loss")
    axes[1, 0].set_ylabel("PA-MPJPE + PA-MPVPE, mm")
    axes[0, 0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
