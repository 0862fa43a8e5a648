"""Where points of a hand lie and how they move with its parameters: the normal equations of `fitting`'s least squares.

A point is a mesh vertex, or a joint: that is a point which one joint carries and no corrective moves. The 61 parameters
of a hand are `mano_pose` (48, rad), `mano_shape` (10) and the wrist's place (3, m), and points = LBS - J0 + wrist.
Metres, radians, float64. One hand after the other and sums in one order: a hand's bits know no batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .array_record import HandArrays
from .fit_kernels import fill_normal_equations, fill_places
from .parts import JOINTS_FROM_MANO, tip_vertices

POSE, SHAPE, WRIST = slice(0, 48), slice(48, 58), slice(58, 61)
"""Where the parameters stand among the `PARAMETERS` of a hand."""
PARAMETERS = 61
_ROWS = 63  # of the Jacobian: the parameters, the differences, one of zeros (the Gram matrix is summed in 3 x 3 tiles)


@dataclass(frozen=True, eq=False)
class Points:
    """P points of a hand at rest, relative to its rest wrist; coordinates by themselves, for loops over points.

    template (3, P) m; directions (145, 3, P) m: 10 of the shape, 135 of the correctives; weights (16, P);
    rest_template (16, 3) and rest_directions (16, 3, 10) m of the joints; parents (16,), -1 for the wrist.
    """

    template: np.ndarray
    directions: np.ndarray
    weights: np.ndarray
    rest_template: np.ndarray
    rest_directions: np.ndarray
    parents: np.ndarray

    @property
    def count(self) -> int:
        """How many points there are."""
        return self.weights.shape[1]

    def __getitem__(self, rows: np.ndarray) -> Points:
        """Some of the points, by their numbers."""
        template, directions, weights = (
            np.ascontiguousarray(each[..., rows]) for each in (self.template, self.directions, self.weights)
        )
        return Points(template, directions, weights, self.rest_template, self.rest_directions, self.parents)

    def place(self, parameters: np.ndarray) -> np.ndarray:
        """The points (B, P, 3) m of hands with `parameters` (B, 61)."""
        placed = np.empty((len(parameters), 3, self.count))
        fill_places(np.ascontiguousarray(parameters), *self._arrays(), placed)
        return placed.transpose(0, 2, 1)

    def normal_equations(self, parameters: np.ndarray, observed: np.ndarray) -> np.ndarray:
        """J J^T (B, 62, 62), where J's last row is the differences from `observed` (B, P, 3) m.

        Its [:61, :61] is the Gauss-Newton matrix, [61, :61] half the gradient, [61, 61] the sum of squares (m2).
        """
        found = np.empty((len(parameters), _ROWS, _ROWS))
        seen = np.ascontiguousarray(observed.transpose(0, 2, 1))
        fill_normal_equations(np.ascontiguousarray(parameters), seen, *self._arrays(), found)
        return found[:, : PARAMETERS + 1, : PARAMETERS + 1]

    def _arrays(self) -> tuple[np.ndarray, ...]:
        return (
            self.template,
            self.directions,
            self.weights,
            self.rest_template,
            self.rest_directions,
            self.parents,
        )


def mesh_points(arrays: HandArrays) -> Points:
    """All vertices of a hand, in their order."""
    joint_shapes = np.einsum("jv,vck->jck", arrays.joint_regressor, arrays.shapedirs)
    shapes = arrays.shapedirs - joint_shapes[0]
    rest = arrays.joint_regressor @ arrays.v_template
    directions = np.concatenate([shapes, arrays.posedirs], axis=2)
    return Points(
        np.ascontiguousarray((arrays.v_template - rest[0]).T),
        np.ascontiguousarray(directions.transpose(2, 1, 0)),
        np.ascontiguousarray(arrays.weights.T),
        rest - rest[0],
        joint_shapes - joint_shapes[0],
        arrays.parents,
    )


def joint_points(mesh: Points, tips: str, side: str) -> Points:
    """The 21 joints, wrist, then thumb to little, base to tip; `tips` names a set of `parts.TIPS`."""
    vertices = mesh[np.array(tip_vertices(tips, side))]
    directions = np.zeros((145, 3, 16))
    directions[:10] = mesh.rest_directions.transpose(2, 1, 0)
    return Points(
        np.concatenate([mesh.rest_template.T, vertices.template], axis=1),
        np.concatenate([directions, vertices.directions], axis=2),
        np.concatenate([np.eye(16), vertices.weights], axis=1),
        mesh.rest_template,
        mesh.rest_directions,
        mesh.parents,
    )[np.array(JOINTS_FROM_MANO)]


def spread_rows(mesh: Points, count: int) -> np.ndarray:
    """Numbers of `count` vertices all over the hand: the first, then always the one farthest from all before it."""
    template = mesh.template.T
    chosen = [0]
    distance = np.linalg.norm(template - template[0], axis=1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(template - template[chosen[-1]], axis=1))
    return np.array(sorted(chosen))
