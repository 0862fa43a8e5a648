"""The compiled part of `fit_points`: one hand's points, their Jacobian, and its rows times each other.

Arrays are those of `fit_points.Points`; a hand's parameters are pose (48), shape (10) and wrist (3). With parameters,
a joint's turn R is exp(v), v its axis-angle; its tangent T turns a change dv into the turn after it, exp(T dv) R.
"""

from typing import Any

import numpy as np

from ..jit import njit, readonly

_OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract", "reassoc"}}  # sums in several strands
_part = njit(**_OPTIONS)


@_part
def _clear(rows):
    for row in rows:
        for v in range(len(row)):
            row[v] = 0.0


@_part
def _add(row, total):
    for v in range(len(row)):
        total[v] += row[v]


@_part
def _rotation(vector, turn, tangent):
    """Fill the matrix of an axis-angle vector, and the one that turns a change of the vector into a turn after it."""
    squared = vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2]
    if squared < 1e-4:  # series: what they leave out is below 1e-16
        sine = 1.0 - squared * (1.0 - squared * (1.0 - squared / 42.0) / 20.0) / 6.0
        cosine = 0.5 - squared * (1.0 - squared * (1.0 - squared / 56.0) / 30.0) / 24.0
        rest = (1.0 - squared * (1.0 - squared * (1.0 - squared / 72.0) / 42.0) / 20.0) / 6.0
    else:
        angle = np.sqrt(squared)
        sine, cosine = np.sin(angle) / angle, (1.0 - np.cos(angle)) / squared
        rest = (1.0 - sine) / squared
    x, y, z = vector[0], vector[1], vector[2]
    cross = ((0.0, -z, y), (z, 0.0, -x), (-y, x, 0.0))
    for i in range(3):
        for k in range(3):
            square = vector[i] * vector[k] - (squared if i == k else 0.0)
            one = 1.0 if i == k else 0.0
            turn[i, k] = one + sine * cross[i][k] + cosine * square
            tangent[i, k] = one + cosine * cross[i][k] + rest * square


@_part
def _chain(own, rest_template, rest_directions, parents, bones):
    """Fill `bones`: each joint's turn, tangent, orientation (16, 3, 3), place and rest place (16, 3)."""
    turn, tangent, orient, place, rest = bones
    for joint in range(16):
        _rotation(own[3 * joint : 3 * joint + 3], turn[joint], tangent[joint])
        for i in range(3):
            rest[joint, i] = rest_template[joint, i]
            for k in range(10):
                rest[joint, i] += own[48 + k] * rest_directions[joint, i, k]
    for i in range(3):
        place[0, i] = rest[0, i]
        for k in range(3):
            orient[0, i, k] = turn[0, i, k]
    for joint in range(1, 16):
        parent = parents[joint]
        for i in range(3):
            place[joint, i] = place[parent, i]
            for k in range(3):
                place[joint, i] += orient[parent, i, k] * (rest[joint, k] - rest[parent, k])
                orient[joint, i, k] = 0.0
                for m in range(3):
                    orient[joint, i, k] += orient[parent, i, m] * turn[joint, m, k]


@_part
def _add_nine(share, directions, moved):
    """Add the correctives (9, 3, P) of one joint, each with its share (3, 3), to moved (3, P)."""
    s0, s1, s2, s3, s4 = share[0, 0], share[0, 1], share[0, 2], share[1, 0], share[1, 1]
    s5, s6, s7, s8 = share[1, 2], share[2, 0], share[2, 1], share[2, 2]
    for i in range(3):
        row, d0, d1, d2, d3 = moved[i], directions[0, i], directions[1, i], directions[2, i], directions[3, i]
        d4, d5, d6, d7, d8 = directions[4, i], directions[5, i], directions[6, i], directions[7, i], directions[8, i]
        for v in range(len(row)):
            row[v] += s0 * d0[v] + s1 * d1[v] + s2 * d2[v] + s3 * d3[v] + s4 * d4[v]
            row[v] += s5 * d5[v] + s6 * d6[v] + s7 * d7[v] + s8 * d8[v]


