"""The plan of a synthetic HO3D tree: recordings under the dataset's own names, seen by up to five cameras.

Names are person, object and recording number (ABF1), a camera digit makes them a sequence (ABF10). Right hands only.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import InputError
from .performance import looked, make_performance, subject_betas
from .plan import STAGES, Plan, annotate
from .scene.room import make_look, make_rig
from .write_ho3d import HO3DPlace, write_lists, write_recording

if TYPE_CHECKING:
    from .settings import SynthesizeSettings

_TRAIN = (  # name, person, object, as in the real lists
    ("ABF", 0, "021_bleach_cleanser"),
    ("GPMF", 1, "010_potted_meat_can"),
    ("MC", 2, "003_cracker_box"),
    ("SMu", 3, "025_mug"),
    ("SiBF", 4, "011_banana"),
    ("MDF", 2, "035_power_drill"),
    ("SS", 3, "004_sugar_box"),
    ("GSF", 1, "037_scissors"),
    ("BB", 5, "011_banana"),
    ("ShSu", 6, "004_sugar_box"),
    ("SM", 3, "006_mustard_bottle"),
)
_EVALUATION = (
    ("AP", 0, "019_pitcher_base"),
    ("MPM", 7, "010_potted_meat_can"),
    ("SB", 3, "021_bleach_cleanser"),
)
JSON_FILES = {"train": "HO3D_train_data.json", "test": "HO3D_evaluation_data.json"}
"""HandOccNet's annotation files by split, as they are named in its README."""
_PER_NAME = 9  # recordings 1 to 9 of a name


def plan_ho3d(settings: SynthesizeSettings, root: Path) -> Plan:
    """Return the recordings to be made; about one in four is for evaluation. InputError for too few or too many."""
    if settings.sequences < 2:
        raise InputError("sequences: HO3D needs at least 2 recordings, one to train on and one to evaluate; found 1")
    held_out = max(1, round(settings.sequences / 4))
    train = _name_recordings(_TRAIN, settings.sequences - held_out)
    evaluation = _name_recordings(_EVALUATION, held_out)
    digits = tuple(range(settings.cameras))
    version = settings.layout.removeprefix("ho3d-")
    dropped = settings.frames // 2 if settings.frames > 2 else None
    tasks, lists = [], {"train": [], "evaluation": []}
    for order, (name, person, thing, split) in enumerate(
        [(*entry, "train") for entry in train] + [(*entry, "evaluation") for entry in evaluation]
    ):
        place = HO3DPlace(root, version, name, digits, (split,) * len(digits), dropped if order == 0 else None)
        stage = "reach" if settings.frames >= 60 else STAGES[1 + order % 2]
        tasks.append(partial(record, place, person, thing, settings.frames, stage, settings.seed, settings.looks))
        for i in range(len(digits)):
            numbers = [n for n in range(settings.frames) if not (n == place.dropped and i == 0)]
            lists[split] += [f"{place.sequence(i)}/{n:04d}" for n in numbers]
    return Plan(tasks, partial(_finish, root, version, lists))


def _finish(root: Path, version: str, lists: dict[str, list[str]]) -> None:
    write_lists(root, sorted(lists["train"]), sorted(lists["evaluation"]))
    if version == "v2":  # HandOccNet has files for version 2 only
        annotate("ho3d-v2", root, JSON_FILES)


def _name_recordings(kinds: tuple[tuple[str, int, str], ...], count: int) -> list[tuple[str, int, str]]:
    """`count` recordings, one of each kind before a second one."""
    if count > _PER_NAME * len(kinds):
        raise InputError(
            f"sequences: HO3D's names are enough for {_PER_NAME * len(kinds)} of a split, asked for {count}"
        )
    return [
        (f"{name}{1 + i // len(kinds)}", person, thing)
        for i in range(count)
        for name, person, thing in [kinds[i % len(kinds)]]
    ]


def record(place: HO3DPlace, person: int, thing: str, frames: int, stage: str, seed: int, looks: str) -> int:
    """Make and write one recording; returns its number of photos."""
    rng = np.random.default_rng([seed, 61, int.from_bytes(place.name.encode(), "big")])
    rig = make_rig(rng, len(place.digits), spread=0.03)
    betas = subject_betas(seed, 20 + person)
    performance = make_performance("right", betas, thing, 0, frames, rig, stage, rng)
    everywhere = replace(performance.recording, present=np.ones(frames, bool))  # HO3D annotates hands only
    performance = replace(performance, recording=everywhere)
    stamp = (seed, 62, int.from_bytes(place.name.encode(), "big"))
    look = looked(performance, make_look(20 + person, rng), looks, len(place.digits), stamp)
    return write_recording(place, performance, rig, look, seed)
