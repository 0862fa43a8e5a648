"""The loop of a run: epochs of steps, and after each epoch validation, the best checkpoint and a picture.

What a checkpoint holds beside the weights (`Run.state`) is all that the next step depends on, so that a resumed run
continues bit for bit where data, recipe and machine are the same.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..data.clips import ClipDataset
from ..data.loading.batches import ClipLoader, raise_lost_batch
from ..durable import write_text
from ..hand.draw import write_picture
from ..hand.mano import HandModel
from ..network.checkpoint import save_checkpoint
from ..network.h2onet import H2ONet
from . import inputs, machine
from .card import model_card
from .distributed import Processes, all_gather, any_process, barrier, share_batch_norm, wrap_network
from .guard import Guard
from .logs import RunLog, Stopwatch
from .pictures import draw_samples
from .recipe import Recipe, learning_rate
from .runfolder import RunFolder
from .signals import Stopped, StopSignals, timed_batches
from .steps import Stepper, StepResult
from .validation import SCORE, validate


@dataclass(frozen=True)
class TrainResult:
    """Result of a training run.

    best_score: mm (PA-MPJPE + PA-MPVPE) with validation clips, else the mean training loss.
    """

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
        score = f"{self.epochs} epochs, {score}" if self.epochs else score  # max_steps may end before the first is over
        return f"{self.out}: {self.steps} steps, {score}{skipped}; {speed}{left}"


@dataclass(eq=False)
class Run:
    """One training run: what it is given, the state that moves, and the loop."""

    # what the run is given
    recipe: Recipe
    folder: RunFolder
    hand: HandModel  # makes the ground truth; on `device`
    batches: ClipLoader
    validation: ClipDataset | None
    device: torch.device
    dtype: torch.dtype | None  # of autocast; None for float32
    processes: Processes
    provenance: dict[str, Any]  # where the first weights came from; kept in every checkpoint
    network: H2ONet

    # what a checkpoint keeps of it, beside weights, optimiser and random states
    step: int = 0
    epoch: int = 0
    validated_step: int = 0  # the step after which the last validation ran
    best: float | None = None
    sums: dict[str, float] = field(default_factory=dict)  # loss and terms over the steps "taken" in this epoch

    # what belongs to this start
    since_start: Stopwatch = field(default_factory=Stopwatch)
    since_log: Stopwatch = field(default_factory=Stopwatch)
    guard: Guard = field(init=False)
    stepper: Stepper = field(init=False)
    log: RunLog = field(init=False)  # open while `run` is at work
    timed_step: Callable[[], AbstractContextManager[None]] = nullcontext  # what finds the number of threads

    def __post_init__(self) -> None:
        layout = torch.channels_last if self.recipe.channels_last else torch.preserve_format
        self.network.train().to(self.device, memory_format=layout)  # pyright: ignore[reportCallIssue]
        if self.processes.world > 1:
            share_batch_norm(self.network, self.device)
        self.guard = Guard(self.network, self.folder.skipped, self.recipe.skip_limit)
        self.stepper = Stepper(
            wrap_network(self.network, self.processes, self.device),
            self.hand,
            self.recipe,
            self.guard,
            dtype=self.dtype,
            device=self.device,
            processes=self.processes,
            name_frames=lambda batch: inputs.frame_names(self.batches.dataset.paths, batch),
            anew=self.provenance.get("anew"),
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

    def run(self, signals: StopSignals) -> TrainResult:
        """Train to the end, or to a signal that reaches any of the processes."""
        with self._open_log() as self.log:
            begun = time.perf_counter()
            self.timed_step = machine.step_timer(self.recipe, self.device, self.processes.world, self.log.say)
            stopped = self._run_epochs(signals)
        names = all_gather(signals.name, self.processes) if stopped else []
        barrier(self.processes, self.device)  # the next stage of a chain reads what this one wrote
        return TrainResult(
            out=self.folder.path,
            steps=self.step,
            epochs=self.epoch,
            best_score=self.best,
            chosen_on=self.chosen_on,
            skipped_steps=self.guard.skipped,
            interrupted=next(filter(None, names), None),
            seconds=time.perf_counter() - begun,
            samples_per_second=self.since_start.rate,
            wait_share=self.since_start.wait_share,
        )

    def _open_log(self) -> RunLog:
        size = self.recipe.batch_size * self.processes.world
        return RunLog(
            self.folder.metrics,
            self.folder.tensorboard if self.recipe.tensorboard else None,
            total=self.last_step * size,
            done=self.step * size,
            step=self.step,
            name=self.recipe.name,
            enabled=self.processes.first,
        )

    def _run_epochs(self, signals: StopSignals) -> bool:
        if self.step == 0:
            self.save_last()
        stopped = False
        while not stopped and (self.step < self.last_step or self.validated_step < self.step):
            try:
                stopped = self.train_epoch(signals)
            except Stopped:
                stopped = True
            except RuntimeError as error:
                raise_lost_batch(error)
                raise
            if stopped:
                self.save_last()
            else:
                self.end_epoch()
                stopped = any_process(signals.name is not None, self.processes, self.device)
        return stopped

    def train_epoch(self, signals: StopSignals) -> bool:
        """The steps of one epoch, or the rest of them, up to the last step or a signal; True after a signal."""
        if self.step >= self.last_step:  # Resumed after being interrupted during the final validation.
            return False
        inputs.training_mode(self.network, self.recipe, self.provenance)
        self.stepper.set_rate(learning_rate(self.recipe, self.epoch, self.processes.world))
        # Of several processes none may leave alone: the others would wait for it in their next exchange.
        for batch, waited in timed_batches(self.batches, signals if self.processes.world == 1 else None):
            self.step += 1
            begun = time.perf_counter()
            with self.timed_step():
                result = self.stepper.step(batch, self.step, self.epoch)
            self._count(result, waited, time.perf_counter() - begun)
            if self.step % self.recipe.log_every == 0 or self.step == self.last_step:
                self._log_step(result)
            done = self.step >= self.last_step
            whole = self.batches.batch == len(self.batches)
            # Save before validating: a kill during validation then loses no step.
            if self.step % max(self.recipe.checkpoint_every, 1) == 0 or done or whole:
                self.save_last()
            if any_process(signals.name is not None, self.processes, self.device):
                return True
            if done:
                break
        return False

    def end_epoch(self) -> None:
        """Validate, keep the best, draw a picture, and save; also after an epoch that `max_steps` cut short."""
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
            self._save_best(values)
        shown = f", score {score:.2f} mm" if self.validation is not None and score is not None else ""
        loss = means.get("loss", float("nan"))
        self.log.say(
            f"epoch {self.epoch + 1}/{self.recipe.epochs}: loss {loss:.4f}{shown}{' (best)' if better else ''}"
        )
        self.log.write(
            "val" if self.validation is not None else "epoch", self.step, {"epoch": self.epoch + 1, **values}
        )
        self._draw()
        self.validated_step = self.step
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
            "judged": self.validated_step,  # its name in saved states
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
        self.validated_step = state["judged"]
        self.sums = dict(state["sums"])
        self.batches.load_state_dict(state["loader"])
        self.stepper.optimiser.load_state_dict(state["optimiser"])
        if state["scaler"]:
            self.stepper.scaler.load_state_dict(state["scaler"])
        self.guard.load_state_dict(state["guard"])
        machine.restore_random_states(state["random"])

    def save_last(self) -> None:
        """Replace `last/` by the current weights and state."""
        self._save(self.folder.last, self.state())

    def _save_best(self, scores: Mapping[str, float]) -> None:
        """Replace `best/` by the current weights, and the card beside it, which says how they scored."""
        self._save(self.folder.best, None)
        if self.processes.first:
            paths = self.batches.dataset.paths, self.validation.paths if self.validation is not None else []
            write_text(self.folder.card, model_card(self.folder.best, self.recipe, scores, *paths))

    def _save(self, folder: Path, state: Mapping[str, Any] | None) -> None:
        if not self.processes.first:
            return
        samples = self.batches.dataset
        metadata = {
            "recipe": asdict(self.recipe),
            "step": self.step,
            "epoch": self.epoch,
            "best_score": self.best,
            "chosen_on": self.chosen_on,
            "clips": dict(zip(samples.paths, samples.fingerprints, strict=True)),
            "mano_sha256": self.hand.arrays.sha256,
            "provenance": self.provenance,
        }
        save_checkpoint(folder, self.network, state, metadata)

    def _count(self, result: StepResult, waited: float, worked: float) -> None:
        size = self.recipe.batch_size * self.processes.world
        for watch in (self.since_start, self.since_log):
            watch.add(waited, worked, size)
        if result.taken:
            for name, value in {"loss": result.loss, "taken": 1.0, **result.terms}.items():
                self.sums[name] = self.sums.get(name, 0.0) + value
        self.log.advance(size, result.loss, self.since_start.wait_share, self.epoch + 1)

    def _log_step(self, result: StepResult) -> None:
        values = {
            "epoch": self.epoch + 1,
            "loss": result.loss,
            **result.terms,
            "gradient_norm": result.gradient_norm,
            "lr": self.stepper.optimiser.param_groups[0]["lr"],
            "samples_per_s": self.since_log.rate,
            "wait_share": self.since_log.wait_share,
            "threads": torch.get_num_threads(),
            "skipped": self.guard.skipped,
        }
        self.log.write("train", self.step, values)
        self.since_log = Stopwatch()

    def _draw(self) -> None:
        if not self.recipe.pictures or not self.processes.first:
            return
        samples = self.validation or inputs.picture_clips(self.recipe, self.batches.dataset.paths)
        picture = draw_samples(self.network, samples, self.hand, self.recipe, self.device)
        write_picture(self.folder.samples / f"epoch-{self.epoch + 1:04d}.png", picture)
        self.log.picture("samples", picture, self.step)
