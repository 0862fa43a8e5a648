"""Compiled loops over triangles: whole z-buffers, parts at a few pixels, and what lies before a depth that is known.

Image space as in `zbuffer`, whose rules these are. Everything that compiles into one another stays in this file: numba
keeps compiled code until the file of the outer function changes. Coordinates run in 1/256 px: within +-131072 px the
values of edges are exact integers held in float64, so that every way to visit the pixels finds the same ones.
"""

import numpy as np
from numba import boolean, float32, float64, int32, int64, types, uint8

from ..jit import njit

TILE = 8
"""px; the side of the squares whose smallest depth values are kept for `draw_before`."""
_NARROW = 8.0  # px; below it, testing every pixel of a row is faster than dividing for the row's ends
_LOW = 1024.0  # px; and such a face is so low that its edges are exact
_WIDE = 64.0  # px; the widest face of `parts_at`
_EXACT = 131072.0  # px
_FARTHEST = 1e30  # m; beyond it, 1/z as float32 may be 0
_SURELY = 1.0 + 1e-6  # covers the rounding of 1/z to float32

_points = types.Array(float64, 2, "C", readonly=True)
_numbers = types.Array(float64, 1, "C", readonly=True)
_faces = types.Array(int32, 2, "C", readonly=True)
_bytes = types.Array(uint8, 1, "C", readonly=True)
_image = types.Array(uint8, 2, "C", readonly=True)
_depth_image = types.Array(float32, 2, "C", readonly=True)


@njit(inline="always")
def _cut(x0, x1, end, e):
    """Narrow the span x0..x1 of columns by an edge that ends at column `end`, up to 0.001 px of rounding."""
    if e > 0.0 and end + 0.001 < x1:
        x1 = end + 0.001
    elif e < 0.0 and end - 0.001 > x0:
        x0 = end - 0.001
    return x0, x1


@njit(inline="always")
def _snapped(coordinate):
    return np.floor(256.0 * coordinate + 0.5)


@njit(inline="always")
def _oriented(ax, ay, bx, by, cx, cy, za, zb, zc, cull, near):
    """A face's area, and its second and third corner in the order in which it is positive; 0 for one not drawn.

    Not drawn: at or before the near plane, degenerate, NaN, infinite, or turned away.
    """
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    if not (za > near and zb > near and zc > near and 0.0 < abs(area) < np.inf) or area * cull > 0.0:
        return 0.0, bx, by, zb, cx, cy, zc
    if area < 0.0:
        return -area, cx, cy, zc, bx, by, zb
    return area, bx, by, zb, cx, cy, zc


@njit(inline="always")
def _box(ax, ay, bx, by, cx, cy, left, top):
    """The least and largest x and y of a face in the viewport, px."""
    x_low, x_high = min(ax, bx, cx) / 256.0 - left, max(ax, bx, cx) / 256.0 - left
    return x_low, x_high, min(ay, by, cy) / 256.0 - top, max(ay, by, cy) / 256.0 - top


@njit(inline="always")
def _spanned(x0, x1, ax, bx, cx, ta, tb, tc, ea, eb, ec, ra, rb, rc, shift):
    """Columns x0..x1 of a row, narrowed to those that the face can touch."""
    x0, x1 = _cut(x0, x1, bx / 256.0 - shift + ta * ra, ea)
    x0, x1 = _cut(x0, x1, cx / 256.0 - shift + tb * rb, eb)
    return _cut(x0, x1, ax / 256.0 - shift + tc * rc, ec)


