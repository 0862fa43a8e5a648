"""Steady hands in video: the results of one followed hand, smoothed while they come or, without lag, all together.

What is smoothed: how the palm is turned (on the sphere), mesh and joints as the palm sees them (so that the mesh keeps
its shape while the hand turns), the wrist's place, and the 2D joints. MANO's parameters are fitted to the smoothed mesh
anew. Metres, pixels; time counts in frames (`one_euro`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ..hand.array_record import SIDES
from ..hand.arrays import load_arrays
from ..hand.fit_start import nearest_rotations
from ..hand.fitting import BATCH
from ..hand.parts import FINGER_JOINTS, JOINTS, JOINTS_FROM_MANO
from .hand_result import HandResult, with_mano
from .local_fit import REACH, local_points, local_turns
from .mano_fit import MeshFitter
from .one_euro import LOST, OneEuro, Points, Turns

BEHIND = 0.008
"""m; tolerance of the wrist's place and of the points of the mesh (`one_euro.OneEuro`)."""
TURN_BEHIND = 0.08
"""rad; of the palm's turn: 8 mm at the fingers."""
SEEN_BEHIND = 0.025
"""Of the 2D joints, as a share of the hand's size in the picture."""
JUMP = 1.0
"""Of the hand's size in the picture: a hand whose middle moves on by more from one frame to the next is cut off."""
GROWTH = 2.0
"""A hand whose size in the picture changes by more than this factor is cut off."""
TURN = np.pi / 2
"""rad; so is one whose palm turns by more."""
_PALM = [0, *(joints[0] for joints in FINGER_JOINTS)]  # of the 21 joints: those that no finger moves
_PIECE = 512  # frames that are smoothed together: memory stays small


class HandSmoother:
    """Smooths one hand while its frames come: every call is the next frame, as those of `Predictor` are.

    mano: fits MANO's parameters to the smoothed meshes (give the hand here, not to the predictor, whose fit is lost).
    Starts anew at a cut (`is_cut`), also after more than `one_euro.LOST` frames of `skip`, and with `reset`.
    """

    def __init__(self, mano: str | MeshFitter | None = None) -> None:
        self._fitter = MeshFitter(mano) if isinstance(mano, str) else mano
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next frame passes as it is."""
        self._last: HandResult | None = None
        self._frames = self._root_frames = 1  # since the hand, and its place, were last known
        self._turn, self._shape = OneEuro(Turns(), TURN_BEHIND), OneEuro(Points(), BEHIND)
        self._seen, self._root = OneEuro(Points(), SEEN_BEHIND), OneEuro(Points(), BEHIND)

    def skip(self) -> None:
        """Let a frame pass in which the hand is not seen."""
        self._frames += 1
        self._root_frames += 1

    def __call__(self, result: HandResult) -> HandResult:
        """The hand of the next frame, smoothed."""
        if self._last is not None and is_cut(self._last, result, self._frames):
            self.reset()
        if self._last is None:
            self._size = _size(result)
        now, frames = _taken_apart(result, self._size), self._frames
        root = None if now.root is None else self._root(now.root, self._root_frames)
        smooth = _Posture(
            self._turn(now.turn, frames), self._shape(now.shape, frames), self._seen(now.seen, frames), root
        )
        self._last, self._frames = result, 1
        self._root_frames = self._root_frames + 1 if root is None else 1
        return refitted([_put_together(result, smooth, self._size)], self._fitter)[0]


def smooth_track(results: Sequence[HandResult], frames: Sequence[int]) -> list[HandResult]:
    """The results of one followed hand, in frames with these rising numbers, smoothed without lag.

    Each part between cuts by itself. When time runs backwards the results are the same. MANO's parameters are None.
    """
    smoothed = []
    for part in parts_between_cuts(results, frames):
        size = float(np.median([_size(results[place]) for place in part]))
        for start in range(part.start, part.stop, _PIECE):
            stop = min(start + _PIECE, part.stop)
            around = slice(max(start - REACH, part.start), min(stop + REACH, part.stop))
            found = _smooth_part(results[around], frames[around], size)
            smoothed += found[start - around.start : stop - around.start]
    return smoothed


def refitted(results: Sequence[HandResult], fitter: MeshFitter | None, *, one_shape: bool = False) -> list[HandResult]:
    """The results with MANO's parameters fitted to their meshes; as they are where there is no model.

    one_shape: the hands of a side get one `mano_shape`.
    """
    found = list(results)
    if fitter is None:
        return found
    for side in SIDES:
        places = [place for place, result in enumerate(results) if result.side == side]
        size = max(len(places), 1) if one_shape else BATCH
        for batch in (places[start : start + size] for start in range(0, len(places), size)):
            fitted = fitter(np.stack([results[place].vertices for place in batch]), side, one_shape=one_shape)
            if fitted is not None:
                for row, place in enumerate(batch):
                    found[place] = with_mano(results[place], fitted, row)
    return found


def parts_between_cuts(results: Sequence[HandResult], frames: Sequence[int]) -> list[range]:
    """The places of the parts of a followed hand's results that have no cut in them."""
    cuts = [
        place
        for place in range(1, len(results))
        if is_cut(results[place - 1], results[place], frames[place] - frames[place - 1])
    ]
    return [range(start, stop) for start, stop in zip([0, *cuts], [*cuts, len(results)], strict=True) if start < stop]


