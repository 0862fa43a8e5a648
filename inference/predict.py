"""h2o predict: pictures or a video to overlays, meshes, joints and occlusion, with a named row for what failed.

Writes below `out`: overlays/NAME.jpg (or overlay.mp4 for a video), meshes/NAME.obj, predictions.jsonl (one line per
hand and frame), run.json and, where frames failed, failures.jsonl; all of it at the end, in the place of an earlier
run's. Metres, OpenCV camera frame; 2D in pixels.
"""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ..data.loading.windows import Window
from ..durable import writing_file
from ..errors import InputError
from ..hand.mesh_files import FORMATS
from ..hand.parts import OUTPUTS
from ..network.checkpoint import checkpoint_hash, load_checkpoint
from .following import numbered
from .outputs import RUN, Outputs, check_folder, whole_run
from .placement import assumed_intrinsics
from .predictor import HandResult, Predictor, trained_window
from .sources import (
    Given,
    Still,
    Video,
    check_names,
    frame_name,
    read_boxes,
    read_folder,
    read_intrinsics,
    stills_of_folder,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PredictSummary:
    """What was written, and how many frames failed (listed in failures.jsonl)."""

    out: Path
    frames: int
    hands: int
    failures: int

    def __str__(self) -> str:
        failed = f", {self.failures} failed (failures.jsonl)" if self.failures else ""
        return f"{self.hands} hands in {self.frames} frames{failed}: {self.out}"


@dataclass
class _Run:
    """One prediction run: what it was asked for, predictors by hand number, rows for the two lists."""

    new_predictor: Callable[[], Predictor]
    side: str
    follows: bool
    given: dict[str, list[Given]] | None
    boxes: str
    cameras: NDArray | dict[str, NDArray] | None
    predictors: dict[int, Predictor] = field(default_factory=dict)
    sides: list[str] = field(default_factory=list)  # of the hands that are followed, by number
    boxed: bool = False  # a boxes file has named a hand: until then the one that is followed is a guess
    used: set[str] = field(default_factory=set)  # names of the boxes file that were met
    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    frames: int = 0

    def predictor(self, number: int) -> Predictor:
        """The predictor of a hand, made at its first frame."""
        if number not in self.predictors:
            self.predictors[number] = self.new_predictor()
        return self.predictors[number]


def predict(
    checkpoint: str | Path,
    out: str | Path,
    *,
    images: str | Path | None = None,
    video: str | Path | None = None,
    boxes: str | Path | None = None,
    hierarchy: str | Path | None = None,
    device: str = "auto",
    side: str = "right",
    intrinsics: str | Path | None = None,
    sequence: bool = False,
    window: Window | None = None,
    meshes: str = "obj",
    precision: str = "float32",
) -> PredictSummary:
    """Reconstruct the hand in every picture of a folder, or in every frame of a video.

    boxes: JSON or CSV of `sources.read_boxes`; without one the whole picture is taken, and in a video (or with
    `sequence`) the joints of the frame before are followed. Pictures of a folder are unrelated unless `sequence` says
    that they are frames in order of name. intrinsics: of `sources.read_intrinsics`; without them overlays assume a
    common field of view and no wrist position is written. meshes: obj, ply or none. Raises InputError for input that
    cannot be read at all and for an `out` among the inputs; single bad frames become rows of failures.jsonl.
    """
    if (images is None) == (video is None):
        raise InputError("give either --images DIR or --video FILE")
    if meshes not in (*FORMATS, "none"):
        raise InputError(f"--meshes: expected {', '.join(FORMATS)} or none, found {meshes!r}")
    if side not in ("right", "left"):
        raise InputError(f"--side: expected right or left, found {side!r}")
    out = Path(out)
    check_folder(out, None if images is None else Path(images), None if video is None else Path(video))
    source, total, rate = _source(images, video)
    given, cameras = _places(boxes, intrinsics, images)
    network = load_checkpoint(checkpoint, hierarchy)
    if network.config.frames > 1:
        window = window or trained_window(checkpoint)
    if not network.config.oriented:
        log.warning("%s: a stage 1 network knows no orientation: overlays show 2D joints only", checkpoint)
    network = network.for_inference()
    follows = video is not None or sequence

    def new_predictor() -> Predictor:
        return Predictor(network, device=device, window=window, track=follows, precision=precision)

    run = _Run(new_predictor, side, follows, given, str(boxes), cameras)
    run.predictor(0)  # a window or precision that does not fit is said before anything is written
    facts = {"checkpoint": str(checkpoint), "checkpoint_sha256": checkpoint_hash(checkpoint)}
    with whole_run(out) as unfinished:
        with Outputs(unfinished, meshes, None if video is None else rate) as outputs:
            for still in tqdm(source, total=total, unit="frame", desc="predict"):
                results = one_frame(run, still)
                if still.picture is not None:
                    outputs.add(still, results, run.predictor(0))
        write_lists(unfinished, run, facts)
    unmet = sorted(set(given or {}) - run.used)
    if unmet:
        log.warning("--boxes %s: %d names are of no frame that is there, first %s", boxes, len(unmet), unmet[0])
    return PredictSummary(out, run.frames, len(run.rows), len(run.failures))


def _source(images: str | Path | None, video: str | Path | None) -> tuple[Iterator[Still], int | None, float]:
    if video is not None:
        opened = Video.open(Path(video))
        return opened.read(), opened.frames or None, opened.rate
    folder = Path(images or "")
    return read_folder(folder), len(stills_of_folder(folder)), 0.0


def _places(
    boxes: str | Path | None, intrinsics: str | Path | None, images: str | Path | None
) -> tuple[dict[str, list[Given]] | None, NDArray | dict[str, NDArray] | None]:
    """The boxes and the cameras, where they are given; InputError where their names are of other pictures."""
    given = None if boxes is None else read_boxes(Path(boxes))
    cameras = None if intrinsics is None else read_intrinsics(intrinsics)
    pictures = None if images is None else [frame_name(path.name) for path in stills_of_folder(Path(images))]
    for option, named in ((f"--boxes {boxes}", given), (f"--intrinsics {intrinsics}", cameras)):
        if isinstance(named, dict):
            check_names(option, named, pictures)
    return given, cameras


def hands_of(run: _Run, still: Still) -> list[tuple[int, Given]] | None:
    """The hands to look for in a frame by number: those of the boxes file; else those followed so far, or the whole
    picture's. None where a boxes file does not name an unrelated picture; an empty list where it says "no hand".
    """
    name = frame_name(still.name)
    run.used.add(name)
    if run.given is not None and name in run.given:
        named = [Given(hand.box, hand.side or run.side) for hand in run.given[name]]
        if not run.follows:
            return list(enumerate(named))
        if named and not run.boxed:
            run.boxed, run.sides[:1] = True, [named[0].side or run.side] if run.sides else []
        seen = [run.predictor(number).last_joints for number in range(len(run.sides))]
        return list(zip(numbered(named, run.sides, seen), named, strict=True))
    if run.follows:
        return [(number, Given(None, side)) for number, side in enumerate(run.sides or [run.side])]
    return None if run.given is not None and still.picture is not None else [(0, Given(None, run.side))]


def one_frame(run: _Run, still: Still) -> list[tuple[int, HandResult, NDArray]]:
    """Predict the hands of a frame and note their rows: number, result and the camera to draw it with of each."""
    run.frames += still.picture is not None
    hands, found = hands_of(run, still), []
    if hands is None:
        run.failures.append({"name": still.name, "hand": 0, "reason": f"{run.boxes} names no box for it"})
        return []
    if not hands and still.picture is None:
        run.failures.append({"name": still.name, "hand": 0, "reason": still.reason})
    for number in set(range(len(run.sides))) - {number for number, _ in hands}:
        run.predictor(number).skip()  # a followed hand that this frame's boxes do not name: time goes on
    for number, hand in hands:
        if run.follows:
            run.sides[number : number + 1] = [hand.side or run.side]
        else:
            run.predictor(number).reset()
        result = one_hand(run, still, number, hand)
        if result is not None:
            found.append((number, *result))
    return found


def one_hand(run: _Run, still: Still, number: int, hand: Given) -> tuple[HandResult, NDArray] | None:
    """Predict one hand and note its row, or note why not; returns the result and the camera to draw it with."""
    predictor = run.predictor(number)
    if still.picture is None:
        predictor.skip()
        run.failures.append({"name": still.name, "hand": number, "reason": still.reason})
        return None
    known = run.cameras.get(frame_name(still.name)) if isinstance(run.cameras, dict) else run.cameras
    height, width = still.picture.shape[:2]
    camera = assumed_intrinsics(width, height) if known is None else known
    try:
        result = predictor(still.picture, hand.box, hand.side or run.side, intrinsics=camera)
    except InputError as error:
        run.failures.append({"name": still.name, "hand": number, "reason": str(error)})
        return None
    run.rows.append(row_of(still.name, number, result, known is not None))
    return result, camera


def row_of(name: str, number: int, result: HandResult, camera_known: bool) -> dict[str, Any]:
    """A line of predictions.jsonl; the wrist's place is only given where the camera is known."""

    def numbers(values: NDArray | None, digits: int) -> list | None:
        return None if values is None else np.round(values, digits).tolist()

    occluded = result.occluded
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
        "occluded": None if occluded is None else dict(zip(OUTPUTS, numbers(occluded, 4) or [], strict=True)),
    }


def write_lists(out: Path, run: _Run, facts: dict[str, Any]) -> None:
    """predictions.jsonl and run.json; failures.jsonl where something failed."""
    for name, rows in (("predictions.jsonl", run.rows), ("failures.jsonl", run.failures)):
        if rows or name == "predictions.jsonl":
            with writing_file(out / name) as file:
                file.writelines(f"{json.dumps(row, allow_nan=False)}\n".encode() for row in rows)
    with writing_file(out / RUN) as file:
        file.write((json.dumps(facts, indent=2) + "\n").encode())
