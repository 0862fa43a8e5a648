"""One setting of the C library's memory allocator that makes training and prediction on a CPU faster.

glibc gives large freed blocks back to the system at once and fetches them again, page by page, at the next layer: with
large batches a network spends about a fifth of its time on page faults (docs/network.md, "Speed").
"""

from __future__ import annotations

import ctypes
import logging
import platform

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_BLOCK = 2**30
_KEEP = 2**31 - 1

_log = logging.getLogger(__name__)


def keep_freed_memory() -> bool:
    """Makes this process keep freed memory for its next allocation; True where that is possible (Linux with glibc).

    Opt-in, for processes that run a network on the CPU (`h2o train`, `evaluate` and `predict` do so): the process then
    stays at its peak size. Numbers do not change.
    The same from outside: MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=2147483647.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    kept = bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)) and bool(mallopt(_M_TRIM_THRESHOLD, _KEEP))
    _log.debug("freed memory is %s for the next allocation", "kept" if kept else "not kept")
    return kept
