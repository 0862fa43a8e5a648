"""The records that every reader of a dataset yields: one annotated photograph, or the reason why there is none.

Units and frames: metres, radians, pixels; OpenCV camera frame (x right, y down, z forward); pixel i covers [i, i+1).
`mano_pose` is full axis-angle, global first, **hand mean included**, in the hand's own side convention; vertices are
LBS(mano_pose, mano_shape) + translation, wrist = J0(mano_shape) + translation. Joints: wrist, then thumb, index,
middle, ring, little, base to tip (docs/architecture.md).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

RELEASED = ("dexycb", "ho3d-v2", "ho3d-v3")
"""Datasets that are read as their authors release them."""
DATASETS = (*RELEASED, "table")
SPLITS = ("train", "val", "test")
SETUPS = ("s0", "s1", "s2", "s3")
PHOTO_SUFFIX = {"dexycb": "jpg", "ho3d-v2": "png", "ho3d-v3": "jpg"}
"""The photos' suffix as released; HO3D's users also keep converted ones (`CameraSequence.photo_suffix`)."""
FRAME_FAULTS = (Exception,)
"""What one frame's files may raise: they can be damaged in more ways than a list could name, and one bad frame is one
row of failures.jsonl, never the end of a run."""
LARGEST_NUMBER = 2**31 - 1
"""Of a frame in its sequence: stores keep 32 bits."""
PHOTO_SIZE = (640, 480)
"""Width and height of every photo of both datasets, px: the unit of all their 2D annotations."""


@dataclass(frozen=True)
class ObjectPose:
    """Where one object stands: `pose` (3, 4) float64 is camera_from_object, metres; `name` is its mesh's folder."""

    name: str
    pose: np.ndarray


@dataclass(frozen=True, eq=False)
class OtherHand:
    """Another hand in the picture, which hides like an object: its mesh, or the pose of its side's model.

    Units and frames as `Frame`: vertices (778, 3) m, or mano_pose (48,), mano_shape (10,) and translation (3,).
    """

    side: str
    vertices: np.ndarray | None = None
    mano_pose: np.ndarray | None = None
    mano_shape: np.ndarray | None = None
    translation: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Frame:
    """One photograph with its annotation. Fields that the dataset does not give for this frame are None.

    `number` is the frame number in the file name, `index` the position in the dataset's own list (DexYCB: the
    toolkit's dataset index; HO3D: the line in train.txt or evaluation.txt), `image` the photo's path relative to the
    dataset root with forward slashes. `grasped` is the index into `objects` of the object in the hand, -1 if unknown.
    `box` is x0, y0, x1, y1 in pixels and only set where the dataset itself gives one (HO3D evaluation).
    """

    dataset: str
    sequence: str
    number: int
    index: int
    image: str
    side: str
    intrinsics: np.ndarray  # (3, 3) float64
    mano_pose: np.ndarray | None  # (48,) float64
    mano_shape: np.ndarray | None  # (10,) float64
    translation: np.ndarray | None  # (3,) float64 m
    joints: np.ndarray | None  # (21, 3) float64 m
    joints_2d: np.ndarray | None  # (21, 2) float64 px
    root: np.ndarray  # (3,) float64 m, the wrist
    box: np.ndarray | None = None  # (4,) float64 px
    objects: tuple[ObjectPose, ...] = ()
    grasped: int = -1
    others: tuple[OtherHand, ...] = ()
    hand_mask: np.ndarray | None = None  # (height, width) bool
    vertices: np.ndarray | None = None  # (778, 3) float64 m, where the dataset releases meshes instead of poses
    width: int = PHOTO_SIZE[0]
    height: int = PHOTO_SIZE[1]


@dataclass(frozen=True)
class Unannotated:
    """A frame without a usable hand annotation: it gets no row and is only counted under `reason`."""

    path: str
    reason: str


@dataclass(frozen=True)
class Failure:
    """A frame (or a whole sequence) that should have been readable but was not: a row of failures.jsonl."""

    path: str
    reason: str


