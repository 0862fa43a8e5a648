"""Which frames the page's gallery shows, and why: the rarest and most doubtful kinds first, in turns."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

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
"""Frames that these reasons get before all take turns."""


def choose_frames(rows: LabelRows, most: int = MOST_FRAMES) -> dict[int, str]:
    """At most `most` rows of the table with why each is shown: doubtful ones first, then one of every kind in turns.

    Frames in which the hand is mostly outside the image tell little: only the ranking for that takes them.
    """
    queues = [(reason, _spread(rows, ranking)) for reason, ranking in _rankings(rows)]
    chosen: dict[int, str] = {}
    for reason, queue in queues:
        for row in islice((row for row in queue if row not in chosen), _FIRST.get(reason, 0)):
            chosen[row] = reason
    while queues and len(chosen) < most:
        left = []
        for reason, queue in queues:
            row = next((row for row in queue if row not in chosen), None)
            if row is not None and len(chosen) < most:
                chosen[row] = reason
                left.append((reason, queue))
        queues = left
    return chosen


def _spread(rows: LabelRows, ranking: np.ndarray) -> Iterator[int]:
    return iter(one_of_each_first(ranking[:_CANDIDATES].tolist(), rows.recording.of))


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
