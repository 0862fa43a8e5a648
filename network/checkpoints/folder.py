"""Where a checkpoint folder lies, and how one replaces another without a moment at which neither is there.

Where the file system cannot exchange two folders in one step (`durable.exchange`), the old one is first renamed to
`.NAME.previous`; `find_folder` falls back to it, should a process have died before the new one took its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...durable import building, follow, replace, sweep_attempts
from ...errors import InputError

CONFIG = "config.json"


def _previous(target: Path) -> Path:
    target = follow(target)
    return target.parent / f".{target.name}.previous"


def find_folder(path: Path) -> Path | None:
    """The checkpoint folder at `path`, or None where `path` is a file or nothing.

    Raises InputError for other folders.
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


@contextmanager
def replace_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` for the block to fill; when the block ends well it becomes `target`.

    Raises InputError where `target` exists and is no checkpoint folder. After an error nothing of it remains.
    """
    if target.exists() and not (target / CONFIG).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(
            f"{target}: expected a checkpoint folder or nothing, found something else; choose another --out"
        )
    sweep_attempts(target)  # of a process that died; one process writes a run folder
    with building(target) as temporary:
        yield temporary
        replace(temporary, target, aside=_previous(target))
