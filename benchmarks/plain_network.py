"""The same network written plainly, the way research code computes it: what benchmarks/network.py measures against.

Same weights and maths as `h2onet.network`; the differences are how: up-sampling by gather, multiply and scatter_add
with the sparse triplets, spiral indices copied at every call, contiguous (NCHW) layout, batch norms as they are.
Unfused Adam is the caller's part.
"""

import copy

import torch
from h2onet.network.decoder import MeshLevel, SpiralConv
from h2onet.network.h2onet import H2ONet
from h2onet.network.layers import SqueezeExcite
from torch import Tensor, nn
from torch.nn import functional


class PlainSpiralConv(nn.Module):
    """A spiral convolution that copies its indices to the input's device at every call."""

    def __init__(self, conv: SpiralConv) -> None:
        super().__init__()
        self.linear = conv.linear

    def forward(self, x: Tensor, spiral: Tensor) -> Tensor:
        """x (B, V, C), spiral (V, length); returns (B, V, C_out)."""
        indices = spiral.clone().view(-1)
        gathered = torch.index_select(x, 1, indices)
        return self.linear(gathered.view(x.shape[0], spiral.shape[0], -1))


class PlainLevel(nn.Module):
    """A mesh level that up-samples with scatter_add."""

    def __init__(self, level: MeshLevel) -> None:
        super().__init__()
        rows, columns = level.upsample.nonzero(as_tuple=True)
        self.rows, self.columns = rows, columns
        self.values = level.upsample[rows, columns][:, None]
        self.spiral, self.conv = level.spiral, PlainSpiralConv(level.conv)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, m, C); returns (B, n, C_out)."""
        rows, columns, values = self.rows.clone(), self.columns.clone(), self.values.clone()
        weighted = torch.index_select(x, 1, columns) * values
        fine = torch.zeros(x.shape[0], self.spiral.shape[0], x.shape[2])
        fine = torch.scatter_add(fine, 1, rows[None, :, None].expand_as(weighted), weighted)
        return functional.relu(self.conv(fine, self.spiral))


class PlainSqueezeExcite(nn.Module):
    """The gate with a pooling layer and reshapes."""

    def __init__(self, gate: SqueezeExcite) -> None:
        super().__init__()
        self.squeeze, self.excite = gate.squeeze, gate.excite

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W); returns the same shape."""
        pooled = functional.adaptive_avg_pool2d(x, 1).view(x.shape[0], -1)
        return x * self.excite(self.squeeze(pooled)).view(x.shape[0], -1, 1, 1).expand_as(x)


def plain(model: H2ONet) -> H2ONet:
    """A copy of a CPU model that computes the same plainly."""
    slow = copy.deepcopy(model)
    for parent in list(slow.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, MeshLevel):
                setattr(parent, name, PlainLevel(child))
            elif isinstance(child, SpiralConv):
                setattr(parent, name, PlainSpiralConv(child))
            elif isinstance(child, SqueezeExcite):
                setattr(parent, name, PlainSqueezeExcite(child))
    return slow
