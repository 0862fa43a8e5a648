"""Hands without a network: the hand model fitted to the detector's 3D landmarks (`h2o predict --checkpoint landmarks`).

Metres in the OpenCV camera frame, relative to the wrist, in the hand's own side; 2D is pixels of the picture.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..hand.array_record import HandArrays
from ..hand.arrays import load_arrays
from ..hand.fitting import FittedHands, HandFitter
from ..hand.skinning import SkinnedHand
from .cameras import Camera
from .detector import DETECTED, DetectedHand
from .hand_result import HandResult, with_mano
from .placement import place_wrist
from .predictor import given_square
from .reliability import doubts_of, signs_of

LANDMARKS = "landmarks"
"""What `--checkpoint` names instead of a network."""
NOISE = 4e-3
"""m: MediaPipe's knuckles and wrist are not MANO's joints, and its depth is a guess."""
REPEATS = 2
"""How often the hand is fitted again with its joints moved sideways, to where their landmarks are in the picture."""


def is_landmarks(checkpoint: str | Path) -> bool:
    """Whether a checkpoint's name asks for no network; a file or folder of that name goes before."""
    return Path(checkpoint) == Path(LANDMARKS) and not Path(checkpoint).exists()


class _Side:
    """One side's hand model, its fitter, and its faces (1538, 3), wound to face outward."""

    def __init__(self, arrays: HandArrays) -> None:
        self.fitter, self.hand = HandFitter(arrays, limits=True), SkinnedHand(arrays)
        a, b, c = arrays.v_template[arrays.faces].transpose(1, 0, 2)
        inward = (a * np.cross(b, c)).sum() < 0  # the volume within, six times
        self.faces = np.ascontiguousarray(arrays.faces[:, ::-1] if inward else arrays.faces, np.int32)

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


class LandmarkModel:
    """The hand models of a folder (MANO_RIGHT.pkl, MANO_LEFT.pkl), or "standin", made ready to be fitted."""

    def __init__(self, mano: str | Path) -> None:
        self._mano = mano
        self._sides: dict[str, _Side] = {}

    def side(self, side: str) -> _Side:
        """The model of right or left, loaded when it is first asked for; InputError where it is not there."""
        if side not in self._sides:
            self._sides[side] = _Side(load_arrays(self._mano, side))
        return self._sides[side]


class LandmarkPredictor:
    """One hand of each frame from its landmarks, in the place of a `Predictor`; it remembers nothing."""

    last_joints = None

    def __init__(self, model: LandmarkModel) -> None:
        self._model = model

    def faces(self, side: str) -> NDArray[np.int32]:
        """The faces (1538, 3) of a side's mesh as vertex ids, wound to face outward."""
        return self._model.side(side).faces

    def reset(self) -> None:
        """There is nothing to forget."""

    def skip(self) -> None:
        """Time does not matter."""

    def __call__(self, picture: NDArray[np.uint8], hand: DetectedHand, camera: Camera) -> HandResult:
        """The hand in a picture (H, W, 3). InputError where its side has no model, or its box is empty or outside."""
        model = self._model.side(hand.side)
        height, width = picture.shape[:2]
        square = given_square(hand.box, width, height)
        fitted, vertices, joints = model.fit(hand.world)
        for _ in range(REPEATS):
            place = place_wrist(joints, hand.landmarks, camera.intrinsics)
            if place is None:
                break
            fitted, vertices, joints = model.fit(_sideways(joints + place.wrist, hand.landmarks, camera.intrinsics))
        place = place_wrist(joints, hand.landmarks, camera.intrinsics, camera.focal_share)
        misfit = None if place is None else place.misfit / float(square[2] - square[0])
        doubts = doubts_of(True, misfit, signs_of(hand.landmarks, square, width, height))
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
