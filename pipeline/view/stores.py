"""Scenes from labels.zarr and clips.zarr: one camera sequence, its photos (or the stored parts of them) and labels."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...data.datasets import iter_frames
from ...data.frame import PHOTO_SIZE, Frame
from ...data.labels import LabelStore
from ...data.photos import BadPhoto, decode, encode, photo_size
from ...data.readers.dexycb_splits import object_names
from ...data.stores.clips import ClipStore
from ...data.stores.columns import VERTICES
from ...errors import InputError, brief
from ...labeling.objects import ObjectLibrary
from ..made_from import list_again
from .hands import StoreHands
from .scene import Scene, SceneFrame, SceneHand, SceneObject, label_curves, merge_hands, pick_rows

log = logging.getLogger(__name__)
JPEG_QUALITY = 90
"""Of photos that are no JPEG: HO3D v2's PNGs are six times as large."""
Row = Mapping[str, np.ndarray]
_COLUMNS = (
    *("frame", "is_left", "has_pose", "intrinsics", "mano_pose", "mano_shape", "translation", "root", "joints_2d"),
    *("joint_visible", "visible_fraction", "cause", "hand_visible_area"),
)


def label_scene(
    path: Path, *, sequence: str | None, most: int, root: Path | None = None, mano: str | None = None
) -> Scene:
    """A sequence of a labels.zarr, by default the first one with labels: at most `most` frames, evenly spaced.

    root: where the photos lie now; mano: where the hand does. InputError as `LabelStore.open`, and for an unknown key.
    """
    labels = LabelStore.open(path)
    attrs = labels.attrs
    rows = _rows_of(path, labels.sequences, labels.index, sequence, most)
    key = labels.sequences[int(labels["sequence_id"][rows[0]])]
    folder = Path(root or attrs.get("root", ""))
    if not folder.is_dir():
        log.warning("%s: no such folder; photos are left out, say where they lie with --root", folder)
    hands = StoreHands(attrs, str(path), mano)
    # Rows of a sequence follow each other: the columns of a whole dataset would fill gigabytes.
    names = (*_COLUMNS, "object_id", "object_pose", *(name for name in VERTICES if name in labels.index))
    first, last = int(rows[0]), int(rows[-1]) + 1
    columns = {name: labels.index.part(name, first, last)[rows - first] for name in names}
    objects = _scene_objects(labels, key, folder, mano, columns)

    def frames() -> Iterator[SceneFrame]:
        missing = 0
        for i, row in enumerate(rows.tolist()):
            one = {name: values[i] for name, values in columns.items()}
            picture, size = _photo(folder / labels.image(row), attrs.get("photo") or PHOTO_SIZE)
            missing += picture is None
            number = int(one["frame"])
            yield _frame(one, picture, size, one["intrinsics"], hands, np.zeros(2), objects(number))
        if missing and folder.is_dir():
            log.warning("%s: %d of %d photos are missing or cannot be read", folder, missing, len(rows))

    title = f"labels of {attrs.get('dataset', 'a dataset')} {key}"
    return Scene(title, merge_hands(frames()), len(np.unique(columns["frame"])))


def clip_scene(path: str, *, sequence: str | None, most: int, mano: str | None = None) -> Scene:
    """A sequence of a clips.zarr as `label_scene` shows one; the picture is the stored part of the photo.

    Clips keep no pose of the object, so none is shown.
    """
    clips = ClipStore.open(path)
    keys = [entry["key"] for entry in clips.entries]
    rows = _rows_of(path, keys, clips.index, sequence, most)
    hands = StoreHands(clips.attrs, path, mano)
    names = (*_COLUMNS, "crop", *(name for name in VERTICES if name in clips.index))
    columns = {name: np.asarray(clips.index[name])[rows] for name in names}

    def frames() -> Iterator[SceneFrame]:
        for i, row in enumerate(rows):
            one = {name: values[i] for name, values in columns.items()}
            (jpeg,) = clips.jpegs(np.array([row]))
            x, y, width, height = (int(value) for value in one["crop"])
            camera = one["intrinsics"].copy()
            camera[:2, 2] -= (x, y)
            yield _frame(one, jpeg, (width, height), camera, hands, np.array([x, y]), ())

    title = f"clips of {clips.dataset} {clips.key(int(rows[0]))}"
    return Scene(title, merge_hands(frames()), len(np.unique(columns["frame"])))


