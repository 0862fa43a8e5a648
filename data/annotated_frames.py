"""Frames whose hand comes from HandOccNet's annotation JSON; masks and objects come from the raw tree beside it.

Metres, pixels, OpenCV camera frame, joint order wrist, thumb .. little, base to tip. The JSON's finger pose has the
hand mean removed and gets it back here; it has no translation: the wrist is joint 0 (docs/datasets.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from ..hand.camera import intrinsics_matrix, project
from ..hand.errors import InputError
from ..hand.pickles import safe_load
from .dexycb import BROKEN, HAND, Recording, object_poses, read_label_file, read_recording, reason_of
from .frame import CameraSequence, Failure, Frame, ObjectPose, Skipped
from .hand_arrays import hand_basis
from .ho3d import evaluation_frame, objects_of, read_mask, read_released
from .ho3d_lists import folder_of, photo_path
from .json_scan import read_entries

NOT_IN_JSON = "the annotation JSON has no annotation for it"


class _Camera(msgspec.Struct):
    focal: list[float]
    princpt: list[float]


class _Hand(msgspec.Struct):
    pose: list[float]
    shape: list[float]


class Annotation(msgspec.Struct):
    """One entry of `annotations`; which fields are there tells training from evaluation."""

    image_id: int
    cam_param: _Camera
    joints_coord_cam: list[list[float]] | None = None
    joints_img: list[list[float]] | None = None
    hand_type: str = "right"
    mano_param: _Hand | None = None
    root_joint_cam: list[float] | None = None
    bbox: list[float] | None = None


_decoder = msgspec.json.Decoder(Annotation)


def decode_annotation(path: Path, entry: bytes) -> Annotation:
    """One entry of the file. InputError when it is not what HandOccNet's files have."""
    try:
        return _decoder.decode(entry)
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: an annotation is not what HandOccNet's files have ({error}); other file?") from None


def annotated_frames(sequence: CameraSequence, masks: bool = True) -> Iterator[Frame | Skipped | Failure]:
    """Every listed frame of a sequence, in order, with the hand from the JSON."""
    assert sequence.ranges is not None
    path = Path(sequence.annotations)
    present = sequence.ranges[:, 0] >= 0
    entries = read_entries(path, sequence.ranges[present])
    released = read_released(sequence)
    scene = _DexYCBScene(sequence, masks) if sequence.dataset == "dexycb" else _HO3DScene(sequence, masks)
    rows = zip(sequence.numbers.tolist(), sequence.indices.tolist(), present.tolist(), strict=True)
    for number, index, there in rows:
        truth = next(released)
        image = scene.image(number)
        if not there:
            yield Skipped(image, NOT_IN_JSON)
            continue
        annotation = decode_annotation(path, next(entries))
        if not (Path(sequence.root) / image).is_file():
            yield Failure(image, "the photo is missing")
            continue
        mask, objects, grasped, problem = scene.around(number)
        if problem:
            yield problem
        try:
            if annotation.mano_param is None:
                yield _evaluation_frame(sequence, number, index, image, annotation, objects, truth)
            else:
                yield _hand_frame(sequence, number, index, image, annotation, mask, objects, grasped)
        except ValueError as error:
            yield Failure(image, f"{path.name}: {error}")


Around = tuple[np.ndarray | None, tuple[ObjectPose, ...], int, Failure | None]


class _DexYCBScene:
    """Mask and objects of a recording, from its label files."""

    def __init__(self, sequence: CameraSequence, masks: bool) -> None:
        self._sequence, self._masks = sequence, masks
        self._recording: Recording | None = None
        self._problem: str | None = None
        if masks:
            try:
                self._recording = read_recording(sequence)
            except InputError as error:
                self._problem = str(error)

    def image(self, number: int) -> str:
        return f"{self._sequence.key}/color_{number:06d}.jpg"

    def around(self, number: int) -> Around:
        if not self._masks:
            return None, (), -1, None
        path = f"{self._sequence.key}/labels_{number:06d}.npz"
        if self._recording is None:
            return None, (), -1, Failure(path, f"no mask and objects: {self._problem}")
        try:
            arrays = read_label_file(Path(self._sequence.root) / path)
            objects, grasped = object_poses(self._recording.objects, arrays["pose_y"], self._recording.grasped)
        except BROKEN as error:
            return None, (), -1, Failure(path, f"no mask and objects: {reason_of(error)}")
        return arrays["seg"] == HAND, objects, grasped, None


