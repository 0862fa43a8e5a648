"""The plan of a synthetic DexYCB tree: recordings by subject and object, each one a task for a process.

A task is small and picklable: it makes its own motion, look and photos from the seed and its position in the list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import InputError
from ..readers.dexycb_splits import SUBJECTS
from .choice import Choice, all_choices, choose_cameras, choose_sequences
from .motion.recorded import SIDE, centre_of_action, load_motion, table_of
from .motion.retarget import fit_betas, replay
from .motion.skeleton import skeleton_of
from .performance import Performance, hand_model, looked, make_performance, perform, subject_betas, with_other_hand
from .plan import STAGES, Plan, annotate
from .scene.room import MIDDLE, Camera, Look, make_look, make_rig
from .write_dexycb import MASTER, DexYCBPlace, write_intrinsics, write_recording, write_subject

if TYPE_CHECKING:
    from .settings import SynthesizeSettings


JSON_FILES = {"train": "DEX_YCB_s0_train_data.json", "test": "DEX_YCB_s0_test_data.json"}
"""HandOccNet's annotation files by split, as they are named in its README."""


def subject_rig(
    seed: int, subject: int, centre: tuple[float, float, float] = MIDDLE, far: float = 1.0
) -> tuple[Camera, ...]:
    """The eight cameras as calibrated for a subject's session: same lenses, slightly different places.

    centre, far: see `room.make_rig`.
    """
    lenses = make_rig(np.random.default_rng([seed, 41]))
    placed = make_rig(np.random.default_rng([seed, 42, subject]), centre=centre, far=far)
    return tuple(
        Camera(lens.intrinsics, place.camera_from_table, place.gain) for lens, place in zip(lenses, placed, strict=True)
    )


def plan_dexycb(settings: SynthesizeSettings, root: Path) -> Plan:
    """Write the calibration and return the recordings still to be made. InputError for an unusable motion file."""
    tasks = _plan_made_up(settings, root) if settings.motion is None else _plan_replayed(settings, root)
    return Plan(tasks, partial(annotate, "dexycb", root, JSON_FILES))


def _plan_made_up(settings: SynthesizeSettings, root: Path) -> list[Callable[[], int]]:
    cameras = choose_cameras(settings.cameras)
    tasks, known = [], set()
    write_intrinsics(root, subject_rig(settings.seed, 0))
    for order, choice in enumerate(choose_sequences(settings.sequences)):
        if choice.subject not in known:
            known.add(choice.subject)
            rig = subject_rig(settings.seed, choice.subject)
            write_subject(root, choice.subject, rig, subject_betas(settings.seed, choice.subject))
        place = DexYCBPlace(root, choice.subject, choice.name, cameras)
        stage = "entry" if settings.frames >= 60 else STAGES[order % len(STAGES)]
        if settings.handling == "gestures" or (settings.handling == "mixed" and order % 2):
            stage = "gestures"
        tasks.append(partial(record, place, choice, settings, stage))
    return tasks


def record(place: DexYCBPlace, choice: Choice, settings: SynthesizeSettings, stage: str) -> int:
    """Make and write one recording; returns its number of photos."""
    seed, frames = settings.seed, settings.frames
    rng = np.random.default_rng([seed, 51, choice.subject, choice.position])
    rig = subject_rig(seed, choice.subject)
    betas = subject_betas(seed, choice.subject)
    others = int(rng.integers(1, 4))
    performance = make_performance(choice.side, betas, choice.grasped, others, frames, rig, stage, rng)
    performance = _with_hands(performance, settings, choice, place, rig)
    look = _look(performance, settings, choice, place, rng)
    return write_recording(place, performance, rig, look, seed)


def _with_hands(
    performance: Performance,
    settings: SynthesizeSettings,
    choice: Choice,
    place: DexYCBPlace,
    rig: tuple[Camera, ...],
) -> Performance:
    """With the other hand where two are asked for: by a generator of its own, so that all the rest stays as it is."""
    if settings.hands == 1:
        return performance
    rng = np.random.default_rng([settings.seed, 53, choice.subject, choice.position])
    return with_other_hand(performance, tuple(rig[i] for i in place.cameras), rng)


def _look(
    performance: Performance,
    settings: SynthesizeSettings,
    choice: Choice,
    place: DexYCBPlace,
    rng: np.random.Generator,
) -> Look:
    stamp = (settings.seed, 54, choice.subject, choice.position)
    return looked(performance, make_look(choice.subject, rng), settings.looks, len(place.cameras), stamp)


def _plan_replayed(settings: SynthesizeSettings, root: Path) -> list[Callable[[], int]]:
    """Recorded sequences under their own names; the world is that of the file, the master camera's."""
    assert settings.motion is not None
    path = Path(settings.motion)
    motion = load_motion(path)
    known = [c for c in all_choices() if c.side == SIDE and _span_name(c) in motion.spans]
    if not known:
        raise InputError(
            f"{path}: sequences: none is a left-hand sequence of DexYCB's list, e.g. 20200709-subject-01/..."
        )
    tasks = []
    cameras = choose_cameras(settings.cameras)
    prepared: dict[int, tuple[tuple[Camera, ...], np.ndarray, np.ndarray]] = {}
    write_intrinsics(root, subject_rig(settings.seed, 0))
    for choice in choose_sequences(settings.sequences, known):
        if choice.subject not in prepared:
            world_from_table = table_of(motion, SUBJECTS[choice.subject])
            centre = centre_of_action(motion, SUBJECTS[choice.subject], world_from_table)
            centre = tuple(0.6 * centre)  # between the table, where objects wait, and where most of it happens
            rig = list(subject_rig(settings.seed, choice.subject, centre=centre, far=1.2))
            rig[MASTER] = replace(rig[MASTER], camera_from_table=world_from_table)
            betas = fit_betas(motion, SUBJECTS[choice.subject], hand_model(SIDE).arrays)
            prepared[choice.subject] = tuple(rig), betas, world_from_table
            write_subject(root, choice.subject, tuple(rig), betas)
        place = DexYCBPlace(root, choice.subject, choice.name, cameras)
        tasks.append(partial(record_replay, place, choice, settings, *prepared[choice.subject]))
    return tasks


def _span_name(choice: Choice) -> str:
    return f"{SUBJECTS[choice.subject]}/{choice.name}"


def record_replay(
    place: DexYCBPlace,
    choice: Choice,
    settings: SynthesizeSettings,
    rig: tuple[Camera, ...],
    betas: np.ndarray,
    world_from_table: np.ndarray,
) -> int:
    """Write one replayed recording; returns its number of photos."""
    assert settings.motion is not None
    rng = np.random.default_rng([settings.seed, 52, choice.subject, choice.position])
    motion = load_motion(Path(settings.motion))
    skeleton = skeleton_of(hand_model(SIDE).arrays, betas)
    others = int(rng.integers(1, 4))
    recording = replay(
        motion, _span_name(choice), skeleton, world_from_table, settings.frames, settings.motion_step, others, rng
    )
    performance = _with_hands(perform(recording), settings, choice, place, rig)
    look = _look(performance, settings, choice, place, rng)
    return write_recording(place, performance, rig, look, settings.seed)
