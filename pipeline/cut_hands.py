"""Cutting the hands of one camera sequence out of its photographs: what a worker of `h2o build-clips` does.

Photo pixels; a task carries paths and settings, its result only counts. Idempotent: the sequence is committed at once.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.frame import Failure
from ..data.labels import Photo, listed_photos
from ..data.loading.crops import crop_box, stored_region
from ..data.photos import LOSSLESS, BadPhoto, coding_unit, cut, photo_size
from ..data.stores.columns import COPIED_COLUMNS, LABEL_COLUMNS, PICTURE_COLUMNS
from ..data.stores.records import Rows
from ..data.stores.sequences import SequenceStore
from .clip_target import clip_target


@dataclass(frozen=True)
class ClipTask:
    """One camera sequence to cut: where its labels and photos are, and where the clips go.

    `image` is the pattern of the photos' paths, None where the labels name them one by one. `size` is the width and
    height of the photos that the labels were made for, where the labels say so; `token` is that of the store of clips
    (data/stores/sequences.py).
    """

    key: str
    frames: int
    labels: str
    root: str
    image: str | None
    out: str
    codec: str
    max_scale: float
    size: tuple[int, int] | None = None
    token: str | None = None


@dataclass(frozen=True)
class ClipResult:
    """What one task did; `cpu` in seconds."""

    frames: int
    failures: int
    cpu: float


def cut_sequence(task: ClipTask) -> ClipResult:
    """Cut one camera sequence and commit it (idempotent). Runs in a worker."""
    began = time.process_time()
    rows, about = SequenceStore(task.labels).read(task.key, LABEL_COLUMNS)
    photos = _photos(task, rows, about)
    pictures: list[bytes] = []
    kept: list[int] = []
    found: list[dict[str, Any]] = []
    failures: list[Failure] = []
    offset = 0
    for row, (image, size) in enumerate(photos):
        try:
            data = (Path(task.root) / image).read_bytes()
            picture, place = cut_frame(data, rows["joints_2d"][row], rows["box"][row], task, size)
        except (BadPhoto, OSError) as error:
            failures.append(Failure(image, getattr(error, "strerror", None) or str(error)))
            continue
        found.append({"offset": offset, "length": len(picture), **place})
        pictures.append(picture)
        kept.append(row)
        offset += len(picture)
    attrs = {"nbytes": offset, "failures": [asdict(failure) for failure in failures]}
    jpeg = np.frombuffer(b"".join(pictures), np.uint8)
    clip_target(task.out, task.token).commit(task.key, _columns(rows, kept, found), attrs, jpeg)
    return ClipResult(len(kept), len(failures), time.process_time() - began)


def _photos(task: ClipTask, rows: Rows, attrs: dict[str, Any]) -> list[Photo]:
    """The photo of every row: by the pattern of a raw tree, or as the rows of a table name them."""
    if task.image is None:
        return listed_photos(task.labels, attrs, len(rows["frame"]))
    return [(task.image.format(sequence=task.key, frame=frame), task.size) for frame in rows["frame"].tolist()]


def cut_frame(
    data: bytes, joints_2d: np.ndarray, given: np.ndarray, task: ClipTask, size: tuple[int, int] | None
) -> tuple[bytes, dict[str, Any]]:
    """The stored picture of one photo and where it lies in it. BadPhoto when the photo is damaged or was resized.

    `size` is the width and height that its labels were made for, where they say so.
    """
    width, height = photo_size(data)
    if size and size != (width, height):  # joints and camera are those of the photo as it was published
        raise BadPhoto(f"is {width}x{height} px, its labels are of {size[0]}x{size[1]}: copy the original again")
    box, rule = crop_box(joints_2d, given, width, height)
    unit = coding_unit(data) if task.codec == LOSSLESS else (1, 1)
    region = stored_region(box, width, height, unit, task.max_scale)
    place = {"crop": region, "photo": (width, height), "box": box, "box_rule": rule}
    return cut(data, region, task.codec), place


def _columns(rows: Rows, kept: list[int], found: list[dict[str, Any]]) -> Rows:
    names = [*COPIED_COLUMNS, *(["vertices"] if "vertices" in rows else [])]
    columns = {name: rows[name][kept] for name in names}
    for name, (kind, shape) in PICTURE_COLUMNS.items():
        values = np.array([place[name] for place in found], np.dtype(kind))
        columns[name] = values.reshape(len(found), *shape)
    return columns
