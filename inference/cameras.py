"""The camera of a picture: intrinsics that were given, else by EXIF, else by a field of view, else assumed.

Pixels of the picture as a viewer shows it. A field of view is degrees across the longer side, so that turned pictures
have the same one.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

INTRINSICS, EXIF, FOV = "intrinsics", "exif", "fov"
FOCAL_SHARE = {INTRINSICS: 0.0, EXIF: 0.08, FOV: 0.1}
"""How far off the focal length may be, as a share of it, by where it comes from (docs/predict.md says why)."""
NARROWEST, WIDEST = 5.0, 150.0  # degrees
ASSUMED_FOCAL = 1.2  # of the longer side, where nothing is known: a view of 45 degrees


@dataclass(frozen=True, eq=False)
class Camera:
    """intrinsics (3, 3) px, and where they come from: "intrinsics", "exif", "fov", or None where they are assumed."""

    intrinsics: NDArray[np.float64]
    source: str | None = INTRINSICS

    @property
    def focal_share(self) -> float:
        """How far off the focal length may be, as a share of it; of an assumed one nothing is known: 0."""
        return 0.0 if self.source is None else FOCAL_SHARE[self.source]


def picture_camera(
    width: int, height: int, intrinsics: NDArray | None = None, exif: float | None = None, fov: float | None = None
) -> Camera:
    """The camera of a picture of width x height px, by the first that is known.

    intrinsics (3, 3) px; exif: a focal length in px; fov: degrees across the longer side. Both of these, and what is
    assumed without any, have the principal point in the middle.
    """
    if intrinsics is not None:
        return Camera(np.asarray(intrinsics, np.float64))
    if exif is not None:
        return Camera(_centred(exif, width, height), EXIF)
    if fov is None:
        return Camera(assumed_intrinsics(width, height), None)
    check_fov(fov)
    return Camera(_centred(max(width, height) / 2 / math.tan(math.radians(fov) / 2), width, height), FOV)


def check_fov(fov: float) -> None:
    """InputError for a field of view that no common lens has."""
    if not NARROWEST <= fov <= WIDEST:  # also for what is no number
        raise InputError(
            f"--fov {fov:g}: expected degrees across the picture's longer side, {NARROWEST:g} to {WIDEST:g};"
            " that of a lens of F mm (35-mm equivalent) is 2 atan(18 / F)"
        )


def assumed_intrinsics(width: int, height: int) -> NDArray[np.float64]:
    """(3, 3) px for a picture of unknown camera: the principal point in the middle, a common field of view."""
    return _centred(ASSUMED_FOCAL * max(width, height), width, height)


def _centred(focal: float, width: int, height: int) -> NDArray[np.float64]:
    return np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])
