"""Writing so that a killed process or a full disk leaves either the whole thing or nothing.

Everything is built in a temporary neighbour of its target (`.tmp-<name>-<uuid>`, same folder, hence same disk), forced
to disk (files, then folders), and only then renamed. A rename onto a folder that somebody else finished first fails
with ENOTEMPTY and is no error: tasks are idempotent and may run twice. It needs a file system with atomic rename.

A sweep may meet an attempt that is still at work: the worker of a run that was stopped, on another machine. So
leftovers are renamed away before they are deleted, and a folder is only published while it holds the mark it was made
with: what such an attempt writes afterwards lands in a new folder without one, and never passes for whole.

A target that is a symbolic link stays one: what it points to is what is built beside and replaced.
"""

from __future__ import annotations

import ctypes
import errno
import json
import logging
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .errors import InputError
from .locks import is_locked, locked

log = logging.getLogger(__name__)
TEMPORARY = ".tmp-"
RETIRED = ".old-"
_MARK = ".unpublished"
_LEFTOVER = re.compile(rf"(?:{re.escape(TEMPORARY)}|{re.escape(RETIRED)}).+-[0-9a-f]{{32}}")
_TRIES = 3
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of Linux
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class DiskFull(InputError):
    """No room left to write: what was finished stays, the run must stop."""


@contextmanager
def room_to_write(path: Path) -> Iterator[None]:
    """Turn "disk full" (also a quota or a file size limit) while writing `path` into one clear line."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull(
                f"{path}: {os.strerror(error.errno or errno.ENOSPC)}; free space on that disk and run the same command"
                " again: what was finished is kept"
            ) from error
        raise


def fsync_path(path: Path) -> None:
    """Force one file or folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_tree(folder: Path) -> None:
    """Force every file and folder below `folder`, and `folder` itself, to disk, contents before containers."""
    for current, _, files in os.walk(folder, topdown=False):
        for name in files:
            fsync_path(Path(current) / name)
        fsync_path(Path(current))


def follow(target: Path) -> Path:
    """What a path that is a symbolic link ends at, there or not; any other path as it is."""
    return Path(os.path.realpath(target)) if target.is_symlink() else target


def temporary_sibling(target: Path) -> Path:
    """A name beside `target` (where a link leads) that no other attempt uses, and that `sweep` recognises."""
    target = follow(target)
    return target.parent / f"{TEMPORARY}{target.name}-{uuid.uuid4().hex}"


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """A fresh temporary folder beside `target`; removed when the block fails. The block publishes it with `publish`."""
    temporary = temporary_sibling(target)
    with room_to_write(target):
        temporary.mkdir(parents=True)
        (temporary / _MARK).touch()
        try:
            with locked(temporary):  # says to `sweep` that its maker is alive
                yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _unmark(temporary: Path, target: Path) -> None:
    try:
        (temporary / _MARK).unlink()
    except FileNotFoundError:
        raise InputError(
            f"{target}: another run removed what was being written there; let one run at a time write a store, and run"
            " the same command again"
        ) from None


def publish(temporary: Path, target: Path, is_whole: Callable[[], bool] = lambda: True) -> bool:
    """Make a folder of `building` appear at `target` at once. False when another attempt had finished it first.

    `is_whole` looks at what lies at `target` already: where it is no finished work, it is replaced. InputError when
    another run has swept the folder away meanwhile.
    """
    _unmark(temporary, target)
    fsync_tree(temporary)
    place = follow(target)
    for left in reversed(range(_TRIES)):
        try:
            os.rename(temporary, place)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            if is_whole():
                return False
            if not left:
                raise
            remove(place)
        else:
            break
    fsync_path(place.parent)
    return True


