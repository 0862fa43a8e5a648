"""The two files that rows of a table are written to: frames.jsonl, and frames.parquet with small row groups.

Numbers keep all their digits in both. Source of the columns: `data.readers.table_rows.Row`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

import msgspec
import numpy as np

from ..data.readers.table_rows import EXTRA
from ..errors import InputError

FORMATS = ("jsonl", "parquet")
GROUP = 2000
"""Rows of a group of frames.parquet: what a worker reads at once."""
_TEXT = ("sequence", "camera", "recording", "subject", "split", "side", "image", "mask", "unannotated")
_WHOLE = ("frame", "index", "grasped")
_LISTS = (
    *("intrinsics", "wrist", "mano_pose", "mano_shape", "translation", "joints", "joints_2d", "vertices"),
    "box",
)


class RowTarget(Protocol):
    """A file of rows that is being written."""

    def write(self, row: dict[str, Any]) -> None:
        """Append a row."""
        ...


@contextmanager
def rows_file(path: Path) -> Iterator[RowTarget]:
    """A new file of rows by its suffix, .jsonl or .parquet. InputError where the second needs pyarrow."""
    if path.suffix == ".jsonl":
        with path.open("wb") as file:
            yield _JsonRows(file)
    else:
        target = _ParquetRows(path)
        yield target
        target.close()


class _JsonRows:
    """A JSON object on every line; msgspec writes the shortest digits that read back as the same number."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, row: dict[str, Any]) -> None:
        self._file.write(msgspec.json.encode(row) + b"\n")


class _ParquetRows:
    """Lists are flat; rows are kept until a group is full."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow as pa  # pyright: ignore[reportMissingImports]
            import pyarrow.parquet as pq  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise InputError(f"{path.name}: needs pyarrow; run: {EXTRA}, or use --rows jsonl") from None
        numbers = pa.list_(pa.float64())
        fields = [(name, pa.string()) for name in _TEXT] + [(name, pa.int64()) for name in _WHOLE]
        fields += [(name, numbers) for name in _LISTS]
        fields.append(("objects", pa.list_(pa.struct([("name", pa.string()), ("pose", numbers)]))))
        self._table, self._schema, self._rows = pa.Table, pa.schema(fields), []
        self._writer = pq.ParquetWriter(path, self._schema)

    def write(self, row: dict[str, Any]) -> None:
        flat = {name: np.ravel(row[name]).tolist() for name in _LISTS if name in row}
        if "objects" in row:
            flat["objects"] = [{**each, "pose": np.ravel(each["pose"]).tolist()} for each in row["objects"]]
        self._rows.append(row | flat)
        if len(self._rows) == GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(self._table.from_pylist(self._rows, self._schema))
            self._rows = []

    def close(self) -> None:
        self._flush()
        self._writer.close()
