"""Several processes training one network (torchrun): gradients equal to those of one process with the whole batch.

Three things make them equal. Losses divide by the counts of the whole batch (`training.stages.Counts`), so that the
average of gradients that DistributedDataParallel takes is the gradient of the mean. Batch normalisation uses the
statistics of the whole batch: torch's SyncBatchNorm on GPUs and `SharedBatchNorm` elsewhere, because torch's exists
for GPUs only. And either all processes skip a step, or stop, or none does.
"""

import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist

from ..errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """This process among those of the run: its rank, how many there are, its rank on this machine."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this process writes the run folder."""
        return self.rank == 0


def from_environment() -> Processes:
    """The processes that torchrun announces by RANK, WORLD_SIZE and LOCAL_RANK; one process without them."""
    if "WORLD_SIZE" not in os.environ:
        return Processes()
    try:
        rank, world, local = (int(os.environ.get(k, "0")) for k in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    except ValueError:
        message = "RANK, WORLD_SIZE, LOCAL_RANK: expected integers; start several processes with torchrun"
        raise InputError(message) from None
    return Processes(rank, world, local)


@contextmanager
def process_group(processes: Processes, device: torch.device) -> Iterator[None]:
    """Be in the process group for the length of the block: nccl on GPUs, gloo elsewhere. One process: nothing."""
    if processes.world == 1 or dist.is_initialized():
        yield
        return
    # The first process alone validates and writes: the others wait for it at the next collective operation.
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(hours=2))
    try:
        yield
    finally:
        dist.destroy_process_group()


def all_reduce_sum(values: Tensor, processes: Processes) -> Tensor:
    """Element-wise sum over all processes (no gradient); `values` unchanged for one process."""
    if processes.world == 1:
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total


def any_process(flag: bool, processes: Processes, device: torch.device) -> bool:
    """Whether any process raises the flag."""
    if processes.world == 1:
        return flag
    return bool(all_reduce_sum(torch.tensor(float(flag), device=device), processes) > 0)


def barrier(processes: Processes, device: torch.device) -> None:
    """Wait until every process has come here: what the first one wrote before, all can read afterwards."""
    any_process(False, processes, device)


def all_gather(value: T, processes: Processes) -> list[T]:
    """One value of every process, in rank order."""
    if processes.world == 1:
        return [value]
    values: list = [None] * processes.world
    dist.all_gather_object(values, value)
    return values


def wrap_network(network: nn.Module, processes: Processes, device: torch.device) -> nn.Module:
    """The network in DistributedDataParallel; for one process the network itself.

    Its batch normalisation must be shared already (`share_batch_norm`). Every parameter that is trained must get a
    gradient in every step, as in all stages of this network: the wrapper waits for each.
    """
    if processes.world == 1:
        return network
    _make_pointwise_contiguous(network)
    kind: Any = nn.parallel.DistributedDataParallel
    # Shared batch normalisation keeps the statistics equal: no need to send the first process's before every step.
    # The option for that has another name since torch 2.13.
    renamed = "forward_sync_buffers" in inspect.signature(kind).parameters
    return kind(
        network,
        device_ids=[device.index] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,
        **{"forward_sync_buffers" if renamed else "broadcast_buffers": False},
    )


@torch.no_grad()
def _make_pointwise_contiguous(network: nn.Module) -> None:
    # The weight (O, I, 1, 1) of a pointwise convolution is the same memory in both layouts, but converting to
    # channels-last leaves other strides on it than its gradients have, and the wrapper then copies each of them.
    for parameter in network.parameters():
        if parameter.dim() == 4 and parameter.shape[2:] == (1, 1):
            parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)


class _Sum(torch.autograd.Function):
    """Sum over all processes; every process's loss depends on it, hence its gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        total = grad_outputs[0].contiguous().clone()
        dist.all_reduce(total)
        return total


def _differentiable_sum(values: Tensor) -> Tensor:
    total = _Sum.apply(values)
    assert isinstance(total, Tensor)
    return total


def share_batch_norm(network: nn.Module, device: torch.device) -> nn.Module:
    """Batch normalisation over the batches of all processes instead of one; parameters and names are kept."""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for module in network.modules():
        if type(module) in (nn.BatchNorm1d, nn.BatchNorm2d):
            # The same module with another forward: its state and everything that refers to it stay as they are.
            module.__class__ = SharedBatchNorm
    return network


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation by the mean and variance of all processes' batches, on any backend.

    Gradients flow through both, as in torch's SyncBatchNorm.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected (N, C, ...), found {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, ...) normalised per channel; without training, or in one process, as torch does it."""
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(input)
        axes = [axis for axis in range(input.dim()) if axis != 1]
        shape = [1, -1] + [1] * (input.dim() - 2)
        wide = input if input.dtype == torch.float64 else input.float()
        sums = torch.cat([wide.sum(axes), wide.new_full((1,), input.numel() / input.shape[1])])
        sums = _differentiable_sum(sums)
        count = sums[-1].detach()
        mean = sums[:-1] / count
        # A second pass instead of E[x^2] - E[x]^2, which cancels where the mean is large.
        centred = wide - mean.view(shape)
        variance = _differentiable_sum(centred.square().sum(axes)) / count
        self._update_statistics(mean.detach(), variance.detach(), count)
        normal = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(input.dtype)

    @torch.no_grad()
    def _update_statistics(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        rate = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), rate)
        unbiased = variance * (count / (count - 1))
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), rate)
