"""`h2o build-clips`: labels.zarr and the dataset's photographs -> clips.zarr (data/stores/clips.py).

One task cuts one camera sequence and commits it whole; a killed or repeated run loses and doubles nothing. Photos
that are missing or damaged become failures, listed in failures.jsonl beside the store; the rest of their sequence
stays.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data import photos
from ..data.failures import failures_file
from ..data.frame import Failure
from ..data.labels import LabelStore
from ..data.loading.crops import MAX_SCALE
from ..data.photos import CODECS, LOSSLESS, REENCODED, best_codec
from ..data.stores.attributes import LabelIndex, check
from ..errors import InputError
from .clip_target import ClipTarget, clip_target
from .cluster import check_cluster, connect
from .cut_hands import ClipTask, cut_sequence
from .tasks import run_tasks

SOURCE_ATTRIBUTES = ("dataset", "split", "root")
"""What labels must say for clips to be cut."""
COPIED_ATTRIBUTES = ("mano", "image", "annotations", "renderer", "suffixes", "window", "origins", "object_names")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipSummary:
    """What a run did: frames and failures of the whole store, sequences cut now, CPU of the cutting in ms per frame."""

    frames: int
    sequences: int
    built: int
    failures: int
    seconds: float
    cpu_ms_per_frame: float
    out: str

    @property
    def failures_file(self) -> str:
        """Where failed photos are listed: beside a local store, inside one on an object store."""
        return failures_file(self.out)

    def __str__(self) -> str:
        cost = f", {self.cpu_ms_per_frame:.2f} ms of CPU per frame" if self.built else ""
        failed = f"; {self.failures} photos failed, see failures.jsonl" if self.failures else ""
        return (
            f"{self.frames} frames of {self.sequences} camera sequences in {self.out} ({self.built} sequences cut now,"
            f" {self.seconds:.1f} s{cost}){failed}"
        )


def build_clips(
    labels: str | Path,
    out: str | Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    dashboard: bool = False,
    overwrite: bool = False,
    root: str | Path | None = None,
    codec: str = "auto",
    max_scale: float = MAX_SCALE,
) -> ClipSummary:
    """Cut every row of a finished labels.zarr into the store `out`; resumes, and retries sequences with failed photos.

    `root` is the dataset's root when it is no longer where the labels were made. `codec` "auto" cuts JPEGs losslessly
    where libturbojpeg is installed; "jpeg-lossless" and "jpeg-q95-444" insist. `max_scale` is the largest
    augmentation scale that the stored pictures must cover. InputError for anything that is wrong with the whole run;
    nothing is written then.
    """
    began = time.perf_counter()
    labels = Path(labels).expanduser()
    source = LabelStore.open(labels)
    photo = "suffixes" if "suffixes" in source.attrs else "image"
    check(labels / "index", source.attrs, LabelIndex, (*SOURCE_ATTRIBUTES, photo))
    folder = Path(root if root is not None else source.attrs["root"]).expanduser()
    target = clip_target(out)
    target.refuse_inside(folder)
    settings = _settings(source, codec, max_scale)
    tasks = _tasks(source, labels, folder, target.address, settings)
    _find_photos(tasks, source)
    check_cluster(workers, scheduler, dashboard)

    target.create(settings, overwrite)
    try:
        done = target.keep_whole([task.key for task in tasks])
        waiting = [replace(task, token=target.token) for task in tasks if task.key not in done]
        results, lost = [], []
        if waiting:
            with connect(workers, scheduler, dashboard, len(waiting)) as client:
                for _, result in run_tasks(
                    client, cut_sequence, waiting, label="cut hands", frames_of=_frames_of, name_of=_name_of
                ):
                    (lost if isinstance(result, Failure) else results).append(result)
        target.await_finished([task.key for task in tasks], [failure.path for failure in lost])
        target.sweep()
        attrs = {**settings, "labels": str(labels), "root": str(folder)}
        summary = _finish(target, source, tasks, attrs, lost)
    finally:
        target.close()
    cpu = 1e3 * sum(result.cpu for result in results) / max(1, sum(result.frames for result in results))
    return ClipSummary(
        **summary, built=len(results), seconds=time.perf_counter() - began, cpu_ms_per_frame=cpu, out=str(out)
    )


def _frames_of(task: ClipTask) -> int:
    return task.frames


def _name_of(task: ClipTask) -> str:
    return task.key


def _settings(source: LabelStore, codec: str, max_scale: float) -> dict[str, Any]:
    """What must be equal to resume. The labels count by content, not by path."""
    attrs = source.attrs
    photo = [f"photo{suffix}" for suffix in attrs["suffixes"]] if "suffixes" in attrs else [attrs["image"]]
    best = LOSSLESS if all(best_codec(name) == LOSSLESS for name in photo) else REENCODED
    if codec == "auto":
        codec = best
    if codec not in CODECS:
        raise InputError(f"codec: expected auto, {' or '.join(CODECS)}, found {codec!r}")
    if codec == LOSSLESS and best != LOSSLESS:
        why = "libturbojpeg is missing" if photos.turbojpeg() is None else f"photos {', '.join(photo)} are no JPEGs"
        raise InputError(f"codec {LOSSLESS}: {why}; use codec auto")
    if not max_scale >= 1.0:
        raise InputError(f"max_scale: expected 1 or more, found {max_scale}")
    return {
        "dataset": attrs["dataset"],
        "split": attrs["split"],
        "setup": attrs.get("setup"),
        "labels_sha256": labels_hash(attrs),
        "rules": attrs.get("rules"),
        "codec": codec,
        "max_scale": max_scale,
    }


def labels_hash(attrs: Mapping[str, Any]) -> str:
    """A hash over the contents of a label store: the checksums of its sequences."""
    return hashlib.sha256(json.dumps(attrs["sequences"], sort_keys=True).encode()).hexdigest()


def _tasks(source: LabelStore, labels: Path, root: Path, out: str, settings: Mapping[str, Any]) -> list[ClipTask]:
    tasks = [
        ClipTask(
            key=entry["key"],
            frames=entry["frames"],
            labels=str(labels.resolve()),
            root=str(root.resolve()),
            image=source.attrs.get("image"),
            out=out,
            codec=settings["codec"],
            max_scale=settings["max_scale"],
            size=tuple(source.attrs["photo"]) if "photo" in source.attrs else None,
        )
        for entry in source.attrs["sequences"]
        if entry["frames"] > 0
    ]
    if not tasks:
        raise InputError(f"{labels}: holds no frames; nothing to cut. Check the split and prepare-labels' summary")
    return tasks


def _find_photos(tasks: list[ClipTask], source: LabelStore) -> None:
    root = Path(tasks[0].root)
    if not root.is_dir():
        raise InputError(f"{root}: the photos' folder does not exist; say with --root where the dataset lies now")
    first = [source.image(int(row)) for row in np.unique(source["sequence_id"], return_index=True)[1][:50]]
    if not any((root / image).exists() for image in first):
        raise InputError(
            f"{root}: holds none of the photos, for example {first[0]}; say with --root where they are now"
        )


def _finish(
    target: ClipTarget,
    source: LabelStore,
    tasks: list[ClipTask],
    attrs: dict[str, Any],
    lost: list[Failure],
) -> dict[str, int]:
    """Write failures, index and the store's own attributes; returns counts of the whole store."""
    finished = target.finished()
    keys = [task.key for task in tasks if task.key in finished]
    failed = [Failure(**each) for key in keys for each in finished[key]["failures"]] + lost
    target.write_failures(failed)
    if not any(finished[key]["n_frames"] for key in keys):
        raise InputError(f"{target}: every photo failed, first {failed[0].path}: {failed[0].reason}; check --root")
    copied = {name: source.attrs[name] for name in COPIED_ATTRIBUTES if name in source.attrs}
    attrs = {
        **copied,
        **attrs,
        "margin": attrs["max_scale"] * 2**0.5,
        "failures": len(failed),
        "unfinished": [failure.path for failure in lost],
    }
    return {"frames": target.write_index(keys, attrs), "sequences": len(keys), "failures": len(failed)}
