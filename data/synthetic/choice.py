"""Which of DexYCB's 1000 sequences a small synthetic tree should hold, so that no split of any setup is empty.

Split rules are positions in the full list (`dexycb_splits`), so a small tree must choose its positions. With three
sequences and three cameras or more, all splits of all setups have frames; s2 needs the cameras 6 (val) and 7 (test).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..readers.dexycb_splits import SUBJECTS, YCB_NAMES, in_split, sequence_list

CAMERA_ORDER = (0, 6, 7, 3, 4, 1, 2, 5)
"""Cameras in the order in which small trees take them: a training view, both held-out views, then the sides."""
GRASPED = tuple(name for name in YCB_NAMES if name != "051_large_clamp")
"""The grasped object by position // 5: twenty objects, five sequences each (true of the real recordings)."""
_SETUPS = ("s0", "s1", "s3")
_SPLITS = ("train", "val", "test")
_WANTED = np.array([[0.72, 0.10, 0.18], [0.72, 0.10, 0.18], [0.75, 0.10, 0.15]])
_FIRST = ((6, 0), (0, 19), (7, 39))
"""(subject, position): these three alone populate train, val and test of s0, s1 and s3."""


@dataclass(frozen=True)
class Choice:
    """One sequence of the real list: indices, name, hand side and the object that it grasps."""

    subject: int
    position: int
    name: str
    side: str
    grasped: str


def all_choices() -> list[Choice]:
    """All 1000 sequences, in the toolkit's order."""
    found = []
    for subject, folder in enumerate(SUBJECTS):
        for position, (name, side) in enumerate(sequence_list()[folder].items()):
            found.append(Choice(subject, position, name, side, GRASPED[position // 5]))
    return found


def choose_cameras(count: int) -> tuple[int, ...]:
    """`count` camera indices, ascending; from 3 on both held-out views of s2 are among them."""
    return tuple(sorted(CAMERA_ORDER[:count]))


def choose_sequences(count: int, candidates: list[Choice] | None = None) -> list[Choice]:
    """`count` sequences in the toolkit's order: splits near their real proportions, both hands, many people and things.

    candidates: the sequences to choose from (default: all). Never more than there are.
    """
    pool = all_choices() if candidates is None else candidates
    member = np.array(
        [[[in_split(s, p, c.subject, 0, c.position) for p in _SPLITS] for s in _SETUPS] for c in pool], dtype=float
    )
    left = np.array([c.side == "left" for c in pool], dtype=float)
    traits = np.stack([[c.subject for c in pool], [10 + GRASPED.index(c.grasped) for c in pool]], axis=1)
    taken: list[int] = []
    used, uses = np.zeros(len(pool), bool), np.zeros(10 + len(GRASPED))
    for step in range(min(count, len(pool))):
        have = member[taken].sum(axis=0) if taken else np.zeros(member.shape[1:])
        lack = _WANTED * (step + 1) - have + 3.0 * (have == 0)
        lefts = left[taken].sum() if taken else 0.0
        score = (member * lack).sum(axis=(1, 2)) + 1.5 * (step / 2 - lefts) * (2 * left - 1) / max(step, 1) ** 0.5
        score -= 0.8 * uses[traits].sum(axis=1)
        if step < len(_FIRST):
            score += 100.0 * np.array([(c.subject, c.position) == _FIRST[step] for c in pool])
        score[used] = -np.inf
        best = int(score.argmax())
        taken.append(best)
        used[best] = True
        uses[traits[best]] += 1
    return [pool[i] for i in sorted(taken)]
