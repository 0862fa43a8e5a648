"""Frames whose hand comes from HandOccNet's annotation JSON; masks and objects come from the raw tree beside it.

Metres, pixels, OpenCV camera frame, joint order wrist, thumb .. little, base to tip. The JSON's finger pose has the
hand mean removed and gets it back here; it has no translation: the wrist is joint 0 (docs/datasets.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from ...errors import InputError, brief, one_line
from ...hand.basis import hand_basis
from ...hand.camera import intrinsics_matrix, project
from ...untrusted import fault
from ..frame import (
    FRAME_FAULTS,
    CameraSequence,
    Failure,
    Frame,
    Photo,
    SceneAnnotation,
    Unannotated,
    frame_of_hand,
    list_photos,
)
from .dexycb import RecordingMeta, label_path, read_label_file, read_recording, reason_of, scene_annotation
from .fields import array_of, check_intrinsics
from .ho3d import evaluation_frame, meta_path, meta_problem, objects_of, read_meta, read_released
from .ho3d_masks import mask_files, read_mask
from .json_scan import read_entries

NOT_IN_JSON = "the annotation JSON has no annotation for it"


class _Camera(msgspec.Struct):
    focal: list[float]
    princpt: list[float]


class _Hand(msgspec.Struct):
    pose: list[float]
    shape: list[float]


class Annotation(msgspec.Struct):
    """One entry of `annotations`; `root_joint_cam` and `bbox` are those of HO3D's evaluation file."""

    image_id: int
    cam_param: _Camera
    joints_coord_cam: list[list[float]] | None = None
    joints_img: list[list[float]] | None = None
    hand_type: str = "right"
    mano_param: _Hand | None = None
    root_joint_cam: list[float] | None = None
    bbox: list[float] | None = None


_decoder = msgspec.json.Decoder(Annotation)


def decode_annotation(entry: bytes) -> Annotation:
    """One entry of the file. ValueError when it is not what HandOccNet's files have."""
    try:
        return _decoder.decode(entry)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"the annotation is not what HandOccNet's files have ({one_line(error, 160)})") from None


def annotated_frames(sequence: CameraSequence, masks: bool = True) -> Iterator[Frame | Unannotated | Failure]:
    """Every listed frame of a sequence, in order, with the hand from the JSON."""
    assert sequence.ranges is not None
    path = Path(sequence.annotations)
    present = sequence.ranges[:, 0] >= 0
    entries = read_entries(path, sequence.ranges[present])
    scenes = _DexYCBScenes(sequence) if sequence.dataset == "dexycb" else _HO3DScenes(sequence)
    rows = zip(list_photos(sequence), present.tolist(), read_released(sequence), strict=True)
    for (photo, missing), there, truth in rows:
        if not there:
            yield Unannotated(photo.image, NOT_IN_JSON)
            continue
        entry = next(entries)
        if missing:
            yield missing
            continue
        scene, problem = scenes.read(photo) if masks else (SceneAnnotation(), None)
        try:
            annotation = decode_annotation(entry)
            if sequence.dataset != "dexycb" and sequence.split == "test":
                item = _evaluation_frame(photo, annotation, scene, truth)
            else:
                item = _hand_frame(photo, annotation, scene)
        except FRAME_FAULTS as error:
            yield Failure(photo.image, f"{path.name}: {fault(error)}")
            continue
        if problem:
            yield problem
        yield item


class _DexYCBScenes:
    """Reads mask, objects and other hands of a recording from its label files."""

    def __init__(self, sequence: CameraSequence) -> None:
        self._recording: RecordingMeta | None = None
        self._problem: str | None = None
        try:
            self._recording = read_recording(sequence)
        except InputError as error:
            self._problem = str(error)

    def read(self, photo: Photo) -> tuple[SceneAnnotation, Failure | None]:
        path = label_path(photo)
        if self._recording is None:
            return SceneAnnotation(), Failure(path, f"no mask and objects: {self._problem}")
        try:
            arrays = read_label_file(Path(photo.sequence.root) / path, others=len(self._recording.others))
            return scene_annotation(self._recording, arrays), None
        except FRAME_FAULTS as error:
            return SceneAnnotation(), Failure(path, f"no mask and objects: {reason_of(error)}")


class _HO3DScenes:
    """Reads mask and object of an HO3D sequence; the object comes from the frame's meta file, if that is there."""

    def __init__(self, sequence: CameraSequence) -> None:
        self._masks = None if sequence.split == "test" else mask_files(sequence)

    def read(self, photo: Photo) -> tuple[SceneAnnotation, Failure | None]:
        mask, problem = (None, None) if self._masks is None else read_mask(photo, self._masks)
        path = meta_path(photo)
        full = Path(photo.sequence.root) / path
        if not full.is_file():
            return SceneAnnotation(mask), problem
        try:
            objects = objects_of(read_meta(full))
        except FRAME_FAULTS as error:
            return SceneAnnotation(mask), problem or Failure(path, f"no object: {meta_problem(error)}")
        return SceneAnnotation(mask, objects, 0 if objects else -1), problem


def _hand_frame(photo: Photo, annotation: Annotation, scene: SceneAnnotation) -> Frame:
    hand, side = annotation.mano_param, annotation.hand_type
    if hand is None:
        raise ValueError("mano_param is missing")
    if side not in ("right", "left"):
        raise ValueError(f"hand_type is {brief(side)}, expected right or left")
    pose, shape = array_of(hand.pose, (48,), "mano_param.pose"), array_of(hand.shape, (10,), "mano_param.shape")
    joints = array_of(annotation.joints_coord_cam, (21, 3), "joints_coord_cam")
    intrinsics = _intrinsics(annotation)
    if annotation.joints_img is None:
        joints_2d = project(joints, intrinsics)
    else:
        joints_2d = array_of([point[:2] for point in annotation.joints_img], (21, 2), "joints_img")
    basis = hand_basis(photo.sequence.mano, side)
    return frame_of_hand(
        photo,
        side,
        intrinsics,
        pose=np.concatenate([pose[:3], pose[3:] + basis.mean]),
        shape=shape,
        translation=joints[0] - basis.rest_wrist(shape),
        joints=joints,
        joints_2d=joints_2d,
        scene=scene,
    )


def _evaluation_frame(
    photo: Photo, annotation: Annotation, scene: SceneAnnotation, truth: tuple[np.ndarray, np.ndarray] | None
) -> Frame:
    x, y, width, height = array_of(annotation.bbox, (4,), "bbox")
    root, box = array_of(annotation.root_joint_cam, (3,), "root_joint_cam"), np.array([x, y, x + width, y + height])
    return evaluation_frame(photo, _intrinsics(annotation), root, box, scene.objects, truth)


def _intrinsics(annotation: Annotation) -> np.ndarray:
    focal = array_of(annotation.cam_param.focal, (2,), "cam_param.focal")
    centre = array_of(annotation.cam_param.princpt, (2,), "cam_param.princpt")
    return check_intrinsics(intrinsics_matrix(*focal, *centre), "cam_param")
