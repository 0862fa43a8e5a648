"""What each stage supervises: ground truth of a batch, the loss terms of a stage, their weights and their sum.

Stage 1 learns the shape in the canonical orientation (global rotation removed, not wrist-centred), 2D joints and, in
the multi-frame network, finger occlusion; with a head for it, every joint's visibility. Stage 2 adds the orientation.
All frames of a window are supervised, as in the authors' code. Metres, radians, OpenCV axes; meshes are right hands, as
clips store them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..hand.mano import HandModel, rotation_matrices
from ..hand.parts import OUTPUTS
from ..network.prediction import Prediction
from . import losses

WEIGHTS = {
    "vertices": 1.0,
    "joints": 1.0,
    "normal": 0.1,
    "edge": 1.0,
    "joints_2d": 1.0,
    "occlusion": 1.0,
    "joint_visibility": 1.0,
    "oriented_vertices": 1.0,
    "oriented_joints": 1.0,
    "rotation": 1.0,
    "oriented_normal": 0.1,
    "oriented_edge": 1.0,
}


@dataclass(frozen=True)
class Targets:
    """Ground truth of N = batch * frames pictures.

    Meshes (N, 778, 3) and joints (N, 21, 3) in m, joints_2d (N, 21, 2) in [0, 1] of the crop. canonical_*: global
    rotation removed; oriented_*: turned by `rotation` (N, 3, 3) about the wrist J0(shape), no translation.
    occluded (N, 7) and joint_visible (N, 21) uint8, 255 unknown; the latter None where the batch does not have it.
    """

    canonical_vertices: Tensor
    canonical_joints: Tensor
    oriented_vertices: Tensor
    oriented_joints: Tensor
    rotation: Tensor
    joints_2d: Tensor
    occluded: Tensor
    joint_visible: Tensor | None = None


@dataclass(frozen=True)
class Counts:
    """Denominators of the losses: what the whole batch has of each, at least 1, divided by the processes.

    frames; labels: known occlusion labels of fingers; seen, hidden: joints known to be so.
    """

    frames: Tensor | float
    labels: Tensor | float
    seen: Tensor | float = 1.0
    hidden: Tensor | float = 1.0


def count(truth: Targets) -> Tensor:
    """Numbers of frames, known labels, seen and hidden joints, in the order of `Counts`: (4,) float64."""
    labels = losses.known_labels(truth.occluded)
    joints = labels.new_zeros(2) if truth.joint_visible is None else losses.known_joints(truth.joint_visible)
    return torch.cat([torch.stack([labels.new_tensor(len(truth.rotation)), labels]), joints]).double()


@torch.no_grad()
def make_targets(batch: Mapping[str, Tensor], hand: HandModel) -> Targets:
    """Ground truth of a batch whose tensors start with (B,) or (B, T): one posing per picture, on the batch's device.

    The global rotation turns a MANO mesh rigidly about its rest wrist, so that the oriented mesh is the canonical one
    turned: equal to posing twice, at half the cost.
    """
    pose = batch["mano_pose"].reshape(-1, 48)
    rotation = rotation_matrices(pose[:, :3])
    fingers = torch.cat([torch.zeros_like(pose[:, :3]), pose[:, 3:]], dim=1)
    mesh = hand(fingers, batch["mano_shape"].reshape(-1, 10), tips="manopth")
    wrist = mesh.joints[:, :1]
    return Targets(
        canonical_vertices=mesh.vertices,
        canonical_joints=mesh.joints,
        oriented_vertices=(mesh.vertices - wrist) @ rotation.mT + wrist,
        oriented_joints=(mesh.joints - wrist) @ rotation.mT + wrist,
        rotation=rotation,
        joints_2d=batch["joints_2d"].reshape(-1, 21, 2),
        occluded=batch["occluded"].reshape(-1, 7),
        joint_visible=batch["joint_visible"].reshape(-1, 21) if "joint_visible" in batch else None,
    )


def loss_terms(prediction: Prediction, truth: Targets, faces: Tensor, stage: int, counts: Counts) -> dict[str, Tensor]:
    """The unweighted loss terms of a stage by name, as scalars; faces (F, 3) int64. Call with autocast switched off."""
    frames = counts.frames
    vertices = prediction.canonical_vertices.reshape_as(truth.canonical_vertices)
    terms = {
        "vertices": losses.vertices_l1(vertices, truth.canonical_vertices, frames),
        "joints": losses.joints_l1(
            _reshape_like(prediction.canonical_joints, truth.canonical_joints), truth.canonical_joints, frames
        ),
        "normal": losses.normal_cosine(vertices, truth.canonical_vertices, faces, frames),
        "edge": losses.edge_length_l1(vertices, truth.canonical_vertices, faces, frames),
        "joints_2d": losses.joints_2d_l1(prediction.joints_2d.reshape_as(truth.joints_2d), truth.joints_2d, frames),
    }
    multi = prediction.occlusion_logits is not None
    if prediction.occlusion_logits is not None:
        logits = prediction.occlusion_logits.reshape(-1, 2, len(OUTPUTS))
        terms["occlusion"] = losses.occlusion_cross_entropy(logits, truth.occluded, counts.labels)
    if prediction.frame_visibility_logits is not None:
        if truth.joint_visible is None:
            raise ValueError("the network has a head for joints, but the batch has no joint_visible")
        logits = prediction.frame_visibility_logits.reshape(truth.joint_visible.shape)
        terms["joint_visibility"] = losses.joint_visibility_cross_entropy(
            logits, truth.joint_visible, counts.seen, counts.hidden
        )
    return terms if stage == 1 else terms | _orientation_terms(prediction, truth, faces, counts, multi)


def _orientation_terms(
    prediction: Prediction, truth: Targets, faces: Tensor, counts: Counts, multi: bool
) -> dict[str, Tensor]:
    frames = counts.frames
    vertices = _reshape_like(prediction.oriented_vertices, truth.oriented_vertices)
    joints = _reshape_like(prediction.oriented_joints, truth.oriented_joints)
    rotation = _reshape_like(prediction.rotation, truth.rotation)
    terms = {
        "oriented_vertices": losses.vertices_l1(vertices, truth.oriented_vertices, frames),
        "oriented_joints": losses.joints_l1(joints, truth.oriented_joints, frames),
        "rotation": losses.rotation_mse(rotation, truth.rotation, frames),
    }
    if multi:
        terms["oriented_normal"] = losses.normal_cosine(vertices, truth.oriented_vertices, faces, frames)
        terms["oriented_edge"] = losses.edge_length_l1(vertices, truth.oriented_vertices, faces, frames)
    return terms


def weighted_sum(terms: Mapping[str, Tensor]) -> Tensor:
    """The training loss: every term times its weight in `WEIGHTS`."""
    return torch.stack([WEIGHTS[name] * term for name, term in terms.items()]).sum()


def _reshape_like(predicted: Tensor | None, truth: Tensor) -> Tensor:
    if predicted is None:
        raise ValueError("the network gave no oriented mesh: stage 2 needs a network with oriented=True")
    return predicted.reshape_as(truth)
