"""One frame of the report drawn: crop, truth, prediction and error on the mesh, with occlusion bars per finger.

Meshes lie over the crop at the annotated wrist. A network without orientation is drawn in the canonical orientation on
plain ground instead, seen from the back of the hand.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...data.clips import ClipDataset, ClipStore
from ...data.loading.batches import collate
from ...hand.draw import from_the_back
from ...hand.mano import HandModel
from ...hand.parts import FINGERS
from ...network.h2onet import H2ONet
from ...network.prediction import Prediction
from ..scoring.scores import CROP, FrameScores, current, predicted_hands, true_vertices
from .pictures import BLUE, ORANGE, Picture, data_uri, enlarged, heat_colors, overlay_mesh, picture_of

FACTOR = 2  # pictures are drawn at twice the crop's 128 px
HEAT_MAXIMUM = 0.03  # m, the red end of the error map
HEAT_CAPTION = "error, 0 to 30 mm"
GROUND = 245
NEAREST = 0.05  # m: a mesh that reaches closer to the camera cannot be drawn


@dataclass(frozen=True)
class Example:
    """One frame of the page: pictures as (caption, data URI), bars as (finger, truth or None, probability or None)."""

    name: str
    error_mm: float | None
    pictures: list[tuple[str, str]]
    bars: list[tuple[str, int | None, float | None]]


@dataclass(frozen=True)
class Drawer:
    """All that drawing a frame again takes: `scores` and `samples` have the same order; `hand` is on the CPU."""

    network: H2ONet
    samples: ClipDataset
    store: ClipStore
    scores: FrameScores
    hand: HandModel

    def pictures(self, position: int) -> dict[str, Picture]:
        """Pictures (256, 256, 3) of one sample by caption; "past frames" is half as wide."""
        batch, prediction, truths = predicted_again(self.network, self.samples, self.store, self.hand, [position])
        windows, oriented = batch["images"].ndim == 5, prediction.rotation is not None
        truth, found = truths[0], predicted_hands(prediction, None)[0][0]
        crop = enlarged(picture_of(current(batch["images"], windows)[0]), FACTOR)
        drawn = {"crop": crop}
        if windows:
            past = [picture_of(np.asarray(image)) for image in batch["images"][0, 1:]]
            drawn["past frames"] = np.concatenate(past, axis=0)
        plain = np.full_like(crop, GROUND)
        if oriented:
            place = current(batch["root"], windows)[0].astype(np.float64)
            camera = current(batch["intrinsics"], windows)[0].astype(np.float64) * [[FACTOR], [FACTOR], [1.0]]
            meshes, ground = (truth + place, found + place), crop
        else:
            (turned, camera), ground = from_the_back(truth, FACTOR * CROP), plain
            meshes = (turned, from_the_back(found, FACTOR * CROP)[0])
        for caption, mesh, color in zip(("truth", "prediction"), meshes, (ORANGE, BLUE), strict=True):
            if drawable(mesh):
                drawn[caption] = overlay_mesh(ground, mesh, self.hand.faces, camera, colors=color)
        if drawable(meshes[1]) and np.isfinite(truth).all():
            heat = heat_colors(np.linalg.norm(found - truth, axis=1), HEAT_MAXIMUM)
            drawn[HEAT_CAPTION] = overlay_mesh(plain, meshes[1], self.hand.faces, camera, colors=heat)
        return drawn

    def example(self, position: int) -> Example:
        """One sample as a card of the page."""
        row = int(self.scores.frame_index[position])
        error = float(self.scores.joint_errors_pa[position].mean() * 1000)
        return Example(
            name=f"{self.store.key(row)} frame {int(self.store.index['frame'][row])}",
            error_mm=error if np.isfinite(error) else None,
            pictures=[(caption, data_uri(picture)) for caption, picture in self.pictures(position).items()],
            bars=bars_of(self.scores, position),
        )


def predicted_again(
    network: H2ONet, samples: ClipDataset, store: ClipStore, hand: HandModel, positions: list[int]
) -> tuple[dict[str, Tensor], Prediction, NDArray[np.float64]]:
    """Some samples of `store` once more: their batch, what the network says, and their true meshes (B, 778, 3) m.

    Keeping everything that was predicted would take gigabytes; the truth is as `scores.true_vertices` gives it.
    """
    batch = collate([samples[position] for position in positions])
    with torch.inference_mode():
        prediction = network(batch["images"].to(next(network.parameters()).device))
    windows, given = batch["images"].ndim == 5, store.index.get("vertices")
    rows = current(batch["frame_index"], windows)
    truth = true_vertices(batch, hand, windows, prediction.rotation is not None, None if given is None else given[rows])
    return batch, prediction, truth


def drawable(mesh: NDArray) -> bool:
    """Whether a mesh (V, 3) m in the camera frame is known and stands before the camera."""
    return bool(np.isfinite(mesh).all() and mesh[:, 2].min() > NEAREST)


def bars_of(scores: FrameScores, position: int) -> list[tuple[str, int | None, float | None]]:
    """Every finger's label and predicted probability of being occluded, None where unknown."""
    bars: list[tuple[str, int | None, float | None]] = []
    for i, finger in enumerate(FINGERS):
        label = int(scores.occluded[position, i])
        probability = float(scores.occluded_probability[position, i])
        known = label if label in (0, 1) else None
        if known is not None or np.isfinite(probability):
            bars.append((finger, known, probability if np.isfinite(probability) else None))
    return bars
