"""The posed hand in NumPy: exact meshes and joints for labels and pictures, without torch.

Metres, radians, float64. Worker processes pose thousands of hands and differentiate none: loading torch would take
each of them two seconds and 130 MB. `mano.py` poses the same hand through smplx, for networks; tests compare the two.
Sums run in one order, whatever the batch and the number of threads: a frame's mesh is the same to the bit everywhere.
"""

import numpy as np

from ..jit import njit, readonly
from .array_record import HandArrays
from .basis import HandBasis
from .parts import JOINTS_FROM_MANO, Parts, parts_of, tip_vertices
from .rotations import matrix_from_axis_angle


class SkinnedHand:
    """One side's hand: its `arrays`, `faces` and `parts`, and meshes by linear blend skinning (MANO, equations 2 to 4).

    Conventions are those of `mano.HandModel`: poses (B, 48) are full axis-angle with the hand's mean, and
    vertices = LBS(pose, shape) + translation.
    """

    def __init__(self, arrays: HandArrays) -> None:
        self.arrays = arrays
        self.side: str = arrays.side
        self.faces: np.ndarray = arrays.faces
        self.parts: Parts = parts_of(arrays.faces, arrays.weights)
        self.basis = HandBasis.of(arrays)
        # Coordinates by themselves: loops over neighbouring vertices are what processors do several at a time.
        directions = np.concatenate([arrays.shapedirs, arrays.posedirs], axis=2)
        self._template = arrays.v_template.T.ravel()
        self._directions = np.ascontiguousarray(directions.transpose(2, 1, 0).reshape(-1, self._template.size))
        self._weights = np.ascontiguousarray(arrays.weights.T)
        self._rest_template = arrays.joint_regressor @ arrays.v_template
        rest_directions = np.einsum("jv,vck->kjc", arrays.joint_regressor, arrays.shapedirs)
        self._rest_directions = np.ascontiguousarray(rest_directions)

    def pose(
        self,
        mano_pose: np.ndarray,
        mano_shape: np.ndarray,
        translation: np.ndarray | None = None,
        tips: str = "manopth",
    ) -> tuple[np.ndarray, np.ndarray]:
        """Vertices (B, 778, 3) and joints (B, 21, 3) m, wrist first, then thumb to little, base to tip.

        mano_pose (B, 48) rad; mano_shape (B, 10) or (1, 10); translation (B, 3) m, added at the end (None: nothing is
        added, the wrist is `root(mano_shape)`); tips: a set of `parts.TIPS`.
        """
        count = len(mano_pose)
        shape = np.ascontiguousarray(np.broadcast_to(mano_shape, (count, 10)), np.float64)
        turns = matrix_from_axis_angle(np.reshape(mano_pose, (count, 16, 3)))
        vertices, place = np.empty((count, len(self.arrays.v_template), 3)), np.empty((count, 16, 3))
        _skin(
            turns,
            shape,
            self._template,
            self._directions,
            self._weights,
            self._rest_template,
            self._rest_directions,
            self.arrays.parents,
            vertices,
            place,
        )
        joints = np.concatenate([place, vertices[:, list(tip_vertices(tips, self.side))]], axis=1)
        joints = joints[:, list(JOINTS_FROM_MANO)]
        if translation is None:
            return vertices, joints
        offset = np.asarray(translation, np.float64)[:, None]
        return vertices + offset, joints + offset

    def root(self, mano_shape: np.ndarray) -> np.ndarray:
        """J0 (B, 3) m: the rest wrist of shapes (B, 10); the posed wrist is J0 + translation (docs/hand.md)."""
        return self.basis.wrist_template + mano_shape @ self.basis.wrist_directions.T


_TOGETHER = 8  # hands whose shapes are summed up side by side: the 2.7 MB of directions are read once for all of them


