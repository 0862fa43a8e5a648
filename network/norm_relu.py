"""Training's batch norm and ReLU together, on the CPU: four passes over a feature map where torch takes six.

For large float32 maps in channels-last layout, rows of C channels; everything else stays with torch.
Same maths and same running statistics; means and variances are summed in float64 about a pivot, so that they are
closer to the truth than torch's channels-last ones (docs/training.md, "Facts to know").
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..jit import njit

# Sums over so many rows are float32 (a block fits registers and the first cache), sums of blocks float64.
_BLOCK = 64
# Smaller maps are left to torch: they stay in the processor's cache, where passes cost little. So are maps of few
# channels, whose rows fill no vector register.
LARGE, _WIDE = 2**22, 32
# Reordered sums and fused multiply-add, but not the flags that assume there is no NaN: a broken step must stay visible.
_FAST = {"reassoc", "contract", "nsz"}


def takes(norm: nn.Module, activation: nn.Module | None, x: Tensor) -> bool:
    """Whether `norm_relu` computes activation(norm(x)): a training step's batch norm + ReLU of a large map on the CPU.

    Shared batch norms of several processes are another class, with a forward pass of their own.
    """
    if not (type(norm) is nn.BatchNorm2d and type(activation) is nn.ReLU):
        return False
    return (
        x.numel() >= LARGE
        and x.shape[1] % _WIDE == 0
        and norm.training
        and norm.affine
        and x.device.type == "cpu"
        and x.dtype == norm.weight.dtype == torch.float32
        and norm.momentum is not None
        and norm.running_mean is not None
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def norm_relu(norm: nn.Module, x: Tensor) -> Tensor:
    """relu(norm(x)) of (B, C, H, W) in channels-last layout, of any size; same shape and layout.

    Updates the running statistics as torch does. Differentiable once with respect to x, weight and bias.
    """
    return _NormReLU.apply(x, norm.weight, norm.bias, norm)  # type: ignore[return-value]


class _NormReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: Any) -> Tensor:
        values = _rows(x)
        count, channels = values.shape
        pivot = values[0].copy()
        sums = np.zeros((_parts(values), 2, channels))
        _run(_moments, sums, values, pivot)
        mean_over_pivot, square = sums.sum(0) / count
        mean = pivot + mean_over_pivot
        with np.errstate(invalid="ignore"):  # the guard reports steps that are not finite
            variance = np.maximum(square - mean_over_pivot**2, 0.0)
            deviation = np.sqrt(variance + norm.eps)
        with torch.no_grad():
            norm.num_batches_tracked.add_(1)
            norm.running_mean.lerp_(torch.from_numpy(mean).float(), norm.momentum)
            norm.running_var.lerp_(torch.from_numpy(variance * (count / (count - 1))).float(), norm.momentum)
        scale = (weight.detach().numpy() / deviation).astype(np.float32)
        shift, centre = bias.detach().numpy().copy(), mean.astype(np.float32)
        out = torch.empty_like(x)
        _run(_normalise, sums, values, centre, scale, shift, _rows(out))
        ctx.save_for_backward(x)
        ctx.facts = centre, scale, shift, deviation
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        centre, scale, shift, deviation = ctx.facts
        values = _rows(x)
        gradient = _rows(grad_outputs[0].contiguous(memory_format=torch.channels_last))
        sums = np.zeros((_parts(values), 2, values.shape[1]))
        _run(_gradient_sums, sums, values, gradient, centre, scale, shift)
        of_shift, with_values = sums.sum(0)
        # dx = scale (g - mean(g) - (x - centre) mean(g (x - centre)) / variance); g: the gradient where x passed.
        constant = (-scale * of_shift / len(values)).astype(np.float32)
        linear = (-scale * with_values / len(values) / deviation**2).astype(np.float32)
        out = torch.empty_like(x)
        _run(_gradient, sums, values, gradient, centre, scale, shift, constant, linear, _rows(out))
        of_scale = torch.from_numpy(with_values / deviation).float()
        return out, of_scale, torch.from_numpy(of_shift).float(), None


def _rows(x: Tensor) -> np.ndarray:
    """A view of x with one row of C channels per pixel."""
    return x.detach().permute(0, 2, 3, 1).reshape(-1, x.shape[1]).numpy()


def _parts(values: np.ndarray) -> int:
    return min(torch.get_num_threads(), len(values))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="norm-relu")


def _run(kernel: Callable[..., None], sums: np.ndarray, *arguments: np.ndarray) -> None:
    """The kernel over all rows, in as many parts as `sums` has; part k may add to sums[k]."""
    parts, count = len(sums), len(arguments[0])
    edges = [count * k // parts for k in range(parts + 1)]
    others = (
        [_pool(parts - 1).submit(kernel, edges[k], edges[k + 1], sums[k], *arguments) for k in range(1, parts)]
        if parts > 1
        else []
    )
    kernel(edges[0], edges[1], sums[0], *arguments)
    for other in others:
        other.result()


@njit(nogil=True, fastmath=_FAST, error_model="numpy")
def _moments(start, stop, sums, values, pivot):
    channels = values.shape[1]
    block = np.empty((2, channels), np.float32)
    for first in range(start, stop, _BLOCK):
        block[:] = 0.0
        for i in range(first, min(stop, first + _BLOCK)):
            for j in range(channels):
                v = values[i, j] - pivot[j]
                block[0, j] += v
                block[1, j] += v * v
        sums += block


@njit(nogil=True, fastmath=_FAST, error_model="numpy")
def _normalise(start, stop, _, values, centre, scale, shift, out):
    for i in range(start, stop):
        for j in range(values.shape[1]):
            y = (values[i, j] - centre[j]) * scale[j] + shift[j]
            out[i, j] = np.float32(0.0) if y <= 0.0 else y  # NaN stays NaN


@njit(nogil=True, fastmath=_FAST, error_model="numpy")
def _gradient_sums(start, stop, sums, values, gradient, centre, scale, shift):
    channels = values.shape[1]
    block = np.empty((2, channels), np.float32)
    for first in range(start, stop, _BLOCK):
        block[:] = 0.0
        for i in range(first, min(stop, first + _BLOCK)):
            for j in range(channels):
                v = values[i, j] - centre[j]
                g = np.float32(0.0) if v * scale[j] + shift[j] <= 0.0 else gradient[i, j]
                block[0, j] += g
                block[1, j] += g * v
        sums += block


@njit(nogil=True, fastmath=_FAST, error_model="numpy")
def _gradient(start, stop, _, values, gradient, centre, scale, shift, constant, linear, out):
    for i in range(start, stop):
        for j in range(values.shape[1]):
            v = values[i, j] - centre[j]
            g = np.float32(0.0) if v * scale[j] + shift[j] <= 0.0 else gradient[i, j]
            out[i, j] = g * scale[j] + v * linear[j] + constant[j]
