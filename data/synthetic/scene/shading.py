"""Pictures from the z-buffer: colour, identity and depth of every pixel, with light, shadows (`shadows`) and textures.

Table's frame for positions, normals and lights (m, unit vectors); image space as in `hand.zbuffer`; linear RGB float32.
A pixel is shaded once at its centre; where its four outer samples see different things, at each of them.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from ....hand.zbuffer import MULTISAMPLE_4, rasterize
from ....jit import njit
from .room import HEIGHT, WIDTH, Backdrop, Camera, Geometry, Look
from .shadows import SCALE, ShadowMap, light_share

SAMPLES = np.concatenate([np.array([[0.5, 0.5]]), MULTISAMPLE_4])
"""Sample 0, the centre, decides identity and depth; the other four smooth the edges."""


# Numba's caches on disk name these three types: rename or move one, and programs with an older cache fail to start.
class _Mesh(NamedTuple):
    """A `Geometry` seen by a camera, as the kernels take it; points in px, eye = the camera in the table's frame."""

    points: np.ndarray
    inverse_depth: np.ndarray
    vertices: np.ndarray
    normals: np.ndarray
    colours: np.ndarray
    uv: np.ndarray
    faces: np.ndarray
    identity: np.ndarray
    texture: np.ndarray
    textures: np.ndarray
    shine: np.ndarray
    eye: np.ndarray


class _Light(NamedTuple):
    """Lights, ambient light and the first light's shadow map."""

    directions: np.ndarray
    colours: np.ndarray
    ambient: np.ndarray
    axes: np.ndarray
    centre: np.ndarray
    nearest: np.ndarray
    scale: float


class _Ground(NamedTuple):
    """A `room.Backdrop` as the kernels take it."""

    colour: np.ndarray
    depth: np.ndarray
    share: np.ndarray  # (H, W) float32, of the first light


@njit(fastmath=True)
def _paint_of(f, wa, wb, wc, mesh, out):
    """Paint of face f, without light, where its corners weigh wa, wb, wc: its texture or its corners' colours."""
    textures, uv, colours = mesh.textures, mesh.uv, mesh.colours
    a, b, c = mesh.faces[f, 0], mesh.faces[f, 1], mesh.faces[f, 2]
    t = mesh.texture[f]
    if t < 0:
        for k in range(3):
            out[k] = wa * colours[a, k] + wb * colours[b, k] + wc * colours[c, k]
        return
    size = textures.shape[1]
    u = min(max((wa * uv[a, 0] + wb * uv[b, 0] + wc * uv[c, 0]) * size - 0.5, 0.0), size - 1.001)
    v = min(max((1.0 - (wa * uv[a, 1] + wb * uv[b, 1] + wc * uv[c, 1])) * size - 0.5, 0.0), size - 1.001)
    i, j = int(u), int(v)
    fu, fv = u - i, v - j
    for k in range(3):
        top = textures[t, j, i, k] * (1 - fu) + textures[t, j, i + 1, k] * fu
        bottom = textures[t, j + 1, i, k] * (1 - fu) + textures[t, j + 1, i + 1, k] * fu
        out[k] = top * (1 - fv) + bottom * fv


@njit(fastmath=True)
def _surface(px, py, f, mesh, light, out):
    """Colour of face f seen through the image point (px, py), into out (3,)."""
    points, vertices, normals, iz = mesh.points, mesh.vertices, mesh.normals, mesh.inverse_depth
    a, b, c = mesh.faces[f, 0], mesh.faces[f, 1], mesh.faces[f, 2]
    ax, ay, bx, by, cx, cy = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    wa = ((bx - px) * (cy - py) - (by - py) * (cx - px)) / area * iz[a]
    wb = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) / area * iz[b]
    wc = ((ax - px) * (by - py) - (ay - py) * (bx - px)) / area * iz[c]
    wa, wb, wc = max(wa, 0.0), max(wb, 0.0), max(wc, 0.0)
    total = wa + wb + wc + 1e-12
    wa, wb, wc = wa / total, wb / total, wc / total
    x = wa * vertices[a, 0] + wb * vertices[b, 0] + wc * vertices[c, 0]
    y = wa * vertices[a, 1] + wb * vertices[b, 1] + wc * vertices[c, 1]
    z = wa * vertices[a, 2] + wb * vertices[b, 2] + wc * vertices[c, 2]
    nx = wa * normals[a, 0] + wb * normals[b, 0] + wc * normals[c, 0]
    ny = wa * normals[a, 1] + wb * normals[b, 1] + wc * normals[c, 1]
    nz = wa * normals[a, 2] + wb * normals[b, 2] + wc * normals[c, 2]
    length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
    nx, ny, nz = nx / length, ny / length, nz / length
    ex, ey, ez = mesh.eye[0] - x, mesh.eye[1] - y, mesh.eye[2] - z
    length = np.sqrt(ex * ex + ey * ey + ez * ez)
    ex, ey, ez = ex / length, ey / length, ez / length
    if nx * ex + ny * ey + nz * ez < 0.0:  # the inside of a bowl
        nx, ny, nz = -nx, -ny, -nz
    _paint_of(f, wa, wb, wc, mesh, out)
    # a soft sky above, the table's reflection below, darker close to the table
    up = 0.5 + 0.5 * nz
    contact = 1.0 - 0.45 * max(0.0, 1.0 - max(z, 0.0) / 0.04) * (1.0 - up)
    ambient = light.ambient
    r = (ambient[1, 0] + (ambient[0, 0] - ambient[1, 0]) * up) * contact
    g = (ambient[1, 1] + (ambient[0, 1] - ambient[1, 1]) * up) * contact
    bl = (ambient[1, 2] + (ambient[0, 2] - ambient[1, 2]) * up) * contact
    gloss = 0.0
    for i in range(2):
        lx, ly, lz = light.directions[i, 0], light.directions[i, 1], light.directions[i, 2]
        facing = nx * lx + ny * ly + nz * lz
        if facing <= 0.0:
            continue
        share = 1.0
        if i == 0:
            share = light_share(x + 0.002 * nx, y + 0.002 * ny, z + 0.002 * nz, light)
        r += facing * share * light.colours[i, 0]
        g += facing * share * light.colours[i, 1]
        bl += facing * share * light.colours[i, 2]
        hx, hy, hz = lx + ex, ly + ey, lz + ez
        half = (nx * hx + ny * hy + nz * hz) / (np.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9)
        if half > 0.0:
            gloss += share * mesh.shine[f] * half**28 * light.colours[i, 1]
    out[0] = out[0] * r + gloss
    out[1] = out[1] * g + gloss
    out[2] = out[2] * bl + gloss


