"""MANO's parameters from meshes or joints: a batched least-squares fit of one side's hand.

Metres and radians, float64, NumPy only (docs/fit.md). A fitted hand is `mano_pose`, `mano_shape` and the wrist's
place, so that vertices = LBS(mano_pose, mano_shape) - J0(mano_shape) + wrist. The pose starts in closed form
(`fit_start`), shape and wrist from a linear least squares, and damped Gauss-Newton steps (Levenberg 1944, Marquardt
1963) with the exact derivatives of `fit_points` do the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from ..errors import InputError
from .array_record import HandArrays
from .fit_points import PARAMETERS, POSE, SHAPE, WRIST, Points, joint_points, mesh_points, spread_rows
from .fit_priors import Prior, for_joints, for_vertices
from .fit_start import PartTurns, bone_pose
from .parts import JOINTS, VERTICES

BATCH = 64  # hands at a time, whatever their number: memory stays small
COARSE = 192  # vertices that the first steps look at
NEAR, DONE = 1e-4, 1e-5  # m: a step that moves the points by less (root mean square) is the last, coarsely and at all
SMALL = 0.03  # as a share of the distance that is left: where hands cannot fit, smaller steps lead nowhere
MOST_STEPS = 40
JOINT_NOISE, MESH_NOISE = 1e-3, 3e-4  # m
FARTHEST, NOISIEST = 1e3, 1.0  # m
INDEPENDENT = 4  # hands of one person: more of them share errors, which no number of them averages away
BAD = 3.0  # times the median error: such a hand is none, or somebody else's
ALL = np.arange(PARAMETERS)
OWN = np.delete(ALL, SHAPE)  # what hands of one person do not share
_DAMPING, _LEAST_DAMPING = 1e-2, 1e-9


@dataclass(frozen=True)
class FittedHands:
    """N fitted hands: mano_pose (N, 48) rad, mano_shape (N, 10), wrist (N, 3) m, error (N,) m.

    The pose is full axis-angle, global rotation first, hand mean included, no angle above pi; the error is the mean
    distance of the points that were fitted to. The rows of unknown hands are NaN.
    """

    mano_pose: np.ndarray
    mano_shape: np.ndarray
    wrist: np.ndarray
    error: np.ndarray


class HandFitter:
    """Fits one side's hand, MANO's or the stand-in's; `limits` holds joint angles within those of living hands."""

    def __init__(self, arrays: HandArrays, *, limits: bool = False) -> None:
        self.arrays = arrays
        self.side: str = arrays.side
        self._mesh = mesh_points(arrays)
        self._rows = spread_rows(self._mesh, COARSE)
        self._coarse = self._mesh[self._rows]
        self._parts = PartTurns(arrays)
        self._limits = limits

    def to_vertices(self, vertices: np.ndarray, noise: float = MESH_NOISE, *, one_shape: bool = False) -> FittedHands:
        """Fit meshes (N, 778, 3) m. InputError for another shape.

        noise: how far off (m) a coordinate is taken to be; the larger, the more the fit keeps to likely hands. A hand
        is unknown where a number is not finite or beyond a kilometre, or where all its points are one. one_shape: all
        are one person's, with one `mano_shape`, the likeliest for all of them together.
        """
        prior = for_vertices(self.arrays, _checked(noise), limits=self._limits)

        def fit(meshes: np.ndarray) -> np.ndarray:
            near = _start(self._coarse, meshes[:, self._rows], self._parts.pose(meshes), prior)
            near = _descend(self._coarse, meshes[:, self._rows], near, prior, NEAR)
            return _descend(self._mesh, meshes, near, prior, DONE)

        return _fit_known(fit, self._mesh, _points(vertices, "vertices", VERTICES), prior if one_shape else None)

    def to_joints(
        self, joints: np.ndarray, tips: str = "manopth", noise: float = JOINT_NOISE, *, one_shape: bool = False
    ) -> FittedHands:
        """Fit joints (N, 21, 3) m: wrist, then thumb to little, base to tip; tips: a set of `parts.TIPS`.

        Turns about bones are left open by joints: the belief in likely hands chooses them (docs/fit.md). The rest is as
        above.
        """
        prior = for_joints(self.arrays, _checked(noise), limits=self._limits)
        points = joint_points(self._mesh, tips, self.side)

        def fit(hands: np.ndarray) -> np.ndarray:
            start = _start(points, hands, bone_pose(hands, points.template.T), prior)
            return _descend(points, hands, start, prior, DONE)

        return _fit_known(fit, points, _points(joints, "joints", JOINTS), prior if one_shape else None)


