"""The rows of a table: what a row may say, and one row read from frames.jsonl or frames.parquet by its place.

A row is one hand in one photo. Lists of numbers may be flat or nested. Units and axes as `frame.Frame`.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TypeVar

import msgspec
import numpy as np
from msgspec import Struct

from ...errors import InputError, brief, one_line
from ...untrusted import parse_json
from .fields import array_of
from .table import Colour, Side

Kind = TypeVar("Kind", bound=Struct)
LARGEST_ROW = 2**20
"""Bytes of a row of frames.jsonl; a mesh as text has 50 kB."""
LARGEST_GROUP = 2**28
"""Bytes of a row group of frames.parquet, which workers read as a whole."""
EXTRA = "pip install 'h2onet[table]'"


class ObjectRow(Struct):
    """An object of a row: its folder below the objects' folder, and `pose` 3 x 4, camera_from_object, m."""

    name: str
    pose: Any


class Row(Struct):
    """One row. Required: sequence, frame, image, side, intrinsics; of the hand whatever is known.

    `camera` and `hand` (a name for one of several hands) tell sequences apart; `recording` (the sequence, unless it is
    said) is what was recorded at once: scores draw whole ones. `unannotated` says why a photo has no
    annotation. `index` is the frame's position in the dataset's own list, `grasped` the place in `objects`.
    """

    sequence: str | int
    frame: int
    image: str
    side: str
    intrinsics: Any = None
    camera: str | int | None = None
    hand: str | int | None = None
    split: str | None = None
    recording: str | int | None = None
    subject: str | int | None = None
    index: int | None = None
    width: Side | None = None
    height: Side | None = None
    mano_pose: Any = None
    mano_shape: Any = None
    translation: Any = None
    wrist: Any = None
    joints: Any = None
    joints_2d: Any = None
    vertices: Any = None
    box: Any = None
    mask: str | None = None
    mask_value: Colour | None = None
    objects: list[ObjectRow] | None = None
    grasped: int | None = None
    unannotated: str | None = None


COLUMNS = frozenset(field.name for field in msgspec.structs.fields(Row))
_decoder = msgspec.json.Decoder(Row)


def decode_row(line: bytes) -> Row:
    """A line of frames.jsonl. ValueError when it is no row; NaN, which JSON does not have, is a number here."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        return as_row(lenient(line, error), Row)


def lenient(line: bytes, first: Exception) -> Any:
    """A line that is no JSON as Python reads it: with NaN, so that a row's check can name the field that holds one.

    ValueError with the `first` reason where it is no object at all.
    """
    try:
        content = parse_json(line, "the row", LARGEST_ROW, nan=True)
    except InputError:
        content = None
    if not isinstance(content, dict):
        raise ValueError(f"is no row as JSON ({one_line(first, 160)})")
    return content


def as_row(content: Any, kind: type[Kind]) -> Kind:
    """What a file holds for a row, as a `kind`; ValueError names the field that is missing or of another type."""
    try:
        return msgspec.convert(content, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ValueError(one_line(error, 160)) from None


def numbers(values: Any, shape: tuple[int, ...], name: str) -> np.ndarray:
    """The field called `name`, flat or nested, as finite float64 of that shape; ValueError names it otherwise."""
    if values is None:
        raise ValueError(f"{name} is missing")
    flat = isinstance(values, list) and len(values) == int(np.prod(shape)) and not isinstance(values[0], list)
    return array_of(values, (int(np.prod(shape)),), name).reshape(shape) if flat else array_of(values, shape, name)


class RowReader:
    """Rows of one file by place: (start, end) bytes of a .jsonl, (row group, row in it) of a .parquet; close it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None if path.suffix == ".parquet" else path.open("rb")

    def __enter__(self) -> RowReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    def read(self, place: tuple[int, int]) -> Row:
        """The row at a place; ValueError when it is none."""
        if self._file is not None:
            self._file.seek(place[0])
            return decode_row(self._file.read(place[1] - place[0]))
        content = read_group(self._path, place[0], None).slice(place[1], 1).to_pylist()[0]
        return as_row(content, Row)


def parquet_file(path: Path) -> Any:
    """pyarrow's ParquetFile. InputError naming the extra where pyarrow is missing, or what is wrong with the file."""
    try:
        import pyarrow as pa  # pyright: ignore[reportMissingImports]
        import pyarrow.parquet as pq  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(f"{path}: needs pyarrow; run: {EXTRA}, or write frames.jsonl") from None
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: no whole Parquet file ({one_line(error, 120)}); write it again") from None


def read_group(path: Path, group: int, columns: tuple[str, ...] | None) -> Any:
    """A row group as an Arrow table; the last one is kept. InputError where it is too large for workers."""
    return _read_group(path, path.stat().st_mtime_ns, group, columns)


@lru_cache(maxsize=1)
def _read_group(path: Path, time: int, group: int, columns: tuple[str, ...] | None) -> Any:
    file = parquet_file(path)
    size = file.metadata.row_group(group).total_byte_size
    if size > LARGEST_GROUP:
        raise InputError(
            f"{path}: a row group has {size >> 20} MB, expected at most {LARGEST_GROUP >> 20}; write it with"
            " row_group_size=2000"
        )
    try:
        return file.read_row_group(group, columns=None if columns is None else list(columns))
    except OSError as error:
        raise InputError(f"{path}: row group {group}: {one_line(error, 120)}; write it again") from None


def check_columns(path: Path, names: set[str]) -> str | None:
    """What to say about columns that no row may have, None where there are none."""
    unknown = sorted(names - COLUMNS)
    return f"{path}: not read: {', '.join(brief(name) for name in unknown[:8])}" if unknown else None
