"""The same network written plainly, the way research code computes it: what benchmarks/network.py measures against.

Same weights and maths as `h2onet.network`; the differences are how: up-sampling by gather, multiply and scatter_add
with the sparse triplets, spiral indices copied at every call, a shuffled copy of the stem's map, gates before pooling,
contiguous (NCHW) layout, batch norms as they are.
Unfused Adam is the caller's part.
"""

import copy
from collections.abc import Callable

import torch
from h2onet.network.backbone import DownPath, Stem
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


class PlainStem(nn.Module):
    """The stem with the shuffled copy of the map."""

    def __init__(self, stem: Stem) -> None:
        super().__init__()
        self.conv, self.unit, self.reduce = stem.conv, stem.unit, stem.reduce

    def forward(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W); returns (B, c, H/4, W/4)."""
        weight, norm = self.reduce.layer.weight, self.reduce.norm
        assert isinstance(weight, Tensor) and norm is not None
        x = functional.pixel_unshuffle(self.unit(self.conv(images)), 2)
        return functional.relu(norm(functional.conv2d(x, weight)))


class PlainDownPath(nn.Module):
    """A down path that gates each map before pooling it."""

    def __init__(self, path: DownPath) -> None:
        super().__init__()
        self.blocks, self.gates, self.refine = path.blocks, path.gates, path.refine

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, c, 32, 32); returns (B, 2c, 16, 16), (B, 4c, 8, 8), (B, 8c, 4, 4)."""
        levels = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i < len(self.gates):
                x = self.gates[i](x)
            x = functional.avg_pool2d(x, 2)
            levels.append(x)
        return levels[0], levels[1], self.refine(levels[2])


PLAIN: dict[type, Callable[..., nn.Module]] = {
    Stem: PlainStem,
    DownPath: PlainDownPath,
    MeshLevel: PlainLevel,
    SpiralConv: PlainSpiralConv,
    SqueezeExcite: PlainSqueezeExcite,
}


def plain(model: H2ONet) -> H2ONet:
    """A copy of a CPU model that computes the same plainly."""
    slow = copy.deepcopy(model)
    for parent in list(slow.modules()):
        for name, child in list(parent.named_children()):
            if type(child) in PLAIN:
                setattr(parent, name, PLAIN[type(child)](child))
    return slow
