"""Batches of clips: order, sharing among processes of a training job, and resuming in the middle of an epoch.

The order of an epoch follows from (seed, epoch) alone, and every index carries its epoch to the worker, so that a
batch has the same bytes with any number of workers, under fork or spawn, and after a resume.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from ...errors import InputError
from .dataset import ClipDataset, Item

LOST_BATCH_S = 60.0
"""After this long a batch that its workers owe is lost; decoding one takes well below a second."""
Batch = dict[str, torch.Tensor]
Sample = tuple[int, int, int]


def epoch_order(dataset: ClipDataset, seed: int, epoch: int, shuffle: bool) -> np.ndarray:
    """The (index, draw) pairs of one epoch, (N, 2) int64, before sharing among ranks.

    Without weights every sample once. With weights an epoch is as long, and store s fills its share w_s / sum(w) of it:
    its samples in turn, each again with another draw (other augmentation) only after all were drawn once. Where the
    dataset's `sampling` is hidden, a store's share goes to its samples by `_repeats` instead.
    """
    counts = dataset.counts
    rng = np.random.Generator(np.random.Philox(key=[seed, epoch], counter=[1, 0, 0, 0]))
    wanted = counts if dataset.weights is None else _shares(sum(counts), dataset.weights)
    often = dataset.drawn()
    parts, first = [], 0
    for store, (count, number) in enumerate(zip(counts, wanted, strict=True)):
        if often:
            chosen = _repeats(often[store], number, rng)
        else:
            rounds = -(-number // count)
            order = [rng.permutation(count) if shuffle else np.arange(count) for _ in range(rounds)]
            index = np.concatenate(order)[:number] if order else np.empty(0, np.int64)
            chosen = np.stack([index, np.arange(number) // count], axis=1)
        parts.append(chosen + np.array([first, 0]))
        first += count
    pairs = np.concatenate(parts)
    return rng.permutation(pairs) if shuffle else pairs


def _repeats(often: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """`number` (index, draw) pairs, (number, 2), sample i about number * often[i] / sum(often) times.

    Systematic sampling: as often as that rounded down or up, and over many epochs exactly so on average.
    """
    edges = np.floor(np.cumsum(often) / often.sum() * number + rng.random()).astype(np.int64)
    edges[-1] = number  # the sum of rounded shares may miss it
    times = np.diff(edges, prepend=0)
    index = np.repeat(np.arange(len(often)), times)
    return np.stack([index, np.arange(number) - np.repeat(edges - times, times)], axis=1)


def _shares(total: int, weights: tuple[float, ...]) -> list[int]:
    edges = np.rint(np.cumsum([0.0, *weights]) / sum(weights) * total).astype(int)
    return np.diff(edges).tolist()


def collate(items: list[Item]) -> Batch:
    """Items of one batch stacked into tensors; nothing shares memory with the items."""
    return {name: torch.from_numpy(np.stack([item[name] for item in items])) for name in items[0]}


def raise_lost_batch(error: RuntimeError) -> None:
    """InputError where torch says that a loader process died or owes a batch; torch has no type of its own for it.

    It may be raised anywhere in the main thread: torch looks after its processes in a signal handler.
    """
    text = " ".join(str(error).split())
    if text.startswith("DataLoader "):
        raise InputError(f"loader: {text}; is memory (or /dev/shm) full? Use fewer num_workers") from error


def start_worker(_: int) -> None:
    """Settings of a worker process: one thread, since workers run in parallel; only its parent ends it."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    _let_only_parent_end()


def _let_only_parent_end() -> None:
    """Ignore SIGINT and Slurm's warnings, and SIGTERM unless the parent sent it.

    Ctrl-C, torchrun and batch systems signal all processes at once, but the parent still needs its workers for the
    current step. A worker whose parent is gone ends by itself.
    """
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None or not hasattr(signal, "sigwaitinfo"):  # macOS names no sender: torch's handling stays
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_exit_on_sigterm_of, args=(parent.pid,), daemon=True).start()


def _exit_on_sigterm_of(parent: int | None) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)


