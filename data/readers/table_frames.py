"""Frames of a table: rows become Frames, in metres, pixels, OpenCV axes and this project's joint order.

What a row leaves out is worked out where it follows from the rest: the translation from the wrist, joints from the
pose, their pixels from the camera. A row that is no good is a Failure that names the file and the row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from ...errors import InputError, one_line
from ...hand.arrays import load_arrays
from ...hand.basis import hand_basis
from ...hand.camera import intrinsics_matrix, project
from ...hand.parts import JOINTS_FROM_MANO
from ...hand.skinning import SkinnedHand
from ...untrusted import check_name, check_relative, fault
from ..frame import FRAME_FAULTS, CameraSequence, Failure, Frame, ObjectPose, OtherHand, Unannotated
from ..photos import decode, photo_size
from .fields import check_intrinsics
from .table import Colour, Table, open_table
from .table_rows import ObjectRow, Row, RowReader, numbers

MIDDLE_GREY = 127
"""Above it a mask is the hand, where no colour is named."""
NOTHING = "the row gives neither mano_pose nor vertices, joints or a wrist"
_FROM_MANO = list(JOINTS_FROM_MANO)


def table_frames(sequence: CameraSequence, masks: bool = True) -> Iterator[Frame | Unannotated | Failure]:
    """Every frame of a table's camera sequence, in order.

    A mask that cannot be read is a Failure *and* a Frame without one. A row with any other fault, or whose photo has
    another hand with one, is a Failure only.
    """
    if sequence.mano is None or sequence.ranges is None or sequence.facts is None:
        raise InputError(f"{sequence.key}: frames need the hand's basis; list the sequences with mano=FOLDER")
    path = Path(sequence.annotations)
    with RowReader(path) as rows:
        reader = _FrameReader(open_table(path.parent), sequence, rows, masks)
        numbered = zip(sequence.numbers.tolist(), sequence.indices.tolist(), strict=True)
        for places, (number, index) in zip(sequence.ranges, numbered, strict=True):
            reader.image = f"{sequence.key}, frame {number}"  # until its row is read
            try:
                items = reader.read([each for each in places.reshape(-1, 3).tolist() if each[0] >= 0], number, index)
            except FRAME_FAULTS as error:
                items = [Failure(reader.image, f"{path.name} {fault(error)}")]
            yield from items


@dataclass(frozen=True, eq=False)
class Hand:
    """What a row says of its hand; fields and units as `Frame`'s, None where neither said nor to be worked out."""

    pose: np.ndarray | None
    shape: np.ndarray | None
    translation: np.ndarray | None
    joints: np.ndarray | None
    root: np.ndarray
    vertices: np.ndarray | None


@contextmanager
def _naming(row: int) -> Iterator[None]:
    """Faults inside name the row."""
    try:
        yield
    except FRAME_FAULTS as error:
        raise ValueError(f"row {row}: {fault(error)}") from None


