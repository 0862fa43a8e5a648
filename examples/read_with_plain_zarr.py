"""Read labels.zarr and clips.zarr with nothing but zarr and NumPy: for other languages, other trainers, other people.

Writes one row of a clip store as a JPEG and a JSON file, and all occlusion labels of a label store as CSV.

    python examples/read_with_plain_zarr.py --labels runs/examples/score/train/labels.zarr \\
        --clips runs/examples/score/train/clips.zarr --out runs/examples/plain
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import zarr

LABELS = ("thumb", "index", "middle", "ring", "little", "palm", "global")  # 1 occluded, 0 visible, 255 unknown


def write_labels(store: Path, out: Path) -> int:
    """The occlusion labels of every frame as CSV; returns how many frames there are."""
    index: Any = zarr.open_group(store / "index", mode="r")  # flat arrays over all frames
    keys = [entry["key"] for entry in index.attrs["sequences"]]  # camera sequences, by `sequence_id`
    rows = zip(index["sequence_id"][:], index["frame"][:], index["occluded"][:], strict=True)
    lines = [f"{keys[number]},{frame},{','.join(map(str, labels))}" for number, frame, labels in rows]
    out.write_text("\n".join([",".join(("sequence", "frame", *LABELS)), *lines]) + "\n")
    return len(lines)


def write_clip(store: Path, row: int, out: Path) -> str:
    """One frame's picture, as it is stored, and its columns (metres, pixels, OpenCV camera); returns its sequence."""
    group: Any = zarr.open_group(store, mode="r")
    index = group["index"]
    facts = {name: index[name][row] for name in sorted(index.array_keys())}
    key = index.attrs["sequences"][int(facts["sequence_id"])]["key"]
    # The JPEGs of a sequence lie one after the other in one array; the index says where each begins.
    jpegs = group["sequences"][key.replace("/", "__")]["jpeg"]
    start = int(facts["offset"])
    out.with_suffix(".jpg").write_bytes(jpegs[start : start + int(facts["length"])].tobytes())
    plain = {name: np.asarray(value).tolist() for name, value in facts.items()}
    out.with_suffix(".json").write_text(json.dumps({"sequence": key, **plain}, indent=1))
    return key


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, default=Path("runs/examples/score/train/labels.zarr"))
    parser.add_argument("--clips", type=Path, default=Path("runs/examples/score/train/clips.zarr"))
    parser.add_argument("--row", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/examples/plain"))
    options = parser.parse_args()
    for store in (options.labels, options.clips):
        if not store.is_dir():
            parser.error(f"{store}: no such store; `python examples/train_and_score.py` makes both")

    options.out.mkdir(parents=True, exist_ok=True)
    frames = write_labels(options.labels, options.out / "labels.csv")
    key = write_clip(options.clips, options.row, options.out / "clip")
    print(f"labels of {frames} frames in {options.out / 'labels.csv'}")
    print(f"row {options.row}, of {key}, in {options.out / 'clip.jpg'} and clip.json")


if __name__ == "__main__":
    main()
