"""The part of the hand at a few pixels, by the four-sample rule of the H2ONet authors, without drawing all the others.

Image space and rules as in `zbuffer`. The rule asks for parts where vertices project, some hundred pixels, and
elsewhere only whether the hand is there: the pixel's samples and their depths are needed at those few.
"""

import numpy as np

from ..jit import njit, readonly
from .triangles import faces_in_view
from .zbuffer import CULL, MULTISAMPLE_4

_LARGE = 64.0  # px; sides of the largest face: within them edges are exact, and testing all pixels is fast
_FARTHEST = 1e30  # m; beyond it, 1/z as float32 may be 0, and a sample that is hit shows nothing

_image, _samples = readonly("uint8", 2), readonly("float64", 2)


def parts_at(
    points_2d: np.ndarray,
    z: np.ndarray,
    faces: np.ndarray,
    face_parts: np.ndarray,
    wanted: np.ndarray,
    origin: tuple[int, int],
    empty: int,
    nothing: int,
    near: float,
) -> tuple[np.ndarray, np.ndarray] | None:
    """What `zbuffer.rasterize` with four samples and clockwise faces culled shows: `part` (h, w) uint8, `covered` bool.

    points_2d (V, 2) px; z (V,) m; faces (F, 3) int32, face_parts (F,) uint8. covered: sample 0 is hit. part: where
    `wanted` (h, w) uint8 is not 0, the part that all four samples show (`empty` for those that hit nothing) if sample 0
    is hit, else `nothing`. origin: (x, y) px of the first pixel. None where a face is too large or too far for this.
    """
    (height, width), (left, top) = wanted.shape, origin
    corners, ids = np.empty((len(faces), 9)), np.empty(len(faces), np.int64)
    view = (left, top, width, height)
    count = faces_in_view(points_2d, z, faces, *view, CULL["clockwise"], near, corners, ids)
    part, covered = np.full(wanted.shape, nothing, np.uint8), np.zeros(wanted.shape, np.uint8)
    shown = face_parts[ids[:count]]
    if not _parts_at(corners[:count], shown, MULTISAMPLE_4, left, top, empty, wanted, part, covered):
        return None
    return part, covered.view(bool)


@njit(
    f"boolean(float64[:, ::1], uint8[::1], {_samples}, int64, int64, uint8, {_image}, uint8[:, ::1], uint8[:, ::1])",
    error_model="numpy",
)
def _parts_at(corners, parts, samples, left, top, empty, wanted, part, covered):
    """Fill `covered` (h, w), where sample 0 is hit, and `part` where it is `wanted` and all samples show the same part.

    corners (F, 9) as `triangles.faces_in_view` gives them, parts (F,) of those faces, `empty` for samples that hit
    nothing. Both arrays come filled. False, with them half filled, where a face is too large or too far.
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
    offsets = np.empty((n_samples, 2), np.int64)
    for s in range(n_samples):
        offsets[s, 0], offsets[s, 1] = 256.0 * samples[s, 0], 256.0 * samples[s, 1]
    sx_low, sx_high, sy_low, sy_high = 1.0, 0.0, 1.0, 0.0
    for s in range(n_samples):
        sx_low, sx_high = min(sx_low, samples[s, 0]), max(sx_high, samples[s, 0])
        sy_low, sy_high = min(sy_low, samples[s, 1]), max(sy_high, samples[s, 1])
    shifts, most = np.empty((n_samples, 3), np.int64), np.empty(3, np.int64)
    for f in range(len(parts)):
        ax, ay, bx, by, cx, cy = (
            corners[f, 0],
            corners[f, 1],
            corners[f, 2],
            corners[f, 3],
            corners[f, 4],
            corners[f, 5],
        )
        za, zb, zc = corners[f, 6], corners[f, 7], corners[f, 8]
        x_low, x_high = min(ax, bx, cx) / 256.0 - left, max(ax, bx, cx) / 256.0 - left
        y_low, y_high = min(ay, by, cy) / 256.0 - top, max(ay, by, cy) / 256.0 - top
        if x_high - x_low > _LARGE or y_high - y_low > _LARGE or max(za, zb, zc) > _FARTHEST:
            return False
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        ia, ib, ic = 1.0 / (za * area), 1.0 / (zb * area), 1.0 / (zc * area)
        x_first, x_last = max(0, int(np.ceil(x_low - sx_high))), min(width - 1, int(np.floor(x_high - sx_low)))
        y_first, y_last = max(0, int(np.ceil(y_low - sy_high))), min(height - 1, int(np.floor(y_high - sy_low)))
        # Whole numbers, exact in any order: edges (x, y), and the values of edges at sample 0.
        xa, xb, xc, ya, yb, yc = int(cx - bx), int(ax - cx), int(bx - ax), int(cy - by), int(ay - cy), int(by - ay)
        most[:] = 0
        for s in range(n_samples):  # what the edges' values are more at the other samples, and at most
            dx, dy = offsets[s, 0] - offsets[0, 0], offsets[s, 1] - offsets[0, 1]
            shifts[s, 0], shifts[s, 1], shifts[s, 2] = xa * dy - ya * dx, xb * dy - yb * dx, xc * dy - yc * dx
            for i in range(3):
                most[i] = max(most[i], shifts[s, i])
        px = 256 * (x_first + left) + offsets[0, 0]
        for y in range(y_first, y_last + 1):
            py = 256 * (y + top) + offsets[0, 1]
            wa = xa * (py - int(by)) - ya * (px - int(bx))
            wb = xb * (py - int(cy)) - yb * (px - int(cx))
            wc = xc * (py - int(ay)) - yc * (px - int(ax))
            for x in range(x_first, x_last + 1):
                if (wa | wb | wc) >= 0:
                    covered[y, x] = 1
                place = slot[y, x]
                if place >= 0 and ((wa + most[0]) | (wb + most[1]) | (wc + most[2])) >= 0:
                    for s in range(n_samples):
                        va, vb, vc = wa + shifts[s, 0], wb + shifts[s, 1], wc + shifts[s, 2]
                        if (va | vb | vc) >= 0:
                            depth = np.float32(va * ia + vb * ib + vc * ic)
                            if depth > depths[place, s]:
                                depths[place, s] = depth
                                shown[place, s] = parts[f]
                wa, wb, wc = wa - 256 * ya, wb - 256 * yb, wc - 256 * yc
    for y in range(height):
        for x in range(width):
            place = slot[y, x]
            if place < 0 or not covered[y, x]:
                continue
            same = True
            for s in range(1, n_samples):
                same &= shown[place, s] == shown[place, 0]
            if same:
                part[y, x] = shown[place, 0]
    return True