class _FrameReader:
    """Reads the frames of one sequence; `image` is the photo's path of the row that was read last."""

    def __init__(self, table: Table, sequence: CameraSequence, rows: RowReader, masks: bool) -> None:
        self._table, self._sequence, self._rows, self._masks = table, sequence, rows, masks
        self.image = ""

    def read(self, places: list[list[int]], number: int, index: int) -> list[Frame | Unannotated | Failure]:
        """The frame whose rows lie at `places` (row number, a, b), its own first; ValueError names the row."""
        others = []
        for at, a, b in places[1:]:
            with _naming(at):
                other = self._other(self._rows.read((a, b)))
                others += [] if other is None else [other]
        at, a, b = places[0]
        with _naming(at):
            row = self._rows.read((a, b))
            self.image = one_line(row.image, 200)
            if row.unannotated is not None:
                return [Unannotated(row.image, one_line(row.unannotated, 200))]
            photo = self._table.photos / check_relative(row.image, "image")
            if not photo.is_file():
                raise ValueError("the photo is missing")
            width, height = self._size(row, photo)
            mask, problem = None, None
            if self._masks and row.mask is not None:
                colour = getattr(self._table.config.mask, row.side) if row.mask_value is None else row.mask_value
                try:
                    file = self._table.masks / check_relative(row.mask, "mask")
                    mask = read_hand_mask(file, colour, self._table.config.mask.tolerance, (width, height))
                except FRAME_FAULTS as error:
                    missing = isinstance(error, FileNotFoundError)
                    reason = "the mask is missing" if missing else f"the mask is not readable: {fault(error)}"
                    problem = Failure(one_line(row.mask, 200), f"{self._table.rows.name} row {at}: {reason}")
            frame = self._frame(row, number, index, (width, height), mask, tuple(others))
        return [problem, frame] if problem else [frame]

    def _size(self, row: Row, photo: Path) -> tuple[int, int]:
        if row.width is not None and row.height is not None:
            return row.width, row.height
        if row.width is not None or row.height is not None:
            raise ValueError("width and height: expected both or neither")
        return self._table.config.size or photo_size(photo.read_bytes())

    def _frame(
        self,
        row: Row,
        number: int,
        index: int,
        size: tuple[int, int],
        mask: np.ndarray | None,
        others: tuple[OtherHand, ...],
    ) -> Frame:
        intrinsics = intrinsics_of(row)
        hand = hand_of(row, self._table, str(self._sequence.mano))
        objects = tuple(_object_of(each) for each in row.objects or ())
        grasped = -1 if row.grasped is None else row.grasped
        if not -1 <= grasped < len(objects):
            raise ValueError(f"grasped is {grasped}, expected a place among {len(objects)} objects, from 0, or -1")
        joints_2d = None
        if row.joints_2d is not None:
            joints_2d = in_order(numbers(row.joints_2d, (21, 2), "joints_2d"), self._table)
        elif hand.joints is not None:
            joints_2d = project(hand.joints, intrinsics)
        assert self._sequence.facts is not None
        return Frame(
            dataset=self._sequence.facts.name,
            sequence=self._sequence.key,
            number=number,
            index=index,
            image=row.image,
            side=row.side,
            intrinsics=intrinsics,
            mano_pose=hand.pose,
            mano_shape=hand.shape,
            translation=hand.translation,
            joints=hand.joints,
            joints_2d=joints_2d,
            root=hand.root,
            box=None if row.box is None else numbers(row.box, (4,), "box"),
            objects=objects,
            grasped=grasped,
            others=others,
            hand_mask=mask,
            vertices=hand.vertices,
            width=size[0],
            height=size[1],
        )

    def _other(self, row: Row) -> OtherHand | None:
        """The hand of another row of the photo; None where it has neither pose nor mesh, and so hides nothing."""
        if row.unannotated is not None or (row.mano_pose is None and row.vertices is None):
            return None
        hand = hand_of(row, self._table, str(self._sequence.mano))
        if hand.vertices is not None:
            return OtherHand(row.side, vertices=hand.vertices)
        return OtherHand(row.side, mano_pose=hand.pose, mano_shape=hand.shape, translation=hand.translation)


# -- numbers of a row ----------------------------------------------------------------------------------------------


def intrinsics_of(row: Row) -> np.ndarray:
    """The camera matrix (3, 3) px, from 4 numbers (fx, fy, cx, cy) or the matrix itself."""
    four = isinstance(row.intrinsics, list) and len(row.intrinsics) == 4
    if four:
        return check_intrinsics(intrinsics_matrix(*numbers(row.intrinsics, (4,), "intrinsics").tolist()), "intrinsics")
    return check_intrinsics(numbers(row.intrinsics, (3, 3), "intrinsics"), "intrinsics")


