"""`Detector` finds the hands in pictures and follows them in videos, with MediaPipe's published models.

The models are a file that the user names (`detection/model_files.py` tells which); nothing is downloaded. Pictures are
(H, W, 3) uint8 RGB, as a viewer shows them and not mirrored; boxes and landmarks are px.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .detection.finder import HandFinder, SeenHand, find_hands
from .detection.model_files import read_models
from .detection.networks import STRIDES, HandNetworks
from .detection.tracker import HandTracker

VARIABLE = "H2O_DETECTOR"
DETECTED = "detected"
"""Where a box came from (`HandResult.box_from`) that the detector found."""


@dataclass(frozen=True)
class DetectedHand:
    """A hand that was found: the number by which it is followed (in a single picture: its place, the surest first).

    side; landmarks (21, 2) px in this project's order; presence and score: probabilities that it is a hand, of the
    landmark model and of the palm detector where it was first found. world (21, 3): the landmarks in m about the middle
    of the hand, x right, y down, z away from who looks. read: whether the landmark model saw this frame; else they
    follow from the frames before.
    """

    number: int
    side: str
    landmarks: NDArray[np.float64]
    presence: float
    score: float
    world: NDArray[np.float64]
    read: bool = True

    @property
    def box(self) -> NDArray[np.float64]:
        """x0, y0, x1, y1 px, tight round the landmarks."""
        return np.concatenate([self.landmarks.min(0), self.landmarks.max(0)])

    def row(self) -> dict[str, Any]:
        """What predictions.jsonl says of it."""
        return {
            "landmarks": np.round(self.landmarks, 2).tolist(),
            "presence": round(self.presence, 4),
            "score": round(self.score, 4),
        }


class Detector:
    """Hands of pictures (`find`), or of one video's frames (`follow`, which keeps what it knows between calls)."""

    def __init__(self, finder: HandFinder, stride: int = 1, sha256: str = "") -> None:
        """stride: frames of a video per reading of a hand that moves slowly (`detection/tracker.py`).

        sha256: of the landmark model's file.
        """
        self._finder, self.sha256 = finder, sha256
        self.tracker = HandTracker(finder, stride)

    @classmethod
    def open(cls, path: str | Path, engine: str = "auto", stride: int | None = None) -> "Detector":
        """Load the models from a .task file, a wheel or a folder; engine: opencv, litert, or auto (this if installed).

        stride: as above (default: so that the detector takes a small part of a network's time). InputError where the
        file does not hold the published models.
        """
        files = read_models(Path(path))
        networks = HandNetworks(files, engine)
        digest = hashlib.sha256(files.landmarks).hexdigest()
        return cls(HandFinder(networks), stride or STRIDES[networks.engine], digest)

    def find(self, picture: NDArray[np.uint8]) -> list[DetectedHand]:
        """The hands of a picture by itself."""
        return [
            _detected(number, "right" if hand.right > 0.5 else "left", hand)
            for number, hand in enumerate(find_hands(self._finder, picture))
        ]

    def follow(self, picture: NDArray[np.uint8] | None) -> list[DetectedHand]:
        """The hands that are seen in a video's next frame, by number; None for a frame that could not be read."""
        if picture is None:
            self.tracker.skip()
            return []
        return [_detected(each.number, each.side, each.hand, each.read) for each in self.tracker.follow(picture)]


def _detected(number: int, side: str, hand: SeenHand, read: bool = True) -> DetectedHand:
    return DetectedHand(number, side, hand.landmarks, hand.presence, hand.score, hand.world, read)
