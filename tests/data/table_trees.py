"""Small tables written from docs/add-a-dataset.md, with the stand-in hand of `raw_trees`; every number is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import raw_trees as raw

PHOTO = cv2.imencode(".jpg", np.full((480, 640, 3), 90, np.uint8))[1].tobytes()


def row(number: int = 0, side: str = "right", **more: Any) -> dict[str, Any]:
    """The row of a hand of `raw_trees.posed`, in sequence "one"; `more` replaces fields, None removes them."""
    truth = raw.posed(side, number)
    found: dict[str, Any] = {
        "sequence": "one",
        "frame": number,
        "image": f"photos/{number:04d}.jpg",
        "side": side,
        "intrinsics": [raw.FX, raw.FY, raw.CX, raw.CY],
        "mano_pose": truth.pose.tolist(),
        "mano_shape": raw.BETAS.tolist(),
        "translation": truth.translation.tolist(),
    } | more
    return {name: value for name, value in found.items() if value is not None}


def write(root: Path, rows: list[dict[str, Any] | str], *, with_photos: bool = True, **keys: Any) -> Path:
    """A table with these rows (text is written as it is) and its photos; `keys` are those of dataset.toml."""
    root.mkdir(parents=True, exist_ok=True)
    keys = {"name": "mine", "units": "m", "size": [640, 480]} | keys
    tables = {name: value for name, value in keys.items() if isinstance(value, dict)}
    lines = [
        f"{name} = {json.dumps(value)}" for name, value in keys.items() if name not in tables and value is not None
    ]
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    (root / "dataset.toml").write_text("\n".join(lines) + "\n")
    texts = [each if isinstance(each, str) else json.dumps(each) for each in rows]
    (root / "frames.jsonl").write_text("".join(text + "\n" for text in texts))
    for each in rows if with_photos else ():
        if isinstance(each, dict) and not str(each["image"]).startswith(("/", "..")):
            path = root / each["image"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(PHOTO)
    return root


def write_mask(path: Path, hand: np.ndarray, colour: int | tuple[int, int, int] = 255, rest: int = 0) -> None:
    """A PNG with the hand in a grey value or in red, green, blue."""
    grey = isinstance(colour, int)
    picture = np.full(hand.shape if grey else (*hand.shape, 3), rest, np.uint8)
    picture[hand] = colour if grey else colour[::-1]
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)
