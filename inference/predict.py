"""h2o predict: pictures or a video to overlays, meshes, joints and occlusion; what failed is listed by name.

Writes below `out`: overlays/NAME.jpg (or overlay.mp4 for a video), meshes/NAME.obj, predictions.jsonl (one line per
hand and frame), run.json and, where frames failed, failures.jsonl. They all appear at the end and replace those of an
earlier run. Metres, OpenCV camera frame; 2D in pixels.
"""

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ..data.loading.windows import Window
from ..durable import write_json, write_text
from ..errors import InputError, one_line
from ..hand.mesh_files import FORMATS
from ..hand.parts import OUTPUTS
from ..network.checkpoint import checkpoint_hash, load_checkpoint
from ..network.device import choose_device
from ..network.threads import piece_timer
from .detector import DETECTED, DetectedHand, Detector
from .following import number_hands
from .mano_fit import MeshFitter, write_mano
from .outputs import MANO, RUN, Outputs, check_output_folder, whole_run
from .placement import assumed_intrinsics
from .places import HandBox, check_names, frame_name, read_boxes, read_intrinsics
from .predictor import HandResult, Predictor, as_picture, trained_window
from .sources import InputFrame, PictureFolder
from .video import Video

log = logging.getLogger(__name__)
NO_HAND = "the detector finds no hand"


@dataclass(frozen=True)
class PredictSummary:
    """What was written, and how many frames failed (listed in failures.jsonl).

    without_hands: frames of a video or sequence in which the detector found none; listed too, but no failures.
    """

    out: Path
    frames: int
    hands: int
    failures: int
    without_hands: int = 0

    def __str__(self) -> str:
        failed = f", {self.failures} failed (failures.jsonl)" if self.failures else ""
        empty = f", {self.without_hands} without a hand (failures.jsonl)" if self.without_hands else ""
        return f"{self.hands} hands in {self.frames} frames{failed}{empty}: {self.out}"


def predict(
    checkpoint: str | Path,
    out: str | Path,
    *,
    images: str | Path | None = None,
    video: str | Path | None = None,
    boxes: str | Path | None = None,
    detector: str | Path | None = None,
    hierarchy: str | Path | None = None,
    device: str = "auto",
    side: str = "right",
    intrinsics: str | Path | None = None,
    sequence: bool = False,
    window: Window | None = None,
    meshes: str = "obj",
    precision: str = "float32",
    mano: str | Path | None = None,
) -> PredictSummary:
    """Reconstruct the hand in every picture of a folder, or in every frame of a video.

    boxes: JSON or CSV as `places.read_boxes` reads it; without one the whole picture is taken, and in a video (or with
    `sequence`) the joints of the frame before are followed. Pictures of a folder are unrelated unless `sequence` says
    that they are frames in order of name. detector: the models' file, as `detector.Detector` opens it, instead of
    boxes; it also tells the sides. intrinsics: as `places.read_intrinsics` reads them; without them overlays assume a
    common field of view and no wrist position is written. meshes: obj, ply or none. mano: the hand that the network was
    trained on, to write each mesh's MANO parameters; without it they are null. Raises InputError for input that cannot
    be read at all and for an `out` among the inputs; single bad frames become rows of failures.jsonl.
    """
    if (images is None) == (video is None):
        raise InputError("give either --images DIR or --video FILE")
    if meshes not in (*FORMATS, "none"):
        raise InputError(f"--meshes: expected {', '.join(FORMATS)} or none, found {meshes!r}")
    if side not in ("right", "left"):
        raise InputError(f"--side: expected right or left, found {side!r}")
    if boxes is not None and detector is not None:
        raise InputError("--boxes and --detector: both say where the hands are; give one of them")
    out, follows = Path(out), video is not None or sequence
    check_output_folder(out, None if images is None else Path(images), None if video is None else Path(video))
    source = Video.open(Path(video)) if video is not None else PictureFolder.open(Path(images or ""))
    named, cameras = _read_places(boxes, side, intrinsics, source)
    finder = None if detector is None else Detector.open(detector)
    network = load_checkpoint(checkpoint, hierarchy)
    if network.config.frames > 1:
        window = window or trained_window(checkpoint)
    if not network.config.oriented:
        log.warning("%s: a stage 1 network knows no orientation: overlays show 2D joints only", checkpoint)
    network = network.for_inference()

    fitter = MeshFitter.of_network(mano, network.faces.cpu().numpy())

    def new_predictor() -> Predictor:
        return Predictor(network, device=device, window=window, track=follows, precision=precision, mano=fitter)

    run = PredictionRun(new_predictor, side, follows, named, str(boxes), cameras, finder)
    run.predictor(0)  # an unsuitable window or precision is reported before anything is written
    facts = {"checkpoint": str(checkpoint), "checkpoint_sha256": checkpoint_hash(checkpoint)}
    with whole_run(out) as unfinished:
        rate, total = (source.rate, source.frames) if isinstance(source, Video) else (None, len(source.paths))
        timed = piece_timer(choose_device(device), lambda text: tqdm.write(text, file=sys.stderr))
        with Outputs(unfinished, meshes, rate) as outputs:
            for frame in tqdm(source.read(), total=total, unit="frame", desc="predict"):
                with timed():
                    hands = run.predict_frame(frame)
                if frame.picture is not None:
                    outputs.add(frame, hands, run.predictor(0))
        write_lists(unfinished, run, facts)
    unmet = sorted(set(named or {}) - run.names_met)
    if unmet:
        log.warning(
            "--boxes %s: %d names are of no frame that is there, first %s", boxes, len(unmet), one_line(unmet[0])
        )
    if isinstance(source, PictureFolder) and source.unread:
        log.warning("--images %s: %s", images, source.unread_line())
    return PredictSummary(
        out, run.frames, len(run.rows), len(run.failures) - run.without_hands, without_hands=run.without_hands
    )