def _checked(noise: float) -> float:
    if not 0 < noise <= NOISIEST:
        raise InputError(f"noise: expected a distance above 0 and up to {NOISIEST:g} m, found {noise:g} m")
    return noise


def _points(values: np.ndarray, name: str, count: int) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 3 or values.shape[1:] != (count, 3) or values.dtype.kind not in "fiu":
        raise InputError(f"{name}: expected (N, {count}, 3) numbers in metres, found {values.shape} {values.dtype}")
    return values.astype(np.float64)


def known_hands(observed: np.ndarray) -> np.ndarray:
    """Which hands (N,) of points (N, P, 3) m are known: finite, near enough to be meant, and more than one point."""
    near = (np.abs(observed) < FARTHEST).all(axis=(1, 2))  # False for NaN
    return near & (observed != observed[:, :1]).any(axis=(1, 2))


def _fit_known(
    fit: Callable[[np.ndarray], np.ndarray], points: Points, observed: np.ndarray, shared: Prior | None
) -> FittedHands:
    """Fit the known hands batch by batch; NaN for the others. `shared`: the prior, where they share a shape."""
    known = np.flatnonzero(known_hands(observed))
    parameters, error = np.full((len(observed), PARAMETERS), np.nan), np.full(len(observed), np.nan)
    for rows in _batches(known):
        parameters[rows] = fit(observed[rows])
    if shared is not None and known.size:
        parameters[known] = _with_one_shape(points, observed[known], parameters[known], shared)
    for rows in _batches(known):
        found = parameters[rows]
        turns = Rotation.from_rotvec(found[:, POSE].reshape(-1, 3)).as_rotvec()  # the same turns, no angle above pi
        parameters[rows, POSE] = turns.reshape(-1, 48)
        error[rows] = _off(points, observed[rows], parameters[rows])
    return FittedHands(parameters[:, POSE], parameters[:, SHAPE], parameters[:, WRIST], error)


def _batches(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]


def _with_one_shape(points: Points, observed: np.ndarray, fitted: np.ndarray, prior: Prior) -> np.ndarray:
    """The parameters (N, 61) of hands that were `fitted` one by one, with one shape for all.

    Each hand's equations, solved for what is its own, leave ten for the shape (the Schur complement, as in bundle
    adjustment). Their sum says which shape is likeliest; with it every hand goes on to its own pose, until the shape
    stays. What is believed of a shape counts as much as if there were at most `INDEPENDENT` hands, and hands that fit
    badly by themselves (`BAD`) have no say in it.
    """
    alone = replace(prior, normal=prior.normal.copy())
    alone.normal[SHAPE, SHAPE] = 0
    off = np.concatenate([_off(points, observed[rows], fitted[rows]) for rows in _batches(np.arange(len(fitted)))])
    good = off <= BAD * np.median(off)
    judges, every = _batches(np.flatnonzero(good)), _batches(np.arange(len(fitted)))
    belief = max(1.0, good.sum() / INDEPENDENT) * points.count * prior.normal[SHAPE, SHAPE]
    best, least, moved, parameters = fitted, np.inf, np.zeros(10), fitted
    normal = belief
    for attempt in range(MOST_STEPS):
        sums, target, squares = belief.copy(), np.zeros(10), 0.0
        for rows in judges:
            equations = _equations(points, observed[rows], parameters[rows], alone)
            left = _without(equations, OWN)
            sums += left[:, :-1, :-1].sum(axis=0)
            target += (left[:, :-1, :-1] @ parameters[rows, SHAPE, None] - left[:, :-1, -1:]).sum(axis=0)[:, 0]
            squares += float(equations[:, -1, -1].sum())
        if attempt:  # before, the shapes are many
            squares += parameters[0, SHAPE] @ belief @ parameters[0, SHAPE]
        if attempt and not squares < least:
            moved = moved / 4  # too far: a shorter step from where it was best
        else:
            best, normal = parameters, sums
            least = squares if attempt else np.inf
            moved = np.linalg.solve(normal, target) - best[0, SHAPE]
        if attempt and moved @ normal @ moved < good.sum() * points.count * DONE**2:
            break
        shape = best[0, SHAPE] + moved
        parameters = best.copy()
        parameters[:, SHAPE] = shape
        for rows in every:
            parameters[rows] = _descend(points, observed[rows], parameters[rows], alone, DONE, OWN)
    return best


