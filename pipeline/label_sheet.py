"""`--sheet`: a picture of the frames of a labels.zarr that a person should look at first."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ..data.datasets import iter_frames
from ..data.frame import CameraSequence, Frame
from ..data.labels import LabelStore
from ..labeling.label import FrameLabels
from ..labeling.objects import ObjectLibrary
from ..labeling.overlay import contact_sheet, draw_label, most_telling_first, write_picture
from ..labeling.pose import load_hands
from .label_sequence import LABEL_COLUMNS, Job

log = logging.getLogger(__name__)
CARDS = 24
_PER_GROUP = 1


def write_sheet(path: Path, labels: LabelStore, sequences: Sequence[CameraSequence], job: Job) -> None:
    """Draw up to 24 labelled frames, the most telling first, one of each sequence before more; a warning if none."""
    whole = columns(labels, slice(None))
    hands, objects = load_hands(job.mano, job.sides), ObjectLibrary(job.objects)
    by_key = {sequence.key: sequence for sequence in sequences}
    cards = []
    for row in one_of_each_first(most_telling_first(whole), labels["sequence_id"]):
        key = labels.sequences[int(labels["sequence_id"][row])]
        frame = read_frame(by_key[key], int(labels["frame"][row]))
        photo = cv2.imread(str(Path(by_key[key].root) / labels.image(row)), cv2.IMREAD_COLOR)
        if isinstance(frame, str) or photo is None:
            continue
        cards.append(draw_label(frame, photo[..., ::-1], columns(labels, slice(row, row + 1)), 0, hands, objects))
        if len(cards) == CARDS:
            break
    if not cards:
        log.warning("--sheet %s: not written, because no labelled frame has a readable photo", path)
        return
    log.info("contact sheet: %s", write_picture(path, contact_sheet(cards)))


def columns(labels: LabelStore, rows: slice) -> FrameLabels:
    """What the store says of these rows, as labelling gave it."""
    found = {name: labels[name][rows] for name in LABEL_COLUMNS}
    count = len(found["labelled"])
    unknown, nothing = np.full((count, 6), -1, np.int32), np.full(count, np.nan, np.float32)
    return FrameLabels(**found, camera_facing=unknown, joints_off=nothing, failures=(), missing_objects=())


def one_of_each_first(rows: Sequence[int], group: np.ndarray) -> list[int]:
    """The rows in order, with what goes beyond one of a group (of every row of the store) moved to the end."""
    taken: dict[int, int] = {}
    first, later = [], []
    for row in rows:
        number = int(group[row])
        taken[number] = taken.get(number, 0) + 1
        (first if taken[number] <= _PER_GROUP else later).append(row)
    return first + later


def read_frame(sequence: CameraSequence, number: int) -> Frame | str:
    """One frame of a camera sequence by its number, or why there is none, in one line."""
    reason = f"{sequence.key}: frame {number} is not listed"
    for item in iter_frames(sequence.take(np.flatnonzero(sequence.numbers == number)[:1])):
        if isinstance(item, Frame):
            return item
        reason = f"{item.path}: {item.reason}"
    return reason
