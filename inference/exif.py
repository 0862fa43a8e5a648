"""The focal length that a photograph's EXIF tells, in pixels of the picture as it is now.

FocalLengthIn35mmFilm, which cameras and phones reckon over the picture's diagonal (43.27 mm on film), else FocalLength
with FocalPlaneXResolution. Turning a picture changes neither. The whole picture is taken to be there, at any size:
where PixelXDimension and PixelYDimension have another shape it was cut, and nothing is known. Read by Pillow; tags that
cannot be read are as good as none.
"""

import io
import math
import warnings
from collections.abc import Mapping
from typing import Any

from PIL import Image
from PIL.ExifTags import IFD, Base

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")
"""Those of Pillow's formats that carry EXIF."""
FILM_DIAGONAL = math.hypot(36.0, 24.0)  # mm
SHORTEST, LONGEST = 8.0, 2000.0  # mm on film: fisheyes, which no focal length describes, and telescopes lie beyond
SAME_SHAPE = 0.02  # of the ratio of sides: sizes are rounded, to multiples of 16 at times
_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 1e-3}  # FocalPlaneResolutionUnit; inches where it is absent


def exif_focal(data: bytes, width: int, height: int) -> float | None:
    """The focal length in px of a picture file whose picture has width x height px, turned or not; None unknown."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, and of tags that are cut short
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                # The base class's: that of PNG decodes the whole picture to look for tags behind it.
                tags = dict(Image.Image.getexif(image).get_ifd(IFD.Exif))
    except Exception:  # noqa: BLE001 - Pillow raises whatever it met in a damaged header
        return None
    return focal_of_tags(tags, width, height)


def focal_of_tags(tags: Mapping[int, Any], width: int, height: int) -> float | None:
    """The focal length in px by the tags of the Exif directory; None where they do not tell a sensible one."""
    sides = sorted((width, height))
    taken = sorted(_positive(tags, tag) or 0.0 for tag in (Base.ExifImageWidth, Base.ExifImageHeight))
    whole = taken[0] > 0
    if whole and abs(taken[0] / taken[1] * sides[1] / sides[0] - 1) > SAME_SHAPE:
        return None
    diagonal = math.hypot(width, height)
    film = _positive(tags, Base.FocalLengthIn35mmFilm)
    if film is None:
        focal, density = _positive(tags, Base.FocalLength), _positive(tags, Base.FocalPlaneXResolution)
        unit = _MM.get(int(_positive(tags, Base.FocalPlaneResolutionUnit) or 2))
        if focal is None or density is None or unit is None:
            return None
        resized = sides[1] / taken[1] if whole else 1.0
        film = focal * density / unit * resized / diagonal * FILM_DIAGONAL
    return film / FILM_DIAGONAL * diagonal if SHORTEST <= film <= LONGEST else None


def _positive(tags: Mapping[int, Any], tag: int) -> float | None:
    """A tag's number; None where it is absent, no number, or not above 0 (0 says unknown)."""
    try:
        value = float(tags[tag])
    except (LookupError, TypeError, ValueError, ArithmeticError):
        return None
    return value if math.isfinite(value) and value > 0 else None
