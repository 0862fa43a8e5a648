"""Sample pictures of every epoch: crop with 2D joints, predicted mesh, true mesh, occlusion bars, one row per sample.

In stage 2 meshes lie on the crop through its own intrinsics, the predicted one at the true wrist; in stage 1, which
knows no orientation, both are drawn in the canonical orientation on grey. Predictions are blue, the truth is orange, as
on the report's page. RGB uint8; metres, OpenCV camera frame.
"""

import cv2
import numpy as np
import torch

from ..data.clips import ClipDataset
from ..data.loading.batches import collate
from ..hand.draw import BLUE, ORANGE, from_the_back, overlay_mesh, overlay_skeleton
from ..hand.mano import HandModel
from ..hand.parts import FINGERS, UNKNOWN
from ..network.h2onet import H2ONet
from .machine import to_device
from .recipe import Recipe
from .stages import make_targets

SIDE, FACTOR = 256, 2
CAPTION = 24
TITLES = ("2D joints: true, predicted", "predicted mesh", "true mesh", "hidden: true, predicted")
GREY = 60


def draw_samples(
    network: H2ONet, samples: ClipDataset, hand: HandModel, recipe: Recipe, device: torch.device
) -> np.ndarray:
    """One picture (24 + rows * 256, 1024, 3) of samples spread evenly over the set."""
    chosen = np.unique(np.linspace(0, len(samples) - 1, recipe.pictures).astype(int))
    batch = to_device(collate([samples[int(i)] for i in chosen]), device, recipe.channels_last)
    training = network.training
    network.eval()
    with torch.no_grad():
        prediction, truth = network(batch["images"]), make_targets(batch, hand)
    network.train(training)
    first = (slice(None), 0) if recipe.frames > 1 else (slice(None),)
    current = slice(0, None, recipe.frames)
    kind = "oriented" if recipe.stage == 2 else "canonical"
    images = batch["images"][first].permute(0, 2, 3, 1).cpu().numpy()
    meshes = [prediction.vertices.cpu().numpy(), getattr(truth, f"{kind}_vertices")[current].cpu().numpy()]
    wrists = [prediction.joints[:, :1].cpu().numpy(), getattr(truth, f"{kind}_joints")[current, :1].cpu().numpy()]
    joints = [prediction.joints_2d[first].cpu().numpy(), truth.joints_2d[current].cpu().numpy()]
    logits = prediction.occlusion_logits
    occluded = None if logits is None else logits[:, 0].softmax(1)[:, 1].cpu().numpy()
    rows = [_captions()]
    for i, image in enumerate(images):
        crop = cv2.resize((image * 255 + 0.5).astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        cells = [_skeletons(crop.copy(), joints[1][i], joints[0][i])]
        for mesh, wrist, colour in zip(meshes, wrists, (BLUE, ORANGE), strict=True):
            if recipe.stage == 2:
                place = mesh[i] - wrist[i] + batch["root"][first][i].cpu().numpy()
                cells.append(_on_crop(crop, place, hand.faces, batch["intrinsics"][first][i].cpu().numpy(), colour))
            else:
                cells.append(_canonical(mesh[i] - wrist[i], hand.faces, colour))
        cells.append(_bars(truth.occluded[current][i].cpu().numpy(), None if occluded is None else occluded[i]))
        rows.append(np.concatenate(cells, axis=1))
    return np.concatenate(rows, axis=0)


def _captions() -> np.ndarray:
    strip = np.full((CAPTION, len(TITLES) * SIDE, 3), 30, np.uint8)
    for column, title in enumerate(TITLES):
        _write(strip, title, (column * SIDE + 8, 16))
    return strip


def _write(picture: np.ndarray, text: str, place: tuple[int, int]) -> None:
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (230, 230, 230), 1, cv2.LINE_AA)


def _on_crop(
    crop: np.ndarray, mesh: np.ndarray, faces: np.ndarray, intrinsics: np.ndarray, colour: tuple
) -> np.ndarray:
    larger = intrinsics.astype(np.float64).copy()
    larger[:2] *= FACTOR
    if not np.isfinite(mesh).all() or mesh[:, 2].min() < 0.05:
        return crop // 2
    return overlay_mesh(crop, mesh, faces, larger, colours=colour)


def _canonical(mesh: np.ndarray, faces: np.ndarray, colour: tuple) -> np.ndarray:
    ground = np.full((SIDE, SIDE, 3), GREY, np.uint8)
    if not np.isfinite(mesh).all():
        return ground
    placed, camera = from_the_back(mesh, SIDE)
    return overlay_mesh(ground, placed, faces, camera, colours=colour)


def _skeletons(crop: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    for joints, colour in ((true, ORANGE), (predicted, BLUE)):
        if np.isfinite(joints).all():
            crop = overlay_skeleton(crop, joints * SIDE, colours=[colour] * len(FINGERS))
    return crop


def _bars(occluded: np.ndarray, probability: np.ndarray | None) -> np.ndarray:
    cell = np.full((SIDE, SIDE, 3), 30, np.uint8)
    labels = [*((name, i, i) for i, name in enumerate(FINGERS)), ("global", 6, 5)]
    for row, (name, truth_column, output) in enumerate(labels):
        top = 14 + row * 40
        _write(cell, name, (8, top + 18))
        truth = occluded[truth_column]
        if truth != UNKNOWN:
            cv2.rectangle(cell, (80, top + 2), (100, top + 22), ORANGE, -1 if truth else 2)
        if probability is not None and np.isfinite(probability[output]):
            cv2.rectangle(cell, (115, top + 2), (240, top + 22), (90, 90, 90), 1)
            cv2.rectangle(cell, (115, top + 2), (115 + int(125 * probability[output]), top + 22), BLUE, -1)
    return cell
