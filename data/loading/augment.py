"""What happens to a frame between the store and the network: mirror left hands, turn, scale, colour, cut to 128 px.

Pictures and labels move together and here only. Metres, OpenCV camera frame; rotations in degrees, positive as in the
affine map of `crops.crop_from_photo`; all frames of a window share one draw, as in the authors' loaders. Functions
return new arrays and never write into their arguments: the published loaders turn and flip their own stored labels
(docs/clips.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from ...errors import InputError
from ...hand.rotations import mirror_pose, rotate_global
from .crops import SIZE, crop_from_photo, mirror_box, transform
from .photo_draw import PhotoDraw, draw_photo


@dataclass(frozen=True)
class Augmentation:
    """Strength of the augmentation; the defaults are the authors' (docs/clips.md)."""

    scale: float = 0.25  # scale = 1 + this * clip(N(0, 1), -1, 1)
    rotation: float = 30.0  # degrees: this * clip(N(0, 1), -2, 2)
    rotation_probability: float = 0.6
    colour: float = 0.2  # gain per channel, uniform in 1 -+ this
    photo: bool = False  # what lens, sensor and file do, too (`photo_draw`); not the authors'

    def __post_init__(self) -> None:
        if not (0 <= self.scale < 1 and self.rotation >= 0 and 0 <= self.rotation_probability <= 1):
            raise InputError(f"{self}: expected 0 <= scale < 1, rotation >= 0, 0 <= rotation_probability <= 1")
        if not 0 <= self.colour <= 1:
            raise InputError(f"{self}: expected 0 <= colour <= 1")

    def draw(self, rng: np.random.Generator) -> Draw:
        """One set of parameters; always takes the same number of random values, those of `photo` last."""
        normal, uniform = rng.standard_normal(2), rng.random(4)
        turned = uniform[0] <= self.rotation_probability
        return Draw(
            scale=1.0 + self.scale * min(1.0, max(-1.0, float(normal[0]))),
            rotation=self.rotation * min(2.0, max(-2.0, float(normal[1]))) if turned else 0.0,
            gain=tuple((1.0 + self.colour * (2.0 * uniform[1:] - 1.0)).tolist()),
            photo=draw_photo(rng) if self.photo else None,
        )


@dataclass(frozen=True)
class Draw:
    """Parameters of one window: `gain` per RGB channel; `photo` what `photo_draw.spoil` does to the finished crop."""

    scale: float = 1.0
    rotation: float = 0.0
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    photo: PhotoDraw | None = None


NOTHING = Draw()


@dataclass(frozen=True, eq=False)
class HandLabels:
    """Hand labels of T frames in camera coordinates: everything that mirroring and turning change.

    joints (T, 21, 3) m relative to the wrist; root (T, 3) m, the wrist; mano_pose (T, 48) rad, hand mean included;
    joints_2d (T, 21, 2) px and intrinsics (T, 3, 3) px of the same picture; dtype float64.
    """

    joints: np.ndarray
    root: np.ndarray
    mano_pose: np.ndarray
    joints_2d: np.ndarray
    intrinsics: np.ndarray


def mirror_left(hands: HandLabels, width: np.ndarray) -> HandLabels:
    """The labels of the mirrored photos: x -> -x, u -> width - 1 - u, pose (a, b, c) -> (a, -b, -c). Its own inverse.

    `width` (T,) px of the whole photos. The betas stay as they are (docs/hand.md). The one place that mirrors labels.
    """
    flip = np.array([-1.0, 1.0, 1.0])
    edge = np.asarray(width, np.float64)[:, None] - 1.0
    joints_2d = hands.joints_2d.copy()
    joints_2d[..., 0] = edge - joints_2d[..., 0]
    # K' = F K diag(-1, 1, 1), F: u -> edge - u. The focal length stays positive, the principal point moves.
    intrinsics = hands.intrinsics.copy()
    intrinsics[:, 0, 1] *= -1.0
    intrinsics[:, 0, 2] = edge[:, 0] - intrinsics[:, 0, 2]
    return HandLabels(hands.joints * flip, hands.root * flip, mirror_pose(hands.mano_pose), joints_2d, intrinsics)


