"""Pictures from the z-buffer: colour, identity and depth of every pixel, with light, shadows (`shadows`) and textures.

Table's frame for positions, normals and lights (m, unit vectors); image space as in `hand.zbuffer`; linear RGB float32.
A pixel is shaded once at its centre; where its four outer samples see different things, at each of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ....hand.zbuffer import MULTISAMPLE_4, rasterize, viewport_of
from ....jit import njit
from .room import HEIGHT, WIDTH, Backdrop, Camera, Geometry, Look, make_backdrop
from .shadows import SCALE, ShadowMap, share_of_light, share_on_table, table_shadow_places

SAMPLES = np.concatenate([np.array([[0.5, 0.5]]), MULTISAMPLE_4])
"""Sample 0, the centre, decides identity and depth; the other four smooth the edges."""

# Columns of the table of corners, and places in the list of what is known of the light: a kernel that is given one
# array instead of eight starts several times faster, and shading a pixel is one call.
_POINT, _NEARNESS, _VERTEX, _NORMAL, _COLOUR, _UV = 0, 2, 3, 6, 9, 12
_DIRECTIONS, _LIGHTS, _AMBIENT, _EYE, _MAP = 0, 6, 12, 18, 21

# A row of the picture is shaded step by step, each step for all its samples ("jobs"): these are the rows of the table
# that the steps work on.
_PX, _PY, _WA, _X, _NX, _RED, _FACING, _GLOSS, _ROWS = 0, 1, 2, 5, 8, 11, 14, 16, 18
_JOBS = len(SAMPLES) * WIDTH


@dataclass(frozen=True, eq=False)
class View:
    """What a camera sees of a recording's empty scene: the same for all of its photos.

    lit (H, W, 3) float32 display values where no shadow falls; places (H, W) float32, `table_shadow_places`.
    """

    camera: Camera
    backdrop: Backdrop
    lit: np.ndarray
    places: tuple[np.ndarray, np.ndarray]


@njit(fastmath=True, inline="always")
def _paint_of(f, wa, wb, wc, corners, faces, texture, textures):
    """Paint (3,) of face f, without light, where its corners weigh wa, wb, wc: its texture or its corners' colours."""
    a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
    t = texture[f]
    if t < 0:
        return (
            wa * corners[a, _COLOUR] + wb * corners[b, _COLOUR] + wc * corners[c, _COLOUR],
            wa * corners[a, _COLOUR + 1] + wb * corners[b, _COLOUR + 1] + wc * corners[c, _COLOUR + 1],
            wa * corners[a, _COLOUR + 2] + wb * corners[b, _COLOUR + 2] + wc * corners[c, _COLOUR + 2],
        )
    size = textures.shape[1]
    across = wa * corners[a, _UV] + wb * corners[b, _UV] + wc * corners[c, _UV]
    up = wa * corners[a, _UV + 1] + wb * corners[b, _UV + 1] + wc * corners[c, _UV + 1]
    u = min(max(across * size - 0.5, 0.0), size - 1.001)
    v = min(max((1.0 - up) * size - 0.5, 0.0), size - 1.001)
    i, j = int(u), int(v)
    fu, fv = u - i, v - j
    return (
        (textures[t, j, i, 0] * (1 - fu) + textures[t, j, i + 1, 0] * fu) * (1 - fv)
        + (textures[t, j + 1, i, 0] * (1 - fu) + textures[t, j + 1, i + 1, 0] * fu) * fv,
        (textures[t, j, i, 1] * (1 - fu) + textures[t, j, i + 1, 1] * fu) * (1 - fv)
        + (textures[t, j + 1, i, 1] * (1 - fu) + textures[t, j + 1, i + 1, 1] * fu) * fv,
        (textures[t, j, i, 2] * (1 - fu) + textures[t, j, i + 1, 2] * fu) * (1 - fv)
        + (textures[t, j + 1, i, 2] * (1 - fu) + textures[t, j + 1, i + 1, 2] * fu) * fv,
    )


