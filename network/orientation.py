"""The orientation branch: 6D rotation heads, the correction from hand-level fusion, and turning a mesh about its wrist.

Rotations are (…, 3, 3), `camera_from_canonical`, OpenCV axes. As in the authors' code;
the 6D form: Zhou et al., "On the Continuity of Rotation Representations", CVPR 2019.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import perceptron, start_relu_layers

BOTTOM_PIXELS = 16  # the bottom feature is 4x4


class OrientationFeature(nn.Module):
    """(B, 8c, 4, 4) mesh feature (detached) + orientation feature -> (B, 8c) vector."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.reduce = nn.Sequential(
            nn.Conv1d(8 * c, 4 * c, 1), nn.ReLU(inplace=True), nn.Conv1d(4 * c, 2 * c, 1), nn.ReLU(inplace=True)
        )
        self.mix = nn.Sequential(
            nn.Linear(2 * c * BOTTOM_PIXELS, 16 * c),
            nn.ReLU(inplace=True),
            nn.Linear(16 * c, 8 * c),
            nn.ReLU(inplace=True),
        )
        start_relu_layers((*self.reduce, *self.mix))

    def forward(self, mesh: Tensor, orientation: Tensor) -> Tensor:
        """mesh, orientation (B, 8c, 4, 4); returns (B, 8c). No gradient flows into `mesh`."""
        x = (mesh.detach() + orientation).flatten(2)
        return self.mix(self.reduce(x).flatten(1))


class RotationHead(nn.Module):
    """A perceptron to a 6D rotation: (B, c_in) -> (B, 3, 3)."""

    def __init__(self, c_in: int, c: int, start_at_identity: bool = False) -> None:
        """start_at_identity: the untrained head gives exactly the identity, as a correction should."""
        super().__init__()
        self.layers = perceptron((c_in, 8 * c, 4 * c, 2 * c, 6))
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        # Departure: the authors' last layers start as those before them, He-initialised without biases
        # (`training.released`). Their six numbers may be near zero, which makes Gram-Schmidt divide by almost nothing,
        # one source of NaN in stage 2. Starting at the identity costs nothing.
        with torch.no_grad():
            last.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))
            if start_at_identity:
                last.weight.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """x (B, c_in); returns proper rotations (B, 3, 3) in at least float32."""
        with torch.autocast(x.device.type, enabled=False):
            return matrix_from_6d(self.layers(x.to(next(self.layers.parameters()).dtype)))


def matrix_from_6d(x: Tensor) -> Tensor:
    """Six numbers to a rotation with det +1: (..., 6) -> (..., 3, 3).

    They are the first row's direction and a vector in the plane of the first two rows (Gram-Schmidt). Degenerate input
    (zero or parallel vectors) gives finite numbers, not a rotation.
    """
    first = functional.normalize(x[..., :3], dim=-1)
    second = x[..., 3:] - (first * x[..., 3:]).sum(-1, keepdim=True) * first
    second = functional.normalize(second, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second, dim=-1)], -2)


def turn_about(vertices: Tensor, pivot: Tensor, rotation: Tensor) -> Tensor:
    """R (v - pivot) + pivot for every vertex: vertices (..., V, 3) m, pivot (..., 3) m, rotation (..., 3, 3)."""
    return torch.matmul(vertices - pivot[..., None, :], rotation.transpose(-1, -2)) + pivot[..., None, :]


def hand_occluded(logits: Tensor) -> Tensor:
    """logits (..., 2, 6); returns (...) bool: a hand is occluded when all five fingers are.

    A finger is occluded when class 1 has strictly the larger logit.
    """
    fingers = logits[..., 1, :5] > logits[..., 0, :5]
    return fingers.all(-1)


def nearest_visible(features: Tensor, occluded: Tensor) -> Tensor:
    """Frame t's feature if its hand is visible, else the nearest visible past frame's, else t's own.

    features (B, T, C), occluded (B, T) bool, frame t first, then into the past; returns (B, C).
    """
    chosen = features[:, 0]
    for frame in reversed(range(features.shape[1])):
        chosen = torch.where(occluded[:, frame, None], chosen, features[:, frame])
    return chosen
