"""What a labelling run says about itself: the store's attributes, warnings, `failures.jsonl`, the printed summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..data.datasets import own_attributes, own_objects
from ..data.frame import PHOTO_SIZE, RELEASED, CameraSequence, Failure, image_pattern
from ..data.labels import LabelStore
from ..data.readers.dexycb_splits import YCB_NAMES
from ..hand.arrays import load_arrays
from ..hand.parts import CAUSES
from ..labeling.objects import MESH_FILES, find_models
from .label_sequence import Job
from .label_settings import LabelSettings

INDEX_ATTRIBUTES = (
    "dataset",
    "split",
    "setup",
    "root",
    "annotations",
    "objects",
    "renderer",
    "rules",
    "mano",
    "mask",
    "labelled",
    "skipped",
    "failures",
    "missing_objects",
    "frames_without_objects",
    "mask_iou_median",
    "warnings",
    "lost_sequences",
)
"""Attributes that `finish_labels` writes; an index without one of them is written again, or without one of:"""
PHOTO_ATTRIBUTES = {False: ("image", "photo"), True: ("suffixes", "window", "origins")}
"""What it says of photos: those of released datasets follow a pattern, of others (True) they are named one by one."""
LOW_AGREEMENT = 0.5
"""Mean overlap (intersection over union) of rendered and dataset masks below which a sequence is warned about."""


@dataclass(frozen=True)
class LabelSummary:
    """What a run leaves in the store: rows, how many of them labelled, frames without a hand by reason, failures."""

    frames: int
    labelled: int
    skipped: dict[str, int]
    failures: int
    seconds: float
    out: Path
    done_now: int = 0
    warnings: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, out: Path, labels: LabelStore, lost: Sequence[Failure], done: int, seconds: float) -> LabelSummary:
        """The summary of a finished run that did `done` sequences, of which `lost` were lost."""
        attrs = labels.attrs
        return cls(
            frames=attrs["frames"],
            labelled=attrs["labelled"],
            skipped=attrs["skipped"],
            failures=attrs["failures"],
            seconds=seconds,
            out=out,
            done_now=done - len(lost),
            warnings=tuple(attrs["warnings"]),
        )

    def __str__(self) -> str:
        """For the end of the command."""
        lines = [f"{self.out}: {self.frames} frames, {self.labelled} labelled, {self.failures} failed"]
        lines += [f"  without a hand: {count} ({reason})" for reason, count in sorted(self.skipped.items())]
        lines += [f"  note: {warning}" for warning in self.warnings]
        return "\n".join([*lines, f"  {self.done_now} sequences in {self.seconds:.1f} s"])


def finish_labels(
    settings: LabelSettings,
    job: Job,
    labels: LabelStore,
    sequences: Sequence[CameraSequence],
    lost: Sequence[Failure],
) -> None:
    """Write the index over the finished sequences with the attributes that describe the whole run."""
    finished = labels.store.finished()
    keys = [sequence.key for sequence in sequences if sequence.key in finished]
    facts = [finished[key] for key in keys]
    arrays = {side: load_arrays(settings.mano, side) for side in job.sides}
    agreement = [fact["mask_iou"] for fact in facts if fact["mask_iou"] is not None]
    stored = labels.store.attrs["settings"]
    attrs = {
        **{
            name: stored[name]
            for name in ("dataset", "split", "setup", "root", "annotations", "objects", "renderer", "rules")
        },
        "mano": {side: {"source": hand.source, "sha256": hand.sha256} for side, hand in arrays.items()},
        "mano_path": str(settings.mano),
        "mask": _mask_source(settings, facts),
        "causes": list(CAUSES),
        "object_names": [*YCB_NAMES, *own_objects(sequences)],
        "labelled": sum(fact["labelled"] for fact in facts),
        "skipped": dict(sorted(_sum(facts, "skipped").items())),
        "failures": sum(len(fact["failures"]) for fact in facts) + len(lost),
        "missing_objects": dict(sorted(_sum(facts, "missing_objects").items())),
        "frames_without_objects": sum(fact["frames_without_objects"] for fact in facts),
        "mask_iou_median": float(np.median(agreement)) if agreement else None,
        "warnings": [*_name_meshes(job), *find_warnings(keys, facts)],
        "lost_sequences": sorted(failure.path for failure in lost),
    }
    labels.finish(keys, attrs | _photo_attributes(settings, sequences, facts))


def index_attributes(settings: LabelSettings) -> tuple[str, ...]:
    """The attributes that the index of a run has."""
    return (*INDEX_ATTRIBUTES, *PHOTO_ATTRIBUTES[settings.dataset not in RELEASED])


def _photo_attributes(
    settings: LabelSettings, sequences: Sequence[CameraSequence], facts: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    if settings.dataset in RELEASED:
        pattern = image_pattern(settings.dataset, settings.split, sequences[0].photo_suffix)
        return {"image": pattern, "photo": list(PHOTO_SIZE)}
    suffixes = {Path(path).suffix.lower() for fact in facts for path, _, _ in fact["photos"]}
    return {"suffixes": sorted(suffixes), **own_attributes(sequences)}


def _mask_source(settings: LabelSettings, facts: Sequence[dict[str, Any]]) -> str:
    if settings.dataset == "dexycb":
        return "seg == 255"
    if settings.dataset not in RELEASED and any(fact["mask_iou"] is not None for fact in facts):
        return "the dataset's"
    if settings.dataset in RELEASED and settings.split != "test":
        return f"seg {settings.seg_channel} > 200, enlarged by nearest neighbour"
    if any(fact["rendered_masks"] for fact in facts):
        return "rendered: released hand mesh in front of the object meshes (HO3D has no evaluation segmentation)"
    return "none"


def _sum(facts: Sequence[dict[str, Any]], name: str) -> Counter[str]:
    total: Counter[str] = Counter()
    for fact in facts:
        total.update(fact[name])
    return total


def _name_meshes(job: Job) -> list[str]:
    """Which files the object meshes are, where they are not the dataset's own."""
    found = None if job.objects is None else find_models(Path(job.objects))
    if found is None:
        return []
    folder, file = found
    return [] if file == MESH_FILES[0] else [f"object meshes are {folder}/NAME/{file}: no {MESH_FILES[0]} is there"]


