"""Recorded DexYCB motion through the whole labelling: replayed, labelled twice, cut into clips, checked.

    python benchmarks/replay.py --motion FILE.npz [--sequences 96 --frames 12 --motion-step 6 --cameras 2]
                                [--workers 2] [--keep DIR] [--json runs/benchmarks/replay.json]

Synthesizes a DexYCB tree whose hands and objects move as recorded, runs prepare-labels on train, val and test of s0
from the raw tree and again from HandOccNet's JSON (all columns must be equal), runs build-clips and verifies the
stores. Prints what came out and how fast; stops with an error where labels differ or a store is damaged.
"""

import argparse
import json
import logging
import os
import platform
import tempfile
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from h2onet.data.annotations import write_annotations
from h2onet.data.clips import clip_info, verify
from h2onet.data.labels import LabelStore
from h2onet.data.synthesize import SynthesizeSettings, synthesize
from h2onet.hand.parts import CAUSES, LABELS
from h2onet.pipeline.build_clips import build_clips
from h2onet.pipeline.prepare_labels import LabelSettings, prepare_labels

SPLITS = ("train", "val", "test")
PARTS = LABELS[:6]
TOLERANCE = 1e-5
OUTLINE = 2e-3
"""A pixel of a hand's outline as a share of a small hand's pixels."""
OF_PIXELS = ("mask_iou", "hand_visible_area", "hand_hidden_area", "object_visible_area")


def main() -> None:
    options = arguments()
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    holder = tempfile.TemporaryDirectory(prefix="h2onet-replay-") if options.keep is None else nullcontext(options.keep)
    with holder as folder:
        started = time.perf_counter()
        result = replay(options, Path(folder))
        result["seconds"] = time.perf_counter() - started
    cores = len(os.sched_getaffinity(0))
    result["machine"] = {
        "what": f"{platform.machine()}, {cores} cores, Python {platform.python_version()}",
        "load_at_the_end": os.getloadavg()[0],
    }
    report(result)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--motion", type=Path, required=True, help="npz of recorded trajectories")
    parser.add_argument("--sequences", type=int, default=96)
    parser.add_argument("--frames", type=int, default=12, help="per sequence and camera")
    parser.add_argument("--motion-step", type=int, default=6, help="replay every n-th recorded frame")
    parser.add_argument("--cameras", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, default=None, help="work in this new folder and leave everything there")
    parser.add_argument("--json", type=Path, default=Path("runs/benchmarks/replay.json"))
    return parser.parse_args()