@njit(
    types.void(
        _points,
        _numbers,
        _faces,
        _points,
        int64,
        int64,
        int64,
        float64,
        int64,
        int32[:, :, ::1],
        float32[:, :, ::1],
    ),
    error_model="numpy",
)
def draw(points, z, faces, samples, left, top, cull, near, first_face, out_face, out_depth):
    """Draw all faces; see `zbuffer.rasterize`."""
    n_samples, height, width = out_face.shape
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        za, zb, zc = z[a], z[b], z[c]
        ax, ay = _snapped(points[a, 0]), _snapped(points[a, 1])
        bx, by = _snapped(points[b, 0]), _snapped(points[b, 1])
        cx, cy = _snapped(points[c, 0]), _snapped(points[c, 1])
        area, bx, by, zb, cx, cy, zc = _oriented(ax, ay, bx, by, cx, cy, za, zb, zc, cull, near)
        if area == 0.0:
            continue
        x_low, x_high, y_low, y_high = _box(ax, ay, bx, by, cx, cy, left, top)
        if not (x_high >= 0.0 and y_high >= 0.0 and x_low <= width and y_low <= height):
            continue
        ia, ib, ic = 1.0 / (za * area), 1.0 / (zb * area), 1.0 / (zc * area)
        # Edge i holds where t_i - e_i * px >= 0, so each row is a span: ends by division, then the exact test inside.
        ea, eb, ec = cy - by, ay - cy, by - ay
        spans = not (x_high - x_low <= _NARROW and y_high - y_low <= _LOW)
        ra, rb, rc = 0.0, 0.0, 0.0
        if spans:
            ra, rb, rc = 1.0 / (256.0 * ea), 1.0 / (256.0 * eb), 1.0 / (256.0 * ec)
        for s in range(n_samples):
            sx, sy = samples[s, 0], samples[s, 1]
            # Clamped as floats, cast afterwards: huge coordinates must never reach an integer.
            x_first, x_last = max(0.0, x_low - sx), min(width - 1.0, x_high - sx)
            y_first, y_last = max(0.0, np.ceil(y_low - sy)), min(height - 1.0, np.floor(y_high - sy))
            shift = left + sx
            for y in range(int(y_first), int(y_last) + 1):
                py = 256.0 * (y + top + sy)
                ta, tb, tc = (cx - bx) * (py - by), (ax - cx) * (py - cy), (bx - ax) * (py - ay)
                x0, x1 = x_first, x_last
                if spans:
                    x0, x1 = _spanned(x0, x1, ax, bx, cx, ta, tb, tc, ea, eb, ec, ra, rb, rc, shift)
                if not x0 <= x1:
                    continue
                for x in range(int(np.ceil(x0)), int(np.floor(x1)) + 1):
                    px = 256.0 * (x + shift)
                    wa, wb, wc = ta - ea * (px - bx), tb - eb * (px - cx), tc - ec * (px - ax)
                    if wa >= 0.0 and wb >= 0.0 and wc >= 0.0:
                        depth = np.float32(wa * ia + wb * ib + wc * ic)
                        if depth > out_depth[s, y, x]:
                            out_depth[s, y, x] = depth
                            out_face[s, y, x] = first_face + f


@njit(
    boolean(
        _points,
        _numbers,
        _faces,
        _bytes,
        _points,
        int64,
        int64,
        int64,
        float64,
        uint8,
        _image,
        uint8[:, ::1],
        uint8[:, ::1],
    ),
    error_model="numpy",
)
def parts_at(points, z, faces, face_parts, samples, left, top, cull, near, empty, wanted, part, covered):
    """Fill `covered` (h, w), where sample 0 is hit, and `part` where it is `wanted` and all samples show the same part.

    As `draw` would, with face_parts (F,) and `empty` for samples that hit nothing; both arrays come filled. Samples are
    drawn at wanted pixels only. False, with the arrays half filled, where a face is too large or too far for that.
    """
    n_samples, (height, width) = samples.shape[0], wanted.shape
    slot = np.full((height, width), -1, np.int32)
    count = 0
    for y in range(height):
        for x in range(width):
            if wanted[y, x]:
                slot[y, x] = count
                count += 1
    depths = np.zeros((count, n_samples), np.float32)
    shown = np.full((count, n_samples), empty, np.uint8)
    sx_low, sx_high, sy_low, sy_high = (
        samples[:, 0].min(),
        samples[:, 0].max(),
        samples[:, 1].min(),
        samples[:, 1].max(),
    )
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        za, zb, zc = z[a], z[b], z[c]
        ax, ay = _snapped(points[a, 0]), _snapped(points[a, 1])
        bx, by = _snapped(points[b, 0]), _snapped(points[b, 1])
        cx, cy = _snapped(points[c, 0]), _snapped(points[c, 1])
        area, bx, by, zb, cx, cy, zc = _oriented(ax, ay, bx, by, cx, cy, za, zb, zc, cull, near)
        if area == 0.0:
            continue
        x_low, x_high, y_low, y_high = _box(ax, ay, bx, by, cx, cy, left, top)
        if not (x_high >= 0.0 and y_high >= 0.0 and x_low <= width and y_low <= height):
            continue
        if x_high - x_low > _WIDE or y_high - y_low > _WIDE or max(za, zb, zc) > _FARTHEST:
            return False
        ia, ib, ic = 1.0 / (za * area), 1.0 / (zb * area), 1.0 / (zc * area)
        ea, eb, ec = cy - by, ay - cy, by - ay
        x_first, x_last = max(0, int(np.ceil(x_low - sx_high))), min(width - 1, int(np.floor(x_high - sx_low)))
        y_first, y_last = max(0, int(np.ceil(y_low - sy_high))), min(height - 1, int(np.floor(y_high - sy_low)))
        for y in range(y_first, y_last + 1):
            for x in range(x_first, x_last + 1):
                place = slot[y, x]
                if place < 0 and covered[y, x]:
                    continue
                for s in range(n_samples if place >= 0 else 1):
                    px, py = 256.0 * (x + left + samples[s, 0]), 256.0 * (y + top + samples[s, 1])
                    wa = (cx - bx) * (py - by) - ea * (px - bx)
                    wb = (ax - cx) * (py - cy) - eb * (px - cx)
                    wc = (bx - ax) * (py - ay) - ec * (px - ax)
                    if not (wa >= 0.0 and wb >= 0.0 and wc >= 0.0):
                        continue
                    if s == 0:
                        covered[y, x] = 1
                    if place >= 0:
                        depth = np.float32(wa * ia + wb * ib + wc * ic)
                        if depth > depths[place, s]:
                            depths[place, s] = depth
                            shown[place, s] = face_parts[f]
    for y in range(height):
        for x in range(width):
            place = slot[y, x]
            if place >= 0 and covered[y, x] and (shown[place] == shown[place, 0]).all():
                part[y, x] = shown[place, 0]
    return True


