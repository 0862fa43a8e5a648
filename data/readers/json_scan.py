"""Finding the elements of huge JSON files without loading them: byte ranges of the entries of top-level lists.

HandOccNet's annotation file of DexYCB has 400k entries (1.8 GB), HO3D's released meshes 1 GB. A byte-level scanner
walks through the file once in blocks and reports where each entry starts and ends; callers decode entries one by one,
in the same pass or later from the range. So memory stays at a block, whatever the file's size.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from ...errors import InputError, one_line
from ...jit import njit, readonly

BLOCK = 8 << 20
LARGEST_ENTRY = 16 << 20  # bytes; a released mesh of HO3D has 50 kB
_QUOTE, _BACKSLASH = ord('"'), ord("\\")
_OPEN_BRACE, _CLOSE_BRACE, _OPEN_LIST, _CLOSE_LIST = ord("{"), ord("}"), ord("["), ord("]")
# Places in the scanner's state: nesting depth, inside a string, after a backslash, start of the open string or entry.
_DEPTH, _STRING, _ESCAPE, _STRING_START, _ENTRY_START = range(5)
_KEY, _ENTRY = 0, 1


@njit(f"int64({readonly('uint8', 1)}, int64[::1], int64, int64[:, ::1])")
def _scan(block, state, entry_depth, events):
    """Walk over a block; write (kind, start, end) of top-level keys and entries, offsets relative to the block."""
    found = 0
    depth, in_string, escape = state[_DEPTH], state[_STRING], state[_ESCAPE]
    for i in range(block.size):
        c = block[i]
        if in_string:
            if escape:
                escape = 0
            elif c == _BACKSLASH:
                escape = 1
            elif c == _QUOTE:
                in_string = 0
                if depth == 1 and entry_depth == 2:
                    events[found, 0], events[found, 1], events[found, 2] = _KEY, state[_STRING_START], i + 1
                    found += 1
        elif c == _QUOTE:
            in_string = 1
            if depth == 1:
                state[_STRING_START] = i
        elif c in (_OPEN_BRACE, _OPEN_LIST):
            if depth == entry_depth:
                state[_ENTRY_START] = i
            depth += 1
        elif c in (_CLOSE_BRACE, _CLOSE_LIST):
            depth -= 1
            if depth == entry_depth:
                events[found, 0], events[found, 1], events[found, 2] = _ENTRY, state[_ENTRY_START], i + 1
                found += 1
    state[_DEPTH], state[_STRING], state[_ESCAPE] = depth, in_string, escape
    return found


def scan_entries(path: Path, *, keyed: bool = True) -> Iterator[tuple[str, int, int, memoryview]]:
    """Yield (key, start, end, bytes) of every object or list inside a JSON file's top-level lists, in file order.

    With `keyed` the file is `{"key": [entry, ...], ...}`; without, it is `[entry, ...]` and keys are "". The memoryview
    is valid until the next step only. InputError when the file is missing, truncated or of another form.
    """
    expected = b"{" if keyed else b"["
    state = np.zeros(5, np.int64)
    entry_depth = 2 if keyed else 1
    key, kept, offset = "", b"", 0
    try:
        with path.open("rb") as file:
            while piece := file.read(BLOCK):
                first = piece.lstrip()[:1]
                if offset == 0 and not kept and first != expected:
                    raise InputError(f"{path}: starts with {first!r}, expected {expected!r}; is it the right file?")
                if len(kept) > LARGEST_ENTRY:
                    raise InputError(f"{path}: an entry has more than {LARGEST_ENTRY >> 20} MB; is it the right file?")
                block = kept + piece
                view = memoryview(block)
                events = np.empty((len(piece) // 2 + 1, 3), np.int64)
                count = _scan(np.frombuffer(piece, np.uint8), state, entry_depth, events)
                # The scanner counts from the piece, which follows the kept bytes; so do the ranges in `view`.
                for kind, start, end in (events[:count] + np.array([0, len(kept), len(kept)])).tolist():
                    if kind == _KEY:
                        key = bytes(view[start + 1 : end - 1]).decode("utf-8", "replace")
                    else:
                        yield key, offset + start, offset + end, view[start:end]
                keep_from = _open_start(state, entry_depth, len(kept), len(block))
                state[_STRING_START] -= len(piece)
                state[_ENTRY_START] -= len(piece)
                kept, offset = block[keep_from:], offset + keep_from
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; check the path") from None
    if state[_DEPTH] or state[_STRING] or not offset + len(kept):
        raise InputError(f"{path}: ends in the middle of the JSON ({offset + len(kept)} bytes); download it again")


def _open_start(state: np.ndarray, entry_depth: int, kept: int, length: int) -> int:
    """Where in the block the unfinished entry or key starts that the next block needs; the block's length if none."""
    if state[_DEPTH] > entry_depth:
        return kept + int(state[_ENTRY_START])
    if state[_STRING] and state[_DEPTH] == 1:
        return kept + int(state[_STRING_START])
    return length


def read_entries(path: Path, ranges: np.ndarray) -> Iterator[bytes]:
    """The bytes of entries at the given ranges (N, 2), read one by one."""
    with path.open("rb") as file:
        for start, end in ranges.tolist():
            file.seek(start)
            yield file.read(end - start)


def decode_entries(path: Path, ranges: np.ndarray, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Entries that are nested lists of numbers, as float64 arrays of the given shape. InputError when one is not."""
    for entry in read_entries(path, ranges):
        try:
            values = np.asarray(msgspec.json.decode(entry), np.float64)
        except (msgspec.DecodeError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise InputError(f"{path}: not a list of numbers ({one_line(error, 160)}); download it again") from None
        if values.shape != shape or not np.isfinite(values).all():
            raise InputError(f"{path}: an entry has shape {values.shape}, expected finite {shape}; download it again")
        yield values
