"""Textures of the synthetic scenes: object labels, table tops, rooms. Everything is drawn from a random generator.

uint8 RGB images; nothing here knows about geometry.
"""

from __future__ import annotations

import itertools

import cv2
import numpy as np

TEXTURE = 384
"""Side of an object's texture, px."""


def noise(height: int, width: int, cell: float, rng: np.random.Generator, octaves: int = 4) -> np.ndarray:
    """Smooth noise (height, width) float32, zero mean, about unit deviation; `cell` px is its largest feature."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        size = max(cell / 2**octave, 1.0)
        coarse = rng.standard_normal((int(height / size) + 3, int(width / size) + 3)).astype(np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * 0.5**octave
    return (total - total.mean()) / (total.std() + 1e-6)


def _fill(height: int, width: int, colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def paint_part(
    height: int,
    width: int,
    cells: tuple[int, int],
    base: tuple[int, int, int],
    accent: tuple[int, int, int],
    pattern: str,
    rng: np.random.Generator,
) -> np.ndarray:
    """Paint one part of an object: `cells` (columns, rows) sides are painted one by one. (height, width, 3) uint8."""
    image = _fill(height, width, base)
    xs, ys = np.linspace(0, width, cells[0] + 1).astype(int), np.linspace(0, height, cells[1] + 1).astype(int)
    for x0, x1 in itertools.pairwise(xs):
        for y0, y1 in itertools.pairwise(ys):
            side = _fill(y1 - y0, x1 - x0, base)
            _PATTERNS[pattern](side, base, accent, rng)
            image[y0:y1, x0:x1] = side
    grain = 3.0 * noise(height, width, 24.0, rng)[..., None]
    return np.clip(image + grain, 0, 255).astype(np.uint8)


def _plain(image, base, accent, rng) -> None:
    del base, accent, rng
    image[...] = image


def _label(image, base, accent, rng) -> None:
    """Something like a printed label: a band, a disc, a name and lines of small print."""
    h, w = image.shape[:2]
    dark = tuple(int(0.45 * c) for c in base)
    y0, y1 = int(h * rng.uniform(0.18, 0.28)), int(h * rng.uniform(0.52, 0.62))
    cv2.rectangle(image, (0, y0), (w, y1), accent, -1)
    cv2.rectangle(image, (0, y1), (w, y1 + max(h // 40, 2)), dark, -1)
    centre = (int(w * rng.uniform(0.3, 0.7)), int(h * rng.uniform(0.7, 0.78)))
    cv2.circle(image, centre, int(min(h, w) * rng.uniform(0.10, 0.16)), accent, -1, cv2.LINE_AA)
    cv2.circle(image, centre, int(min(h, w) * 0.06), dark, -1, cv2.LINE_AA)
    for block in range(2 if w > 200 else 1):  # a name in thick strokes, round the whole can
        x = int(w * (0.08 + 0.5 * block))
        for _ in range(int(rng.integers(4, 7))):
            letter = int(w * rng.uniform(0.03, 0.055)) + 2
            a, b = int(y0 + 0.2 * (y1 - y0)), int(y1 - 0.25 * (y1 - y0))
            if rng.random() < 0.5:
                cv2.rectangle(image, (x, a), (x + letter, b), base, max(letter // 4, 1))
            else:
                cv2.line(image, (x, b), (x + letter // 2, a), base, max(letter // 4, 1), cv2.LINE_AA)
                cv2.line(image, (x + letter // 2, a), (x + letter, b), base, max(letter // 4, 1), cv2.LINE_AA)
            x += int(letter * 1.35) + 1
    for i in range(5):
        y = int(h * (0.84 + 0.025 * i))
        cv2.line(image, (int(w * 0.1), y), (int(w * rng.uniform(0.4, 0.9)), y), dark, 1)


def _stripes(image, base, accent, rng) -> None:
    h, w = image.shape[:2]
    for y in np.linspace(0.12, 0.88, int(rng.integers(3, 6))):
        cv2.rectangle(image, (0, int(y * h)), (w, int((y + 0.06) * h)), accent, -1)


def _rings(image, base, accent, rng) -> None:
    h, w = image.shape[:2]
    for y in (0.55, 0.60, 0.75):
        cv2.rectangle(image, (0, int(y * h)), (w, int((y + 0.025) * h)), accent, -1)
    for _ in range(14):
        cv2.circle(image, (int(rng.uniform(0, w)), int(h * 0.68)), max(h // 60, 2), accent, -1, cv2.LINE_AA)


def _spots(image, base, accent, rng) -> None:
    h, w = image.shape[:2]
    field = noise(h, w, 14.0, rng)[..., None]
    image[...] = np.where(field > 1.7, accent, np.clip(image + 6 * field, 0, 255)).astype(np.uint8)
    image[: h // 24], image[-(h // 20) :] = accent, accent


def _wood(image, base, accent, rng) -> None:
    image[...] = wood(image.shape[0], image.shape[1], np.array(base), np.array(accent), rng)


_PATTERNS = {"plain": _plain, "label": _label, "stripes": _stripes, "rings": _rings, "spots": _spots, "wood": _wood}


def wood(height: int, width: int, light: np.ndarray, dark: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Wood grain running along the columns, (height, width, 3) uint8."""
    x = np.linspace(0.0, 1.0, width, dtype=np.float32)[None, :]
    bend = noise(height, width, max(height, width) / 1.2, rng, 2) * 0.012
    fibres = cv2.resize(rng.standard_normal((3, width)).astype(np.float32), (width, height))
    w = 0.5 + 0.35 * np.sin((x + bend) * 2 * np.pi * width / 28.0) + 0.18 * fibres
    return np.clip(light + (dark - light) * w[..., None], 0, 255).astype(np.uint8)


