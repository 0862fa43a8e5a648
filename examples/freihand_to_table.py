"""FreiHAND as a table: `python examples/freihand_to_table.py FREIHAND TABLE`, then `--dataset table --root TABLE`.

Reads training_K.json, training_mano.json and training_xyz.json as the dataset's authors release them: right hands, one
to a photo, no objects, no recordings. Photos and masks stay where they are.
"""

import argparse
import json
from pathlib import Path

TOML = """name = "freihand"
units = "m"
photos = {root}
masks = {root}
size = [224, 224]
flat_hand_mean = false  # their poses leave the mean hand out

[window]
past = []  # single photos: no earlier frame belongs to one

[splits]
val = ["{last}"]
train = ["*"]
"""
CHUNK = 1000
"""Photos of one sequence: a task of prepare-labels."""


def convert(root: Path, out: Path) -> int:
    """Write the table of the training photos into a new folder; returns how many rows it has."""
    names = ("training_K.json", "training_mano.json", "training_xyz.json")
    cameras, hands, joints = (json.loads((root / name).read_text()) for name in names)
    if not len(cameras) == len(hands) == len(joints) > 0:
        raise SystemExit(f"{root}: {', '.join(names)} have {len(cameras)}, {len(hands)}, {len(joints)} entries")
    out.mkdir(parents=True)
    with (out / "frames.jsonl").open("w") as file:
        for number, (camera, (hand,), points) in enumerate(zip(cameras, hands, joints, strict=True)):
            row = {
                "sequence": f"{number // CHUNK:04d}",
                "frame": number % CHUNK,
                "image": f"training/rgb/{number:08d}.jpg",
                "mask": f"training/mask/{number:08d}.jpg",
                "side": "right",
                "intrinsics": camera,
                "mano_pose": hand[:48],
                "mano_shape": hand[48:58],  # then the root in pixels and the scale, which `joints` say exactly
                "joints": points,
            }
            file.write(json.dumps(row) + "\n")
    last = f"{(len(cameras) - 1) // CHUNK:04d}"
    (out / "dataset.toml").write_text(TOML.format(root=json.dumps(str(root.resolve())), last=last))
    return len(cameras)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("freihand", type=Path, help="folder with training/ and the JSON files")
    parser.add_argument("table", type=Path, help="folder to create")
    options = parser.parse_args()
    print(f"{convert(options.freihand, options.table)} rows in {options.table}")
