"""What `h2o predict` reads: a folder of pictures or a video, frame by frame, and the files that say where hands are.

A frame that cannot be read is reported with a reason; the run continues. Boxes are x0, y0, x1, y1 px of the picture as
a viewer shows it: cameras' orientation tags are applied (the datasets' own readers, in `data`, ignore them).
"""

import csv
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
TEXT = "utf-8-sig"  # UTF-8 with or without the byte order mark that spreadsheet programs write


@dataclass(frozen=True)
class InputFrame:
    """One frame: its name (a file name or a frame number) and its picture (H, W, 3) uint8 RGB, or why there is none."""

    name: str
    picture: NDArray[np.uint8] | None
    reason: str = ""


@dataclass(frozen=True)
class HandBox:
    """One hand to look for in a frame: its side, and its box, or None to track it or take the whole picture."""

    box: NDArray[np.float64] | None
    side: str


def list_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder by name; InputError where there are none."""
    if not folder.is_dir():
        raise InputError(f"--images {folder}: no such folder")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise InputError(f"--images {folder}: holds no picture ({', '.join(SUFFIXES)})")
    return found


def read_folder(folder: Path) -> Iterator[InputFrame]:
    """The pictures of a folder in order of name; one that cannot be decoded comes with the reason."""
    for path in list_pictures(folder):
        try:
            picture = decode_upright(path.read_bytes())
        except OSError as error:
            yield InputFrame(path.name, None, str(error))
            continue
        yield InputFrame(path.name, picture, "" if picture is not None else "cannot be decoded as a picture")


def decode_upright(data: bytes) -> NDArray[np.uint8] | None:
    """Decode a picture to (H, W, 3) uint8 RGB and apply its orientation tag; None where it is not a picture."""
    if not data:
        return None
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # more pixels than OpenCV takes
        return None
    return None if picture is None else np.asarray(picture, np.uint8)[..., ::-1]


@dataclass
class Video:
    """An opened video: `frames` as its header says (0: it does not say), `rate` per second; `read` closes it."""

    path: Path
    capture: cv2.VideoCapture
    frames: int
    rate: float

    @classmethod
    def open(cls, path: Path) -> "Video":
        """Open a video file. InputError where it is missing or OpenCV cannot read it."""
        if not path.is_file():
            raise InputError(f"--video {path}: no such file")
        capture = cv2.VideoCapture(str(path))
        if not capture.isOpened():
            raise InputError(f"--video {path}: cannot be opened as a video; convert it to MP4 (H.264) or MJPEG AVI")
        rate = capture.get(cv2.CAP_PROP_FPS)
        return cls(path, capture, max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT))), rate if 1 <= rate <= 240 else 30)

    def read(self) -> Iterator[InputFrame]:
        """Yield every frame, and one more without a picture where the video ends before its header says."""
        number = 0
        try:
            while True:
                there, picture = self.capture.read()
                if not there:
                    break
                yield InputFrame(f"{number:06d}", np.asarray(picture, np.uint8)[..., ::-1])
                number += 1
        finally:
            self.capture.release()
        if number < self.frames:
            yield InputFrame(f"{number:06d}", None, f"the video ends after {number} of {self.frames} frames")
        elif number == 0:
            yield InputFrame(f"{number:06d}", None, "the video holds no frame that can be decoded")


def read_boxes(path: Path, side: str = "right") -> dict[str, list[HandBox]]:
    """Read hands by frame name from JSON or CSV; `side` is that of hands whose side the file does not say.

    JSON: {name: [x0, y0, x1, y1]} or {name: {"box": [...], "side": "left"}} or a list of those (several hands; an
    empty list: no hand). CSV with the header name,x0,y0,x1,y1[,side]; a frame may have several rows. Names are file
    names, or frame numbers of a video. InputError names the entry that cannot be read.
    """
    if not path.is_file():
        raise InputError(f"--boxes {path}: no such file")
    if path.suffix.lower() == ".csv":
        return _read_csv(path, side)
    try:
        content = json.loads(path.read_text(TEXT))
    except (ValueError, RecursionError) as error:
        raise InputError(f"--boxes {path}: not JSON ({error}); for CSV name it .csv") from error
    if not isinstance(content, dict):
        raise InputError(f"--boxes {path}: expected an object from names to boxes, found {type(content).__name__}")
    found: dict[str, list[HandBox]] = {}
    for name, value in content.items():
        found.setdefault(frame_name(name), []).extend(_parse_hands(path, name, value, side))
    return found


def _parse_hands(path: Path, name: str, value: Any, default_side: str) -> list[HandBox]:
    several = isinstance(value, list) and (not value or not all(isinstance(x, int | float) for x in value))
    hands = []
    for entry in value if several else [value]:
        box, side = (entry.get("box"), entry.get("side")) if isinstance(entry, dict) else (entry, None)
        numbers = isinstance(box, list) and len(box) == 4 and all(isinstance(x, int | float) for x in box)
        if not (box is None or numbers) or side not in (None, "left", "right"):
            raise InputError(
                f'--boxes {path}: {name}: expected [x0, y0, x1, y1] or {{"box": [...], "side": "left"}}, found {entry}'
            )
        hands.append(HandBox(None if box is None else np.asarray(box, np.float64), side or default_side))
    return hands


def _read_csv(path: Path, default_side: str) -> dict[str, list[HandBox]]:
    found: dict[str, list[HandBox]] = {}
    try:
        lines = path.read_text(TEXT).splitlines()
        rows = csv.DictReader(lines, skipinitialspace=True)
        header = rows.fieldnames
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"--boxes {path}: not a text file in UTF-8 ({error}); save it as CSV UTF-8") from error
    columns = ("name", "x0", "y0", "x1", "y1")
    if header is None or not set(columns) <= set(header):
        raise InputError(f"--boxes {path}: expected the header {','.join(columns)}[,side], found {lines[:1]}")
    for row in rows:
        side = (row.get("side") or "").strip() or None
        try:
            box: NDArray[np.float64] | None = np.array([float(row[column]) for column in columns[1:]])
        except (TypeError, ValueError):
            box = None
        if box is None or not row["name"]:
            raise InputError(f"--boxes {path}: line {rows.line_num}: expected a name and four numbers, found {row}")
        if side not in (None, "left", "right"):
            raise InputError(f"--boxes {path}: line {rows.line_num}: side is {side!r}, expected left or right")
        found.setdefault(frame_name(row["name"]), []).append(HandBox(box, side or default_side))
    return found


def check_names(option: str, named: Mapping[str, object], pictures: Iterable[str] | None) -> list[str]:
    """Return the names of a file that are none of the `pictures`; None stands for a video, whose frames are numbers.

    InputError where no name is one of them: the file is for other pictures, or writes their names in another way.
    """
    if pictures is None:
        strange = [name for name in named if not name.isdecimal()]
        expected = "the numbers of the video's frames, from 0"
    else:
        there = set(pictures)
        strange = [name for name in named if name not in there]
        expected = f"file names without folders, such as {min(there)!r}"
    if strange and len(strange) == len(named):
        raise InputError(f"{option}: names no frame that is there ({strange[0]!r}, ...); expected {expected}")
    return strange


def frame_name(name: str) -> str:
    """A frame's name in one spelling: numbers as the video reader writes them, file names composed (NFC).

    Disks and editors may spell accents either way.
    """
    return f"{int(name):06d}" if name.strip().isdecimal() else unicodedata.normalize("NFC", name)


def read_intrinsics(given: str | Path) -> NDArray[np.float64] | dict[str, NDArray[np.float64]]:
    """Read a camera matrix (3, 3) px, or one per frame name, from "fx,fy,cx,cy", a .npy file or a JSON file."""
    text = str(given)
    if text.count(",") == 3:
        try:
            fx, fy, cx, cy = (float(part) for part in text.split(","))
        except ValueError:
            raise InputError(f"--intrinsics {text}: expected fx,fy,cx,cy in pixels") from None
        return _matrix(text, [[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    path = Path(given)
    if not path.is_file():
        raise InputError(f"--intrinsics {path}: no such file; give fx,fy,cx,cy or a .npy or .json with a 3 x 3 matrix")
    try:
        content = np.load(path, allow_pickle=False) if path.suffix == ".npy" else json.loads(path.read_text(TEXT))
    except (ValueError, OSError, EOFError, RecursionError) as error:
        raise InputError(f"--intrinsics {path}: cannot be read ({error})") from error
    if isinstance(content, dict):
        return {frame_name(name): _matrix(f"{path}: {name}", value) for name, value in content.items()}
    return _matrix(str(path), content)


def _matrix(where: str, value: Any) -> NDArray[np.float64]:
    try:
        matrix = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or not (matrix[0, 0] > 0 and matrix[1, 1] > 0):
        raise InputError(f"--intrinsics {where}: expected a 3 x 3 camera matrix in pixels with positive focal lengths")
    return matrix