def table_top(kind: str, rng: np.random.Generator, size: int = 512) -> np.ndarray:
    """A table's surface (size, size, 3) uint8: "wood", "cloth", "plain" or "board"."""
    if kind == "wood":
        light = np.array([196, 152, 104]) * rng.uniform(0.6, 1.1)
        image = wood(size, size, light, light * 0.62, rng).astype(np.float32)
        for y in range(0, size, size // 5):  # planks
            image[:, y : y + 2] *= 0.5
            image[:, y : y + size // 5] *= rng.uniform(0.88, 1.08)
    else:
        colour = rng.uniform(40, 225) * np.array([1.0, 1.0, 1.0]) + rng.uniform(-14, 14, 3)
        image = np.ones((size, size, 3), np.float32) * colour
        image += 5.0 * noise(size, size, 120.0, rng)[..., None]
        if kind == "cloth":
            weave = np.indices((size, size)).sum(axis=0) % 4 < 2
            image *= np.where(weave, 1.06, 0.94)[..., None]
            image += 7.0 * noise(size, size, 60.0, rng, 2)[..., None]
        elif kind == "board":  # printed markers, as calibration boards have
            for x in range(16, size - 40, 96):
                for y in range(16, size - 40, 96):
                    cells = rng.integers(0, 2, (4, 4)) * 215.0 + 15.0
                    image[y : y + 40, x : x + 40] = 15.0
                    image[y + 6 : y + 34, x + 6 : x + 34] = np.kron(cells, np.ones((7, 7)))[..., None]
    return np.clip(image, 0, 255).astype(np.uint8)


def room_wall(rng: np.random.Generator, height: int = 128, width: int = 256) -> np.ndarray:
    """A wall with furniture-like blocks out of focus, (height, width, 3) uint8."""
    image = np.ones((height, width, 3), np.float32) * rng.uniform(70, 200) + rng.uniform(-8, 8, 3).astype(np.float32)
    for _ in range(int(rng.integers(5, 12))):
        x, y = rng.integers(0, width), rng.integers(0, height)
        w, h = rng.integers(10, 70), rng.integers(10, 80)
        colour = rng.uniform(20, 235) * np.ones(3) + rng.uniform(-18, 18, 3)
        cv2.rectangle(image, (int(x), int(y)), (int(x + w), int(y + h)), tuple(map(float, colour)), -1)
    image = cv2.GaussianBlur(image, (0, 0), 2.5)
    return np.clip(image + 4 * noise(height, width, 40.0, rng)[..., None], 0, 255).astype(np.uint8)
