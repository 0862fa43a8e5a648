"""Synthetic datasets in the exact on-disk layout of DexYCB and HO3D: `h2o synthesize`.

Settings in, a dataset root out. Everything random comes from the seed, and the bytes written do not depend on the
number of worker processes.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

import cv2
from tqdm import tqdm

from .. import durable, interrupts
from ..cores import THREAD_VARIABLES, check_can_start_workers, environment_kept, granted_cores, one_opencv_thread
from ..errors import InputError
from ..hand.standin.arrays import write_mano_pickles
from .synthetic.dexycb import plan_dexycb
from .synthetic.ho3d import plan_ho3d
from .synthetic.scene.objects import write_models
from .synthetic.settings import SynthesizeSettings

LAYOUTS = ("dexycb", "ho3d-v2", "ho3d-v3")
HANDLINGS = ("lift", "gestures", "mixed")
LOOKS = ("plain", "wide")
MARKER = "synthetic.json"
"""File in every synthetic root that says how it was made; only roots with it may be overwritten."""
_MOST_CAMERAS = {"dexycb": 8, "ho3d-v2": 5, "ho3d-v3": 5}


@dataclass(frozen=True)
class SynthesisSummary:
    """What was written: recordings, photos, and the time it took in s."""

    out: Path
    layout: str
    sequences: int
    photos: int
    seconds: float

    def __str__(self) -> str:
        rate = self.photos / max(self.seconds, 1e-9)
        return (
            f"{self.out}: {self.layout}, {self.sequences} recordings, {self.photos} photos "
            f"in {self.seconds:.1f} s ({rate:.1f} per second); the hand is in {self.out / 'mano'}"
        )


def synthesize(settings: SynthesizeSettings) -> SynthesisSummary:
    """Write a synthetic dataset. InputError for settings that make no dataset, or an `out` that may not be replaced.

    Nothing is left behind when it fails (see `durable`).
    """
    started = time.perf_counter()
    _check(settings)
    out = Path(settings.out)
    with durable.building(out) as temporary:
        plan = (plan_dexycb if settings.layout == "dexycb" else plan_ho3d)(settings, temporary)
        write_models(temporary / "models")
        write_mano_pickles(temporary / "mano")
        photos = _run(plan.tasks, settings)
        plan.finish()
        _write_marker(temporary, settings)
        durable.replace(temporary, out, sync=False)  # the seed makes the same files again
    return SynthesisSummary(out, settings.layout, len(plan.tasks), photos, time.perf_counter() - started)


def _check(settings: SynthesizeSettings) -> None:
    if settings.layout not in LAYOUTS:
        raise InputError(f"layout: expected one of {', '.join(LAYOUTS)}, found {settings.layout!r}")
    if settings.handling not in HANDLINGS:
        raise InputError(f"handling: expected one of {', '.join(HANDLINGS)}, found {settings.handling!r}")
    if settings.looks not in LOOKS:
        raise InputError(f"looks: expected one of {', '.join(LOOKS)}, found {settings.looks!r}")
    most = _MOST_CAMERAS[settings.layout]
    if not 1 <= settings.cameras <= most:
        raise InputError(f"cameras: expected 1 to {most} for {settings.layout}, found {settings.cameras}")
    for name in ("sequences", "frames", "motion_step"):
        if getattr(settings, name) < 1:
            raise InputError(f"{name}: expected at least 1, found {getattr(settings, name)}")
    if settings.seed < 0:
        raise InputError(f"seed: expected 0 or more, found {settings.seed}")
    if settings.workers is not None and settings.workers < 1:
        raise InputError(f"workers: expected at least 1, found {settings.workers}")
    if settings.motion is not None and settings.layout != "dexycb":
        raise InputError("motion: recorded trajectories are left hands, HO3D has right hands only; use --layout dexycb")
    if settings.handling != "lift" and (settings.layout != "dexycb" or settings.motion is not None):
        raise InputError(
            f"handling: {settings.handling} is for --layout dexycb only (HO3D has one object per sequence), without "
            "--motion"
        )
    if settings.hands not in (1, 2):
        raise InputError(f"hands: expected 1 or 2, found {settings.hands}")
    if settings.hands == 2 and settings.layout != "dexycb":
        raise InputError("hands: 2 is for --layout dexycb only (HO3D has one right hand per sequence); leave it out")
    if min(settings.workers or granted_cores(), settings.sequences) > 1:
        check_can_start_workers()
    out = Path(settings.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not settings.overwrite:
            raise InputError(f"{out}: exists and is not empty; choose another folder or add --overwrite")
        if not (out / MARKER).is_file():
            raise InputError(f"{out}: has no {MARKER}, so it is no synthetic dataset and is not overwritten")


def _run(tasks: list[Callable[[], int]], settings: SynthesizeSettings) -> int:
    """Run all tasks, here or in processes; returns the number of photos."""
    workers = settings.workers or granted_cores()
    workers = min(workers, len(tasks))
    photos = 0
    with tqdm(total=len(tasks), unit="recording", desc=f"synthesize {settings.layout}", delay=1.0) as bar:
        for count in _results(tasks, workers):
            photos += count
            bar.update()
            bar.set_postfix(photos=photos)
    return photos


def _results(tasks: list[Callable[[], int]], workers: int) -> Iterator[int]:
    if workers == 1:
        with one_opencv_thread():  # as in the workers: sums must run in the same order for the same bytes
            for task in tasks:
                yield task()
        return
    # Spawned, not forked: the parent may hold threads (OpenCV, NumPy) that do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:
        # BLAS would wait by spinning, for threads that share the cores with the other workers.
        with environment_kept(), interrupts.held():
            os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
            futures = [pool.submit(task) for task in tasks]  # starts the workers
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            raise InputError(
                f"workers: one of {workers} ended before its work was done; it said why above, or was killed, for want"
                " of memory perhaps: use fewer"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """One thread, and an end when the parent ends: workers of a killed one would wait for their next task for ever.

    And at Ctrl-C, which the parent gets too: what a recording in the making had written goes with the whole folder.
    """
    interrupts.exit_on_interrupt()
    cv2.setNumThreads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent.sentinel,), daemon=True).start()


def _exit_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _write_marker(root: Path, settings: SynthesizeSettings) -> None:
    made = {
        "made_by": "h2o synthesize",
        "layout": settings.layout,
        "sequences": settings.sequences,
        "frames": settings.frames,
        "cameras": settings.cameras,
        "seed": settings.seed,
        "handling": settings.handling,
        "motion": settings.motion.name if settings.motion else None,
        "motion_step": settings.motion_step,
    }
    if settings.hands != 1:  # trees of the defaults stay as they were, to the byte
        made["hands"] = settings.hands
    if settings.looks != "plain":
        made["looks"] = settings.looks
    (root / MARKER).write_text(json.dumps(made, indent=1) + "\n")
