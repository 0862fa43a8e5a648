"""Compiled loops over triangles: whole z-buffers, and what lies before a depth that is known.

Image space as in `zbuffer`, whose rules these are. Everything that compiles into one another stays in this file: numba
keeps compiled code until the file of the outer function changes. Coordinates run in 1/256 px: within +-131072 px the
values of edges are exact integers held in float64, so that every way to visit the pixels finds the same ones.
"""

import numpy as np

from ..jit import njit, readonly

TILE = 8
"""px; the side of the squares whose smallest depth values are kept for `draw_before`."""
_NARROW, _NARROW_SAMPLES = 8.0, 24.0  # px; for one sample and for several: so far every pixel of a row is tested
_LARGE = 64.0  # px; the highest face that is drawn pixel by pixel
_EXACT = 131072.0  # px
_SURELY = 1.0 + 1e-6  # covers the rounding of 1/z to float32

_points, _numbers, _faces = readonly("float64", 2), readonly("float64", 1), readonly("int32", 2)


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
def _beside(box, width, height):
    x_low, x_high, y_low, y_high = box
    return not (x_high >= 0.0 and y_high >= 0.0 and x_low <= width and y_low <= height)


@njit(inline="always")
def _small(box, narrow):
    return box[1] - box[0] <= narrow and box[3] - box[2] <= _LARGE


@njit(error_model="numpy")
def _fill(corners, inverses, box, sx, sy, left, top, small, face, faces, depths, s):
    """Draw one face into the sample sx, sy of every pixel; inverses: 1 / (z * area) of its corners."""
    (ax, ay, bx, by, cx, cy), (ia, ib, ic), (x_low, x_high, y_low, y_high) = corners, inverses, box
    _, height, width = depths.shape
    # Clamped as floats, cast afterwards: huge coordinates must never reach an integer.
    x_first, x_last = max(0.0, x_low - sx), min(width - 1.0, x_high - sx)
    y_first, y_last = max(0.0, np.ceil(y_low - sy)), min(height - 1.0, np.floor(y_high - sy))
    # Edge i holds where t_i - e_i * px >= 0.
    ea, eb, ec = cy - by, ay - cy, by - ay
    if small:  # every pixel, in whole numbers: one comparison tells of all three edges
        first, last = int(np.ceil(x_first)), int(np.floor(x_last))
        px, py = 256.0 * (first + left + sx), 256.0 * (y_first + top + sy)
        row_a = int((cx - bx) * (py - by) - ea * (px - bx))
        row_b = int((ax - cx) * (py - cy) - eb * (px - cx))
        row_c = int((bx - ax) * (py - ay) - ec * (px - ax))
        right_a, right_b, right_c = int(256.0 * ea), int(256.0 * eb), int(256.0 * ec)
        down_a, down_b, down_c = int(256.0 * (cx - bx)), int(256.0 * (ax - cx)), int(256.0 * (bx - ax))
        for y in range(int(y_first), int(y_last) + 1):
            wa, wb, wc = row_a, row_b, row_c
            for x in range(first, last + 1):
                if (wa | wb | wc) >= 0:
                    depth = np.float32(wa * ia + wb * ib + wc * ic)
                    if depth > depths[s, y, x]:
                        depths[s, y, x] = depth
                        faces[s, y, x] = face
                wa, wb, wc = wa - right_a, wb - right_b, wc - right_c
            row_a, row_b, row_c = row_a + down_a, row_b + down_b, row_c + down_c
        return
    # Each row is a span: ends by division, then the exact test inside.
    ra, rb, rc = 1.0 / (256.0 * ea), 1.0 / (256.0 * eb), 1.0 / (256.0 * ec)
    shift = left + sx
    for y in range(int(y_first), int(y_last) + 1):
        py = 256.0 * (y + top + sy)
        ta, tb, tc = (cx - bx) * (py - by), (ax - cx) * (py - cy), (bx - ax) * (py - ay)
        x0, x1 = _cut(x_first, x_last, bx / 256.0 - shift + ta * ra, ea)
        x0, x1 = _cut(x0, x1, cx / 256.0 - shift + tb * rb, eb)
        x0, x1 = _cut(x0, x1, ax / 256.0 - shift + tc * rc, ec)
        if not x0 <= x1:
            continue
        for x in range(int(np.ceil(x0)), int(np.floor(x1)) + 1):
            px = 256.0 * (x + shift)
            wa, wb, wc = ta - ea * (px - bx), tb - eb * (px - cx), tc - ec * (px - ax)
            if wa >= 0.0 and wb >= 0.0 and wc >= 0.0:
                depth = np.float32(wa * ia + wb * ib + wc * ic)
                if depth > depths[s, y, x]:
                    depths[s, y, x] = depth
                    faces[s, y, x] = face