def _rows_of(
    path: str | Path, keys: Sequence[str], index: Mapping[str, np.ndarray], sequence: str | None, most: int
) -> np.ndarray:
    """The rows to show of one sequence, of the one that is asked for or of the first with labels: all of `most` frames.

    Rows of one frame are its hands.
    """
    ids = np.asarray(index["sequence_id"])
    if not len(ids):
        raise InputError(f"{path}: holds no frame to show")
    if sequence is not None and sequence not in keys:
        raise InputError(
            f"--sequence {brief(sequence)}: {path} has no such sequence; it has {len(keys)}, for example {keys[0]}"
        )
    number = int(ids[np.argmax(index["labelled"])]) if sequence is None else keys.index(sequence)
    rows = np.flatnonzero(ids == number)
    if not len(rows):
        raise InputError(f"--sequence {sequence}: has no frame in {path}; take another one")
    frames = np.asarray(index["frame"])[rows]
    shown = np.unique(frames)
    return rows[np.isin(frames, shown[pick_rows(len(shown), most)])]


def _frame(
    row: Row,
    picture: bytes | None,
    size: tuple[int, int],
    camera: np.ndarray,
    hands: StoreHands,
    corner: np.ndarray,
    objects: tuple[SceneObject, ...],
) -> SceneFrame:
    side = "left" if row["is_left"] else "right"
    surface = hands.surface(side)
    vertices = None if surface is None else hands.vertices(row, side)
    hand = SceneHand(side, row["joints_2d"] - corner, row["joint_visible"], surface, vertices, row["cause"])
    curves = label_curves(row["visible_fraction"], float(row["hand_visible_area"]))
    return SceneFrame(int(row["frame"]), picture, size, camera, (hand,), objects, curves)


def _photo(path: Path, size: tuple[int, int]) -> tuple[bytes | None, tuple[int, int]]:
    """A photo as a JPEG with its width and height; None where it is missing or damaged, then with the expected size."""
    try:
        data = path.read_bytes()
        size = photo_size(data)
        if not data.startswith(b"\xff\xd8"):
            data = encode(".jpg", decode(data), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    except (OSError, BadPhoto):
        return None, (int(size[0]), int(size[1]))
    return data, size


def _scene_objects(
    labels: LabelStore, key: str, root: Path, mano: str | None, columns: Row
) -> Callable[[int], tuple[SceneObject, ...]]:
    """The objects of a sequence by frame number: all that the dataset annotates, else the grasped one of the store."""
    library = _library(labels.attrs.get("objects"))
    try:
        poses = _annotated_objects(labels, key, root, mano, set(columns["frame"].tolist()))
    except InputError as error:
        log.warning("%s; of the objects only the grasped one is shown, as the labels keep it", error)
        poses, names = {}, object_names(labels.attrs)
        for number, kind, pose in zip(columns["frame"], columns["object_id"], columns["object_pose"], strict=True):
            if 0 < kind <= len(names):
                poses[int(number)] = [(names[kind - 1], pose)]

    def objects(number: int) -> tuple[SceneObject, ...]:
        found = []
        for name, pose in poses.get(number, ()):
            mesh = library.get(name)
            if mesh is not None and np.isfinite(pose).all() and pose[:, :3].any():  # all zeros: absent
                found.append(SceneObject(name, mesh.vertices, mesh.faces, np.asarray(pose, np.float64)))
        return tuple(found)

    return objects


def _library(folder: Any) -> ObjectLibrary:
    try:
        return ObjectLibrary(folder)
    except InputError as error:
        log.warning("%s; objects are left out", error)
        return ObjectLibrary(None)


def _annotated_objects(
    labels: LabelStore, key: str, root: Path, mano: str | None, numbers: set[int]
) -> dict[int, list[tuple[str, np.ndarray]]]:
    """Names and poses of all objects of some frames, read again from the dataset that the labels were made from."""
    listed = list_again(labels, root, mano or labels.attrs.get("mano_path"))
    sequence = next((each for each in listed if each.key == key), None)
    if sequence is None:
        raise InputError(f"{root}: has no sequence {key}")
    rows = np.flatnonzero(np.isin(sequence.numbers, list(numbers)))
    return {
        item.number: [(thing.name, thing.pose) for thing in item.objects]
        for item in iter_frames(sequence.take(rows))
        if isinstance(item, Frame)
    }