@njit(fastmath=True, inline="always")
def _interpolate(work, jobs, faces_of, corners, faces):
    """What the corners of each job's face say about its image point: weights, place and (not yet unit) normal."""
    for n in range(jobs):
        f, px, py = faces_of[n], work[_PX, n], work[_PY, n]
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, bx, by = corners[a, _POINT], corners[a, _POINT + 1], corners[b, _POINT], corners[b, _POINT + 1]
        cx, cy = corners[c, _POINT], corners[c, _POINT + 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        wa = ((bx - px) * (cy - py) - (by - py) * (cx - px)) / area * corners[a, _NEARNESS]
        wb = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) / area * corners[b, _NEARNESS]
        wc = ((ax - px) * (by - py) - (ay - py) * (bx - px)) / area * corners[c, _NEARNESS]
        wa, wb, wc = max(wa, 0.0), max(wb, 0.0), max(wc, 0.0)
        total = wa + wb + wc + 1e-12
        wa, wb, wc = wa / total, wb / total, wc / total
        work[_WA, n], work[_WA + 1, n], work[_WA + 2, n] = wa, wb, wc
        for k in range(6):
            work[_X + k, n] = wa * corners[a, _VERTEX + k] + wb * corners[b, _VERTEX + k] + wc * corners[c, _VERTEX + k]


@njit(fastmath=True, inline="always")
def _light(work, jobs, light):
    """Unit normals of the jobs, their ambient light, and how they face and mirror the two lights (0: turned away).

    Without branches and tables, so that it is compiled to vector instructions.
    """
    eye0, eye1, eye2 = light[_EYE], light[_EYE + 1], light[_EYE + 2]
    above0, above1, above2 = light[_AMBIENT], light[_AMBIENT + 1], light[_AMBIENT + 2]
    below0, below1, below2 = light[_AMBIENT + 3], light[_AMBIENT + 4], light[_AMBIENT + 5]
    k0, k1, k2 = light[_DIRECTIONS], light[_DIRECTIONS + 1], light[_DIRECTIONS + 2]
    f0, f1, f2 = light[_DIRECTIONS + 3], light[_DIRECTIONS + 4], light[_DIRECTIONS + 5]
    for n in range(jobs):
        x, y, z = work[_X, n], work[_X + 1, n], work[_X + 2, n]
        nx, ny, nz = work[_NX, n], work[_NX + 1, n], work[_NX + 2, n]
        length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
        nx, ny, nz = nx / length, ny / length, nz / length
        ex, ey, ez = eye0 - x, eye1 - y, eye2 - z
        length = np.sqrt(ex * ex + ey * ey + ez * ez)
        ex, ey, ez = ex / length, ey / length, ez / length
        turn = -1.0 if nx * ex + ny * ey + nz * ez < 0.0 else 1.0  # the inside of a bowl
        nx, ny, nz = turn * nx, turn * ny, turn * nz
        work[_NX, n], work[_NX + 1, n], work[_NX + 2, n] = nx, ny, nz
        # a soft sky above, the table's reflection below, darker close to the table
        up = 0.5 + 0.5 * nz
        contact = 1.0 - 0.45 * max(0.0, 1.0 - max(z, 0.0) / 0.04) * (1.0 - up)
        work[_RED, n] = (below0 + (above0 - below0) * up) * contact
        work[_RED + 1, n] = (below1 + (above1 - below1) * up) * contact
        work[_RED + 2, n] = (below2 + (above2 - below2) * up) * contact
        key, fill = nx * k0 + ny * k1 + nz * k2, nx * f0 + ny * f1 + nz * f2
        work[_FACING, n], work[_FACING + 1, n] = max(key, 0.0), max(fill, 0.0)
        hx, hy, hz = k0 + ex, k1 + ey, k2 + ez
        half = max((nx * hx + ny * hy + nz * hz) / (np.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9), 0.0)
        work[_GLOSS, n] = half**28 if key > 0.0 else 0.0
        hx, hy, hz = f0 + ex, f1 + ey, f2 + ez
        half = max((nx * hx + ny * hy + nz * hz) / (np.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9), 0.0)
        work[_GLOSS + 1, n] = half**28 if fill > 0.0 else 0.0


