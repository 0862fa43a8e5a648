"""Clips as COCO keypoints: the stored pictures byte for byte, and the hand's 21 joints in their pixels.

`annotations.json` names each picture by its path below `images/`, "SEQUENCE/000012.jpg" with "__" for "/" in the
sequence. Joints, flags, boxes and ids are those of `labels.coco`, moved to the picture, which is the part `crop` of
the photo: seen, hidden or outside is as there, since the part holds every joint that the photo does.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ...data.stores.clips import ClipStore
from ...data.stores.keys import folder_name
from ...durable import writing_file
from ...errors import InputError
from ..labels.coco import annotations_of, visibility, write_document
from ..labels.columns import ROWS, blocks
from .names import frame_stems

_PICTURES = 256  # read at once


def write_coco(clips: ClipStore, folder: Path) -> str:
    """Write `annotations.json` and `images/`; returns what was written, in words.

    InputError where no joint's visibility is known: COCO's flag could only be 0.
    """
    if not (clips.index["joint_visible"] <= 1).any():
        raise InputError(
            f"{clips}: no joint's visibility is known, and COCO has no keypoint without; use a split that"
            " h2o prepare-labels can label, or --to parquet"
        )
    stems = frame_stems(clips.index)
    folders = [folder_name(entry["key"]) for entry in clips.entries]
    names = [f"{folders[k]}/{stem}.jpg" for k, stem in zip(clips.index["sequence_id"].tolist(), stems, strict=True)]
    for name in set(folders):
        (folder / "images" / name).mkdir(parents=True)
    with tqdm(total=len(clips), desc="export", unit="frame") as bar:
        for start, end in blocks(len(clips), _PICTURES):
            for name, jpeg in zip(names[start:end], clips.jpegs(np.arange(start, end)), strict=True):
                (folder / "images" / name).write_bytes(jpeg)
                bar.update()
    about = {name: clips.attrs.get(name) for name in ("dataset", "split", "setup", "rules")}
    with writing_file(folder / "annotations.json") as file:
        count = write_document(file, about, _images(clips, names), _annotations(clips))
    return f"{len(clips)} pictures and {count} annotations"


def _images(clips: ClipStore, names: list[str]) -> Iterator[dict[str, Any]]:
    """Beside COCO's own fields: where the picture lies in which photo."""
    columns = (clips.index[name].tolist() for name in ("sequence_id", "frame", "crop"))
    for row, (number, frame, crop) in enumerate(zip(*columns, strict=True)):
        size = {"width": crop[2], "height": crop[3]}
        photo = {"sequence": clips.entries[number]["key"], "frame": frame, "crop": crop}
        yield {"id": row + 1, "file_name": names[row], **size, **photo}


def _annotations(clips: ClipStore) -> Iterator[dict[str, Any]]:
    for start, end in blocks(len(clips), ROWS):
        part = slice(start, end)
        crop = clips.index["crop"][part].astype(np.float64)
        points = clips.index["joints_2d"][part] - crop[:, None, :2]
        flags = visibility(points, clips.index["joint_visible"][part], crop[:, 2:])
        yield from annotations_of(start + 1, points, flags, clips.index["is_left"][part])
