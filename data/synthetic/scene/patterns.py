"""Random pictures of nothing in particular: what wide looks put on walls, tables and objects (`wide`).

uint8 RGB images of any size, everything from the given generator; nothing here knows about geometry.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import cv2
import numpy as np

from .room import SKIN
from .textures import noise

_LIKE_SKIN = 0.15
"""Share of the colours that a skin might have: the colour alone must not give a hand away."""


def any_colour(rng: np.random.Generator) -> np.ndarray:
    """An sRGB colour (3,) float64 0..255: any hue, mostly pale as most things are, now and then one of skin."""
    if rng.random() < _LIKE_SKIN:
        return skin_tone(rng)
    hue, saturation, value = rng.random(), rng.beta(1.2, 2.5), rng.uniform(0.05, 1.0)
    return 255.0 * np.array(colorsys.hsv_to_rgb(hue, saturation, value))


def skin_tone(rng: np.random.Generator) -> np.ndarray:
    """An sRGB colour (3,) float64 between two neighbours in the row of skins, a little redder, paler or darker."""
    place = rng.uniform(0, len(SKIN) - 1)
    tones, first = np.array(SKIN, np.float64), int(min(place, len(SKIN) - 2))
    tone = tones[first] + (place - first) * (tones[first + 1] - tones[first])
    return np.clip(tone * rng.uniform(0.9, 1.1) * rng.uniform([0.97, 0.94, 0.92], [1.03, 1.06, 1.08]), 0, 255)


def pattern(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A picture (height, width, 3) uint8: one kind all over, pieces of others pasted in, sharp or out of focus."""
    image = _one_kind(height, width, rng)
    for _ in range(int(rng.integers(0, 4))):
        h, w = (int(side * rng.uniform(0.1, 0.5)) + 2 for side in (height, width))
        y, x = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
        image[y : y + h, x : x + w] = _one_kind(h, w, rng)
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 5.0))
    return image


def _one_kind(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    return np.clip(_KINDS[int(rng.integers(len(_KINDS)))](height, width, rng), 0, 255).astype(np.uint8)


def _clouds(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of several octaves that runs through three colours."""
    cell = max(height, width) * rng.uniform(0.03, 0.7)
    level = np.clip(noise(height, width, cell, rng, int(rng.integers(1, 7))) * 0.4 + 1.0, 0, 2)[..., None]
    low, middle, high = (any_colour(rng) for _ in range(3))
    return np.where(level < 1, low + level * (middle - low), middle + (level - 1) * (high - middle))


def _gradient(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """From one colour to another along a line, with a little noise, as a wall in a room's light has it."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    level = (0.5 + 0.35 * (np.cos(angle) * x + np.sin(angle) * y))[..., None]
    start, end = any_colour(rng), any_colour(rng)
    grain = rng.uniform(0, 8) * noise(height, width, max(height, width) * rng.uniform(0.02, 0.3), rng)
    return start + level * (end - start) + grain[..., None]


def _shapes(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Polygons, ellipses and thick lines over a gradient."""
    image = np.ascontiguousarray(np.clip(_gradient(height, width, rng), 0, 255).astype(np.uint8))
    for _ in range(int(rng.integers(4, 40))):
        colour = tuple(float(c) for c in any_colour(rng))
        size = max(height, width) * rng.uniform(0.02, 0.3)
        middle = rng.uniform([0, 0], [width, height])
        kind = rng.integers(3)
        if kind == 0:
            turn = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 8))))
            corners = middle + size * np.stack([np.cos(turn), np.sin(turn)], -1)
            cv2.fillPoly(image, [corners.round().astype(np.int32)], colour, cv2.LINE_AA)
        elif kind == 1:
            axes = (int(size) + 1, int(size * rng.uniform(0.2, 1)) + 1)
            at = (int(middle[0]), int(middle[1]))
            cv2.ellipse(image, at, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
        else:
            ends = (middle + rng.uniform(-3, 3, (2, 2)) * size).round().astype(int)
            thickness = int(size * rng.uniform(0.05, 0.5)) + 1
            cv2.line(image, tuple(map(int, ends[0])), tuple(map(int, ends[1])), colour, thickness, cv2.LINE_AA)
    return image


def _tiles(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """One small picture again and again, turned: wallpaper, cloth, floors."""
    side = int(rng.integers(12, max(14, max(height, width) // 3)))
    tile = _one_of(_shapes, _clouds)(side, side, rng)
    far = int(np.ceil(np.hypot(height, width) / side)) + 1
    sheet = np.tile(np.clip(tile, 0, 255).astype(np.uint8), (far, far, 1))
    middle = sheet.shape[1] / 2
    turned = cv2.getRotationMatrix2D((middle, middle), rng.uniform(0, 360), 1.0)
    turned[:, 2] += [width / 2 - middle, height / 2 - middle]
    return cv2.warpAffine(sheet, turned, (width, height), borderMode=cv2.BORDER_REFLECT)


def _one_of(*kinds: Callable[..., np.ndarray]) -> Callable[[int, int, np.random.Generator], np.ndarray]:
    def drawn(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
        return kinds[int(rng.integers(len(kinds)))](height, width, rng)

    return drawn


_KINDS = (_clouds, _gradient, _shapes, _tiles)
