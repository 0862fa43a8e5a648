"""Per-frame scores of a network on batches of clips, kept frame by frame so that anything can be averaged later.

Meshes and joints are compared relative to their own wrist, as the H2ONet authors do: from predictions the wrist
regressed from their own mesh is subtracted, from the truth the annotated wrist (joints) or the regressed one
(vertices). Left hands are scored mirrored, as the network sees them. Metres and radians; joints wrist, thumb .. little.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...data.clips import ClipDataset, ClipStore
from ...data.loading.batches import collate
from ...errors import InputError
from ...hand.mano import HandModel
from ...hand.rotations import matrix_from_axis_angle
from ...network.h2onet import H2ONet
from ...network.prediction import Prediction
from .. import metrics

F_THRESHOLDS = (0.005, 0.015)  # m
CROP = 128  # px, the side of the network's input


@dataclass(frozen=True)
class FrameScores:
    """Scores of N frames. NaN (or 255 for labels) where the dataset does not say.

    frame_index (N,) int64 row in the clips' index; joint_errors, joint_errors_pa, joint_errors_proper (reflection not
    allowed), joint_errors_st (scale and translation aligned) (N, 21) m; vertex_errors, vertex_errors_pa,
    vertex_errors_proper (N,) m, each frame's mean over its vertices, with vertex_pck, vertex_pck_pa (N, 100) uint16,
    vertices within each PCK threshold (80,000 frames would otherwise take 1.5 GB); f_scores, f_scores_pa (N, 2) at 5
    and 15 mm; rotation_errors (N,) rad; joint_errors_2d (N, 21) px of the 128 px crop; occluded_probability (N, 6);
    joint_hidden_probability (N, 21), NaN without a head for it; occluded (N, 7) uint8; joints (N, 21, 3) m, predicted,
    relative to the wrist, mirrored back for left hands.
    `oriented` False: a network without orientation branch, scored at the canonical orientation.
    """

    frame_index: NDArray[np.int64]
    joint_errors: NDArray
    joint_errors_pa: NDArray
    joint_errors_proper: NDArray
    joint_errors_st: NDArray
    vertex_errors: NDArray
    vertex_errors_pa: NDArray
    vertex_errors_proper: NDArray
    vertex_pck: NDArray[np.uint16]
    vertex_pck_pa: NDArray[np.uint16]
    f_scores: NDArray
    f_scores_pa: NDArray
    rotation_errors: NDArray
    joint_errors_2d: NDArray
    occluded_probability: NDArray
    joint_hidden_probability: NDArray
    occluded: NDArray[np.uint8]
    joints: NDArray
    oriented: bool = True

    def __len__(self) -> int:
        return len(self.frame_index)

    @classmethod
    def concatenate(cls, parts: list["FrameScores"]) -> "FrameScores":
        """The scores of several batches as one; InputError where there is none."""
        if not parts:
            raise InputError("evaluation: there is no frame to score")
        arrays = [f.name for f in fields(cls) if f.name != "oriented"]
        return cls(
            **{name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays},
            oriented=parts[0].oriented,
        )


def current_frame(values: Tensor | NDArray, windows: bool) -> NDArray:
    """The current frame's values of a batch that may hold windows (frame axis second)."""
    array = values.detach().cpu().numpy().copy() if isinstance(values, Tensor) else np.array(values)
    return array[:, 0] if windows else array


def true_vertices(
    batch: dict[str, Tensor], hand: HandModel, windows: bool, oriented: bool, given: NDArray | None
) -> NDArray[np.float64]:
    """Ground-truth meshes (B, 778, 3) m relative to their wrist; NaN where there is neither pose nor mesh.

    They are posed from the batch's MANO parameters. `given` (B, 778, 3) m, camera frame, are meshes of datasets that
    release those instead of poses (HO3D's evaluation frames); the wrist that the hand's regressor finds is subtracted.
    """
    pose, shape = (current_frame(batch[name], windows).astype(np.float32) for name in ("mano_pose", "mano_shape"))
    known = current_frame(batch["has_pose"], windows).astype(bool)
    if not oriented:
        pose[:, :3] = 0.0
    with torch.no_grad():
        mesh = hand(torch.from_numpy(pose), torch.from_numpy(shape))
    vertices = (mesh.vertices - mesh.joints[:, :1]).double().numpy()
    vertices[~known] = np.nan
    if given is not None and oriented:
        wrist = hand.arrays.joint_regressor[0] @ given.astype(np.float64)
        vertices[~known] = (given - wrist[:, None])[~known]
    return vertices


