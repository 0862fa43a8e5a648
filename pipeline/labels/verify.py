"""`h2o labels verify`: whether a labels.zarr is still as it was written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...data.labels import LabelStore
from ...data.stores.columns import LABEL_BOUNDS, check_values
from ...errors import InputError, one_line
from .columns import blocks, column_names

_AGAIN = "run prepare-labels again"


def verify(path: str | Path) -> list[str]:
    """Check everything that was written: one line per problem, an empty list when there is none.

    Every sequence's checksum, that the index was made from it and repeats it byte for byte, that columns keep their
    bounds and that a frame is there once. InputError when the store cannot be opened at all.
    """
    labels = LabelStore.open(path)
    problems = list(_column_problems(labels))
    return [*problems, *_sequence_problems(labels, compare=not problems)]


def _column_problems(labels: LabelStore) -> Iterator[str]:
    try:
        labels.index.check_whole()
    except InputError as error:
        yield one_line(error)
        return
    count = len(labels.sequences)
    damaged = False
    for name in ("sequence_id", *column_names(labels)):
        try:
            for start, end in blocks(len(labels)):
                what = f"index column {name} from row {start}"
                check_values(what, name, labels.index.part(name, start, end), LABEL_BOUNDS, count)
        except (InputError, OSError, ValueError) as error:
            damaged = True
            yield one_line(error)
    if not damaged:
        pairs = np.stack([labels["sequence_id"], labels["frame"]], axis=1)
        unique, counts = np.unique(pairs, axis=0, return_counts=True)
        for sequence, frame in unique[counts > 1].tolist():
            yield f"sequence {labels.sequences[sequence]}: frame {frame} is there more than once"


def _sequence_problems(labels: LabelStore, compare: bool) -> Iterator[str]:
    """What is wrong with sequences; with `compare` also where the index says something else than they do."""
    entries = labels.attrs["sequences"]
    listed = sum(entry["frames"] for entry in entries)
    if listed != len(labels):
        yield f"index: has {len(labels)} rows, its sequences {listed}; {_AGAIN}"
        compare = False
    columns = column_names(labels)
    held: dict[str, np.ndarray] = {}
    held_from = held_to = start = 0
    for number, entry in enumerate(entries):
        key, end = entry["key"], start + entry["frames"]
        try:
            digest = labels.store.verify(key)
            rows, _ = labels.store.read(key)
        except (InputError, OSError, ValueError) as error:
            yield f"sequence {key}: {one_line(error)}"
            start = end
            continue
        if digest != entry["sha256"]:
            yield f"sequence {key}: is not the one the index was made from; {_AGAIN}"
        elif compare:
            if end > held_to:  # whole blocks: chunks are not unpacked once per sequence
                held_from, held_to = start, min(max(end, start + 16384), len(labels))
                held = {name: labels.index.part(name, held_from, held_to) for name in ("sequence_id", *columns)}
            here = slice(start - held_from, end - held_from)
            rows["sequence_id"] = np.full(entry["frames"], number, np.int32)
            for name in held:
                if name in rows and rows[name].tobytes() != held[name][here].tobytes():
                    yield f"index column {name}: is not that of sequence {key}; {_AGAIN}"
        start = end
