"""Videos frame by frame, as a viewer shows them, and only what is a video: a file that names no other one.

Only files that begin like a known container are handed to OpenCV, without their name: its FFmpeg would follow
playlists, and take some names for addresses or for numbered pictures. Turned videos are turned by OpenCV, mirrored
ones here.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from ..data.photos import MOST_PIXELS
from ..errors import InputError
from .movie_header import BadHeader, MovieHeader, read_movie_header
from .sources import InputFrame

log = logging.getLogger(__name__)
_MOVIE, _MATROSKA, _AVI, _OTHER = "MP4 or MOV", "Matroska or WebM", "AVI", "other"
_CAPTURE_OPTIONS, _LOG_LEVEL = "OPENCV_FFMPEG_CAPTURE_OPTIONS", "OPENCV_FFMPEG_LOGLEVEL"
_STARTS = (
    (b"\x1a\x45\xdf\xa3", _MATROSKA),
    (b"\x00\x00\x01\xba", _OTHER),  # MPEG program stream
    (b"\x00\x00\x01\xb3", _OTHER),  # MPEG-1 and -2 without a container
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", _OTHER),  # ASF: WMV
    (b"FLV\x01", _OTHER),
    (b"OggS", _OTHER),
    (b"GIF8", _OTHER),
    (b"YUV4MPEG2 ", _OTHER),
)
_MOVIE_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp")


def find_container(head: bytes) -> str | None:
    """The kind of container that a file's first 512 bytes belong to; None where it is no video that is read."""
    if head[4:8] in _MOVIE_BOXES:
        return _MOVIE
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return _AVI
    # A transport stream has its mark every 188 bytes, in a camera's form (M2TS) after 4 more.
    if any(len(head) > start + 2 * step and head[start::step][:3] == b"GGG" for start, step in ((0, 188), (4, 192))):
        return _OTHER
    return next((kind for start, kind in _STARTS if head.startswith(start)), None)


@dataclass
class Video:
    """An opened video with `rate` frames per second; `read` closes it.

    frames: how many the header promises (None: it does not say); mirror: turns a stored picture into the shown one
    where OpenCV would not; cut: what tells that the end of the file is missing, or "".
    """

    path: Path
    capture: cv2.VideoCapture
    frames: int | None
    rate: float
    mirror: NDArray[np.int64] | None = None
    cut: str = ""

    @classmethod
    def open(cls, path: Path) -> "Video":
        """Open a video file. InputError where it is missing, no video, or OpenCV cannot read it."""
        if not path.is_file():
            raise InputError(f"--video {path}: {'is no file' if path.exists() else 'no such file'}; give one video")
        with path.open("rb") as file:
            size, container = os.fstat(file.fileno()).st_size, find_container(file.read(512))
            if container is None:
                raise InputError(
                    f"--video {path}: cannot be opened as a video: its first bytes are those of no container that is"
                    " read (MP4, MOV, MKV, WebM, AVI, MPEG, ...); playlists and lists of files are not followed"
                )
            header, cut = _read_header(path, file, size, container)
            matrix = None if header is None else header.matrix
            mirror = None if matrix is None else _mirror_of(path, matrix)
            capture = _open_capture(path, file, cut, mirror)
        if mirror is not None:
            log.warning("--video %s: its header mirrors the picture; it is read as a viewer shows it", path)
        frames = None if header is None else header.frames
        # Elsewhere OpenCV multiplies a duration by a rate, which is no count.
        if container == _AVI or (container == _MOVIE and header is None):
            frames = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT))) or None
        rate = capture.get(cv2.CAP_PROP_FPS)
        return cls(path, capture, frames, rate if 1 <= rate <= 240 else 30, mirror, cut)

    def reopened(self) -> "Video":
        """The same video from its first frame on, to be read again."""
        with self.path.open("rb") as file:
            return replace(self, capture=_open_capture(self.path, file, self.cut, self.mirror))

    def read(self) -> Iterator[InputFrame]:
        """Yield every frame, and one more without a picture where the video ends before its header says."""
        number = 0
        try:
            while True:
                there, picture = self.capture.read()
                if not there:
                    break
                yield InputFrame(f"{number:06d}", self._upright(picture))
                number += 1
        finally:
            self.capture.release()
        if self.frames is not None and number < self.frames:
            reason = f"the video ends after {number} of {self.frames} frames"
        elif number == 0:
            reason = "the video holds no frame that can be decoded"
        elif self.frames is None and self.cut:
            reason = f"the video ends after {number} frames: {self.cut}"
        else:
            return
        yield InputFrame(f"{number:06d}", None, reason)

    def _upright(self, picture: NDArray) -> NDArray[np.uint8]:
        shown = np.asarray(picture, np.uint8)[..., ::-1]
        if self.mirror is None:
            return shown
        if self.mirror[0, 0] == 0:
            shown = shown.swapaxes(0, 1)
        across, down = self.mirror.sum(0)  # of every column one entry is not 0: the sign of the shown x and y
        return shown[::down, ::across]


