"""One optimisation step: forward, losses, backward, clipping, and the decision whether the weights may follow.

The forward pass runs under autocast (bf16 on GPUs by default), losses and ground truth in float32. One transfer to
the host a step brings back the loss terms and the gradient norm together, on which the guard decides.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..hand.mano import HandModel
from . import losses
from .distributed import Processes, agreed, gathered, summed
from .guard import GRADIENT, Guard, Skipped, broken_terms, readable
from .recipe import Recipe
from .stages import WEIGHTS, Counts, loss_terms, make_targets, weighted_sum
from .validation import to_device

NameFrames = Callable[[Mapping[str, Tensor]], tuple[str, ...]]


@dataclass(frozen=True)
class StepResult:
    """Loss and unweighted terms of a step (means over the whole batch), and whether the weights moved."""

    loss: float
    terms: dict[str, float]
    gradient_norm: float
    taken: bool


class Stepper:
    """What a step needs besides its batch. `network` is the one to call, its parameters are those to train."""

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
    ) -> None:
        """dtype: of autocast, None for float32. name_frames: readable names of a batch's frames, for the guard's
        record.
        """
        self.network, self.hand, self.recipe, self.guard = network, hand, recipe, guard
        self.dtype, self.device, self.processes, self.name_frames = dtype, device, processes, name_frames
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        # Fused: one kernel over all tensors; the same update rule, less time.
        self.optimiser = torch.optim.Adam(self.parameters, lr=recipe.lr, fused=True)
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
        self.faces = torch.from_numpy(hand.faces.astype(np.int64)).to(device)

    def set_rate(self, rate: float) -> None:
        """The learning rate from now on."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def step(self, batch: Mapping[str, Tensor], number: int, epoch: int) -> StepResult:
        """Train on one batch from the loader. A step that is not finite leaves weights, statistics and optimiser as
        they were.

        Raises TrainingStopped when the guard has seen too many of them.
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
        taken = not agreed(bool(broken), self.processes, self.device)
        if taken:
            self.scaler.step(self.optimiser)
            self.guard.passed()
        elif agreed(bool(broken) and not overflow, self.processes, self.device):
            self._skip(batch, number, epoch, broken, named, norm_value)
        # fp16 only: an overflow at a high loss scale is no fault; the scaler lowers its scale and the next step goes
        # on.
        self.scaler.update()
        means = self._mean(named)
        return StepResult(sum(WEIGHTS[name] * value for name, value in means.items()), means, norm_value, taken)

    def _forward(self, batch: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        moved = to_device(batch, self.device, self.recipe.channels_last)
        truth = make_targets(moved, self.hand)
        labels = losses.known_labels(truth.occluded)
        whole = summed(torch.stack([labels.new_tensor(len(truth.rotation)), labels]).double(), self.processes)
        shares = (whole.clamp_min(1) / self.processes.world).float().unbind()
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            prediction = self.network(moved["images"])
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
        mine = (self.name_frames(batch), broken) if broken else ((), ())
        # Every process skips; only those with something broken of their own name frames. A gradient that is not
        # finite reaches all of them through the averaging, so the frames of a process whose terms are finite are no
        # suspects.
        all_mine = gathered(mine, self.processes)
        culprits = [one for one in all_mine if any(term != GRADIENT for term in one[1])] or all_mine
        record = Skipped(
            step=number,
            epoch=epoch,
            broken=tuple(dict.fromkeys(term for one in culprits for term in one[1])),
            values=readable({**values, "gradient_norm": norm}),
            parameters=parameters,
            frames=tuple(frame for one in culprits for frame in one[0]),
        )
        self.guard.skip(record, write=self.processes.first)

    def _mean(self, values: dict[str, float]) -> dict[str, float]:
        if self.processes.world == 1:
            return values
        # Each process's term is its share times the number of processes: the mean of them is the term of the whole
        # batch.
        table = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        means = (summed(table, self.processes) / self.processes.world).tolist()
        return dict(zip(values, means, strict=True))
