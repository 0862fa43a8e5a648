"""Validation during training: the errors that choose the best checkpoint.

Samples are as stored (no augmentation, no jitter); of a window, the current frame is scored. The authors choose by
PA-MPJPE + PA-MPVPE; Procrustes alignment removes the rotation, so that the score means the same in both stages.
Reports in mm.
"""

from contextlib import closing

import numpy as np
import torch
from torch import Tensor

from ..data.clips import ClipDataset
from ..data.loading.batches import loader
from ..data.loading.processes import loader_processes
from ..evaluation.metrics import point_errors, similarity_aligned
from ..hand.mano import HandModel
from ..hand.parts import FINGERS, UNKNOWN
from ..network.h2onet import H2ONet, Prediction
from .distributed import Processes, all_reduce_sum
from .machine import to_device
from .recipe import Recipe
from .stages import Counts, Targets, count, loss_terms, make_targets, weighted_sum

SCORE = "score"
MM = 1000.0


def validate(
    network: H2ONet, samples: ClipDataset, hand: HandModel, recipe: Recipe, device: torch.device, processes: Processes
) -> dict[str, float]:
    """Mean errors over the samples, which the processes share: "score", "val_loss", "pa_mpjpe_mm", "pa_mpvpe_mm" ...

    Stage 2 adds root-relative mpjpe_mm, mpvpe_mm; the multi-frame network adds occlusion_accuracy over known finger
    labels, the head for joints joint_visibility_accuracy over known joints. A prediction that is not finite scores
    infinity.
    """
    frames = recipe.val_batch_size * recipe.frames
    workers = loader_processes(frames, recipe.num_workers, on_gpu=device.type != "cpu", processes=processes.world)
    batches = loader(samples, recipe.val_batch_size, num_workers=workers, rank=processes.rank, world=processes.world)
    faces = torch.from_numpy(hand.faces.astype(np.int64)).to(device)
    training = network.training
    network.eval()
    totals: dict[str, np.ndarray] = {}
    with closing(batches):
        for batch in batches:
            moved = to_device(batch, device, recipe.channels_last)
            with torch.no_grad():
                prediction, truth = network(moved["images"]), make_targets(moved, hand)
                sums = _sums(prediction, truth, faces, recipe)
            for name, pair in sums.items():
                totals[name] = totals.get(name, np.zeros(2)) + pair
    network.train(training)
    names = sorted(totals)
    table = torch.tensor(np.stack([totals[name] for name in names]), dtype=torch.float64, device=device)
    values = all_reduce_sum(table, processes).cpu().numpy()
    means = {name: float(total / count) for name, (total, count) in zip(names, values, strict=True) if count}
    return {SCORE: means["pa_mpjpe_mm"] + means["pa_mpvpe_mm"], **means}


def _sums(prediction: Prediction, truth: Targets, faces: Tensor, recipe: Recipe) -> dict[str, np.ndarray]:
    """(sum, count) of every figure, over one batch."""
    frames = len(truth.rotation)
    terms = loss_terms(prediction, truth, faces, recipe.stage, Counts(*count(truth).clamp_min(1).tolist()))
    window = recipe.frames
    current = slice(0, None, window)
    size = frames // window
    sums: dict[str, tuple[float, float]] = {"val_loss": (float(weighted_sum(terms)) * size, size)}
    sums |= {f"val_loss_{name}": (float(term) * size, size) for name, term in terms.items()}
    kind = "oriented" if recipe.stage == 2 else "canonical"
    for name, predicted, true in (
        ("mpjpe_mm", prediction.joints, getattr(truth, f"{kind}_joints")[current]),
        ("mpvpe_mm", prediction.vertices, getattr(truth, f"{kind}_vertices")[current]),
    ):
        ours, theirs = _array(predicted), _array(true)
        sums[f"pa_{name}"] = (_aligned_error(ours, theirs), size)
        if recipe.stage == 2:
            roots = _array(prediction.joints)[:, :1], _array(truth.oriented_joints[current])[:, :1]
            sums[name] = (float(point_errors(ours - roots[0], theirs - roots[1]).mean(1).sum()) * MM, size)
    if prediction.occlusion_logits is not None:
        sums["occlusion_accuracy"] = _occlusion(prediction.occlusion_logits[:, 0], truth.occluded[current])
    if prediction.joint_visibility_logits is not None and truth.joint_visible is not None:
        sums["joint_visibility_accuracy"] = _joint_visibility(
            prediction.joint_visibility_logits, truth.joint_visible[current]
        )
    return {name: np.array(pair, np.float64) for name, pair in sums.items()}


def _aligned_error(predicted: np.ndarray, true: np.ndarray) -> float:
    if not np.isfinite(predicted).all():
        return float("inf")
    return float(point_errors(similarity_aligned(predicted, true), true).mean(1).sum()) * MM


def _occlusion(logits: Tensor, occluded: Tensor) -> tuple[float, float]:
    # The five fingers; the global output answers another question and is easy.
    fingers = len(FINGERS)
    predicted, wanted = logits.argmax(1)[:, :fingers], occluded[:, :fingers]
    known = wanted != UNKNOWN
    return float(((predicted == wanted) & known).sum()), float(known.sum())


def _joint_visibility(logits: Tensor, visible: Tensor) -> tuple[float, float]:
    known = visible != UNKNOWN
    return float((((logits > 0) == (visible == 1)) & known).sum()), float(known.sum())


def _array(values: Tensor) -> np.ndarray:
    return values.detach().double().cpu().numpy()
