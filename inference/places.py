"""Where hands and cameras are, as files say it: boxes, and intrinsics by frame.

Boxes are x0, y0, x1, y1 px of the picture as a viewer shows it. Names of frames are compared with those that are
there; none ever becomes a path.
"""

import csv
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, brief, one_line
from ..untrusted import read_json

TEXT = "utf-8-sig"  # UTF-8 with or without the byte order mark that spreadsheet programs write
LARGEST_FILE = 64 << 20  # bytes: a million boxes
LARGEST = 1e6  # px: no box or camera of a picture that is read comes near


@dataclass(frozen=True)
class HandBox:
    """One hand to look for in a frame: its side, and its box, or None to track it or take the whole picture."""

    box: NDArray[np.float64] | None
    side: str


def read_boxes(path: Path, side: str = "right") -> dict[str, list[HandBox]]:
    """Read hands by frame name from JSON or CSV; `side` is that of hands whose side the file does not say.

    JSON: {name: [x0, y0, x1, y1]} or {name: {"box": [...], "side": "left"}} or a list of those (several hands; an
    empty list: no hand). CSV with the header name,x0,y0,x1,y1[,side]; a frame may have several rows. Names are file
    names, or frame numbers of a video. InputError names the entry that cannot be read.
    """
    _check_file("--boxes", path)
    if path.suffix.lower() == ".csv":
        return _read_csv(path, side)
    content = _read_json("--boxes", path, "; for CSV name it .csv")
    if not isinstance(content, dict):
        raise InputError(f"--boxes {path}: expected an object from names to boxes, found {type(content).__name__}")
    found: dict[str, list[HandBox]] = {}
    for name, value in content.items():
        found.setdefault(frame_name(name), []).extend(
            _parse_hands(f"--boxes {path}: {one_line(name, 60)}", value, side)
        )
    return found


def _check_file(option: str, path: Path, hint: str = "") -> None:
    if not path.is_file():
        raise InputError(f"{option} {path}: {'is no file' if path.exists() else 'no such file'}{hint}")
    if path.stat().st_size > LARGEST_FILE:
        raise InputError(f"{option} {path}: has {path.stat().st_size} bytes, at most {LARGEST_FILE} are read")


def _read_json(option: str, path: Path, hint: str = "") -> Any:
    try:
        return read_json(path, LARGEST_FILE)
    except InputError as error:
        raise InputError(f"{option} {path}: not JSON ({str(error).removeprefix(f'{path}: ')}){hint}") from None


def _parse_hands(where: str, value: Any, default_side: str) -> list[HandBox]:
    several = isinstance(value, list) and (not value or not all(_is_number(x) for x in value))
    hands = []
    for entry in value if several else [value]:
        box, side = (entry.get("box"), entry.get("side")) if isinstance(entry, dict) else (entry, None)
        numbers = isinstance(box, list) and len(box) == 4 and all(_is_number(x) for x in box)
        if not (box is None or numbers) or side not in (None, "left", "right"):
            raise InputError(
                f'{where}: expected [x0, y0, x1, y1] or {{"box": [...], "side": "left"}}, found {brief(entry)}'
            )
        hands.append(HandBox(None if box is None else _as_box(where, box), side or default_side))
    return hands


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_box(where: str, numbers: list[float]) -> NDArray[np.float64]:
    """A box (4,); InputError where it cannot be one in any picture."""
    if not all(abs(x) <= LARGEST for x in numbers):  # also for what is no number
        raise InputError(f"{where}: expected pixels, at most {LARGEST:g}, found {brief(numbers)}")
    return np.asarray(numbers, np.float64)


def _read_csv(path: Path, default_side: str) -> dict[str, list[HandBox]]:
    found: dict[str, list[HandBox]] = {}
    columns = ("name", "x0", "y0", "x1", "y1")
    try:
        lines = path.read_text(TEXT).splitlines()
        rows = csv.DictReader(lines, skipinitialspace=True)
        header = rows.fieldnames
        if header is None or not set(columns) <= set(header):
            start = brief(lines[0]) if lines else "nothing"
            raise InputError(f"--boxes {path}: expected the header {','.join(columns)}[,side], found {start}")
        for row in rows:
            name, hand = _parse_row(f"--boxes {path}: line {rows.line_num}", row, default_side)
            found.setdefault(name, []).append(hand)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"--boxes {path}: not a text file in UTF-8 ({one_line(error, 120)}); save it as CSV UTF-8"
        ) from None
    return found


def _parse_row(where: str, row: dict[str, Any], default_side: str) -> tuple[str, HandBox]:
    side = (row.get("side") or "").strip() or None
    try:
        numbers = [float(row[column]) for column in ("x0", "y0", "x1", "y1")]
    except (TypeError, ValueError):
        numbers = []
    if not numbers or not row["name"]:
        raise InputError(f"{where}: expected a name and four numbers, found {brief(list(row.values()))}")
    if side not in (None, "left", "right"):
        raise InputError(f"{where}: side is {brief(side)}, expected left or right")
    return frame_name(row["name"]), HandBox(_as_box(where, numbers), side or default_side)


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
        expected = f"file names without folders, such as {min(there)[:60]!r}"
    if strange and len(strange) == len(named):
        raise InputError(f"{option}: names no frame that is there ({strange[0][:60]!r}, ...); expected {expected}")
    return strange


def frame_name(name: str) -> str:
    """A frame's name in one spelling: numbers as the video reader writes them, file names composed (NFC).

    Disks and editors may spell accents either way.
    """
    number = name.strip()
    return f"{int(number):06d}" if number.isdecimal() and len(number) < 20 else unicodedata.normalize("NFC", name)


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
    _check_file("--intrinsics", path, "; give fx,fy,cx,cy or a .npy or .json with a 3 x 3 matrix")
    if path.suffix == ".npy":
        try:
            # Mapped, a header that claims more than the file holds takes no memory.
            return _matrix(str(path), np.load(path, mmap_mode="r", allow_pickle=False))
        except InputError:
            raise
        except Exception as error:  # noqa: BLE001 - numpy parses the header as Python: any of the parser's errors
            raise InputError(f"--intrinsics {path}: no .npy file that can be read ({one_line(error, 120)})") from None
    content = _read_json("--intrinsics", path)
    if isinstance(content, dict):
        return {frame_name(name): _matrix(f"{path}: {one_line(name, 60)}", value) for name, value in content.items()}
    return _matrix(str(path), content)


def _matrix(where: str, value: Any) -> NDArray[np.float64]:
    try:
        found = np.asarray(value)
    except ValueError:  # rows of different lengths
        found = np.empty(0)
    matrix = found.astype(np.float64) if found.dtype.kind in "iuf" and found.shape == (3, 3) else np.zeros((3, 3))
    sane = np.isfinite(matrix).all() and np.abs(matrix).max() <= LARGEST and matrix[0, 0] > 0 and matrix[1, 1] > 0
    if not sane or not np.allclose(matrix[[1, 2, 2, 2], [0, 0, 1, 2]], [0, 0, 0, 1], atol=1e-6):
        raise InputError(
            f"--intrinsics {where}: expected a 3 x 3 camera matrix fx 0 cx / 0 fy cy / 0 0 1 in pixels with positive"
            f" focal lengths, at most {LARGEST:g}"
        )
    return matrix