@njit(error_model="numpy")
def _fill_samples(corners, inverses, box, samples, steps, left, top, face, faces, depths):
    """Draw one face into several samples of every pixel, in whole numbers, as `_fill` does a small one into each.

    A pixel is left out at once where an edge holds in none of its samples. steps (S, 3) is room to work in.
    """
    (ax, ay, bx, by, cx, cy), (ia, ib, ic), (x_low, x_high, y_low, y_high) = corners, inverses, box
    count, height, width = depths.shape
    first, last = int(np.ceil(max(0.0, x_low - 1.0))), int(np.floor(min(width - 1.0, x_high)))
    y_first, y_last = int(np.ceil(max(0.0, y_low - 1.0))), int(np.floor(min(height - 1.0, y_high)))
    # Edge i holds where w_i >= 0: it falls by 256 right_i from pixel to pixel, and rises by 256 down_i from row to row.
    right_a, right_b, right_c = int(cy - by), int(ay - cy), int(by - ay)
    down_a, down_b, down_c = int(cx - bx), int(ax - cx), int(bx - ax)
    px, py = 256.0 * (first + left), 256.0 * (y_first + top)
    row_a = down_a * int(py - by) - right_a * int(px - bx)
    row_b = down_b * int(py - cy) - right_b * int(px - cx)
    row_c = down_c * int(py - ay) - right_c * int(px - ax)
    most_a = most_b = most_c = -(1 << 62)
    for s in range(count):
        sx, sy = int(256.0 * samples[s, 0]), int(256.0 * samples[s, 1])
        step_a, step_b, step_c = down_a * sy - right_a * sx, down_b * sy - right_b * sx, down_c * sy - right_c * sx
        steps[s, 0], steps[s, 1], steps[s, 2] = step_a, step_b, step_c
        most_a, most_b, most_c = max(most_a, step_a), max(most_b, step_b), max(most_c, step_c)
    for y in range(y_first, y_last + 1):
        wa, wb, wc, inside = row_a, row_b, row_c, False
        for x in range(first, last + 1):
            if (wa + most_a | wb + most_b | wc + most_c) >= 0:
                inside = True
                for s in range(count):
                    va, vb, vc = wa + steps[s, 0], wb + steps[s, 1], wc + steps[s, 2]
                    if (va | vb | vc) >= 0:
                        depth = np.float32(va * ia + vb * ib + vc * ic)
                        if depth > depths[s, y, x]:
                            depths[s, y, x] = depth
                            faces[s, y, x] = face
            elif inside:
                break
            wa, wb, wc = wa - 256 * right_a, wb - 256 * right_b, wc - 256 * right_c
        row_a, row_b, row_c = row_a + 256 * down_a, row_b + 256 * down_b, row_c + 256 * down_c


@njit(
    f"void({_points}, {_numbers}, {_faces}, {_points}, boolean, int64, int64, int64, float64, int64,"
    " int32[:, :, ::1], float32[:, :, ::1])",
    error_model="numpy",
)
def draw(points, z, faces, samples, whole, left, top, cull, near, first_face, out_face, out_depth):
    """Draw all faces; see `zbuffer.rasterize`. whole: all samples lie in their pixel, on whole 1/256 px."""
    n_samples, height, width = out_face.shape
    several, steps = n_samples > 1, np.empty((n_samples, 3), np.int64)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, za = _snapped(points[a, 0]), _snapped(points[a, 1]), z[a]
        bx, by, zb = _snapped(points[b, 0]), _snapped(points[b, 1]), z[b]
        cx, cy, zc = _snapped(points[c, 0]), _snapped(points[c, 1]), z[c]
        area, bx, by, zb, cx, cy, zc = _oriented(ax, ay, bx, by, cx, cy, za, zb, zc, cull, near)
        if area == 0.0:
            continue
        corners, box = (ax, ay, bx, by, cx, cy), _box(ax, ay, bx, by, cx, cy, left, top)
        if _beside(box, width, height):
            continue
        inverses = (1.0 / (za * area), 1.0 / (zb * area), 1.0 / (zc * area))
        face = first_face + f
        if several and whole and _small(box, _NARROW_SAMPLES):
            _fill_samples(corners, inverses, box, samples, steps, left, top, face, out_face, out_depth)
            continue
        small = whole and _small(box, _NARROW)
        for s in range(n_samples):
            _fill(corners, inverses, box, samples[s, 0], samples[s, 1], left, top, small, face, out_face, out_depth, s)