def predict_again(
    network: H2ONet, samples: ClipDataset, store: ClipStore, hand: HandModel, positions: list[int]
) -> tuple[dict[str, Tensor], Prediction, NDArray[np.float64]]:
    """Predict some samples of `store` once more: their batch, the prediction, and their true meshes (B, 778, 3) m.

    Keeping every prediction would take gigabytes. The true meshes are those of `true_vertices`.
    """
    batch = collate([samples[position] for position in positions])
    with torch.inference_mode():
        prediction = network(batch["images"].to(next(network.parameters()).device))
    windows, given = batch["images"].ndim == 5, store.index.get("vertices")
    rows = current_frame(batch["frame_index"], windows)
    truth = true_vertices(batch, hand, windows, prediction.rotation is not None, None if given is None else given[rows])
    return batch, prediction, truth


def predicted_hands(prediction: Prediction, regressor: NDArray | None) -> tuple[NDArray, NDArray]:
    """Meshes (B, 778, 3) and joints (B, 21, 3) m, float64, relative to the predicted wrist.

    `regressor` (21, 778) takes the joints from the mesh; None keeps those of the network.
    """
    vertices = prediction.vertices.detach().double().cpu().numpy()
    joints = prediction.joints.detach().double().cpu().numpy() if regressor is None else regressor @ vertices
    return vertices - joints[:, :1], joints - joints[:, :1]


def score_batch(
    batch: dict[str, Tensor],
    prediction: Prediction,
    hand: HandModel,
    given_vertices: NDArray | None = None,
    *,
    regressor: NDArray | None = None,
) -> FrameScores:
    """Scores of one batch as the loader collates it; `hand` is the right hand on the CPU.

    A network trained for the canonical orientation only (no rotation) is scored against canonical meshes and joints.
    `given_vertices` as in `true_vertices`, `regressor` as in `predicted_hands`.
    """
    windows = batch["images"].ndim == 5
    oriented = prediction.rotation is not None
    found, found_joints = predicted_hands(prediction, regressor)
    truth = true_vertices(batch, hand, windows, oriented, given_vertices)
    joints = true_joints(batch, windows, oriented)
    unknown = ~np.isfinite(joints).all((1, 2))
    joints_2d = current_frame(prediction.joints_2d, windows).astype(np.float64) - current_frame(
        batch["joints_2d"], windows
    )
    joints_2d[unknown] = np.nan
    unmirrored = found_joints.copy()
    unmirrored[np.asarray(batch["is_left"], bool), :, 0] *= -1.0
    return FrameScores(
        frame_index=current_frame(batch["frame_index"], windows).astype(np.int64),
        **joint_scores(found_joints, joints),
        **vertex_scores(found, truth),
        rotation_errors=orientation_scores(batch, prediction, windows),
        joint_errors_2d=np.linalg.norm(joints_2d, axis=-1) * CROP,
        occluded_probability=occluded_probability(prediction),
        joint_hidden_probability=joint_hidden_probability(prediction),
        occluded=current_frame(batch["occluded"], windows).astype(np.uint8),
        joints=unmirrored,
        oriented=oriented,
    )


def true_joints(batch: dict[str, Tensor], windows: bool, oriented: bool) -> NDArray[np.float64]:
    """Annotated joints (B, 21, 3) m relative to the wrist; NaN where unknown. Without `oriented` turned back."""
    joints = current_frame(batch["joints"], windows).astype(np.float64)
    unknown = ~current_frame(batch["has_joints"], windows).astype(bool)
    if not oriented:
        turn = matrix_from_axis_angle(current_frame(batch["mano_pose"], windows)[:, :3].astype(np.float64))
        joints = joints @ turn  # row vectors: the inverse rotation, back to the canonical orientation
        unknown |= ~current_frame(batch["has_pose"], windows).astype(bool)
    joints[unknown] = np.nan
    return joints