@_part
def _unpose(own, turn, template, directions, share, unposed):
    """Fill the points (3, P) with shape and correctives, before they are turned."""
    for i in range(3):
        row = unposed[i]
        for v in range(len(row)):
            row[v] = template[i, v]
        for k in range(10):
            beta, direction = own[48 + k], directions[k, i]
            for v in range(len(row)):
                row[v] += beta * direction[v]
    for joint in range(1, 16):
        for i in range(3):
            for k in range(3):
                share[i, k] = turn[joint, i, k] - (1.0 if i == k else 0.0)
        _add_nine(share, directions[1 + 9 * joint : 10 + 9 * joint], unposed)


@_part
def _carry(unposed, weight, orient, place, rest, carried):
    """Fill the points (3, P) as one joint carries them, times its weight."""
    for i in range(3):
        offset = place[i]
        for k in range(3):
            offset -= orient[i, k] * rest[k]
        x, y, z = orient[i, 0], orient[i, 1], orient[i, 2]
        row, px, py, pz = carried[i], unposed[0], unposed[1], unposed[2]
        for v in range(len(weight)):
            row[v] = weight[v] * (x * px[v] + y * py[v] + z * pz[v] + offset)


@_part
def _add_turned(blended, moved, row):
    """Add moved (3, P), each point turned by its blended matrix (9, P), to row (3, P)."""
    mx, my, mz = moved[0], moved[1], moved[2]
    for i in range(3):
        line, bx, by, bz = row[i], blended[3 * i], blended[3 * i + 1], blended[3 * i + 2]
        for v in range(len(line)):
            line[v] += bx[v] * mx[v] + by[v] * my[v] + bz[v] * mz[v]


@_part
def _pose_rows(directions, weights, parents, bones, unposed, blended, below, total, rows):
    """Fill rows (48, 3, P): how the points move with each component of the pose; below[0] (3, P) gets the points."""
    turn, tangent, orient, place, rest = bones
    count = weights.shape[1]
    carried, moved = np.empty((3, count)), np.empty((3, count))
    axis, change = np.empty(3), np.empty((3, 3))
    for joint in range(16):
        _carry(unposed, weights[joint], orient[joint], place[joint], rest[joint], below[joint])
        for v in range(count):
            total[joint, v] = weights[joint, v]
    for joint in range(15, -1, -1):
        parent = parents[joint]
        for i in range(3):
            start, row, share, lever = place[joint, i], below[joint, i], total[joint], carried[i]
            for v in range(count):
                lever[v] = row[v] - start * share[v]
            if joint > 0:
                _add(row, below[parent, i])
        if joint > 0:
            _add(total[joint], total[parent])
        for c in range(3):
            for i in range(3):
                axis[i] = tangent[joint, i, c]
                if joint > 0:
                    axis[i] = 0.0
                    for k in range(3):
                        axis[i] += orient[parent, i, k] * tangent[joint, k, c]
            row = rows[3 * joint + c]
            for i in range(3):
                p, q = (i + 1) % 3, (i + 2) % 3
                line, ap, aq, lp, lq = row[i], axis[p], axis[q], carried[p], carried[q]
                for v in range(count):
                    line[v] = ap * lq[v] - aq * lp[v]
            if joint > 0:  # what the joint's correctives add: the turn changes by the axis across its columns
                for k in range(3):
                    for i in range(3):
                        p, q = (i + 1) % 3, (i + 2) % 3
                        change[i, k] = (
                            tangent[joint, p, c] * turn[joint, q, k] - tangent[joint, q, c] * turn[joint, p, k]
                        )
                _clear(moved)
                _add_nine(change, directions[1 + 9 * joint : 10 + 9 * joint], moved)
                _add_turned(blended, moved, row)


@_part
def _shape_rows(directions, weights, rest_directions, parents, orient, blended, rows):
    """Fill rows (10, 3, P): how the points move with each component of the shape."""
    place, offset = np.zeros((16, 3)), np.empty((16, 3))
    for k in range(10):
        for joint in range(16):
            parent = parents[joint]
            for i in range(3):
                if joint > 0:
                    place[joint, i] = place[parent, i]
                    for m in range(3):
                        bone = rest_directions[joint, m, k] - rest_directions[parent, m, k]
                        place[joint, i] += orient[parent, i, m] * bone
                offset[joint, i] = place[joint, i]
                for m in range(3):
                    offset[joint, i] -= orient[joint, i, m] * rest_directions[joint, m, k]
        _clear(rows[k])
        for i in range(3):
            line = rows[k, i]
            for joint in range(16):
                share, weight = offset[joint, i], weights[joint]
                for v in range(len(line)):
                    line[v] += share * weight[v]
        _add_turned(blended, directions[k], rows[k])


