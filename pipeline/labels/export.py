"""`h2o labels export`: a labels.zarr as CSV, Parquet or COCO keypoints, for other people's scripts.

CSV and Parquet have a row per frame: `sequence`, then a column per number of the store's columns (`flat_names`), in
the store's units and with its codes (255 unknown). NaN is an empty cell in CSV; truth values are 0 and 1 there.
"""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from ...data.labels import LabelStore
from ...durable import writing_file
from ...errors import InputError
from .coco import write_coco
from .columns import blocks, column_names, flat_rows

FORMATS = ("csv", "parquet", "coco")
_ROWS = 4096


def export_labels(store: str | Path, to: str, out: Path) -> str:
    """Write a store as a file of one of `FORMATS`, whole or not at all; returns a line that says what was written.

    InputError for another format, an `out` that is there already, Parquet without pyarrow, or a damaged store.
    """
    if to not in FORMATS:
        raise InputError(f"--to: expected {', '.join(FORMATS)}, found {to!r}")
    if out.exists():
        raise InputError(f"--out {out}: exists already; give a new name")
    if to == "parquet" and importlib.util.find_spec("pyarrow") is None:
        raise InputError("--to parquet: needs pyarrow; run: pip install pyarrow, or use --to csv")
    labels = LabelStore.open(store)
    if not len(labels):
        raise InputError(f"{store}: holds no frame to write")
    writers: dict[str, Callable[[LabelStore, Path], None]] = {
        "csv": _write_csv,
        "parquet": _write_parquet,
        "coco": write_coco,
    }
    writers[to](labels, out)
    return f"{len(labels)} frames ({out.stat().st_size / 1e6:.1f} MB) in {out}"


def _flat_blocks(labels: LabelStore) -> Iterator[dict[str, np.ndarray]]:
    """Consecutive rows as one array (rows,) per number of a frame, in the stored type."""
    keys = np.array(labels.sequences, dtype=np.str_)
    for start, end in blocks(len(labels), _ROWS):
        flat = {"sequence": keys[labels.index.part("sequence_id", start, end)]}
        for name in column_names(labels):
            flat |= flat_rows(name, labels.index.part(name, start, end))
        yield flat


def _write_csv(labels: LabelStore, out: Path) -> None:
    with writing_file(out) as file:
        for number, flat in enumerate(_flat_blocks(labels)):
            text = io.StringIO(newline="")
            writer = csv.writer(text, lineterminator="\n")
            if number == 0:
                writer.writerow(flat)
            writer.writerows(zip(*(_cells(values) for values in flat.values()), strict=True))
            file.write(text.getvalue().encode())


def _cells(values: np.ndarray) -> list[str]:
    """Numbers as the shortest text that reads back as the same number of their type."""
    if values.dtype.kind == "b":
        values = values.astype(np.uint8)
    cells = values.astype(np.str_)
    return (np.where(np.isnan(values), "", cells) if values.dtype.kind == "f" else cells).tolist()


def _write_parquet(labels: LabelStore, out: Path) -> None:
    write_parquet(_flat_blocks(labels), out)


def write_parquet(rows: Iterable[dict[str, np.ndarray]], out: Path) -> None:
    """Write blocks of rows, one array (rows,) per column, as one Parquet file, whole or not at all; needs pyarrow."""
    import pyarrow as pa  # pyright: ignore[reportMissingImports]
    import pyarrow.parquet as pq  # pyright: ignore[reportMissingImports]

    with writing_file(out) as file:
        writer = None
        for flat in rows:
            table = pa.table({name: pa.array(np.ascontiguousarray(values)) for name, values in flat.items()})
            writer = writer or pq.ParquetWriter(file, table.schema)
            writer.write_table(table)
        if writer is not None:
            writer.close()
