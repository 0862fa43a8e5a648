"""The report's pictures: from network input, and in the colours of errors.

Pictures are (H, W, 3) uint8 RGB; the drawing itself is `hand.draw`.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from ...hand.draw import Picture

_HEAT = ((0.0, (46, 94, 170)), (0.5, (240, 228, 150)), (1.0, (190, 30, 45)))


def to_picture(image: NDArray) -> Picture:
    """Turn a network's input (3, H, W) RGB in [0, 1] into a picture (H, W, 3) uint8."""
    return np.clip(np.asarray(image).transpose(1, 2, 0) * 255 + 0.5, 0, 255).astype(np.uint8)


def heat_colours(values: NDArray, maximum: float) -> NDArray[np.float64]:
    """(V, 3) RGB from blue (0) over pale yellow to red (`maximum` and more) for values (V,)."""
    scaled = np.clip(np.asarray(values, np.float64) / maximum, 0.0, 1.0)
    stops = [stop for stop, _ in _HEAT]
    return np.stack([np.interp(scaled, stops, [colour[k] for _, colour in _HEAT]) for k in range(3)], axis=-1)


def enlarge(picture: Picture, factor: int) -> Picture:
    """Enlarge a picture by a whole factor, by which its intrinsics grow too."""
    return np.asarray(cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), np.uint8)
