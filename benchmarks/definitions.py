"""How often definitions of "hidden" disagree on the same frames: those of docs/visibility.md that a label store holds.

    python benchmarks/definitions.py lifting=test/labels.zarr gestures=other/labels.zarr --json definitions.json

Each argument is a name and a labels.zarr. Frames with every label known are counted. Prints a Markdown table.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from h2onet.data.labels import LabelStore
from h2onet.hand.parts import UNKNOWN
from numpy.typing import NDArray

BINS = (0.25, 0.5, 0.75)  # UniHOPE's inner edges
HALF = 0.5


def main() -> None:
    """Parse, count, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", nargs="+", metavar="NAME=labels.zarr")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {}
    for text in options.stores:
        name, _, path = text.partition("=")
        found[name] = measure(LabelStore.open(path))
    print(table(found))
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def measure(labels: LabelStore) -> dict[str, float]:
    """Counts and shares of one store, by what is compared."""
    joints, area, left = labels["joint_visible"], labels["hand_visible_area"], labels["object_visible_area"]
    known = (labels["occluded"] != UNKNOWN).all(1) & (joints != UNKNOWN).all(1) & np.isfinite(area) & np.isfinite(left)
    known &= np.isfinite(labels["visible_fraction"]).all(1)
    joints, area, left = joints[known] == 1, area[known], left[known]
    skin = labels["visible_fraction"][known]
    authors = labels["occluded"][known, :5] == 1
    depth = skin[:, :5] < HALF
    by_joints = joints[:, 1:].reshape(-1, 5, 4).mean(2) < HALF
    of_finger = np.repeat(authors, 4, axis=1)
    return {
        "frames": int(known.sum()),
        "fingers hidden: H2ONet's rule": float(authors.mean()),
        "fingers hidden: less than half of the skin seen": float(depth.mean()),
        "fingers hidden: less than half of the joints seen": float(by_joints.mean()),
        "fingers told otherwise: H2ONet's rule, skin": float((authors != depth).mean()),
        "fingers told otherwise: H2ONet's rule, joints": float((authors != by_joints).mean()),
        "fingers told otherwise: skin, joints": float((depth != by_joints).mean()),
        "joints told otherwise than their finger by H2ONet's rule": float((of_finger == joints[:, 1:]).mean()),
        "joints hidden inside the image (COCO's 1)": float((labels["coco_visibility"][known] == 1).mean()),
        "joints outside the image (COCO's 0)": float((labels["coco_visibility"][known] == 0).mean()),
        "visible share, mean: silhouette (HOT3D)": float(area.mean()),
        "visible share, mean: what objects leave (UniHOPE)": float(left.mean()),
        "visible share, mean: skin (the six parts)": float(skin.mean()),
        "frames in another quarter: silhouette, what objects leave": other_quarter(area, left),
        "frames in another quarter: silhouette, skin": other_quarter(area, skin.mean(1)),
    }


def other_quarter(a: NDArray, b: NDArray) -> float:
    """Share of frames that two visible shares (N,) put into different bins."""
    return float((np.digitize(a, BINS, right=True) != np.digitize(b, BINS, right=True)).mean())


def table(found: dict[str, dict[str, float]]) -> str:
    """All stores side by side, in Markdown."""
    rows = [["", *found], ["---"] * (1 + len(found))]
    for what in next(iter(found.values())):
        values = [one[what] for one in found.values()]
        rows.append([what, *(f"{value:,}" if isinstance(value, int) else f"{100 * value:.1f} %" for value in values)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    main()