def _off(points: Points, observed: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """Mean distances (B,) m of observed points from those of hands with these parameters."""
    return np.linalg.norm(points.place(parameters) - observed, axis=2).mean(axis=1)


def _without(equations: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Normal equations (B, n, n) solved for the parameters `known`: those of the others, the last row as before."""
    others = np.delete(np.arange(equations.shape[1]), known)
    cross = equations[:, known][:, :, others]
    solved = np.linalg.solve(equations[:, known][:, :, known], cross)
    return equations[:, others][:, :, others] - cross.swapaxes(1, 2) @ solved


def _start(points: Points, observed: np.ndarray, pose: np.ndarray, prior: Prior) -> np.ndarray:
    """Parameters (B, 61) with this pose (B, 48); shape and wrist, which are linear then, by least squares."""
    parameters = np.zeros((len(pose), PARAMETERS))
    parameters[:, POSE] = pose
    equations = _equations(points, observed, parameters, prior)
    linear = slice(SHAPE.start, PARAMETERS)
    step = np.linalg.solve(equations[:, linear, linear], -equations[:, -1, linear, None])
    parameters[:, linear] += step[..., 0]
    return parameters


def _equations(points: Points, observed: np.ndarray, parameters: np.ndarray, prior: Prior) -> np.ndarray:
    return prior.added(points.normal_equations(parameters, observed), parameters, points.count)


def _descend(
    points: Points,
    observed: np.ndarray,
    start: np.ndarray,
    prior: Prior,
    enough: float,
    free: np.ndarray = ALL,
) -> np.ndarray:
    """Parameters (B, 61) of least squares by damped Gauss-Newton steps, each hand until a step moves it too little.

    A step that made the sum of squares larger is taken back, and the next one is shorter. Only the parameters `free`
    change.
    """
    count = len(start)
    best, trial = start.copy(), start.copy()
    rows = np.append(free, PARAMETERS)
    equations = np.full((count, len(rows), len(rows)), np.inf)
    damping = np.full(count, _DAMPING)
    diagonal = np.arange(len(free))
    left = np.arange(count)  # the hands that still move
    for _ in range(MOST_STEPS):
        found = _equations(points, observed[left], trial[left], prior)[:, rows[:, None], rows]
        better = found[:, -1, -1] <= equations[left, -1, -1]
        equations[left[better]], best[left[better]] = found[better], trial[left[better]]
        damping[left] = np.maximum(np.where(better, damping[left] / 10, damping[left] * 10), _LEAST_DAMPING)
        damped = equations[left, :-1, :-1]
        damped[:, diagonal, diagonal] *= 1 + damping[left, None]
        step = np.linalg.solve(damped, -equations[left, -1, :-1, None])
        moved = (step.swapaxes(1, 2) @ equations[left, :-1, :-1] @ step)[:, 0, 0]
        trial[left] = best[left]
        trial[left[:, None], free] += step[..., 0]
        last = moved < np.maximum(points.count * enough**2, SMALL**2 * equations[left, -1, -1])
        best[left[last]] = trial[left[last]]  # so short a step cannot do harm
        left = left[~last]
        if not left.size:
            break
    return best
