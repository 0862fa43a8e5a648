"""h2o predict: pictures or a video to overlays, meshes, joints and occlusion; what failed is listed by name.

Writes below `out`: overlays/NAME.jpg (or overlay.mp4 for a video), meshes/NAME.obj (as .glb of a video animation.glb,
too), predictions.jsonl (one line per hand and frame), run.json and, where frames failed, failures.jsonl. They all
appear at the end and replace those of an earlier run. Metres, OpenCV camera frame; 2D in pixels.
"""

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from tqdm import tqdm

from ..data.loading.windows import Window
from ..durable import write_json, write_text
from ..errors import InputError, one_line
from ..hand.mesh_files import FORMATS
from ..network.checkpoint import checkpoint_hash, load_checkpoint
from ..network.device import choose_device
from ..network.threads import piece_timer
from .cameras import check_fov
from .detector import Detector
from .landmark_hands import LANDMARKS, LandmarkModel, LandmarkPredictor, is_landmarks
from .mano_fit import MeshFitter, write_mano
from .outputs import MANO, RUN, Outputs, check_output_folder, whole_run
from .places import HandBox, check_names, frame_name, read_boxes, read_intrinsics
from .prediction_run import HandPredictor, PredictionRun
from .predictor import Predictor, trained_window
from .smooth_run import SmoothReport, SmoothRun
from .sources import InputFrame, PictureFolder
from .video import Video

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PredictSummary:
    """What was written, and how many frames failed (listed in failures.jsonl).

    without_hands: frames of a video or sequence in which the detector found none; listed too, but no failures.
    smoothing: how steady the hands were and are, where they were smoothed.
    """

    out: Path
    frames: int
    hands: int
    failures: int
    without_hands: int = 0
    smoothing: SmoothReport | None = None

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
    smooth: bool = False,
    one_shape: bool = False,
    window: Window | None = None,
    meshes: str = "obj",
    precision: str = "float32",
    mano: str | Path | None = None,
    fov: float | None = None,
) -> PredictSummary:
    """Reconstruct the hand in every picture of a folder, or in every frame of a video.

    checkpoint: a network, or `landmarks`, which fits the hand of `mano` to the detector's 3D landmarks instead.
    boxes: JSON or CSV as `places.read_boxes` reads it; without one the whole picture is taken, and in a video (or with
    `sequence`) the joints of the frame before are followed. Pictures of a folder are unrelated unless `sequence` says
    that they are frames in order of name. smooth: steady the hands of frames (`smooth_run`). one_shape: with smooth and
    mano, one `mano_shape` for all frames of a hand's number. detector: the models' file, as `detector.Detector` opens
    it, instead of boxes; it also tells the sides. intrinsics: as
    `places.read_intrinsics` reads them; else a photograph's EXIF counts, else `fov`, degrees across the longer side;
    without any of them overlays assume a common field of view and no wrist position is written. meshes: obj, ply, glb
    or none; with glb what is followed is written as one animation, too. mano: the hand that the network was trained on,
    to write each mesh's MANO parameters; without it they are null. Raises InputError for input that cannot be read at
    all and for an `out` among the inputs; single bad frames become rows of failures.jsonl.
    """
    if (images is None) == (video is None):
        raise InputError("give either --images DIR or --video FILE")
    if meshes not in (*FORMATS, "none"):
        raise InputError(f"--meshes: expected {', '.join(FORMATS)} or none, found {meshes!r}")
    if side not in ("right", "left"):
        raise InputError(f"--side: expected right or left, found {side!r}")
    by_landmarks = is_landmarks(checkpoint)
    if boxes is not None and by_landmarks:
        raise InputError(f"--boxes: not with --checkpoint {LANDMARKS}; its detector, --detector FILE, finds the hands")
    if boxes is not None and detector is not None:
        raise InputError("--boxes and --detector: both say where the hands are; give one of them")
    if fov is not None:
        check_fov(fov)
    out, follows = Path(out), video is not None or sequence
    if sequence and video is not None:
        raise InputError("--sequence: says that --images are frames; a video's always are")
    if smooth and not follows:
        raise InputError("--smooth: unrelated pictures show no motion; give --video, or --sequence for frames in order")
    if one_shape and not (smooth and mano is not None):
        missing = [name for name, there in (("--smooth", smooth), ("--mano", mano is not None)) if not there]
        raise InputError(
            f"--one-shape: fits MANO to all frames of a video or --sequence; give {' and '.join(missing)}, too"
        )
    check_output_folder(out, None if images is None else Path(images), None if video is None else Path(video))
    source = Video.open(Path(video)) if video is not None else PictureFolder.open(Path(images or ""))
    named, cameras = _read_places(boxes, side, intrinsics, source)
    # Without a network every frame must be read: there is nothing else to see the hand.
    finder = None if detector is None else Detector.open(detector, stride=1 if by_landmarks else None)
    if by_landmarks:
        reader = _landmark_reader(finder, mano, hierarchy, smooth)
    else:
        options = {"device": device, "window": window, "track": follows, "precision": precision}
        reader = _network_reader(checkpoint, hierarchy, mano, smooth, options)
    run = PredictionRun(reader.new_predictor, side, follows, named, str(boxes), cameras, finder, fov)
    run.predictor(0)  # an unsuitable window or precision is reported before anything is written
    smoother, report = SmoothRun(reader.fitter, one_shape=one_shape) if smooth else None, None
    first = list[_Outline]()
    facts: dict[str, Any] = {"checkpoint": str(checkpoint), "checkpoint_sha256": reader.sha256}
    facts |= {"mano": None if mano is None else str(mano), "detector_sha256": finder.sha256 if finder else None}
    with whole_run(out) as unfinished:
        rate, total = (source.rate, source.frames) if isinstance(source, Video) else (None, len(source.paths))
        with Outputs(unfinished, meshes, rate, follows) as outputs:
            for frame in tqdm(source.read(), total=total, unit="frame", desc="predict"):
                with reader.timed():
                    hands = run.predict_frame(frame)
                if smoother is not None:
                    smoother.keep(hands)
                    first.append(_outline(frame))
                elif frame.picture is not None:
                    outputs.add(frame, hands, run.predictor(0).faces)
            if smoother is not None:
                report = smoother.smooth(run.rows)
                facts |= {"smoothing": report.facts(), "one_shape": one_shape and reader.fitter is not None}
                again = source.reopened() if isinstance(source, Video) else source
                drawn = tqdm(_same_frames(again.read(), first, source), total=total, unit="frame", desc="draw")
                for frame, hands in zip(drawn, smoother.frames, strict=True):
                    if frame.picture is not None:
                        outputs.add(frame, hands, run.predictor(0).faces)
        write_lists(unfinished, run, facts | outputs.facts)
    unmet = sorted(set(named or {}) - run.names_met)
    if unmet:
        log.warning(
            "--boxes %s: %d names are of no frame that is there, first %s", boxes, len(unmet), one_line(unmet[0])
        )
    if isinstance(source, PictureFolder) and source.unread:
        log.warning("--images %s: %s", images, source.unread_line())
    failures = len(run.failures) - run.without_hands
    return PredictSummary(out, run.frames, len(run.rows), failures, run.without_hands, report)


