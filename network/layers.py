"""The network's small building blocks: normalised layers, mobile units, dense blocks, squeeze-and-excite gates.

Feature maps are (B, C, H, W), vectors (B, C); nothing here knows about hands. From MobRecon (Chen
et al., CVPR 2022).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from .norm_relu import norm_relu, takes

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class Normalized(nn.Module):
    """A linear map, then batch norm, then an activation; either of the last two may be missing.

    One class for convolutions and linear layers, so that folding the norm into the map (`network.folding`) is one
    rule.
    """

    def __init__(self, layer: nn.Module, norm: nn.Module | None = None, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.layer = layer
        self.norm, self.activation = norm, activation

    def forward(self, x: Tensor) -> Tensor:
        """x: whatever `layer` takes; returns what it gives, normalised and activated."""
        y, norm, activation = self.layer(x), self.norm, self.activation
        if norm is not None:
            if takes(norm, activation, y):
                return norm_relu(norm, y)
            y = norm(y)
        return y if activation is None else activation(y)


_SMALL_MAP = 64  # pixels


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A 1x1 convolution (B, C, H, W) -> (B, C_out, H, W).

    On the CPU, small channels-last maps take one matrix product over all pixels: oneDNN's convolutions of 4x4 maps take
    up to twice as long, forward and backward (docs/network.md, "Speed").
    """
    batch, _, height, width = x.shape
    small = batch > 1 and height * width <= _SMALL_MAP and x.device.type == "cpu"
    if not (small and x.is_contiguous(memory_format=torch.channels_last)):
        return torch.conv2d(x, weight, bias)
    return functional.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)


class PointwiseConv(nn.Conv2d):
    """A 1x1 convolution, computed by `pointwise`."""

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W); returns (B, C_out, H, W)."""
        return pointwise(x, self.weight, self.bias)


def conv_block(c_in: int, c_out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> Normalized:
    """Conv2d without bias + BatchNorm2d + ReLU, padded so that stride 1 keeps the size."""
    conv: nn.Conv2d
    if kernel == 1:
        conv = PointwiseConv(c_in, c_out, 1, bias=False)
    else:
        conv = nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return Normalized(conv, nn.BatchNorm2d(c_out), nn.ReLU(inplace=True))


class MobileUnit(nn.Module):
    """`depthwise` 3x3 depthwise conv blocks, then a 1x1 one.

    Where the channels agree, the input is added after the last ReLU.
    """

    def __init__(self, c_in: int, c_out: int, depthwise: int = 1) -> None:
        super().__init__()
        self.depthwise = nn.Sequential(*(conv_block(c_in, c_in, 3, groups=c_in) for _ in range(depthwise)))
        self.pointwise = conv_block(c_in, c_out)
        self.residual = c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        """x (B, c_in, H, W); returns (B, c_out, H, W)."""
        y = self.pointwise(self.depthwise(x))
        return y + x if self.residual else y


class DenseBlock(nn.Module):
    """Mobile units that each read everything before them, concatenated in order.

    `outputs` are the units' channels. With `keep_input` the result is input + all outputs, else ("no expand") the
    outputs only.
    """

    def __init__(self, c_in: int, outputs: tuple[int, ...], keep_input: bool = True) -> None:
        super().__init__()
        widths = [c_in + sum(outputs[:i]) for i in range(len(outputs))]
        self.units = nn.ModuleList(MobileUnit(w, c) for w, c in zip(widths, outputs, strict=True))
        self.keep_input = keep_input
        self.c_out = sum(outputs) + (c_in if keep_input else 0)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, c_in, H, W); returns (B, c_out, H, W)."""
        parts = [x]
        for unit in self.units:
            parts.append(unit(torch.cat(parts, 1) if len(parts) > 1 else x))
        return torch.cat(parts if self.keep_input else parts[1:], 1)


class SpaceToDepthConv(nn.Conv2d):
    """Space-to-depth by 2 (each 2x2 square's pixels become channels), then a 1x1 convolution without padding.

    Computed as one 2x2 convolution of stride 2 with the same weights: what was a channel of the 1x1 convolution is a
    pixel of the 2x2 one, and the shuffled copy of the map is never made.
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(4 * c_in, c_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, c_in, H, W) with even H and W; returns (B, c_out, H/2, W/2)."""
        # pixel_unshuffle orders its channels (channel, row, column), as the weights of a 2x2 kernel lie in memory.
        return functional.conv2d(x, self.weight.reshape(self.out_channels, -1, 2, 2), self.bias, stride=2)


class SqueezeExcite(nn.Module):
    """Channel gate: the input times a factor per channel that its global averages give.

    Average -> Linear, norm, Hardtanh(0, 4) -> Linear, norm, sigmoid. `limit` bounds the bottleneck (256 at full width).
    The gate commutes with averaging over squares that tile the map, so that a gate before a 2x2 average pooling is
    computed after it, on a quarter of the numbers.
    """

    def __init__(self, channels: int, limit: int) -> None:
        super().__init__()
        hidden = min(channels // 2, limit)
        self.squeeze = Normalized(
            nn.Linear(channels, hidden, bias=False), nn.BatchNorm1d(hidden), nn.Hardtanh(0.0, 4.0, inplace=True)
        )
        self.excite = Normalized(nn.Linear(hidden, channels, bias=False), nn.BatchNorm1d(channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """x (B, channels, H, W); returns the same shape."""
        gate = self.excite(self.squeeze(x.mean((2, 3))))
        return x * gate[:, :, None, None]


def perceptron(sizes: tuple[int, ...]) -> nn.Sequential:
    """Linear layers with biases, ReLU between them and none at the end: (B, sizes[0]) -> (B, sizes[-1])."""
    layers: list[nn.Module] = []
    for c_in, c_out in pairwise(sizes):
        layers += [nn.Linear(c_in, c_out), nn.ReLU(inplace=True)]
    start_relu_layers(layers[:-2])
    return nn.Sequential(*layers[:-1])


def start_relu_layers(layers: Iterable[nn.Module]) -> None:
    """He initialisation (uniform) of linear layers, biases zero; as the authors' of the whole orientation branch.

    For layers that a ReLU follows and no norm: with torch's defaults each shrinks its input to four tenths, and the
    nine from the bottom feature to a rotation would start with a signal below a thousandth.
    """
    for layer in layers:
        if isinstance(layer, nn.Linear | nn.Conv1d):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
