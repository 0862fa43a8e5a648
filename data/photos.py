"""Photographs as bytes: their size, whether they are whole, and a part of them as a JPEG of its own.

A JPEG can be cut along its coding units without decoding a pixel (lossless, libturbojpeg); anything else is decoded and
encoded again at quality 95 without chroma subsampling. Orientation tags are ignored, as the datasets' own readers do.
"""

from __future__ import annotations

import ctypes.util
import functools
import os
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..errors import InputError

LOSSLESS, REENCODED = "jpeg-lossless", "jpeg-q95-444"
CODECS = (LOSSLESS, REENCODED)
MOST_PIXELS = 1 << 26
"""Of a picture that is decoded, 8192 x 8192: more is a mistake or meant to fill the memory."""

_SEGMENT = struct.Struct(">BBH")
_SOI, _EOI, _SOS = b"\xff\xd8", b"\xff\xd9", b"\xff\xda"
_PNG, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_READ = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
_ENCODE = [
    cv2.IMWRITE_JPEG_QUALITY,
    95,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
]
_LIBRARIES = ("libturbojpeg.so.0", "libturbojpeg.so", "libturbojpeg.dylib", "turbojpeg.dll")


class BadPhoto(Exception):
    """This photo cannot be used; the text says why. It concerns one frame, not the whole run."""


def photo_size(data: bytes) -> tuple[int, int]:
    """Width and height of a JPEG or PNG from its header; BadPhoto when it is neither, or does not reach its end marker.

    Decoders fill the lost part of a truncated photo with grey and say nothing: the end marker tells.
    """
    size = _header_size(data)
    if data.startswith(_SOI) and data.rfind(_EOI) < data.rfind(_SOS):
        raise BadPhoto(f"truncated JPEG: no end marker in {len(data)} bytes")
    if data.startswith(_PNG) and _PNG_END not in data[-64:]:
        raise BadPhoto(f"truncated PNG: no end chunk in {len(data)} bytes")
    return size


def _header_size(data: bytes) -> tuple[int, int]:
    if data.startswith(_SOI):
        width, height = _jpeg_header(data)[0]
    elif data.startswith(_PNG) and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
    else:
        raise BadPhoto(f"neither JPEG nor PNG ({len(data)} bytes)")
    check_pixels(width, height)
    return width, height


def check_pixels(width: int, height: int) -> None:
    """BadPhoto for a picture of more than `MOST_PIXELS` pixels."""
    if width * height > MOST_PIXELS:
        raise BadPhoto(f"too large: {width} x {height} pixels, at most {MOST_PIXELS} are read; make it smaller")


def coding_unit(data: bytes) -> tuple[int, int]:
    """Width and height in pixels of a JPEG's coding units (16 x 16 for 4:2:0): where it can be cut."""
    return _jpeg_header(data)[1]


def _jpeg_header(data: bytes) -> tuple[tuple[int, int], tuple[int, int]]:
    position = 2
    while position + 4 <= len(data):
        start, marker, length = _SEGMENT.unpack_from(data, position)
        if start != 0xFF:
            break
        if marker == 0xFF:
            position += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # SOF0..15 without DHT, JPG, DAC
            frame = data[position + 4 : position + 2 + length]
            if len(frame) < 6 or len(frame) < 6 + 3 * frame[5]:
                break
            height, width = struct.unpack(">HH", frame[1:5])
            factors = [frame[7 + 3 * i] for i in range(frame[5])]
            if not all(f >> 4 and f & 15 for f in factors):
                break
            if len(factors) == 1:
                return (width, height), (8, 8)
            return (width, height), (8 * max(f >> 4 for f in factors), 8 * max(f & 15 for f in factors))
        position += 2 + length
    raise BadPhoto(f"damaged JPEG: no frame header in {len(data)} bytes")


def decode(data: bytes | np.ndarray) -> np.ndarray:
    """Pixels of a JPEG or PNG: (height, width, 3) uint8 **BGR**; BadPhoto for anything else, and when it is damaged."""
    content = data if isinstance(data, bytes) else data.tobytes()
    if not content:
        raise BadPhoto("empty file")
    _header_size(content)
    buffer = np.frombuffer(content, np.uint8)
    image = cv2.imdecode(buffer, _READ)
    if image is None:
        raise BadPhoto(f"cannot be decoded ({len(content)} bytes)")
    return image


def encode(suffix: str, image: np.ndarray, options: Sequence[int] = ()) -> bytes:
    """Pixels (height, width) or (height, width, 3) **BGR** as a JPEG or PNG file by `suffix`; BadPhoto when empty."""
    try:
        done, encoded = cv2.imencode(suffix, image, list(options))
    except cv2.error:
        done = False
    if not done:
        raise BadPhoto(f"pixels of shape {image.shape} cannot be encoded as {suffix}")
    return encoded.tobytes()


def cut(data: bytes, region: tuple[int, int, int, int], codec: str) -> bytes:
    """A part of a photo as a JPEG: region x, y, width, height (for lossless cuts with x, y on coding units).

    BadPhoto when the photo is damaged; InputError when `codec` needs libturbojpeg and this machine has none.
    """
    x, y, width, height = region
    if codec == LOSSLESS:
        return _cut_lossless(data, region)
    return encode(".jpg", decode(data)[y : y + height, x : x + width], _ENCODE)


def _cut_lossless(data: bytes, region: tuple[int, int, int, int]) -> bytes:
    library = turbojpeg()
    if library is None:
        raise InputError(
            "lossless cutting: libturbojpeg or PyTurboJPEG is missing on this machine; install libturbojpeg0 and"
            " 'h2onet[jpeg]', or start a new store with codec='jpeg-q95-444'"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the library warns where the stream ends early or holds wrong codes
        try:
            return library.crop(data, *region, copynone=True)
        except (OSError, UserWarning) as error:
            raise BadPhoto(f"damaged JPEG: {error}") from None


@functools.cache
def turbojpeg() -> Any | None:
    """PyTurboJPEG's handle, or None without package or library; TURBOJPEG may name the library's file."""
    try:
        from turbojpeg import TurboJPEG
    except ImportError:
        return None
    named = os.environ.get("TURBOJPEG")
    if named and not Path(named).is_file():
        raise InputError(f"TURBOJPEG={named}: no such file; point it at libturbojpeg or unset it")
    found = ctypes.util.find_library("turbojpeg")
    for candidate in [named] if named else [None, *([found] if found else []), *_LIBRARIES]:
        try:
            return TurboJPEG(candidate)
        except (RuntimeError, OSError, AttributeError):  # not found, not loadable, or without the 2.x interface
            continue
    return None


def best_codec(image: str) -> str:
    """The codec for photos named like `image`: lossless for JPEGs where libturbojpeg is there, else encoded again."""
    is_jpeg = Path(image).suffix.lower() in (".jpg", ".jpeg")
    return LOSSLESS if is_jpeg and turbojpeg() is not None else REENCODED
