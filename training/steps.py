"""One optimisation step: forward, losses, backward, clipping, and the decision whether the weights may follow.

The forward pass runs under autocast (bf16 on GPUs by default), losses and ground truth in float32. One transfer to
the host a step brings back the loss terms and the gradient norm together, on which the guard decides.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..hand.mano import HandModel
from .distributed import Processes, all_gather, all_reduce_sum, any_process
from .guard import GRADIENT, Guard, SkippedStep, broken_terms, format_values
from .machine import to_device
from .recipe import Recipe
from .released import follow_released
from .stages import WEIGHTS, Counts, count, loss_terms, make_targets, weighted_sum

NameFrames = Callable[[Mapping[str, Tensor]], tuple[str, ...]]


@dataclass(frozen=True)
class StepResult:
    """Loss and unweighted terms of a step (means over the whole batch), and whether the weights moved."""

    loss: float
    terms: dict[str, float]
    gradient_norm: float
    taken: bool


class Broken(NamedTuple):
    """What is not finite in one process's part of a step: the frames of its batch by name, and the terms."""

    frames: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()


class Stepper:
    """What a step needs besides its batch: `network` is called, and its parameters are trained."""

    def __init__(
        self,
        network: nn.Module,
        hand: HandModel,
        recipe: Recipe,
        guard: Guard,
        *,
        dtype: torch.dtype | None,
        device: torch.device,
        processes: Processes,
        name_frames: NameFrames,
        anew: Collection[str] | None = None,
    ) -> None:
        """dtype: of autocast, None for float32. name_frames: names of a batch's frames, for the guard's record.

        anew: names of parameters that --init did not give, None where it gave none; given_lr is for the others.
        """
        self.network = network
        self.hand = hand
        self.recipe = recipe
        self.guard = guard
        self.dtype = dtype
        self.device = device
        self.processes = processes
        self.name_frames = name_frames
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        # Fused: one kernel over all tensors; the same update rule, less time.
        self.optimiser = torch.optim.Adam(self._groups(anew), lr=recipe.lr, fused=True)
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
        self.faces = torch.from_numpy(hand.faces.astype(np.int64)).to(device)

    def _groups(self, anew: Collection[str] | None) -> list[dict[str, Any]]:
        """Adam's groups of parameters, each with its factor on the learning rate; one where all have the same."""
        if self.recipe.given_lr == 1 or anew is None:
            return [{"params": self.parameters, "factor": 1.0}]
        new, given = list[nn.Parameter](), list[nn.Parameter]()
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:  # "module." is DistributedDataParallel's
                (new if name.removeprefix("module.") in anew else given).append(parameter)
        return [{"params": new, "factor": 1.0}, {"params": given, "factor": self.recipe.given_lr}]

    def set_rate(self, rate: float) -> None:
        """The learning rate from now on."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group.get("factor", 1.0)  # states of earlier versions have none

    def step(self, batch: Mapping[str, Tensor], number: int, epoch: int) -> StepResult:
        """Train on one batch from the loader.

        A step that is not finite leaves weights, statistics and optimiser as they were; TrainingStopped when the guard
        has seen too many of them.
        """
        self.guard.remember()
        self.optimiser.zero_grad(set_to_none=True)
        terms, loss = self._forward(batch)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimiser)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip_norm)
        *values, norm_value = torch.stack([*(term.detach() for term in terms.values()), norm.detach()]).tolist()
        named = dict(zip(terms, values, strict=True))
        broken = broken_terms(named, norm_value)
        overflow = broken == (GRADIENT,) and self.scaler.is_enabled() and self.scaler.get_scale() >= 1
        taken = not any_process(bool(broken), self.processes, self.device)
        if taken:
            self.scaler.step(self.optimiser)
            self.guard.accept()
        elif any_process(bool(broken) and not overflow, self.processes, self.device):
            self._skip(batch, number, epoch, broken, named, norm_value)
        # fp16 only: an overflow at a high loss scale is no fault; the scaler lowers its scale for the next step.
        self.scaler.update()
        means = self._mean(named)
        return StepResult(sum(WEIGHTS[name] * value for name, value in means.items()), means, norm_value, taken)

    def _forward(self, batch: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        moved = to_device(batch, self.device, self.recipe.channels_last)
        truth = make_targets(moved, self.hand)
        whole = all_reduce_sum(count(truth), self.processes)
        shares = (whole.clamp_min(1) / self.processes.world).float().unbind()
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            prediction = self.network(moved["images"])
        if self.recipe.as_released:
            inner: Any = getattr(self.network, "module", self.network)  # of DistributedDataParallel
            prediction = follow_released(prediction, inner.joint_regressor)
        terms = loss_terms(prediction, truth, self.faces, self.recipe.stage, Counts(*shares))
        return terms, weighted_sum(terms)

    def _skip(
        self,
        batch: Mapping[str, Tensor],
        number: int,
        epoch: int,
        broken: tuple[str, ...],
        values: dict[str, float],
        norm: float,
    ) -> None:
        parameters = self.guard.broken_parameters()
        mine = Broken(self.name_frames(batch), broken) if broken else Broken()
        # Every process skips, but only those whose own terms broke name their frames: a gradient that is not finite
        # reaches all processes through the averaging, and says nothing about the frames of those with finite terms.
        everyone = all_gather(mine, self.processes)
        culprits = [process for process in everyone if any(term != GRADIENT for term in process.terms)] or everyone
        record = SkippedStep(
            step=number,
            epoch=epoch,
            broken=tuple(dict.fromkeys(term for process in culprits for term in process.terms)),
            values=format_values({**values, "gradient_norm": norm}),
            parameters=parameters,
            frames=tuple(frame for process in culprits for frame in process.frames),
        )
        self.guard.skip(record, write=self.processes.first)

    def _mean(self, values: dict[str, float]) -> dict[str, float]:
        if self.processes.world == 1:
            return values
        # Each process's term is its share times the number of processes: their mean is the term of the whole batch.
        table = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        means = (all_reduce_sum(table, self.processes) / self.processes.world).tolist()
        return dict(zip(values, means, strict=True))