def _read_header(path: Path, file: BinaryIO, size: int, container: str) -> tuple[MovieHeader | None, str]:
    """The header of an MP4 or MOV where it can be read, and what tells that the end of any file is missing."""
    if container == _MOVIE:
        try:
            header = read_movie_header(file, size)
        except BadHeader as error:
            if "no moov" in str(error):
                raise InputError(
                    f"--video {path}: cannot be opened as a video: {error}; the recording or a copy was broken off,"
                    " copy it again or mend it with a tool for that"
                ) from None
            log.warning("--video %s: its header cannot be read (%s); frames are counted by OpenCV", path, error)
            return None, ""
        return header, _cut(header.lost)
    if container == _AVI:
        file.seek(4)
        return None, _cut(int.from_bytes(file.read(4), "little") + 8 - size)
    return None, _cut(_lost_of_matroska(file, size) if container == _MATROSKA else 0)


def _cut(lost: int) -> str:
    return f"the last {lost} bytes of the file are missing" if lost > 0 else ""


def _lost_of_matroska(file: BinaryIO, size: int) -> int:
    """How many bytes the file has less than its Segment says; 0 where that does not know its size (live recordings)."""
    file.seek(4)
    at = 4 + _read_size(file)[1]
    file.seek(4)
    at += _read_size(file)[0]
    file.seek(at)
    if file.read(4) != b"\x18\x53\x80\x67":
        return 0
    length, width, known = _read_size(file)
    return max(0, at + 4 + width + length - size) if known else 0


def _read_size(file: BinaryIO) -> tuple[int, int, bool]:
    """A Matroska size (RFC 8794, 4): its value, how many bytes it takes, and whether it is known."""
    first = file.read(1)
    if not first or not first[0]:
        return 0, 1, False
    width = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(width - 1), "big") & ((1 << 7 * width) - 1)
    return value, width, value != (1 << 7 * width) - 1


def _mirror_of(path: Path, matrix: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """The signs (2, 2) of a matrix that mirrors; None for a turn by quarters, which OpenCV sees to.

    InputError for any other: OpenCV would show the picture as it is stored.
    """
    size = np.abs(matrix)
    straight, crossed = size[[0, 1], [0, 1]], size[[0, 1], [1, 0]]
    if crossed.max() > 0.01 * straight.min() and straight.max() > 0.01 * crossed.min():
        raise InputError(
            f"--video {path}: its header turns the picture by {matrix.round(3).tolist()}, which is no quarter turn;"
            " write it anew as it is to be seen"
        )
    if np.linalg.det(matrix) > 0:
        return None
    return np.where(size > 0.5 * size.max(), np.sign(matrix), 0).astype(np.int64)


def _open_capture(path: Path, file: BinaryIO, cut: str, mirror: NDArray[np.int64] | None) -> cv2.VideoCapture:
    descriptor = Path(f"/dev/fd/{file.fileno()}")
    file.seek(0)  # on some systems the name below shares the file's position
    with _only_files():
        name = str(descriptor if descriptor.exists() else path.resolve())
        capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
    if not capture.isOpened():
        why = f" ({cut})" if cut else ""
        raise InputError(f"--video {path}: cannot be opened as a video{why}; convert it to MP4 (H.264) or MJPEG AVI")
    width, height = (int(capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    if width * height > MOST_PIXELS:
        capture.release()
        raise InputError(
            f"--video {path}: frames of {width} x {height} pixels, at most {MOST_PIXELS} are read; make it smaller"
        )
    if mirror is not None:
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
    return capture


@contextmanager
def _only_files() -> Iterator[None]:
    """Let FFmpeg open no network address meanwhile, and say nothing itself; the environment is then as before."""
    before = {name: os.environ.get(name) for name in (_CAPTURE_OPTIONS, _LOG_LEVEL)}
    given = before[_CAPTURE_OPTIONS]
    os.environ[_CAPTURE_OPTIONS] = f"{given}|protocol_whitelist;file" if given else "protocol_whitelist;file"
    os.environ.setdefault(_LOG_LEVEL, "-8")  # AV_LOG_QUIET
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