@njit(inline="always")
def _deform(turns, shape, template, directions, coefficients, shaped):
    """Fill the first rows of shaped (8, 3V) with the unposed meshes of up to 8 hands."""
    for b in range(len(turns)):
        for k in range(10):
            coefficients[b, k] = shape[b, k]
        for joint in range(1, 16):
            for i in range(3):
                for k in range(3):
                    coefficients[b, 1 + 9 * joint + 3 * i + k] = turns[b, joint, i, k] - (1.0 if i == k else 0.0)
        for i in range(len(template)):
            shaped[b, i] = template[i]
    for k in range(0, len(directions), 5):
        d0, d1, d2, d3, d4 = directions[k], directions[k + 1], directions[k + 2], directions[k + 3], directions[k + 4]
        for b in range(len(turns)):
            row, own = shaped[b], coefficients[b]
            c0, c1, c2, c3, c4 = own[k], own[k + 1], own[k + 2], own[k + 3], own[k + 4]
            for i in range(len(row)):
                row[i] += c0 * d0[i] + c1 * d1[i] + c2 * d2[i] + c3 * d3[i] + c4 * d4[i]


_shape, _matrix, _cube, _turns = (readonly("float64", dimensions) for dimensions in (1, 2, 3, 4))
_parents = readonly("int64", 1)


@njit(
    f"void({_turns}, {_matrix}, {_shape}, {_matrix}, {_matrix}, {_matrix}, {_cube}, {_parents}, float64[:, :, ::1],"
    " float64[:, :, ::1])",
    error_model="numpy",
)
def _skin(turns, shape, template, directions, weights, rest_template, rest_directions, parents, vertices, place):
    """Fill vertices (B, V, 3) and the joints' places (B, 16, 3) m from turns (B, 16, 3, 3) and shapes (B, 10).

    template (3V,) and directions (145, 3V) hold all x, then all y, then all z; weights are (16, V).
    """
    count = weights.shape[1]
    coefficients = np.empty((_TOGETHER, len(directions)))
    shaped = np.empty((_TOGETHER, len(template)))
    blended = np.empty((12, count))
    rest = np.empty((16, 3))
    orient = np.empty((16, 3, 3))
    for b in range(len(turns)):
        if b % _TOGETHER == 0:
            _deform(turns[b : b + _TOGETHER], shape[b : b + _TOGETHER], template, directions, coefficients, shaped)
        unposed = shaped[b % _TOGETHER]
        for joint in range(16):
            for i in range(3):
                rest[joint, i] = rest_template[joint, i]
                for k in range(10):
                    rest[joint, i] += shape[b, k] * rest_directions[k, joint, i]
        for i in range(3):
            place[b, 0, i] = rest[0, i]
            for k in range(3):
                orient[0, i, k] = turns[b, 0, i, k]
        for joint in range(1, 16):
            parent = parents[joint]
            for i in range(3):
                place[b, joint, i] = place[b, parent, i]
                for k in range(3):
                    place[b, joint, i] += orient[parent, i, k] * (rest[joint, k] - rest[parent, k])
                    orient[joint, i, k] = 0.0
                    for m in range(3):
                        orient[joint, i, k] += orient[parent, i, m] * turns[b, joint, m, k]
        blended[:] = 0.0
        for joint in range(16):
            weight = weights[joint]
            for i in range(3):
                offset = place[b, joint, i]
                for k in range(3):
                    offset -= orient[joint, i, k] * rest[joint, k]
                x, y, z = orient[joint, i, 0], orient[joint, i, 1], orient[joint, i, 2]
                bx, by, bz, bt = blended[4 * i], blended[4 * i + 1], blended[4 * i + 2], blended[4 * i + 3]
                for v in range(count):
                    bx[v] += x * weight[v]
                    by[v] += y * weight[v]
                    bz[v] += z * weight[v]
                    bt[v] += offset * weight[v]
        for i in range(3):
            bx, by, bz, bt = blended[4 * i], blended[4 * i + 1], blended[4 * i + 2], blended[4 * i + 3]
            for v in range(count):
                vertices[b, v, i] = (
                    bx[v] * unposed[v] + by[v] * unposed[count + v] + bz[v] * unposed[2 * count + v] + bt[v]
                )
