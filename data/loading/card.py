"""The card of a clips.zarr, as Markdown: what is in it, by which rules, under whose licences, and the hashes of it all.

For whoever gets the store or what was made from it, so it names no folder of the machine that built it. The card of a
trained network (`training/card.py`) is set with the same functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ... import __version__
from ...errors import one_line
from ...hand.parts import CAUSES, LABELS, PARTS
from ..stores.clips import SCHEMA, SCHEMA_VERSION, ClipStore
from .crops import FROM_JOINTS, GIVEN, GIVEN_MARGIN, JOINT_MARGIN, WHOLE_PHOTO
from .report import ClipInfo, clip_info

_BOXES = {
    FROM_JOINTS: f"box of the projected joints, enlarged {JOINT_MARGIN:g} times, clipped to the photo, made square",
    GIVEN: f"box given by the dataset, made square, enlarged {GIVEN_MARGIN:g} times",
    WHOLE_PHOTO: "whole photo, because the hand lies outside it",
}
_LICENCES = {
    "dexycb": "DexYCB's photos and annotations are CC BY-NC 4.0: not for commercial use, and its authors are to be"
    " named (https://dex-ycb.github.io).",
    "ho3d": "HO3D has terms of its own, which its photos and annotations keep here"
    " (https://www.tugraz.at/index.php?id=40231).",
}
_MOST_NAMES = 30  # of objects that a card lists
_MANO = (
    "Poses, shapes and meshes are those of the MANO hand model, which is licensed for non-commercial research"
    " (https://mano.is.tue.mpg.de/license.html); the model itself is not in here."
)
_STANDIN = "The hand is h2onet's licence-free stand-in, not MANO."


def clip_card(path: str | Path) -> str:
    """The Markdown text of a store's card. InputError as `ClipStore.open`."""
    store, info = ClipStore.open(path), clip_info(path)
    title = " ".join(part for part in (info.dataset, info.setup, info.split) if part)
    sections = [
        f"# Clips: {title}",
        "Hands cut out of the frames of a hand-object dataset, with poses and occlusion labels. Made with h2onet; read"
        f" by h2onet {__version__}.",
        "## What is in it",
        table(("", ""), _counts(store, info)),
        "## Balance",
        *_balance(store, info),
        "## Protocol",
        bullets(_protocol(store)),
        "## Licences",
        bullets(licence_reminders([store])),
        "## Hashes",
        table(("what", "SHA-256"), store_hashes(store)),
    ]
    return "\n\n".join(sections) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; what a cell quotes from a file neither ends it nor becomes HTML."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines)


def bullets(lines: Iterable[str]) -> str:
    """A Markdown list."""
    return "\n".join(f"* {line}" for line in lines)


def licence_reminders(stores: Iterable[ClipStore]) -> list[str]:
    """Whose terms go with what is in some stores, or was learned from it."""
    stores = list(stores)
    datasets = {store.dataset.split("-")[0] for store in stores}
    hands = [hand["source"] for store in stores for hand in (store.attrs.get("mano") or {}).values()]
    found = [
        _LICENCES.get(name, f"The terms of {_cell(name)} go with its photos and annotations.")
        for name in sorted(datasets)
    ]
    if hands and all(source == "standin" for source in hands):
        found.append(_STANDIN)
        found.append(
            "A stand-in hand is used with synthetic pictures: the terms above hold where photos are real ones."
        )
    else:
        found.append(_MANO)
    return found


def store_hashes(store: ClipStore) -> list[tuple[str, str]]:
    """Names and SHA-256 of a store's contents, of the labels that it was cut from and of the hand."""
    found = [("clips (index columns and sequences)", store.fingerprint)]
    if "labels_sha256" in store.attrs:
        found.append(("labels.zarr", store.attrs["labels_sha256"]))
    hands: Mapping[str, Any] = store.attrs.get("mano") or {}
    return found + [(f"hand model, {side} ({hand['source']})", hand["sha256"]) for side, hand in sorted(hands.items())]


def rules_text(store: ClipStore) -> str:
    """The label rules of a store with their versions."""
    rules: Mapping[str, int] = store.attrs.get("rules") or {}
    return ", ".join(f"{name} {version}" for name, version in rules.items()) or "not recorded"


def _counts(store: ClipStore, info: ClipInfo) -> list[tuple[str, str]]:
    index, objects = store.index, store.index["object_id"]
    areas = index["hand_visible_area"][~np.isnan(index["hand_visible_area"])]
    joints = index["joint_visible"]
    known = int((joints <= 1).sum())
    seen = f"{(joints == 1).sum() / known:.1%} of {known}" if known else "unknown"
    return [
        ("camera sequences", str(info.sequences)),
        ("frames", f"{info.frames}: {info.frames - info.left} right hands, {info.left} left"),
        ("with labels", str(info.labelled)),
        ("with pose", str(info.with_pose)),
        ("held objects", _held(store, objects)),
        ("joints seen", seen),
        ("hand's visible area", f"median {np.median(areas):.1%} of its silhouette" if len(areas) else "unknown"),
        ("frame numbers", f"{info.gaps} missing inside sequences, {info.duplicates} there more than once"),
        ("photos that failed", str(info.failures)),
        ("pictures", f"{info.codec}, {info.picture_bytes / 1e6:.1f} MB"),
    ]


def _held(store: ClipStore, objects: np.ndarray) -> str:
    """How many objects are held, and which, where the store names them."""
    names: list[str] = store.attrs.get("object_names") or []
    held = np.unique(objects[objects > 0]).tolist()
    known = [names[number - 1] for number in held if number <= len(names)]
    more = f" and {len(held) - _MOST_NAMES} more" if len(held) > _MOST_NAMES else ""
    return f"{len(held)}: {', '.join(known[:_MOST_NAMES])}{more}" if known else str(len(held))


def _balance(store: ClipStore, info: ClipInfo) -> list[str]:
    if not any(info.known.values()):
        return ["No frame has occlusion labels."]
    shares = [
        (name, info.occluded[name], info.known[name], _share(info.occluded[name], info.known[name])) for name in LABELS
    ]
    cause = store.index["cause"]
    causes = [
        (part, *(_share(int((cause[:, i] == code).sum()), int((cause[:, i] < len(CAUSES)).sum())) for code in
                 range(len(CAUSES))))
        for i, part in enumerate(PARTS)
    ]  # fmt: skip
    return [
        table(("label", "occluded", "of", "share"), shares),
        "Shares of frames by what hides a part most:",
        table(("part", *CAUSES), causes),
    ]


def _protocol(store: ClipStore) -> list[str]:
    attrs, rule = store.attrs, store.index["box_rule"]
    boxes = [f"{int((rule == code).sum())} frames: {text}." for code, text in _BOXES.items() if (rule == code).any()]
    return [
        f"Label rules: {_cell(rules_text(store))} (1 occluded, 0 visible, 255 unknown), from the photo as it is: left"
        " hands are not mirrored.",
        "Metres, radians, OpenCV camera axes; joints wrist, then thumb to little finger, base to tip.",
        *(f"What the network sees, in {text}" for text in boxes),
        f"Stored pictures cover that box under any rotation and scale up to {attrs['max_scale']:g}, within the photo.",
        f"Store: {SCHEMA}, schema version {SCHEMA_VERSION}.",
    ]


def _share(count: int, of: int) -> str:
    return f"{count / of:.1%}" if of else "-"


def _cell(value: object) -> str:
    text = one_line(value)
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")
