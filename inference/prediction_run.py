"""The run of `h2o predict`: the hands of frame after frame, and the rows of predictions.jsonl and failures.jsonl.

Metres, OpenCV camera frame; 2D in pixels.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..hand.parts import OUTPUTS
from .cameras import Camera, picture_camera
from .detector import DETECTED, DetectedHand, Detector
from .following import number_hands
from .landmark_hands import LandmarkPredictor
from .places import HandBox, frame_name
from .predictor import HandResult, Predictor, as_picture
from .reliability import presence_doubts
from .sources import InputFrame

NO_HAND = "the detector finds no hand"
HandPredictor = Predictor | LandmarkPredictor


class PredictionRun:
    """Predicts the hands of frame after frame and collects the rows of predictions.jsonl and failures.jsonl.

    `boxes` are the hands of the boxes file by frame name, None without one; `cameras` one matrix or one per frame name,
    and `fov` degrees where they and a photo's EXIF tell nothing. Where the run `follows` hands, each keeps its number
    and its predictor; otherwise every frame starts anew. With a `detector` it says which hands a frame has, their sides
    and numbers.
    """

    def __init__(
        self,
        new_predictor: Callable[[], HandPredictor],
        side: str,
        follows: bool,
        boxes: dict[str, list[HandBox]] | None,
        boxes_file: str,
        cameras: NDArray | dict[str, NDArray] | None,
        detector: Detector | None = None,
        fov: float | None = None,
    ) -> None:
        self.new_predictor, self.side, self.follows = new_predictor, side, follows
        self.boxes, self.boxes_file, self.cameras, self.fov = boxes, boxes_file, cameras, fov
        self.detector, self.detected = detector, dict[int, DetectedHand]()  # those of this frame, by number
        self.without_hands = 0
        self.predictors: dict[int, HandPredictor] = {}
        self.sides: dict[int, str] = {}  # of the followed hands, by number
        self.boxed = False  # a box has named a hand; until then the followed hand is a guess
        self.names_met: set[str] = set()
        self.rows: list[dict[str, Any]] = []
        self.failures: list[dict[str, Any]] = []
        self.frames = 0

    def predictor(self, number: int) -> HandPredictor:
        """The predictor of a hand, made when it is first asked for."""
        if number not in self.predictors:
            self.predictors[number] = self.new_predictor()
        return self.predictors[number]

    def predict_frame(self, frame: InputFrame) -> list[tuple[int, HandResult, NDArray]]:
        """Predict the hands of a frame and note their rows: each one's number, result and camera to draw it with."""
        self.frames += frame.picture is not None
        hands = self._find_hands(frame) if self.detector is None else self._detect_hands(frame, self.detector)
        if hands is None:
            self._note_failure(frame, 0, f"{self.boxes_file} names no box for it")
            return []
        if not hands and frame.picture is None:
            self._note_failure(frame, 0, frame.reason)
        for number in self.sides.keys() - hands.keys():
            self.predictor(number).skip()  # a followed hand that this frame's boxes do not name: time goes on
        found = []
        for number, hand in hands.items():
            if self.follows:
                self.sides[number] = hand.side
            else:
                self.predictor(number).reset()
            predicted = self._predict_hand(frame, number, hand)
            if predicted is not None:
                found.append((number, *predicted))
        return found

    def _find_hands(self, frame: InputFrame) -> dict[int, HandBox] | None:
        """The hands to look for in a frame, by number.

        They are those of the boxes file where it names the frame, else the followed ones, else one in the whole
        picture. None where a boxes file does not name an unrelated picture; empty where it says that there is no hand.
        """
        name = frame_name(frame.name)
        self.names_met.add(name)
        if self.boxes is not None and name in self.boxes:
            hands = self.boxes[name]
            return self._number_followed(hands) if self.follows else dict(enumerate(hands))
        if self.follows:
            sides = self.sides or {0: self.side}
            return {number: HandBox(None, side) for number, side in sides.items()}
        if self.boxes is not None and frame.picture is not None:
            return None
        return {0: HandBox(None, self.side)}

    def _detect_hands(self, frame: InputFrame, detector: Detector) -> dict[int, HandBox]:
        """The hands that the detector finds in a frame, by number; a row tells where it finds none."""
        picture = None if frame.picture is None else as_picture(frame.picture)
        found = detector.follow(picture) if self.follows else [] if picture is None else detector.find(picture)
        self.detected = {hand.number: hand for hand in found}
        for number in self.sides.keys() - detector.tracker.known:  # forgotten: it will never come back
            del self.sides[number]
            self.predictors.pop(number, None)
        if picture is not None and not found:
            self._note_failure(frame, 0, NO_HAND)
            self.without_hands += self.follows  # in a video hands come and go
        return {hand.number: HandBox(hand.box, hand.side) for hand in found}

    def _number_followed(self, hands: list[HandBox]) -> dict[int, HandBox]:
        """Give each hand of a frame's boxes the number of the followed hand that it continues, or a new one."""
        if hands and not self.boxed:
            self.boxed = True
            if self.sides:
                self.sides[0] = hands[0].side  # the guessed hand gives way to the first box, whichever side that is
        last_joints = {number: self.predictor(number).last_joints for number in self.sides}
        return dict(zip(number_hands(hands, self.sides, last_joints), hands, strict=True))

    def _predict_hand(self, frame: InputFrame, number: int, hand: HandBox) -> tuple[HandResult, NDArray] | None:
        """Predict one hand and note its row, or why there is none; returns the result and the camera to draw with."""
        predictor = self.predictor(number)
        if frame.picture is None:
            predictor.skip()
            self._note_failure(frame, number, frame.reason)
            return None
        known = self.cameras.get(frame_name(frame.name)) if isinstance(self.cameras, dict) else self.cameras
        height, width = frame.picture.shape[:2]
        camera = picture_camera(width, height, known, frame.exif_focal, self.fov)
        detected = self.detected.get(number)
        try:
            if isinstance(predictor, Predictor):
                result = predictor(frame.picture, hand.box, hand.side, intrinsics=camera)
            else:
                assert detected is not None
                result = predictor(as_picture(frame.picture), detected, camera)
        except InputError as error:
            self._note_failure(frame, number, str(error))
            return None
        if detected is not None:
            doubts = result.doubts + presence_doubts(detected.presence)
            result = replace(result, box_from=DETECTED, doubts=doubts)
        row = make_row(frame.name, number, result, camera)
        self.rows.append(row | {"detector": detected.row()} if detected is not None and detected.read else row)
        return result, camera.intrinsics

    def _note_failure(self, frame: InputFrame, number: int, reason: str) -> None:
        self.failures.append({"name": frame.name, "hand": number, "reason": reason})


