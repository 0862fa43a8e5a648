"""Frames of HO3D v2 and v3 from the raw tree (`ho3d_lists` says which).

Metres, pixels. The files have OpenGL axes and HO3D's joint order; frames leave here in OpenCV axes and the project's
order. Right hands only. Evaluation frames have the wrist only, unless the ground truth that was released later
(`evaluation_xyz.json`, `evaluation_verts.json`) lies in the root. Source: HO3D's own scripts (docs/datasets.md).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...hand.basis import hand_basis
from ...hand.camera import opencv_from_opengl, opencv_pose_from_opengl, project
from ...hand.parts import JOINTS_FROM_MANO
from ...hand.pickles import safe_load
from ...hand.rotations import matrix_from_axis_angle
from ...untrusted import check_name, fault
from ..frame import (
    FRAME_FAULTS,
    CameraSequence,
    Failure,
    Frame,
    ObjectPose,
    Photo,
    SceneAnnotation,
    Unannotated,
    frame_of_hand,
    ho3d_folder,
    list_photos,
)
from .fields import array_of, check_intrinsics
from .ho3d_lists import RELEASED
from .ho3d_masks import MaskFiles, mask_files, read_mask
from .json_scan import decode_entries

FROM_HO3D = np.array(JOINTS_FROM_MANO)
"""Indices that bring HO3D's 21 joints (MANO's 16, then the tips) into the order wrist, thumb .. little."""
NO_ANNOTATION = "objRot is None: not annotated"
NO_META = "meta file is not there"


def ho3d_frames(sequence: CameraSequence, masks: bool = True) -> Iterator[Frame | Unannotated | Failure]:
    """Every listed frame of a sequence, in order. A missing mask is a Failure *and* a Frame without one."""
    root = Path(sequence.root)
    folder = Path(meta_path(Photo(sequence, 0, 0))).parent
    try:
        metas = set(os.listdir(root / folder))
    except OSError as error:  # v3 lacks metas of some frames, but of no whole sequence
        yield Failure(folder.as_posix(), f"the folder cannot be read: {error.strerror} ({len(sequence)} frames)")
        return
    files = mask_files(sequence) if masks and sequence.split != "test" else None
    for (photo, missing), truth in zip(list_photos(sequence), read_released(sequence), strict=True):
        path = meta_path(photo)
        if missing:
            yield missing
        elif path.rpartition("/")[2] not in metas:
            lacking = Failure if sequence.dataset == "ho3d-v2" else Unannotated  # v3 is known to lack some
            yield lacking(photo.image, NO_META)
        else:
            try:
                items = _items(photo, read_meta(root / path), truth, files)
            except FRAME_FAULTS as error:
                items = [Failure(path, meta_problem(error))]
            yield from items


def meta_path(photo: Photo) -> str:
    """The meta file of a photograph, below the dataset root."""
    return f"{ho3d_folder(photo.sequence.split)}/{photo.sequence.key}/meta/{photo.number:04d}.pkl"


def read_meta(path: Path) -> dict[str, Any]:
    """The fields of a meta file. InputError or ValueError when it is damaged or holds something else."""
    meta = safe_load(path)
    if not isinstance(meta, dict):
        raise ValueError(f"holds a {type(meta).__name__}, expected the fields of a frame")
    return meta


def meta_problem(error: Exception) -> str:
    """Why a meta file is of no use, for a `Failure`."""
    return f"field {error} is missing" if isinstance(error, KeyError) else fault(error)


def _items(
    photo: Photo, meta: dict[str, Any], truth: tuple[np.ndarray, np.ndarray] | None, masks: MaskFiles | None
) -> list[Frame | Unannotated | Failure]:
    """A frame or why there is none, preceded by the Failure of its mask if there is one."""
    if photo.sequence.split == "test":
        return [_evaluation_frame(photo, meta, truth)]
    if meta["objRot"] is None or meta["handPose"] is None:
        return [Unannotated(photo.image, NO_ANNOTATION)]
    mask, problem = (None, None) if masks is None else read_mask(photo, masks)
    objects = objects_of(meta)
    frame = _training_frame(photo, meta, SceneAnnotation(mask, objects, 0 if objects else -1))
    return [problem, frame] if problem else [frame]


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


def objects_of(meta: dict[str, Any]) -> tuple[ObjectPose, ...]:
    """The object of a frame, camera_from_object in OpenCV axes; nothing when it is not annotated."""
    if meta.get("objRot") is None or meta.get("objTrans") is None:
        return ()
    rotation = matrix_from_axis_angle(_array(meta, "objRot", (3,)))
    columns = np.concatenate([rotation, _array(meta, "objTrans", (3,))[:, None]], axis=1)
    return (ObjectPose(check_name(meta["objName"], "objName"), opencv_from_opengl(columns.T).T),)


def _training_frame(photo: Photo, meta: dict[str, Any], scene: SceneAnnotation) -> Frame:
    pose, shape = _array(meta, "handPose", (48,)), _array(meta, "handBeta", (10,))
    rest_wrist = hand_basis(photo.sequence.mano, "right").rest_wrist(shape)
    orient, translation = opencv_pose_from_opengl(pose[:3], _array(meta, "handTrans", (3,)), rest_wrist)
    joints = opencv_from_opengl(_array(meta, "handJoints3D", (21, 3)))[FROM_HO3D]
    intrinsics = check_intrinsics(_array(meta, "camMat", (3, 3)), "camMat")
    return frame_of_hand(
        photo,
        "right",
        intrinsics,
        pose=np.concatenate([orient, pose[3:]]),
        shape=shape,
        translation=translation,
        joints=joints,
        joints_2d=project(joints, intrinsics),
        scene=scene,
    )


def _evaluation_frame(photo: Photo, meta: dict[str, Any], truth: tuple[np.ndarray, np.ndarray] | None) -> Frame:
    intrinsics = check_intrinsics(_array(meta, "camMat", (3, 3)), "camMat")
    root = opencv_from_opengl(array_of(np.ravel(meta["handJoints3D"])[:3], (3,), "handJoints3D"))
    box = _array(meta, "handBoundingBox", (4,))
    return evaluation_frame(photo, intrinsics, root, box, objects_of(meta), truth)


def evaluation_frame(
    photo: Photo,
    intrinsics: np.ndarray,
    root: np.ndarray,
    box: np.ndarray,
    objects: tuple[ObjectPose, ...],
    truth: tuple[np.ndarray, np.ndarray] | None,
) -> Frame:
    """A frame without a pose: wrist `root` (3,) m in OpenCV axes, `box` (4,) px, and the released `truth` if any."""
    joints = None if truth is None else opencv_from_opengl(truth[0])[FROM_HO3D]
    return Frame(
        dataset=photo.sequence.dataset,
        sequence=photo.sequence.key,
        number=photo.number,
        index=photo.index,
        image=photo.image,
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


def _array(meta: dict[str, Any], name: str, shape: tuple[int, ...]) -> np.ndarray:
    return array_of(meta[name], shape, name)
