"""Frames of a scored pred.json drawn on HO3D's own photos, where those are available.

Predictions and truth are `files.Meshes` (metres, OpenGL axes, HO3D's joint order) without faces, so vertices are drawn
as dots and no hand model is needed. Pictures are (H, W, 3) uint8 RGB.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ...data.frame import CameraSequence, Frame
from ...data.loading.crops import crop_box, crop_from_photo, transform
from ...data.photos import BadPhoto, decode
from ...data.readers.ho3d import ho3d_frames
from ...errors import brief
from ...hand.camera import opencv_from_opengl, project
from ...hand.draw import BLUE, ORANGE, Picture
from ...hand.pages import data_uri
from ...untrusted import check_key
from ..page.cards import CROP, FACTOR, GROUND, HEAT_CAPTION, HEAT_MAXIMUM, Card, is_drawable
from ..page.pictures import heat_colours
from .files import Meshes

SIDE = FACTOR * CROP  # px
DOT = 2.6  # px, radius: 778 of them nearly cover the surface of a hand
DARKER = 0.35  # how much darker the farthest vertex is than the nearest
_SHIFT = 4  # cv2 takes fixed-point coordinates


@dataclass(frozen=True)
class Photos:
    """HO3D's evaluation photos below `root`, or None where they are in none of the places that were looked at."""

    root: Path | None
    dataset: str
    looked_at: tuple[str, ...]

    @classmethod
    def beside(cls, ground_truth: Path, dataset: str) -> "Photos":
        """Look for photos in the ground truth's folder, which may be the dataset's own, then under $HO3D_DIR."""
        named = os.environ.get("HO3D_DIR")
        places = [ground_truth, *([Path(named)] if named else [])]
        found = next((place for place in places if (place / "evaluation").is_dir()), None)
        return cls(found, dataset, tuple(f"{place}/evaluation" for place in places))

    def frame(self, name: str) -> tuple[Frame, Picture] | str:
        """Read the frame "SEQ/NNNN" and its photo, or return why there is none."""
        key, _, number = name.rpartition("/")
        try:
            check_key(key, "sequence", 1)
        except ValueError:
            key = ""
        if self.root is None or not key or not number.isdecimal() or len(number) > 9:
            return f"{brief(name)[1:-1]}: no evaluation.txt names its sequence"
        listed = CameraSequence(
            self.dataset, str(self.root), "test", "", key, np.array([int(number)], np.int64), np.zeros(1, np.int64)
        )
        found = next(ho3d_frames(listed, masks=False))
        if not isinstance(found, Frame):
            return f"{found.path}: {found.reason}"
        try:
            return found, np.ascontiguousarray(decode((self.root / found.image).read_bytes())[..., ::-1])
        except (BadPhoto, OSError) as error:
            return f"{found.image}: {error}"


def draw_frame(photos: Photos, name: str, error_mm: float, predicted: Meshes, truth: Meshes) -> tuple[Card, str]:
    """Draw one frame (Meshes of length 1) as a card; also returns why it has no pictures, where it has none."""
    found = photos.frame(name)
    if isinstance(found, str):
        return Card(name, error_mm, [], []), found
    pictures = draw_pictures(*found, opencv_from_opengl(predicted.vertices[0]), opencv_from_opengl(truth.vertices[0]))
    return Card(name, error_mm, [(caption, data_uri(picture)) for caption, picture in pictures.items()], []), ""


def draw_pictures(frame: Frame, photo: Picture, predicted: NDArray, truth: NDArray) -> dict[str, Picture]:
    """Draw crop, truth, prediction and error (256, 256, 3) by caption: predicted, truth (778, 3) m, OpenCV camera.

    The prediction is drawn where it was submitted; its error is measured after moving its mean onto the truth's,
    because a hand at another place would be all red. A mesh that is not before the camera is not drawn.
    """
    height, width = photo.shape[:2]
    seen = project(truth, frame.intrinsics) if is_drawable(truth) else None
    box, _ = crop_box(seen, None if seen is not None else frame.box, width, height)
    to_crop = crop_from_photo(box, size=SIDE)
    crop = np.asarray(cv2.warpAffine(photo, to_crop, (SIDE, SIDE), flags=cv2.INTER_LINEAR), np.uint8)
    away = np.linalg.norm((predicted - predicted.mean(0)) - (truth - truth.mean(0)), axis=1)
    plain = np.full_like(crop, GROUND)
    drawn = {"crop": crop}
    for caption, ground, mesh, colours in (
        ("truth", crop, truth, np.array([ORANGE] * len(truth), np.float64)),
        ("prediction", crop, predicted, np.array([BLUE] * len(truth), np.float64)),
        (HEAT_CAPTION, plain, predicted, heat_colours(away, HEAT_MAXIMUM)),
    ):
        if is_drawable(mesh):
            drawn[caption] = draw_dots(ground, transform(to_crop, project(mesh, frame.intrinsics)), mesh[:, 2], colours)
    return drawn


def draw_dots(picture: Picture, points: NDArray, depth: NDArray, colours: NDArray) -> Picture:
    """Draw a dot for every vertex, far ones first and darker.

    points (V, 2) px, depth (V,) m, colours (V, 3) RGB.
    """
    drawn = picture.copy()
    near, far = float(depth.min()), float(depth.max())
    shade = 1.0 - DARKER * (depth - near) / max(far - near, 1e-6)
    fixed = np.round(np.clip(points, -1e4, 1e4) * 2**_SHIFT).astype(int)
    for i in np.argsort(-depth):
        x, y = fixed[i].tolist()
        colour = (colours[i] * shade[i]).tolist()
        cv2.circle(drawn, (x, y), round(DOT * 2**_SHIFT), colour, -1, cv2.LINE_AA, _SHIFT)
    return drawn
