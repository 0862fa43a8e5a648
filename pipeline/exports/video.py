"""Pictures as a video that plays in browsers and in LeRobot's decoders: AV1 in MP4, constant frame rate.

AV1 because it may be used without a fee: SVT-AV1, which PyAV's wheels bring, is BSD-licensed (x264, which they bring
too, is under the GPL, and H.264 has patents). Every second picture is a key frame, so that single pictures are found
fast: LeRobot's own setting.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from ...errors import InputError

CODEC, ENCODER = "av1", "libsvtav1"
PIXELS = "yuv420p"
SETTINGS = {"g": "2", "crf": "20", "preset": "8"}
# What the numbers mean, for players that would guess: BT.601 matrix, sRGB primaries and curve, 16..235.
_COLOURS = {"colorspace": 6, "color_primaries": 1, "color_trc": 13, "color_range": 1}


def require_encoder() -> None:
    """InputError where this PyAV has no AV1 encoder."""
    import av  # pyright: ignore[reportMissingImports]

    if ENCODER not in av.codecs_available:
        raise InputError(
            f"--to lerobot: PyAV {av.__version__} here has no encoder {ENCODER}; its own wheels have: run"
            " pip install --force-reinstall --only-binary=av av"
        )


class VideoFile:
    """A video being written: `add` pictures, then leave the block. `seconds` is where the next one will stand.

    `nbytes` is what the encoder gave so far; it holds some pictures back.
    """

    def __init__(self, path: Path, side: int, fps: int) -> None:
        """Square pictures of `side` px, an even number."""
        import av  # pyright: ignore[reportMissingImports]

        os.environ.setdefault("SVT_LOG", "1")  # errors only: the encoder prints its settings otherwise
        path.parent.mkdir(parents=True, exist_ok=True)
        self.fps, self.frames, self.nbytes = fps, 0, 0
        self._frame = av.VideoFrame.from_ndarray
        self._container = av.open(str(path), "w", format="mp4")
        self._stream = self._container.add_stream(ENCODER, rate=fps, options=dict(SETTINGS))
        self._stream.width = self._stream.height = side
        self._stream.pix_fmt = PIXELS
        for name, value in _COLOURS.items():
            setattr(self._stream.codec_context, name, value)

    @property
    def seconds(self) -> float:
        """Length of what was added."""
        return self.frames / self.fps

    def add(self, picture: np.ndarray) -> None:
        """Append a picture (side, side, 3) uint8 RGB."""
        self._write(self._stream.encode(self._frame(picture, format="rgb24")))
        self.frames += 1

    def _write(self, packets: Iterable[Any]) -> None:
        for packet in packets:
            self.nbytes += packet.size
            self._container.mux(packet)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._write(self._stream.encode())
        self._container.close()
