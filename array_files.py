"""Arrays out of .npz and .npy files that other people made.

Every header is held against what is wanted and what is there before anything is reserved, and nothing of a file is run.
numpy.load believes a header: it reserves what the header claims, and takes text and complex numbers for numbers.
"""

from __future__ import annotations

import io
import math
import os
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np

from .errors import one_line
from .zip_members import read_members

LARGEST = 256 * 2**20
"""Bytes of all arrays that are read from one file."""
_MOST_MEMBERS = 1000
_LONGEST_HEADER = 4096
_ALIGNED = 16  # bytes; numpy's own headers end so, and compiled code wants numbers there
_LONGEST_START = _LONGEST_HEADER + 12
_HEADER = re.compile(
    rb"\{'descr': '([<>|=]?[a-zA-Z]\d{0,6})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,20}L?, ?){0,31}(?:\d{1,20}L?)?)\), ?\}\s*"
)
_FAULTS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, SyntaxError, MemoryError)
NUMBERS, WHOLE, TEXT = "biuf", "biu", "U"
"""Kinds of arrays, as numpy names them: numbers (also truth values), whole numbers, text."""

Wanted = tuple[int | None, ...] | None
"""A shape whose open axes are None; None where any shape will do."""


def read_npz(
    path: Path, wanted: Mapping[str, Wanted], kinds: Mapping[str, str] | None = None, largest: int = LARGEST
) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name, each of its wanted shape and of `kinds` (numbers where nothing is said).

    ValueError for a file that is no .npz, lacks an array or holds another shape, type or size, and for a damaged one;
    OSError where it cannot be read.
    """
    quick = _plain_npz(path, wanted, kinds or {}, largest)
    if quick is not None:
        return quick
    try:
        with path.open("rb") as file:
            if file.read(6) == b"\x93NUMPY":
                raise ValueError("is a .npy file of one array, expected a .npz file")
            with zipfile.ZipFile(file) as archive:
                if len(archive.namelist()) > _MOST_MEMBERS:
                    raise ValueError(f"holds {len(archive.namelist())} arrays, expected at most {_MOST_MEMBERS}")
                found: dict[str, np.ndarray] = {}
                for name, shape in wanted.items():
                    left = largest - sum(array.nbytes for array in found.values())
                    found[name] = _member(archive, name, shape, (kinds or {}).get(name, NUMBERS), left)
                return found
    except _FAULTS as error:
        raise ValueError(f"is no whole .npz file ({one_line(error, 120) or type(error).__name__})") from None


def _plain_npz(
    path: Path, wanted: Mapping[str, Wanted], kinds: Mapping[str, str], largest: int
) -> dict[str, np.ndarray] | None:
    """What `read_npz` gives for a file without any peculiarity; None for all others, and wherever it would complain."""
    most = largest + len(wanted) * _LONGEST_START
    members = read_members(path, [f"{name}.npy" for name in wanted], most, _MOST_MEMBERS)
    if members is None:
        return None
    found: dict[str, np.ndarray] = {}
    try:
        for (name, shape), data in zip(wanted.items(), members.values(), strict=True):
            start = io.BytesIO(data[:_LONGEST_START])
            layout = _layout(start, name, len(data), shape, kinds.get(name, NUMBERS), largest)
            if start.tell() % _ALIGNED or start.tell() + layout.size != len(data):
                return None
            found[name] = layout.array(data, start.tell())
            largest -= layout.size
    except ValueError:
        return None
    return found


def names_of(path: Path) -> list[str]:
    """The names of the arrays in a .npz file; ValueError where it is none, OSError where it cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except _FAULTS as error:
        raise ValueError(f"is no whole .npz file ({one_line(error, 120) or type(error).__name__})") from None
    return [name.removesuffix(".npy") for name in names[:_MOST_MEMBERS]]


def read_npy(path: Path, wanted: Wanted = None, kinds: str = NUMBERS, largest: int = LARGEST) -> np.ndarray:
    """The array of a .npy file; errors as `read_npz` has them."""
    try:
        with path.open("rb") as file:
            if file.read(4) == b"PK\x03\x04":
                raise ValueError("is a .npz file of several arrays, expected a .npy file")
            file.seek(0)
            return _array(file, path.name, os.fstat(file.fileno()).st_size, wanted, kinds, largest)
    except _FAULTS as error:
        raise ValueError(f"is no whole .npy file ({one_line(error, 120) or type(error).__name__})") from None


