"""Makes a trained network predict faster by the same maths.

Batch norms are folded away, layers that always come together become one module, feature maps are channels-last. What
each step gains is in docs/network.md, "Speed".
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import BATCH_NORMS, Normalized, PointwiseConv, SqueezeExcite, pointwise

Network = TypeVar("Network", bound=nn.Module)


def prepare(model: Network, *, fold: bool, channels_last: bool) -> Network:
    """A copy of `model` in eval mode without gradients, changed as asked; `model` itself is left as it is."""
    ready = copy.deepcopy(model).eval().requires_grad_(False)
    if fold:
        fold_batch_norms(ready)
        merge_modules(ready)
    if channels_last:
        ready = ready.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return ready


def fold_batch_norms(model: nn.Module) -> None:
    """Folds every batch norm of `model` (in eval mode) into the layer before it, in place.

    With y = gamma (W x + b - mean) / sqrt(var + eps) + beta, both W and b absorb the scale gamma / sqrt(var + eps).
    """
    for module in model.modules():
        if isinstance(module, Normalized) and isinstance(module.norm, BATCH_NORMS):
            _fold(module, module.norm)


@torch.no_grad()
def _fold(module: Normalized, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
    layer = module.layer
    assert isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear)
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    bias = layer.bias if layer.bias is not None else torch.zeros_like(norm.running_mean)
    shape = (-1,) + (1,) * (layer.weight.dim() - 1)
    layer.weight = nn.Parameter(layer.weight * scale.view(shape), requires_grad=False)
    layer.bias = nn.Parameter((bias - norm.running_mean) * scale + norm.bias, requires_grad=False)
    module.norm = None


class FoldedConv(nn.Module):
    """A convolution with the batch norm folded into it, and the ReLU after it."""

    def __init__(self, block: Normalized) -> None:
        super().__init__()
        conv = block.layer
        assert isinstance(conv, nn.Conv2d) and isinstance(conv.padding, tuple) and block.norm is None
        self.weight, self.bias = conv.weight, conv.bias
        self.pointwise = isinstance(conv, PointwiseConv)
        self.arguments = conv.stride, conv.padding, conv.dilation, conv.groups

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W); returns (B, C_out, H', W')."""
        if self.pointwise:
            return pointwise(x, self.weight, self.bias).relu_()
        return functional.conv2d(x, self.weight, self.bias, *self.arguments).relu_()


class FoldedGate(nn.Module):
    """A `SqueezeExcite` with the batch norms folded into its linear layers."""

    def __init__(self, gate: SqueezeExcite) -> None:
        super().__init__()
        squeeze, excite = gate.squeeze.layer, gate.excite.layer
        assert isinstance(squeeze, nn.Linear) and isinstance(excite, nn.Linear)
        assert gate.squeeze.norm is None and gate.excite.norm is None
        self.squeeze, self.excite = squeeze, excite

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W); returns the same shape."""
        gate = self.excite(self.squeeze(x.mean((2, 3))).clamp_(0.0, 4.0)).sigmoid_()
        return x * gate[:, :, None, None]


def merge_modules(model: nn.Module) -> None:
    """Makes one module of every folded convolution with its ReLU, and of every gate, in place.

    At batch 1 the calls from module to module take a noticeable part of the time (docs/network.md, "Speed").
    """
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, SqueezeExcite):
                setattr(parent, name, FoldedGate(child))
            elif isinstance(child, Normalized) and _mergeable(child):
                setattr(parent, name, FoldedConv(child))


def _mergeable(block: Normalized) -> bool:
    # Other subclasses of Conv2d compute something else with their weights.
    return type(block.layer) in (nn.Conv2d, PointwiseConv) and isinstance(block.activation, nn.ReLU)