def replay(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All steps; returns the figures."""
    root = folder / "replay"
    summary = synthesize(
        SynthesizeSettings(
            root,
            sequences=options.sequences,
            frames=options.frames,
            cameras=options.cameras,
            motion=options.motion,
            motion_step=options.motion_step,
            workers=options.workers,
        )
    )
    steps = {"synthesize": [summary.photos, summary.seconds]}
    logging.getLogger("h2onet.data").setLevel(logging.ERROR)  # readers warn that most of the dataset is not there
    labels = {split: label(root, split, folder, options, steps) for split in SPLITS}
    for split in SPLITS:
        cut(folder, split, options, steps)
    moved = steps.pop("outline moved")[0]
    meta = sorted(path.parent.relative_to(root).as_posix() for path in root.glob("*-subject-*/*/meta.yml"))
    return {
        "options": {name: getattr(options, name) for name in ("sequences", "frames", "motion_step", "cameras")},
        "workers": options.workers,
        "subjects": sorted({name.split("/")[0] for name in meta}),
        "sequences": len(meta),
        "photos": summary.photos,
        "splits": {split: of_split(store) for split, store in labels.items()},
        "all": together(list(labels.values())),
        "frames_whose_mask_iou_differs_by_rounding": moved,
        "steps": {name: {"frames": n, "seconds": s, "frames_per_second": n / s} for name, (n, s) in steps.items()},
    }


def label(root: Path, split: str, folder: Path, options: argparse.Namespace, steps: dict[str, list]) -> LabelStore:
    """Label one split from the raw tree and from the JSON; SystemExit where anything failed or differs."""
    annotations = folder / f"{split}.json"
    write_annotations("dexycb", root, split, "s0", root / "mano", annotations, overwrite=True)
    stores = []
    for kind, source in (("raw", "raw"), ("JSON", annotations)):
        out = folder / f"{split}-{kind}" / "labels.zarr"
        sheet = folder / f"{split}.png" if kind == "raw" and options.keep else None
        settings = LabelSettings(
            "dexycb", root, split, root / "mano", out, annotations=source, sheet=sheet, workers=options.workers
        )
        done = prepare_labels(settings)
        if done.failures:
            raise SystemExit(f"{split} from {kind}: {done.failures} frames failed, see {out.parent}/failures.jsonl")
        count(steps, f"prepare-labels ({kind})", done.frames + sum(done.skipped.values()), done.seconds)
        stores.append(LabelStore.open(out))
    differ = differing(*stores)
    if differ:
        raise SystemExit(f"{split}: the labels from the JSON differ from those of the raw tree in {', '.join(differ)}")
    moved = np.abs(stores[0]["mask_iou"] - stores[1]["mask_iou"])
    count(steps, "outline moved", int((moved > TOLERANCE).sum()), 0.0)
    return stores[0]


def differing(first: LabelStore, second: LabelStore) -> list[str]:
    """Names of the columns that are not equal. Integers and flags exactly, numbers to the float32 of a JSON's text.

    That rounding may move one pixel of the rendered hand's outline, so what counts its pixels has its own tolerance.
    """
    names = []
    for name in first.index:
        a, b = first[name], second[name]
        exact, tolerance = a.dtype.kind in "biu", OUTLINE if name in OF_PIXELS else TOLERANCE
        same = a.shape == b.shape and (
            np.array_equal(a, b) if exact else np.allclose(a, b, rtol=0.0, atol=tolerance, equal_nan=True)
        )
        if not same:
            names.append(name)
    return names


def cut(folder: Path, split: str, options: argparse.Namespace, steps: dict[str, list]) -> None:
    """Build and verify the clips of one split; SystemExit names what is damaged."""
    out = folder / f"{split}-raw" / "clips.zarr"
    done = build_clips(folder / f"{split}-raw" / "labels.zarr", out, workers=options.workers)
    problems = verify(out)
    if done.failures or problems:
        raise SystemExit(f"{out}: {done.failures} photos failed; {'; '.join(problems) or 'no damage'}")
    count(steps, "build-clips", done.frames, done.seconds)
    info = clip_info(out)
    print(f"{split}: {info.frames} frames in clips.zarr, {info.left} left, {info.gaps} missing inside sequences")


def count(steps: dict[str, list], name: str, frames: int, seconds: float) -> None:
    before = steps.setdefault(name, [0, 0.0])
    before[0] += frames
    before[1] += seconds


def of_split(store: LabelStore) -> dict[str, Any]:
    """Counts of one split."""
    attrs = store.attrs
    return {
        "camera_sequences": len(store.sequences),
        "frames": len(store),
        "labelled": attrs["labelled"],
        "without_a_hand": attrs["skipped"],
        "mask_iou_median_of_sequences": attrs["mask_iou_median"],
        "warnings": attrs["warnings"],
    }


def together(stores: list[LabelStore]) -> dict[str, Any]:
    """Label balance, causes and mask agreement over all splits."""
    column = {name: np.concatenate([s[name] for s in stores]) for name in ("occluded", "cause", "visible_fraction")}
    overlap = np.concatenate([store["mask_iou"] for store in stores])
    overlap = overlap[np.isfinite(overlap)]
    skipped: Counter[str] = Counter()
    for store in stores:
        skipped.update(store.attrs["skipped"])
    return {
        "frames": len(column["occluded"]),
        "left": int(sum(int(store["is_left"].sum()) for store in stores)),
        "without_a_hand": dict(skipped),
        "occluded_share": {name: share(column["occluded"][:, i]) for i, name in enumerate(LABELS)},
        "visible_fraction_mean": dict(zip(PARTS, np.nanmean(column["visible_fraction"], axis=0).tolist(), strict=True)),
        "cause_share": {
            name: {cause: float((column["cause"][:, i] == k).mean()) for k, cause in enumerate(CAUSES)}
            for i, name in enumerate(PARTS)
        },
        "mask_iou": {
            "frames": len(overlap),
            "median": float(np.median(overlap)),
            "p01": float(np.percentile(overlap, 1)),
            "least": float(overlap.min()),
        },
    }


def share(occluded: np.ndarray) -> float:
    """Share of 1 among the known labels."""
    return float((occluded[occluded <= 1] == 1).mean())


def report(result: dict[str, Any]) -> None:
    """Print the figures."""
    whole = result["all"]
    print(f"\n{len(result['subjects'])} subjects, {result['sequences']} recordings, {result['photos']} photos")
    for split, row in result["splits"].items():
        print(f"  {split:<6} {row['frames']:>6} frames of {row['camera_sequences']} camera sequences", *row["warnings"])
    for reason, number in whole["without_a_hand"].items():
        print(f"  without a hand: {number} ({reason})")
    print(f"  labels from the raw tree and from the JSON: equal on all {whole['frames']} frames", end="")
    print(f" (an outline pixel moved by rounding in {result['frames_whose_mask_iou_differs_by_rounding']})")
    iou = whole["mask_iou"]
    print(f"  mask agreement: median {iou['median']:.3f}, 1 % below {iou['p01']:.3f}, least {iou['least']:.3f}")
    print(f"\n{'label':<8}{'occluded':>9}{'visible':>9}   " + "".join(f"{cause:>18}" for cause in CAUSES))
    for name in LABELS:
        parts = whole["cause_share"].get(name)
        line = f"{name:<8}{whole['occluded_share'][name]:>9.1%}"
        if parts:
            line += f"{whole['visible_fraction_mean'][name]:>9.1%}   " + "".join(f"{parts[c]:>18.1%}" for c in CAUSES)
        print(line)
    print()
    for name, row in result["steps"].items():
        rate = f"{row['frames_per_second']:>8.1f} frames/s"
        print(f"{name:<24}{row['frames']:>6} frames {row['seconds']:>7.1f} s {rate}")
    print(f"load of the machine at the end: {result['machine']['load_at_the_end']:.1f}")


if __name__ == "__main__":
    main()