class _HO3DScene:
    """Mask and object of an HO3D sequence; the object comes from the frame's meta file, if that is there."""

    def __init__(self, sequence: CameraSequence, masks: bool) -> None:
        self._sequence, self._masks = sequence, masks
        self._meta = Path(sequence.root) / folder_of(sequence.split) / sequence.key / "meta"

    def image(self, number: int) -> str:
        return photo_path(self._sequence.dataset, self._sequence.split, self._sequence.key, number)

    def around(self, number: int) -> Around:
        if not self._masks:
            return None, (), -1, None
        mask, problem = (None, None) if self._sequence.split == "test" else read_mask(self._sequence, number)
        path = self._meta / f"{number:04d}.pkl"
        if not path.is_file():
            return mask, (), -1, problem
        try:
            objects = objects_of(safe_load(path))
        except (InputError, KeyError, TypeError, ValueError) as error:
            name = str(path.relative_to(self._sequence.root))
            return mask, (), -1, problem or Failure(name, f"no object: {error}")
        return mask, objects, 0 if objects else -1, problem


def _hand_frame(
    sequence: CameraSequence,
    number: int,
    index: int,
    image: str,
    annotation: Annotation,
    mask: np.ndarray | None,
    objects: tuple[ObjectPose, ...],
    grasped: int,
) -> Frame:
    hand, side = annotation.mano_param, annotation.hand_type
    if side not in ("right", "left"):
        raise ValueError(f"hand_type is {side!r}, expected right or left")
    assert hand is not None
    pose, shape = _array(hand.pose, (48,), "mano_param.pose"), _array(hand.shape, (10,), "mano_param.shape")
    joints = _array(annotation.joints_coord_cam, (21, 3), "joints_coord_cam")
    intrinsics = _intrinsics(annotation)
    if annotation.joints_img is None:
        joints_2d = project(joints, intrinsics)
    else:
        joints_2d = _array([point[:2] for point in annotation.joints_img], (21, 2), "joints_img")
    basis = hand_basis(sequence.mano, side)
    return Frame(
        dataset=sequence.dataset,
        sequence=sequence.key,
        number=number,
        index=index,
        image=image,
        side=side,
        intrinsics=intrinsics,
        mano_pose=np.concatenate([pose[:3], pose[3:] + basis.mean]),
        mano_shape=shape,
        translation=joints[0] - basis.rest_wrist(shape),
        joints=joints,
        joints_2d=joints_2d,
        root=joints[0],
        objects=objects,
        grasped=grasped,
        hand_mask=mask,
    )


def _evaluation_frame(
    sequence: CameraSequence,
    number: int,
    index: int,
    image: str,
    annotation: Annotation,
    objects: tuple[ObjectPose, ...],
    truth: tuple[np.ndarray, np.ndarray] | None,
) -> Frame:
    x, y, width, height = _array(annotation.bbox, (4,), "bbox")
    root, box = _array(annotation.root_joint_cam, (3,), "root_joint_cam"), np.array([x, y, x + width, y + height])
    return evaluation_frame(sequence, number, index, image, _intrinsics(annotation), root, box, objects, truth)


def _intrinsics(annotation: Annotation) -> np.ndarray:
    focal = _array(annotation.cam_param.focal, (2,), "cam_param.focal")
    if (focal <= 0).any():
        raise ValueError(f"cam_param.focal is {focal.tolist()}, expected positive")
    return intrinsics_matrix(*focal, *_array(annotation.cam_param.princpt, (2,), "cam_param.princpt"))


def _array(values: object, shape: tuple[int, ...], name: str) -> np.ndarray:
    if values is None:
        raise ValueError(f"{name} is missing")
    array = np.asarray(values, np.float64)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} is not finite")
    return array