def make_row(name: str, number: int, result: HandResult, camera: Camera) -> dict[str, Any]:
    """A line of predictions.jsonl; it has the wrist's position and the camera only where that is known.

    `joints_seen` is there only where the network has a head for it.
    """

    def numbers(values: NDArray | None, digits: int) -> list | None:
        return None if values is None else np.round(values, digits).tolist()

    occluded, placed = result.occluded, result.root_from is not None
    root = numbers(result.root, 6) if placed else None
    joints_seen = {} if result.joints_seen is None else {"joints_seen": numbers(result.joints_seen, 4)}
    return {
        "name": name,
        "hand": number,
        "side": result.side,
        "box": numbers(result.box, 2),
        "box_from": result.box_from,
        "joints_m": numbers(result.joints, 6),
        "oriented": result.oriented,
        "joints_2d_px": numbers(result.joints_2d, 2),
        "root": root,
        "root_m": root,  # its name in 0.1.0
        "root_from": result.root_from,
        "root_spread_m": numbers(result.root_spread, 6) if placed else None,
        "intrinsics": None if camera.source is None else numbers(camera.intrinsics, 4),
        "reliable": result.reliable,
        "doubts": list(result.doubts),
        "misfit": None if result.misfit is None else round(result.misfit, 4),
        "mano_pose": numbers(result.mano_pose, 6),
        "mano_shape": numbers(result.mano_shape, 6),
        "mano_wrist_m": numbers(result.mano_wrist, 6),
        "mano_error_m": None if result.mano_error is None else round(result.mano_error, 6),
        "occluded": None if occluded is None else dict(zip(OUTPUTS, numbers(occluded, 4) or [], strict=True)),
        **joints_seen,
    }