def joint_scores(found: NDArray, truth: NDArray) -> dict[str, NDArray]:
    """The four joint errors (B, 21) m; NaN for frames whose truth is unknown."""
    known = np.isfinite(truth).all((1, 2))
    names = ("joint_errors", "joint_errors_pa", "joint_errors_proper", "joint_errors_st")
    scores = {name: np.full(found.shape[:2], np.nan) for name in names}
    f, t = found[known], truth[known]
    if len(f):
        aligned = (
            f,
            metrics.similarity_aligned(f, t),
            metrics.similarity_aligned(f, t, reflection=False),
            metrics.scale_translation_aligned(f, t),
        )
        for name, points in zip(names, aligned, strict=True):
            scores[name][known] = metrics.point_errors(points, t)
    return scores


def vertex_scores(found: NDArray, truth: NDArray) -> dict[str, NDArray]:
    """Mean vertex errors (B,) m, PCK counts (B, 100) and F-scores (B, 2); NaN for frames whose truth is unknown."""
    known = np.isfinite(truth).all((1, 2))
    names = ("vertex_errors", "vertex_errors_pa", "vertex_errors_proper")
    scores: dict[str, NDArray] = {name: np.full(len(found), np.nan) for name in names}
    scores |= {name: np.zeros((len(found), metrics.AUC_STEPS), np.uint16) for name in ("vertex_pck", "vertex_pck_pa")}
    scores |= {name: np.full((len(found), len(F_THRESHOLDS)), np.nan) for name in ("f_scores", "f_scores_pa")}
    f, t = found[known], truth[known]
    if len(f):
        aligned = metrics.similarity_aligned(f, t)
        proper = metrics.similarity_aligned(f, t, reflection=False)
        errors = {
            name: metrics.point_errors(points, t) for name, points in zip(names, (f, aligned, proper), strict=True)
        }
        for name, values in errors.items():
            scores[name][known] = values.mean(1)
        scores["vertex_pck"][known] = metrics.pck_counts(errors["vertex_errors"])
        scores["vertex_pck_pa"][known] = metrics.pck_counts(errors["vertex_errors_pa"])
        scores["f_scores"][known] = metrics.f_scores(f, t, F_THRESHOLDS)
        scores["f_scores_pa"][known] = metrics.f_scores(aligned, t, F_THRESHOLDS)
    return scores


def orientation_scores(batch: dict[str, Tensor], prediction: Prediction, windows: bool) -> NDArray:
    """Angle between predicted and true global rotation (B,) rad; NaN without orientation branch or without pose."""
    pose = current_frame(batch["mano_pose"], windows)[:, :3].astype(np.float64)
    errors = np.full(len(pose), np.nan)
    known = current_frame(batch["has_pose"], windows).astype(bool)
    if prediction.rotation is None or not known.any():
        return errors
    rotation = current_frame(prediction.rotation, windows).astype(np.float64)
    if prediction.correction is not None:
        rotation = prediction.correction.detach().double().cpu().numpy() @ rotation
    errors[known] = metrics.rotation_error(rotation[known], matrix_from_axis_angle(pose[known]))
    return errors


def occluded_probability(prediction: Prediction) -> NDArray:
    """Probability that thumb .. little and the whole hand are occluded in the current frame (B, 6); NaN without it."""
    if prediction.occlusion_logits is None:
        return np.full((len(prediction.vertices), 6), np.nan)
    return prediction.occlusion_logits[:, 0].detach().float().softmax(1)[:, 1].double().cpu().numpy()


def joint_hidden_probability(prediction: Prediction) -> NDArray:
    """Probability that each joint is hidden in the current frame (B, 21); NaN from a network without a head for it."""
    if prediction.joint_visibility_logits is None:
        return np.full((len(prediction.vertices), 21), np.nan)
    return (-prediction.joint_visibility_logits.detach().double()).sigmoid().cpu().numpy()
