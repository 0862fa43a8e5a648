"""Recorded motion of hands and objects: the file, its quirks, and the table that the recordings took place on.

Metres, radians, OpenCV axes; the world frame is the master camera's, joints run wrist, thumb .. little, base to tip.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from ....array_files import TEXT, WHOLE, Wanted, read_npz
from ....errors import InputError, one_line
from ....hand.parts import JOINTS_FROM_MANO
from ..scene.objects import object_mesh

log = logging.getLogger(__name__)
_FIELDS = {
    "hand_pose": (48,),
    "object_rotation": (3,),
    "object_translation": (3,),
    "joints_ho3d_order": (21, 3),
    "frame": (),
    "object_index": (),
    "sequence_index": (),
}
_NAMES = ("sequences", "object_names")
_INDICES = ("frame", "object_index", "sequence_index")
SIDE = "left"
"""All recorded hands are left hands."""


@dataclass(frozen=True, eq=False)
class Motion:
    """N recorded frames in the world frame, and start and end of every named sequence (`spans`).

    present (N,) bool, rotation (N, 3) rad global, joints (N, 21, 3) m; the object's rotation (N, 3) rad and translation
    (N, 3) m.
    """

    present: np.ndarray
    rotation: np.ndarray
    joints: np.ndarray
    object_rotation: np.ndarray
    object_translation: np.ndarray
    object_name: tuple[str, ...]
    spans: dict[str, tuple[int, int]]


@lru_cache(maxsize=1)
def load_motion(path: Path) -> Motion:
    """Read a motion file (npz). InputError naming the field that is missing or has another shape than expected."""
    wanted: dict[str, Wanted] = {name: (None, *shape) for name, shape in _FIELDS.items()}
    wanted |= dict.fromkeys(_NAMES, (None,))
    kinds = {**dict.fromkeys(_NAMES, TEXT), **dict.fromkeys(_INDICES, WHOLE)}
    try:
        data = read_npz(path, wanted, kinds)
    except (OSError, ValueError) as error:
        reason = one_line(getattr(error, "strerror", None) or error, 160)
        raise InputError(f"{path}: no readable motion file ({reason}); expected an npz of recorded frames") from error
    count = len(data["hand_pose"])
    for name in _FIELDS:
        if len(data[name]) != count or count == 0:
            raise InputError(f"{path}: {name}: expected {count or 'N'} frames, found {len(data[name])}")
        if not np.isfinite(data[name]).all():
            raise InputError(f"{path}: {name}: expected finite numbers, found others")
    places = data["object_index"]
    if places.min() < 0 or places.max() >= len(data["object_names"]):
        raise InputError(f"{path}: object_index: expected places in object_names, found {places.max()}")
    index = data["sequence_index"]
    spans = {}
    for i, name in enumerate(data["sequences"]):
        rows = np.flatnonzero(index == i)
        if len(rows) and (np.diff(rows) == 1).all() and (np.diff(data["frame"][rows]) == 1).all():
            spans[str(name)] = (int(rows[0]), int(rows[-1]) + 1)
    names = [str(name) for name in data["object_names"]]
    motion = Motion(
        present=(data["hand_pose"] != 0).any(axis=1),
        rotation=data["hand_pose"][:, :3].astype(float),
        joints=data["joints_ho3d_order"][:, list(JOINTS_FROM_MANO)].astype(float),
        object_rotation=data["object_rotation"].astype(float),
        object_translation=data["object_translation"].astype(float),
        object_name=tuple(names[i] for i in data["object_index"]),
        spans=spans,
    )
    return replace(motion, object_rotation=_object_rotations(motion))


def _object_rotations(motion: Motion) -> np.ndarray:
    """The objects' rotations (N, 3) rad, read so that held objects turn with the hand.

    In the known file of DexYCB's left hands, the quaternion behind `object_rotation` has its components in another
    order: taken as it stands, objects rest at random tilts and turn 58 degrees (median) away from the hand that holds
    them; with (x, y, z, w) <- (y, -z, -w, x) they stand upright and follow the hand. So both readings are tested.
    """
    quaternions = Rotation.from_rotvec(motion.object_rotation).as_quat()
    other = Rotation.from_quat(quaternions[:, [1, 2, 3, 0]] * [1.0, -1.0, -1.0, 1.0]).as_rotvec()
    readings = [motion.object_rotation, other]
    held = []
    for start, end in motion.spans.values():
        way = np.linalg.norm(motion.object_translation[start:end] - motion.object_translation[start], axis=1)
        first = start + int((way > 0.05).argmax()) + 3
        if (way > 0.05).any() and end - first > 6 and motion.present[[first, end - 1]].all():
            held.append((first, end - 1))
    if not held:
        return motion.object_rotation
    a, b = np.array(held).T
    turn = Rotation.from_rotvec(motion.rotation[b]) * Rotation.from_rotvec(motion.rotation[a]).inv()
    apart = [
        np.median((Rotation.from_rotvec(r[b]) * Rotation.from_rotvec(r[a]).inv() * turn.inv()).magnitude())
        for r in readings
    ]
    if apart[1] < 0.5 * apart[0]:
        log.info("object rotations: components reordered; held objects then follow the hand")
        return other
    return motion.object_rotation


def table_of(motion: Motion, subject: str) -> np.ndarray:
    """world_from_table (4, 4) m for a subject's session: the plane on which the objects stand at first.

    Its normal starts across the spread of all objects and is refined on the objects' lowest points; y points from where
    the hands come from to the objects.
    """
    spans = [span for name, span in motion.spans.items() if name.startswith(subject)]
    starts = np.array([span[0] for span in spans])
    centres = motion.object_translation[starts]
    surfaces = [object_mesh(motion.object_name[s]).vertices for s in starts]
    turns = Rotation.from_rotvec(motion.object_rotation[starts]).as_matrix()
    points = [v @ r.T + t for v, r, t in zip(surfaces, turns, centres, strict=True)]
    up = np.linalg.svd(centres - centres.mean(axis=0))[2][2] if len(spans) > 3 else np.array([0.0, -0.76, -0.64])
    up = -up if up[1] > 0 else up  # cameras stand upright and look down
    support = centres
    for _ in range(8):
        support = np.stack([p[(p @ up).argmin()] for p in points])
        if len(spans) <= 3:
            break
        height = support @ up
        near = np.abs(height - np.median(height)) < 0.03
        fitted = np.linalg.svd(support[near] - support[near].mean(axis=0))[2][2]
        up = fitted if fitted @ up > 0 else -fitted
    origin = centres.mean(axis=0)
    top = np.percentile(support @ up, 10)  # objects here are not quite the real ones: float rather than sink
    origin = origin + (top - origin @ up) * up
    first = [s + int(np.argmax(motion.present[s:e])) for s, e in spans]
    ahead = (centres - motion.joints[first, 0]).mean(axis=0)
    frame = np.eye(4)
    ahead = ahead - (ahead @ up) * up
    frame[:3, 1] = ahead / np.linalg.norm(ahead)
    frame[:3, 2] = up
    frame[:3, 0] = np.cross(frame[:3, 1], up)
    frame[:3, 3] = origin
    return frame


def centre_of_action(motion: Motion, subject: str, world_from_table: np.ndarray) -> np.ndarray:
    """Where cameras should look (3,) m, table's frame: the median wrist of a subject's session."""
    spans = [span for name, span in motion.spans.items() if name.startswith(subject)]
    rows = np.concatenate([np.arange(*span) for span in spans])
    wrists = motion.joints[rows[motion.present[rows]], 0]
    inverse = np.linalg.inv(world_from_table)
    return np.median(wrists, axis=0) @ inverse[:3, :3].T + inverse[:3, 3]