def turn(hands: HandLabels, rotation: float, affine: np.ndarray) -> HandLabels:
    """Labels in the crops: 3D turned about the camera's z axis by -rotation degrees, 2D and intrinsics mapped.

    `affine` (T, 2, 3), from photo to crop, is crop_from_photo with that rotation. joints_2d of the result is exactly
    the projection of the result's joints + root with its intrinsics if it was before: turning the scene about the
    optical axis causes no parallax, and what the principal point and unequal focal lengths add goes into the (3, 3)
    intrinsics. Of the pose only the global rotation changes.
    """
    angle = math.radians(-rotation)
    cos, sin = math.cos(angle), math.sin(angle)
    about_z = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    full = np.zeros((len(affine), 3, 3))
    full[:, :2], full[:, 2, 2] = affine, 1.0
    return HandLabels(
        joints=hands.joints @ about_z.T,
        root=hands.root @ about_z.T,
        mano_pose=rotate_global(hands.mano_pose, about_z) if rotation else hands.mano_pose.copy(),
        joints_2d=transform(affine, hands.joints_2d),
        intrinsics=full @ hands.intrinsics @ about_z.T,
    )


def photo_affine(box: np.ndarray, width: np.ndarray, mirrored: bool, draw: Draw) -> tuple[np.ndarray, np.ndarray]:
    """Two affine maps to the crops of T boxes (T, 4): from the possibly mirrored photo, and from the photo as stored.

    Pictures are warped with the second one: the mirror is part of the map, no pixel is moved twice.
    """
    if not mirrored:
        affine = crop_from_photo(box, draw.scale, draw.rotation)
        return affine, affine
    affine = crop_from_photo(mirror_box(box, width), draw.scale, draw.rotation)
    stored = affine.copy()
    stored[:, :, 0] *= -1.0
    stored[:, :, 2] += affine[:, :, 0] * (np.asarray(width, np.float64)[:, None] - 1.0)
    return affine, stored


def patch(part: np.ndarray, origin: tuple[int, int], affine: np.ndarray, draw: Draw, out: np.ndarray) -> None:
    """Warp a stored part of a photo into `out` (3, 128, 128) float32 RGB in [0, 1].

    part (h, w, 3) uint8 BGR whose corner lies at `origin` x, y of the photo; affine (2, 3) from photo to crop.
    Bilinear in float32, zero outside the photo, then gain and clipping: the order of the authors' loaders.
    """
    x0, y0, x1, y1 = _sampled_part(affine, origin, part.shape)
    shifted = affine.copy()
    shifted[:, 2] += affine[:, 0] * (origin[0] + x0) + affine[:, 1] * (origin[1] + y0)
    # Only what is sampled becomes float: at scale 1 without rotation that is a third of what is stored.
    sampled = part[y0:y1, x0:x1].astype(np.float32)
    warped = cv2.warpAffine(sampled, shifted, (SIZE, SIZE), flags=cv2.INTER_LINEAR)
    gains = np.array([gain / 255.0 for gain in draw.gain], np.float32)
    np.multiply(warped.transpose(2, 0, 1)[::-1], gains[:, None, None], out=out)
    if max(draw.gain) > 1.0:
        np.minimum(out, 1.0, out=out)


def _sampled_part(affine: np.ndarray, origin: tuple[int, int], shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of the stored part that the warp reads, with room for interpolation; at least one pixel."""
    (a, b, c), (d, e, f) = affine.tolist()
    determinant = a * e - b * d
    corners = ((0 - c, 0 - f), (SIZE - c, 0 - f), (0 - c, SIZE - f), (SIZE - c, SIZE - f))
    xs = [(e * u - b * v) / determinant - origin[0] for u, v in corners]
    ys = [(a * v - d * u) / determinant - origin[1] for u, v in corners]
    x0 = min(max(0, math.floor(min(xs)) - 2), shape[1] - 1)
    y0 = min(max(0, math.floor(min(ys)) - 2), shape[0] - 1)
    return x0, y0, max(x0 + 1, math.ceil(max(xs)) + 3), max(y0 + 1, math.ceil(max(ys)) + 3)
