"""numba's `njit` with a cache folder that can be written, wherever the package is installed and whoever runs it.

numba keeps compiled code beside the modules, or below the user's home. In containers both are often read-only; then
every function with `cache=True` fails when it is defined. This module is imported instead of numba's decorator, looks
for a folder before numba does, and compiles without a cache where there is none.
"""

import logging
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core import config

log = logging.getLogger(__name__)
_PACKAGE = Path(__file__).resolve().parent


def njit(*signatures: Any, **options: Any) -> Callable[..., Any]:
    """`numba.njit` whose compiled code is kept between processes, if a folder for it can be found."""
    return numba.njit(*signatures, cache=_cached(), **options)


@cache
def _cached() -> bool:
    """Whether compiled code can be kept; tells numba where, unless its own choice will do."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given is None and _writable(_PACKAGE):
        return True  # numba's own choice: __pycache__ beside each module
    for folder in _candidates(given):
        if _private(folder):
            config.CACHE_DIR = str(folder)  # pyright: ignore[reportAttributeAccessIssue]
            return True
    log.warning(
        "no folder for compiled code can be written (NUMBA_CACHE_DIR, the package, the user's cache, the temporary "
        "folder): every process compiles anew, which takes about a minute; set NUMBA_CACHE_DIR to a writable folder"
    )
    return False


def _candidates(given: str | None) -> Iterator[Path]:
    if given:
        yield Path(given)
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    yield Path(home) / "h2onet" / "numba"
    yield Path(tempfile.gettempdir()) / f"h2onet-numba-{os.getuid()}"


def _private(folder: Path) -> bool:
    """Whether the folder is there or can be made, and only this user can write it: what lies in it is run as code."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError:
        return False
    mine = found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return mine and not folder.is_symlink() and _writable(folder)


def _writable(folder: Path) -> bool:
    """Whether a file can be made there; `os.access` knows nothing of read-only mounts of some file systems."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
