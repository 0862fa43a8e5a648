"""Whether a clips.zarr is still as it was written: its attributes, sequences, columns, and what must agree in them."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from ...errors import InputError, brief, one_line
from ...untrusted import fault
from ..stores.attributes import ClipIndexAttributes, ClipSequence, StoreAttributes, find_faults, group_attributes
from ..stores.clip_index import chunk_file
from ..stores.clips import SCHEMA, ClipStore, MissingSequence
from ..stores.columns import CLIP_COLUMNS
from ..stores.keys import folder_name
from ..stores.records import ZARR_FAULTS
from ..stores.remote import is_url
from ..stores.sequence_folder import check_fields, plain_shape
from .report import find_duplicates

_INDEX_ALONE = ("sequences", "columns", "state")
_TOP_ALONE = ("schema", "schema_version", "token", "settings")
_SETTINGS = ("dataset", "split", "setup", "labels_sha256", "rules", "codec", "max_scale")
_AGAIN = "run build-clips again"


def verify(path: str | Path) -> list[str]:
    """Check everything that was written: one line per problem, an empty list when there is none.

    Attributes by type and bounds, and where two places repeat them; missing sequences; every sequence's and every
    column's checksum; that pictures lie inside their file, that a frame is there once, and that the index repeats the
    sequences. InputError when the store cannot be opened at all.
    """
    problems = [] if is_url(path) else _attribute_problems(Path(path))
    try:
        store = ClipStore.open(path)
    except InputError as error:
        if isinstance(error, MissingSequence) or problems:
            return [*problems, *([str(error)] if isinstance(error, MissingSequence) else [])]
        raise
    return [*problems, *_sequence_problems(store), *_column_problems(store)]


def _attribute_problems(path: Path) -> list[str]:
    """Every damaged attribute of a local store, its index and its sequences."""
    top, index = group_attributes(path), group_attributes(path / "index")
    if top is None or top.get("schema") != SCHEMA or index is None:
        return []  # opening it says what it is
    found = [f"zarr.json: {each}" for each in find_faults(top, StoreAttributes)]
    damaged = find_faults(index, ClipIndexAttributes)
    found += [f"index/zarr.json: {each}; {_AGAIN}" for each in damaged]
    found += [f"{each}; {_AGAIN}" for each in _disagreements(top, index)]
    failures = 0
    for folder in sorted((path / "sequences").glob("[!.]*/")):
        try:
            attrs = group_attributes(folder)
        except InputError as error:
            found.append(str(error))
            continue
        faults = ["zarr.json is missing"] if attrs is None else _sequence_faults(attrs)
        found += [f"sequence {folder.name}: {each}; {_AGAIN}" for each in faults]
        failures += 0 if attrs is None or faults else len(attrs["failures"])
    if not found and "unfinished" in index and index.get("failures") != failures + len(index["unfinished"]):
        found.append(f"index/zarr.json: attribute failures is {index.get('failures')}, sequences say {failures}")
    if group_attributes(path / "sequences") is None:
        found.append(f"{path / 'sequences' / 'zarr.json'}: is missing; {_AGAIN}")
    return found


def _sequence_faults(attrs: dict[str, Any]) -> list[str]:
    faults = find_faults(attrs, ClipSequence)
    try:
        if not faults:
            check_fields("attribute fields", attrs["fields"], CLIP_COLUMNS)
    except InputError as error:
        faults = [str(error)]
    return faults


def _disagreements(top: dict[str, Any], index: dict[str, Any]) -> Iterator[str]:
    """Attributes that differ between the places that repeat them: the index, the top of the store, its settings."""
    settings = top.get("settings")
    settings = settings if isinstance(settings, dict) else {}
    repeats = "labels_sha256" in {**settings, **index, **top}  # by build-clips
    names = [name for name in {**settings, **index, **top} if name not in (*_INDEX_ALONE, *_TOP_ALONE)]
    for name in names if repeats else ():
        places = {"index/zarr.json": index, "zarr.json": top} | ({"its settings": settings} if name in settings else {})
        values = {place: attrs.get(name) for place, attrs in places.items()}
        if any(name not in attrs for attrs in places.values()) or len({repr(value) for value in values.values()}) > 1:
            told = ", ".join(f"{brief(value)} in {place}" for place, value in values.items())
            yield f"attribute {one_line(name, 60)} differs: {told}"
    for name in _SETTINGS if repeats else ():
        if name not in settings:
            yield f"zarr.json: attribute settings has no {name}"
    scale, margin = index.get("max_scale"), index.get("margin")
    if isinstance(scale, float) and isinstance(margin, float) and not math.isclose(margin, scale * 2**0.5):
        yield f"attribute margin is {margin}, max_scale {scale}: expected {scale * 2**0.5}"


def _sequence_problems(store: ClipStore) -> Iterator[str]:
    for entry in store.entries:
        key = entry["key"]
        try:
            found = store.sequences.verify(key)
        except (InputError, OSError, ValueError) as error:
            yield f"sequence {key}: {error}"
            continue
        if found != entry["sha256"]:
            yield f"sequence {key}: is not the one the index was made from; {_AGAIN}"
    if store.remote is not None:
        return
    known = {folder_name(entry["key"]) for entry in store.entries}
    for found in sorted(entry.name for entry in os.scandir(store.path / "sequences") if entry.is_dir()):
        if found not in known and not found.startswith("."):
            yield f"sequence {found}: is in the store but not in its index; {_AGAIN}"


def _column_problems(store: ClipStore) -> Iterator[str]:
    damaged = False
    for name, entry in store.attrs["columns"].items():
        for problem in _column_faults(store, name, entry):
            damaged = True
            yield f"index column {name}: {problem}; {_AGAIN}"
    try:
        group = zarr.open_group(store.index.path, mode="r", zarr_format=3, use_consolidated=False)
        names = {name for name, _ in group.arrays()}
    except ZARR_FAULTS as error:
        yield f"index: Zarr cannot read it ({fault(error)}); {_AGAIN}"
        return
    for name in sorted(names ^ set(store.index)):
        yield f"index column {one_line(name, 60)}: is not both listed and there; {_AGAIN}"
    if not damaged:
        yield from _frame_problems(store)


def _column_faults(store: ClipStore, name: str, entry: dict[str, Any]) -> Iterator[str]:
    file = chunk_file(store.index.path / name, len(entry["shape"]))
    if not file.is_file():
        yield f"{file} is missing"
        return
    with file.open("rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != entry["sha256"]:
            yield "checksum differs"
    try:
        if plain_shape(store.index.path / name, np.dtype(entry["dtype"])) != entry["shape"]:
            yield "its zarr.json describes another shape"
        _ = store.index[name]
    except (InputError, OSError, ValueError) as error:
        yield one_line(error)


def _frame_problems(store: ClipStore) -> Iterator[str]:
    """What the columns, each whole, say that cannot be."""
    for sequence, frame in find_duplicates(store):
        yield f"sequence {store.entries[sequence]['key']}: frame {frame} is there more than once"
    starts = np.searchsorted(store.index["sequence_id"], np.arange(len(store.entries) + 1)).tolist()
    ends = store.index["offset"] + store.index["length"]
    for number, entry in enumerate(store.entries):
        rows, key = slice(starts[number], starts[number + 1]), entry["key"]
        if rows.stop - rows.start != entry["frames"]:
            yield f"sequence {key}: has {entry['frames']} frames, the index {rows.stop - rows.start}; {_AGAIN}"
            continue
        try:
            own, attrs = store.sequences.read(key)
        except (InputError, OSError, ValueError):
            continue  # told by its checksum
        last = int(ends[rows].max(initial=0))
        if isinstance(attrs.get("nbytes"), int) and last > attrs["nbytes"]:
            yield f"sequence {key}: its pictures end at {last}, its file at {attrs['nbytes']}; {_AGAIN}"
        for name in store.index:
            if name != "sequence_id" and (name not in own or own[name].tobytes() != store.index[name][rows].tobytes()):
                yield f"index column {name}: is not that of sequence {key}; {_AGAIN}"
