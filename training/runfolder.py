"""The folder of a run: what lies where, when it may be written, and checkpoints that are replaced at one instant.

last/  best/       checkpoint folders (network.checkpoint); last/ also holds the training state for resuming
config.toml        the recipe as it was run
metrics.jsonl      one JSON object a line: {"kind": "train" | "val" | "epoch", "step": ..., ...}
skipped.jsonl      steps that the guard skipped
tensorboard/       the same numbers for TensorBoard
samples/           pictures of every epoch
"""

import ctypes
import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..durable import fsync_path, room_to_write, writing_file
from ..errors import InputError
from ..network.checkpoints.folder import find_folder
from .recipe import Recipe, differences, load_recipe, to_toml

OWN = ("last", "best", "config.toml", "metrics.jsonl", "skipped.jsonl", "tensorboard", "samples")
AT_FDCWD, RENAME_EXCHANGE = -100, 2


class RunFolder:
    """Paths of one run and the writing of its checkpoints."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.last, self.best = self.path / "last", self.path / "best"
        self.metrics, self.skipped = self.path / "metrics.jsonl", self.path / "skipped.jsonl"
        self.config, self.samples = self.path / "config.toml", self.path / "samples"
        self.tensorboard = self.path / "tensorboard"

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
        """Make the folder ready: empty of an earlier run, or, to resume, without lines after the checkpoint's step."""
        with room_to_write(self.path):
            if resume_step is None:
                for name in OWN:
                    _remove(self.path / name)
            self.path.mkdir(parents=True, exist_ok=True)
            for left_over in self.path.glob(".tmp-*"):
                _remove(left_over)
            _write_file(self.config, to_toml(recipe))
            if resume_step is not None:
                for file in (self.metrics, self.skipped):
                    _cut_after(file, resume_step)

    def save(self, name: str, write: Callable[[Path], Any]) -> None:
        """Replace the checkpoint `name` (last or best) by the one that `write(folder)` writes, at one instant.

        `write` makes a whole, synced folder under a temporary name; the two folders then change names in one system
        call (renameat2, Linux). Where the file system cannot do that, `write` replaces the folder itself by two
        renames, and a process that dies between them leaves a previous one that `network.checkpoint` falls back to.
        """
        target = self.path / name
        temporary = self.path / f".tmp-{name}-{uuid.uuid4().hex}"
        with room_to_write(target):
            try:
                write(temporary)
                if not target.exists():
                    temporary.rename(target)
                elif not exchange(temporary, target):
                    write(target)
                fsync_path(self.path)
            finally:
                _remove(temporary)


def exchange(first: Path, second: Path) -> bool:
    """Let two existing paths change names atomically; False where the system or the file system cannot."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    return renameat2(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE) == 0


def _write_file(path: Path, text: str) -> None:
    with writing_file(path) as file:
        file.write(text.encode())


def _cut_after(path: Path, step: int) -> None:
    """Drop the lines of steps that a resumed run will do again, and a last line that was cut short."""
    if not path.is_file():
        return
    kept = [line for line in path.read_text().splitlines() if (found := _step_of(line)) is not None and found <= step]
    _write_file(path, "".join(f"{line}\n" for line in kept))


def _step_of(line: str) -> int | None:
    try:
        return int(json.loads(line)["step"])
    except (json.JSONDecodeError, KeyError):
        return None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
