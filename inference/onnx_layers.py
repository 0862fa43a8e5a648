"""Layers of a folded network in the form in which onnxruntime is fastest on CPUs; the numbers stay the same.

Its convolutions keep maps in blocks of channels. An operator that does not know this layout makes it convert the map
and convert it back, 90 times a picture with the layers as they are; concatenations copy every map once more for each
later unit of a dense block. With the forms below twelve such copies are left, and the concatenations at the blocks'
ends.
"""

from __future__ import annotations

from functools import reduce
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..network.folding import FoldedConv, FoldedGate
from ..network.layers import DenseBlock, MobileUnit


class BlockedGate(nn.Module):
    """A gate made of pooling, 1x1 convolutions and a product with the gate enlarged to the map's size."""

    def __init__(self, gate: FoldedGate) -> None:
        super().__init__()
        self.squeeze, self.excite = _as_convolution(gate.squeeze), _as_convolution(gate.excite)

    def forward(self, x: Tensor) -> Tensor:
        """Gate a square map: x (B, C, H, H); returns the same shape."""
        size = x.shape[2]
        hidden = self.squeeze(functional.avg_pool2d(x, size)).clamp(0.0, 4.0)
        return x * functional.interpolate(self.excite(hidden).sigmoid(), scale_factor=size, mode="nearest")


class SplitUnit(nn.Module):
    """A mobile unit on the parts of a concatenation instead of the whole.

    The result is the same, because its 3x3 convolution is depthwise and its 1x1 convolution is a sum over channels.
    """

    def __init__(self, unit: MobileUnit, sizes: list[int]) -> None:
        """`sizes` are the channels of the parts, which together are the unit's input."""
        super().__init__()
        (depthwise,) = unit.depthwise
        assert isinstance(depthwise, FoldedConv) and isinstance(unit.pointwise, FoldedConv) and not unit.residual
        assert depthwise.bias is not None
        self.depthwise, self.pointwise = nn.ModuleList(), nn.ModuleList()
        ends = [0, *torch.tensor(sizes).cumsum(0).tolist()]
        for start, end in pairwise(ends):
            wide = nn.Conv2d(end - start, end - start, 3, padding=1, groups=end - start)
            _set(wide, depthwise.weight[start:end], depthwise.bias[start:end])
            deep = nn.Conv2d(end - start, len(unit.pointwise.weight), 1, bias=start == 0)
            _set(deep, unit.pointwise.weight[:, start:end], unit.pointwise.bias if start == 0 else None)
            self.depthwise.append(wide)
            self.pointwise.append(deep)

    def forward(self, parts: list[Tensor]) -> Tensor:
        """Apply the unit: parts (B, sizes[i], H, W); returns (B, c_out, H, W)."""
        terms = (deep(wide(x).relu()) for x, wide, deep in zip(parts, self.depthwise, self.pointwise, strict=True))
        return reduce(torch.add, terms).relu()


class SplitBlock(nn.Module):
    """A dense block that concatenates only at its end."""

    def __init__(self, block: DenseBlock) -> None:
        super().__init__()
        self.keep_input = block.keep_input
        self.units = nn.ModuleList()
        sizes: list[int] = []
        for unit in block.units:
            assert isinstance(unit, MobileUnit) and isinstance(unit.pointwise, FoldedConv)
            sizes = sizes or [unit.pointwise.weight.shape[1]]
            self.units.append(SplitUnit(unit, sizes))
            sizes.append(len(unit.pointwise.weight))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block: x (B, c_in, H, W); returns (B, c_out, H, W)."""
        parts = [x]
        for unit in self.units:
            parts.append(unit(parts))
        return torch.cat(parts if self.keep_input else parts[1:], 1)


def _as_convolution(linear: nn.Linear) -> nn.Conv2d:
    conv = nn.Conv2d(linear.in_features, linear.out_features, 1)
    _set(conv, linear.weight[:, :, None, None], linear.bias)
    return conv


def _set(conv: nn.Conv2d, weight: Tensor, bias: Tensor | None) -> None:
    conv.weight = nn.Parameter(weight.clone(), requires_grad=False)
    conv.bias = None if bias is None else nn.Parameter(bias.clone(), requires_grad=False)


def suit_onnxruntime(model: nn.Module) -> None:
    """Replace gates and dense blocks of a model made by `for_inference`, in place."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, FoldedGate):
                setattr(parent, name, BlockedGate(child))
            elif isinstance(child, DenseBlock):
                setattr(parent, name, SplitBlock(child))
