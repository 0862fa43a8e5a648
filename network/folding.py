"""Making a trained network fast at predicting, by the same maths: batch norms folded away, channels-last layout,
torch.compile.

What each step gains is in docs/network.md, "Speed".
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

from .layers import BATCH_NORMS, Normalized

Network = TypeVar("Network", bound=nn.Module)


def prepare(model: Network, *, fold: bool, channels_last: bool, compiled: bool) -> Network:
    """A copy of `model` in eval mode without gradients, changed as asked; `model` itself is left as it is.

    `compiled` compiles its `encode` and `predict_window`.
    """
    ready = copy.deepcopy(model).eval().requires_grad_(False)
    if fold:
        fold_batch_norms(ready)
    if channels_last:
        ready = ready.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compiled:
        for name in ("encode", "predict_window"):
            setattr(ready, name, torch.compile(getattr(ready, name)))
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
