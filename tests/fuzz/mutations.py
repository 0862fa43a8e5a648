"""What may happen to a file between its maker and its reader, as Hypothesis strategies from good bytes to bad ones.

Every mutation is harmless to other people's software: bytes that are cut, flipped or repeated; and values of another
type, size or sign in the file's own format, none of them larger than a few kilobytes.
"""

from __future__ import annotations

import copy
import io
import json
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import yaml
from hypothesis import strategies as st

NESTED: Any = 0
for _ in range(40):  # our readers allow 32
    NESTED = [NESTED]
STRINGS = ("", "x", "../x", "/x", "a/../../x", "a\nb", "a\x00b", "\u00e9\u202e", "x" * 5000, "nan", "1e400", ".", "..")
NUMBERS = (0, -1, 1, 255, 2**31, -(2**31) - 1, 2**63, 10**30, 1e308, -1e-308, 0.5, float("nan"))
VALUES = (None, True, [], {}, [0], ["x"], {"x": 1}, [1e9] * 100, NESTED, *STRINGS, *NUMBERS)
TOKENS = (
    "",
    "-1",
    "0",
    "nan",
    "inf",
    "1e999",
    "99999999999999999999",
    "2147483648",
    "x",
    "null",
    "[]",
    "{",
    "\x00",
    "\u00e9",
)
ARRAYS = (
    lambda old: old[:0],
    lambda old: old[None],
    lambda old: old.ravel(),
    lambda old: np.asfortranarray(old),
    lambda old: old.astype(np.complex128),
    lambda old: old.astype("U8"),
    lambda old: old.astype(np.uint8),
    lambda old: old.astype(">f8"),
    lambda old: old * np.float64(1000.0),
    lambda old: old * 0,
    lambda old: np.full(old.shape, np.nan),
    lambda old: np.full(old.shape, 3e38),
    lambda old: np.full(old.shape, -1e30),
    lambda old: np.array(2**70, dtype=object).astype(float),
    lambda old: np.zeros((1, 0, 3)),
    lambda old: np.array(["../x"]),
)