@njit(fastmath=True)
def _display_value(value):
    """Light as a display value: the usual gamma of 2.2 as a square root with a correction, a tenth of its cost."""
    root = np.sqrt(value)
    return root * (0.955 + 0.045 * root)


@njit(fastmath=True)
def _paint(face, depth, mesh, light, ground, samples, gain, picture, seg, metres):
    height, width = ground.depth.shape
    identity = mesh.identity
    sky = light.ambient[0] + np.maximum(light.directions[1, 2], 0.0) * light.colours[1]
    sun = light.directions[0, 2] * light.colours[0]
    colour = np.empty(3)
    for y in range(height):
        for x in range(width):
            first, same, nothing = face[0, y, x], True, True
            for s in range(face.shape[0]):
                f = face[s, y, x]
                if f >= 0:
                    nothing = False
                if (f < 0) != (first < 0) or (f >= 0 and identity[f] != identity[first]):
                    same = False
            if nothing or not same or first < 0:
                share = ground.share[y, x]
                for k in range(3):
                    picture[y, x, k] = ground.colour[y, x, k] * (sky[k] + share * sun[k])
            seg[y, x] = identity[first] if first >= 0 else 0
            metres[y, x] = 1.0 / depth[0, y, x] if first >= 0 else ground.depth[y, x]
            if nothing:
                for k in range(3):
                    picture[y, x, k] = _display_value(picture[y, x, k] * gain[k])
                continue
            if same:
                _surface(x + 0.5, y + 0.5, first, mesh, light, colour)
                for k in range(3):
                    picture[y, x, k] = _display_value(colour[k] * gain[k])
                continue
            g0, g1, g2 = picture[y, x, 0], picture[y, x, 1], picture[y, x, 2]
            t0, t1, t2 = 0.0, 0.0, 0.0
            for s in range(1, 5):
                f = face[s, y, x]
                if f < 0:
                    t0, t1, t2 = t0 + g0, t1 + g1, t2 + g2
                    continue
                _surface(x + samples[s, 0], y + samples[s, 1], f, mesh, light, colour)
                t0, t1, t2 = t0 + colour[0], t1 + colour[1], t2 + colour[2]
            picture[y, x, 0] = _display_value(0.25 * t0 * gain[0])
            picture[y, x, 1] = _display_value(0.25 * t1 * gain[1])
            picture[y, x, 2] = _display_value(0.25 * t2 * gain[2])


@njit()
def develop(picture, grain, strength, photo):
    """Display values (H, W, 3) float32 0..1 and unit noise of the same shape to `photo` (H, W, 3) uint8."""
    height, width, _ = picture.shape
    for y in range(height):
        for x in range(width):
            for k in range(3):
                value = 255.0 * picture[y, x, k] + strength * grain[y, x, k]
                photo[y, x, k] = np.uint8(min(max(value, 0.0), 255.0))


def paint(
    geometry: Geometry,
    textures: np.ndarray,
    camera: Camera,
    look: Look,
    backdrop: Backdrop,
    shadows: ShadowMap,
    places: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a camera sees: picture (H, W, 3) float32 in display values 0..1, seg (H, W) uint8, depth (H, W) float32 m.

    textures: (n, S, S, 3) float32 linear; places: of `table_shadow_places`. seg holds `geometry.identity` of the
    nearest surface at the pixel's centre.
    """
    points, z = camera.project(geometry.vertices)
    seen = rasterize(points, z, geometry.faces, width=WIDTH, height=HEIGHT, samples=SAMPLES)
    pose = camera.camera_from_table
    mesh = _Mesh(
        points,
        1.0 / z,
        geometry.vertices,
        geometry.normals,
        geometry.colours,
        geometry.uv,
        geometry.faces,
        geometry.identity,
        geometry.texture,
        textures,
        geometry.shine,
        -pose[:3, :3].T @ pose[:3, 3],
    )
    light = _Light(look.lights, look.light_colours, look.ambient, shadows.axes, shadows.centre, shadows.nearest, SCALE)
    share = cv2.remap(shadows.table, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=1.0)
    ground = _Ground(backdrop.colour, backdrop.depth, share)
    picture = np.empty((HEIGHT, WIDTH, 3), np.float32)
    seg, metres = np.empty((HEIGHT, WIDTH), np.uint8), np.empty((HEIGHT, WIDTH), np.float32)
    gain = camera.gain.astype(np.float32)
    _paint(seen.face, seen.inverse_depth, mesh, light, ground, SAMPLES, gain, picture, seg, metres)
    return picture, seg, metres
