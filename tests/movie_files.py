"""Small videos whose headers say what a test wants: boxes of an MP4 or MOV taken apart, changed and put together."""

import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

HOLDERS = (b"moov", b"trak", b"edts", b"mdia", b"minf", b"stbl")
Box = tuple[bytes, "bytes | list[Box]"]


def write_video(path: Path, frames: int, code: str = "mp4v", size: tuple[int, int] = (96, 64)) -> Path:
    """Frames that get brighter, white in the upper left corner: width and height in `size`."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 20, size)
    assert writer.isOpened()
    for number in range(frames):
        picture = np.full((size[1], size[0], 3), 10 + 8 * number, np.uint8)
        picture[: size[1] // 2, : size[0] // 3] = 255
        writer.write(picture)
    writer.release()
    return path


def take_apart(data: bytes) -> list[Box]:
    """The boxes of a movie; those in `HOLDERS` as lists of boxes."""
    boxes: list[Box] = []
    while data:
        size, kind = struct.unpack(">I4s", data[:8])
        content = data[8:size]
        boxes.append((kind, take_apart(content) if kind in HOLDERS else content))
        data = data[size:]
    return boxes


def put_together(boxes: list[Box]) -> bytes:
    """The bytes of boxes."""
    data = b""
    for kind, content in boxes:
        inside = content if isinstance(content, bytes) else put_together(content)
        data += struct.pack(">I4s", len(inside) + 8, kind) + inside
    return data


def change(path: Path, out: Path, kind: bytes, how: Callable[[bytes], bytes]) -> Path:
    """Write a movie whose boxes of a kind are changed. Behind the pictures the header may grow: offsets stay."""

    def inside(boxes: list[Box]) -> list[Box]:
        return [
            (name, how(content) if name == kind else content) if isinstance(content, bytes) else (name, inside(content))
            for name, content in boxes
        ]

    boxes = take_apart(path.read_bytes())
    assert [name for name, _ in boxes].index(b"mdat") < [name for name, _ in boxes].index(b"moov")
    out.write_bytes(put_together(inside(boxes)))
    return out


def set_matrix(path: Path, out: Path, matrix: tuple[tuple[float, float], tuple[float, float]]) -> Path:
    """A movie that is shown through a matrix: pixels as row vectors times it."""

    def how(content: bytes) -> bytes:
        numbers = [round(value * 65536) for value in (*matrix[0], 0, *matrix[1], 0)]
        return content[:40] + struct.pack(">6i", *numbers) + content[64:]

    return change(path, out, b"tkhd", how)


def set_edits(path: Path, out: Path, rows: list[tuple[int, int]]) -> Path:
    """A movie with an edit list: durations in the movie's units, starts in the track's, -1 for a pause."""
    content = struct.pack(">II", 0, len(rows)) + b"".join(struct.pack(">IiI", *row, 1 << 16) for row in rows)
    return change(path, out, b"elst", lambda _: content)


def scales(path: Path) -> tuple[int, int]:
    """Units per second of the movie and of its track."""
    found = {}

    def look(boxes: list[Box]) -> None:
        for kind, content in boxes:
            if not isinstance(content, bytes):
                look(content)
            elif kind in (b"mvhd", b"mdhd"):
                found[kind] = struct.unpack(">I", content[12:16])[0]

    look(take_apart(path.read_bytes()))
    return found[b"mvhd"], found[b"mdhd"]
