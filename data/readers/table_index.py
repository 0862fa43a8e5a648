"""The index of a table: one pass over its rows finds the camera sequences of a split, and where each frame's rows lie.

Only places and compact arrays are kept and sent to workers, which read their own rows (`table_frames`).
"""

from __future__ import annotations

import logging
from array import array
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError, brief, one_line
from ...untrusted import check_key, check_name, is_name
from ..frame import LARGEST_NUMBER, CameraSequence
from .dexycb_splits import YCB_NAMES
from .table import Table, open_table
from .table_listed import NOTHING, Listed, json_rows, parquet_rows

log = logging.getLogger(__name__)
SIDES = ("right", "left")
MOST_HANDS = 16
"""In one photo."""
LONGEST = 50_000
"""Frames of one camera sequence: it is one task, and its store lists its photos."""
_LOOK = 50  # photos that are looked for while listing


_COLUMNS = ("group", "side", "image", "frame", "index", "split", "a", "b")


class _Rows:
    """Compact columns over all rows of a table, filled row by row."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.groups: dict[tuple[Any, ...], int] = {}
        self.origins: list[dict[str, str]] = []
        self.images: dict[str, int] = {}
        self.vertices = False
        self.names: set[str] = set()
        self.count = 0
        self._values = array("q")  # of _COLUMNS, row by row: one call for each is four times as fast as eight
        self._splits: dict[Any, str] = {}

    def add(self, row: Listed, a: int, b: int) -> None:
        """Take a row that lies at (a, b). ValueError where it cannot be listed."""
        if not 0 <= row.frame <= LARGEST_NUMBER:
            raise ValueError(f"frame is {brief(row.frame)}, expected 0 to {LARGEST_NUMBER}")
        key = (row.sequence, row.camera, row.hand)
        group = self.groups.get(key)
        if group is None:
            _key(*key)
            group = self.groups[key] = len(self.groups)
            self.origins.append(_origin(row))
        split = row.split
        if split is None:
            split = self._splits.get(row.sequence)
            if split is None:
                split = self._splits[row.sequence] = self._table.config.split_of(str(row.sequence))
        image = self.images.setdefault(row.image, len(self.images))
        index = self.count if row.index is None else row.index
        if not 0 <= index < 2**63:
            raise ValueError(f"index is {brief(index)}, expected a position")
        if row.vertices is not NOTHING:
            self.vertices |= bytes(row.vertices) != b"null"
        if row.objects:
            self.names.update([each.name for each in row.objects])
        self._values.extend((group, row.side == "left", image, row.frame, index, _SPLITS[split], a, b))
        self.count += 1

    def arrays(self) -> dict[str, np.ndarray]:
        """The columns, (N,) int64 each."""
        table = np.frombuffer(self._values, np.int64).reshape(-1, len(_COLUMNS))
        return dict(zip(_COLUMNS, table.T.copy(), strict=True))

    def own_objects(self) -> tuple[str, ...]:
        """Names of objects outside YCB, sorted; what is no name is a fault of its row, when that is read."""
        return tuple(sorted(name for name in self.names - set(YCB_NAMES) if is_name(name)))


_SPLITS = {"train": 0, "val": 1, "test": 2, "": -1}


def _key(sequence: str | int, camera: str | int | None, hand: str | int | None) -> str:
    """The key of a camera sequence before sides are told apart. ValueError where a name is none."""
    parts = [check_key(str(sequence), "sequence")]
    parts += [check_name(str(part), name) for name, part in (("camera", camera), ("hand", hand)) if part is not None]
    return "/".join(parts)


def _origin(row: Listed) -> dict[str, str]:
    """What a row says of its sequence's recording, subject and camera. ValueError where a name is none."""
    recording = row.sequence if row.recording is None else row.recording
    found = {"recording": check_key(str(recording), "recording")}
    for name, value in (("subject", row.subject), ("camera", row.camera)):
        if value is not None:
            found[name] = check_name(str(value), name)
    return found


# -- one pass over the rows ----------------------------------------------------------------------------------------


def _index(table: Table) -> _Rows:
    """Every row of the table's file. InputError naming the row and what was expected."""
    rows, path = _Rows(table), table.rows
    listed = parquet_rows(path, rows.names) if path.suffix == ".parquet" else json_rows(path)
    try:
        for row, a, b in listed:
            rows.add(row, a, b)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; check the path") from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        number = rows.count + 1
        raise InputError(f"{path}: row {number}: {one_line(error, 200)}; write the row again") from None
    if not rows.count:
        raise InputError(f"{path}: holds no row; expected one for every hand in a photo")
    return rows


@dataclass(frozen=True)
class Survey:
    """What a table holds: rows per split, camera sequences, and (row number, a, b) of rows spread over all of it."""

    splits: dict[str, int]
    sequences: int
    places: list[tuple[int, int, int]]


