"""HO3D's segmentations: where they lie, and which colour marks the hand.

v2 has half-size JPEGs in `train/SEQ/seg`, the hand red. v3's come in an archive of their own
(HO3D_v3_segmentations_rendered.zip): small PNGs, the hand blue and the object green, unpacked over the sequences or
into a folder beside `train/`. Evaluation frames have none. Source: docs/datasets.md.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ...errors import InputError
from ..frame import FRAME_FAULTS, PHOTO_SIZE, CameraSequence, Failure, Photo, ho3d_folder
from ..photos import decode, photo_size

CHANNELS = ("red", "green", "blue")
HAND_CHANNEL = {"ho3d-v2": "red", "ho3d-v3": "blue"}
_SUFFIXES = {"ho3d-v2": ("jpg", "png"), "ho3d-v3": ("png", "jpg")}  # as released first
_THRESHOLD = 200


def hand_channel(dataset: str, given: str = "auto") -> str:
    """The colour that marks the hand: red, green or blue as `given`, for "auto" that of the release."""
    if given not in ("auto", *CHANNELS):
        raise InputError(f"seg_channel {given}: expected auto, {', '.join(CHANNELS)}")
    return HAND_CHANNEL.get(dataset, CHANNELS[0]) if given == "auto" else given


@dataclass(frozen=True)
class MaskFiles:
    """The masks of one camera sequence: `files` by frame number, below the root; `expected` of those not there."""

    files: dict[int, str]
    expected: str

    def path(self, number: int) -> str:
        """The mask of a frame, below the root, or where it should be."""
        return self.files.get(number) or self.expected.format(number)


def mask_files(sequence: CameraSequence) -> MaskFiles:
    """The masks of a sequence, found by looking: in its own folder first, in the version's own format first."""
    root, folder = Path(sequence.root), ho3d_folder(sequence.split)
    places = [f"{home}{folder}/{sequence.key}/seg" for home in ("", *_second_homes(root, folder))]
    listed = [(place, _listing(root / place)) for place in places]
    suffixes = _SUFFIXES[sequence.dataset]
    files: dict[int, str] = {}
    for place, names in reversed(listed):
        for suffix in reversed(suffixes):
            found = (name for name in names if name.endswith(f".{suffix}"))
            files |= {
                int(name.partition(".")[0]): f"{place}/{name}" for name in found if name[: -len(suffix) - 1].isdecimal()
            }
    home = next((place for place, names in listed if names), places[0])
    return MaskFiles(files, f"{home}/{{:04d}}.{suffixes[0]}")


def _second_homes(root: Path, folder: str) -> list[str]:
    """Folders beside `train/` that hold the archive of masks, such as HO3D_v3_segmentations_rendered/."""
    names = [name for name in _listing(root) if "seg" in name.lower()]
    return [f"{name}/" for name in names if (root / name / folder).is_dir()]


def _listing(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def read_mask(photo: Photo, masks: MaskFiles) -> tuple[np.ndarray | None, Failure | None]:
    """The hand mask (480, 640) bool of a training frame: its channel above 200, enlarged by nearest neighbour.

    A missing or unreadable file gives None and a Failure that names it.
    """
    path = masks.path(photo.number)
    try:
        return read_channels(Path(photo.sequence.root) / path)[photo.sequence.seg_channel], None
    except FileNotFoundError:
        return None, Failure(path, "the mask is missing")
    except FRAME_FAULTS as error:
        return None, Failure(path, f"the mask is not readable: {getattr(error, 'strerror', None) or error}")


def read_channels(path: Path) -> np.ndarray:
    """The three masks (3, 480, 640) bool of a mask file, red, green, blue: where a channel is above 200."""
    data = path.read_bytes()
    photo_size(data)  # a truncated mask would be decoded with its lost part grey: no hand there, all of it "occluded"
    marked = (decode(data)[:, :, ::-1] > _THRESHOLD).astype(np.uint8)
    return cv2.resize(marked, PHOTO_SIZE, interpolation=cv2.INTER_NEAREST).astype(bool).transpose(2, 0, 1)


def channel_counts(sequence: CameraSequence, number: int) -> tuple[int, int, int] | None:
    """Pixels above 200 in red, green and blue of a frame's mask file; None where there is none to read."""
    picture = cv2.imread(str(Path(sequence.root) / mask_files(sequence).path(number)), cv2.IMREAD_COLOR)
    if picture is None:
        return None
    blue, green, red = (int((picture[:, :, i] > _THRESHOLD).sum()) for i in range(3))
    return red, green, blue
