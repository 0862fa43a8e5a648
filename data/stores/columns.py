"""The columns of labels.zarr and clips.zarr: type, shape and bounds of every one, and the one check against them.

Types and shapes are without the frame axis. Metres, pixels, radians; NaN where the dataset says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from ...errors import InputError, brief

Schema = Mapping[str, tuple[str, tuple[int, ...]]]
Bounds = Mapping[str, tuple[int, int]]

LABEL_COLUMNS: Schema = {
    "frame": ("i4", ()),
    "dataset_index": ("i8", ()),
    "labelled": ("?", ()),
    "occluded": ("u1", (7,)),
    "visible_vertices": ("i4", (6,)),
    "visible_fraction": ("f4", (6,)),
    "hidden_fraction": ("f4", (6, 3)),
    "cause": ("u1", (6,)),
    "joint_visible": ("u1", (21,)),
    "mask_iou": ("f4", ()),
    "is_left": ("?", ()),
    "has_pose": ("?", ()),
    "intrinsics": ("f8", (3, 3)),
    "mano_pose": ("f4", (48,)),
    "mano_shape": ("f4", (10,)),
    "translation": ("f4", (3,)),
    "joints": ("f4", (21, 3)),
    "joints_2d": ("f4", (21, 2)),
    "root": ("f4", (3,)),
    "box": ("f4", (4,)),
    "object_id": ("i4", ()),
    "object_pose": ("f4", (3, 4)),
    "other_hand_fraction": ("f4", (6,)),
    "coco_visibility": ("u1", (21,)),
    "hand_visible_area": ("f4", ()),
    "hand_hidden_area": ("f4", (3,)),
    "object_visible_area": ("f4", ()),
}
"""Per-frame columns of a committed sequence of labels; the index adds `sequence_id`."""
LATER_COLUMNS = (
    "other_hand_fraction",
    "coco_visibility",
    "hand_visible_area",
    "hand_hidden_area",
    "object_visible_area",
)
"""Columns that stores of version 0.1.0 do not have: where they are missing they are read as unknown."""
VERTICES: Schema = {"vertices": ("f4", (778, 3))}
"""Where a dataset gives meshes."""
COPIED_COLUMNS = (
    "frame",
    "dataset_index",
    "labelled",
    "occluded",
    "visible_fraction",
    "cause",
    "joint_visible",
    "coco_visibility",
    "hand_visible_area",
    "hand_hidden_area",
    "object_visible_area",
    "is_left",
    "has_pose",
    "intrinsics",
    "mano_pose",
    "mano_shape",
    "translation",
    "joints",
    "joints_2d",
    "root",
    "object_id",
)
"""Columns that clips.zarr copies from labels.zarr, plus `vertices` where it has them; `box` is worked out anew."""
PICTURE_COLUMNS: Schema = {
    "offset": ("i8", ()),
    "length": ("i4", ()),
    "crop": ("i2", (4,)),
    "photo": ("i2", (2,)),
    "box": ("f4", (4,)),
    "box_rule": ("u1", ()),
}
CLIP_COLUMNS: Schema = {name: LABEL_COLUMNS[name] for name in COPIED_COLUMNS} | dict(PICTURE_COLUMNS)
SEQUENCE_ID: Schema = {"sequence_id": ("i4", ())}

_UNKNOWN = 255
LABEL_BOUNDS: Bounds = {
    "frame": (0, 2**31 - 1),
    "occluded": (0, 1),
    "joint_visible": (0, 1),
    "cause": (0, 4),
    "coco_visibility": (0, 2),
}
CLIP_BOUNDS: Bounds = {
    **LABEL_BOUNDS,
    "offset": (0, 2**50),
    "length": (1, 1 << 26),
    "photo": (1, 2**15 - 1),
    "crop": (0, 2**15 - 1),
    "box_rule": (0, 2),
    "box": (-(10**6), 10**6),
}
_MAY_BE_UNKNOWN = ("occluded", "joint_visible", "cause")


def check_table(where: str | Path, found: Mapping[str, tuple[str, tuple[int, ...]]], schema: Schema) -> None:
    """InputError unless these columns, given by type and shape, are those of a schema.

    `vertices` may be there too, and later columns may be missing.
    """
    for name in [*schema, *(name for name in found if name not in schema)]:
        if name not in found and name in LATER_COLUMNS:
            continue
        if name not in found:
            raise InputError(f"{where}: column {name} is missing; copy the store again, or build it anew")
        if name in schema or name in VERTICES:
            check_type(f"{where}: column {name}", *found[name], *(schema.get(name) or VERTICES[name]))
        else:
            raise InputError(f"{where}: column {brief(name)} is none of this store's; copy the store again")


def check_type(what: str, found: str, shape: tuple[int, ...], kind: str, expected: tuple[int, ...]) -> None:
    """InputError unless a column has this type, and this shape after the frame axis."""
    if np.dtype(found) != np.dtype(kind) or tuple(shape) != expected:
        raise InputError(
            f"{what} is {found} of shape {brief(list(shape))} per frame, expected {np.dtype(kind).str} of shape "
            f"{list(expected)}; copy the store again, or build it anew"
        )


def check_values(what: str, name: str, values: np.ndarray, bounds: Bounds, sequences: int) -> None:
    """InputError unless a column (F, ...) holds what it may; `sequences` is how many `sequence_id` may name."""
    if values.dtype == bool:
        values, low, high = values.view(np.uint8), 0, 1
    elif name == "sequence_id":
        low, high = 0, sequences - 1
        if (values[1:] < values[:-1]).any():
            raise InputError(f"{what}: sequences are out of order; run the command that builds the store again")
    elif name in bounds:
        low, high = bounds[name]
    else:
        return
    good = (values >= low) & (values <= high)
    if name in _MAY_BE_UNKNOWN:
        good |= values == _UNKNOWN
    if name == "box":  # no picture is cut out of an empty one
        good[:, :2] &= values[:, 2:] > values[:, :2]
    if not good.all():
        row = int(np.flatnonzero(~good.reshape(len(values), -1).all(axis=1))[0])
        size = ", wider and higher than 0" if name == "box" else ""
        raise InputError(
            f"{what}: row {row} is {brief(values[row].tolist())}, expected {low} to {high}{size}; run the command that "
            "builds the store again"
        )


def unknown_column(name: str, rows: int) -> np.ndarray:
    """One of the later columns for rows about which nothing is known: NaN, or COCO's 0."""
    kind, shape = LABEL_COLUMNS[name]
    return np.full((rows, *shape), np.nan if np.dtype(kind).kind == "f" else 0, np.dtype(kind))


def known_schema(names: Iterable[str], schema: Schema) -> Schema:
    """A schema, with `vertices` where they are among these names."""
    return {**schema, **(VERTICES if "vertices" in names else {})}
