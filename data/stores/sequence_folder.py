"""The folder of one finished sequence: whether it is whole, and its rows.

    <folder>/zarr.json                  attrs: key, n_frames, fields, blobs, sha256, state="complete", ...
    <folder>/rows/{zarr.json,c/0}       uint8, packed records (records.py) in one uncompressed chunk
    <folder>/<blob>/{zarr.json,c/0}     uint8, one uncompressed chunk; no c/0 where it is empty

What a copy, a scratch purge or a disk left of a sequence must never pass for one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from msgspec import Struct

from ...errors import InputError, brief, one_line
from ...untrusted import fault, read_json
from .attributes import SequenceAttributes, find_faults, group_attributes
from .columns import LATER_COLUMNS, Schema, check_table, known_schema, unknown_column
from .keys import folder_name
from .records import ZARR_FAULTS, Rows, digest_of, record, unpack_rows

AGAIN = "run the command that builds the store again"


def read_attributes(folder: Path, kind: type[Struct] = SequenceAttributes) -> dict[str, Any] | None:
    """The attributes of a sequence; None without a folder. InputError for what is no finished sequence of that name."""
    if not folder.is_dir():
        return None
    attrs = group_attributes(folder)
    if attrs is None:
        raise InputError(f"{folder}: its zarr.json is missing; {AGAIN}")
    faults = find_faults(attrs, kind)
    if faults:
        more = f" (and {len(faults) - 1} more)" if faults[1:] else ""
        raise InputError(f"{folder}: {faults[0]}{more}; {AGAIN}")
    if folder_name(attrs["key"]) != folder.name:
        raise InputError(f"{folder}: is the sequence {brief(attrs['key'])}, not the one of its name; {AGAIN}")
    return attrs


def find_damage(folder: Path, key: str, kind: type[Struct] = SequenceAttributes) -> str | None:
    """Why what lies at `folder` is not the whole finished sequence `key`; None when it is.

    Sizes are compared, and the checksum where there are no blobs.
    """
    try:
        attrs = read_attributes(folder, kind)
    except InputError as error:
        return str(error)
    if attrs is None:
        return f"{folder}: is not there" if not folder.exists() else f"{folder}: is no folder"
    if attrs["key"] != key:
        return f"{folder}: holds the sequence {brief(attrs['key'])}"
    sizes = {"rows": attrs["n_frames"] * record(attrs["fields"]).itemsize}
    sizes |= {name: attrs.get("nbytes") if name == "jpeg" else None for name in attrs.get("blobs", [])}
    faults = [_array_fault(folder / name, size) for name, size in sizes.items()]
    damage = next((each for each in faults if each is not None), None)
    if damage is None and attrs.get("blobs") == []:
        try:
            read_rows(folder, attrs)
        except InputError as error:
            return str(error)
    return damage


def _array_fault(array: Path, size: int | None) -> str | None:
    """Why an array is not `size` (None: any number of) bytes in one plain chunk."""
    try:
        (shape,) = plain_shape(array, np.dtype(np.uint8))
    except (InputError, OSError, ValueError) as error:
        return f"{array}: {one_line(error)}"
    if size not in (None, shape):
        return f"{array / 'zarr.json'}: describes {shape} bytes, expected {size}"
    file = array / "c" / "0"
    found = file.stat().st_size if file.is_file() else 0
    return None if found == shape else f"{file}: has {found} bytes, expected {shape}"


def plain_shape(array: Path, dtype: np.dtype) -> list[int]:
    """The shape of an array as its zarr.json describes it, where that is one uncompressed little-endian chunk.

    ValueError where it describes something else, OSError where it cannot be read.
    """
    described = read_json(array / "zarr.json", nan=True)
    try:
        shape, chunk = described["shape"], described["chunk_grid"]["configuration"]["chunk_shape"]
        (codec,) = described["codecs"]
        endian = codec.get("configuration", {}).get("endian", "little")
        names = described["chunk_key_encoding"]
        places = (names["name"], names.get("configuration", {}).get("separator", "/"))
        found = (described["node_type"], described["data_type"], codec["name"], endian, *places)
        whole = chunk == [max(1, n) for n in shape] and described["zarr_format"] == 3
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"its zarr.json does not describe an array ({fault(error)})") from None
    if found != ("array", dtype.name, "bytes", "little", "default", "/") or not whole:
        raise ValueError(f"its zarr.json does not describe {dtype.name} in one uncompressed chunk")
    return shape


def read_rows(folder: Path, attrs: dict[str, Any], schema: Schema | None = None) -> Rows:
    """Per-frame arrays of a sequence with these attributes, which have the columns of a schema where one is given.

    Columns that the store's version did not have yet are unknown. InputError when they are damaged: rows have their
    length, and without blobs their checksum.
    """
    # The one chunk is the array's bytes: read as a file it takes a tenth of the time, and a chunk that a copy left
    # out is an error, where Zarr fills in zeros.
    file = folder / "rows" / "c" / "0"
    packed = np.frombuffer(file.read_bytes() if file.is_file() else b"", np.uint8)
    if len(packed) != attrs["n_frames"] * record(attrs["fields"]).itemsize or (
        attrs.get("blobs") == [] and digest_of(packed, attrs["fields"], {}) != attrs["sha256"]
    ):
        raise InputError(f"{folder}: rows are damaged ({len(packed)} bytes): delete the folder, run the command again")
    if schema is not None:
        check_fields(folder, attrs["fields"], schema)
    rows = unpack_rows(packed, attrs["fields"])
    later = [name for name in LATER_COLUMNS if schema is not None and name in schema and name not in rows]
    return rows | {name: unknown_column(name, attrs["n_frames"]) for name in later}


def check_fields(where: str | Path, fields: list[list[Any]], schema: Schema) -> None:
    """InputError unless the fields of packed rows are the columns of a schema."""
    found = {name: (kind, tuple(shape)) for name, kind, shape in fields}
    check_table(where, found, known_schema(found, schema))


def verify_folder(folder: Path, attrs: dict[str, Any]) -> str:
    """Compare a sequence with its checksum and return that; InputError when a byte differs.

    Read through Zarr, as other readers do.
    """
    damage = find_damage(folder, attrs["key"])
    if damage is not None:
        raise InputError(f"{damage}; delete the folder, run the command again")
    try:
        group = zarr.open_group(folder, mode="r", zarr_format=3, use_consolidated=False)
        arrays = {name: np.asarray(array[:]) for name, array in group.arrays()}
        digest = digest_of(arrays.pop("rows"), attrs["fields"], arrays)
    except ZARR_FAULTS as error:
        raise InputError(f"{folder}: Zarr cannot read it ({fault(error)}); delete it, run the command again") from None
    if digest != attrs["sha256"] or sorted(arrays) != attrs.get("blobs", sorted(arrays)):
        raise InputError(f"{folder}: checksum differs; the disk or a copy damaged it: delete it and run again")
    return attrs["sha256"]
