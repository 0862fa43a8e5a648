"""Labels as COCO keypoints: images, one hand per image, 21 joints with COCO's flag, in this project's joint order.

v = 2 seen, 1 hidden inside the image, 0 outside the image or unknown (then x = y = 0, as COCO has it). Pixels are the
store's. Annotation ids start at 1: COCOeval takes a perfect find of annotation 0 for a false alarm.

`write_document` and `annotations_of` also write clips (`pipeline.exports.coco`), whose pictures are parts of photos.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from ...data.labels import LabelStore
from ...durable import writing_file
from ...errors import InputError
from ...hand.parts import FINGER_CHAINS, JOINT_NAMES
from .columns import ROWS, blocks

SKELETON = [[a + 1, b + 1] for chain in FINGER_CHAINS for a, b in itertools.pairwise(chain)]
"""Bones as COCO counts joints: from 1."""


def visibility(joints_2d: np.ndarray, joint_visible: np.ndarray, size: np.ndarray) -> np.ndarray:
    """COCO's flag (N, 21) uint8 of joints (N, 21, 2) px with `joint_visible` (N, 21): 1 seen, 0 not, 255 unknown.

    size: width and height of the pictures, (2,) or (N, 2) px.
    """
    inside = ((joints_2d >= 0) & (joints_2d < np.asarray(size)[..., None, :])).all(axis=-1)  # NaN is not
    return np.where(inside & (joint_visible <= 1), joint_visible + np.uint8(1), 0).astype(np.uint8)


def write_document(
    file: IO[bytes], about: Mapping[str, Any], images: Iterable[dict[str, Any]], annotations: Iterable[dict[str, Any]]
) -> int:
    """Write one COCO file, an image or annotation at a time; annotations get ids from 1. Returns their number."""
    category = {"id": 1, "name": "hand", "supercategory": "hand"}
    category |= {"keypoints": list(JOINT_NAMES), "skeleton": SKELETON}
    file.write(f'{{"info": {json.dumps(about)},\n"categories": {json.dumps([category])},\n"images": ['.encode())
    for number, image in enumerate(images):
        file.write(((",\n" if number else "\n") + json.dumps(image)).encode())
    file.write(b'],\n"annotations": [')
    count = 0
    for count, annotation in enumerate(annotations, 1):
        file.write(((",\n" if count > 1 else "\n") + json.dumps({"id": count, **annotation})).encode())
    file.write(b"]}\n")
    return count


def annotations_of(first: int, points: np.ndarray, flags: np.ndarray, is_left: np.ndarray) -> Iterator[dict[str, Any]]:
    """Annotations without id of images `first`, ...: joints (N, 21, 2) px, their flags (N, 21), whether left (N,).

    Images without a flag have none. The box is that of the joints inside the image, as [x, y, w, h].
    """
    for i in np.flatnonzero(flags.any(axis=1)).tolist():
        known = points[i][flags[i] > 0].astype(np.float64)
        x, y = known.min(axis=0).tolist()
        w, h = np.ptp(known, axis=0).tolist()
        shown = np.where(flags[i][:, None] > 0, points[i], 0).astype(np.float64).tolist()
        yield {
            "image_id": first + i,
            "category_id": 1,
            "iscrowd": 0,
            "keypoints": [
                number for (u, v), flag in zip(shown, flags[i].tolist(), strict=True) for number in (u, v, flag)
            ],
            "num_keypoints": len(known),
            "bbox": [x, y, w, h],
            "area": w * h,
            "side": "left" if is_left[i] else "right",
        }


def write_coco(labels: LabelStore, out: Path) -> None:
    """Every frame becomes an image, every frame with a joint's flag an annotation; InputError without photo sizes."""
    attrs = labels.attrs
    for name in () if "suffixes" in attrs else ("photo", "image"):
        if name not in attrs:
            raise InputError(f"{labels.store.path / 'index'}: attribute {name} is missing; run prepare-labels again")
    about = {name: attrs.get(name) for name in ("dataset", "split", "setup", "rules")}
    with writing_file(out) as file:
        write_document(file, about, _images(labels), _annotations(labels))


def _images(labels: LabelStore) -> Iterator[dict[str, Any]]:
    for row in range(len(labels)):
        name, size = labels.photo(row)
        assert size is not None
        yield {"id": row + 1, "file_name": name, "width": size[0], "height": size[1]}


def _annotations(labels: LabelStore) -> Iterator[dict[str, Any]]:
    for start, end in blocks(len(labels), ROWS):
        points = labels.index.part("joints_2d", start, end)
        sizes = np.array([labels.photo(row)[1] for row in range(start, end)])
        flags = visibility(points, labels.index.part("joint_visible", start, end), sizes)
        yield from annotations_of(start + 1, points, flags, labels.index.part("is_left", start, end))