@njit(fastmath=True, inline="always")
def _colour(
    work, jobs, faces_of, corners, faces, texture, textures, shine, light, nearest, range_of_nearest
):  # fmt: skip
    """Colours of the jobs, in place of their ambient light.

    One loop for what the map of shadows says, one for the textures: waiting for memory, each has many jobs at once.
    """
    for n in range(jobs):
        if work[_FACING, n] > 0.0:
            x, y, z = work[_X, n], work[_X + 1, n], work[_X + 2, n]
            nx, ny, nz = work[_NX, n], work[_NX + 1, n], work[_NX + 2, n]
            share = share_of_light(
                x + 0.002 * nx, y + 0.002 * ny, z + 0.002 * nz, light, _MAP, nearest, range_of_nearest
            )
            work[_FACING, n] *= share
            work[_GLOSS, n] *= share
    for n in range(jobs):
        f, key, fill = faces_of[n], work[_FACING, n], work[_FACING + 1, n]
        gloss = shine[f] * (work[_GLOSS, n] * light[_LIGHTS + 1] + work[_GLOSS + 1, n] * light[_LIGHTS + 4])
        p0, p1, p2 = _paint_of(f, work[_WA, n], work[_WA + 1, n], work[_WA + 2, n], corners, faces, texture, textures)
        work[_RED, n] = p0 * (work[_RED, n] + key * light[_LIGHTS] + fill * light[_LIGHTS + 3]) + gloss
        work[_RED + 1, n] = p1 * (work[_RED + 1, n] + key * light[_LIGHTS + 1] + fill * light[_LIGHTS + 4]) + gloss
        work[_RED + 2, n] = p2 * (work[_RED + 2, n] + key * light[_LIGHTS + 2] + fill * light[_LIGHTS + 5]) + gloss


@njit(fastmath=True, inline="always")
def _display_value(value):
    """Light as a display value: the usual gamma of 2.2 as a square root with a correction, a tenth of its cost."""
    root = np.sqrt(value)
    return root * (0.955 + 0.045 * root)


@njit(fastmath=True)
def _light_room(colour, share, region, sky, sun, gain, only_shadow, picture):
    """Display values of the empty scene into `picture`, all float32, in a region (rows, columns: first, end each).

    With `only_shadow` where not all light arrives.
    """
    top, bottom, left, right = region
    lit = np.empty(3, np.float32)
    for y in range(top, bottom):
        for x in range(left, right):
            if only_shadow and share[y, x] == 1.0:
                continue
            for k in range(3):
                lit[k] = colour[y, x, k] * (sky[k] + share[y, x] * sun[k])
                picture[y, x, k] = _display_value(lit[k] * gain[k])


@njit(fastmath=True, error_model="numpy")
def _shade(
    face, depth, left, top, corners, faces, identity, texture, textures, shine,
    light, nearest, range_of_nearest, colour, share, sky, sun, gain, samples, picture, seg, metres,
):  # fmt: skip
    """What stands in the scene, over the empty one: `face` and `depth` begin at column `left` and row `top`."""
    count, height, width = face.shape
    alike, covered = np.empty(width, np.bool_), np.empty(width, np.int32)
    faces_of = np.empty(_JOBS, np.int32)
    work = np.empty((_ROWS, _JOBS))
    for row in range(height):
        y, jobs = row + top, 0
        for column in range(width):  # -1 where no sample sees anything: most of the picture
            covered[column] = face[0, row, column]
        for s in range(1, count):
            for column in range(width):
                covered[column] &= face[s, row, column]
        begin, end = 0, width
        while begin < end and covered[begin] == -1:
            begin += 1
        while begin < end and covered[end - 1] == -1:
            end -= 1
        for column in range(begin, end):
            if covered[column] == -1:
                continue
            x, first, same = column + left, face[0, row, column], True
            for s in range(1, count):
                f = face[s, row, column]
                if f != first and (f < 0 or first < 0 or identity[f] != identity[first]):
                    same = False
            alike[column] = same
            if first >= 0:
                seg[y, x] = identity[first]
                metres[y, x] = 1.0 / depth[0, row, column]
            # One sample that counts whole, or the four outer ones by a quarter each.
            for s in range(0 if same else 1, 1 if same else count):
                if face[s, row, column] >= 0:
                    faces_of[jobs] = face[s, row, column]
                    work[_PX, jobs], work[_PY, jobs] = x + samples[s, 0], y + samples[s, 1]
                    jobs += 1
        _interpolate(work, jobs, faces_of, corners, faces)
        _light(work, jobs, light)
        _colour(work, jobs, faces_of, corners, faces, texture, textures, shine, light, nearest, range_of_nearest)
        job = 0
        for column in range(begin, end):
            if covered[column] == -1:
                continue
            x, weight = column + left, 1.0
            t0, t1, t2 = 0.0, 0.0, 0.0
            if alike[column]:
                t0, t1, t2 = work[_RED, job], work[_RED + 1, job], work[_RED + 2, job]
                job += 1
            else:
                weight = 0.25
                for s in range(1, count):
                    if face[s, row, column] < 0:
                        t0 += np.float32(colour[y, x, 0] * (sky[0] + share[y, x] * sun[0]))
                        t1 += np.float32(colour[y, x, 1] * (sky[1] + share[y, x] * sun[1]))
                        t2 += np.float32(colour[y, x, 2] * (sky[2] + share[y, x] * sun[2]))
                    else:
                        t0, t1, t2 = t0 + work[_RED, job], t1 + work[_RED + 1, job], t2 + work[_RED + 2, job]
                        job += 1
            picture[y, x, 0] = _display_value(weight * t0 * gain[0])
            picture[y, x, 1] = _display_value(weight * t1 * gain[1])
            picture[y, x, 2] = _display_value(weight * t2 * gain[2])


