"""Labels as COCO keypoints: images, one hand per image, 21 joints with COCO's flag, in this project's joint order.

v = 2 seen, 1 hidden inside the image, 0 outside the image or unknown (then x = y = 0, as COCO has it). Pixels are the
store's. Annotation ids start at 1: COCOeval takes a perfect find of annotation 0 for a false alarm.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...data.labels import LabelStore
from ...durable import writing_file
from ...errors import InputError
from ...hand.parts import FINGER_CHAINS, JOINT_NAMES
from .columns import ROWS, blocks

SKELETON = [[a + 1, b + 1] for chain in FINGER_CHAINS for a, b in itertools.pairwise(chain)]
"""Bones as COCO counts joints: from 1."""


def visibility(
    joints_2d: np.ndarray, joint_visible: np.ndarray, width: int | np.ndarray, height: int | np.ndarray
) -> np.ndarray:
    """COCO's flag (N, 21) uint8 of joints (N, 21, 2) px with `joint_visible` (N, 21): 1 seen, 0 not, 255 unknown.

    `width` and `height` of the photos, one for all or (N, 1).
    """
    inside = (joints_2d >= 0).all(axis=-1) & (joints_2d[..., 0] < width) & (joints_2d[..., 1] < height)  # NaN is not
    return np.where(inside & (joint_visible <= 1), joint_visible + np.uint8(1), 0).astype(np.uint8)


def write_coco(labels: LabelStore, out: Path) -> None:
    """Every frame becomes an image, every frame with a joint's flag an annotation; InputError without `photo`."""
    attrs = labels.attrs
    for name in () if "suffixes" in attrs else ("photo", "image"):
        if name not in attrs:
            raise InputError(f"{labels.store.path / 'index'}: attribute {name} is missing; run prepare-labels again")
    category = {"id": 1, "name": "hand", "supercategory": "hand"}
    category |= {"keypoints": list(JOINT_NAMES), "skeleton": SKELETON}
    about = {name: attrs.get(name) for name in ("dataset", "split", "setup", "rules")}
    with writing_file(out) as file:
        file.write(f'{{"info": {json.dumps(about)},\n"categories": {json.dumps([category])},\n"images": ['.encode())
        for row in range(len(labels)):
            name, size = labels.photo(row)
            assert size is not None
            image = {"id": row + 1, "file_name": name, "width": size[0], "height": size[1]}
            file.write(((",\n" if row else "\n") + json.dumps(image)).encode())
        file.write(b'],\n"annotations": [')
        number = 0
        for start, end in blocks(len(labels), ROWS):
            for annotation in _annotations(labels, start, end):
                number += 1
                file.write(((",\n" if number > 1 else "\n") + json.dumps({"id": number, **annotation})).encode())
        file.write(b"]}\n")


def _annotations(labels: LabelStore, start: int, end: int) -> Iterator[dict[str, Any]]:
    """Annotations without id of these rows; the box is the joints' (those inside the image), as [x, y, w, h]."""
    points = labels.index.part("joints_2d", start, end)
    sizes = np.array([labels.photo(row)[1] for row in range(start, end)])
    flags = visibility(points, labels.index.part("joint_visible", start, end), sizes[:, :1], sizes[:, 1:])
    left = labels.index.part("is_left", start, end)
    for i in np.flatnonzero(flags.any(axis=1)).tolist():
        known = points[i][flags[i] > 0].astype(np.float64)
        x, y = known.min(axis=0).tolist()
        w, h = np.ptp(known, axis=0).tolist()
        shown = np.where(flags[i][:, None] > 0, points[i], 0).astype(np.float64).tolist()
        yield {
            "image_id": start + i + 1,
            "category_id": 1,
            "iscrowd": 0,
            "keypoints": [
                number for (u, v), flag in zip(shown, flags[i].tolist(), strict=True) for number in (u, v, flag)
            ],
            "num_keypoints": len(known),
            "bbox": [x, y, w, h],
            "area": w * h,
            "side": "left" if left[i] else "right",
        }
