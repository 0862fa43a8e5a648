"""What a frame is for LeRobot: the state, the picture, and the labels as further columns, all of them flat.

Metres, radians, OpenCV camera frame, the hand as the photo shows it (left ones are not mirrored). Pixels are those of
the exported picture, with integers at the centres of pixels as in `data/loading/crops.py`. Unknown: NaN in numbers, 255
in `occluded`, `cause` and `joint_visible`; `has_pose`, `has_joints` and `labelled` tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ...data.loading.crops import crop_from_photo, transform
from ...data.readers.dexycb_splits import object_names
from ...data.stores.clips import ClipStore
from ...hand.parts import JOINT_NAMES, LABELS, PARTS, UNKNOWN
from ..labels.columns import flat_names

SIDE = 256
"""Of the exported pictures, px."""
PICTURE = "observation.images.hand"
STATE = "observation.state"


@dataclass(frozen=True)
class Feature:
    """A column: its type, the names of its numbers (None for a single one), and how to read rows of it, (N, K)."""

    dtype: str
    names: tuple[str, ...] | None
    read: Callable[[ClipStore, slice], np.ndarray]
    unknown: int | None = None

    @property
    def size(self) -> int:
        """Numbers per frame."""
        return len(self.names) if self.names else 1


def _column(name: str, dtype: str, names: Sequence[str] | None = None, unknown: int | None = None) -> Feature:
    def read(clips: ClipStore, rows: slice) -> np.ndarray:
        values = clips.index[name][rows]
        return values.reshape(len(values), -1).astype(dtype)

    return Feature(dtype, tuple(names) if names else None, read, unknown)


def _state(clips: ClipStore, rows: slice) -> np.ndarray:
    parts = (clips.index[name][rows] for name in ("joints", "mano_pose", "root"))
    return np.concatenate([values.reshape(len(values), -1) for values in parts], axis=1).astype(np.float32)


def _has_joints(clips: ClipStore, rows: slice) -> np.ndarray:
    joints = clips.index["joints"][rows]
    return np.isfinite(joints.reshape(len(joints), -1)).all(axis=1).reshape(-1, 1)


def _joints_2d(clips: ClipStore, rows: slice) -> np.ndarray:
    points = transform(crop_from_photo(clips.index["box"][rows], size=SIDE), clips.index["joints_2d"][rows])
    return points.reshape(len(points), -1).astype(np.float32)


def _intrinsics(clips: ClipStore, rows: slice) -> np.ndarray:
    affine = crop_from_photo(clips.index["box"][rows], size=SIDE)
    full = np.zeros((len(affine), 3, 3))
    full[:, :2], full[:, 2, 2] = affine, 1.0
    return (full @ clips.index["intrinsics"][rows]).reshape(-1, 9).astype(np.float32)


FEATURES: dict[str, Feature] = {
    STATE: Feature(
        "float32",
        (*flat_names("joints", (21, 3)), *flat_names("mano_pose", (48,)), *flat_names("root", (3,))),
        _state,
    ),
    "occluded": _column("occluded", "uint8", LABELS, UNKNOWN),
    "cause": _column("cause", "uint8", PARTS, UNKNOWN),
    "visible_fraction": _column("visible_fraction", "float32", PARTS),
    "joint_visible": _column("joint_visible", "uint8", JOINT_NAMES, UNKNOWN),
    "hand_visible_area": _column("hand_visible_area", "float32"),
    "joints_2d": Feature("float32", tuple(flat_names("joints_2d", (21, 2))), _joints_2d),
    "intrinsics": Feature("float32", tuple(flat_names("intrinsics", (3, 3))), _intrinsics),
    "mano_shape": _column("mano_shape", "float32", flat_names("mano_shape", (10,))),
    "box": _column("box", "float32", flat_names("box", (4,))),
    "is_left": _column("is_left", "bool"),
    "has_pose": _column("has_pose", "bool"),
    "has_joints": Feature("bool", None, _has_joints),
    "labelled": _column("labelled", "bool"),
    "object_id": _column("object_id", "int64"),
    "frame": _column("frame", "int64"),
    "dataset_index": _column("dataset_index", "int64"),
}
"""Beside the picture and LeRobot's own columns. `box` is x0, y0, x1, y1 of the picture in the photo; `frame` the number
in the dataset, which may leave numbers out."""


def pictures(clips: ClipStore, rows: np.ndarray) -> list[np.ndarray]:
    """What the network sees of some rows' photos, (SIDE, SIDE, 3) uint8 RGB: the box, black outside the photo."""
    affines = crop_from_photo(clips.index["box"][rows], size=SIDE)
    found = []
    for affine, origin, part in zip(affines, clips.index["crop"][rows, :2], clips.pictures(rows), strict=True):
        shifted = affine.copy()
        shifted[:, 2] += affine[:, :2] @ origin  # the stored picture is the part of the photo that begins there
        found.append(np.ascontiguousarray(cv2.warpAffine(part, shifted, (SIDE, SIDE))[..., ::-1]))
    return found


def tasks(clips: ClipStore, rows: slice) -> list[str]:
    """In words what the hand of each row does, as far as the store knows: "right hand with 025_mug"."""
    columns = (clips.index[name][rows].tolist() for name in ("is_left", "object_id"))
    held = {k: f" with {name}" for k, name in enumerate(object_names(clips.attrs), 1)}
    return [f"{'left' if left else 'right'} hand{held.get(k, '')}" for left, k in zip(*columns, strict=True)]
