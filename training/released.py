"""Training as the authors' final code does it, where this project departs: the recipe's `as_released = true`.

Owns three things: which gradients the losses on joints and on oriented meshes send (`follow_released`), how a fresh
network starts (`start_released`), and the joint regressor that is learned with it (`H2ONet.learn_joints`).
docs/training.md has the whole table of departures with their sizes, and says which of them are not switched here.
Metres, OpenCV axes. Source: the authors' repository, state of December 2023, model/model.py and
model/modules/models/modules.py.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from ..hand.mano import HandModel
from ..network.h2onet import H2ONet
from ..network.layers import start_relu_layers
from ..network.orientation import turn_about
from ..network.prediction import Prediction

TIPS = "h2onet"
"""The fingertip vertices that the released regressor starts with; the ground truth has "manopth"'s."""


def follow_released(prediction: Prediction, joint_regressor: Tensor) -> Prediction:
    """The prediction with the released code's joints and wrists for the losses; joint_regressor (21, V), learned.

    Numbers stay as they are, but for one: a multi-frame network's oriented joints lack the correction D. Gradients of
    the losses on
    * joints: single-frame to mesh and regressor, multi-frame to the regressor alone (the mesh is detached);
    * oriented meshes and joints: to the rotations, and single-frame also to the wrist, hence to mesh and regressor.
    """
    multi = prediction.occlusion_logits is not None
    canonical = prediction.canonical_vertices
    joints = torch.matmul(joint_regressor, canonical.detach() if multi else canonical)
    if prediction.rotation is None or prediction.oriented_vertices is None:
        return replace(prediction, canonical_joints=joints)
    wrist = joints[..., 0, :].detach()
    # Nothing in numbers; the wrist's gradient is that of everything turned about it.
    moved = torch.zeros_like(wrist) if multi else joints[..., 0, :] - wrist
    turned = turn_about(joints.detach(), wrist, prediction.rotation)
    return replace(
        prediction,
        canonical_joints=joints,
        oriented_vertices=prediction.oriented_vertices + moved[..., None, :],
        oriented_joints=turned + moved[..., None, :],
    )


@torch.no_grad()
def start_released(network: H2ONet, hand: HandModel) -> None:
    """Start a fresh network as the released code does: He initialisation, biases zero, the regressor's own fingertips.

    He initialisation in the orientation branch with its last layers, and in a multi-frame network in the occlusion
    classifier and the fusion. What remains starts here as there.
    """
    parts: list[nn.Module] = [network.orientation_feature, network.rotation_head]
    if network.config.frames > 1:
        parts += [network.correction_head, network.occlusion, network.fusion]
    for part in parts:
        start_relu_layers(part.modules())
    network.joint_regressor.copy_(torch.from_numpy(hand.joint_regressor_21(TIPS)))
