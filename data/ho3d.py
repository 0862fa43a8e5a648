"""Frames of HO3D v2 and v3 from the raw tree (`ho3d_lists` says which).

Metres, pixels. The files speak OpenGL axes and HO3D's joint order; frames leave here in OpenCV axes and the project's
order. Right hands only. Evaluation frames have the wrist only, unless the ground truth that was released later
(`evaluation_xyz.json`, `evaluation_verts.json`) lies in the root. Source: HO3D's own scripts (docs/datasets.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..hand.camera import opencv_from_opengl, opencv_pose_from_opengl, project
from ..hand.errors import InputError
from ..hand.parts import JOINTS_FROM_MANO
from ..hand.pickles import safe_load
from ..hand.rotations import matrix_from_axis_angle
from .frame import CameraSequence, Failure, Frame, ObjectPose, Skipped
from .hand_arrays import hand_basis
from .ho3d_lists import RELEASED, folder_of, photo_path
from .json_scan import decode_entries

FROM_HO3D = np.array(JOINTS_FROM_MANO)
"""Indices that bring HO3D's 21 joints (MANO's 16, then the tips) into the order wrist, thumb .. little."""
NO_ANNOTATION = "objRot is None: not annotated"
NO_META = "meta file is not there"
_MASK_THRESHOLD = 200


def ho3d_frames(sequence: CameraSequence, masks: bool = True) -> Iterator[Frame | Skipped | Failure]:
    """Every listed frame of a sequence, in order. A missing mask is a Failure *and* a Frame without one."""
    root = Path(sequence.root)
    folder = root / folder_of(sequence.split) / sequence.key
    released = read_released(sequence)
    for number, index in zip(sequence.numbers.tolist(), sequence.indices.tolist(), strict=True):
        truth = next(released)
        image = photo_path(sequence.dataset, sequence.split, sequence.key, number)
        meta_path = folder / "meta" / f"{number:04d}.pkl"
        if not (root / image).is_file():
            yield Failure(image, "the photo is missing")
            continue
        if not meta_path.is_file():
            missing = Failure if sequence.dataset == "ho3d-v2" else Skipped  # v3 is known to lack some
            yield missing(image, NO_META)
            continue
        try:
            meta = safe_load(meta_path)
            if sequence.split == "test":
                yield _evaluation_frame(sequence, number, index, image, meta, truth)
                continue
            if meta["objRot"] is None or meta["handPose"] is None:
                yield Skipped(image, NO_ANNOTATION)
                continue
            mask, problem = read_mask(sequence, number) if masks else (None, None)
            if problem:
                yield problem
            yield _training_frame(sequence, number, index, image, meta, mask)
        except (InputError, KeyError, TypeError, ValueError) as error:
            yield Failure(str(meta_path.relative_to(root)), _reason(error))


def read_released(sequence: CameraSequence) -> Iterator[tuple[np.ndarray, np.ndarray] | None]:
    """Per frame of an evaluation sequence: joints (21, 3) and vertices (778, 3) as released (OpenGL), or None."""
    if sequence.released is None:
        yield from (None for _ in range(len(sequence)))
        return
    parts = [
        decode_entries(Path(sequence.root) / name, sequence.released[:, 2 * i : 2 * i + 2], shape)
        for i, (name, shape) in enumerate(RELEASED)
    ]
    yield from zip(*parts, strict=True)


def read_mask(sequence: CameraSequence, number: int) -> tuple[np.ndarray | None, Failure | None]:
    """The hand mask (480, 640) bool of a training frame: marked by a channel above 200 in a smaller JPEG, enlarged.

    The evaluation split has no masks. A missing or unreadable file gives None and a Failure that names it.
    """
    path = f"{folder_of(sequence.split)}/{sequence.key}/seg/{number:04d}.jpg"
    full = Path(sequence.root) / path
    if not full.is_file():
        return None, Failure(path, "the mask is missing")
    picture = cv2.imread(str(full), cv2.IMREAD_COLOR)
    if picture is None:
        return None, Failure(path, "the mask is not a readable JPEG")
    hand = (picture[:, :, 2 - sequence.seg_channel] > _MASK_THRESHOLD).astype(np.uint8)
    return cv2.resize(hand, (640, 480), interpolation=cv2.INTER_NEAREST).astype(bool), None


def channel_counts(sequence: CameraSequence, number: int) -> tuple[int, int, int] | None:
    """Pixels above 200 in red, green and blue of a frame's segmentation: tells which channel marks the hand."""
    path = Path(sequence.root) / folder_of(sequence.split) / sequence.key / "seg" / f"{number:04d}.jpg"
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        return None
    blue, green, red = (int((picture[:, :, i] > _MASK_THRESHOLD).sum()) for i in range(3))
    return red, green, blue


