"""Writing overlay.mp4: VP9 where PyAV is installed, which browsers play, else MPEG-4 Part 2, which they do not.

VP9 is free of royalties and libvpx BSD-licensed; of the other encoders in PyAV's wheel (x264, x265: GPL) none is used.
OpenCV's VP9 is not taken: it cannot be told to hurry (findings/), and takes tens of times as long.
"""

import importlib.util
import logging
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from ..durable import room_to_write
from ..errors import InputError
from ..hand.draw import Picture

log = logging.getLogger(__name__)
VP9 = "libvpx-vp9"
# Speed 7 of 0 to 8, for real time: about the processor time of MPEG-4.
_OPTIONS = {"deadline": "realtime", "cpu-used": "7", "row-mt": "1", "crf": "32"}
_HEADER_FIRST = {"movflags": "faststart"}  # players over a network need not read the end first


class MovieWriter(Protocol):
    """A video of pictures of one size, (H, W, 3) uint8 RGB."""

    def add(self, picture: Picture) -> None:
        """Append a frame."""
        ...

    def close(self) -> None:
        """Finish the file."""
        ...


def open_movie(path: Path, rate: float, width: int, height: int) -> MovieWriter:
    """A writer of `path` (.mp4) with `rate` frames per second; says in one line where no browser will play it.

    InputError where neither encoder works.
    """
    if _has_vp9():
        return _Vp9(path, rate, width, height)
    log.warning(
        "%s: written as MPEG-4 Part 2, which browsers do not play; for VP9 run: pip install 'h2onet[video]'", path.name
    )
    return _Mpeg4(path, rate, width, height)


def _has_vp9() -> bool:
    if importlib.util.find_spec("av") is None:
        return False
    import av  # pyright: ignore[reportMissingImports]

    return VP9 in av.codecs_available


class _Vp9:
    def __init__(self, path: Path, rate: float, width: int, height: int) -> None:
        import av  # pyright: ignore[reportMissingImports]

        self._path, self._frame = path, av.VideoFrame.from_ndarray
        with room_to_write(path):
            self._file = av.open(str(path), "w", format="mp4", options=_HEADER_FIRST)
        self._stream: Any = self._file.add_stream(VP9, rate=Fraction(rate).limit_denominator(1001), options=_OPTIONS)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"

    def add(self, picture: Picture) -> None:
        self._write(self._frame(np.ascontiguousarray(picture), format="rgb24"))

    def _write(self, frame: Any) -> None:
        with room_to_write(self._path):
            for packet in self._stream.encode(frame):
                self._file.mux(packet)

    def close(self) -> None:
        self._write(None)
        with room_to_write(self._path):
            self._file.close()


class _Mpeg4:
    def __init__(self, path: Path, rate: float, width: int, height: int) -> None:
        self._file = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, (width, height))
        if not self._file.isOpened():
            raise InputError(f"{path.name}: OpenCV cannot write MP4; give the frames as --images --sequence")

    def add(self, picture: Picture) -> None:
        self._file.write(np.ascontiguousarray(picture[..., ::-1]))

    def close(self) -> None:
        self._file.release()
