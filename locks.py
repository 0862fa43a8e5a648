"""Locks between processes of one machine: whoever holds one and dies gives it back, because the system does."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from .errors import InputError

log = logging.getLogger(__name__)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder that several runs share, waiting for whoever has it; nothing is written into it.

    Where the file system knows no such locks (some network ones) the block runs without.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_locked(folder: Path) -> bool:
    """Whether somebody holds a folder with `locked`, as far as its file system tells."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


class Lock:
    """One writer per store or run folder on this machine: an advisory lock that the system drops when its process dies.

    Its file is there only while somebody holds it (or was killed): other readers of the store need not know it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def acquire(self) -> None:
        """Take the lock or raise `InputError` when another run holds it."""
        while self._file is None:
            file = self._path.open("ab")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                raise InputError(
                    f"{self._path.parent}: another run is writing here; wait for it, or give another --out"
                ) from None
            except OSError as error:
                # Some network file systems have no locks: two runs at once then only waste work, commits stay atomic.
                log.warning("%s: cannot be locked (%s); do not start a second run on it", self._path, error)
            if self._is_at_path(file):
                self._file = file
            else:  # its holder removed it between opening and locking: a lock that nobody else sees
                file.close()

    def release(self) -> None:
        """Give the lock back and remove its file; harmless when it was not held."""
        if self._file is not None:
            with suppress(OSError):  # a store that can no longer be written to, or is gone
                if self._is_at_path(self._file):  # while it is held: afterwards it may be somebody else's
                    self._path.unlink()
            self._file.close()
            self._file = None

    def _is_at_path(self, file: IO[bytes]) -> bool:
        try:
            return os.path.samestat(os.fstat(file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False