def _member(archive: zipfile.ZipFile, name: str, wanted: Wanted, kinds: str, largest: int) -> np.ndarray:
    try:
        info = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise ValueError(f"lacks the array {name}") from None
    if info.header_offset < 0:  # the end of a damaged archive points before its start
        raise ValueError(f"{name} lies nowhere in the file")
    with archive.open(info) as file:
        return _array(file, name, info.file_size, wanted, kinds, largest)


@dataclass(frozen=True)
class _Layout:
    """What the start of a .npy stream says, believed: `size` bytes of an array follow."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    size: int

    def array(self, data: bytearray, offset: int = 0) -> np.ndarray:
        flat = np.frombuffer(data, self.dtype, math.prod(self.shape), offset)
        return flat.reshape(self.shape, order="F" if self.fortran else "C")


def _layout(file: IO[bytes], name: str, size: int, wanted: Wanted, kinds: str, largest: int) -> _Layout:
    """The layout of the array in a .npy stream of `size` bytes, whose start is read."""
    shape, fortran, dtype = _header(file, name)
    if dtype.kind not in kinds:
        raise ValueError(f"{name} holds {one_line(dtype, 40)}, expected {_words(kinds)}")
    fits = wanted is None or (
        len(shape) == len(wanted) and all(e in (None, n) for e, n in zip(wanted, shape, strict=True))
    )
    if not fits:
        expected = tuple("N" if each is None else each for each in wanted or ())
        raise ValueError(f"{name} has shape {one_line(shape, 60)}, expected {expected}".replace("'", ""))
    claimed = math.prod(shape) * dtype.itemsize
    if claimed > largest:
        raise ValueError(f"{name} claims {claimed} bytes, expected at most {largest}")
    if claimed > (there := size - file.tell()):
        raise ValueError(f"{name} claims {claimed} bytes, the file has {there}")
    return _Layout(shape, fortran, dtype, claimed)


def _array(file: IO[bytes], name: str, size: int, wanted: Wanted, kinds: str, largest: int) -> np.ndarray:
    """One array from the start of a .npy stream of `size` bytes."""
    layout = _layout(file, name, size, wanted, kinds, largest)
    data = bytearray(layout.size)
    view, position = memoryview(data), 0
    while position < len(data):
        piece = file.read(min(2**20, len(data) - position))
        if not piece:
            raise ValueError(f"{name} ends after {position} of {len(data)} bytes")
        view[position : position + len(piece)] = piece
        position += len(piece)
    if file.read(1):  # read to the end, so that a zip's checksum is compared
        raise ValueError(f"{name} is followed by more bytes than its shape has")
    return layout.array(data)


def _header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and type of a .npy stream; only as numpy itself writes them for plain arrays."""
    magic = file.read(8)
    if len(magic) < 8 or magic[:6] != b"\x93NUMPY":
        raise ValueError(f"{name} is no array")
    width = {1: 2, 2: 4, 3: 4}.get(magic[6], 0)
    length = int.from_bytes(file.read(width), "little") if width else 0
    try:
        return _parsed(file.read(length) if 0 < length <= _LONGEST_HEADER else b"")
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None


@lru_cache(maxsize=64)  # the files of a dataset have few headers
def _parsed(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype]:
    found = _HEADER.fullmatch(header)
    if found is None:
        raise ValueError("has another header than an array of numbers or text")
    descr, fortran, shape = (part.decode() for part in found.groups())
    try:
        dtype = np.dtype(descr)
    except TypeError:
        raise ValueError(f"holds the unknown type {descr}") from None
    if dtype.hasobject or not dtype.itemsize:
        raise ValueError(f"holds {descr}, expected numbers or text, no Python objects")
    return tuple(int(n.rstrip("L")) for n in shape.replace(",", " ").split()), fortran == "True", dtype


def _words(kinds: str) -> str:
    return {NUMBERS: "numbers", WHOLE: "whole numbers", TEXT: "text"}.get(kinds, f"kinds {kinds}")
