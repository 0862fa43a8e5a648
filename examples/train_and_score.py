"""From photographs to a scored checkpoint in Python: labels, clips, a few epochs of training, an evaluation page.

Without --root a tiny DexYCB tree is synthesized. What a network learns from it says nothing about real hands.

    python examples/train_and_score.py --out runs/examples/score
"""

import argparse
from pathlib import Path

import torch
from h2onet.data.clips import ClipDataset
from h2onet.data.synthesize import SynthesizeSettings, synthesize
from h2onet.evaluation.evaluate import evaluate_clips
from h2onet.evaluation.page.tables import metrics_table
from h2onet.network.checkpoint import load_checkpoint
from h2onet.pipeline.build_clips import build_clips
from h2onet.pipeline.prepare_labels import LabelSettings, prepare_labels
from h2onet.training.loop import train
from h2onet.training.recipe import load_recipe


def make_clips(root: Path, split: str, out: Path, mano: str, workers: int) -> Path:
    """Label one split and cut its clips; finished parts of an interrupted run are kept."""
    labels, clips = out / split / "labels.zarr", out / split / "clips.zarr"
    settings = LabelSettings(dataset="dexycb", root=root, split=split, mano=mano, out=labels, workers=workers)
    print(prepare_labels(settings))
    print(build_clips(labels, str(clips), workers=workers))
    return clips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/examples/score"))
    parser.add_argument("--root", type=Path, help="a DexYCB tree (default: synthesize one below --out)")
    parser.add_argument("--mano", default="standin", help="folder of MANO's files, or standin")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--width", type=float, default=0.25, help="1 is the paper's network")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()

    root = options.root or options.out / "DEX_YCB"
    if not root.exists():
        print(synthesize(SynthesizeSettings(out=root, sequences=7, frames=8, cameras=2, workers=options.workers)))
    train_clips = make_clips(root, "train", options.out, options.mano, options.workers)
    test_clips = make_clips(root, "test", options.out, options.mano, options.workers)

    # A recipe is a preset and what you change in it; stage 1 learns the hand's shape in its canonical orientation.
    changes = [f"epochs={options.epochs}", f"width={options.width}", "batch_size=4", "milestones=[]", "threads=1"]
    recipe = load_recipe("demo-single-stage1", changes)
    print(train(recipe, [str(train_clips)], options.out / "run", resume=True))

    checkpoint = options.out / "run" / "last"
    sample = ClipDataset(str(test_clips), frames=None)[0]
    images = torch.from_numpy(sample["images"])[None]  # (1, 3, 128, 128), RGB in [0, 1]
    with torch.inference_mode():
        prediction = load_checkpoint(checkpoint)(images)
    print(f"vertices of the first test frame: {tuple(prediction.canonical_vertices.shape)}, metres")
    print(metrics_table(evaluate_clips(checkpoint, test_clips, options.out / "result")))
    print(f"open {options.out / 'result' / 'report.html'}")


if __name__ == "__main__":  # worker processes import this file: they must not run it
    main()
