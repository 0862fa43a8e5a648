"""Index of HandOccNet's annotation JSON: one pass over the file finds every frame's entry.

Only byte ranges and compact arrays are kept and sent to workers, which read their own frames' entries
(`handoccnet.annotated_frames`). Source of the format: HandOccNet's preprocessed files (docs/datasets.md).
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np

from ...errors import InputError, brief, one_line
from ...untrusted import check_key
from ..frame import CameraSequence, Photo, ho3d_folder
from .dexycb_splits import SERIALS, SUBJECTS, in_split, positions
from .handoccnet import Annotation, decode_annotation
from .ho3d_lists import Entry, group_by_sequence, look_for_photos, read_list, released_ranges, select
from .json_scan import read_entries, scan_entries

log = logging.getLogger(__name__)
_NUMBER = re.compile(r"[0-9]{1,18}")


Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _Image(msgspec.Struct):
    id: Id
    file_name: str
    width: int = 640
    height: int = 480


class _Owner(msgspec.Struct):
    image_id: Id


# -- one pass over the file -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class AnnotationIndex:
    """Per image of the file: its sequence, frame number, id, and the byte range of its annotation."""

    keys: tuple[str, ...]
    sequence: np.ndarray  # (N,) int32 into keys
    number: np.ndarray  # (N,) int64
    image_id: np.ndarray  # (N,) int64
    ranges: np.ndarray  # (N, 2) int64, -1 without an annotation


def index_annotations(path: Path, dataset: str) -> AnnotationIndex:
    """Read the file once, entry by entry. InputError naming the file, the entry and what was expected."""
    image_decoder, owner_decoder = msgspec.json.Decoder(_Image), msgspec.json.Decoder(_Owner)
    parse = _dexycb_name if dataset == "dexycb" else _ho3d_name
    keys: dict[str, int] = {}
    images: list[tuple[int, int, int]] = []
    owners: list[tuple[int, int, int]] = []
    count = 0
    try:
        for kind, start, end, content in scan_entries(path):
            count += 1
            if kind == "annotations":
                owners.append((owner_decoder.decode(content).image_id, start, end))
            elif kind == "images":
                image = image_decoder.decode(content)
                if (image.width, image.height) != (640, 480):
                    size = f"{brief(image.width)}x{brief(image.height)}"
                    raise InputError(f"{path}: {brief(image.file_name)} is {size}, expected 640x480")
                key, number = parse(image.file_name)
                images.append((image.id, keys.setdefault(key, len(keys)), number))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        reason = one_line(error, 160)
        raise InputError(f"{path}: entry {count} is not what HandOccNet's files have ({reason}); other file?") from None
    if not images or not owners:
        raise InputError(f"{path}: has {len(images)} images and {len(owners)} annotations; is it HandOccNet's JSON?")
    return _join(path, tuple(keys), np.array(images, np.int64), np.array(owners, np.int64))


def _join(path: Path, keys: tuple[str, ...], images: np.ndarray, owners: np.ndarray) -> AnnotationIndex:
    order = np.argsort(images[:, 0], kind="stable")
    ids = images[order, 0]
    if (ids[1:] == ids[:-1]).any():
        raise InputError(f"{path}: image id {ids[1:][ids[1:] == ids[:-1]][0]} occurs twice; download it again")
    place = np.searchsorted(ids, owners[:, 0])
    known = place < len(ids)
    known[known] = ids[place[known]] == owners[known, 0]
    if not known.all():
        raise InputError(f"{path}: an annotation names image {owners[~known, 0][0]}, which is not there; other file?")
    rows = order[place]
    if len(np.unique(rows)) != len(rows):
        raise InputError(f"{path}: an image has two annotations; one hand per image was expected")
    ranges = np.full((len(images), 2), -1, np.int64)
    ranges[rows] = owners[:, 1:]
    return AnnotationIndex(keys, images[:, 1].astype(np.int32), images[:, 2], images[:, 0], ranges)


def _dexycb_name(name: str) -> tuple[str, int]:
    key, _, file = name.rpartition("/")
    stem = file.removeprefix("color_").removesuffix(".jpg")
    if not _NUMBER.fullmatch(stem):
        raise ValueError(f"file_name is {brief(name)}, expected SUBJECT/SEQUENCE/SERIAL/color_NNNNNN.jpg")
    return check_key(key, "file_name", 3), int(stem)


def _ho3d_name(name: str) -> tuple[str, int]:
    key, folder, file = [*name.split("/"), "", ""][:3]
    stem = file.partition(".")[0]
    if folder != "rgb" or not _NUMBER.fullmatch(stem):
        raise ValueError(f"file_name is {brief(name)}, expected SEQUENCE/rgb/NNNN.png")
    return check_key(key, "file_name", 1), int(stem)


# -- listing --------------------------------------------------------------------------------------------------------


def list_annotated(
    dataset: str, root: Path, split: str, setup: str, path: Path, mano: str | None = None, seg_channel: int = 0
) -> list[CameraSequence]:
    """Camera sequences of a split, with the byte ranges of their annotations.

    DexYCB: the file decides which frames there are; frames outside the asked split are warned about. HO3D: `val` and
    `train` share the training file.
    """
    index = index_annotations(path, dataset)
    common = CameraSequence(
        dataset,
        str(root),
        split,
        setup if dataset == "dexycb" else "",
        "",
        np.zeros(0, np.int64),
        np.zeros(0, np.int64),
        annotations=str(path),
        mano=mano,
        seg_channel=seg_channel,
    )
    first = _first(path, index)
    found = _list_dexycb(index, common) if dataset == "dexycb" else _list_ho3d(index, common, first)
    if not any((root / Photo(sequence, 0, 0).image).parent.is_dir() for sequence in found):
        raise InputError(
            f"{root}: has none of the recordings of {path}, for example {brief(found[0].key)}; check --root"
        )
    return found if dataset == "dexycb" else look_for_photos(found)


def _first(path: Path, index: AnnotationIndex) -> Annotation:
    """The first annotation, as a sample: a file of another kind should not fail frame by frame."""
    try:
        first = decode_annotation(next(read_entries(path, index.ranges[index.ranges[:, 0] >= 0][:1])))
    except ValueError as error:
        raise InputError(f"{path}: {one_line(error, 200)}; other file?") from None
    wrist = first.root_joint_cam or (first.joints_coord_cam or [[]])[0]
    if len(wrist) == 3 and wrist[2] < 0:
        raise InputError(
            f"{path}: the first hand lies behind the camera (z = {wrist[2]:g} m): OpenGL axes? HandOccNet's files have"
            " OpenCV axes, z forward; write the file with h2o annotations"
        )
    return first


def _list_dexycb(index: AnnotationIndex, common: CameraSequence) -> list[CameraSequence]:
    found, outside = [], []
    order = np.lexsort((index.number, index.sequence))
    starts = np.searchsorted(index.sequence[order], np.arange(len(index.keys) + 1))
    for i, key in enumerate(index.keys):
        rows = order[starts[i] : starts[i + 1]]
        if not _belongs(common.setup, common.split, key):
            outside.append(key)
        found.append(
            replace(
                common, key=key, numbers=index.number[rows], indices=index.image_id[rows], ranges=index.ranges[rows]
            )
        )
    if outside:
        log.warning(
            "%s: %d of %d camera recordings are not of %s %s (first: %s); the file decides, is it the right one?",
            common.annotations,
            len(outside),
            len(found),
            common.setup,
            common.split,
            outside[0],
        )
    return found


def _belongs(setup: str, split: str, key: str) -> bool:
    subject, name, serial = key.split("/")
    place = positions().get((subject, name))
    if place is None or serial not in SERIALS:
        return True  # not DexYCB's own recording: no list to hold it against
    return in_split(setup, split, SUBJECTS.index(subject), SERIALS.index(serial), place)


def _list_ho3d(index: AnnotationIndex, common: CameraSequence, first: Annotation) -> list[CameraSequence]:
    path, root = Path(common.annotations), Path(common.root)
    if (first.root_joint_cam is not None) != (common.split == "test"):
        kind = "evaluation" if first.root_joint_cam is not None else "training"
        raise InputError(f"{path}: is the {kind} file, but --split is {common.split}; give the other file")
    names = zip(index.sequence.tolist(), index.number.tolist(), strict=True)
    rows = {(index.keys[i], number): row for row, (i, number) in enumerate(names)}
    entries = _list_entries(root, common.split, rows)
    released = released_ranges(root, len(entries)) if common.split == "test" else None
    found = []
    for key, group in group_by_sequence(select(entries, common.split)).items():
        here = [entry for entry in group if entry[1:] in rows]
        ranges = index.ranges[[rows[entry[1:]] for entry in here]].reshape(-1, 2)
        indices = np.array([entry[0] for entry in here], np.int64)
        numbers = np.array([entry[2] for entry in here], np.int64)
        truth = None if released is None else released[indices]
        if here:
            found.append(replace(common, key=key, numbers=numbers, indices=indices, ranges=ranges, released=truth))
    if not found:
        raise InputError(f"{path}: none of its frames is of split {common.split}; check --annotations and --split")
    return found


def _list_entries(root: Path, split: str, rows: dict[tuple[str, int], int]) -> list[Entry]:
    """The dataset's own list, so that positions and `val` are those of the raw tree; the file's order without one."""
    own: list[Entry] = [(position, key, number) for position, (key, number) in enumerate(rows)]
    name = f"{ho3d_folder(split)}.txt"
    if not (root / name).is_file():
        log.warning("%s: has no %s; positions and the val split follow the annotation file", root, name)
        return own
    listed = read_list(root, split)
    strangers = len(rows.keys() - {entry[1:] for entry in listed})
    if strangers:
        raise InputError(f"{root / name}: lacks {strangers} frames of the annotation file; do the versions match?")
    return listed
