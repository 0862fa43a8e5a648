"""The loop of a run: epochs of steps, and between them validation, the best checkpoint, pictures and lines in the
log.

What a checkpoint holds beside the weights (`Run.state`) is all that the next step depends on, so that a resumed run
continues bit for bit where data, recipe and machine are the same.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.clips import ClipDataset, ClipStore
from ..data.loading.batches import ClipLoader
from ..hand.draw import write_picture
from ..hand.mano import HandModel
from ..network.checkpoint import save_checkpoint
from ..network.h2onet import H2ONet
from . import inputs, machine
from .distributed import Processes, agreed, gathered, share_batch_norm, shared_network, together
from .guard import Guard
from .logs import RunLog, Stopwatch
from .pictures import draw_samples
from .recipe import Recipe
from .runfolder import RunFolder
from .signals import StopSignals
from .steps import Stepper, StepResult
from .validation import SCORE, validate

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """What a run came to. best_score: mm (PA-MPJPE + PA-MPVPE) with validation clips, else the mean training loss."""

    out: Path
    steps: int
    epochs: int
    best_score: float | None
    chosen_on: str
    skipped_steps: int
    interrupted: str | None
    seconds: float
    samples_per_second: float
    wait_share: float

    def __str__(self) -> str:
        score = "no score yet" if self.best_score is None else f"best {self.best_score:.4g} by {self.chosen_on}"
        left = f"; left after {self.interrupted}" if self.interrupted else ""
        skipped = f", {self.skipped_steps} steps skipped (skipped.jsonl)" if self.skipped_steps else ""
        speed = f"{self.samples_per_second:.1f} samples/s, {self.wait_share:.0%} of the time waiting for data"
        return f"{self.out}: {self.steps} steps, {self.epochs} epochs, {score}{skipped}; {speed}{left}"


@dataclass(frozen=True)
class Setting:
    """What a run has from the start: recipe, folder, hand of the ground truth, data, device, autocast dtype,
    processes.

    provenance: where the first weights came from, kept in every checkpoint.
    """

    recipe: Recipe
    folder: RunFolder
    hand: HandModel
    batches: ClipLoader
    validation: ClipDataset | None
    device: torch.device
    dtype: torch.dtype | None
    processes: Processes
    provenance: dict[str, Any]


class Run:
    """The moving state of one training run and its loop."""

    def __init__(self, setting: Setting, network: H2ONet) -> None:
        self.recipe, self.folder, self.hand = setting.recipe, setting.folder, setting.hand
        self.batches, self.validation = setting.batches, setting.validation
        self.device, self.processes, self.provenance = setting.device, setting.processes, setting.provenance
        self.step, self.epoch = 0, 0
        self.judged = 0  # the step after which the last validation was
        self.best: float | None = None
        self.sums: dict[str, float] = {}
        self.watch, self.span = Stopwatch(), Stopwatch()
        self.network = network.train().to(self.device)
        if self.recipe.channels_last:
            self.network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        if self.processes.world > 1:
            share_batch_norm(self.network, self.device)
        self.guard = Guard(self.network, self.folder.skipped, self.recipe.skip_limit)
        self.stepper = Stepper(
            shared_network(self.network, self.processes, self.device),
            self.hand,
            self.recipe,
            self.guard,
            dtype=setting.dtype,
            device=self.device,
            processes=self.processes,
            name_frames=lambda batch: inputs.frame_names(self.batches.dataset.paths, batch),
        )

    @property
    def chosen_on(self) -> str:
        """What the best checkpoint is chosen by."""
        if self.validation is None:
            return "training loss"
        return f"PA-MPJPE + PA-MPVPE mm on {', '.join(self.validation.paths)}"

    @property
    def last_step(self) -> int:
        """The step after which the run is over."""
        steps = self.recipe.epochs * len(self.batches)
        return min(steps, self.recipe.max_steps) if self.recipe.max_steps else steps

    def open_log(self) -> RunLog:
        """Bar and files of this start."""
        size = self.recipe.batch_size * self.processes.world
        self.log = RunLog(
            self.folder.metrics,
            self.folder.tensorboard if self.recipe.tensorboard else None,
            total=self.last_step * size,
            done=self.step * size,
            step=self.step,
            name=self.recipe.name,
            enabled=self.processes.first,
        )
        return self.log

    def go(self, signals: StopSignals) -> TrainResult:
        """Train to the end, or to a signal that reaches any of the processes."""
        begun = time.perf_counter()
        if self.step == 0:
            self.save_last()
        stopped = False
        while not stopped and (self.step < self.last_step or self.judged < self.step):
            stopped = self.train_epoch(signals)
            if stopped:
                self.save_last()
            else:
                self.end_epoch()
                stopped = agreed(signals.name is not None, self.processes, self.device)
        names = gathered(signals.name, self.processes) if stopped else []
        together(self.processes, self.device)  # the next stage of a chain reads what this one wrote
        return TrainResult(
            out=self.folder.path,
            steps=self.step,
            epochs=self.epoch,
            best_score=self.best,
            chosen_on=self.chosen_on,
            skipped_steps=self.guard.skipped,
            interrupted=next(filter(None, names), None),
            seconds=time.perf_counter() - begun,
            samples_per_second=self.watch.rate,
            wait_share=self.watch.wait_share,
        )

    def train_epoch(self, signals: StopSignals) -> bool:
        """The steps of one epoch, or what is left of it, up to the last step or a signal; whether it was a signal."""
        if self.step >= self.last_step:  # broken off in the validation after the last step
            return False
        self.stepper.set_rate(learning_rate(self.recipe, self.epoch, self.processes.world))
        for batch, waited in self._timed(iter(self.batches)):
            self.step += 1
            begun = time.perf_counter()
            result = self.stepper.step(batch, self.step, self.epoch)
            self._count(result, waited, time.perf_counter() - begun)
            if self.step % self.recipe.log_every == 0 or self.step == self.last_step:
                self._log_step(result)
            done = self.step >= self.last_step
            whole = self.batches.batch == len(self.batches)
            # Also before the validation of an epoch: who is killed in it has lost no step.
            if self.step % max(self.recipe.checkpoint_every, 1) == 0 or done or whole:
                self.save_last()
            if agreed(signals.name is not None, self.processes, self.device):
                return True
            if done:
                break
        return False

    def end_epoch(self) -> None:
        """Validate, keep the best, draw pictures, and save. An epoch that `max_steps` cut short counts as it is."""
        # The loader stands at 0 once its epoch is used up, and at its length when the run ended with the last batch.
        whole = self.batches.batch in (0, len(self.batches))
        taken = self.sums.get("taken", 0.0)
        means = {name: value / taken for name, value in self.sums.items() if name != "taken"} if taken else {}
        values: dict[str, float] = {f"train_{name}": value for name, value in means.items()}
        score = means.get("loss")
        if self.validation is not None:
            scores = validate(self.network, self.validation, self.hand, self.recipe, self.device, self.processes)
            score = scores[SCORE]
            values |= scores
        better = score is not None and (self.best is None or score < self.best)
        if better:
            self.best = score
            self._save(self.folder.best.name, None)
        shown = f", score {score:.2f} mm" if self.validation is not None and score is not None else ""
        loss = means.get("loss", float("nan"))
        self.log.say(
            f"epoch {self.epoch + 1}/{self.recipe.epochs}: loss {loss:.4f}{shown}{' (best)' if better else ''}"
        )
        self.log.write(
            "val" if self.validation is not None else "epoch", self.step, {"epoch": self.epoch + 1, **values}
        )
        self._draw()
        self.judged = self.step
        if whole:
            self.epoch += 1
            self.sums = {}
            self.batches.set_epoch(self.epoch)
        self.save_last()

    def state(self) -> dict[str, Any]:
        """All that the next step depends on beside the weights; plain containers of tensors, numbers and strings."""
        return {
            "step": self.step,
            "epoch": self.epoch,
            "judged": self.judged,
            "best": self.best,
            "sums": dict(self.sums),
            "optimiser": self.stepper.optimiser.state_dict(),
            "scaler": self.stepper.scaler.state_dict(),
            "loader": self.batches.state_dict(),
            "guard": self.guard.state_dict(),
            "random": machine.random_states(),
            "provenance": self.provenance,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`. InputError where the data are not those of the run."""
        self.step, self.epoch, self.best = state["step"], state["epoch"], state["best"]
        self.judged = state.get("judged", self.step)  # checkpoints before it was kept: as if validated
        self.sums = dict(state["sums"])
        self.batches.load_state_dict(state["loader"])
        self.stepper.optimiser.load_state_dict(state["optimiser"])
        if state["scaler"]:
            self.stepper.scaler.load_state_dict(state["scaler"])
        self.guard.load_state_dict(state["guard"])
        machine.restore_random_states(state["random"])

    def save_last(self) -> None:
        """Replace `last/` by the present weights and state."""
        self._save(self.folder.last.name, self.state())

    def _save(self, name: str, state: Mapping[str, Any] | None) -> None:
        if not self.processes.first:
            return
        metadata = {
            "recipe": asdict(self.recipe),
            "step": self.step,
            "epoch": self.epoch,
            "best_score": self.best,
            "chosen_on": self.chosen_on,
            "clips": {path: ClipStore.open(path).fingerprint for path in self.batches.dataset.paths},
            "mano_sha256": self.hand.arrays.sha256,
            "provenance": self.provenance,
        }
        self.folder.save(name, lambda folder: save_checkpoint(folder, self.network, state, metadata))

    def _timed(self, batches: Iterator[dict[str, Tensor]]) -> Iterator[tuple[dict[str, Tensor], float]]:
        while True:
            begun = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            yield batch, time.perf_counter() - begun

    def _count(self, result: StepResult, waited: float, worked: float) -> None:
        size = self.recipe.batch_size * self.processes.world
        for watch in (self.watch, self.span):
            watch.add(waited, worked, size)
        if result.taken:
            for name, value in {"loss": result.loss, "taken": 1.0, **result.terms}.items():
                self.sums[name] = self.sums.get(name, 0.0) + value
        self.log.advance(size, result.loss, self.watch.wait_share, self.epoch + 1)

    def _log_step(self, result: StepResult) -> None:
        values = {
            "epoch": self.epoch + 1,
            "loss": result.loss,
            **result.terms,
            "gradient_norm": result.gradient_norm,
            "lr": self.stepper.optimiser.param_groups[0]["lr"],
            "samples_per_s": self.span.rate,
            "wait_share": self.span.wait_share,
            "skipped": self.guard.skipped,
        }
        self.log.write("train", self.step, values)
        self.span = Stopwatch()

    def _draw(self) -> None:
        if not self.recipe.pictures or not self.processes.first:
            return
        shown = self.validation or inputs.shown_clips(self.recipe, self.batches.dataset.paths)
        picture = draw_samples(self.network, shown, self.hand, self.recipe, self.device)
        write_picture(self.folder.samples / f"epoch-{self.epoch + 1:04d}.png", picture)
        self.log.picture("samples", picture, self.step)


def learning_rate(recipe: Recipe, epoch: int, processes: int = 1) -> float:
    """The rate of an epoch (from 0): torch's MultiStepLR, and linear in the effective batch with `scale_lr` (Goyal
    2017).
    """
    scale = recipe.batch_size * processes / recipe.reference_batch if recipe.scale_lr else 1.0
    return recipe.lr * scale * recipe.gamma ** sum(milestone <= epoch for milestone in recipe.milestones)