@st.composite
def edit_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """One to three edits of raw bytes: cut, flip, drop, repeat, zero or insert."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        length = draw(st.sampled_from((1, 2, 4, 16, 300)))
        piece = data[at : at + length]
        changed = draw(
            st.sampled_from(("cut", "flip", "drop", "repeat", "zero", "ones", "insert", "empty", "append", "swap"))
        )
        flip = bytes([piece[0] ^ (1 << draw(st.integers(0, 7)))]) if piece else b""
        data = {
            "cut": data[:at],
            "flip": data[:at] + flip + data[at + 1 :],
            "drop": data[:at] + data[at + length :],
            "repeat": data[:at] + piece * 3 + data[at + length :],
            "zero": data[:at] + bytes(len(piece)) + data[at + length :],
            "ones": data[:at] + b"\xff" * len(piece) + data[at + length :],
            "insert": data[:at] + draw(st.binary(max_size=8)) + data[at:],
            "empty": b"",
            "append": data + piece,
            "swap": data[at:] + data[:at],
        }[changed]
    return data


@st.composite
def edit_text(draw: st.DrawFn, data: bytes) -> bytes:
    """Some tokens or lines of a text replaced, dropped, repeated or reordered; or raw bytes edited."""
    if draw(st.integers(0, 3)) == 0:
        return draw(edit_bytes(data))
    text = data.decode("utf-8", "surrogateescape")
    for _ in range(draw(st.integers(1, 3))):
        if draw(st.booleans()):
            tokens = [match.span() for match in re.finditer(r"[\w.+-]+", text)] or [(0, 0)]
            start, end = draw(st.sampled_from(tokens[:2000]))
            text = text[:start] + draw(st.sampled_from(TOKENS)) + text[end:]
        else:
            lines = text.split("\n")
            at = draw(st.integers(0, len(lines) - 1))
            how = draw(st.sampled_from(("drop", "repeat", "end", "bom", "crlf")))
            if how == "drop":
                del lines[at]
            elif how == "repeat":
                lines.insert(at, lines[at])
            elif how == "end":
                lines.append(lines.pop(at))
            text = {"bom": "\ufeff" + text, "crlf": text.replace("\n", "\r\n")}.get(how, "\n".join(lines))
    return text.encode("utf-8", "surrogateescape")


def _places(value: Any, path: tuple = (), limit: int = 400) -> list[tuple]:
    """Where something can be replaced in nested containers: keys and indices from the top, some per list."""
    found = [path]
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list | tuple):
        inner = list(enumerate(value))
        inner = inner[:3] + inner[3:][-1:]
    else:
        inner = []
    for key, child in inner:
        if len(found) < limit:
            found += _places(child, (*path, key), limit - len(found))
    return found


def _replace(value: Any, path: tuple, change: Callable[[Any], Any]) -> Any:
    """A copy of nested containers with `change` applied at one place; the change may raise KeyError to drop it."""
    if not path:
        return change(value)
    inner = dict(value) if isinstance(value, dict) else list(value)
    try:
        inner[path[0]] = _replace(inner[path[0]], path[1:], change)
    except KeyError:
        del inner[path[0]]
    return inner


def _drop(_: Any) -> Any:
    raise KeyError


@st.composite
def edit_value(draw: st.DrawFn, value: Any) -> Any:
    """One to three places of nested containers replaced by other values, dropped or, where arrays, reshaped."""
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(_places(value)[1:] or [()]))
        new = draw(st.sampled_from(VALUES))
        reshape = draw(st.sampled_from(ARRAYS))
        dropped = draw(st.integers(0, 4)) == 0

        def change(old: Any, new: Any = new, reshape: Callable = reshape, dropped: bool = dropped) -> Any:
            if isinstance(old, np.ndarray) and not dropped and old.dtype.kind in "biufc":
                with np.errstate(all="ignore"):
                    return reshape(np.atleast_1d(old))
            return _drop(old) if dropped else copy.deepcopy(new)

        try:
            value = _replace(value, path, change)
        except KeyError:
            value = None
    return value


def _json(value: Any) -> bytes:
    return json.dumps(value, default=str).encode()


def _npz(value: Any) -> bytes:
    file = io.BytesIO()
    arrays = {str(name): np.asarray(item) for name, item in value.items()} if isinstance(value, dict) else {}
    arrays = {name.replace("/", "_")[:90] or "x": item for name, item in arrays.items() if item.dtype != object}
    np.savez_compressed(file, **{name: item for name, item in arrays.items() if name != "file"})
    return file.getvalue()


def _yaml(value: Any) -> bytes:
    return yaml.safe_dump(value, allow_unicode=True).encode()


def _read_columns(data: bytes) -> Any:
    import pyarrow.parquet as pq  # pyright: ignore[reportMissingImports]

    return pq.read_table(io.BytesIO(data)).to_pydict()


def _parquet(value: Any) -> bytes:
    """Columns as a Parquet file with two rows to a group; what replaced a column stands in all its rows."""
    import pyarrow as pa  # pyright: ignore[reportMissingImports]
    import pyarrow.parquet as pq  # pyright: ignore[reportMissingImports]

    file, columns = io.BytesIO(), value if isinstance(value, dict) else {}
    rows = max((len(column) for column in columns.values() if isinstance(column, list)), default=0)
    whole = {
        str(name): column if isinstance(column, list) and len(column) == rows else [column] * rows
        for name, column in columns.items()
    }
    pq.write_table(pa.table(whole), file, row_group_size=2)
    return file.getvalue()


FORMATS: dict[str, tuple[Callable[[bytes], Any], Callable[[Any], bytes]]] = {
    "json": (json.loads, _json),
    "jsonl": (
        lambda data: [json.loads(line) for line in data.splitlines()],
        lambda value: b"\n".join(map(_json, value if isinstance(value, list) else [value])),
    ),
    "parquet": (_read_columns, _parquet),
    "yaml": (yaml.unsafe_load, _yaml),
    "pickle": (pickle.loads, lambda value: pickle.dumps(value, 2).replace(b"numpy._core", b"numpy.core")),
    "npz": (lambda data: dict(np.load(io.BytesIO(data))), _npz),
}


@st.composite
def edit_file(draw: st.DrawFn, data: bytes, form: str) -> bytes:
    """A file of one of FORMATS, of "text" or of "bytes", changed in its own terms or byte by byte."""
    if form == "text":
        return draw(edit_text(data))
    if form == "bytes" or draw(st.integers(0, 2)) == 0:
        return draw(edit_bytes(data))
    parse, write = FORMATS[form]
    if form in ("json", "jsonl", "yaml") and draw(st.integers(0, 2)) == 0:
        return draw(edit_text(data))
    try:
        return write(draw(edit_value(parse(data))))
    except (TypeError, ValueError, OverflowError, RecursionError, NotImplementedError, yaml.YAMLError):
        return draw(edit_bytes(data))  # a value that its own format cannot hold