@dataclass
class _Batches:
    """The batch sampler: lists of (epoch, index, draw) of this process, from its current batch on.

    It knows nothing of the loader, so that a loader that is dropped is freed at once and its processes end. Freed by
    the garbage collector as a circle, torch's iterator would wait 5 s for each process (torch 2.13: the queues' threads
    end first, and what tells the processes to end is never sent).
    """

    dataset: ClipDataset
    batch_size: int
    shuffle: bool
    seed: int
    drop_last: bool
    rank: int
    world: int
    epoch: int = 0
    batch: int = 0

    def __iter__(self) -> Iterator[list[Sample]]:
        yield from self.samples(self.epoch, self.batch)

    def __len__(self) -> int:
        share = len(range(self.rank, len(self.dataset), self.world))
        if self.drop_last:
            return len(self.dataset) // (self.batch_size * self.world)
        return -(-share // self.batch_size)

    def samples(self, epoch: int, first: int) -> Iterator[list[Sample]]:
        mine = epoch_order(self.dataset, self.seed, epoch, self.shuffle)[self.rank :: self.world]
        for batch in range(first, len(self)):
            chosen = mine[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield [(epoch, index, draw) for index, draw in chosen.tolist()]


class ClipLoader:
    """A loader of `batch_size` samples per process that can be resumed; iterating gives the batches of one epoch.

    `rank` of `world` processes gets every world-th sample of the same order; with `drop_last` all get equally many
    batches, without it some get one sample more and none is given twice (evaluation). `start_method` is fork, spawn,
    forkserver, or the platform's; when the parent already uses a GPU, choose spawn or forkserver.

    The next iteration is the next epoch. `state_dict()` taken while a batch is being worked on counts this batch as
    done; after `load_state_dict` the next iteration goes on with the batch after it. An interrupted iteration starts
    its epoch again.
    """

    def __init__(
        self,
        dataset: ClipDataset,
        batch_size: int,
        *,
        shuffle: bool = False,
        num_workers: int = 0,
        seed: int = 0,
        drop_last: bool = False,
        rank: int = 0,
        world: int = 1,
        start_method: str | None = None,
        pin_memory: bool = False,
    ) -> None:
        for name, value, least in (("batch_size", batch_size, 1), ("num_workers", num_workers, 0), ("seed", seed, 0)):
            if value < least:
                raise InputError(f"loader: {name} is {value}; expected {least} or more")
        if not 0 <= rank < world:
            raise InputError(f"loader: rank is {rank}, world is {world}; expected 0 <= rank < world")
        self._batches = _Batches(dataset, batch_size, shuffle, seed, drop_last, rank, world)
        self._resumed = False
        if len(self) == 0:
            raise InputError(
                f"loader: {len(dataset)} samples give no batch of {batch_size} for each of {world} processes; use a"
                " smaller batch_size or drop_last=False"
            )
        self._loader = DataLoader(
            dataset,
            batch_sampler=self._batches,  # pyright: ignore[reportArgumentType]
            num_workers=num_workers,
            collate_fn=collate,
            worker_init_fn=start_worker,
            multiprocessing_context=start_method if num_workers else None,
            persistent_workers=num_workers > 0,
            pin_memory=pin_memory,
            timeout=LOST_BATCH_S if num_workers else 0,
        )

    def __len__(self) -> int:
        """Batches per epoch of this process."""
        return len(self._batches)

    @property
    def dataset(self) -> ClipDataset:
        """What the samples are taken from."""
        return self._batches.dataset

    @property
    def batch_size(self) -> int:
        """Samples of a batch of this process; the last one of an epoch may have fewer."""
        return self._batches.batch_size

    @property
    def epoch(self) -> int:
        """The epoch that is iterated over, or the next one."""
        return self._batches.epoch

    @property
    def batch(self) -> int:
        """How many batches of the epoch have been given."""
        return self._batches.batch

    def samples(self, epoch: int, first: int = 0) -> Iterator[list[Sample]]:
        """The batches of an epoch as lists of (epoch, index, draw), from batch `first` on."""
        return self._batches.samples(epoch, first)

    def set_epoch(self, epoch: int) -> None:
        """Start the given epoch from its beginning with the next iteration."""
        self._stand(epoch, 0, resumed=False)

    def _stand(self, epoch: int, batch: int, *, resumed: bool) -> None:
        self._batches.epoch, self._batches.batch, self._resumed = epoch, batch, resumed

    def __iter__(self) -> Iterator[Batch]:
        if not self._resumed:
            self._batches.batch = 0
        self._resumed = False
        batches = iter(self._loader)
        while True:
            try:
                batch = next(batches, None)
            except RuntimeError as error:
                raise_lost_batch(error)
                raise
            if batch is None:
                break
            self._batches.batch += 1
            yield batch
        self._stand(self.epoch + 1, 0, resumed=False)

    def close(self) -> None:
        """End the loader's processes: until then torch reports one that died whenever any other process ends."""
        iterator = self._loader._iterator
        if iterator is not None:
            with suppress(RuntimeError):  # that report, once more
                iterator._shutdown_workers()  # pyright: ignore[reportAttributeAccessIssue]
            self._loader._iterator = None

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands, and what must be equal to go on from there; plain JSON."""
        return {"epoch": self.epoch, "batch": self.batch, "settings": self._settings()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`; InputError naming the first setting that differs."""
        mine = self._settings()
        for name in sorted({*mine, *state["settings"]}):
            if state["settings"].get(name) != mine.get(name):
                raise InputError(
                    f"loader state: made with {name}={state['settings'].get(name)}, now {name}={mine.get(name)}; resume"
                    " with the same data and settings, or start anew"
                )
        self._stand(int(state["epoch"]), int(state["batch"]), resumed=True)

    def _settings(self) -> dict[str, Any]:
        batches, dataset = self._batches, self._batches.dataset
        return {
            "samples": list(dataset.counts),
            "weights": None if dataset.weights is None else list(dataset.weights),
            "dataset_seed": dataset.seed,
            "seed": batches.seed,
            "batch_size": batches.batch_size,
            "shuffle": batches.shuffle,
            "drop_last": batches.drop_last,
            "world": batches.world,
            # Left out as it was before there was a choice, so that runs from then go on.
            **({} if dataset.sampling == "uniform" else {"sampling": dataset.sampling}),
        }


loader = ClipLoader
"""The name under which docs and callers make one: `loader(clips, 32, shuffle=True)`."""
