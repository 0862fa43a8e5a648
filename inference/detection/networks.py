"""Runs the two models, by LiteRT where it is installed and else by OpenCV; the numbers agree to rounding.

Inputs are RGB uint8 squares, scaled to [0, 1] here. LiteRT takes about a quarter of OpenCV's time (docs/predict.md).
"""

import importlib.util
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...cores import granted_cores
from ...errors import InputError
from .model_files import ModelFiles
from .palms import SIDE

HAND_SIDE = 224  # px of the landmark model's input
ENGINES = ("auto", "opencv", "litert")
STRIDES = {"opencv": 5, "litert": 2}
"""Frames of a video per reading of a hand at rest, so that the detector stays below 15 % of their time."""
Run = Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]
"""A picture (1, S, S, 3) float32 in [0, 1] to the model's outputs, flat, in the order of their names."""


@dataclass(frozen=True)
class HandReading:
    """What the landmark model says of a square.

    landmarks (21, 2) in units of its side; presence: the probability that a hand is there; right: that it is a right
    hand, in a picture that is not mirrored; world (21, 3) m about the middle of the hand, x and y along the square, z
    away from who looks.
    """

    landmarks: NDArray[np.float64]
    presence: float
    right: float
    world: NDArray[np.float64]


class HandNetworks:
    """Both models, loaded. engine: the one that runs them, opencv or litert."""

    def __init__(self, files: ModelFiles, engine: str = "auto", threads: int | None = None) -> None:
        """engine: auto, opencv or litert; threads: default the granted cores. InputError where it is not installed."""
        if engine not in ENGINES:
            raise InputError(f"detector engine: expected one of {', '.join(ENGINES)}, found {engine!r}")
        there = has_litert()
        if engine == "litert" and not there:
            raise InputError("the detector's engine litert is not installed; run: pip install h2onet[detect]")
        self.engine = "opencv" if engine == "opencv" or not there else "litert"
        load = _load_litert if self.engine == "litert" else _load_opencv
        threads = threads or granted_cores()
        self._palms, self._hand = load(files.palm, threads), load(files.landmarks, threads)

    def palms(self, square: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Raw reports (2016, 18) px and logits (2016,) for a square (192, 192, 3)."""
        raw, logits = self._palms(_as_input(square, SIDE))
        return raw.reshape(-1, 18), logits

    def hand(self, square: NDArray[np.uint8]) -> HandReading:
        """The landmarks of the hand in a square (224, 224, 3)."""
        landmarks, presence, right, world = self._hand(_as_input(square, HAND_SIDE))
        points = landmarks.reshape(21, 3)[:, :2].astype(np.float64) / HAND_SIDE
        # MediaPipe's own word for a large value is "Left": it takes pictures for those of a mirror.
        return HandReading(points, float(presence[0]), float(right[0]), world.reshape(21, 3).astype(np.float64))


def has_litert() -> bool:
    """Whether LiteRT is installed."""
    return importlib.util.find_spec("ai_edge_litert") is not None


def _as_input(square: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    assert square.shape == (side, side, 3)
    return np.multiply(square[None], 1 / 255, dtype=np.float32)


def _load_opencv(model: bytes, threads: int) -> Run:
    """OpenCV counts its threads for the whole process: they are left as they are."""
    # OpenCV 5's new engine gives one output of several, and only a file's name lets one choose the other; that gives
    # them in an order of its own (findings/opencv_tflite_hand_outputs.sh).
    engine = getattr(cv2.dnn, "ENGINE_CLASSIC", None)
    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        file.write(model)
        file.flush()
        net: Any = cv2.dnn.readNetFromTFLite(file.name, *([] if engine is None else [engine]))
    names = sorted(net.getUnconnectedOutLayersNames())

    def run(picture: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        net.setInput(np.ascontiguousarray(picture.transpose(0, 3, 1, 2)))
        return [np.array(output).ravel() for output in net.forward(names)]

    return run


def _load_litert(model: bytes, threads: int) -> Run:
    from ai_edge_litert.interpreter import Interpreter  # pyright: ignore[reportMissingImports]

    interpreter: Any = Interpreter(model_content=model, num_threads=threads)
    interpreter.allocate_tensors()
    [given] = interpreter.get_input_details()
    outputs = sorted(interpreter.get_output_details(), key=lambda each: each["name"])

    def run(picture: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        interpreter.set_tensor(given["index"], picture)
        interpreter.invoke()
        return [interpreter.get_tensor(each["index"]).ravel() for each in outputs]

    return run
