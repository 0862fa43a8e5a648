"""The plan of a synthetic DexYCB tree: which recordings, by whom, of what; each one a task for a process.

A task is small and picklable: it makes its own motion, look and photos from the seed and its place in the list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .performance import staged_performance, subject_betas
from .scenes import Camera, make_look, make_rig
from .sequence_choice import Choice, choose_cameras, choose_sequences
from .write_dexycb import Place, write_intrinsics, write_recording, write_subject

if TYPE_CHECKING:
    from .synthesize import SynthesizeSettings

_STAGES = ("entry", "reach", "hold")


@dataclass(frozen=True)
class Plan:
    """tasks: one call per recording, each returns its number of photos; finish: what can only be written after them."""

    tasks: list[Callable[[], int]]
    finish: Callable[[], None]


def subject_rig(seed: int, subject: int) -> tuple[Camera, ...]:
    """The eight cameras as they were calibrated for a subject's session: same lenses, slightly other places."""
    lenses = make_rig(np.random.default_rng([seed, 41]))
    placed = make_rig(np.random.default_rng([seed, 42, subject]))
    return tuple(
        Camera(lens.intrinsics, place.camera_from_table, place.gain) for lens, place in zip(lenses, placed, strict=True)
    )


def plan_dexycb(settings: SynthesizeSettings, root: Path) -> Plan:
    """Write the calibration and return the recordings still to be made."""
    choices = choose_sequences(settings.sequences)
    rigs = {subject: subject_rig(settings.seed, subject) for subject in sorted({c.subject for c in choices})}
    write_intrinsics(root, next(iter(rigs.values())))
    for subject, rig in rigs.items():
        write_subject(root, subject, rig, subject_betas(settings.seed, subject))
    cameras = choose_cameras(settings.cameras)
    tasks = []
    for order, choice in enumerate(choices):
        place = Place(root, choice.subject, choice.name, cameras)
        stage = "entry" if settings.frames >= 60 else _STAGES[order % len(_STAGES)]
        tasks.append(partial(record, place, choice, settings.frames, stage, settings.seed))
    return Plan(tasks, _nothing)


def _nothing() -> None:
    """Nothing to do after the recordings."""


def record(place: Place, choice: Choice, frames: int, stage: str, seed: int) -> int:
    """Make and write one recording; returns its number of photos."""
    rng = np.random.default_rng([seed, 51, choice.subject, choice.position])
    rig = subject_rig(seed, choice.subject)
    betas = subject_betas(seed, choice.subject)
    others = int(rng.integers(1, 4))
    performance = staged_performance(choice.side, betas, choice.grasped, others, frames, rig, stage, rng)
    return write_recording(place, performance, rig, make_look(choice.subject, rng), seed)
