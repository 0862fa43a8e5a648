"""Where a checkpoint folder lies, and how one replaces another without a moment at which neither is there.

Where the file system cannot exchange two folders in one step (`durable.exchange`), the old one is first renamed to
`.NAME.previous`; `find_folder` falls back to it, should a process have died before the new one took its place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...durable import building, follow, replace, sweep_attempts
from ...errors import InputError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
SYNTHETIC = Path(__file__).parent / "synthetic"
"""The checkpoint that comes with the package, packed (`checkpoints.synthetic`); its name alone asks for it, too."""


def _previous(target: Path) -> Path:
    target = follow(target)
    return target.parent / f".{target.name}.previous"


def find_folder(path: Path) -> Path | None:
    """The checkpoint folder at `path`, or None where `path` is a file or nothing.

    `synthetic`, where nothing else has that name, is the folder in the package. Raises InputError for other folders.
    """
    if (path / CONFIG).is_file():
        return path
    if path == Path(SYNTHETIC.name) and not path.exists():
        return SYNTHETIC
    if not path.exists() and (_previous(path) / CONFIG).is_file():
        return _previous(path)
    if path.name in (CONFIG, WEIGHTS) and (path.parent / CONFIG).is_file():
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


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
