"""Stand-ins for the models, with known truth: networks that see two coloured dots, and hands that move as told."""

from dataclasses import dataclass

import numpy as np
from h2onet.inference.detection.finder import SeenHand
from h2onet.inference.detection.networks import HAND_SIDE, HandReading
from h2onet.inference.detection.palms import SIDE, Palms, anchors
from h2onet.inference.detection.regions import MIDDLE_BASE, Region, region_of_landmarks

RED, GREEN = (250, 0, 0), (0, 250, 0)


def hand_shape(right: bool = True) -> np.ndarray:
    """Landmarks (21, 2) of an open hand that points up, wrist at the origin, 1 high; of the palm of a right hand."""
    points = [np.zeros((1, 2))]
    for angle, base, length in (
        (-0.9, 0.2, 0.35),
        (-0.3, 0.5, 0.4),
        (-0.05, 0.5, 0.5),
        (0.2, 0.48, 0.42),
        (0.45, 0.45, 0.32),
    ):
        way = np.array([np.sin(angle), -np.cos(angle)])
        points.append((base + length * np.linspace(0, 1, 4))[:, None] * way)
    return np.concatenate(points) * ([1, 1] if right else [-1, 1])


def world_of(landmarks: np.ndarray) -> np.ndarray:
    """Landmarks (21, 2) as those (21, 3) m of a flat hand 18 cm long, about its middle."""
    flat = np.column_stack([landmarks - landmarks.mean(0), np.zeros(len(landmarks))])
    return 0.18 * flat / np.ptp(landmarks, axis=0).max()


def paint_hand(picture: np.ndarray, wrist: np.ndarray, middle: np.ndarray) -> None:
    """Dots at the wrist and the middle finger's base: what `DotNetworks` takes for a hand."""
    y, x = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]] + 0.5
    radius = max(2.0, 0.12 * float(np.linalg.norm(middle - wrist)))
    for place, colour in ((wrist, RED), (middle, GREEN)):
        picture[(x - place[0]) ** 2 + (y - place[1]) ** 2 < radius**2] = colour


def dot(square: np.ndarray, channel: int) -> np.ndarray | None:
    """The middle of the dots of a colour, in units of the square's side."""
    others = np.delete(square, channel, 2).max(2).astype(int)
    weight = np.clip(square[..., channel].astype(float) - others - 60, 0, None)
    if weight.sum() < 300:
        return None
    y, x = np.mgrid[0 : square.shape[0], 0 : square.shape[1]] + 0.5
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum() / square.shape[0]


class DotNetworks:
    """Networks that find one hand of two dots; a hand seen from the side of its thumb is no matter here."""

    def palms(self, square: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert square.shape == (SIDE, SIDE, 3)
        raw, logits = np.zeros((2016, 18), np.float32), np.full(2016, -20, np.float32)
        wrist, middle = dot(square, 0), dot(square, 1)
        if wrist is not None and middle is not None:
            points = np.tile((wrist + middle) / 2, (7, 1))
            points[0], points[2] = wrist, middle
            side = 1.5 * np.linalg.norm(middle - wrist)
            where = int(np.linalg.norm(anchors() - points[1], axis=1).argmin())
            raw[where] = SIDE * np.concatenate(
                [points[1] - anchors()[where], [side, side], (points - anchors()[where]).ravel()]
            )
            logits[where] = 3.0
        return raw, logits

    def hand(self, square: np.ndarray) -> HandReading:
        assert square.shape == (HAND_SIDE, HAND_SIDE, 3)
        wrist, middle = dot(square, 0), dot(square, 1)
        if wrist is None or middle is None:
            return HandReading(np.full((21, 2), 0.5), 0.02, 0.5, np.zeros((21, 3)))
        shape = hand_shape()
        up, across = middle - wrist, np.array([-(middle - wrist)[1], (middle - wrist)[0]])
        points = wrist + (shape[:, :1] * across - shape[:, 1:] * up) / -shape[MIDDLE_BASE, 1]
        points[MIDDLE_BASE] = middle
        return HandReading(points, 0.98, 0.97, world_of(points))


@dataclass
class Truth:
    """A hand of one frame: landmarks (21, 2) px, whether it is a right one, and whether it can be seen."""

    landmarks: np.ndarray
    right: bool
    visible: bool = True


class FakeFinder:
    """A finder that knows the truth of frame after frame (`frame` says which), with noise like the models'.

    In a region it sees the nearest visible hand, as the landmark model does where two hands are close.
    """

    def __init__(self, frames: list[list[Truth]], seed: int = 0, noise: float = 0.02) -> None:
        self.frames, self.frame, self.noise = frames, 0, noise
        self.rng = np.random.default_rng(seed)
        self.hand_runs = 0

    def palms(self, picture: np.ndarray, regions: object = None) -> Palms:
        seen = [truth for truth in self.frames[self.frame] if truth.visible]
        regions = [region_of_landmarks(truth.landmarks) for truth in seen]
        boxes = [[*region.centre - region.side / 5, *region.centre + region.side / 5] for region in regions]
        points = [truth.landmarks[[0, 5, 9, 13, 17, 1, 2]] for truth in seen]
        return Palms(np.array(boxes).reshape(-1, 4), np.array(points).reshape(-1, 7, 2), np.full(len(seen), 0.9))

    def hand(self, picture: np.ndarray, region: Region, score: float) -> SeenHand:
        self.hand_runs += 1
        seen = [truth for truth in self.frames[self.frame] if truth.visible]
        away = [np.linalg.norm(truth.landmarks.mean(0) - region.centre) / region.side for truth in seen]
        if not seen or min(away) > 0.5:
            nothing = region.to_picture(self.rng.uniform(0, 1, (21, 2)))
            return SeenHand(nothing, 0.03, 0.5, score, world_of(nothing))
        truth = seen[int(np.argmin(away))]
        landmarks = truth.landmarks + self.rng.normal(0, self.noise * region.side / 2, (21, 2))
        # The models' word on the side is wrong now and then.
        right = truth.right if self.rng.uniform() > 0.05 else not truth.right
        return SeenHand(landmarks, 0.97, 0.95 if right else 0.05, score, world_of(landmarks))