_table, _cube, _whole = readonly("float64", 2), readonly("float64", 3), readonly("int64", 1)
_HAND = ", ".join((_table, _cube, _table, _table, _cube, _whole))  # Points._arrays


@_part
def _new_bones():
    frames = np.empty((3, 16, 3, 3))
    return frames[0], frames[1], frames[2], np.empty((16, 3)), np.empty((16, 3))


@njit(f"void({_table}, {_HAND}, float64[:, :, ::1])", **_OPTIONS)
def fill_places(parameters, template, directions, weights, rest_template, rest_directions, parents, placed):
    """Fill placed (B, 3, P)."""
    unposed, carried, bones, share = np.empty_like(template), np.empty_like(template), _new_bones(), np.empty((3, 3))
    for b in range(len(parameters)):
        own = parameters[b]
        _chain(own, rest_template, rest_directions, parents, bones)
        _unpose(own, bones[0], template, directions, share, unposed)
        for i in range(3):
            for v in range(len(unposed[i])):
                placed[b, i, v] = own[58 + i]
        for joint in range(16):
            _carry(unposed, weights[joint], bones[2][joint], bones[3][joint], bones[4][joint], carried)
            for i in range(3):
                _add(carried[i], placed[b, i])


@_part
def _rows(own, template, directions, weights, rest_template, rest_directions, parents, bones, scratch, rows):
    """Fill rows (61.., 3, P), one hand's Jacobian; scratch[-1][0] gets the points relative to the wrist."""
    share, unposed, blended, total, below = scratch
    _chain(own, rest_template, rest_directions, parents, bones)
    _unpose(own, bones[0], template, directions, share, unposed)
    _clear(blended)
    for joint in range(16):
        for i in range(9):
            line, weight, entry = blended[i], weights[joint], bones[2][joint, i // 3, i % 3]
            for v in range(len(line)):
                line[v] += entry * weight[v]
    _pose_rows(directions, weights, parents, bones, unposed, blended, below, total, rows)
    _shape_rows(directions, weights, rest_directions, parents, bones[2], blended, rows[48:])
    for i in range(3):
        _clear(rows[58 + i])
        for v in range(rows.shape[2]):
            rows[58 + i, i, v] = 1.0


@_part
def _scratch(count):
    return np.empty((3, 3)), np.empty((3, count)), np.empty((9, count)), np.empty((16, count)), np.empty((16, 3, count))


@njit(f"void({_table}, {_cube}, {_HAND}, float64[:, :, ::1])", **_OPTIONS)
def fill_normal_equations(
    parameters, observed, template, directions, weights, rest_template, rest_directions, parents, found
):
    """Fill found (B, 63, 63) with the rows times each other; row 61 are the differences, 62 is zero."""
    count = weights.shape[1]
    bones, scratch = _new_bones(), _scratch(count)
    rows = np.zeros((63, 3, count))
    flat = rows.reshape(63, 3 * count)
    for b in range(len(parameters)):
        own, gram = parameters[b], found[b]
        _rows(own, template, directions, weights, rest_template, rest_directions, parents, bones, scratch, rows)
        for i in range(3):
            line, point, seen = rows[61, i], scratch[4][0, i], observed[b, i]
            for v in range(count):
                line[v] = point[v] + own[58 + i] - seen[v]
        for i in range(0, 63, 3):
            a0, a1, a2 = flat[i], flat[i + 1], flat[i + 2]
            for k in range(0, i + 1, 3):
                c0, c1, c2 = flat[k], flat[k + 1], flat[k + 2]
                s00 = s01 = s02 = s10 = s11 = s12 = s20 = s21 = s22 = 0.0
                for v in range(3 * count):
                    x0, x1, x2, y0, y1, y2 = a0[v], a1[v], a2[v], c0[v], c1[v], c2[v]
                    s00 += x0 * y0
                    s01 += x0 * y1
                    s02 += x0 * y2
                    s10 += x1 * y0
                    s11 += x1 * y1
                    s12 += x1 * y2
                    s20 += x2 * y0
                    s21 += x2 * y1
                    s22 += x2 * y2
                tile = ((s00, s01, s02), (s10, s11, s12), (s20, s21, s22))
                for m in range(3):
                    for n in range(3):
                        gram[i + m, k + n] = tile[m][n]
                        gram[k + n, i + m] = tile[m][n]