def find_warnings(keys: Sequence[str], facts: Sequence[dict[str, Any]]) -> list[str]:
    """What a person should look at: low mask agreement, objects without meshes or without poses."""
    found = []
    agreement = {key: fact["mask_iou"] for key, fact in zip(keys, facts, strict=True) if fact["mask_iou"] is not None}
    low = sorted((value, key) for key, value in agreement.items() if value < LOW_AGREEMENT)
    if low:
        channels = dict(zip(keys, facts, strict=True))[low[0][1]]["mask_channel_pixels"]
        hint = f"; its seg has {channels} pixels above 200 in red, green, blue" if channels else ""
        found.append(
            f"rendered and dataset hand masks agree badly in {len(low)} of {len(agreement)} sequences (mean overlap"
            f" {low[0][0]:.2f} in {low[0][1]}, median of all {np.median(list(agreement.values())):.2f}): wrong MANO"
            f" files, calibration or mask channel?{hint}"
        )
    off = [fact["joints_off"] for fact in facts if "joints_off" in fact]
    if off:
        found.append(
            f"the joints of {sum(count for count, _ in off)} frames are not where their pose puts them (up to"
            f" {max(largest for _, largest in off) * 1000:.0f} mm off on average): other MANO files, or other joints?"
        )
    missing = _sum(facts, "missing_objects")
    if missing:
        names = ", ".join(f"{name} ({count} frames)" for name, count in sorted(missing.items()))
        found.append(f"no mesh for {names}: the depth rule is unknown there; give --objects DIR")
    bare = sum(fact["frames_without_objects"] for fact in facts)
    if bare:
        found.append(f"{bare} frames have no object pose: the depth rule sees only the hand there")
    return found


def all_failures(labels: LabelStore, lost: Sequence[Failure]) -> list[Failure]:
    """All that is missing from a store: failures of its finished sequences, then the sequences that were lost."""
    return [Failure(**each) for attrs in labels.store.finished().values() for each in attrs["failures"]] + [*lost]
