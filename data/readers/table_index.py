"""The index of a table: one pass over its rows finds the camera sequences of a split, and where each frame's rows lie.

Only places and compact arrays are kept and sent to workers, which read their own rows (`table_frames`).
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec import Struct

from ...errors import InputError, brief, one_line
from ...untrusted import check_key, check_name, parse_json
from ..frame import LARGEST_NUMBER, CameraSequence
from .table import Split, Table, open_table
from .table_rows import LARGEST_ROW, as_row, check_columns, lenient, parquet_file, read_group

log = logging.getLogger(__name__)
SIDES = ("right", "left")
MOST_HANDS = 16
"""In one photo."""
LONGEST = 50_000
"""Frames of one camera sequence: it is one task, and its store lists its photos."""
_LOOK = 50  # photos that are looked for while listing


class _Listed(Struct):
    """What listing needs to know of a row; `vertices` unread."""

    sequence: str | int
    frame: int
    image: str
    side: Literal["right", "left"]
    camera: str | int | None = None
    hand: str | int | None = None
    split: Split | None = None
    recording: str | int | None = None
    subject: str | int | None = None
    index: int | None = None
    vertices: msgspec.Raw = msgspec.Raw()


class _Rows:
    """Compact columns over all rows of a table, filled row by row."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.groups: dict[tuple[Any, ...], int] = {}
        self.origins: list[dict[str, str]] = []
        self.images: dict[str, int] = {}
        self.vertices = False
        self.columns = {name: array("q") for name in ("group", "side", "image", "frame", "index", "split", "a", "b")}
        self._splits: dict[Any, str] = {}
        self._add = tuple(values.append for values in self.columns.values())

    def add(self, row: _Listed, a: int, b: int) -> None:
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
        index = len(self.columns["a"]) if row.index is None else row.index
        if not 0 <= index < 2**63:
            raise ValueError(f"index is {brief(index)}, expected a position")
        self.vertices |= bytes(row.vertices) not in (b"", b"null")
        values = (group, row.side == "left", image, row.frame, index, _SPLITS[split], a, b)
        for add, value in zip(self._add, values, strict=True):
            add(value)

    def arrays(self) -> dict[str, np.ndarray]:
        """The columns, (N,) int64 each."""
        return {name: np.frombuffer(values, np.int64) for name, values in self.columns.items()}


_SPLITS = {"train": 0, "val": 1, "test": 2, "": -1}


def _key(sequence: str | int, camera: str | int | None, hand: str | int | None) -> str:
    """The key of a camera sequence before sides are told apart. ValueError where a name is none."""
    parts = [check_key(str(sequence), "sequence")]
    parts += [check_name(str(part), name) for name, part in (("camera", camera), ("hand", hand)) if part is not None]
    return "/".join(parts)


def _origin(row: _Listed) -> dict[str, str]:
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
    listed = _parquet_rows(path) if path.suffix == ".parquet" else _json_rows(path)
    try:
        for row, a, b in listed:
            rows.add(row, a, b)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; check the path") from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        number = len(rows.columns["a"]) + 1
        raise InputError(f"{path}: row {number}: {one_line(error, 200)}; write the row again") from None
    if not rows.columns["a"]:
        raise InputError(f"{path}: holds no row; expected one for every hand in a photo")
    return rows


def _json_rows(path: Path) -> Iterator[tuple[_Listed, int, int]]:
    decoder, start = msgspec.json.Decoder(_Listed), 0
    decode = decoder.decode
    with path.open("rb") as file:
        while line := file.readline(LARGEST_ROW + 1):
            if len(line) > LARGEST_ROW:
                raise ValueError(f"has more than {LARGEST_ROW >> 10} kB")
            try:
                row = decode(line)
            except (msgspec.DecodeError, RecursionError) as error:
                if not line.strip():
                    raise ValueError("is empty, expected a JSON object on every line") from None
                content = lenient(line, error)
                rows_vertices = {"vertices": msgspec.Raw(b"[]")} if content.pop("vertices", None) is not None else {}
                row = as_row(content | rows_vertices, _Listed)
            if start == 0 and (said := check_columns(path, set(parse_json(line, str(path), LARGEST_ROW, nan=True)))):
                log.warning("%s", said)
            yield row, start, start + len(line)
            start += len(line)


def _parquet_rows(path: Path) -> Iterator[tuple[_Listed, int, int]]:
    file = parquet_file(path)
    names = set(file.schema_arrow.names)
    if said := check_columns(path, names):
        log.warning("%s", said)
    mesh = {"vertices": msgspec.Raw(b"[]")} if _holds(file.metadata, "vertices") else {}
    wanted = tuple(name for name in _Listed.__struct_fields__ if name in names and name != "vertices")
    for group in range(file.metadata.num_row_groups):
        columns = read_group(path, group, wanted).to_pydict()
        for place, values in enumerate(zip(*columns.values(), strict=True)):
            yield as_row(dict(zip(wanted, values, strict=True)) | mesh, _Listed), group, place


def _holds(metadata: Any, name: str) -> bool:
    """Whether a column of a Parquet file has a value, as far as its statistics tell."""
    for group in range(metadata.num_row_groups):
        for place in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(place)
            if chunk.path_in_schema.partition(".")[0] == name:
                known = chunk.statistics
                if known is None or not known.has_null_count or known.null_count < chunk.num_values:
                    return True
    return False


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
    found = []
    for own in sorted(np.split(order, starts[1:]), key=lambda each: int(each.min())):
        group, left = divmod(int(track[own[0]]), 2)
        key = _key(*names[group]) + (f"/{SIDES[left]}" if both[group] else "")
        _check_frames(table.rows, key, columns["frame"], own)
        facts = replace(table.facts, left=any_left, vertices=rows.vertices, origin=rows.origins[group])
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
