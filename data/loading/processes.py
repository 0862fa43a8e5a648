"""How many processes decode clips beside a computing device: as many as feed it, cores and shared memory permitting."""

import logging
import os

from ...cores import granted_cores

log = logging.getLogger(__name__)

SHARED_MEMORY = "/dev/shm"
FRAME_BYTES = 220_000  # of a sample: the crop as (3, 128, 128) float32, and its annotations
MOST = 8


def loader_processes(frames: int, wanted: int = -1, *, on_gpu: bool, processes: int = 1) -> int:
    """Loader processes for batches of so many `frames`: `wanted`, or for -1 what can feed a GPU, none beside a CPU.

    `processes`: how many share this machine's cores and shared memory (torchrun). Results do not depend on the number.
    """
    if wanted < 0:
        # On a CPU a step takes far longer than decoding its crops, and every process would take a core from it.
        wanted = max(1, min(MOST, granted_cores() // processes - 1)) if on_gpu else 0
    return fit_shared_memory(wanted, frames * FRAME_BYTES, processes)


def fit_shared_memory(workers: int, batch_bytes: int, processes: int = 1) -> int:
    """As many of the loader's `workers` as shared memory has room for, with a warning where that is fewer.

    Batches wait there: two prefetched and one in the making for each worker. Without the room, workers would be killed
    or wait for ever.
    """
    if workers == 0 or not os.path.isdir(SHARED_MEMORY):
        return workers
    found = os.statvfs(SHARED_MEMORY)
    room = found.f_bavail * found.f_frsize // processes
    fit = min(workers, int(0.9 * room // (3 * batch_bytes)))
    if fit < workers:
        log.warning(
            "%s has room for %d MB, %d loader processes need %d MB: %d are started; give the container more "
            "(docker run --shm-size=1g)",
            SHARED_MEMORY, room // 2**20, workers, 3 * workers * batch_bytes // 2**20, fit,
        )  # fmt: skip
    return fit
