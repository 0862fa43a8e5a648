"""The renderer interface on OpenGL: pyrender on EGL, one context kept per process, a viewport round the hand.

Same questions, same units as `labeling.raster`. Nothing of OpenGL is imported before a renderer is made. Two tricks:

* pyrender resolves its four samples to one averaged colour. Parts are therefore coded so that every average can be
  taken apart again: two parts per 8-bit channel, worth 10 and 50 per sample, so an average tells how many of the four
  samples saw which part, and a mixed pixel can never pass for another part.
* The depth that survives the resolve is that of sample 0, which lies at (.375, .875) in its pixel. Where the depth at
  the pixel's centre is wanted, the principal point moves by the difference.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..hand.parts import NOTHING, PALM, PARTS
from ..hand.zbuffer import MULTISAMPLE_4, PIXEL_CENTRE
from .egl import open_offscreen
from .raster import NEAR, Mesh, PartImage, View

FAR = 100.0
"""m; pyrender's own far plane."""

_SMALL = 256
_CODES = (40, 200)
_TO_OPENGL = np.array([1.0, -1.0, -1.0])


class GlRenderer:
    """pyrender's offscreen renderer behind `labeling.raster.Renderer`.

    Raises InputError naming the packages it lacks.
    """

    name = "pyrender"
    sparing = False

    def __init__(self) -> None:
        """Open an EGL context."""
        self._size = (_SMALL, _SMALL)
        pyrender, self._offscreen = open_offscreen(*self._size)
        self._pyrender = pyrender
        self._scene = pyrender.Scene(bg_color=(0.0, 0.0, 0.0, 0.0), ambient_light=(1.0, 1.0, 1.0))
        self._camera = pyrender.IntrinsicsCamera(1.0, 1.0, 0.0, 0.0, znear=NEAR, zfar=FAR)
        self._scene.add(self._camera, pose=np.eye(4))
        self._material = pyrender.MetallicRoughnessMaterial(baseColorFactor=(1.0, 1.0, 1.0, 1.0), doubleSided=False)

    def parts(self, hand: Mesh, face_parts: np.ndarray, view: View, wanted: np.ndarray | None = None) -> PartImage:
        """See `labeling.raster.Renderer.parts`; draws all pixels."""
        x0, y0, x1, y1 = view.viewport
        shape = (y1 - y0, x1 - x0)
        if 0 in shape:
            return PartImage(np.full(shape, NOTHING, np.uint8), np.zeros(shape, bool), (x0, y0))
        colours = np.zeros((len(PARTS), 4), np.float32)
        colours[np.arange(6), np.arange(6) // 2] = np.tile(_CODES, 3) / 255.0
        colours[:, 3] = 1.0
        # Vertices are repeated per face, so that a face has one colour.
        corners = self._primitive(hand.vertices[hand.faces.ravel()], None, np.repeat(colours[face_parts], 3, axis=0))
        colour, depth = self._draw([corners], view, np.zeros(2), cull=True)
        covered = depth > 0
        part = np.where(covered & (colour[..., :2] == 0).all(axis=-1), PALM, NOTHING).astype(np.uint8)
        for p in range(PALM):
            four = np.abs(colour[..., p // 2].astype(np.int16) - _CODES[p % 2]) <= 2
            part[four & covered] = p
            # The palm needs that no sample shows a finger; the channel it shares with the little finger tells.
        shared = (colour[..., 2].astype(np.int16) + 5) % 50 >= 10
        part[(part == PALM) & shared] = NOTHING
        return PartImage(part, covered, (x0, y0))

    def inverse_depth(self, meshes: Sequence[Mesh], view: View) -> np.ndarray:
        """See `labeling.raster.Renderer.inverse_depth`."""
        x0, y0, x1, y1 = view.viewport
        if not meshes or x0 == x1:
            return np.zeros((y1 - y0, x1 - x0), np.float32)
        shift = MULTISAMPLE_4[0] - PIXEL_CENTRE[0]
        primitives = [self._primitive(mesh.vertices, mesh.faces) for mesh in meshes]
        _, depth = self._draw(primitives, view, shift, cull=False)
        return np.divide(1.0, depth, out=np.zeros_like(depth), where=depth > 0)

    def _primitive(self, vertices: np.ndarray, faces: np.ndarray | None, colours: np.ndarray | None = None) -> Any:
        return self._pyrender.Primitive(
            positions=(vertices * _TO_OPENGL).astype(np.float32),
            indices=faces,
            color_0=colours,
            material=self._material,
        )

    def _draw(self, primitives: list[Any], view: View, shift: np.ndarray, cull: bool) -> tuple[np.ndarray, np.ndarray]:
        """Colour (h, w, 3) uint8 and depth (h, w) float32 m (0 = nothing) of the viewport; shift: px, of the image."""
        x0, y0, x1, y1 = view.viewport
        # Few sizes, so that the frame buffer is seldom made anew.
        small = x1 - x0 <= _SMALL and y1 - y0 <= _SMALL
        size = (_SMALL, _SMALL) if small else (view.width, view.height)
        self._offscreen.viewport_width, self._offscreen.viewport_height = size
        k = np.asarray(view.intrinsics, np.float64)
        self._camera.fx, self._camera.fy = k[0, 0], k[1, 1]
        self._camera.cx, self._camera.cy = k[0, 2] - x0 + shift[0], k[1, 2] - y0 + shift[1]
        node = self._scene.add(self._pyrender.Mesh(primitives))
        flags = self._pyrender.RenderFlags.FLAT
        if not cull:
            flags |= self._pyrender.RenderFlags.SKIP_CULL_FACES  # DEPTH_ONLY would cull whatever the flags say
        try:
            colour, depth = self._offscreen.render(self._scene, flags=flags)  # pyright: ignore[reportGeneralTypeIssues]
        finally:
            self._scene.remove_node(node)
        return colour[: y1 - y0, : x1 - x0], depth[: y1 - y0, : x1 - x0]

    def close(self) -> None:
        """Free the context and everything in it."""
        self._offscreen.delete()
