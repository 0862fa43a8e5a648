"""The page's gallery: chosen frames as cards, with what its filters ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....hand.parts import CAUSES, LABELS, PARTS, UNKNOWN
from .choice import MOST_FRAMES, choose_frames
from .pictures import draw_frames
from .plots import CAUSE_COLOURS
from .rows import LabelRows

NOTED = 0.75
"""The filters know a part as hidden where h2onet calls it so, or less than this share of it is seen."""
_STATES = {0: "seen", 1: "hidden"}


@dataclass(frozen=True)
class PartBar:
    """One part of a card: label by h2onet (1, 0, None unknown); seen share, and (cause, share, colour) of the rest."""

    name: str
    label: int | None
    seen: float | None
    rest: Sequence[tuple[str, float, str]]
    cause: str


@dataclass(frozen=True)
class FrameCard:
    """A frame of the gallery: `picture` is a data URI, None where it could not be drawn.

    hidden: "PART:CODE" of every part that is hidden (NOTED), with the code of its cause ("x" unknown): the page filters
    by it; apart: parts on which the rules disagree, None where they cannot be compared.
    """

    name: str
    reason: str
    facts: Sequence[str]
    picture: str | None
    bars: Sequence[PartBar]
    hidden: Sequence[str]
    apart: int | None
    object: str
    recording: str


@dataclass(frozen=True)
class Gallery:
    """Cards, the options of every filter as (value, text), and what could not be drawn, in lines."""

    cards: Sequence[FrameCard]
    filters: dict[str, Sequence[tuple[str, str]]]
    problems: Sequence[str]
    drawn: int


def make_gallery(rows: LabelRows, most: int = MOST_FRAMES) -> Gallery:
    """Choose frames, draw those whose photos can be read, and describe all of them."""
    chosen = choose_frames(rows, most)
    starts = np.searchsorted(rows.store, np.arange(len(rows.stores)))
    stores = rows.store[list(chosen)].tolist()
    places = [(store, row - int(starts[store])) for store, row in zip(stores, chosen, strict=True)]
    pictures, problems = draw_frames(rows.stores, places)
    cards = [make_card(rows, row, why, uri) for (row, why), uri in zip(chosen.items(), pictures, strict=True)]
    return Gallery(cards, _filters(cards), problems, sum(uri is not None for uri in pictures))


def make_card(rows: LabelRows, row: int, reason: str, picture: str | None) -> FrameCard:
    """What the store says about one frame."""
    cause, tokens, bars = rows["cause"][row], [], []
    for i, part in enumerate(PARTS):
        code = int(cause[i])
        if rows.hidden[row, i] or rows["visible_fraction"][row, i] < NOTED:
            tokens.append(f"{part}:{'x' if code == UNKNOWN else code}")
        bars.append(_bar(rows, row, i))
    overlap, whole = float(rows["mask_iou"][row]), int(rows["occluded"][row, LABELS.index("global")])
    area = float(rows["hand_visible_area"][row])
    comparable = bool(rows.both_known[row].any())
    objects, recordings = rows.groups["object"], rows.recording
    facts = [
        "left hand" if rows["is_left"][row] else "right hand",
        objects.names[objects.of[row]],
        f"whole hand {_STATES.get(whole, 'unknown')} (h2onet)",
        f"mask overlap {overlap:.2f}" if np.isfinite(overlap) else "no mask overlap",
        f"silhouette seen {area:.2f}" if np.isfinite(area) else "silhouette unknown",
    ]
    return FrameCard(
        name=rows.frame_name(row),
        reason=reason,
        facts=facts,
        picture=picture,
        bars=bars,
        hidden=tokens,
        apart=int(rows.disagreeing[row]) if comparable else None,
        object=objects.names[objects.of[row]],
        recording=recordings.names[recordings.of[row]],
    )


def _bar(rows: LabelRows, row: int, i: int) -> PartBar:
    code, label = int(rows["cause"][row, i]), int(rows["occluded"][row, i])
    seen = float(rows["visible_fraction"][row, i])
    shares = [*rows["hidden_fraction"][row, i].tolist(), float(rows["other_hand_fraction"][row, i])]
    rest = [
        (cause, share, colour)
        for cause, share, colour in zip(CAUSES[1:], shares, CAUSE_COLOURS, strict=True)
        if np.isfinite(share) and share > 0
    ]
    word = "unknown" if code == UNKNOWN else CAUSES[code] if code else ""
    return PartBar(PARTS[i], label if label in _STATES else None, seen if np.isfinite(seen) else None, rest, word)


def _filters(cards: Sequence[FrameCard]) -> dict[str, Sequence[tuple[str, str]]]:
    """Options of the page's selects, each with how many of the cards it leaves; those that leave none are left out."""
    parts = Counter(part for card in cards for part in {token.partition(":")[0] for token in card.hidden})
    codes = Counter(code for card in cards for code in {token.partition(":")[2] for token in card.hidden})
    words = {str(code): cause for code, cause in enumerate(CAUSES)} | {"x": "unknown"}
    limits = (("1", "disagree on a part"), ("3", "disagree on 3 parts or more"))
    apart = {value: sum((card.apart or 0) >= int(value) for card in cards) for value, _ in limits}
    agreeing = sum(card.apart == 0 for card in cards)
    rules = [(value, f"{text} ({apart[value]})") for value, text in limits if apart[value]]
    return {
        "part": [(part, f"{part} ({parts[part]})") for part in PARTS if parts[part]],
        "cause": [(code, f"{words[code]} ({codes[code]})") for code in words if codes[code]],
        "object": _named(card.object for card in cards),
        "recording": _named(card.recording for card in cards),
        "rules": [*rules, *([("0", f"agree on all ({agreeing})")] if agreeing else [])],
        "why": [(reason, f"{reason} ({n})") for reason, n in Counter(card.reason for card in cards).items()],
    }


def _named(values) -> list[tuple[str, str]]:
    return [(name, f"{name} ({count})") for name, count in sorted(Counter(values).items())]
