"""What listing needs to know of the rows of a table: every one of frames.jsonl or frames.parquet, with where it lies.

Whole rows are `table_rows`; here nothing is made of their numbers, because a table of a dataset has gigabytes of them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from ...untrusted import parse_json
from .table import Split
from .table_rows import LARGEST_ROW, as_row, check_columns, lenient, parquet_file, read_group

log = logging.getLogger(__name__)
TOO_LONG = f"has more than {LARGEST_ROW >> 10} kB"
_AT_ONCE = 2**18  # bytes of frames.jsonl: as many as stay in a core's cache
_OBJECT_NAME = re.compile(r"objects\.[a-z]+\.[a-z]+\.name")  # writers call the parts of a list differently


class _Named(Struct, gc=False):
    """An object of a row, by its name alone."""

    name: str


NOTHING = msgspec.Raw()


class Listed(Struct, gc=False):
    """What listing needs to know of a row; `vertices` unread, NOTHING where there are none."""

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
    vertices: msgspec.Raw = NOTHING
    objects: list[_Named] | None = None


def json_rows(path: Path) -> Iterator[tuple[Listed, int, int]]:
    """The rows of a file of lines: (row, start, end), the bytes at which it lies. ValueError for one that is none."""
    decode = msgspec.json.Decoder(Listed).decode
    for line, start in _lines(path):
        try:
            row = decode(line)
        except (msgspec.DecodeError, RecursionError) as error:
            row = _lenient_row(bytes(line), error)
        if start == 0:
            names = set(parse_json(bytes(line), str(path), LARGEST_ROW, nan=True))
            if said := check_columns(path, names):
                log.warning("%s", said)
        yield row, start, start + len(line)


def _lines(path: Path) -> Iterator[tuple[memoryview, int]]:
    """Every line of a file, good until the next is asked for, and where it begins. ValueError for one too long."""
    buffer, kept, begin = bytearray(LARGEST_ROW + _AT_ONCE), 0, 0  # one buffer: a table has gigabytes
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while read := file.readinto(view[kept : kept + _AT_ONCE]):
            start, stop = 0, kept + read
            while end := buffer.find(b"\n", start, stop) + 1:
                if end - start > LARGEST_ROW:
                    raise ValueError(TOO_LONG)
                yield view[start:end], begin + start
                start = end
            kept, begin = stop - start, begin + start
            if kept > LARGEST_ROW:
                raise ValueError(TOO_LONG)
            buffer[:kept] = view[start:stop]
    if kept:
        yield view[:kept], begin


def _lenient_row(line: bytes, error: Exception) -> Listed:
    """A row that is not as `Listed` has it: with NaN, or with objects that are none, which `table_frames` names."""
    if not line.strip():
        raise ValueError("is empty, expected a JSON object on every line") from None
    content = lenient(line, error)
    if content.pop("vertices", None) is not None:
        content["vertices"] = msgspec.Raw(b"[]")
    try:
        content["objects"] = msgspec.convert(content.get("objects"), list[_Named] | None)
    except msgspec.ValidationError:
        del content["objects"]
    return as_row(content, Listed)


def parquet_rows(path: Path, objects: set[str]) -> Iterator[tuple[Listed, int, int]]:
    """The rows of a Parquet file: (row, row group, place in it); the names of their objects are added to `objects`.

    ValueError for a row that is none, InputError for a file that is none.
    """
    file = parquet_file(path)
    names = set(file.schema_arrow.names)
    if said := check_columns(path, names):
        log.warning("%s", said)
    mesh = {"vertices": msgspec.Raw(b"[]")} if _holds(file.metadata, "vertices") else {}
    wanted = tuple(name for name in Listed.__struct_fields__ if name in names - {"vertices", "objects"})
    leaves = [file.metadata.schema.column(place).path for place in range(file.metadata.num_columns)]
    named = tuple(path for path in leaves if _OBJECT_NAME.fullmatch(path))
    for group in range(file.metadata.num_row_groups):
        table = read_group(path, group, wanted + named)
        if named and "objects" in table.column_names:
            objects.update(_texts(table.column("objects")))
        columns = table.select([name for name in wanted if name in table.column_names]).to_pydict()
        for place, values in enumerate(zip(*columns.values(), strict=True)):
            yield as_row(dict(zip(columns, values, strict=True)) | mesh, Listed), group, place


def _texts(column: Any) -> set[str]:
    """All names in a column of lists of objects."""
    return {text for part in column.chunks for text in part.flatten().field("name").unique().to_pylist() if text}


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
