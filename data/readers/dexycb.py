"""Frames of DexYCB from the raw tree (`dexycb_lists` says which recordings a split has).

Metres, pixels, OpenCV camera frame: every label file is in its own camera's frame already. Source: dex-ycb-toolkit;
docs/datasets.md lists its pitfalls.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...array_files import WHOLE, Wanted, read_npz
from ...errors import InputError, brief
from ...hand.basis import HandBasis, hand_basis
from ...hand.camera import intrinsics_matrix
from ...untrusted import check_name, fault
from ..frame import (
    FRAME_FAULTS,
    CameraSequence,
    Failure,
    Frame,
    ObjectPose,
    OtherHand,
    Photo,
    SceneAnnotation,
    Unannotated,
    frame_of_hand,
    list_photos,
)
from .dexycb_splits import YCB_NAMES
from .fields import array_of, check_intrinsics
from .yaml_files import field, read_yaml

HAND = 255  # of `seg`
MOST_OTHERS = 8  # hands beside the annotated one
LARGEST_LABEL = 2**24  # bytes of one array; `seg` has 0.3 MB
NO_POSE = "pose_m is all 0"
NO_JOINTS = "joint_3d is all -1"
NO_PIXELS = "joint_2d is all -1"

# -- one recording ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class RecordingMeta:
    """What all frames of one camera recording share.

    others: side and basis of each further hand. DexYCB has none; `h2o synthesize --hands 2` names them in a field of
    its own.
    """

    side: str
    shape: np.ndarray  # (10,) betas
    intrinsics: np.ndarray  # (3, 3) px
    objects: tuple[str, ...]
    grasped: int
    basis: HandBasis | None
    others: tuple[tuple[str, HandBasis | None], ...] = ()


def read_recording(sequence: CameraSequence) -> RecordingMeta:
    """Meta, calibration and hand basis of a recording. InputError naming the file and field that is wrong."""
    root = Path(sequence.root)
    subject, name, serial = sequence.key.split("/")
    path = root / subject / name / "meta.yml"
    meta = read_yaml(path)
    side = _side(_first(field(meta, path, "mano_sides"), path, "mano_sides"), path, "mano_sides")
    others = meta.get("other_sides", [])
    if not isinstance(others, list) or len(others) > MOST_OTHERS:
        raise InputError(
            f"{path}: other_sides is {brief(others)}, expected a list of at most {MOST_OTHERS}; copy the file again"
        )
    others = [_side(other, path, "other_sides") for other in others]
    ids = field(meta, path, "ycb_ids")
    if not isinstance(ids, list) or not all(isinstance(i, int) and 1 <= i <= len(YCB_NAMES) for i in ids):
        raise InputError(
            f"{path}: ycb_ids is {brief(ids)}, expected a list of 1..{len(YCB_NAMES)}; copy the file again"
        )
    grasped = field(meta, path, "ycb_grasp_ind")
    if not isinstance(grasped, int):
        raise InputError(f"{path}: ycb_grasp_ind is {brief(grasped)}, expected a place in ycb_ids; copy the file again")
    calibration = root / "calibration"
    calibrated = _first(field(meta, path, "mano_calib"), path, "mano_calib")
    try:
        check_name(calibrated, "mano_calib")
    except ValueError as error:
        raise InputError(f"{path}: {error}; copy the file again") from None
    hand = calibration / f"mano_{calibrated}" / "mano.yml"
    basis = {name: None if sequence.mano is None else hand_basis(sequence.mano, name) for name in {side, *others}}
    return RecordingMeta(
        side=side,
        shape=_numbers(field(read_yaml(hand), hand, "betas"), (10,), hand, "betas"),
        intrinsics=read_intrinsics(calibration / "intrinsics" / f"{serial}_640x480.yml"),
        objects=tuple(YCB_NAMES[i - 1] for i in ids),
        grasped=grasped,
        basis=basis[side],
        others=tuple((other, basis[other]) for other in others),
    )


def read_intrinsics(path: Path) -> np.ndarray:
    """The colour camera's matrix (3, 3); `depth` is aligned to colour and must not be used."""
    content = read_yaml(path)
    values = _numbers([field(content, path, "color", name) for name in ("fx", "fy", "ppx", "ppy")], (4,), path, "color")
    try:
        return check_intrinsics(intrinsics_matrix(*values.tolist()), "color")
    except ValueError as error:
        raise InputError(f"{path}: {error}; copy the file again") from None


def _side(value: object, path: Path, name: str) -> str:
    if value not in ("right", "left"):
        raise InputError(f"{path}: {name} is {brief(value)}, expected right or left; copy the file again")
    return str(value)


def _first(values: object, path: Path, name: str) -> object:
    if not isinstance(values, list) or not values:
        raise InputError(f"{path}: {name} is {brief(values)}, expected a list with one entry; copy the file again")
    return values[0]


