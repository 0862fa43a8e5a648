"""What is hidden, and what past frames know of it: two classifiers, and finger-level fusion of features over time.

Logits are (..., 2, 6): class 0 visible, 1 occluded; thumb, index, middle, ring, little, global. Time runs t, then into
the past. As in the authors' code, but for `JointVisibility`, which is this project's; departures are in
docs/network.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .backbone import JOINTS
from .decoder import SpiralConv
from .layers import Normalized

if TYPE_CHECKING:
    from collections.abc import Sequence

FINGERS = 5
# Which of the 21 joints (hand.parts order: wrist, thumb .. little, base to tip) stand for each finger and for the palm.
# "official": indices of MANO's order applied to joints in the other order, an oversight that the released weights
# were trained with. "corrected": each finger's own joints.
JOINT_SETS: dict[str, tuple[tuple[int, ...], ...]] = {
    "official": (
        (13, 14, 15, 16),
        (1, 2, 3, 17),
        (4, 5, 6, 18),
        (10, 11, 12, 19),
        (7, 8, 9, 20),
        (0, 1, 4, 10, 7),
    ),
    "corrected": (
        (1, 2, 3, 4),
        (5, 6, 7, 8),
        (9, 10, 11, 12),
        (13, 14, 15, 16),
        (17, 18, 19, 20),
        (0, 5, 9, 13, 17),
    ),
}
FUSION_WEIGHTS = ("fingers", "joints")


def _normalized_linear(c_in: int, c_out: int) -> Normalized:
    return Normalized(nn.Linear(c_in, c_out), nn.BatchNorm1d(c_out), nn.ReLU(inplace=True))


def _normalized_joint_conv(c_in: int, c_out: int) -> Normalized:
    return Normalized(nn.Conv1d(c_in, c_out, 1), nn.BatchNorm1d(c_out), nn.ReLU(inplace=True))


class OcclusionClassifier(nn.Module):
    """Joint features (B, 21, 2c) to occlusion logits (B, 2, 6)."""

    fingers: Tensor
    palm: Tensor

    def __init__(self, c: int, joint_order: str) -> None:
        super().__init__()
        sets = JOINT_SETS[joint_order]
        self.register_buffer("fingers", torch.tensor(sets[:FINGERS]).flatten(), persistent=False)
        self.register_buffer("palm", torch.tensor(sets[FINGERS]), persistent=False)
        half = c // 2
        self.joint_layers = nn.Sequential(_normalized_joint_conv(2 * c, c), _normalized_joint_conv(c, half))
        self.finger_base = nn.Sequential(
            _normalized_linear(FINGERS * 4 * half, 4 * c), _normalized_linear(4 * c, 2 * c)
        )
        self.finger_heads = nn.ModuleList(
            nn.Sequential(_normalized_linear(2 * c, c), _normalized_linear(c, half), nn.Linear(half, 2))
            for _ in range(FINGERS)
        )
        self.global_head = nn.Sequential(
            _normalized_linear(2 * c + 5 * half, 2 * c), _normalized_linear(2 * c, c), nn.Linear(c, 2)
        )

    def forward(self, sampled: Tensor) -> Tensor:
        """sampled (B, 21, 2c) features under the 2D joints; returns (B, 2, 6). No gradient flows into `sampled`.

        Departure: all 21 joints pass the shared layers at once, so that in training their batch statistics are over all
        joints. The authors' are over the fingers' joints for the fingers, and over the palm's for the palm, which eval
        mode does not repeat; there the numbers are the same.
        """
        joints = self.joint_layers(sampled.detach().transpose(1, 2))
        base = self.finger_base(
            joints.index_select(2, self.fingers).unflatten(2, (FINGERS, 4)).transpose(1, 2).flatten(1)
        )
        palm = joints.index_select(2, self.palm).flatten(1)
        logits = [head(base) for head in self.finger_heads]
        logits.append(self.global_head(torch.cat([base, palm], 1)))
        return torch.stack(logits, -1)


class JointVisibility(nn.Module):
    """Joint features (B, 21, 2c) to visibility logits (B, 21): above 0 where the joint is seen.

    Every joint is judged from the features of all of them: what hides one often lies under another.
    """

    def __init__(self, c: int) -> None:
        super().__init__()
        half = c // 2
        self.joint_layers = nn.Sequential(_normalized_joint_conv(2 * c, c), _normalized_joint_conv(c, half))
        self.mix = _normalized_linear(JOINTS * half, 2 * c)
        self.head = nn.Linear(2 * c, JOINTS)

    def forward(self, sampled: Tensor) -> Tensor:
        """sampled (B, 21, 2c) features under the 2D joints; returns (B, 21) in at least float32.

        Gradients flow into `sampled`, unlike those of the fingers' classifier: what hides a joint is nothing that the
        mesh's losses ask of a feature (docs/visibility.md has both).
        """
        x = self.mix(self.joint_layers(sampled.transpose(1, 2)).flatten(1))
        with torch.autocast(x.device.type, enabled=False):
            return self.head(x.to(self.head.weight.dtype))


def visibility_of_parts(joint_logits: Tensor) -> Tensor:
    """Joint logits (..., 21) to the probability that a part is seen (..., 6): thumb .. little, palm.

    A part's is the mean over its joints' probabilities: a finger's own four, the palm's wrist and bases of index to
    little (`JOINT_SETS`, "corrected").
    """
    seen = joint_logits.sigmoid()
    fingers = seen[..., 1:].unflatten(-1, (FINGERS, 4)).mean(-1)
    palm = torch.cat([seen[..., :1], seen[..., 5::4]], -1).mean(-1, keepdim=True)
    return torch.cat([fingers, palm], -1)


class FingerFusion(nn.Module):
    """Vertex features of T frames, weighted by how visible each vertex's finger is, to an offset for frame t's mesh."""

    finger_of_vertex: Tensor
    spiral: Tensor

    def __init__(self, channels: int, vertex_parts: np.ndarray, spiral: np.ndarray) -> None:
        """vertex_parts (V,) part ids, 0-4 fingers, 5 palm; spiral (V, length) vertex ids of the finest level."""
        super().__init__()
        self.register_buffer("finger_of_vertex", torch.from_numpy(vertex_parts.astype(np.int64)))
        self.register_buffer("spiral", torch.from_numpy(spiral.astype(np.int64)), persistent=False)
        length = spiral.shape[1]
        self.convs = nn.ModuleList(
            SpiralConv(c_in, c_out, length)
            for c_in, c_out in ((2 * channels, 2 * channels), (2 * channels, channels), (channels, channels))
        )
        self.head = SpiralConv(channels, 3, length)
        # Departure: an untrained fusion leaves the single-frame mesh as it is; the convolutions get gradients from the
        # second step on. The authors start these four layers with He initialisation (`training.released`).
        nn.init.zeros_(self.head.linear.weight)

    def weights(self, logits: Tensor, joint_logits: Tensor | None = None) -> Tensor:
        """logits (B, T, 2, 6); returns (B, T, V) weights that sum to 1 over T. No gradient flows into any logits.

        joint_logits (B, T, 21): where given, the weights follow them (`visibility_of_parts`) instead of `logits`.
        """
        if joint_logits is not None:
            per_part = visibility_of_parts(joint_logits.detach())
        else:
            visible = logits.detach().softmax(2)[:, :, 0, :FINGERS]
            per_part = torch.cat([visible, torch.ones_like(visible[..., :1])], -1)  # palm vertices carry 1
        return per_part.index_select(2, self.finger_of_vertex).softmax(1)

    def forward(self, features: Tensor, logits: Tensor, joint_logits: Tensor | None = None) -> Tensor:
        """features (B, T, V, channels), logits as for `weights`; returns (B, V, 3) m to add to frame t's mesh."""
        weights = self.weights(logits, joint_logits).to(features.dtype)
        fused = (features * weights[..., None]).sum(1)
        x = torch.cat([fused, features[:, 0]], -1)
        for conv in self.convs:
            x = functional.relu(conv(x, self.spiral), inplace=True)
        with torch.autocast(x.device.type, enabled=False):
            return self.head(x.to(self.head.linear.weight.dtype), self.spiral)


def joint_set_names() -> Sequence[str]:
    """The values that `NetworkConfig.occlusion_joint_order` may take."""
    return tuple(JOINT_SETS)
