"""The folder of a run: what lies where, and when it may be written.

last/  best/       checkpoint folders (network.checkpoint); last/ also holds the training state for resuming
card.md            what best/ is, for whoever gets it (training/card.py)
config.toml        the recipe as it was run
metrics.jsonl      one JSON object per line: {"kind": "train" | "val" | "epoch", "step": ..., ...}
skipped.jsonl      steps that the guard skipped
tensorboard/       the same numbers for TensorBoard
samples/           pictures of every epoch
"""

import json
from pathlib import Path

from ..durable import remove, room_to_write, sweep, write_text
from ..errors import InputError
from ..locks import Lock
from ..network.checkpoints.folder import find_folder
from .recipe import Recipe, differences, load_recipe, to_toml

OWN = ("last", "best", "card.md", "config.toml", "metrics.jsonl", "skipped.jsonl", "tensorboard", "samples")


class RunFolder:
    """Paths of one run; `check` reads the folder, `start` is the first to change it."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.last, self.best = self.path / "last", self.path / "best"
        self.metrics, self.skipped = self.path / "metrics.jsonl", self.path / "skipped.jsonl"
        self.card, self.config, self.samples = (self.path / name for name in ("card.md", "config.toml", "samples"))
        self.tensorboard = self.path / "tensorboard"
        self._lock = Lock(self.path / ".lock")

    def check(self, recipe: Recipe, *, resume: bool, overwrite: bool) -> bool:
        """Whether there is a checkpoint to resume from. InputError for a used folder, or another recipe on resuming."""
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path}: is a file; give a folder for the run")
        used = [name for name in OWN if (self.path / name).exists()]
        if not resume:
            if used and not overwrite:
                raise InputError(
                    f"{self.path}: already holds a run ({used[0]}); --resume continues it, or use another --out"
                )
            return False
        if find_folder(self.last) is None:
            if "metrics.jsonl" in used or "best" in used:
                raise InputError(f"{self.last}: missing, nothing to resume from; start anew in another --out")
            return False
        changed = differences(load_recipe(self.config), recipe)
        if changed:
            raise InputError(
                f"{self.config}: the run to resume had another recipe ({'; '.join(changed)}); use the same one"
            )
        return True

    def start(self, recipe: Recipe, *, resume_step: int | None) -> None:
        """Make the folder ready: without an earlier run, or, to resume, without lines after the checkpoint's step.

        It is this run's own until `release`: InputError where another one is writing it.
        """
        with room_to_write(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            if resume_step is None:
                for name in OWN:
                    remove(self.path / name)
            sweep(self.path)
            write_text(self.config, to_toml(recipe))
            if resume_step is not None:
                for file in (self.metrics, self.skipped):
                    _cut_after(file, resume_step)

    def release(self) -> None:
        """Let others write the folder; harmless where `start` was not called."""
        self._lock.release()


def _cut_after(path: Path, step: int) -> None:
    """Drop the lines of steps that a resumed run takes again, and a last line that was cut short."""
    if not path.is_file():
        return
    kept = [line for line in path.read_text().splitlines() if (found := _step_of(line)) is not None and found <= step]
    write_text(path, "".join(f"{line}\n" for line in kept))


def _step_of(line: str) -> int | None:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError):
        return None