@dataclass(frozen=True)
class _Reader:
    """What reads hands.

    A predictor for each; what fits MANO to smooth meshes; the hash of the weights behind it; what to read in (`timed`).
    """

    new_predictor: Callable[[], HandPredictor]
    fitter: MeshFitter | None
    sha256: str
    timed: Callable[[], AbstractContextManager[None]] = nullcontext


def _network_reader(
    checkpoint: str | Path,
    hierarchy: str | Path | None,
    mano: str | Path | None,
    smooth: bool,
    options: dict[str, Any],
) -> _Reader:
    network = load_checkpoint(checkpoint, hierarchy)
    if network.config.frames > 1:
        options["window"] = options["window"] or trained_window(checkpoint)
    if not network.config.oriented:
        log.warning("%s: a stage 1 network knows no orientation: overlays show 2D joints only", checkpoint)
    network = network.for_inference()
    fitter = MeshFitter.of_network(mano, network.faces.cpu().numpy())
    at_once = None if smooth else fitter  # else it is fitted to what is smooth
    timed = piece_timer(choose_device(options["device"]), lambda text: tqdm.write(text, file=sys.stderr))
    return _Reader(lambda: Predictor(network, mano=at_once, **options), fitter, checkpoint_hash(checkpoint), timed)


def _landmark_reader(
    finder: Detector | None,
    mano: str | Path | None,
    hierarchy: str | Path | None,
    smooth: bool,
) -> _Reader:
    if hierarchy is not None:
        raise InputError(f"--hierarchy: is for the authors' .pth files, not for --checkpoint {LANDMARKS}")
    if finder is None:
        raise InputError(f"--checkpoint {LANDMARKS}: the landmarks come from MediaPipe's models; give --detector FILE")
    if mano is None:
        raise InputError(f"--checkpoint {LANDMARKS}: needs the hand to fit; give --mano DIR, or --mano standin")
    model = LandmarkModel(mano)
    fitter = MeshFitter(mano, warn=False) if smooth else None  # the model has said which side is missing
    return _Reader(lambda: LandmarkPredictor(model), fitter, finder.sha256)


_Outline = tuple[str, tuple[int, ...] | None]
"""A frame's name, and its picture's shape."""


def _outline(frame: InputFrame) -> _Outline:
    return frame.name, None if frame.picture is None else frame.picture.shape


def _same_frames(
    again: Iterator[InputFrame], first: list[_Outline], source: Video | PictureFolder
) -> Iterator[InputFrame]:
    """The frames of the second reading; InputError where they are not those of the first: hands would be missing."""
    for frame, before in zip_longest(again, first):
        if frame is None or _outline(frame) != before:
            where = f"--video {source.path}" if isinstance(source, Video) else f"--images {source.paths[0].parent}"
            raise InputError(f"{where}: was changed while --smooth read it a second time; run again when it is whole")
        yield frame


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
