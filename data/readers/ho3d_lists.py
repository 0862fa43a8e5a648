"""HO3D's lists: which frames a split has, and where its released ground truth lies.

The lists drive everything, never the directories. HO3D has no validation list: `val` is every 20th entry of the sorted
training list, `train` the rest, as H2ONet's loaders divide it.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...errors import InputError, brief, one_line
from ...untrusted import check_name
from ..frame import PHOTO_SUFFIX, CameraSequence, Photo, ho3d_folder
from .json_scan import scan_entries

log = logging.getLogger(__name__)
VAL_STEP = 20
LARGEST_LIST = 2**24  # bytes; train.txt of v3 has 0.9 MB
_FRAME = re.compile(r"[0-9]{1,18}")  # whatever is no photo's number fails as a missing photo
RELEASED = (("evaluation_xyz.json", (21, 3)), ("evaluation_verts.json", (778, 3)))

Entry = tuple[int, str, int]  # position in the list, sequence, frame number


def read_list(root: Path, split: str) -> list[Entry]:
    """All lines of train.txt or evaluation.txt, in the file's order. InputError names file and line."""
    path = root / f"{ho3d_folder(split)}.txt"
    try:
        lines = read_lines(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: not readable ({one_line(error, 160)}); expected HO3D's list of frames: check --root"
        ) from None
    entries: list[Entry] = []
    seen: dict[tuple[str, int], int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        sequence, _, frame = line.strip().partition("/")
        try:
            check_name(sequence, "the sequence")
            if not _FRAME.fullmatch(frame):
                raise ValueError("no frame")
        except ValueError:
            raise InputError(
                f"{path}: line {number} is {brief(line)}, expected SEQUENCE/NNNN; copy the file again"
            ) from None
        first = seen.setdefault((sequence, int(frame)), number)
        if first != number:  # twice in the list would also be in `train` and in `val`
            raise InputError(f"{path}: line {number} repeats line {first}, {line.strip()}; copy the file again")
        entries.append((len(entries), sequence, int(frame)))
    if not entries:
        raise InputError(f"{path}: lists no frames; copy the file again")
    return entries


def read_lines(path: Path) -> list[str]:
    """The lines of a list of frames, a byte order mark left out; ValueError where it is no text or far too large."""
    with path.open("rb") as file:
        data = file.read(LARGEST_LIST + 1)
    if len(data) > LARGEST_LIST:
        raise ValueError(f"more than {LARGEST_LIST >> 20} MB")
    return data.decode("utf-8-sig").splitlines()


def select(entries: list[Entry], split: str) -> list[Entry]:
    """The entries of a split: `val` is every 20th of the sorted list, `train` the rest, `test` all."""
    if split == "test":
        return entries
    ordered = sorted(entries, key=lambda entry: (entry[1], entry[2]))
    held_out = {entry[0] for entry in ordered[::VAL_STEP]}
    return [entry for entry in entries if (entry[0] in held_out) == (split == "val")]


def group_by_sequence(entries: list[Entry]) -> dict[str, list[Entry]]:
    """Entries grouped by sequence (order of first appearance), sorted by frame number."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry[1], []).append(entry)
    return {key: sorted(group, key=lambda entry: entry[2]) for key, group in groups.items()}


def list_ho3d(
    dataset: str, root: Path, split: str, mano: str | None = None, seg_channel: int = 0
) -> list[CameraSequence]:
    """Camera sequences of a split; `indices` are positions in train.txt or evaluation.txt."""
    entries = read_list(root, split)
    released = released_ranges(root, len(entries)) if split == "test" else None
    found = []
    for key, group in group_by_sequence(select(entries, split)).items():
        indices = np.array([entry[0] for entry in group], np.int64)
        found.append(
            CameraSequence(
                dataset,
                str(root),
                split,
                "",
                key,
                np.array([entry[2] for entry in group], np.int64),
                indices,
                released=None if released is None else released[indices],
                mano=mano,
                seg_channel=seg_channel,
            )
        )
    return look_for_photos(found)


def look_for_photos(sequences: list[CameraSequence]) -> list[CameraSequence]:
    """The sequences with the suffix that their photos really have: converted copies are read as they are."""
    for sequence in sequences:
        photo = Path(sequence.root) / Photo(sequence, int(sequence.numbers[0]), 0).image
        released = PHOTO_SUFFIX[sequence.dataset]
        for suffix in (released, *(other for other in ("jpg", "png") if other != released)):
            if photo.with_suffix(f".{suffix}").exists():
                if suffix == released:
                    return sequences
                log.warning(
                    "photos are .%s files, as released they are .%s; they are read as they are", suffix, released
                )
                return [replace(each, photo_suffix=suffix) for each in sequences]
    return sequences


def released_ranges(root: Path, frames: int) -> np.ndarray | None:
    """Byte ranges (frames, 4) of every evaluation frame's joints and vertices, None when they are not in the root."""
    present = [(root / name).is_file() for name, _ in RELEASED]
    if not all(present):
        if any(present):
            log.warning("%s: only one of %s and %s is there; both are needed", root, RELEASED[0][0], RELEASED[1][0])
        return None
    columns = []
    for name, _ in RELEASED:
        ranges = np.array([(start, end) for _, start, end, _ in scan_entries(root / name, keyed=False)], np.int64)
        if len(ranges) != frames:
            raise InputError(
                f"{root / name}: has {len(ranges)} frames, evaluation.txt {frames}; do the versions match?"
            )
        columns.append(ranges)
    return np.concatenate(columns, axis=1)
