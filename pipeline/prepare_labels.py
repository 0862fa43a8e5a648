"""`h2o prepare-labels`: the frames of a dataset split become labels.zarr.

Finished camera sequences are kept whatever happens; the same command run again goes on where it stopped, and tries
those again that had failures. What failed is in the store and, derived from it, in `failures.jsonl` beside it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..data.datasets import hand_sides, path_or_none
from ..data.failures import write_failures
from ..data.frame import CameraSequence, Failure
from ..data.labels import LabelStore
from ..data.stores.attributes import LabelSequence
from ..data.stores.keys import check_keys
from ..labeling.renderers import make_renderer
from .cluster import check_cluster, connect
from .label_sequence import Job, label_sequence
from .label_settings import LabelSettings, find_sequences, identity, resolve_settings
from .label_sheet import write_sheet
from .label_summary import LabelSummary, all_failures, finish_labels, index_attributes
from .tasks import run_tasks

log = logging.getLogger(__name__)


def prepare_labels(settings: LabelSettings) -> LabelSummary:
    """Label every annotated frame of a split. InputError for bad input (nothing written); failures are counted."""
    started = time.monotonic()
    settings = resolve_settings(settings)
    sequences = find_sequences(settings)
    job = _job(settings, sequences)
    check_cluster(settings.workers, settings.scheduler, settings.dashboard)
    keys = [sequence.key for sequence in sequences]
    check_keys(settings.root, keys)
    labels = LabelStore.create(settings.out, identity(settings, sequences, job), settings.overwrite)
    try:
        tasks = _tasks(labels, sequences)
        lost = _run(settings, replace(job, token=labels.store.token), tasks) if tasks else []
        labels.store.await_finished(keys, [failure.path for failure in lost])
        labels.store.sweep(spare_living=True)  # what killed workers left
        if not labels.is_current(keys, index_attributes(settings)):
            finish_labels(settings, job, labels, sequences, lost)
        write_failures(settings.out, all_failures(labels, lost))
        if settings.json is not None:
            log.info("%d label files written below %s", labels.export_json(settings.json), settings.json)
        if settings.sheet is not None:
            write_sheet(Path(settings.sheet), labels, sequences, job)
    finally:
        labels.close()
    return LabelSummary.of(settings.out, labels, lost, len(tasks), time.monotonic() - started)


def _job(settings: LabelSettings, sequences: Sequence[CameraSequence]) -> Job:
    renderer = make_renderer(settings.renderer)
    name = renderer.name
    renderer.close()
    vertices = any(each.released is not None or (each.facts and each.facts.vertices) for each in sequences)
    sides = hand_sides(sequences)
    return Job(str(settings.out.resolve()), str(settings.mano), sides, path_or_none(settings.objects), name, vertices)


def _tasks(labels: LabelStore, sequences: Sequence[CameraSequence]) -> list[CameraSequence]:
    """Sequences to do: unfinished and damaged ones, and finished ones with failures, which may have been repaired."""
    for damage in labels.store.discard_damaged([sequence.key for sequence in sequences], LabelSequence):
        log.warning("damaged, made again: %s", damage)
    finished = labels.store.finished()
    again = [sequence.key for sequence in sequences if finished.get(sequence.key, {}).get("failures")]
    for key in again:
        labels.store.discard(key)
    if finished:
        log.info(
            "%d of %d sequences are done, %d of them had failures and are tried again",
            len(finished),
            len(sequences),
            len(again),
        )
    return [sequence for sequence in sequences if sequence.key not in finished or sequence.key in again]


def _run(settings: LabelSettings, job: Job, tasks: list[CameraSequence]) -> list[Failure]:
    """Run the tasks; returns those that no worker survived."""
    workers = settings.workers
    if workers is None and settings.scheduler is None and not settings.dashboard and len(tasks) == 1:
        workers = 1
    lost, done = [], 0
    try:
        with connect(workers, settings.scheduler, settings.dashboard, len(tasks)) as client:
            results = run_tasks(
                client,
                partial(label_sequence, job),
                tasks,
                label="labels",
                frames_of=len,
                name_of=lambda task: task.key,
            )
            for _, result in results:
                done += 1
                if isinstance(result, Failure):
                    lost.append(result)
    except KeyboardInterrupt:
        log.warning(
            "stopped: %d of %d sequences were finished now; the same command goes on from here", done, len(tasks)
        )
        raise
    return lost
