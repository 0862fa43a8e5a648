"""The pictures of a folder, one after the other, as `h2o predict` reads them.

A picture that cannot be read comes with a reason; the run continues. It is read as a viewer shows it: cameras'
orientation tags are applied (the datasets' own readers, in `data`, ignore them).
"""

import io
import stat
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..data.photos import BadPhoto, check_pixels, photo_size
from ..errors import InputError, one_line
from .exif import exif_focal

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff"),
    *(".avif", ".jp2", ".gif", ".ppm"),
)
UNREAD = (
    *(".heic", ".heif", ".hif", ".jxl", ".psd", ".exr", ".hdr", ".raw"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw"),
)
"""Pictures of phones and cameras that OpenCV does not decode."""
MOST_BYTES = 1 << 29  # of one file: more than any picture of `MOST_PIXELS` takes
_APPLE_DOUBLE = b"\x00\x05\x16\x07"  # macOS's notes on ._NAME's neighbour
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "AVIF", "JPEG2000", "GIF", "PPM")
_MOVING = ("GIF", "PNG", "WEBP", "AVIF")  # a JPEG of several pictures shows its first, a TIFF has pages
_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"\x00\x00\x00\x0cjP  ", b"\x00\x00\x00\x0cJXL ", b"8BPS")
_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


@dataclass(frozen=True)
class InputFrame:
    """One frame: its name (a file name or a frame number) and its picture (H, W, 3) uint8 RGB, or why there is none.

    exif_focal: the focal length in px of the picture, where the file's EXIF tells it.
    """

    name: str
    picture: NDArray[np.uint8] | None
    reason: str = ""
    exif_focal: float | None = None


@dataclass(frozen=True)
class PictureFolder:
    """The pictures of a folder by name, and how many files are pictures that are not read, by suffix."""

    paths: list[Path]
    unread: Counter[str]

    @classmethod
    def open(cls, folder: Path) -> "PictureFolder":
        """Find the pictures in a folder; InputError where there are none that are read.

        Their suffix tells; a file without one is read where it begins like a JPEG or PNG. Files of other programs are
        passed over; pictures of kinds that are not read are counted.
        """
        if not folder.is_dir():
            what = "is a file; give the folder it lies in" if folder.is_file() else "no such folder"
            raise InputError(f"--images {folder}: {what}")
        paths, unread = [], Counter[str]()
        for path in sorted(folder.iterdir()):
            suffix = path.suffix.lower()
            if path.name.startswith("._") and _first_bytes(path).startswith(_APPLE_DOUBLE):
                continue
            if suffix in SUFFIXES or (suffix == "" and _first_bytes(path).startswith(_STARTS[:2])):
                paths.append(path)
            elif suffix in UNREAD or _is_picture(_first_bytes(path)):
                unread[suffix or "without a suffix"] += 1
        found = cls(paths, unread)
        if not paths:
            why = f"; {found.unread_line()}" if unread else ""
            raise InputError(f"--images {folder}: holds no picture that is read ({', '.join(SUFFIXES)}){why}")
        return found

    def unread_line(self) -> str:
        """What is not read and what to do about it, in one line; "" where nothing is left out."""
        if not self.unread:
            return ""
        kinds = ", ".join(f"{count} {one_line(suffix, 20)}" for suffix, count in self.unread.most_common(8))
        return (
            f"{self.unread.total()} pictures are not read ({kinds}); convert them to JPEG or PNG, or name them so where"
            " they are"
        )

    def read(self) -> Iterator[InputFrame]:
        """The pictures in order of name; one that cannot be decoded comes with the reason."""
        for path in self.paths:
            try:
                data = _read_file(path)
                picture = decode_upright(data)
                height, width = picture.shape[:2]
                yield InputFrame(path.name, picture, exif_focal=exif_focal(data, width, height))
            except BadPhoto as error:
                yield InputFrame(path.name, None, str(error))
            except OSError as error:
                yield InputFrame(path.name, None, error.strerror or str(error))


def _first_bytes(path: Path) -> bytes:
    """The first 32 bytes of a regular file; none of anything else, nor where it cannot be opened."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return b""
        with path.open("rb") as file:
            return file.read(32)
    except OSError:
        return b""


def _is_picture(head: bytes) -> bool:
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return webp or head.startswith(_STARTS) or (head[4:8] == b"ftyp" and head[8:12] in _BRANDS)


def _read_file(path: Path) -> bytes:
    """The bytes of a regular file; BadPhoto for folders, devices and files beyond `MOST_BYTES`."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise BadPhoto(f"is {'a folder' if stat.S_ISDIR(status.st_mode) else 'no file'}, expected a picture")
    if status.st_size > MOST_BYTES:
        raise BadPhoto(f"has {status.st_size} bytes, at most {MOST_BYTES} are read")
    return path.read_bytes()


def decode_upright(data: bytes) -> NDArray[np.uint8]:
    """Decode a picture to (H, W, 3) uint8 RGB and apply its orientation tag.

    BadPhoto for what is no whole picture, has more than `MOST_PIXELS` pixels, or moves.
    """
    if not data:
        raise BadPhoto("empty file")
    if data.startswith(_STARTS[:2]):
        photo_size(data)  # decoders of some versions fill what a broken copy lacks with grey
    _check_header(data)
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:  # more pixels than OpenCV takes
        raise BadPhoto(f"cannot be decoded as a picture ({error.err})") from None
    if picture is None:
        raise BadPhoto("cannot be decoded as a picture")
    return np.asarray(picture, np.uint8)[..., ::-1]


def _check_header(data: bytes) -> None:
    """BadPhoto for a picture with more than `MOST_PIXELS` pixels, and for an animation, before a pixel is decoded.

    What Pillow does not know (TIFF with 16 bits per channel) is left to OpenCV and its own limit.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes; the limit here is lower
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                width, height = image.size
                moving = image.format in _MOVING and getattr(image, "n_frames", 1) > 1
    except Image.DecompressionBombError as error:
        raise BadPhoto(f"too many pixels ({error})") from None
    except Exception:  # noqa: BLE001 - Pillow's plugins raise whatever they meet in a damaged header
        return
    check_pixels(width, height)
    if moving:
        raise BadPhoto("is an animation; give it as --video")
