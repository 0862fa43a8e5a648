"""The members of a plain .zip file, as numpy.savez writes them, inflated in one go.

Python's own zipfile opens, seeks and inflates piece by piece: for a label file of DexYCB that takes ten times as long
as its bytes need. Here only what is beyond doubt is taken: one disk, plain names, no encryption, no comments, members
that fill the file without gap or overlap, and every size and checksum as the directory says. For anything else
`read_members` gives None, and zipfile decides what the file holds or says what is wrong with it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from pathlib import Path

import deflate

LARGEST_FILE = 16 * 2**20
"""Bytes of a file that is read whole; larger ones are left to zipfile."""
_END = struct.Struct("<4s4H2LH")
_ENTRY = struct.Struct("<4s4B4HL2L5H2L")
_LOCAL = struct.Struct("<4s2B4HL2L2H")
_STORED, _DEFLATED = 0, 8
_NEWEST = 63  # version needed to extract, as zipfile accepts it


def read_members(path: Path, names: Iterable[str], largest: int, most: int) -> dict[str, bytearray] | None:
    """The bytes of the named members, at most `largest` in all; None for a file that is left to zipfile.

    most: how many members the file may have.

    OSError where it cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(LARGEST_FILE + 1) if size <= LARGEST_FILE else b""
    entries = _entries(data, most) if _END.size <= len(data) <= LARGEST_FILE else None
    found: dict[str, bytearray] = {}
    for name in names:
        entry = entries.get(name.encode()) if entries else None
        content = None if entry is None else _content(data, *entry, largest)
        if content is None:
            return None
        found[name] = content
        largest -= len(content)
    return found


def _entries(data: bytes, most: int) -> dict[bytes, tuple[int, int, int, int, int]] | None:
    """By name: start and length of what is stored, length and checksum of what it holds, method."""
    end = len(data) - _END.size
    magic, disk, first_disk, here, count, size, start, comment = _END.unpack_from(data, end)
    plain = magic == b"PK\5\6" and not (disk or first_disk or comment) and here == count <= most
    if not plain or start + size != end:
        return None
    entries: dict[bytes, tuple[int, int, int, int, int]] = {}
    place, position = 0, start
    for _ in range(count):
        if position + _ENTRY.size > end:
            return None
        found = _ENTRY.unpack_from(data, position)
        magic, version, flags, method = found[0], found[3], found[5], found[6]
        checksum, stored, length, name_length, extra, note, volume = found[9:16]
        header, name_at = found[18], position + _ENTRY.size
        name = data[name_at : name_at + name_length]
        position = name_at + name_length
        plain = magic == b"PK\1\2" and version <= _NEWEST and not (flags or extra or note or volume)
        if not plain or header != place or name in entries or not name.isascii() or b"\0" in name:
            return None
        if place + _LOCAL.size > start:
            return None
        local = _LOCAL.unpack_from(data, place)
        content = place + _LOCAL.size + name_length + local[11]
        same = local[0] == b"PK\3\4" and local[3] == 0 and local[10] == name_length
        if not same or data[place + _LOCAL.size : place + _LOCAL.size + name_length] != name:
            return None
        place = content + stored
        if place > start:
            return None
        entries[name] = (content, stored, length, checksum, method)
    return entries if position == end and place == start else None


def _content(
    data: bytes, start: int, stored: int, length: int, checksum: int, method: int, largest: int
) -> bytearray | None:
    """The inflated bytes of one member, or None."""
    if length > largest:
        return None
    piece = memoryview(data)[start : start + stored]
    if method == _DEFLATED and length:
        try:
            content = deflate.deflate_decompress(piece, length)
        except deflate.DeflateError:
            return None
    elif method == _STORED and stored == length:
        content = bytearray(piece)
    else:
        return None
    return content if len(content) == length and deflate.crc32(content) == checksum else None