def replace(temporary: Path, target: Path, aside: Path | None = None, *, sync: bool = True) -> None:
    """Like `publish`, for a target that may exist: the two change names in one system call (`exchange`).

    Where that cannot be done, the old one is first renamed to `aside` (None: a name that `sweep` removes); a crash
    between the two renames then leaves no target at all, never a mixture. Without `sync` nothing is forced to disk, for
    thousands of files that a command can make again.
    """
    _unmark(temporary, target)
    if sync:
        fsync_tree(temporary)
    target = follow(target)
    aside = aside or _retired_sibling(target)
    if not exchange(temporary, target):  # otherwise the old one is now at `temporary`, which `building` removes
        if target.exists():
            _delete(aside)
            os.rename(target, aside)
        os.rename(temporary, target)
    fsync_path(target.parent)
    _delete(aside)


def exchange(first: Path, second: Path) -> bool:
    """Let two existing paths change names atomically; False where the system or the file system cannot."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    return renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0


def _retired_sibling(target: Path) -> Path:
    return target.parent / f"{RETIRED}{target.name}-{uuid.uuid4().hex}"


def retire(target: Path) -> Path | None:
    """Rename a folder or file away, so that it is gone at once and can be deleted at leisure; None without one."""
    retired = _retired_sibling(target)
    try:
        os.rename(target, retired)
    except FileNotFoundError:
        return None
    return retired


def remove(target: Path) -> bool:
    """Delete a folder or file so that nobody ever sees half of it; False when it is not there."""
    retired = retire(target)
    if retired is not None:
        _delete(retired)
    return retired is not None


def _delete(retired: Path) -> None:
    if retired.is_dir() and not retired.is_symlink():
        shutil.rmtree(retired, ignore_errors=True)  # another sweep may be at it as well
    else:
        retired.unlink(missing_ok=True)


def sweep(folder: Path, *, spare_living: bool = False) -> int:
    """Remove what interrupted attempts left directly in `folder`; returns how many leftovers there were.

    With `spare_living` not what a process of this machine is still at.
    """
    if not folder.is_dir():
        return 0
    found = [entry for entry in folder.iterdir() if _LEFTOVER.fullmatch(entry.name)]
    if spare_living:
        found = [entry for entry in found if not is_locked(entry)]
    for entry in found:
        if entry.name.startswith(RETIRED):
            _delete(entry)
        else:
            remove(entry)
    return len(found)


def sweep_retired(target: Path) -> int:
    """Remove what an interrupted deletion of `target` left beside it, in a folder that may hold anything else."""
    return _sweep_beside(target, RETIRED)


def sweep_attempts(target: Path) -> int:
    """Remove unfinished attempts at `target` beside it; only for targets that one process at a time writes."""
    return _sweep_beside(target, TEMPORARY)


def _sweep_beside(target: Path, prefix: str) -> int:
    target = follow(target)
    if not os.access(target.parent, os.R_OK):
        return 0
    leftover = re.compile(rf"{re.escape(prefix + target.name)}-[0-9a-f]{{32}}")
    found = [entry for entry in target.parent.iterdir() if leftover.fullmatch(entry.name)]
    for entry in found:
        _delete(entry)
    return len(found)


@contextmanager
def writing_file(target: Path) -> Iterator[IO[bytes]]:
    """A binary file that appears at `target` only when the block ends well (overwrites atomically)."""
    target = follow(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_sibling(target)
    with room_to_write(target):
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
            fsync_path(target.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write a text file (UTF-8) that appears whole or not at all."""
    with writing_file(target) as file:
        file.write(text.encode())


def write_json(target: Path, content: Any, *, indent: int | None = 2) -> None:
    """Write JSON that appears whole or not at all; ValueError for NaN and infinities, which are no JSON."""
    write_text(target, json.dumps(content, indent=indent, allow_nan=False) + "\n")


def require_writable(folder: Path, option: str) -> None:
    """InputError, opening with `option`, where `folder` is no folder that can be written to, nor can become one."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise InputError(f"{option}: {there} is a file, expected a folder; give another name")
    if not os.access(there, os.W_OK):
        raise InputError(f"{option}: {there} cannot be written to; give another name")