@njit(
    types.void(_depth_image, _points, _numbers, float64, int64, int64, float64, float32[:, ::1], float32[:, ::1]),
    error_model="numpy",
)
def depth_to_beat(hand, points, z, tolerance, left, top, near, out, tiles):
    """Fill `out` (h, w) with the inverse depth above which a surface can matter, and `tiles` with its least values.

    That is the hand's own where there is a hand; where there is none and points project, what would hide the nearest of
    them by more than `tolerance` m; and infinity elsewhere.
    """
    height, width = hand.shape
    for y in range(height):
        for x in range(width):
            out[y, x] = hand[y, x] if hand[y, x] > 0.0 else np.inf
    for i in range(len(z)):
        u, v = points[i, 0] - left, points[i, 1] - top
        if not (z[i] > near and 0.0 <= u < width and 0.0 <= v < height):
            continue
        x, y = int(np.floor(points[i, 0])) - left, int(np.floor(points[i, 1])) - top
        if not hand[y, x] > 0.0:
            out[y, x] = min(out[y, x], np.float32((1.0 - 1e-5) / (z[i] - tolerance)))
    tiles[:] = np.inf
    for y in range(height):
        for x in range(width):
            tiles[y // TILE, x // TILE] = min(tiles[y // TILE, x // TILE], out[y, x])


@njit(inline="always")
def _reaches(tiles, nearest, x0, y0, x1, y1):
    """Whether something as near as `nearest` can matter in the pixels x0..x1, y0..y1 of the viewport."""
    for row in range(y0 // TILE, y1 // TILE + 1):
        for column in range(x0 // TILE, x1 // TILE + 1):
            if tiles[row, column] < nearest:
                return True
    return False


@njit(inline="always")
def _range(middle, reach, z_low, z_high):
    """Bounds of n/z for n in middle +- reach and z in z_low..z_high, both positive."""
    low, high = middle - reach, middle + reach
    return low / (z_low if low < 0.0 else z_high), high / (z_high if high < 0.0 else z_low)


@njit(inline="always")
def _sphere_matters(x, y, z, radius, k, left, top, near, tiles, width, height):
    """Whether anything in a sphere before the camera, m, can change a pixel; True wherever that is not certain."""
    z_low, z_high = z - radius, z + radius
    if z_high <= near:
        return False
    if not z_low > near:
        return True
    u0, u1 = _range(k[0, 0] * x + k[0, 1] * y, np.hypot(k[0, 0], k[0, 1]) * radius, z_low, z_high)
    v0, v1 = _range(k[1, 1] * y, abs(k[1, 1]) * radius, z_low, z_high)
    u0, u1, v0, v1 = u0 + k[0, 2] - 1.0, u1 + k[0, 2] + 1.0, v0 + k[1, 2] - 1.0, v1 + k[1, 2] + 1.0
    if not (u0 > -_EXACT and u1 < _EXACT and v0 > -_EXACT and v1 < _EXACT):
        return True
    x0, y0 = max(0, int(np.floor(u0)) - left), max(0, int(np.floor(v0)) - top)
    x1, y1 = min(width - 1, int(np.floor(u1)) - left), min(height - 1, int(np.floor(v1)) - top)
    return x0 <= x1 and y0 <= y1 and _reaches(tiles, _SURELY / z_low, x0, y0, x1, y1)


@njit(
    types.void(
        _points,
        _faces,
        _points,
        _numbers,
        int64,
        _points,
        _points,
        int64,
        int64,
        float64,
        float32[:, ::1],
        float32[:, ::1],
    ),
    error_model="numpy",
)
def draw_before(vertices, faces, centres, radii, group, pose, k, left, top, near, tiles, out):
    """Draw a mesh, moved by a pose (3, 4), where it is nearer than `out` (h, w) says, as `draw` would with one sample.

    vertices (V, 3) m; faces (F, 3), of which each `group` in a row lies in the sphere centres[i] (3,), radii[i] of the
    mesh's own frame: groups that cannot change a pixel (`tiles`, see `depth_to_beat`) are left out unseen.
    """
    height, width = out.shape
    moved = np.empty((len(vertices), 3))  # x and y px in 1/256, z m
    done = np.zeros(len(vertices), np.uint8)
    stretch = 0.0  # a bound of how much the pose's matrix stretches: exactly 1 for a rotation
    for i in range(3):
        total = 0.0
        for j in range(3):
            total += abs(pose[0, i] * pose[0, j] + pose[1, i] * pose[1, j] + pose[2, i] * pose[2, j])
        stretch = max(stretch, total)
    stretch = np.sqrt(stretch) * (1.0 + 1e-9)
    for g in range(len(radii)):
        a, b, c = centres[g]
        x = pose[0, 0] * a + pose[0, 1] * b + pose[0, 2] * c + pose[0, 3]
        y = pose[1, 0] * a + pose[1, 1] * b + pose[1, 2] * c + pose[1, 3]
        z = pose[2, 0] * a + pose[2, 1] * b + pose[2, 2] * c + pose[2, 3]
        if not _sphere_matters(x, y, z, radii[g] * stretch + 1e-9, k, left, top, near, tiles, width, height):
            continue
        for f in range(g * group, min((g + 1) * group, len(faces))):
            for corner in range(3):
                i = faces[f, corner]
                if done[i]:
                    continue
                done[i] = 1
                a, b, c = vertices[i]  # as objects.place moves and projects them, operation by operation
                x = pose[0, 0] * a + pose[0, 1] * b + pose[0, 2] * c + pose[0, 3]
                y = pose[1, 0] * a + pose[1, 1] * b + pose[1, 2] * c + pose[1, 3]
                z = pose[2, 0] * a + pose[2, 1] * b + pose[2, 2] * c + pose[2, 3]
                moved[i, 0] = _snapped((k[0, 0] * x + k[0, 1] * y) / z + k[0, 2])
                moved[i, 1] = _snapped(k[1, 1] * y / z + k[1, 2])
                moved[i, 2] = z
            ax, ay, za = moved[faces[f, 0]]
            bx, by, zb = moved[faces[f, 1]]
            cx, cy, zc = moved[faces[f, 2]]
            area, bx, by, zb, cx, cy, zc = _oriented(ax, ay, bx, by, cx, cy, za, zb, zc, 0, near)
            if area == 0.0:
                continue
            x_low, x_high, y_low, y_high = _box(ax, ay, bx, by, cx, cy, left, top)
            if not (x_high >= 0.0 and y_high >= 0.0 and x_low <= width and y_low <= height):
                continue
            x_first, x_last = max(0.0, x_low - 0.5), min(width - 1.0, x_high - 0.5)
            y_first, y_last = max(0.0, np.ceil(y_low - 0.5)), min(height - 1.0, np.floor(y_high - 0.5))
            if not (np.ceil(x_first) <= x_last and y_first <= y_last):
                continue
            spans = not (x_high - x_low <= _NARROW and y_high - y_low <= _LOW)
            ra, rb, rc = 0.0, 0.0, 0.0
            ea, eb, ec = cy - by, ay - cy, by - ay
            if spans:
                ra, rb, rc = 1.0 / (256.0 * ea), 1.0 / (256.0 * eb), 1.0 / (256.0 * ec)
            elif not _reaches(
                tiles, _SURELY / min(za, zb, zc), int(np.ceil(x_first)), int(y_first), int(x_last), int(y_last)
            ):
                continue
            ia, ib, ic = 1.0 / (za * area), 1.0 / (zb * area), 1.0 / (zc * area)
            shift = left + 0.5
            for row in range(int(y_first), int(y_last) + 1):
                py = 256.0 * (row + top + 0.5)
                ta, tb, tc = (cx - bx) * (py - by), (ax - cx) * (py - cy), (bx - ax) * (py - ay)
                x0, x1 = x_first, x_last
                if spans:
                    x0, x1 = _spanned(x0, x1, ax, bx, cx, ta, tb, tc, ea, eb, ec, ra, rb, rc, shift)
                if not x0 <= x1:
                    continue
                for column in range(int(np.ceil(x0)), int(np.floor(x1)) + 1):
                    px = 256.0 * (column + shift)
                    wa, wb, wc = ta - ea * (px - bx), tb - eb * (px - cx), tc - ec * (px - ax)
                    if wa >= 0.0 and wb >= 0.0 and wc >= 0.0:
                        depth = np.float32(wa * ia + wb * ib + wc * ic)
                        if depth > out[row, column]:
                            out[row, column] = depth
