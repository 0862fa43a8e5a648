"""Downloaded indexes of remote stores: one folder per index below $XDG_CACHE_HOME/h2onet or ~/.cache/h2onet.

Any number of processes may use the cache at once: an entry appears whole, is marked whenever it is opened, and is
renamed away before it is deleted. What nobody has opened for 30 days goes when the next index is downloaded.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ... import durable, locks

KEEP_DAYS = 30
"""Longer than a training run, which may map a column of its index late."""


def cache_folder() -> Path:
    """Where downloaded indexes lie."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "h2onet" / "clips"


def cached_folder(name: str, fill: Callable[[Path], None]) -> Path:
    """The cache's folder called `name`; made by `fill` (which gets an empty folder) where it is not there yet."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / name
    if not _mark_used(folder):
        forget_unused(cache)
        with durable.building(folder) as temporary:
            fill(temporary)
            durable.publish(temporary, folder)
    return folder


def _mark_used(folder: Path) -> bool:
    """Mark an entry as used now; False when it is not there."""
    with locks.locked(folder.parent):
        try:
            os.utime(folder)
        except FileNotFoundError:
            return False
        except PermissionError:  # somebody else's entry in a shared cache: theirs to mark and to remove
            pass
    return True


def forget_unused(cache: Path) -> int:
    """Remove what nobody opened for `KEEP_DAYS`, and what interrupted downloads left; returns how many entries."""
    limit = time.time() - KEEP_DAYS * 86400
    retired = []
    with locks.locked(cache):
        for entry in list(os.scandir(cache)):
            with suppress(OSError):  # gone meanwhile, or somebody else's
                if entry.stat().st_mtime < limit:
                    away = cache / f"{durable.RETIRED}{uuid.uuid4().hex}"
                    os.rename(entry.path, away)
                    retired.append(away)
    for away in retired:
        shutil.rmtree(away, ignore_errors=True)
    return len(retired)