@njit()
def _add_grain(picture, grain, top, left, strength, photo):
    height, width = picture.shape
    for y in range(height):
        values, noise, out = picture[y], grain[top + y][left : left + width], photo[y]
        for x in range(width):
            value = 255.0 * values[x] + strength * noise[x]
            out[x] = np.uint8(np.int32(min(max(value, 0.0), 255.0)))


def develop(picture: np.ndarray, grain: np.ndarray, place: tuple[int, int], strength: float) -> np.ndarray:
    """The photo (H, W, 3) uint8 **BGR** of display values (H, W, 3) float32 0..1 in RGB, with sensor noise.

    grain: float32 unit noise, a row holds all channels of its pixels; `place` x, y px is the part of it that is taken.
    strength: the noise's deviation in steps of 1/255.
    """
    photo = np.empty(picture.shape, np.uint8)
    # As rows of numbers, not of pixels: that is compiled to vector instructions.
    flat = (len(picture), -1)
    _add_grain(picture.reshape(flat), grain, place[1], 3 * place[0], np.float32(strength), photo.reshape(flat))
    return cv2.cvtColor(photo, cv2.COLOR_RGB2BGR)


def _daylight(look: Look) -> tuple[np.ndarray, np.ndarray]:
    """Light (3,) that a level surface gets from the sky and the second light, and (3,) from the first."""
    sky = look.ambient[0] + np.maximum(look.lights[1, 2], 0.0) * look.light_colours[1]
    return sky, look.lights[0, 2] * look.light_colours[0]


def view_of(camera: Camera, look: Look, middle: np.ndarray, background: np.ndarray | None = None) -> View:
    """A camera's view of the empty scene; `middle` (3,) m is the shadow maps' centre, background as `make_backdrop`."""
    backdrop = make_backdrop(camera, look, background)
    lit = np.empty((HEIGHT, WIDTH, 3), np.float32)
    everywhere = np.ones((HEIGHT, WIDTH), np.float32)
    whole, gain = (0, HEIGHT, 0, WIDTH), camera.gain.astype(np.float32)
    _light_room(backdrop.colour, everywhere, whole, *_daylight(look), gain, False, lit)
    return View(camera, backdrop, lit, table_shadow_places(look, backdrop, middle))


def paint(
    geometry: Geometry, textures: np.ndarray, view: View, look: Look, shadows: ShadowMap
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a camera sees: picture (H, W, 3) float32 in display values 0..1, seg (H, W) uint8, depth (H, W) float32 m.

    textures: (n, S, S, 3) float32 linear. seg holds `geometry.identity` of the nearest surface at the pixel's centre.
    """
    camera, backdrop = view.camera, view.backdrop
    points, z = camera.project(geometry.vertices)
    window = viewport_of(points, WIDTH, HEIGHT)
    seen = rasterize(points, z, geometry.faces, width=WIDTH, height=HEIGHT, samples=SAMPLES, viewport=window)
    corners = np.concatenate(
        [points, (1.0 / z)[:, None], geometry.vertices, geometry.normals, geometry.colours, geometry.uv], axis=1
    )
    pose = camera.camera_from_table
    eye = -pose[:3, :3].T @ pose[:3, 3]
    of_map = (shadows.axes, shadows.centre, [SCALE])
    light = np.concatenate([np.ravel(v) for v in (look.lights, look.light_colours, look.ambient, eye, *of_map)])
    share, region = share_on_table(view.places, shadows)
    sky, sun = _daylight(look)
    gain = camera.gain.astype(np.float32)
    picture, metres = view.lit.copy(), backdrop.depth.copy()
    seg = np.zeros((HEIGHT, WIDTH), np.uint8)
    _light_room(backdrop.colour, share, region, sky, sun, gain, True, picture)
    _shade(
        seen.face, seen.inverse_depth, *seen.origin, corners, geometry.faces, geometry.identity, geometry.texture,
        textures, geometry.shine, light, shadows.nearest, shadows.range, backdrop.colour, share, sky, sun, gain,
        SAMPLES, picture, seg, metres,
    )  # fmt: skip
    return picture, seg, metres