def is_cut(before: HandResult, after: HandResult, frames: int) -> bool:
    """Whether a hand that is seen again so many frames later is another one, or in another shot.

    So it is where it was missed for more than `one_euro.LOST` frames, is of the other side, or changed as no hand does:
    its place by more than `JUMP`, its size by more than `GROWTH`, its turn by more than `TURN`.
    """
    if frames > LOST + 1 or before.side != after.side:
        return True
    low, high = (np.stack([edge(one.joints_2d, axis=0) for one in (before, after)]) for edge in (np.min, np.max))
    sizes = (high - low).max(axis=1)
    if np.linalg.norm(np.diff((low + high) / 2, axis=0)) > JUMP * sizes.max() or sizes.max() > GROWTH * sizes.min():
        return True
    turn = palm_turn(after.joints, after.side) * palm_turn(before.joints, before.side).inv()
    return bool(turn.magnitude() > TURN)


def palm_turn(joints: NDArray, side: str) -> Rotation:
    """How the palm of joints (21, 3) m is turned away from the stand-in's at rest; bent fingers do not count."""
    palm = joints[_PALM] - joints[_PALM].mean(axis=0)
    return Rotation.from_matrix(nearest_rotations(palm.T @ _rest_palm(side)))


@lru_cache(maxsize=2)
def _rest_palm(side: str) -> NDArray[np.float64]:
    arrays = load_arrays("standin", side)
    palm = (arrays.joint_regressor @ arrays.v_template)[[JOINTS_FROM_MANO[joint] for joint in _PALM]]
    return palm - palm.mean(axis=0)


@dataclass(frozen=True, eq=False)
class _Posture:
    """A hand taken apart: the palm's turn, joints and mesh (799, 3) m in the palm's frame, 2D joints (21, 2), wrist m.

    The 2D joints are divided by the hand's size in the picture.
    """

    turn: Rotation
    shape: NDArray[np.float64]
    seen: NDArray[np.float64]
    root: NDArray[np.float64] | None


def _size(result: HandResult) -> float:
    """The longer side of the box round the 2D joints, px."""
    return max(float(np.ptp(result.joints_2d, axis=0).max()), 1.0)


def _taken_apart(result: HandResult, size: float) -> _Posture:
    turn = palm_turn(result.joints, result.side)
    shape = turn.inv().apply(np.concatenate([result.joints, result.vertices]))
    return _Posture(turn, shape, result.joints_2d / size, result.root)


def _put_together(result: HandResult, posture: _Posture, size: float) -> HandResult:
    points, seen = posture.turn.apply(posture.shape - posture.shape[0]), posture.seen * size
    moved = replace(result, joints=points[:JOINTS], vertices=points[JOINTS:], joints_2d=seen, root=posture.root)
    return replace(moved, mano_pose=None, mano_shape=None, mano_wrist=None, mano_error=None)


def _smooth_part(results: Sequence[HandResult], frames: Sequence[int], size: float) -> list[HandResult]:
    apart = [_taken_apart(result, size) for result in results]
    turns = local_turns(Rotation.concatenate([one.turn for one in apart]), frames)
    shapes = local_points(np.stack([one.shape for one in apart]), frames)
    seen = local_points(np.stack([one.seen for one in apart]), frames)
    known = {frame: one.root for frame, one in zip(frames, apart, strict=True) if one.root is not None}
    places = local_points(np.array(list(known.values())), list(known)) if known else ()
    roots = dict(zip(known, places, strict=True))
    return [
        _put_together(result, _Posture(turn, shape, points, roots.get(frame)), size)
        for result, frame, turn, shape, points in zip(results, frames, turns, shapes, seen, strict=True)
    ]
