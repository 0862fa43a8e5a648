"""Label a dataset and look at the result: a labels.zarr, what it says in numbers, and a contact sheet.

Without --root a tiny DexYCB tree is synthesized; with it your own is labelled (add --mano DIR).

    python examples/label_and_look.py --out runs/examples/look
"""

import argparse
from pathlib import Path

import numpy as np
from h2onet.data.labels import LabelStore
from h2onet.data.synthesize import SynthesizeSettings, synthesize
from h2onet.hand.parts import CAUSES, LABELS, PARTS
from h2onet.pipeline.prepare_labels import LabelSettings, prepare_labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/examples/look"))
    parser.add_argument("--root", type=Path, help="a DexYCB tree (default: synthesize one below --out)")
    parser.add_argument("--mano", default="standin", help="folder of MANO's files, or standin")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()

    root = options.root or options.out / "DEX_YCB"
    if not root.exists():
        print(synthesize(SynthesizeSettings(out=root, sequences=3, frames=6, cameras=2, workers=options.workers)))

    store, sheet = options.out / "labels.zarr", options.out / "labels.png"
    settings = LabelSettings(
        dataset="dexycb", root=root, split="train", mano=options.mano, out=store, sheet=sheet, workers=options.workers
    )
    print(prepare_labels(settings))

    labels = LabelStore.open(store)
    known = labels["labelled"]
    for name, share in zip(LABELS, labels["occluded"][known].mean(axis=0), strict=True):
        print(f"{name:8s}occluded in {share:4.0%} of the frames (rule h2onet)")
    # The depth rule also says why. A part that it could not judge has NaN here, and the cause 255.
    fraction = labels["visible_fraction"]
    row, part = divmod(int(np.nanargmin(fraction)), len(PARTS))
    cause = CAUSES[labels["cause"][row, part]]
    print(f"most hidden: {PARTS[part]} in {labels.image(row)}, {fraction[row, part]:.0%} visible, cause: {cause}")
    print(f"look at {sheet}")


if __name__ == "__main__":  # worker processes import this file: they must not run it
    main()
