"""What lens, sensor and file do to a crop: exposure, colour, blur, coarseness, noise and JPEG blocks, drawn anew.

For networks that are to see other cameras than those of their training (recipe key augment_photo). Pictures only; no
label moves. Crops are (3, 128, 128) float32 RGB in [0, 1]; widths of blur are px of a crop.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_GREY = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class PhotoDraw:
    """What happens to the pictures of one window, in this order; its frames share all but the noise.

    gain per RGB channel; saturation and contrast as factors; gamma; blur, the deviation of a Gaussian, px; motion, the
    length (px) and the direction (rad) of a smear; coarse, how often smaller the picture once was; noise, its
    deviation; quality of a JPEG, 0 for none; seed of the noise. The defaults do nothing.
    """

    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    saturation: float = 1.0
    contrast: float = 1.0
    gamma: float = 1.0
    blur: float = 0.0
    motion: tuple[float, float] = (0.0, 0.0)
    coarse: float = 1.0
    noise: float = 0.0
    quality: int = 0
    seed: int = 0


def draw_photo(rng: np.random.Generator) -> PhotoDraw:
    """One set of parameters; always takes the same number of random values. Each blemish befalls a part of them."""
    u, chance = rng.random(11), rng.random(5)
    seed = int(rng.integers(2**31))
    exposure = 0.7 + 0.7 * u[0]
    gain = tuple((exposure * (0.85 + 0.3 * u[1:4])).tolist())
    return PhotoDraw(
        gain=gain,
        saturation=1.5 * u[4],
        contrast=0.6 + 0.8 * u[5],
        gamma=float(2.0 ** (1.2 * u[6] - 0.6)),
        blur=1.6 * u[7] if chance[0] < 0.4 else 0.0,
        motion=(7.0 * u[8], np.pi * chance[4]) if chance[1] < 0.2 else (0.0, 0.0),
        coarse=1.0 + 2.0 * u[9] if chance[2] < 0.3 else 1.0,
        noise=0.06 * u[10] ** 2,
        quality=int(15 + 80 * u[9]) if chance[3] < 0.4 else 0,
        seed=seed,
    )


def spoil(image: np.ndarray, draw: PhotoDraw, frame: int) -> None:
    """Change a crop in place as `draw` says; `frame` is its number in the window, from which its noise follows."""
    picture = np.ascontiguousarray(image.transpose(1, 2, 0)) * np.array(draw.gain, np.float32)
    grey = (picture @ _GREY)[..., None]
    picture = grey + draw.saturation * (picture - grey)
    picture = 0.5 + draw.contrast * (picture - 0.5)
    picture = np.clip(picture, 0.0, 1.0) ** np.float32(draw.gamma)
    if draw.blur > 0.1:
        picture = cv2.GaussianBlur(picture, (0, 0), draw.blur)
    if draw.motion[0] > 1.0:
        picture = cv2.filter2D(picture, -1, smear(*draw.motion), borderType=cv2.BORDER_REFLECT_101)
    if draw.coarse > 1.0:
        size = picture.shape[1], picture.shape[0]
        small = max(2, round(size[0] / draw.coarse)), max(2, round(size[1] / draw.coarse))
        picture = cv2.resize(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), size)
    if draw.noise > 0.0:
        grain = np.random.default_rng([draw.seed, frame]).standard_normal(picture.shape, dtype=np.float32)
        picture = picture + np.float32(draw.noise) * grain
    picture = np.clip(picture, 0.0, 1.0)
    if draw.quality:
        _, data = cv2.imencode(".jpg", (255.0 * picture).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, draw.quality])
        picture = np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.float32) / 255.0
    image[...] = picture.transpose(2, 0, 1)


def smear(length: float, direction: float) -> np.ndarray:
    """A kernel (k, k) float32 that sums to 1: a line of `length` px through its middle."""
    half = int(np.ceil(length / 2))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    for at in np.linspace(-length / 2, length / 2, 4 * half + 1):
        x, y = half + at * np.cos(direction), half + at * np.sin(direction)
        kernel[round(y), round(x)] += 1.0
    return kernel / kernel.sum()