@njit(
    f"int64({_points}, {_numbers}, {_faces}, int64, int64, int64, int64, int64, float64, float64[:, ::1], int64[::1])",
    error_model="numpy",
)
def faces_in_view(points, z, faces, left, top, width, height, cull, near, corners, ids):
    """Keep the faces that `draw` would draw and whose box touches the viewport, in order; returns their number.

    corners (F, 9): x and y of three corners in 1/256 px, turned so that the area is positive, then z; ids (F,).
    """
    count = 0
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, za = _snapped(points[a, 0]), _snapped(points[a, 1]), z[a]
        bx, by, zb = _snapped(points[b, 0]), _snapped(points[b, 1]), z[b]
        cx, cy, zc = _snapped(points[c, 0]), _snapped(points[c, 1]), z[c]
        area, bx, by, zb, cx, cy, zc = _oriented(ax, ay, bx, by, cx, cy, za, zb, zc, cull, near)
        if area == 0.0:
            continue
        if _beside(_box(ax, ay, bx, by, cx, cy, left, top), width, height):
            continue
        row = corners[count]
        row[0], row[1], row[2], row[3], row[4], row[5] = ax, ay, bx, by, cx, cy
        row[6], row[7], row[8] = za, zb, zc
        ids[count] = f
        count += 1
    return count


@njit(error_model="numpy")
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


@njit(error_model="numpy")
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


@njit(inline="always")
def _moved(pose, a, b, c):
    x = pose[0, 0] * a + pose[0, 1] * b + pose[0, 2] * c + pose[0, 3]
    y = pose[1, 0] * a + pose[1, 1] * b + pose[1, 2] * c + pose[1, 3]
    return x, y, pose[2, 0] * a + pose[2, 1] * b + pose[2, 2] * c + pose[2, 3]


@njit(
    f"void({_points}, {_faces}, {_points}, {_numbers}, int64, {_points}, {_points}, int64, int64, float64,"
    " float32[:, ::1], float32[:, ::1])",
    error_model="numpy",
)
def draw_before(vertices, faces, centres, radii, group, pose, k, left, top, near, tiles, out):
    """Draw a mesh, moved by a pose (3, 4), where it is nearer than `out` (h, w) says, as `draw` would with one sample.

    vertices (V, 3) m; faces (F, 3), of which each `group` in a row lies in the sphere centres[i] (3,), radii[i] of the
    mesh's own frame: groups that cannot change a pixel (`tiles`, see `labeling.hiding`) are left out unseen.
    """
    height, width = out.shape
    moved = np.empty((len(vertices), 3))  # x and y px in 1/256, z m
    done = np.zeros(len(vertices), np.uint8)
    first, drawn = np.empty((1, height, width), np.int32), out.reshape((1, height, width))
    stretch = 0.0  # a bound of how much the pose's matrix stretches: 1 for a rotation
    for i in range(3):
        total = 0.0
        for j in range(3):
            total += abs(pose[0, i] * pose[0, j] + pose[1, i] * pose[1, j] + pose[2, i] * pose[2, j])
        stretch = max(stretch, total)
    stretch = np.sqrt(stretch) * (1.0 + 1e-9)
    for g in range(len(radii)):
        x, y, z = _moved(pose, centres[g, 0], centres[g, 1], centres[g, 2])
        if not _sphere_matters(x, y, z, radii[g] * stretch + 1e-9, k, left, top, near, tiles, width, height):
            continue
        for f in range(g * group, min((g + 1) * group, len(faces))):
            for corner in range(3):
                i = faces[f, corner]
                if not done[i]:
                    done[i] = 1
                    # As objects.place does, operation by operation.
                    x, y, z = _moved(pose, vertices[i, 0], vertices[i, 1], vertices[i, 2])
                    moved[i, 0] = _snapped((k[0, 0] * x + k[0, 1] * y) / z + k[0, 2])
                    moved[i, 1] = _snapped(k[1, 1] * y / z + k[1, 2])
                    moved[i, 2] = z
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            ax, ay, za = moved[a, 0], moved[a, 1], moved[a, 2]
            bx, by, zb = moved[b, 0], moved[b, 1], moved[b, 2]
            cx, cy, zc = moved[c, 0], moved[c, 1], moved[c, 2]
            area, bx, by, zb, cx, cy, zc = _oriented(ax, ay, bx, by, cx, cy, za, zb, zc, 0, near)
            if area == 0.0:
                continue
            corners, box = (ax, ay, bx, by, cx, cy), _box(ax, ay, bx, by, cx, cy, left, top)
            if _beside(box, width, height):
                continue
            small = _small(box, _NARROW)
            if small:
                x0, y0 = max(0, int(np.floor(box[0]))), max(0, int(np.floor(box[2])))
                x1, y1 = min(width - 1, int(np.floor(box[1]))), min(height - 1, int(np.floor(box[3])))
                if not _reaches(tiles, _SURELY / min(za, zb, zc), x0, y0, x1, y1):
                    continue
            inverses = (1.0 / (za * area), 1.0 / (zb * area), 1.0 / (zc * area))
            _fill(corners, inverses, box, 0.5, 0.5, left, top, small, f, first, drawn, 0)