def _numbers(values: object, shape: tuple[int, ...], path: Path, name: str) -> np.ndarray:
    try:
        return array_of(values, shape, name)
    except ValueError as error:
        raise InputError(f"{path}: {error}; copy the file again") from None


# -- frames ----------------------------------------------------------------------------------------------------


def dexycb_frames(sequence: CameraSequence, masks: bool = True) -> Iterator[Frame | Unannotated | Failure]:
    """Every frame of a recording, in order: annotated, without a hand, or unreadable (which names the file)."""
    root = Path(sequence.root)
    try:
        recording = read_recording(sequence)
    except InputError as error:
        yield Failure(sequence.key, f"{error} ({len(sequence)} frames)")
        return
    if recording.basis is None:
        raise InputError(f"{sequence.key}: frames need the hand's basis; list the sequences with mano=FOLDER")
    for photo, missing in list_photos(sequence):
        if missing:
            yield missing
            continue
        path = label_path(photo)
        try:
            arrays = read_label_file(root / path, masks, len(recording.others))
            reason = no_hand(arrays)
            item = Unannotated(photo.image, reason) if reason else _frame(photo, recording, arrays)
        except FRAME_FAULTS as error:
            item = Failure(path, reason_of(error))
        yield item


def label_path(photo: Photo) -> str:
    """The label file of a photograph, below the dataset root."""
    return f"{photo.sequence.key}/labels_{photo.number:06d}.npz"


_SHAPES = {"pose_m": (1, 51), "joint_3d": (1, 21, 3), "joint_2d": (1, 21, 2)}
_MASK = (480, 640)


def read_label_file(path: Path, masks: bool = True, others: int = 0) -> dict[str, np.ndarray]:
    """The arrays of a labels_*.npz (`seg` only with `masks`). ValueError or OSError when it is damaged.

    others: how many further hands the recording has, whose poses are then read, too.
    """
    wanted: dict[str, Wanted] = {**_SHAPES, "pose_y": (None, 3, 4)}
    if others:
        wanted["other_pose_m"] = (others, 51)
    return read_npz(path, wanted | ({"seg": _MASK} if masks else {}), {"seg": WHOLE}, LARGEST_LABEL)


def no_hand(arrays: dict[str, np.ndarray]) -> str | None:
    """Why a frame has no usable hand, by HandOccNet's three-way rule (docs/datasets.md); None when it has one."""
    if not arrays["pose_m"].any():
        return NO_POSE
    if (arrays["joint_3d"] == -1).all():
        return NO_JOINTS
    if (arrays["joint_2d"] == -1).all():
        return NO_PIXELS
    return None


def scene_annotation(recording: RecordingMeta, arrays: dict[str, np.ndarray]) -> SceneAnnotation:
    """Hand mask (where `seg` was read), objects and other hands that are present: an all-zero pose is an absent one."""
    poses = array_of(arrays["pose_y"], (len(recording.objects), 3, 4), "pose_y")
    present = [i for i in range(len(poses)) if poses[i].any()]
    return SceneAnnotation(
        hand_mask=arrays["seg"] == HAND if "seg" in arrays else None,
        objects=tuple(ObjectPose(recording.objects[i], poses[i]) for i in present),
        grasped=present.index(recording.grasped) if recording.grasped in present else -1,
        others=_other_hands(recording, arrays),
    )


def _other_hands(recording: RecordingMeta, arrays: dict[str, np.ndarray]) -> tuple[OtherHand, ...]:
    """The further hands of a frame, with the person's betas: calibrated on one hand, DexYCB uses them for both."""
    if not recording.others:
        return ()
    poses = array_of(arrays["other_pose_m"], (len(recording.others), 51), "other_pose_m")
    found = []
    for pose, (side, basis) in zip(poses, recording.others, strict=True):
        if pose.any() and basis is not None:
            fingers = basis.finger_pose(pose[3:48])
            whole = np.concatenate([pose[:3], fingers])
            found.append(OtherHand(side, mano_pose=whole, mano_shape=recording.shape, translation=pose[48:51]))
    return tuple(found)


def _frame(photo: Photo, recording: RecordingMeta, arrays: dict[str, np.ndarray]) -> Frame:
    pose, joints, pixels = (array_of(arrays[name][0], shape[1:], name) for name, shape in _SHAPES.items())
    assert recording.basis is not None
    return frame_of_hand(
        photo,
        recording.side,
        recording.intrinsics,
        pose=np.concatenate([pose[:3], recording.basis.finger_pose(pose[3:48])]),
        shape=recording.shape,
        translation=pose[48:51],
        joints=joints,
        joints_2d=pixels,
        scene=scene_annotation(recording, arrays),
    )


def reason_of(error: Exception) -> str:
    """Why a label file could not be read, for a `Failure`."""
    if isinstance(error, FileNotFoundError):
        return "the file is missing"
    return f"not readable: {(error.strerror if isinstance(error, OSError) else None) or fault(error)}"