def _object_of(row: ObjectRow) -> ObjectPose:
    name = check_name(row.name, "name of an object")
    return ObjectPose(name, numbers(row.pose, (3, 4), f"pose of object {name}"))


def in_order(joints: np.ndarray, table: Table) -> np.ndarray:
    """Joints (21, N) of a row in this project's order."""
    return joints[_FROM_MANO] if table.config.joint_order == "mano" else joints


def pose_of(row: Row, table: Table, mano: str) -> np.ndarray:
    """`mano_pose` as full axis-angle (48,) with the hand's mean, added where the table leaves it out."""
    config, basis = table.config, hand_basis(mano, row.side)
    given = numbers(row.mano_pose, (48 if config.pca is None else 3 + config.pca,), "mano_pose")
    fingers = given[3:]
    if config.pca is not None:
        offset = basis.mean if config.adds_mean else 0.0
        fingers = offset + fingers @ basis.components[: config.pca]
    elif config.adds_mean:
        fingers = fingers + basis.mean
    return np.concatenate([given[:3], fingers])


def hand_of(row: Row, table: Table, mano: str) -> Hand:
    """The hand of a row. ValueError where a number is missing, not finite, or too few are given to place it."""
    optional = {"wrist": (3,), "translation": (3,), "mano_shape": (10,), "vertices": (778, 3), "joints": (21, 3)}
    said = {name: value for name in optional if (value := getattr(row, name)) is not None}
    given = {name: numbers(value, optional[name], name) for name, value in said.items()}
    joints = in_order(given["joints"], table) if "joints" in given else None
    wrist = given.get("wrist", None if joints is None else joints[0])
    if row.mano_pose is None:
        if wrist is None:
            if "vertices" not in given:
                raise ValueError(NOTHING)
            raise ValueError("vertices: expected the wrist or joints beside them, found neither")
        return Hand(None, None, None, joints, wrist, given.get("vertices"))
    pose = pose_of(row, table, mano)
    if "mano_shape" not in given:
        raise ValueError("mano_shape is missing; 10 zeros stand for the mean hand")
    shape = given["mano_shape"]
    rest = hand_basis(mano, row.side).rest_wrist(shape)
    if "translation" not in given and wrist is None:
        raise ValueError("translation: expected it, the wrist or joints beside the pose, found none of them")
    translation = given["translation"] if "translation" in given else wrist - rest
    if joints is None:
        joints = _skinned(mano, row.side).pose(pose[None], shape[None], translation[None])[1][0]
    return Hand(pose, shape, translation, joints, joints[0] if wrist is None else wrist, None)


@lru_cache(maxsize=4)
def _skinned(mano: str, side: str) -> SkinnedHand:
    return SkinnedHand(load_arrays(mano, side))


# -- masks ----------------------------------------------------------------------------------------------------------


def read_hand_mask(path: Path, colour: Colour | None, tolerance: int, size: tuple[int, int]) -> np.ndarray:
    """Where a mask's pixels have a hand's colour: (height, width) bool for a photo of `size` (width, height).

    A smaller or larger mask of the same proportions is brought to size by nearest neighbour. OSError, BadPhoto or
    ValueError for a file that is no such mask.
    """
    data = path.read_bytes()
    photo_size(data)  # the lost part of a truncated file would be grey, and so "not the hand"
    picture = decode(data)[..., ::-1].astype(np.int16)
    height, width = picture.shape[:2]
    if width * size[1] != height * size[0]:
        raise ValueError(f"is {width}x{height} px, expected the proportions of its photo, {size[0]}x{size[1]}")
    if colour is None:
        marked = np.any(picture > MIDDLE_GREY, axis=-1)
    else:
        wanted = np.array(colour if isinstance(colour, list) else [colour] * 3, np.int16)
        marked = np.all(np.abs(picture - wanted) <= tolerance, axis=-1)
    if (width, height) == size:
        return np.asarray(marked)
    return cv2.resize(np.asarray(marked, np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
