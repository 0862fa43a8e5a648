"""Pictures of chosen frames, from the dataset that the labels were made of, where it is on this machine.

What cannot be drawn is said by name: the page has its numbers without a single photo.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ....data.frame import FRAME_FAULTS, CameraSequence
from ....data.labels import LabelStore
from ....data.photos import decode
from ....errors import InputError, one_line
from ....hand.array_record import STANDIN
from ....hand.arrays import load_arrays
from ....hand.draw import Picture
from ....hand.pages import data_uri
from ....labeling.objects import ObjectLibrary
from ....labeling.overlay import draw_panels
from ....labeling.pose import Hands, load_hands, problem_of
from ....untrusted import fault
from ...label_sheet import read_frame
from ...made_from import list_again

SIDE = 256  # px of each of the two panels
LARGEST_URI = 48_000  # letters: about 36 kB of JPEG
_QUALITIES = (82, 70, 55, 40, 25)
_ROOTS = {"dexycb": "DEX_YCB_DIR", "ho3d-v2": "HO3D_DIR", "ho3d-v3": "HO3D_DIR"}


@dataclass(frozen=True, eq=False)
class _Dataset:
    """Where the frames of a store come from, and what draws them; `note`: what the pictures lack."""

    root: Path
    sequences: dict[str, CameraSequence]
    hands: Hands
    objects: ObjectLibrary
    note: str


class Artist:
    """Draws frames of one store; dataset and hand are where they were, or else where the environment says."""

    def __init__(self, labels: LabelStore) -> None:
        self._labels = labels

    def draw(self, row: int) -> tuple[str | None, str]:
        """A row's picture (photo with the mask outlined, parts over it) as a data URI; or None, and why in one line."""
        found = self._dataset
        if isinstance(found, str):
            return None, found
        drawn = self._panels(found, row)
        return (None, drawn) if isinstance(drawn, str) else (frame_uri(drawn), "")

    @property
    def note(self) -> str:
        """What the pictures lack although they could be drawn."""
        return "" if isinstance(self._dataset, str) else self._dataset.note

    def _panels(self, found: _Dataset, row: int) -> Picture | str:
        labels = self._labels
        key, number = labels.sequences[int(labels["sequence_id"][row])], int(labels["frame"][row])
        if key not in found.sequences:
            return f"{key}: is not in {found.root}"
        try:
            frame = read_frame(found.sequences[key], number)
            if isinstance(frame, str):
                return frame
            if problem := problem_of(frame, needs_mask=False):
                return f"{frame.image}: {problem}"
            photo = decode((found.root / frame.image).read_bytes())[..., ::-1]
            left, right = draw_panels(frame, np.ascontiguousarray(photo), found.hands, found.objects, SIDE)
        except InputError as error:
            return one_line(error)
        except FRAME_FAULTS as error:
            return f"{key}: frame {number}: {fault(error)}"
        return np.concatenate([left, np.full((SIDE, 4, 3), 255, np.uint8), right], axis=1)

    @cached_property
    def _dataset(self) -> _Dataset | str:
        """The dataset, or why nothing of it can be drawn."""
        attrs = self._labels.attrs
        try:
            root, mano = self._find_root(), self._find_hand()
            sequences = {sequence.key: sequence for sequence in list_again(self._labels, root, mano)}
            sides = ("right", *(str(side) for side in attrs.get("mano") or {} if side != "right"))
            meshes, note = attrs.get("objects"), ""
            places = [Path(meshes), root / "models"] if isinstance(meshes, str) else []
            there = next((place for place in places if place.is_dir()), None)
            if places and there is None:
                note = f"{meshes}: the object meshes are not there, so the pictures do not show what objects hide"
            return _Dataset(root, sequences, load_hands(mano, sides), ObjectLibrary(there), note)
        except (InputError, OSError) as error:
            return one_line(error)

    def _find_root(self) -> Path:
        dataset, named = self._labels.attrs.get("dataset"), self._labels.attrs.get("root")
        for place in (named, os.environ.get(_ROOTS.get(str(dataset), ""))):
            if place and Path(place).is_dir():
                return Path(place)
        raise InputError(f"{named or 'the dataset'}: is not on this machine, so its photos cannot be read")

    def _find_hand(self) -> str:
        """The folder (or name) of the hand that the labels were made with, checked by hash."""
        recorded = self._labels.attrs.get("mano") or {}
        problems = []
        for place in (self._labels.attrs.get("mano_path"), os.environ.get("MANO_DIR")):
            if not place:
                continue
            try:
                found = {side: load_arrays(place, side) for side in recorded}
            except InputError as error:
                problems.append(str(error))
                continue
            # Up to 0.1.0 the stand-in was computed anew on every machine, with other last digits and another hash.
            if all(hand.sha256 == recorded[side]["sha256"] or hand.source == STANDIN for side, hand in found.items()):
                return place
            problems.append(f"{place}: is not the hand that the labels were made with")
        raise InputError(problems[0] if problems else f"{self._labels.store.path}: names no hand model; set MANO_DIR")


def frame_uri(picture: Picture) -> str:
    """The picture as a JPEG, as coarse as it must be to stay below LARGEST_URI letters."""
    uri = ""
    for quality in _QUALITIES:
        uri = data_uri(picture, quality=quality)
        if len(uri) <= LARGEST_URI:
            break
    return uri


def draw_frames(stores: Sequence[LabelStore], places: Sequence[tuple[int, int]]) -> tuple[list[str | None], list[str]]:
    """Pictures of (store, row in it) as data URIs, None where there is none; and what is missing, in lines.

    A line per frame that could not be drawn, or one for many with the same reason.
    """
    artists = [Artist(labels) for labels in stores]
    pictures: list[str | None] = []
    reasons: dict[str, int] = {}
    for store, row in places:
        picture, reason = artists[store].draw(row)
        pictures.append(picture)
        if picture is None:
            reasons[reason] = reasons.get(reason, 0) + 1
    lines = [reason if count == 1 else f"{reason} ({count} frames)" for reason, count in reasons.items()]
    drawn = {store for (store, _), picture in zip(places, pictures, strict=True) if picture is not None}
    notes = (artists[store].note for store in sorted(drawn))
    return pictures, [*lines, *dict.fromkeys(note for note in notes if note)]
