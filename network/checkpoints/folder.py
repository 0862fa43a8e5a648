"""Where a checkpoint folder lies, and how one replaces another without a moment at which neither is there.

A folder cannot be replaced in one step on every file system. So the old one is first renamed to `.NAME.previous`, then
the new one takes its place; `find_folder` falls back to the previous one, should a process have died between the two.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from ...errors import InputError

CONFIG = "config.json"


def _previous(target: Path) -> Path:
    return target.parent / f".{target.name}.previous"


def find_folder(path: Path) -> Path | None:
    """The checkpoint folder at `path`, or None where `path` is a file or nothing. Raises InputError for other
    folders.
    """
    if (path / CONFIG).is_file():
        return path
    if not path.exists() and (_previous(path) / CONFIG).is_file():
        return _previous(path)
    if path.name in (CONFIG, "model.safetensors") and (path.parent / CONFIG).is_file():
        return path.parent
    if path.is_dir():
        inside = sorted(child.name for child in path.iterdir() if (child / CONFIG).is_file())
        hint = f"pass {path / inside[0]}" if inside else "pass a folder that training wrote, e.g. runs/NAME/best"
        raise InputError(f"{path}: expected a checkpoint folder with {CONFIG}, found a folder without one; {hint}")
    return None


@contextlib.contextmanager
def replace_folder(target: Path) -> Iterator[Path]:
    """Yields an empty folder beside `target`; on leaving without an error it is synced to disk and becomes `target`.

    Raises InputError where `target` exists and is no checkpoint folder. After an error nothing of it remains.
    """
    if target.exists() and not (target / CONFIG).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(
            f"{target}: expected a checkpoint folder or nothing, found something else; choose another --out"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    for leftover in target.parent.glob(f".tmp-{target.name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)  # of a process that died; one process writes a run folder
    temporary = target.parent / f".tmp-{target.name}-{uuid.uuid4().hex}"
    temporary.mkdir()
    try:
        yield temporary
        for path in (*temporary.iterdir(), temporary):
            _sync(path)
        previous = _previous(target)
        if target.exists():
            shutil.rmtree(previous, ignore_errors=True)
            target.rename(previous)
        temporary.rename(target)
        _sync(target.parent)
        shutil.rmtree(previous, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
