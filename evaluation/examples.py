"""The report's picture rows: crop, truth, prediction and error on the mesh, with occlusion bars per finger."""

from dataclasses import dataclass

import numpy as np
import torch

from ..data.batches import collate
from ..data.clips import ClipDataset, ClipStore
from ..hand.mano import HandModel
from ..hand.parts import FINGERS
from ..network.h2onet import H2ONet
from .pictures import BLUE, ORANGE, data_uri, enlarged, heat_colors, overlay_mesh, picture_of
from .scores import FrameScores, current, true_vertices

FACTOR = 2  # pictures are drawn at twice the crop's 128 px
HEAT_MAXIMUM = 0.03  # m, the red end of the error map


@dataclass(frozen=True)
class Example:
    """One frame of the page: pictures as (caption, data URI), bars as (finger, truth or None, probability or None)."""

    name: str
    error_mm: float | None
    pictures: list[tuple[str, str]]
    bars: list[tuple[str, int | None, float | None]]


def draw_examples(
    network: H2ONet, samples: ClipDataset, scores: FrameScores, hand: HandModel, chosen: dict[str, list[int]]
) -> dict[str, list[Example]]:
    """Examples by group title; `chosen` holds positions in `samples` (and `scores`, which has the same order)."""
    store = ClipStore.open(samples.paths[0])
    return {
        title: [draw_example(network, samples, store, scores, hand, position) for position in positions]
        for title, positions in chosen.items()
    }


def draw_example(
    network: H2ONet, samples: ClipDataset, store: ClipStore, scores: FrameScores, hand: HandModel, position: int
) -> Example:
    """Run the network on one sample again and draw it."""
    batch = collate([samples[position]])
    device = next(network.parameters()).device
    with torch.inference_mode():
        prediction = network(batch["images"].to(device))
    windows = batch["images"].ndim == 5
    oriented = prediction.rotation is not None
    row = int(scores.frame_index[position])
    given = store.index["vertices"][row : row + 1] if "vertices" in store.index else None
    truth = true_vertices(batch, hand, windows, oriented, given)[0]
    found = (prediction.vertices - prediction.joints[:, :1]).double().cpu().numpy()[0]
    root = current(batch["root"], windows)[0].astype(np.float64)
    intrinsics = current(batch["intrinsics"], windows)[0].astype(np.float64)
    errors = np.linalg.norm(found - truth, axis=1)

    crop = picture_of(current(batch["images"], windows)[0])
    pictures = [("crop", crop)]
    if windows:
        past = np.concatenate([picture_of(np.asarray(image)) for image in batch["images"][0, 1:]], axis=0)
        half = past[::2, ::2]
        pictures.append(("past frames", half))
    scaled = intrinsics * np.array([[FACTOR], [FACTOR], [1.0]])
    canvas = enlarged(crop, FACTOR)
    if oriented:
        if np.isfinite(truth).all():
            pictures.append(("truth", overlay_mesh(canvas, truth + root, hand.faces, scaled, colors=ORANGE)))
        pictures.append(("prediction", overlay_mesh(canvas, found + root, hand.faces, scaled, colors=BLUE)))
        if np.isfinite(errors).all():
            heat = heat_colors(errors, HEAT_MAXIMUM)
            pale = np.full_like(canvas, 245)
            pictures.append(("error, 0 to 30 mm", overlay_mesh(pale, found + root, hand.faces, scaled, colors=heat)))
    pictures[0] = ("crop", canvas)
    key, number = store.key(row), int(store.index["frame"][row])
    error = float(scores.joint_errors_pa[position].mean() * 1000)
    return Example(
        name=f"{key} frame {number}",
        error_mm=error if np.isfinite(error) else None,
        pictures=[(caption, data_uri(picture)) for caption, picture in pictures],
        bars=bars_of(scores, position),
    )


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
