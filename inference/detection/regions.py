"""Square regions of a picture, turned so that the hand in them points up: where to look, cutting out, and the way back.

Pixels are continuous, pixel i covers [i, i + 1). An angle is that of "up" of the region against up of the picture,
clockwise, in radians. The numbers are those of MediaPipe Hands' published graphs.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

WRIST, MIDDLE = 0, 2  # of a palm's seven points: the wrist, and the base of the middle finger
PALM_SCALE, PALM_SHIFT = 2.6, 0.5  # of the palm's box: the region's side, and how far it is moved towards the fingers
HAND_SCALE, HAND_SHIFT = 2.0, 0.1  # the same for the box of a hand's landmarks
STEADY = [0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]  # the landmarks that a region is laid round: no finger's last two
INDEX_BASE, MIDDLE_BASE, RING_BASE = 5, 9, 13
_MARGIN = 2  # px round what is cut out, for interpolation


@dataclass(frozen=True)
class Region:
    """A square: its centre (2,) px, its side in px, and the angle by which it is turned."""

    centre: NDArray[np.float64]
    side: float
    angle: float

    def to_picture(self, points: NDArray) -> NDArray[np.float64]:
        """Points (N, 2) in units of the side, (0, 0) the region's own upper left corner, to picture px."""
        return self.centre + (np.asarray(points, np.float64) - 0.5) * self.side @ turn(self.angle).T

    def from_picture(self, points: NDArray) -> NDArray[np.float64]:
        """The way back: points (N, 2) px to units of the side."""
        return (np.asarray(points, np.float64) - self.centre) @ turn(self.angle) / self.side + 0.5

    def moved(self, offset: NDArray) -> "Region":
        """The same square, moved by (2,) px."""
        return Region(self.centre + offset, self.side, self.angle)


def turn(angle: float) -> NDArray[np.float64]:
    """The matrix (2, 2) that turns picture vectors clockwise as seen (y points down)."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


def upward(start: NDArray, end: NDArray) -> float:
    """The angle of a region in which the way from `start` to `end` (2,) points up."""
    x, y = end - start
    return float(np.arctan2(x, -y))


def region_of_palm(box: NDArray, points: NDArray) -> Region:
    """Where the whole hand of a palm is: box (4,) x0, y0, x1, y1 px round the palm, points (7, 2) px."""
    side = float(max(box[2] - box[0], box[3] - box[1]))
    angle = upward(points[WRIST], points[MIDDLE])
    up = turn(angle) @ [0.0, -1.0]
    return Region((box[:2] + box[2:]) / 2 + PALM_SHIFT * float(box[3] - box[1]) * up, PALM_SCALE * side, angle)


def region_of_landmarks(landmarks: NDArray) -> Region:
    """Where a hand with these landmarks (21, 2) px is, and will nearly be in the next frame."""
    bases = (landmarks[INDEX_BASE] + landmarks[RING_BASE]) / 4 + landmarks[MIDDLE_BASE] / 2
    angle = upward(landmarks[WRIST], bases)
    own = landmarks[STEADY] @ turn(angle)  # in the region's axes
    low, high = own.min(0), own.max(0)
    middle = (low + high) / 2 - [0.0, HAND_SHIFT * (high[1] - low[1])]
    return Region(turn(angle) @ middle, HAND_SCALE * max(1.0, float((high - low).max())), angle)


def cut_out(picture: NDArray[np.uint8], region: Region, size: int, *, repeat_edges: bool) -> NDArray[np.uint8]:
    """The region as a picture (size, size, 3); beyond the picture's edges is black, or what the edge shows.

    Where the region is larger than `size` by a factor, the picture is first reduced by it, so that every pixel counts.
    """
    height, width = picture.shape[:2]
    corners = region.to_picture(np.array([[0, 0], [1, 0], [1, 1], [0, 1]]))
    x0, y0 = np.clip(np.floor(corners.min(0)) - _MARGIN, 0, [width - 1, height - 1]).astype(int)
    x1, y1 = np.clip(np.ceil(corners.max(0)) + _MARGIN, [x0 + 1, y0 + 1], [width, height]).astype(int)
    part = picture[y0:y1, x0:x1]
    factor = max(1, int(region.side / size))
    if factor > 1:
        reduced = (max(1, round((x1 - x0) / factor)), max(1, round((y1 - y0) / factor)))
        part = cv2.resize(part, reduced, interpolation=cv2.INTER_AREA)
    # From pixels of the result to those of the part; OpenCV counts from pixels' centres, hence the halves.
    gain = np.array([part.shape[1] / (x1 - x0), part.shape[0] / (y1 - y0)])
    matrix = gain[:, None] * turn(region.angle) * (region.side / size)
    origin = gain * (region.to_picture(np.array([[0.5 / size, 0.5 / size]]))[0] - [x0, y0]) - 0.5
    return np.asarray(
        cv2.warpAffine(
            part,
            np.column_stack([matrix, origin]),
            (size, size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE if repeat_edges else cv2.BORDER_CONSTANT,
        ),
        np.uint8,
    )
