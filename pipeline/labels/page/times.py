"""Hidden fingers over the time of recordings: all cameras of a recording together, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....hand.parts import FINGERS
from .rows import LabelRows, fingers_hidden, share_text
from .tables import Cell, Table

TENTHS = 10
SHORTEST = 4  # frame numbers: fewer are no course


@dataclass(frozen=True, eq=False)
class Course:
    """A recording: F rising frame numbers, and per rule in how many cameras a finger is hidden, and known, (F, 5)."""

    name: str
    frames: np.ndarray
    hidden: dict[str, np.ndarray]
    known: dict[str, np.ndarray]


def tenth_of(rows: LabelRows) -> np.ndarray:
    """The tenth (N,) of its recording's stored frame numbers, first to last, that a frame lies in."""
    of, frame = rows.recording.of, rows["frame"].astype(np.int64)
    count = len(rows.recording.names)
    first, last = np.full(count, np.iinfo(np.int64).max), np.full(count, -1, np.int64)
    np.minimum.at(first, of, frame)
    np.maximum.at(last, of, frame)
    return (frame - first[of]) * TENTHS // (last - first + 1)[of]


def time_table(rows: LabelRows) -> Table:
    """Hidden fingers by tenth of the recording, over all recordings."""
    tenth, body = tenth_of(rows), []
    for n in np.unique(tenth).tolist():  # short recordings leave some out
        line: list[Cell] = [f"{10 * n} to {10 * (n + 1)} %", int((tenth == n).sum())]
        for hidden, known in fingers_hidden(rows).values():
            few, all_ = int(hidden[tenth == n].sum()), int(known[tenth == n].sum())
            line += [few, all_, share_text(few, all_)]
        body.append(line)
    header = ("of the recording", "frames", "hidden fingers (h2onet)", "of", "share", "mostly hidden (depth)", "of")
    return Table("time", "All recordings, by tenths", (*header, "share"), body)


def choose_courses(rows: LabelRows, most: int) -> list[Course]:
    """The recordings in which the share of hidden fingers changes most (standard deviation over its frames)."""
    rules = fingers_hidden(rows)
    hidden, known = rules["h2onet"] if rules["h2onet"][1].any() else rules["depth"]
    codes = (rows.recording.of << 32) | rows["frame"]
    moments, place = np.unique(codes, return_inverse=True)
    sums = [np.bincount(place, part.sum(axis=1), minlength=len(moments)) for part in (hidden, known)]
    usable = sums[1] > 0
    share, of = sums[0][usable] / sums[1][usable], moments[usable] >> 32
    count = len(rows.recording.names)
    frames = np.maximum(np.bincount(of, minlength=count), 1)
    mean = np.bincount(of, share, minlength=count) / frames
    change = np.sqrt(np.bincount(of, (share - mean[of]) ** 2, minlength=count) / frames)
    change[np.bincount(of, minlength=count) < SHORTEST] = -1
    order = np.argsort(-change, kind="stable")[:most]
    return [_course(rows, int(g)) for g in order if change[g] >= 0]


def _course(rows: LabelRows, group: int) -> Course:
    mine = np.flatnonzero(rows.recording.of == group)
    frames, place = np.unique(rows["frame"][mine], return_inverse=True)
    hidden, known = {}, {}
    for rule, parts in fingers_hidden(rows).items():
        for found, values in zip((hidden, known), parts, strict=True):
            found[rule] = np.zeros((len(frames), len(FINGERS)), np.int64)
            np.add.at(found[rule], place, values[mine])
    return Course(rows.recording.names[group], frames, hidden, known)
