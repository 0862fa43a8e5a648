"""Hands without a network: the hand model fitted to the detector's 3D landmarks (`h2o predict --checkpoint landmarks`).

Metres in the OpenCV camera frame, relative to the wrist, in the hand's own side; 2D is pixels of the picture.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, one_line
from ..hand.array_record import SIDES, HandArrays
from ..hand.arrays import load_arrays
from ..hand.fitting import FittedHands, HandFitter
from ..hand.parts import bone_length
from ..hand.skinning import SkinnedHand
from .cameras import Camera
from .detector import DETECTED, DetectedHand
from .hand_result import HandResult, with_mano
from .placement import place_wrist
from .predictor import given_square
from .reliability import doubts_of, signs_of

log = logging.getLogger(__name__)
LANDMARKS = "landmarks"
"""What `--checkpoint` names instead of a network."""
NOISE = 5e-3
"""m: MediaPipe's knuckles and wrist are not MANO's joints, and its depth is a guess."""
LARGEST_SHAPE = 3.0
"""Of a coefficient of `mano_shape`, in standard deviations of living hands: a hand beyond it is doubted."""
REPEATS = 2
"""How often the hand is fitted again with its joints moved sideways, to where their landmarks are in the picture."""


def is_landmarks(checkpoint: str | Path) -> bool:
    """Whether a checkpoint's name asks for no network; a file or folder of that name goes before."""
    return Path(checkpoint) == Path(LANDMARKS) and not Path(checkpoint).exists()


class _Side:
    """One side's hand model, its fitter, its faces (1538, 3), wound to face outward, and the mean hand's size, m."""

    def __init__(self, arrays: HandArrays) -> None:
        self.fitter, self.hand = HandFitter(arrays, limits=True), SkinnedHand(arrays)
        a, b, c = arrays.v_template[arrays.faces].transpose(1, 0, 2)
        inward = (a * np.cross(b, c)).sum() < 0  # the volume within, six times
        self.faces = np.ascontiguousarray(arrays.faces[:, ::-1] if inward else arrays.faces, np.int32)
        [self._size] = bone_length(self.hand.pose(np.zeros((1, 48)), np.zeros((1, 10)))[1])

    def start(self, world: NDArray) -> NDArray[np.float64]:
        """Landmarks (21, 3) as large as the mean hand's: the model's own metres are off by up to half."""
        return world * self._size / max(bone_length(world[None])[0], 1e-6)

    def fit(self, joints: NDArray) -> tuple[FittedHands, NDArray[np.float64], NDArray[np.float64]]:
        """The hand with joints like these (21, 3) m, wherever: its parameters; vertices, joints about its wrist."""
        fitted = replace(self.fitter.to_joints(joints[None], noise=NOISE), wrist=np.zeros((1, 3)))
        pose, shape = fitted.mano_pose, fitted.mano_shape
        [vertices], [placed] = self.hand.pose(pose, shape, -self.hand.root(shape))
        return fitted, vertices, placed


def _sideways(joints: NDArray, landmarks: NDArray, intrinsics: NDArray) -> NDArray[np.float64]:
    """Joints (21, 3) m in the camera frame, moved at their depths to where landmarks (21, 2) px show them."""
    rays = np.linalg.solve(intrinsics, np.column_stack([landmarks, np.ones(len(landmarks))]).T).T
    return rays / rays[:, 2:] * joints[:, 2:]


def _likely(fitted: FittedHands) -> bool:
    """Whether somebody may have such a hand."""
    return bool((np.abs(fitted.mano_shape) <= LARGEST_SHAPE).all())


class LandmarkModel:
    """The hand models of a folder (MANO_RIGHT.pkl, MANO_LEFT.pkl), or "standin", made ready to be fitted.

    InputError where neither side is there; a warning where one is not: its hands are then failures.
    """

    def __init__(self, mano: str | Path) -> None:
        self._sides: dict[str, _Side] = {}
        self._faults: dict[str, InputError] = {}
        for side in SIDES:
            try:
                self._sides[side] = _Side(load_arrays(mano, side))
            except InputError as error:
                self._faults[side] = error
        if not self._sides:
            raise self._faults[SIDES[0]]
        for side, fault in self._faults.items():
            log.warning("--mano: %s; %s hands are listed as failures", one_line(fault), side)

    def side(self, side: str) -> _Side:
        """The model of right or left; InputError where it is not there."""
        if side in self._faults:
            raise self._faults[side]
        return self._sides[side]


class LandmarkPredictor:
    """One hand of each frame from its landmarks, in the place of a `Predictor`; it remembers nothing."""

    last_joints = None

    def __init__(self, model: LandmarkModel, repeats: int = REPEATS) -> None:
        self._model, self._repeats = model, repeats

    def faces(self, side: str) -> NDArray[np.int32]:
        """The faces (1538, 3) of a side's mesh as vertex ids, wound to face outward."""
        return self._model.side(side).faces

    def reset(self) -> None:
        """There is nothing to forget."""

    def skip(self) -> None:
        """Time does not matter."""

    def __call__(self, picture: NDArray[np.uint8], hand: DetectedHand, camera: Camera) -> HandResult:
        """The hand in a picture (H, W, 3).

        InputError where its side has no model, its box is empty or outside, or its landmarks are one point.
        """
        model = self._model.side(hand.side)
        height, width = picture.shape[:2]
        square = given_square(hand.box, width, height)
        fitted, vertices, joints = model.fit(model.start(hand.world))
        if not np.isfinite(vertices).all():
            raise InputError("the detector's landmarks are one and the same point: no hand can be fitted")
        for _ in range(self._repeats):
            place = place_wrist(joints, hand.landmarks, camera.intrinsics)
            if place is None:
                break
            again = model.fit(_sideways(joints + place.wrist, hand.landmarks, camera.intrinsics))
            if not _likely(again[0]):  # another camera than the picture's takes a hand apart
                break
            fitted, vertices, joints = again
        place = place_wrist(joints, hand.landmarks, camera.intrinsics, camera.focal_share)
        misfit = None if place is None else place.misfit / float(square[2] - square[0])
        doubts = doubts_of(True, misfit, signs_of(hand.landmarks, square, width, height))
        doubts += () if _likely(fitted) else ("shape",)
        result = HandResult(
            vertices,
            joints,
            hand.landmarks,
            None,
            None,
            square,
            DETECTED,
            hand.side,
            True,
            misfit=misfit,
            doubts=doubts,
        )
        if place is not None:
            result = replace(result, root=place.wrist, root_spread=place.spread, root_from=camera.source)
        return with_mano(result, fitted)
