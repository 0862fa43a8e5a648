"""Which frames the page's gallery shows, and why: the rarest and most doubtful kinds first, in turns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator

import numpy as np

from ....hand.parts import CAUSES, FINGERS
from ....labeling.overlay import BAD_AGREEMENT, MOSTLY_OUTSIDE
from ...label_sheet import one_of_each_first
from .rows import NO_OBJECT, LabelRows

MOST_FRAMES = 60
_OBJECTS = 24
_CANDIDATES = 200
"""Frames of a ranking that are looked at: the best, of which one of every recording comes first."""

MASK, RULES, FINGERS_HIDDEN, OBJECT, NOTHING = (
    "low overlap with the mask",
    "the rules disagree",
    "most fingers hidden",
    "what its object hides",
    "nothing hidden",
)
BY_CAUSE = ("hidden by an object", "hidden by the own hand", "outside the image", "hidden by another hand")
_FIRST = {MASK: 6, RULES: 12}
"""Frames that these reasons get at their first turn, instead of one."""
_LIMITS = (2, 4, 16, MOST_FRAMES)
"""Frames of a camera sequence, which look alike: two, and more only where there are too few others."""


def choose_frames(rows: LabelRows, most: int = MOST_FRAMES) -> dict[int, str]:
    """At most `most` rows of the table with why each is shown: doubtful ones first, then one of every kind in turns.

    Frames in which the hand is mostly outside the image tell little: only the ranking for that takes them.
    """
    rankings = [
        (reason, one_of_each_first(ranking[:_CANDIDATES].tolist(), rows.recording.of))
        for reason, ranking in _rankings(rows)
    ]
    chosen: dict[int, str] = {}
    taken: Counter[int] = Counter()
    for limit in _LIMITS:
        first = _FIRST if limit == _LIMITS[0] else {}
        turns = [(reason, first.get(reason, 1), iter(ranking)) for reason, ranking in rankings]
        while turns and len(chosen) < most:
            left = []
            for reason, count, queue in turns:
                found = _take(queue, min(count, most - len(chosen)), chosen, rows.sequence, taken, limit)
                chosen |= dict.fromkeys(found, reason)
                if found:
                    left.append((reason, 1, queue))
            turns = left
    return chosen


def _take(
    queue: Iterator[int], count: int, chosen: Container[int], sequence: np.ndarray, taken: Counter[int], limit: int
) -> list[int]:
    """The next `count` rows of a ranking that are not chosen, of camera sequences of which fewer than `limit` are."""
    found: list[int] = []
    while len(found) < count and (row := next(queue, None)) is not None:
        if row not in chosen and taken[int(sequence[row])] < limit:
            taken[int(sequence[row])] += 1
            found.append(row)
    return found


def _rankings(rows: LabelRows) -> Iterator[tuple[str, np.ndarray]]:
    """Reason and rows, the most telling first."""
    hidden = np.nan_to_num(rows["hidden_fraction"])
    inside = hidden[:, :, 2].mean(axis=1) <= MOSTLY_OUTSIDE
    overlap, fingers = rows["mask_iou"], len(FINGERS)
    yield MASK, _ranked(overlap, (overlap < BAD_AGREEMENT) & inside)
    yield RULES, _ranked(-rows.disagreement, (rows.disagreeing > 0) & inside)
    count = rows.hidden[:, :fingers].sum(axis=1)
    yield FINGERS_HIDDEN, _ranked(-(count + hidden[:, :fingers].mean(axis=(1, 2))), (count > 0) & inside)
    shares = [*hidden.transpose(2, 0, 1), np.nan_to_num(rows["other_hand_fraction"])]
    for code, (reason, share) in enumerate(zip(BY_CAUSE, shares, strict=True), start=1):
        fitting = inside | (code == CAUSES.index("outside the image"))
        for i in range(fingers):
            yield reason, _ranked(-share[:, i], (rows["cause"][:, i] == code) & fitting)
    objects = rows.groups["object"]
    by_object = hidden[:, :, 0].mean(axis=1)
    for g in np.argsort(-objects.count(), kind="stable")[:_OBJECTS].tolist():
        if not objects.names[g].endswith(NO_OBJECT):
            yield OBJECT, _ranked(-by_object, (objects.of == g) & (by_object > 0) & inside)
    seen = np.nan_to_num(rows["visible_fraction"]).mean(axis=1)
    yield NOTHING, _ranked(-seen, (count == 0) & (seen > 0) & inside)


def _ranked(key: np.ndarray, fitting: np.ndarray) -> np.ndarray:
    """Rows that fit by rising key, equal ones in the order of the table."""
    rows = np.flatnonzero(fitting)
    return rows[np.argsort(key[rows], kind="stable")]