def survey_table(root: Path, count: int) -> Survey:
    """A table's counts and a sample of `count` rows; InputError as `list_table`."""
    rows = _index(open_table(root))
    columns = rows.arrays()
    chosen = np.unique(np.linspace(0, len(columns["a"]) - 1, count).astype(np.int64))
    places = [(row + 1, int(columns["a"][row]), int(columns["b"][row])) for row in chosen.tolist()]
    splits = {name or "none": int((columns["split"] == code).sum()) for name, code in _SPLITS.items()}
    return Survey({name: n for name, n in splits.items() if n}, len(np.unique(_tracks(columns))), places)


# -- listing --------------------------------------------------------------------------------------------------------


def list_table(root: Path, split: str, mano: str | None = None) -> list[CameraSequence]:
    """Camera sequences of a split in the order of their first rows; InputError where there are none, or no photos.

    A recording in which both hands occur becomes two sequences, `/right` and `/left`: past frames are of one hand.
    """
    table = open_table(root)
    rows = _index(table)
    columns, names = rows.arrays(), list(rows.groups)
    track = _tracks(columns)
    both = np.zeros(len(names), bool)
    both[np.intersect1d(track[track % 2 == 0] // 2, track[track % 2 == 1] // 2)] = True
    any_left, places = bool(columns["side"].any()), _places(table.rows, columns)
    chosen = np.flatnonzero(columns["split"] == _SPLITS[split])
    if not len(chosen):
        told = ", ".join(name for name, code in _SPLITS.items() if name and (columns["split"] == code).any())
        raise InputError(f"{table.rows}: no row is of split {split}; its rows are of {told or 'no split'}")
    order = chosen[np.lexsort((columns["frame"][chosen], track[chosen]))]
    starts = np.flatnonzero(np.diff(track[order], prepend=-1))
    about = replace(table.facts, left=any_left, vertices=rows.vertices, objects=rows.own_objects())
    found = []
    for own in sorted(np.split(order, starts[1:]), key=lambda each: int(each.min())):
        group, left = divmod(int(track[own[0]]), 2)
        key = _key(*names[group]) + (f"/{SIDES[left]}" if both[group] else "")
        _check_frames(table.rows, key, columns["frame"], own)
        facts = replace(about, origin=rows.origins[group])
        found.append(
            CameraSequence(
                "table",
                str(table.photos),
                split,
                "",
                key,
                columns["frame"][own],
                columns["index"][own],
                annotations=str(table.rows),
                ranges=places[own],
                mano=mano,
                facts=facts,
            )
        )
    _look_for_photos(table, list(rows.images), columns["image"][[int(own[0]) for own in _spread(starts, order)]])
    return found


def _tracks(columns: dict[str, np.ndarray]) -> np.ndarray:
    """2 * group + left of every row."""
    return 2 * columns["group"] + columns["side"]


def _places(path: Path, columns: dict[str, np.ndarray]) -> np.ndarray:
    """(N, 3 H) int64: row number, a and b of every row, then those of the other hands in its photo; -1 for none."""
    count = len(columns["a"])
    own = np.stack([np.arange(1, count + 1), columns["a"], columns["b"]], axis=1)
    order = np.argsort(columns["image"], kind="stable")
    image = columns["image"][order]
    starts = np.flatnonzero(np.diff(image, prepend=-1))
    sizes = np.diff(starts, append=count)
    most = int(sizes.max())
    if most > MOST_HANDS:
        row = int(order[starts[sizes.argmax()]]) + 1
        raise InputError(f"{path}: row {row}: its image has {most} rows, expected at most {MOST_HANDS} hands in it")
    places = np.full((count, most, 3), -1, np.int64)
    places[:, 0] = own
    for start, size in zip(starts[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        rows = order[start : start + size]
        for i, row in enumerate(rows.tolist()):
            places[row, 1:size] = own[np.delete(rows, i)]
    return places.reshape(count, 3 * most)


def _check_frames(path: Path, key: str, frame: np.ndarray, own: np.ndarray) -> None:
    """InputError where a sequence is too long for one, or has a frame twice."""
    if len(own) > LONGEST:
        raise InputError(f"{path}: sequence {key} has {len(own)} rows, expected at most {LONGEST}; divide it")
    twice = np.flatnonzero(np.diff(frame[own]) == 0)
    if len(twice):
        first, second = sorted(int(own[twice[0] + i]) + 1 for i in (0, 1))
        raise InputError(
            f"{path}: row {second} repeats row {first}: frame {frame[own[twice[0]]]} of sequence {key}; two hands of"
            " one side need the column `hand`, two cameras `camera`"
        )


def _spread(starts: np.ndarray, order: np.ndarray) -> list[np.ndarray]:
    """The first rows of some sequences, spread over all of them."""
    return [order[start:] for start in starts[:: max(1, len(starts) // _LOOK)]]


def _look_for_photos(table: Table, images: list[str], first: np.ndarray) -> None:
    paths = [images[i] for i in first.tolist()]
    if not any((table.photos / path).is_file() for path in paths):
        raise InputError(
            f"{table.photos}: holds none of the photos of {table.rows.name}, for example {brief(paths[0])}; paths are"
            " relative to `photos` in dataset.toml, or to the table's folder"
        )
