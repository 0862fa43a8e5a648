"""How many threads torch computes with: never more than there are cores granted, and by timing what is best now.

torch's threads wait for each other by spinning. Beside other busy processes a spinning thread takes the core from the
one that it waits for, and two threads can be a hundred times as slow as one; on a quiet machine they are faster. So
the work itself is timed: with one thread first, then with more as long as that helps, and again when it slows down.

The number of threads decides the order of sums, hence the last bits of results. Where these count it is pinned: by
`threads` of a training recipe, or by OMP_NUM_THREADS for every command.
"""

import os
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from ..cores import CoreUse, granted_cores

PINNED_BY = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
TIMED = 2  # pieces of work with each number of threads, after one that warms up
HOPELESS = 2.0  # times as slow as the best: not tried twice
GAIN = 0.95  # of the best time: what more threads must reach, since they take cores from others
SLOWED = 3.0  # times as slow as when the number was chosen: looked at again
WATCHED = 5  # pieces of work whose median is compared with that
AGAIN_AFTER = (100, 60.0)  # pieces of work and seconds until more threads are tried once more
BUSY = 0.5  # granted cores that other processes use, from which the machine is called busy


def use_granted_cores(processes: int = 1) -> None:
    """Let torch use at most this process's share of the granted cores, which it counts without containers' quotas."""
    torch.set_num_threads(max(1, min(torch.get_num_threads(), granted_cores() // processes)))


def pinned() -> bool:
    """Whether the user has chosen the number of threads by an environment variable."""
    return any(os.environ.get(name) for name in PINNED_BY)


def piece_timer(device: torch.device, say: Callable[[str], None]) -> Callable[[], AbstractContextManager[None]]:
    """What to run pieces of like work in, so that torch's threads are tuned on a CPU; nothing where they are pinned.

    Also keeps torch within the granted cores, unless the user has pinned its threads.
    """
    if pinned():
        return nullcontext
    use_granted_cores()
    return ThreadTuner(say).timed if device.type == "cpu" else nullcontext


class ThreadTuner:
    """Finds torch's number of threads by timing pieces of work that take equally long, such as training steps.

    Every piece runs within `timed()`. What is chosen goes to `say` in one line, changes too; a busy machine once.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        *,
        cores: int | None = None,
        clock: Callable[[], float] = time.perf_counter,
        use: Callable[[int], None] = torch.set_num_threads,
        core_use: Callable[[], CoreUse] = CoreUse,
    ) -> None:
        """cores: the most threads, default the granted cores; clock, use and core_use are replaced by tests."""
        self._say, self._clock, self._use, self._core_use = say, clock, use, core_use
        self._cores = granted_cores() if cores is None else cores
        self._told_busy = False
        self.chosen: int | None = None
        """The number of threads last settled on; None until then."""
        self._begin()

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Run one piece of work; between two of them the number of threads may change."""
        begun = self._clock()
        yield
        seconds = self._clock() - begun
        if self._trying is None:
            self._watch(seconds)
        else:
            self._try(seconds)

    def _begin(self) -> None:
        self._times: dict[int, list[float]] = {}
        self._most = self._cores
        self._taken = 0.0
        self._began = self._core_use()
        self._trying: int | None = None
        if self._cores == 1:
            self._settle(1)
        else:
            self._try_with(1)

    def _try_with(self, threads: int) -> None:
        self._trying = threads
        self._times[threads] = []
        self._use(threads)

    def _try(self, seconds: float) -> None:
        threads = self._trying
        assert threads is not None
        times = self._times[threads]
        times.append(seconds)
        fewer = [min(other[1:]) for number, other in self._times.items() if number < threads]
        hopeless = bool(fewer) and seconds > HOPELESS * min(fewer)
        if len(times) <= TIMED and not hopeless:
            return
        if threads == 1:
            self._taken = self._began.taken()
            # Threads beyond the cores that are free would be waited for: not even tried, as a single try takes long.
            self._most = max(1, min(self._cores, round(self._cores - self._taken)))
        helped = not hopeless and (not fewer or min(times[1:]) < GAIN * min(fewer))
        if helped and threads < self._most:
            self._try_with(min(2 * threads, self._most))
        else:
            self._settle(threads if helped else max(number for number in self._times if number < threads))

    def _settle(self, threads: int) -> None:
        self._trying = None
        self._use(threads)
        self._expected = min(self._times[threads][1:]) if threads in self._times else None
        self._recent: deque[float] = deque(maxlen=WATCHED)
        self._count, self._since = 0, self._clock()
        if threads != self.chosen:
            tried = ", ".join(f"{number}: {min(t[1:] or t):.3g} s" for number, t in self._times.items())
            self._say(
                f"torch computes with {threads} of {self._cores} granted cores" + (f" ({tried})" if tried else "")
            )
        self.chosen = threads
        if self._taken >= BUSY and not self._told_busy:
            self._told_busy = True
            self._say(
                f"the machine is busy: other processes use {self._taken:.1f} of the {self._cores} granted cores (load"
                f" {os.getloadavg()[0]:.1f}), so this takes longer; stop some of them, or give it cores of its own"
            )

    def _watch(self, seconds: float) -> None:
        self._count += 1
        self._recent.append(seconds)
        if self._cores == 1 or self._expected is None:
            return
        slowed = len(self._recent) == WATCHED and statistics.median(self._recent) > SLOWED * self._expected
        pieces, wait = AGAIN_AFTER
        rested = self.chosen != self._cores and self._count >= pieces and self._clock() - self._since >= wait
        if slowed or rested:
            self._begin()