@dataclass(frozen=True)
class DatasetFacts:
    """What a reader says of a sequence of a dataset that this program does not know: of a table, or of a package.

    `name` stands in stores; `left`, `vertices`: some of the dataset's hands are left ones, have meshes and no pose.
    `origin` names what is known of recording, subject and camera, `objects` those that are not of YCB: in stores they
    have the numbers after YCB's, in this order, which all sequences of a dataset share. `past`, `jitter`: the window
    of past frames (`loading.windows.Window`). `settings`: a text that differs where labels would, beside the
    annotations' file.
    """

    name: str
    left: bool = True
    vertices: bool = False
    origin: dict[str, str] = field(default_factory=dict)
    past: tuple[int, ...] = (5, 10)
    jitter: tuple[float, ...] = (4.0, 2.0)
    settings: str = ""
    objects: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class CameraSequence:
    """One camera's recording, the unit of work: small, picklable, and enough to read its frames in another process.

    `key` is "SUBJECT/SEQ/SERIAL" (DexYCB) or "ABF10" (HO3D). `numbers` (F,) int64 are the frame numbers in order,
    `indices` (F,) int64 the dataset's own positions (see `Frame.index`). `annotations` is "raw" or the path of an
    annotation JSON; then `ranges` (F, 2) int64 are the byte ranges of the frames' annotations in it, -1 where it has
    none. `released` (F, 4) int64 are the byte ranges in HO3D's evaluation_xyz.json and evaluation_verts.json. `mano` is
    the folder of MANO's files, or "standin"; None when the sequence is only listed. `seg_channel` is the RGB channel
    that marks the hand in HO3D's segmentation. `photo_suffix` is that of the photos where it is not the release's.

    Of a table `root` is the photos' folder, `annotations` the file of rows, and `ranges` (F, 3 H) int64 has the row
    number and the place of the frame's own row, then of every other hand in its photo, -1 for none. `facts` says of
    datasets other than the released ones what the program knows of those.
    """

    dataset: str
    root: str
    split: str
    setup: str
    key: str
    numbers: np.ndarray
    indices: np.ndarray
    annotations: str = "raw"
    ranges: np.ndarray | None = None
    released: np.ndarray | None = None
    mano: str | None = None
    seg_channel: int = 0
    photo_suffix: str = ""
    facts: DatasetFacts | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, rows: slice | np.ndarray) -> CameraSequence:
        """The same recording with only some of its frames: `rows` indexes `numbers`, a slice or positions."""
        return replace(
            self,
            numbers=self.numbers[rows],
            indices=self.indices[rows],
            ranges=None if self.ranges is None else self.ranges[rows],
            released=None if self.released is None else self.released[rows],
        )


def ho3d_folder(split: str) -> str:
    """HO3D's folder of a split below the root: `val` is cut from the training list."""
    return "evaluation" if split == "test" else "train"


def recording_of(key: str, dataset: str) -> str:
    """The recording that a camera sequence belongs to: "S/R/camera" -> "S/R" (DexYCB), "ABF10" -> "ABF1" (HO3D).

    Of any other dataset the key does not tell: it stands for itself, and stores keep the recording beside it.
    """
    if dataset == "dexycb":
        return key.rsplit("/", 1)[0]
    return key[:-1] if dataset.startswith("ho3d") else key


def image_pattern(dataset: str, split: str, suffix: str = "") -> str:
    """The photo's path below the dataset root as a format string of `sequence` and `frame`.

    `suffix`: that of the photos, where it is not the release's.
    """
    suffix = suffix or PHOTO_SUFFIX[dataset]
    if dataset == "dexycb":
        return f"{{sequence}}/color_{{frame:06d}}.{suffix}"
    return f"{ho3d_folder(split)}/{{sequence}}/rgb/{{frame:04d}}.{suffix}"


@dataclass(frozen=True, eq=False)
class Photo:
    """One listed photograph: its sequence, its number there, and its position in the dataset's own list."""

    sequence: CameraSequence
    number: int
    index: int

    @property
    def image(self) -> str:
        """The path below the dataset root."""
        pattern = image_pattern(self.sequence.dataset, self.sequence.split, self.sequence.photo_suffix)
        return pattern.format(sequence=self.sequence.key, frame=self.number)


def list_photos(sequence: CameraSequence) -> Iterator[tuple[Photo, Failure | None]]:
    """Every listed photograph of a sequence in order, with the Failure where its file is not there.

    The folder is read once: asking for thousands of files one by one is slow on network file systems.
    """
    folder = (Path(sequence.root) / Photo(sequence, 0, 0).image).parent
    reason = "the photo is missing"
    try:
        there = set(os.listdir(folder))
    except OSError as error:
        there = set()
        if not isinstance(error, FileNotFoundError):
            reason = f"the photo's folder cannot be read: {error.strerror}"
    for number, index in zip(sequence.numbers.tolist(), sequence.indices.tolist(), strict=True):
        photo = Photo(sequence, number, index)
        missing = photo.image.rpartition("/")[2] not in there
        if number > LARGEST_NUMBER:
            yield photo, Failure(photo.image, f"the frame's number is above {LARGEST_NUMBER}")
        else:
            yield photo, Failure(photo.image, reason) if missing else None


@dataclass(frozen=True, eq=False)
class SceneAnnotation:
    """What a dataset's raw tree says about the scene round the hand: fields of `Frame` by the same names."""

    hand_mask: np.ndarray | None = None
    objects: tuple[ObjectPose, ...] = ()
    grasped: int = -1
    others: tuple[OtherHand, ...] = ()


def frame_of_hand(
    photo: Photo,
    side: str,
    intrinsics: np.ndarray,
    pose: np.ndarray,
    shape: np.ndarray,
    translation: np.ndarray,
    joints: np.ndarray,
    joints_2d: np.ndarray,
    scene: SceneAnnotation,
) -> Frame:
    """The Frame of a photograph whose hand is annotated with pose and joints: shapes and units as in `Frame`."""
    return Frame(
        dataset=photo.sequence.dataset,
        sequence=photo.sequence.key,
        number=photo.number,
        index=photo.index,
        image=photo.image,
        side=side,
        intrinsics=intrinsics,
        mano_pose=pose,
        mano_shape=shape,
        translation=translation,
        joints=joints,
        joints_2d=joints_2d,
        root=joints[0],
        objects=scene.objects,
        grasped=scene.grasped,
        others=scene.others,
        hand_mask=scene.hand_mask,
    )