def objects_of(meta: dict[str, Any]) -> tuple[ObjectPose, ...]:
    """The object of a frame, camera_from_object in OpenCV axes; nothing when it is not annotated."""
    if meta.get("objRot") is None or meta.get("objTrans") is None:
        return ()
    rotation = matrix_from_axis_angle(_array(meta, "objRot", (3,)))
    columns = np.concatenate([rotation, _array(meta, "objTrans", (3,))[:, None]], axis=1)
    return (ObjectPose(str(meta["objName"]), opencv_from_opengl(columns.T).T),)


def _training_frame(
    sequence: CameraSequence, number: int, index: int, image: str, meta: dict[str, Any], mask: np.ndarray | None
) -> Frame:
    pose, shape = _array(meta, "handPose", (48,)), _array(meta, "handBeta", (10,))
    rest_wrist = hand_basis(sequence.mano, "right").rest_wrist(shape)
    orient, translation = opencv_pose_from_opengl(pose[:3], _array(meta, "handTrans", (3,)), rest_wrist)
    joints = opencv_from_opengl(_array(meta, "handJoints3D", (21, 3)))[FROM_HO3D]
    intrinsics = _intrinsics(meta)
    return Frame(
        dataset=sequence.dataset,
        sequence=sequence.key,
        number=number,
        index=index,
        image=image,
        side="right",
        intrinsics=intrinsics,
        mano_pose=np.concatenate([orient, pose[3:]]),
        mano_shape=shape,
        translation=translation,
        joints=joints,
        joints_2d=project(joints, intrinsics),
        root=joints[0],
        objects=objects_of(meta),
        grasped=0,
        hand_mask=mask,
    )


def _evaluation_frame(
    sequence: CameraSequence,
    number: int,
    index: int,
    image: str,
    meta: dict[str, Any],
    truth: tuple[np.ndarray, np.ndarray] | None,
) -> Frame:
    intrinsics = _intrinsics(meta)
    wrist = _array({"handJoints3D": np.asarray(meta["handJoints3D"]).reshape(-1)[:3]}, "handJoints3D", (3,))
    box, root = _array(meta, "handBoundingBox", (4,)), opencv_from_opengl(wrist)
    return evaluation_frame(sequence, number, index, image, intrinsics, root, box, objects_of(meta), truth)


def evaluation_frame(
    sequence: CameraSequence,
    number: int,
    index: int,
    image: str,
    intrinsics: np.ndarray,
    root: np.ndarray,
    box: np.ndarray,
    objects: tuple[ObjectPose, ...],
    truth: tuple[np.ndarray, np.ndarray] | None,
) -> Frame:
    """A frame without a pose: wrist `root` (3,) m in OpenCV axes, `box` (4,) px, and the released `truth` if any."""
    joints = None if truth is None else opencv_from_opengl(truth[0])[FROM_HO3D]
    return Frame(
        dataset=sequence.dataset,
        sequence=sequence.key,
        number=number,
        index=index,
        image=image,
        side="right",
        intrinsics=intrinsics,
        mano_pose=None,
        mano_shape=None,
        translation=None,
        joints=joints,
        joints_2d=None if joints is None else project(joints, intrinsics),
        root=root,
        box=box,
        objects=objects,
        grasped=0 if objects else -1,
        vertices=None if truth is None else opencv_from_opengl(truth[1]),
    )


def _intrinsics(meta: dict[str, Any]) -> np.ndarray:
    matrix = _array(meta, "camMat", (3, 3))
    if matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise ValueError(f"camMat has focal lengths {matrix[0, 0]:g}, {matrix[1, 1]:g}, expected positive")
    return matrix


def _array(meta: dict[str, Any], name: str, shape: tuple[int, ...]) -> np.ndarray:
    values = np.asarray(meta[name], np.float64)
    if values.size != int(np.prod(shape)):
        raise ValueError(f"{name} has shape {values.shape}, expected {shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} is not finite")
    return values.reshape(shape)


def _reason(error: Exception) -> str:
    return f"field {error} is missing" if isinstance(error, KeyError) else str(error)
