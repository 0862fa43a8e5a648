"""What the header of an MP4 or MOV says: how many frames are shown, how they lie, whether the file is whole.

OpenCV counts the frames that an edit list cuts away, and takes a mirrored picture for a turned one. Only headers are
read, never a picture; every count and size is held against the bytes that are there. Source: ISO/IEC 14496-12, boxes
moov (mvhd, trak: tkhd, edts/elst, mdia/mdhd, hdlr, stbl/stts, ctts) and moof (traf/trun).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

MOST_HEADER = 64 << 20  # bytes of moov: that of ten hours is a tenth of it
MOST_BOXES = 100_000  # side by side: a fragment a second for a day
MOST_FRAMES = 4_000_000  # 18 hours at 60 per second
_WHOLE = 1 << 16  # a matrix is of 16.16 fixed-point numbers


class BadHeader(Exception):
    """The header cannot be read; the text says where."""


@dataclass(frozen=True)
class MovieHeader:
    """What a player would show: `frames` (None: the header does not say) through `matrix`; `lost` bytes are missing.

    matrix (2, 2) float: a row vector of pixels from the stored picture times it is one of the shown picture.
    """

    frames: int | None
    matrix: NDArray[np.float64]
    lost: int


@dataclass(frozen=True)
class _Box:
    kind: bytes
    content: memoryview


def read_movie_header(file: BinaryIO, size: int) -> MovieHeader:
    """Read the header of an MP4 or MOV of `size` bytes; BadHeader where it is missing, damaged or beyond all bounds."""
    header, fragments, lost = None, [], 0
    for kind, start, length in _outer_boxes(file, size):
        lost = max(0, start + length - size)
        if kind not in (b"moov", b"moof") or lost:
            continue
        if length > MOST_HEADER:
            raise BadHeader(f"{kind.decode()} of {length} bytes, at most {MOST_HEADER} are read")
        file.seek(start)
        content = memoryview(file.read(length))
        if kind == b"moov":
            header = header or content
        else:
            fragments.append(content)
    if header is None:
        raise BadHeader("no moov: the end of the file is missing" if lost else "no moov")
    return _read_movie(header, fragments, lost)


def _outer_boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """The kind, start and length of the content of every outermost box; the last one may go beyond the file's end."""
    at = 0
    for _ in range(MOST_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8 or not head[4:8].isalnum():
            return  # the end, or what a recorder put behind it
        length, kind, start = *struct.unpack(">I4s", head[:8]), 8
        if length == 1 and len(head) == 16:
            length, start = int.from_bytes(head[8:], "big"), 16
        length = length or size - at  # 0: up to the end
        if length < start:
            return
        yield kind, at + start, length - start
        at += length
    raise BadHeader(f"more than {MOST_BOXES} boxes")


def _boxes(content: memoryview) -> Iterator[_Box]:
    """The boxes inside a box."""
    at = 0
    for _ in range(MOST_BOXES):
        if at + 8 > len(content):
            return
        length, kind, start = *struct.unpack_from(">I4s", content, at), 8
        if length == 1 and at + 16 <= len(content):
            length, start = struct.unpack_from(">Q", content, at + 8)[0], 16
        length = length or len(content) - at
        if length < start or at + length > len(content):
            raise BadHeader(f"box {kind!r} of {length} bytes does not fit into the one around it")
        yield _Box(kind, content[at + start : at + length])
        at += length
    raise BadHeader(f"more than {MOST_BOXES} boxes")


def _find(content: memoryview, *kinds: bytes) -> memoryview | None:
    """The content of the first box along a path of kinds; None where there is none."""
    found: memoryview | None = content
    for kind in kinds:
        found = next((box.content for box in _boxes(found) if box.kind == kind), None)
        if found is None:
            return None
    return found


def _numbers(content: memoryview, at: int, form: str) -> tuple[int, ...]:
    try:
        return struct.unpack_from(form, content, at)
    except struct.error:
        raise BadHeader(f"a box of {len(content)} bytes ends early") from None


def _table(content: memoryview, at: int, columns: int, form: str = ">i4") -> NDArray[np.int64]:
    """The rows of a table whose 4-byte count stands at `at`."""
    (rows,) = _numbers(content, at, ">I")
    data = content[at + 4 : at + 4 + rows * columns * np.dtype(form).itemsize]
    if len(data) < rows * columns * np.dtype(form).itemsize:
        raise BadHeader(f"a table of {rows} rows does not fit into its {len(content)} bytes")
    return np.frombuffer(data, form).reshape(rows, columns).astype(np.int64)


def _read_movie(header: memoryview, fragments: list[memoryview], lost: int) -> MovieHeader:
    movie = _find(header, b"mvhd")
    if movie is None:
        raise BadHeader("no mvhd")
    long = _numbers(movie, 0, ">B")[0] == 1
    (scale,) = _numbers(movie, 20 if long else 12, ">I")
    track = _picture_track(header)
    flags = _find(track, b"tkhd")
    if flags is None:
        raise BadHeader("no tkhd")
    long_track = _numbers(flags, 0, ">B")[0] == 1
    matrix = _matrix(flags, 52 if long_track else 40) @ _matrix(movie, 48 if long else 36)
    (number,) = _numbers(flags, 20 if long_track else 12, ">I")
    parts = [part for fragment in fragments for part in _boxes(fragment) if part.kind == b"traf"]
    if parts:
        return MovieHeader(_fragment_frames(track, [part.content for part in parts], number), matrix, lost)
    return MovieHeader(_shown_frames(track, scale), matrix, lost)


def _picture_track(header: memoryview) -> memoryview:
    """The first track of pictures, which is the one that OpenCV reads."""
    for box in _boxes(header):
        if box.kind == b"trak":
            handler = _find(box.content, b"mdia", b"hdlr")
            if handler is not None and bytes(handler[8:12]) == b"vide":
                return box.content
    raise BadHeader("no track of pictures")


def _matrix(content: memoryview, at: int) -> NDArray[np.float64]:
    """The linear part (2, 2) of a matrix; zeros, which some programs leave there, are no change."""
    a, b, _, c, d = _numbers(content, at, ">5i")
    return np.array([[a, b], [c, d]]) / _WHOLE if a * d - b * c else np.eye(2)


def _shown_frames(track: memoryview, scale: int) -> int | None:
    """How many frames lie in the parts that the edit list shows; all of them without a list."""
    times, own_scale = _frame_times(track)
    parts = _edits(track)
    if not parts:
        return len(times)
    if not scale:
        raise BadHeader("mvhd: 0 units per second")
    shown = 0
    for duration, start in parts:
        if start >= 0:  # otherwise nothing is shown for a while
            end = start + (duration * own_scale + scale // 2) // scale if duration else np.iinfo(np.int64).max
            shown += int(((times >= start) & (times < end)).sum())
    return shown


def _frame_times(track: memoryview) -> tuple[NDArray[np.int64], int]:
    """When every frame of a track is shown, and how many units a second has."""
    header = _find(track, b"mdia", b"mdhd")
    table = _find(track, b"mdia", b"minf", b"stbl")
    durations = None if table is None else _find(table, b"stts")
    if header is None or table is None or durations is None:
        raise BadHeader("no mdhd or stts")
    (scale,) = _numbers(header, 20 if _numbers(header, 0, ">B")[0] == 1 else 12, ">I")
    lengths = _spread(_table(durations, 4, 2))
    times = np.cumsum(lengths) - lengths
    offsets = _find(table, b"ctts")
    if offsets is not None:
        late = _spread(_table(offsets, 4, 2))[: len(times)]
        times[: len(late)] += late
    return times, scale


def _spread(runs: NDArray[np.int64]) -> NDArray[np.int64]:
    """One value per frame from rows of a count, which is unsigned, and a value."""
    counts = runs[:, 0] & 0xFFFFFFFF
    if counts.sum() > MOST_FRAMES:
        raise BadHeader(f"{counts.sum()} frames, at most {MOST_FRAMES} are read")
    return np.repeat(runs[:, 1], counts)


def _edits(track: memoryview) -> list[tuple[int, int]]:
    """Rows of the edit list: a duration in the movie's units, and where it starts in the track's (-1: nowhere)."""
    content = _find(track, b"edts", b"elst")
    if content is None:
        return []
    if _numbers(content, 0, ">B")[0] == 1:
        rows = _table(content, 4, 5)  # two numbers of 8 bytes and a rate: five of 4 bytes
        wide = np.ascontiguousarray(rows[:, :4]) & 0xFFFFFFFF
        first, second = (wide[:, k] << 32 | wide[:, k + 1] for k in (0, 2))
    else:
        first, second = (_table(content, 4, 3)[:, k] for k in (0, 1))
        first = first & 0xFFFFFFFF
    if len(first) > 1000 or (first < 0).any() or (first > 1 << 40).any():
        raise BadHeader(f"an edit list of {len(first)} rows that cannot be meant")
    return list(zip(first.tolist(), second.tolist(), strict=True))


def _fragment_frames(track: memoryview, parts: list[memoryview], number: int) -> int | None:
    """Frames of a movie in fragments; None with an edit list, which readers treat differently there."""
    if _edits(track):
        return None
    frames = len(_frame_times(track)[0])
    for part in parts:
        head = _find(part, b"tfhd")
        if head is not None and _numbers(head, 4, ">I") == (number,):
            frames += sum(_numbers(box.content, 4, ">I")[0] for box in _boxes(part) if box.kind == b"trun")
    return frames
