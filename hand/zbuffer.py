"""The z-buffer: triangles to per-sample face ids and depths, on the CPU, with no system library.

Image space throughout: pixels, y down, pixel i covers [i, i+1); depths are metres along the camera's z. The rules are
those of OpenGL as the authors' labeller used it (near plane, snapping to 1/256 px, sample positions), so that
the same kernel serves the labels and the synthesizer. Several meshes are drawn together by `concatenate`.
"""

import math
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..jit import njit, readonly
from .triangles import draw

PIXEL_CENTRE = np.array([[0.5, 0.5]])
"""One sample in the middle of the pixel."""

MULTISAMPLE_4 = np.array([[0.375, 0.875], [0.875, 0.625], [0.125, 0.375], [0.625, 0.125]])
"""The four sample positions (x, y) of OpenGL's 4x multi-sampling, in image space; the first one decides coverage."""

CULL = {"none": 0, "clockwise": 1, "counterclockwise": -1}
"""The turning senses of `rasterize` as numbers."""


@dataclass(frozen=True)
class Raster:
    """What every sample of a viewport sees.

    face: (S, h, w) int32, index into the faces given, -1 where nothing is hit.
    inverse_depth: (S, h, w) float32, 1/z in 1/m, 0 where nothing is hit.
    origin: (x, y) of the viewport's first pixel in the image; (0, 0) when no viewport was asked for.
    """

    face: np.ndarray
    inverse_depth: np.ndarray
    origin: tuple[int, int]


def rasterize(
    points_2d: np.ndarray,
    z: np.ndarray,
    faces: np.ndarray,
    *,
    width: int,
    height: int,
    samples: np.ndarray = PIXEL_CENTRE,
    cull: str = "none",
    near: float = 0.05,
    viewport: tuple[int, int, int, int] | None = None,
    onto: Raster | None = None,
    first_face: int = 0,
) -> Raster:
    """Draw triangles into a z-buffer (rules: the OpenGL pipeline of the H2ONet authors' labeller).

    points_2d: (V, 2) px, projected vertices; z: (V,) m; faces: (F, 3) vertex indices.
    samples: (S, 2) offsets (x, y) of the samples within their pixel.
    cull: "none", or the turning sense, as seen on the image (y down), of the faces to drop: "clockwise" drops
      (bx-ax)(cy-ay) - (by-ay)(cx-ax) > 0, "counterclockwise" the others.
    near: m; a face with any vertex at or before it is dropped whole.
    viewport: (x0, y0, x1, y1) px, end exclusive, cut to the image; only this part is drawn and returned, and the cost
      follows it. Default: the whole image.
    onto: an earlier result for the same viewport and samples to draw into (it is changed and returned); these faces
      then come after all that it holds, and their ids start at `first_face`.

    Vertices snap to floor(256 u + 0.5) / 256; edges are inclusive; 1/z is linear on the screen and kept as float32; the
    larger wins and a tie keeps the earlier face. Faces with NaN or infinite values and faces without area are dropped.
    Edge tests are exact within +-131072 px. Raises InputError for wrong shapes, an unknown `cull`, or faces that name
    vertices that do not exist.
    """
    points = np.ascontiguousarray(points_2d, dtype=np.float64)
    depths = np.ascontiguousarray(z, dtype=np.float64)
    triangles = np.ascontiguousarray(faces, dtype=np.int32)
    offsets = np.ascontiguousarray(samples, dtype=np.float64)
    _check(points, depths, triangles, offsets, cull)
    x0, y0, x1, y1 = (0, 0, width, height) if viewport is None else clip_viewport(viewport, width, height)
    shape = (len(offsets), y1 - y0, x1 - x0)
    raster = onto or Raster(np.full(shape, -1, np.int32), np.zeros(shape, np.float32), (x0, y0))
    if raster.face.shape != shape or raster.origin != (x0, y0):
        raise InputError(f"rasterize: onto has samples x rows x columns {raster.face.shape}, this viewport {shape}")
    # In whole numbers several edges are tested at once; elsewhere rounding tells.
    places = 256.0 * offsets
    whole = bool(((places >= 0) & (places <= 256) & (places == np.floor(places))).all())
    sense, out = CULL[cull], (raster.face, raster.inverse_depth)
    draw(points, depths, triangles, offsets, whole, x0, y0, sense, near, first_face, *out)
    return raster


def _check(points: np.ndarray, depths: np.ndarray, faces: np.ndarray, samples: np.ndarray, cull: str) -> None:
    if points.ndim != 2 or points.shape[1] != 2 or depths.shape != points.shape[:1]:
        raise InputError(f"rasterize: expected points_2d (V,2) and z (V,), found {points.shape} and {depths.shape}")
    if faces.ndim != 2 or faces.shape[1] != 3 or samples.ndim != 2 or samples.shape[1] != 2:
        raise InputError(f"rasterize: expected faces (F,3) and samples (S,2), found {faces.shape} and {samples.shape}")
    if faces.size and (faces.min() < 0 or faces.max() >= len(points)):
        raise InputError(f"rasterize: faces name vertices {faces.min()}..{faces.max()}, but there are {len(points)}")
    if cull not in CULL:
        raise InputError(f"rasterize: cull is {cull!r}, expected one of {', '.join(CULL)}")


def clip_viewport(viewport: tuple[int, int, int, int], width: int, height: int) -> tuple[int, int, int, int]:
    """The part of (x0, y0, x1, y1) px, end exclusive, that lies in the image; (0, 0, 0, 0) when none does."""
    x0, y0 = max(0, int(viewport[0])), max(0, int(viewport[1]))
    x1, y1 = min(width, int(viewport[2])), min(height, int(viewport[3]))
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else (0, 0, 0, 0)


@njit(f"UniTuple(float64, 4)({readonly('float64', 2)})")
def _bounds(points):
    """Smallest and largest finite x and y; +inf and -inf where there are none."""
    x0, y0, x1, y1 = np.inf, np.inf, -np.inf, -np.inf
    for i in range(points.shape[0]):
        x, y = points[i, 0], points[i, 1]
        if np.isfinite(x) and np.isfinite(y):
            x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x), max(y1, y)
    return x0, y0, x1, y1


def viewport_of(points_2d: np.ndarray, width: int, height: int, margin: int = 1) -> tuple[int, int, int, int]:
    """The smallest viewport with all finite points (V, 2) px and a margin, cut to the image; all 0 when empty."""
    x0, y0, x1, y1 = _bounds(np.ascontiguousarray(points_2d, np.float64))
    # Clamped as floats, inverted where there are no points: huge coordinates must never reach an integer.
    x0, y0 = min(max(x0, 0.0), float(width)), min(max(y0, 0.0), float(height))
    x1, y1 = min(max(x1, -margin - 1.0), float(width)), min(max(y1, -margin - 1.0), float(height))
    low, high = (math.floor(x0) - margin, math.floor(y0) - margin), (math.floor(x1) + margin, math.floor(y1) + margin)
    return clip_viewport((*low, high[0] + 1, high[1] + 1), width, height)


def concatenate(meshes: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Join meshes (points_2d (V,2), z (V,), faces (F,3)) into one; the faces of mesh i follow those of mesh i-1."""
    starts = np.cumsum([0] + [len(z) for _, z, _ in meshes[:-1]])
    return (
        np.concatenate([points for points, _, _ in meshes]),
        np.concatenate([z for _, z, _ in meshes]),
        np.concatenate([faces + start for (_, _, faces), start in zip(meshes, starts, strict=True)]).astype(np.int32),
    )
