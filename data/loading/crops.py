"""Where a hand is cut out of its photograph: the box, the affine map to the network's square, the region to store.

Pixels follow the datasets and OpenCV's warp here: an integer coordinate is the **centre** of a pixel, which is what the
authors' crops, `cv2.warpAffine` and their mirror u -> W - 1 - u use. Everywhere else in the project
pixel i covers [i, i + 1); half a photo pixel is at most 0.2 px of a crop, and image and joints always move together.
"""

from __future__ import annotations

import math

import numpy as np

SIZE = 128  # side of the network's input, px
JOINT_MARGIN = 1.5  # the box of the joints, enlarged about its centre (docs/clips.md)
GIVEN_MARGIN = 1.5  # HO3D evaluation: the given box, squared, enlarged about its centre
MAX_SCALE = 1.25  # the largest augmentation scale that stored crops must cover

FROM_JOINTS, GIVEN, WHOLE_PHOTO = 0, 1, 2  # box_rule: how the box of a frame came about

_BILINEAR = 2  # px around the sampled square that interpolation may touch
_CHROMA = 2  # px at a cut edge that a decoder interpolates from the neighbouring, now missing, chroma sample


def joints_box(joints_2d: np.ndarray) -> np.ndarray:
    """Box round the joints enlarged by 1.5: (21, 2) px -> (4,) float32 x, y, width, height (HandOccNet's get_bbox)."""
    low, high = joints_2d.min(axis=0), joints_2d.max(axis=0)
    size = (high - low) * JOINT_MARGIN
    return np.concatenate([(low + high) / 2 - size / 2, size]).astype(np.float32)


def square_box(box: np.ndarray, width: int, height: int, expansion: float = 1.0) -> np.ndarray | None:
    """Clip x, y, width, height to the photo and make it square about the clipped centre; None when nothing is left.

    Exactly the authors' process_bbox: the far corner is measured from the already clipped near corner, so that a
    box that sticks out on the left or top keeps its full extent, and the square may leave the photo again.
    """
    x, y, w, h = (float(v) for v in box)
    x1, y1 = max(0.0, x), max(0.0, y)
    x2 = min(width - 1.0, x1 + max(0.0, w - 1.0))
    y2 = min(height - 1.0, y1 + max(0.0, h - 1.0))
    side = max(x2 - x1, y2 - y1)
    if not (w * h > 0 and x2 >= x1 and y2 >= y1 and side > 0):
        return None
    side *= expansion
    centre = ((x1 + x2) / 2, (y1 + y2) / 2)
    return np.array([centre[0] - side / 2, centre[1] - side / 2, side, side], np.float64)


def crop_box(joints_2d: np.ndarray | None, given: np.ndarray | None, width: int, height: int) -> tuple[np.ndarray, int]:
    """The box that is cut out of a photo: ((4,) float64 x0, y0, x1, y1 px, box_rule).

    `given` (4,) x0, y0, x1, y1 is the dataset's own box (HO3D evaluation) and goes first; otherwise the box follows the
    (21, 2) projected joints. Where neither leaves anything inside the photo, it is the whole photo (the authors' rule
    for DexYCB's test split, not square; their training drops such frames: `box_rule` tells).
    """
    square = None
    rule = WHOLE_PHOTO
    if given is not None and np.isfinite(given).all():
        x0, y0, x1, y1 = (float(v) for v in given)
        square = square_box(np.array([x0, y0, x1 - x0, y1 - y0]), width, height, GIVEN_MARGIN)
        rule = GIVEN
    elif joints_2d is not None and np.isfinite(joints_2d).all():
        square = square_box(joints_box(joints_2d), width, height)
        rule = FROM_JOINTS
    if square is None:
        return np.array([0.0, 0.0, width - 1.0, height - 1.0]), WHOLE_PHOTO
    return np.array([square[0], square[1], square[0] + square[2], square[1] + square[3]]), rule


def crop_from_photo(box: np.ndarray, scale: float = 1.0, rotation: float = 0.0, size: int = SIZE) -> np.ndarray:
    """Affine maps from photo pixels to crop pixels: (..., 4) boxes x0, y0, x1, y1 -> (..., 2, 3) float64.

    The centre goes to the middle, the half axes (enlarged by `scale`, turned by `rotation` degrees) to the middle of
    the lower and right edges: the authors' three points, solved in closed form.
    """
    box = np.asarray(box, np.float64)
    centre = (box[..., :2] + box[..., 2:]) / 2
    gain = size / ((box[..., 2:] - box[..., :2]) * scale)
    cos, sin = math.cos(math.radians(rotation)), math.sin(math.radians(rotation))
    affine = np.empty((*box.shape[:-1], 2, 3))
    affine[..., 0, 0], affine[..., 0, 1] = gain[..., 0] * cos, gain[..., 0] * sin
    affine[..., 1, 0], affine[..., 1, 1] = -gain[..., 1] * sin, gain[..., 1] * cos
    affine[..., 2] = size / 2 - (affine[..., :2] @ centre[..., None])[..., 0]
    return affine


def mirror_box(box: np.ndarray, width: np.ndarray | int) -> np.ndarray:
    """The box in the mirrored photo, u -> width - 1 - u: (..., 4) x0, y0, x1, y1 -> the same."""
    mirrored = np.array(box, np.float64)
    edge = np.asarray(width) - 1.0
    mirrored[..., 0], mirrored[..., 2] = edge - np.asarray(box)[..., 2], edge - np.asarray(box)[..., 0]
    return mirrored


def transform(affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Move 2D points: affine (..., 2, 3), points (..., N, 2) px -> (..., N, 2) px."""
    return points @ np.swapaxes(affine[..., :2], -1, -2) + affine[..., None, :, 2]


def stored_region(
    box: np.ndarray, width: int, height: int, mcu: tuple[int, int] = (1, 1), max_scale: float = MAX_SCALE
) -> tuple[int, int, int, int]:
    """The part of the photo that a crop store keeps: x, y, width, height in whole pixels, inside the photo.

    It covers the box enlarged by `max_scale` under any rotation, with room for interpolation; the origin is a
    multiple of `mcu` (width, height of the JPEG's coding units), as lossless cutting needs.
    """
    x0, y0, x1, y1 = (float(v) for v in box)
    reach = max_scale * math.hypot(x1 - x0, y1 - y0) / 2 + _BILINEAR + _CHROMA
    left, right = _span((x0 + x1) / 2, reach, width, mcu[0])
    top, bottom = _span((y0 + y1) / 2, reach, height, mcu[1])
    return left, top, right - left, bottom - top


def _span(centre: float, reach: float, length: int, unit: int) -> tuple[int, int]:
    first = max(0, math.floor(centre - reach))
    last = min(length, math.ceil(centre + reach) + 1)
    return first - first % unit, last
