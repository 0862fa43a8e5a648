"""Wide looks (`--looks wide`): colours, patterns and light far beyond those of a laboratory.

Only what is seen changes, never what is where: shapes, poses and cameras are those of the plain tree of the same seed,
and so are its masks, depth and labels. A recording keeps its look and a camera its background, as in a video. What lens
and file do to a photo (blur, noise, compression) is drawn at training time, anew in every epoch
(`data/loading/photo_draw.py`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .patterns import any_colour, pattern, skin_tone
from .room import HEIGHT, WIDTH, Look, WideLook, linear
from .textures import TEXTURE

_OCTAVES = ((25.0, 0.05), (60.0, 0.05), (140.0, 0.04))
"""Waves per metre and strength of the blotches on a skin."""


def widen(look: Look, rest: np.ndarray, objects: int, cameras: int, rng: np.random.Generator) -> Look:
    """The look with everything that may vary drawn anew; rest (778, 3) m is the hand, `objects` how many there are."""
    backgrounds = tuple(pattern(HEIGHT, WIDTH, rng) if rng.random() < 0.6 else None for _ in range(cameras))
    textures = {i: linear(pattern(TEXTURE, TEXTURE, rng)) for i in range(objects) if rng.random() < 0.7}
    gains = rng.uniform(0.65, 1.45, (cameras, 1)) * rng.uniform(0.88, 1.12, (cameras, 3))
    lights, colours, ambient = _lights(rng)
    skin = linear(skin_tone(rng)).astype(np.float32)
    return replace(
        look,
        skin=skin,
        # A sleeve is thicker than an arm, so where it begins belongs to the shape; an arm may be bare in colour only.
        sleeve=linear(any_colour(rng)) if rng.random() < 0.5 else skin,
        lights=lights,
        light_colours=colours,
        ambient=ambient,
        table=pattern(512, 512, rng),
        walls=tuple(pattern(128, 256, rng) for _ in look.walls),
        noise=float(rng.uniform(0.5, 6.0)),
        wide=WideLook(_blotches(rest, rng), float(rng.uniform(0.0, 0.15)), textures, backgrounds, gains),
    )


def _lights(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Directions (2, 3), colours (2, 3) and ambient light (2, 3): from harsh to flat, from candle to shade."""
    azimuth, height = rng.uniform(0, 2 * np.pi, 2), rng.uniform([0.5, 0.1], [2.5, 2.0])
    lights = np.stack([np.cos(azimuth), np.sin(azimuth), height], axis=-1)
    lights /= np.linalg.norm(lights, axis=1, keepdims=True)
    warm, green = rng.uniform(-0.22, 0.22, 3), rng.uniform(-0.05, 0.05, 3)
    tints = np.stack([1 + warm, 1 + green, 1 - warm], axis=-1)
    colours = rng.uniform([0.15, 0.0], [1.0, 0.5])[:, None] * tints[:2]
    return lights, colours, rng.uniform([0.15, 0.05], [0.5, 0.3])[:, None] * tints[2]


def _blotches(rest: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Factors (778, 3) float32 on the colours of the hand's vertices: waves in all directions, redder or browner."""
    total = np.zeros(len(rest))
    for waves, strength in _OCTAVES:
        for _ in range(4):
            direction = rng.normal(size=3)
            direction *= 2 * np.pi * waves / np.linalg.norm(direction)
            total += strength * rng.uniform(0, 1) * np.sin(rest @ direction + rng.uniform(0, 2 * np.pi))
    return (1.0 + total[:, None] * np.array([0.7, 1.1, 1.2])).astype(np.float32)