class PredictionRun:
    """Predicts the hands of frame after frame and collects the rows of predictions.jsonl and failures.jsonl.

    `boxes` are the hands of the boxes file by frame name, None without one; `cameras` one matrix or one per frame name.
    Where the run `follows` hands, each keeps its number and its predictor; otherwise every frame starts anew. With a
    `detector` it says which hands a frame has, their sides and numbers.
    """

    def __init__(
        self,
        new_predictor: Callable[[], Predictor],
        side: str,
        follows: bool,
        boxes: dict[str, list[HandBox]] | None,
        boxes_file: str,
        cameras: NDArray | dict[str, NDArray] | None,
        detector: Detector | None = None,
    ) -> None:
        self.new_predictor, self.side, self.follows = new_predictor, side, follows
        self.boxes, self.boxes_file, self.cameras = boxes, boxes_file, cameras
        self.detector, self.detected = detector, dict[int, DetectedHand]()  # those of this frame, by number
        self.without_hands = 0
        self.predictors: dict[int, Predictor] = {}
        self.sides: dict[int, str] = {}  # of the followed hands, by number
        self.boxed = False  # a box has named a hand; until then the followed hand is a guess
        self.names_met: set[str] = set()
        self.rows: list[dict[str, Any]] = []
        self.failures: list[dict[str, Any]] = []
        self.frames = 0

    def predictor(self, number: int) -> Predictor:
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
        camera = assumed_intrinsics(width, height) if known is None else known
        try:
            result = predictor(frame.picture, hand.box, hand.side, intrinsics=camera)
        except InputError as error:
            self._note_failure(frame, number, str(error))
            return None
        detected = self.detected.get(number)
        if detected is not None:
            result = replace(result, box_from=DETECTED)
        row = make_row(frame.name, number, result, known is not None)
        self.rows.append(row | {"detector": detected.row()} if detected is not None and detected.read else row)
        return result, camera

    def _note_failure(self, frame: InputFrame, number: int, reason: str) -> None:
        self.failures.append({"name": frame.name, "hand": number, "reason": reason})


def make_row(name: str, number: int, result: HandResult, camera_known: bool) -> dict[str, Any]:
    """A line of predictions.jsonl; it has the wrist's position only where the camera is known.

    `joints_seen` is there only where the network has a head for it.
    """

    def numbers(values: NDArray | None, digits: int) -> list | None:
        return None if values is None else np.round(values, digits).tolist()

    occluded = result.occluded
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
        "root_m": numbers(result.root, 6) if camera_known else None,
        "mano_pose": numbers(result.mano_pose, 6),
        "mano_shape": numbers(result.mano_shape, 6),
        "mano_wrist_m": numbers(result.mano_wrist, 6),
        "mano_error_m": None if result.mano_error is None else round(result.mano_error, 6),
        "occluded": None if occluded is None else dict(zip(OUTPUTS, numbers(occluded, 4) or [], strict=True)),
        **joints_seen,
    }


def write_lists(out: Path, run: PredictionRun, facts: dict[str, Any]) -> None:
    """Write predictions.jsonl and run.json, failures.jsonl where something failed, mano.npz where hands were fitted."""
    for name, rows in (("predictions.jsonl", run.rows), ("failures.jsonl", run.failures)):
        if rows or name == "predictions.jsonl":
            write_text(out / name, "".join(f"{json.dumps(row, allow_nan=False)}\n" for row in rows))
    fitted = [row for row in run.rows if row["mano_pose"] is not None]
    if fitted:
        write_mano(out / MANO, fitted)
    write_json(out / RUN, facts)


def _read_places(
    boxes: str | Path | None, side: str, intrinsics: str | Path | None, source: Video | PictureFolder
) -> tuple[dict[str, list[HandBox]] | None, NDArray | dict[str, NDArray] | None]:
    """The boxes and the cameras, where they are given; InputError where their names are those of other pictures."""
    named = None if boxes is None else read_boxes(Path(boxes), side)
    cameras = None if intrinsics is None else read_intrinsics(intrinsics)
    pictures = None if isinstance(source, Video) else [frame_name(path.name) for path in source.paths]
    for option, names in ((f"--boxes {boxes}", named), (f"--intrinsics {intrinsics}", cameras)):
        if isinstance(names, dict):
            check_names(option, names, pictures)
    return named, cameras
