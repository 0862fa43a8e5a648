"""The options of `h2o prepare-labels`, the camera sequences they stand for, and what makes two runs the same."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..data.datasets import dataset_folders, list_sequences, refuse_inside
from ..data.frame import CameraSequence
from ..data.readers.ho3d_masks import hand_channel
from ..errors import InputError
from ..hand.arrays import load_arrays
from ..labeling.objects import MESH_FILES, find_models
from ..labeling.occlusion import RULES
from .label_sequence import Job

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelSettings:
    """The options of `h2o prepare-labels`. `limit` stops after that many listed frames, in the dataset's order."""

    dataset: str
    root: Path
    split: str
    mano: Path | str
    out: Path
    setup: str = "s0"
    annotations: Path | str = "raw"
    objects: Path | None = None
    renderer: str = "auto"
    workers: int | None = None
    scheduler: str | None = None
    dashboard: bool = False
    json: Path | None = None
    sheet: Path | None = None
    limit: int | None = None
    overwrite: bool = False
    seg_channel: str = "auto"


def resolve_settings(settings: LabelSettings) -> LabelSettings:
    """Absolute paths and the default folder of object models. InputError for what cannot work."""
    root = Path(settings.root).expanduser()
    photos, models = dataset_folders(settings.dataset, root)
    for option, path in (("--out", settings.out), ("--json", settings.json), ("--sheet", settings.sheet)):
        if path is not None:
            refuse_inside(path, root, option)
            refuse_inside(path, photos, option)
    if settings.limit is not None and settings.limit < 1:
        raise InputError(f"--limit {settings.limit}: expected a positive number of frames")
    objects = settings.objects
    if objects is None and next(models.glob("*/"), None) is not None:
        objects = models
    if objects is not None:
        found = find_models(Path(objects).expanduser())
        if found is None:
            raise InputError(
                f"--objects {objects}: holds no object model; expected NAME/{MESH_FILES[0]} in it or in its models/"
            )
        objects = found[0]
    elif root.is_dir():
        log.warning("no object models (no %s, no --objects): the depth rule stays unknown where objects are", models)
    mano = settings.mano if str(settings.mano) == "standin" else Path(settings.mano).expanduser().resolve()
    return replace(
        settings,
        root=root.resolve(),
        objects=objects,
        mano=mano,
        out=Path(settings.out).expanduser(),
        seg_channel=hand_channel(settings.dataset, settings.seg_channel),
    )


def find_sequences(settings: LabelSettings) -> list[CameraSequence]:
    """The camera sequences of resolved settings, cut to `limit` frames."""
    annotations = settings.annotations
    if str(annotations) != "raw":
        annotations = Path(annotations).expanduser().resolve()
    sequences = list_sequences(
        settings.dataset,
        settings.root,
        settings.split,
        settings.setup,
        annotations,
        settings.mano,
        settings.seg_channel,
    )
    return limit_frames(sequences, settings.limit)


def limit_frames(sequences: Sequence[CameraSequence], limit: int | None) -> list[CameraSequence]:
    """The first `limit` listed frames in the dataset's order: whole sequences, the last one cut."""
    if limit is None:
        return list(sequences)
    found, left = [], limit
    for sequence in sequences:
        if left <= 0:
            break
        found.append(sequence.take(slice(left)) if len(sequence) > left else sequence)
        left -= len(sequence)
    return found


def identity(settings: LabelSettings, sequences: Sequence[CameraSequence], job: Job) -> dict[str, Any]:
    """The settings that decide what is in the store: a run with others may not resume it."""
    facts = sequences[0].facts
    return {
        "dataset": settings.dataset if facts is None else facts.name,
        "root": sequences[0].root,
        "split": settings.split,
        "setup": settings.setup if settings.dataset == "dexycb" else None,
        "annotations": _file_identity(settings.annotations if facts is None else sequences[0].annotations),
        "mano": {side: load_arrays(job.mano, side).sha256 for side in job.sides},
        "objects": job.objects,
        "renderer": job.renderer,
        "rules": RULES,
        "seg_channel": settings.seg_channel if settings.dataset.startswith("ho3d") else None,
        "limit": settings.limit,
        "released_ground_truth": job.vertices,
        "frames_listed": sum(map(len, sequences)),
    } | ({} if facts is None else {"reader": facts.settings})


def _file_identity(annotations: Path | str) -> Any:
    if str(annotations) == "raw":
        return "raw"
    path = Path(annotations).expanduser().resolve()
    return {"path": str(path), "bytes": path.stat().st_size}
