"""How often definitions of "hidden" disagree on the same frames: those of docs/visibility.md that a label store holds.

    python benchmarks/definitions.py lifting=test/labels.zarr gestures=other/labels.zarr --json definitions.json
    python benchmarks/definitions.py lifting=test/labels.zarr --picture definitions.png [--row 12]

Each argument is a name and a labels.zarr. Frames with every label known are counted. Prints a Markdown table. The
picture shows one frame of the first store under each definition: --row, or one on whose fingers they differ most.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from h2onet.data.datasets import list_sequences
from h2onet.data.labels import LabelStore
from h2onet.data.photos import decode
from h2onet.hand.camera import project
from h2onet.hand.draw import overlay_skeleton
from h2onet.hand.parts import UNKNOWN
from h2onet.labeling.objects import ObjectLibrary
from h2onet.labeling.overlay import draw_label, write_picture
from h2onet.labeling.pose import load_hands
from h2onet.pipeline.label_sheet import columns, read_frame
from numpy.typing import NDArray

BINS = (0.25, 0.5, 0.75)  # UniHOPE's inner edges
HALF = 0.5


def main() -> None:
    """Parse, count, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", nargs="+", metavar="NAME=labels.zarr")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path, help="PNG to draw")
    parser.add_argument("--row", type=int, help="row of the first store that the picture shows")
    options = parser.parse_args()
    found = {}
    for text in options.stores:
        name, _, path = text.partition("=")
        found[name] = measure(LabelStore.open(path))
    print(table(found))
    if options.picture is not None:
        labels = LabelStore.open(options.stores[0].partition("=")[2])
        write_picture(options.picture, draw(labels, telling_row(labels) if options.row is None else options.row))
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


def telling_row(labels: LabelStore) -> int:
    """The row, with the whole hand in the image, on whose fingers H2ONet's rule, skin and joints differ most."""
    joints = labels["joint_visible"]
    votes = [
        labels["occluded"][:, :5] == 1,
        labels["visible_fraction"][:, :5] < HALF,
        joints[:, 1:].reshape(-1, 5, 4).mean(2) < HALF,
    ]
    differ = (np.ptp(np.array(votes, int), axis=0)).sum(1)
    whole = (labels["coco_visibility"] > 0).all(1) & (labels["hand_visible_area"] < 0.9)
    return int(np.argmax(np.where(whole, differ, -1)))


def draw(labels: LabelStore, row: int) -> NDArray[np.uint8]:
    """The frame's card (rules h2onet and depth), its joints, seen ones filled, and the shares of its silhouette."""
    attrs = labels.attrs
    sequences = list_sequences(attrs["dataset"], attrs["root"], attrs["split"], attrs["setup"], mano=attrs["mano_path"])
    key = labels.sequences[int(labels["sequence_id"][row])]
    frame = read_frame(next(sequence for sequence in sequences if sequence.key == key), int(labels["frame"][row]))
    if isinstance(frame, str):
        raise SystemExit(frame)
    photo = np.ascontiguousarray(decode((Path(attrs["root"]) / frame.image).read_bytes())[..., ::-1])
    hands = load_hands(attrs["mano_path"], (frame.side, "right"))
    card = draw_label(frame, photo, columns(labels, slice(row, row + 1)), 0, hands, ObjectLibrary(attrs["objects"]))
    side, joints = 384, project(labels["joints"][row].astype(np.float64), labels["intrinsics"][row].astype(np.float64))
    middle, extent = (joints.min(0) + joints.max(0)) / 2, 1.4 * float(np.ptp(joints, axis=0).max())
    scale = side / extent
    move = np.array([[scale, 0, side / 2 - middle[0] * scale], [0, scale, side / 2 - middle[1] * scale]])
    panel = cv2.warpAffine(photo, move, (side, side), flags=cv2.INTER_CUBIC, borderValue=(60, 60, 60))
    points = joints * scale + move[:, 2]
    panel = overlay_skeleton(np.asarray(panel, np.uint8), points, filled=labels["joint_visible"][row] == 1)
    beside = np.full((len(card), side + 8, 3), card[0, 0], np.uint8)
    beside[30 : 30 + side, :side] = panel
    flags = np.bincount(labels["coco_visibility"][row], minlength=3)
    texts = [
        f"joints: {flags[2]} seen (COCO 2), {flags[1]} hidden (1), {flags[0]} outside (0)",
        f"silhouette seen (HOT3D): {100 * labels['hand_visible_area'][row]:.0f} %",
        f"left by objects (UniHOPE): {100 * labels['object_visible_area'][row]:.0f} %",
    ]
    for line, text in enumerate(texts):
        cv2.putText(
            beside, text, (4, 30 + side + 26 + 22 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.44, (34, 36, 40), 1, cv2.LINE_AA
        )
    return np.concatenate([card, beside], axis=1)


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
