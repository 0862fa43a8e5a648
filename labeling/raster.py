"""What a camera sees of meshes: the renderer interface of the label rules, and its default, the numba z-buffer.

Metres in the OpenCV camera frame, pixels with pixel i covering [i, i+1), part ids 0..5 (thumb, index, middle, ring,
little, palm) and 255 for none. A renderer answers two questions about a viewport of the image: which part of the hand
a pixel shows under the four-sample rule of the H2ONet authors, and how far away the first surface is at the pixel's
centre. `labeling.gl` answers the same questions with OpenGL.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..hand.parts import NOTHING, PALM
from ..hand.samples import parts_at
from ..hand.zbuffer import MULTISAMPLE_4, rasterize
from ..jit import njit, readonly

NEAR = 0.05
"""m; the near plane of the authors' renderer: a face with a vertex at or before it is not drawn."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """A mesh before the camera: vertices (V, 3) m, faces (F, 3) int32, points_2d (V, 2) px = the projected vertices."""

    vertices: np.ndarray
    faces: np.ndarray
    points_2d: np.ndarray


@dataclass(frozen=True, eq=False)
class View:
    """A pinhole camera (intrinsics (3, 3), image of width x height px) and the part (x0, y0, x1, y1) px to draw."""

    intrinsics: np.ndarray
    width: int
    height: int
    viewport: tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class PartImage:
    """Parts of the hand in a viewport.

    part: (h, w) uint8; p where the pixel is covered and all four samples show part p (for the palm, "show" includes
      samples that hit nothing: in the original both are white), 255 elsewhere.
    covered: (h, w) bool; the pixel belongs to the render, i.e. its first sample hits the hand.
    origin: (x, y) px of the viewport's first pixel.
    """

    part: np.ndarray
    covered: np.ndarray
    origin: tuple[int, int]


class Renderer(Protocol):
    """Draws meshes; one is kept per process."""

    name: str
    sparing: bool
    """Whether it may leave out what cannot change a label (`labeling.hiding`): depths are `hand.zbuffer`'s."""

    def parts(self, hand: Mesh, face_parts: np.ndarray, view: View, wanted: np.ndarray | None = None) -> PartImage:
        """The hand's parts; face_parts: (F,) uint8. Faces that turn clockwise on the image are culled.

        wanted: (h, w) uint8, not 0 where `part` is needed: it may be 255 at all other pixels. None: everywhere.
        """
        ...

    def inverse_depth(self, meshes: Sequence[Mesh], view: View) -> np.ndarray:
        """(h, w) float32, 1/z in 1/m of the first surface at each pixel's centre, 0 where there is none; no culling."""
        ...

    def close(self) -> None:
        """Free what the renderer holds."""
        ...


@njit(
    f"void(int32[:, :, ::1], {readonly('uint8', 1)}, uint8, uint8[:, ::1])",
)
def _parts_of_samples(face, face_parts, palm, out):
    """Combine the face ids of four samples into the pixel's part; `out` comes filled with 255."""
    for y in range(face.shape[1]):
        for x in range(face.shape[2]):
            first = face[0, y, x]
            if first < 0:
                continue
            part = face_parts[first]
            same = True
            for s in range(1, face.shape[0]):
                hit = face[s, y, x]
                same &= (face_parts[hit] if hit >= 0 else palm) == part
            if same:
                out[y, x] = part


def _parts_where(hand: Mesh, face_parts: np.ndarray, view: View, wanted: np.ndarray) -> PartImage | None:
    """The parts at wanted pixels only, several times faster; None for a hand that is too large in the image for it."""
    arrays = (hand.points_2d, np.ascontiguousarray(hand.vertices[:, 2]), hand.faces, face_parts)
    origin = view.viewport[:2]
    found = parts_at(*arrays, wanted, origin, PALM, NOTHING, NEAR)
    return None if found is None else PartImage(*found, origin)


class CpuRenderer:
    """The numba z-buffer: the same labels on every machine, no system libraries."""

    name = "cpu"

    def __init__(self, sparing: bool = True) -> None:
        """Without `sparing` everything is drawn; labels are the same, tests hold the one against the other."""
        self.sparing = sparing

    def parts(self, hand: Mesh, face_parts: np.ndarray, view: View, wanted: np.ndarray | None = None) -> PartImage:
        """See `Renderer.parts`."""
        if self.sparing and wanted is not None:
            image = _parts_where(hand, face_parts, view, wanted)
            if image is not None:
                return image
        raster = rasterize(
            hand.points_2d,
            hand.vertices[:, 2],
            hand.faces,
            width=view.width,
            height=view.height,
            samples=MULTISAMPLE_4,
            cull="clockwise",
            near=NEAR,
            viewport=view.viewport,
        )
        part = np.full(raster.face.shape[1:], NOTHING, np.uint8)
        _parts_of_samples(raster.face, face_parts, PALM, part)
        return PartImage(part, raster.face[0] >= 0, raster.origin)

    def inverse_depth(self, meshes: Sequence[Mesh], view: View) -> np.ndarray:
        """See `Renderer.inverse_depth`."""
        raster = None
        for mesh in meshes:
            raster = rasterize(
                mesh.points_2d,
                mesh.vertices[:, 2],
                mesh.faces,
                width=view.width,
                height=view.height,
                near=NEAR,
                viewport=view.viewport,
                onto=raster,
            )
        if raster is None:
            x0, y0, x1, y1 = view.viewport
            return np.zeros((y1 - y0, x1 - x0), np.float32)
        return raster.inverse_depth[0]

    def close(self) -> None:
        """Nothing is held."""
