"""numba's `njit` for functions that are compiled, or loaded from numba's cache, when they are first called.

Loading numba takes a quarter of a second, and each function a hundredth: a process that calls none needs neither.

numba keeps compiled code beside the modules, or below the user's home. In containers both are often read-only; then
every function with `cache=True` fails when it is made. This module is imported instead of numba's decorator, looks for
a folder before numba does, and compiles without a cache where there is none.
"""

import logging
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from functools import cache, update_wrapper
from pathlib import Path
from threading import RLock
from typing import Any

log = logging.getLogger(__name__)
_PACKAGE = Path(__file__).resolve().parent

_lock = RLock()
# A process that is forked while a thread loads or compiles would wait for that thread, which it does not have.
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def njit(signature: str | None = None, **options: Any) -> Callable[[Callable[..., Any]], "Compiled"]:
    """`numba.njit` whose compiled code is kept between processes, if a folder for it can be found.

    signature: numba's, in words ("void(float64[:, ::1], int64)"), and no other types of arguments are taken; None to
    compile for whatever types come, or into what calls it.
    """
    return lambda function: Compiled(function, signature, options)


def readonly(kind: str, dimensions: int) -> str:
    """In a signature: a C-contiguous array that the function only reads, of memory-mapped files for instance."""
    return f"Array({kind}, {dimensions}, 'C', readonly=True)"


class Compiled:
    """A function for numba. Its name in its module stands for what numba makes of it from the first call on."""

    __name__: str

    def __init__(self, function: Callable[..., Any], signature: str | None, options: dict[str, Any]) -> None:
        update_wrapper(self, function)
        self._function, self._signature, self._options = function, signature, options
        self._made: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return (self._made or self.made())(*arguments, **named)

    def made(self) -> Callable[..., Any]:
        """numba's function; those that it calls are made first, for numba knows nothing of this class."""
        with _lock:
            if self._made is None:
                import numba  # within the lock: a process forked meanwhile could not end the import

                names = self._function.__globals__
                for name in self._function.__code__.co_names:
                    if isinstance(names.get(name), Compiled):
                        names[name] = names[name].made()
                decorator: Any = numba.njit
                self._made = decorator(self._signature, cache=_cached(), **self._options)(self._function)
                if names.get(self.__name__) is self:
                    names[self.__name__] = self._made
        assert self._made is not None
        return self._made


@cache
def _cached() -> bool:
    """Whether compiled code can be kept; tells numba where, unless its own choice will do."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given is None and _writable(_PACKAGE):
        return True  # numba's own choice: __pycache__ beside each module
    for folder in _candidates(given):
        if _private(folder):
            from numba.core import config

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
