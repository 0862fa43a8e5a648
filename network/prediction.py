"""What the network takes and gives across rooms: its configuration, one frame's features, a prediction.

T = frames in the order current, short past, long past. Metres, OpenCV axes; 2D joints in [0, 1] of the crop; the mesh's
origin is the training meshes' (MANO's own; not wrist-centred).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..errors import InputError
from .fusion import FUSION_WEIGHTS, joint_set_names

BASE_CHANNELS = 128
# Widths in steps of an eighth keep every channel count of the architecture whole (dense blocks take quarters of 16).
WIDTH_STEP = 0.125
NARROWEST_LEVEL = 16


@dataclass(frozen=True)
class NetworkConfig:
    """The network's shape.

    frames: pictures per prediction, 1 = single-frame, more = that many frames, the current one first (3 in the paper).
    width: scales the channels of the same architecture; with 1.0 tensors have exactly the official shapes.
    occlusion_joint_order: which joints stand for a finger in the occlusion classifier (`network.fusion.JOINT_SETS`).
    oriented: False skips the orientation branch (stage 1): meshes then stay at the canonical orientation.
    joint_visibility: True adds a head that says of each of the 21 joints whether it is seen.
    fusion_weights: what a multi-frame network weighs its frames by, "fingers" (the occlusion classifier) or "joints"
    (that head, which it needs).
    """

    frames: int = 1
    width: float = 1.0
    occlusion_joint_order: str = "official"
    oriented: bool = True
    joint_visibility: bool = False
    fusion_weights: str = "fingers"

    def __post_init__(self) -> None:
        if not isinstance(self.frames, int) or isinstance(self.frames, bool) or not 1 <= self.frames <= 64:
            raise InputError(
                f"network config: frames must be a whole number from 1 to 64, found {self.frames!r}; use 1 or 3"
            )
        if not isinstance(self.width, int | float) or isinstance(self.width, bool):
            raise InputError(f"network config: width must be a number, found {self.width!r}; use 1.0 or 0.25")
        steps = self.width / WIDTH_STEP
        if not 1 <= steps <= 64 or steps != int(steps):
            raise InputError(
                f"network config: width must be a multiple of {WIDTH_STEP} up to 8, found {self.width!r}; use e.g. 0.25"
            )
        if self.occlusion_joint_order not in joint_set_names():
            known = " or ".join(joint_set_names())
            raise InputError(
                f"network config: occlusion_joint_order must be {known}, found {self.occlusion_joint_order!r}"
            )
        if not isinstance(self.oriented, bool):
            raise InputError(f"network config: oriented must be true or false, found {self.oriented!r}")
        if not isinstance(self.joint_visibility, bool):
            raise InputError(f"network config: joint_visibility must be true or false, found {self.joint_visibility!r}")
        if self.fusion_weights not in FUSION_WEIGHTS:
            known = " or ".join(FUSION_WEIGHTS)
            raise InputError(f"network config: fusion_weights must be {known}, found {self.fusion_weights!r}")
        if self.fusion_weights == "joints" and not self.joint_visibility:
            raise InputError(
                "network config: fusion_weights joints needs joint_visibility, found it off; turn it on or use fingers"
            )

    @property
    def channels(self) -> int:
        """c, the base channel count (128 at full width)."""
        return int(BASE_CHANNELS * self.width)

    @property
    def level_channels(self) -> tuple[int, int, int, int]:
        """Feature channels of the four mesh levels, coarsest first: 256, 128, 64, 32 at full width, never under 16."""
        c = self.channels
        sizes = [max(size, NARROWEST_LEVEL) for size in (2 * c, c, c // 2, c // 4)]
        return sizes[0], sizes[1], sizes[2], sizes[3]


@dataclass(frozen=True)
class FrameFeatures:
    """All that later frames need of one frame, so that a streaming caller encodes every picture once.

    canonical_vertices (..., V, 3) m before fusion; joints_2d (..., 21, 2); vertex_features (..., V, C);
    occlusion_logits (..., 2, 6) or None (single-frame network); orientation_features (..., 8c) and rotation (..., 3, 3)
    or None (not oriented); joint_visibility_logits (..., 21) or None (no such head).
    `...` is (B,) as `H2ONet.encode` gives it, (B, T) where frames are stacked.
    """

    canonical_vertices: Tensor
    joints_2d: Tensor
    vertex_features: Tensor
    occlusion_logits: Tensor | None = None
    orientation_features: Tensor | None = None
    rotation: Tensor | None = None
    joint_visibility_logits: Tensor | None = None

    def tensors(self) -> dict[str, Tensor]:
        """The fields that are there, by name."""
        pairs = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in pairs if value is not None}

    def select(self, index: slice | Tensor) -> FrameFeatures:
        """The same features of some of the batch (index along the first axis)."""
        return FrameFeatures(**{name: value[index] for name, value in self.tensors().items()})

    def unstack(self, frames: int) -> FrameFeatures:
        """(B * T, ...) to (B, T, ...) with T = frames."""
        return FrameFeatures(**{name: value.unflatten(0, (-1, frames)) for name, value in self.tensors().items()})


def stack_frames(frames: tuple[FrameFeatures, ...]) -> FrameFeatures:
    """T features of (B, ...) to one of (B, T, ...), in the order given: current frame first."""
    per_frame = [frame.tensors() for frame in frames]
    if len({tuple(tensors) for tensors in per_frame}) != 1:
        raise InputError(
            "network: frames to fuse come from different kinds of network; encode all of them with one model"
        )
    return FrameFeatures(**{name: torch.stack([t[name] for t in per_frame], 1) for name in per_frame[0]})


@dataclass(frozen=True)
class Prediction:
    """What the network says of the current frame, and of every frame of its window where `[T,]` stands (multi-frame).

    vertices (B, V, 3) m and joints (B, 21, 3) m: the final mesh and the joints regressed from it.
    canonical_vertices (B, [T,] V, 3) m: global rotation removed; frame 0 after finger-level fusion. joints_2d (B, [T,]
    21, 2). rotation (B, [T,] 3, 3): R of every frame (without the correction), None where the network is not oriented.
    occlusion_logits (B, T, 2, 6): class 0 visible, 1 occluded; thumb .. little, global; None for a single-frame
    network. joint_visibility_logits (B, 21): of the current frame, above 0 where the joint is seen; None without the
    head.

    For losses: canonical_joints (B, [T,] 21, 3) m; oriented_vertices (B, [T,] V, 3) and oriented_joints (B, [T,] 21, 3)
    m, whose frame 0 is `vertices` / `joints` (R, then the correction) and whose past frames are turned by R alone, None
    where not oriented; correction D (B, 3, 3), multi-frame and oriented only; frame_visibility_logits (B, [T,] 21), the
    joints' visibility in every frame. No gradient flows from oriented meshes into canonical ones.
    """

    vertices: Tensor
    canonical_vertices: Tensor
    joints: Tensor
    joints_2d: Tensor
    rotation: Tensor | None = None
    occlusion_logits: Tensor | None = None
    canonical_joints: Tensor | None = None
    oriented_vertices: Tensor | None = None
    oriented_joints: Tensor | None = None
    correction: Tensor | None = None
    joint_visibility_logits: Tensor | None = None
    frame_visibility_logits: Tensor | None = None
