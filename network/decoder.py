"""The mesh decoder: from a latent picture feature and 2D joints to a hand mesh at the canonical orientation.

Vertices are metres with the global rotation removed (not wrist-centred). Mesh levels are listed finest first (778, 389,
195, 98, 49 for MANO). As in the authors' code; spiral convolutions: SpiralNet++ (Gong et al., 2019).
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .backbone import JOINTS
from .layers import Normalized
from .tables import MeshTables


class SpiralConv(nn.Module):
    """Gathers each vertex's spiral of neighbours, concatenates their features, and applies one linear layer.

    The indices are an argument: several convolutions of a level share one buffer.
    """

    def __init__(self, c_in: int, c_out: int, length: int) -> None:
        super().__init__()
        self.linear = nn.Linear(c_in * length, c_out)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, spiral: Tensor) -> Tensor:
        """x (B, V, c_in), spiral (V, length) vertex ids; returns (B, V, c_out)."""
        vertices, length = spiral.shape
        gathered = x.index_select(1, spiral.flatten())
        return self.linear(gathered.view(-1, vertices, length * x.shape[2]))


class MeshLevel(nn.Module):
    """One step up the hierarchy: up-sample as a dense matrix product, spiral convolution, ReLU."""

    spiral: Tensor
    upsample: Tensor

    def __init__(self, c_in: int, c_out: int, spiral: np.ndarray, upsample: np.ndarray) -> None:
        """spiral (n, length) int; upsample (n, m) weights of the m coarse vertices for each of n fine ones."""
        super().__init__()
        self.register_buffer("spiral", torch.from_numpy(spiral.astype(np.int64)))
        # Dense on purpose: three entries a row, but a matrix product beats a scatter_add (docs/network.md, "Speed").
        self.register_buffer("upsample", torch.from_numpy(upsample.astype(np.float32)))
        self.conv = SpiralConv(c_in, c_out, spiral.shape[1])

    def forward(self, x: Tensor) -> Tensor:
        """x (B, m, c_in); returns (B, n, c_out)."""
        return functional.relu(self.conv(torch.matmul(self.upsample, x), self.spiral), inplace=True)


class LiftedLevel(nn.Module):
    """Lifting, up-sampling and the first level's convolution as one, for predictions: 21 joints to n vertices.

    All three are linear in the joints' features, so the convolution's weights may come first, where there are 21 rows
    to multiply instead of n, and lifting, up-sampling and the spirals' gathering become one constant matrix after them.
    """

    mixture: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, lifting: Tensor, level: MeshLevel) -> None:
        """lifting (m, 21); level from m vertices to n."""
        super().__init__()
        linear = level.conv.linear
        length = level.spiral.shape[1]
        lifted = torch.matmul(level.upsample, lifting)
        # (n, length, 21) -> (n, 21 * length): the order in which `forward` finds the products.
        self.register_buffer("mixture", lifted[level.spiral].transpose(1, 2).flatten(1).contiguous())
        by_place = linear.weight.unflatten(1, (length, -1))  # (c_out, length, c_in)
        self.register_buffer("weight", by_place.transpose(0, 1).flatten(0, 1).contiguous())
        self.register_buffer("bias", linear.bias.detach())

    def forward(self, sampled: Tensor) -> Tensor:
        """sampled (B, 21, c_in); returns (B, n, c_out)."""
        products = functional.linear(sampled, self.weight).view(sampled.shape[0], self.mixture.shape[1], -1)
        return functional.relu(torch.matmul(self.mixture, products) + self.bias, inplace=True)


class MeshDecoder(nn.Module):
    """Latent feature and 2D joints to canonical vertices and features per vertex."""

    def __init__(self, c: int, channels: tuple[int, int, int, int], hierarchy: MeshTables) -> None:
        """c: base channels; channels: per level, coarsest first (256, 128, 64, 32 at full width)."""
        super().__init__()
        self.reduce = Normalized(nn.Conv2d(2 * c, 2 * c, 1, bias=False))
        self.lifting = nn.Parameter(torch.full((hierarchy.sizes[-1], JOINTS), 0.01))
        widths = (2 * c, *channels)
        steps = zip(widths[:-1], widths[1:], reversed(hierarchy.spirals), reversed(hierarchy.upsample), strict=True)
        self.levels = nn.ModuleList(MeshLevel(a, b, spiral, up.toarray()) for a, b, spiral, up in steps)
        self.head = SpiralConv(channels[-1], 3, hierarchy.spirals[0].shape[1])
        self.lifted: LiftedLevel | None = None

    @torch.no_grad()
    def merge_lifting(self) -> None:
        """Computes the first level together with the lifting from now on (`LiftedLevel`); weights are then fixed."""
        first = self.levels[0]
        assert isinstance(first, MeshLevel)
        self.lifted = LiftedLevel(self.lifting, first)

    @property
    def finest_spiral(self) -> Tensor:
        """(V, length) vertex ids of the finest level."""
        return cast("Tensor", self.levels[-1].spiral)

    def sample(self, latent: Tensor, joints_2d: Tensor) -> Tensor:
        """latent (B, 2c, 4, 4), joints_2d (B, 21, 2) in [0, 1]; returns the features under the joints (B, 21, 2c)."""
        feature = self.reduce(latent)
        grid = (joints_2d * 2.0 - 1.0).clamp(-1.0, 1.0)[:, :, None]
        return functional.grid_sample(feature, grid.to(feature.dtype), align_corners=True)[..., 0].transpose(1, 2)

    def forward(self, sampled: Tensor) -> tuple[Tensor, Tensor]:
        """sampled (B, 21, 2c); returns canonical vertices (B, V, 3) m and vertex features (B, V, channels)."""
        if self.lifted is None:
            x, levels = torch.matmul(self.lifting, sampled), self.levels
        else:
            x, levels = self.lifted(sampled), self.levels[1:]
        for level in levels:
            x = level(x)
        return self.vertices(x), x

    def vertices(self, features: Tensor) -> Tensor:
        """features (B, V, channels); returns (B, V, 3) m.

        Always in at least float32: bfloat16 has steps of 4 mm at a metre.
        """
        with torch.autocast(features.device.type, enabled=False):
            return self.head(features.to(self.head.linear.weight.dtype), self.finest_spiral)
