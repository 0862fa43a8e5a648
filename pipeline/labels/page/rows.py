"""The frames of one or several labels.zarr as one table, with the groups that the page counts by.

Shares are of 1; labels are 1 hidden, 0 seen, 255 unknown, as in the store; NaN is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from ....data.frame import RELEASED, recording_of
from ....data.labels import LabelStore
from ....data.readers.dexycb_splits import object_names
from ....data.stores.columns import LATER_COLUMNS
from ....errors import InputError, brief
from ....hand.parts import FINGERS, UNKNOWN

COLUMNS = (
    "frame",
    "labelled",
    "occluded",
    "visible_fraction",
    "hidden_fraction",
    "cause",
    "joint_visible",
    "mask_iou",
    "is_left",
    "object_id",
    *LATER_COLUMNS,
)
"""What the page reads of a store."""
MOSTLY = 0.5
"""A part counts as hidden by the depth rule when less than this share of its camera-facing vertices is seen."""
_ROUNDING = 1e-3
NO_SUBJECT = NO_CAMERA = "not named by the dataset"
NO_OBJECT, OTHER_OBJECT = "not annotated", "without a name"


@dataclass(frozen=True)
class Groups:
    """A division of N frames: the names of the groups, and for every frame the number of its own, (N,) int64."""

    names: tuple[str, ...]
    of: np.ndarray

    @classmethod
    def by(cls, names: Sequence[str], rows: np.ndarray) -> Groups:
        """Frames `rows` (N,) point into `names`, in which a name may stand more than once; groups are sorted by name.

        Groups without a frame are left out.
        """
        used = np.unique(rows)
        words = [names[int(i)] for i in used]
        unique = sorted(set(words))
        number = {name: i for i, name in enumerate(unique)}
        lookup = np.zeros(len(names), np.int64)
        lookup[used] = [number[word] for word in words]
        return cls(tuple(unique), lookup[rows])

    def count(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Frames, or the sum of the weights (N,), per group."""
        return np.bincount(self.of, weights, minlength=len(self.names))


@dataclass(frozen=True, eq=False)
class LabelRows:
    """N frames of S stores, store by store.

    paths: the stores as they were named; store, sequence (N,) int64: which store, and which of `keys` (store, key of a
    camera sequence); columns: those of COLUMNS; has: for every later column whether a frame's store has it, (N,) bool.
    """

    stores: tuple[LabelStore, ...]
    paths: tuple[str, ...]
    store: np.ndarray
    sequence: np.ndarray
    keys: tuple[tuple[int, str], ...]
    columns: dict[str, np.ndarray] = field(repr=False)
    has: dict[str, np.ndarray] = field(repr=False)

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    @cached_property
    def hidden(self) -> np.ndarray:
        """(N, 7) bool, rule h2onet: hidden; False where `known` is."""
        return self["occluded"] == 1

    @cached_property
    def known(self) -> np.ndarray:
        """(N, 7) bool: the rule h2onet has an answer."""
        return self["occluded"] != UNKNOWN

    @cached_property
    def depth_hidden(self) -> np.ndarray:
        """(N, 6) bool, rule depth: less than MOSTLY is seen; False where `depth_known` is."""
        return (self["visible_fraction"] < MOSTLY) & self.depth_known

    @cached_property
    def depth_known(self) -> np.ndarray:
        """(N, 6) bool: the depth rule has an answer."""
        return np.isfinite(self["visible_fraction"])

    @cached_property
    def knows_other_hands(self) -> np.ndarray:
        """(N,) bool: the frame's store was written by a version that looks for other hands."""
        return self.has["other_hand_fraction"]

    @cached_property
    def both_known(self) -> np.ndarray:
        """(N, 6) bool: both rules have an answer."""
        return self.known[:, :6] & self.depth_known

    @cached_property
    def disagreeing(self) -> np.ndarray:
        """(N,) int64: parts about which the two rules say different things."""
        return (self.both_known & (self.hidden[:, :6] != self.depth_hidden)).sum(axis=1)

    @cached_property
    def disagreement(self) -> np.ndarray:
        """(N,) how far apart the rules are: parts on which they disagree, equal counts by |label - hidden share|."""
        apart = np.abs(self.hidden[:, :6] - (1.0 - self["visible_fraction"].astype(np.float64)))
        differ = self.both_known & (self.hidden[:, :6] != self.depth_hidden)
        return self.disagreeing + np.where(differ, np.clip(apart, 0, 1), 0.0).sum(axis=1) / 7

    @cached_property
    def recording(self) -> Groups:
        """Recordings: all cameras of one take."""
        return self._by_key(
            lambda number, key: self._said(number, key, "recording", recording_of(key, self.dataset(number)))
        )

    @cached_property
    def groups(self) -> dict[str, Groups]:
        """Divisions that every table of groups has, by title."""
        found = {
            "subject": self._by_key(self._subject),
            "object": self._objects(),
            "camera": self._by_key(self._camera),
            "hand side": Groups.by(("right", "left"), self["is_left"].astype(np.int64)),
        }
        return found | ({"store": Groups.by(self.paths, self.store)} if len(self.stores) > 1 else {})

    def dataset(self, store: int) -> str:
        """The dataset of a store; empty where it does not say."""
        return str(self.stores[store].attrs.get("dataset") or "")

    def frame_name(self, row: int) -> str:
        """CAMERA SEQUENCE/FRAME of a row."""
        return f"{self.keys[self.sequence[row]][1]}/{self['frame'][row]}"

    def _said(self, store: int, key: str, name: str, otherwise: str) -> str:
        """What the store of a table says of a sequence, `otherwise` where it says nothing."""
        origins = self.stores[store].attrs.get("origins") or {}
        return str(origins.get(key, {}).get(name, otherwise))

    def _subject(self, store: int, key: str) -> str:
        dexycb = self.dataset(store) == "dexycb"
        return key.split("/")[0] if dexycb else self._said(store, key, "subject", NO_SUBJECT)

    def _camera(self, store: int, key: str) -> str:
        if self.dataset(store) == "dexycb":
            return key.rpartition("/")[2]
        return self._said(store, key, "camera", key[-1:] if self.dataset(store) in RELEASED else NO_CAMERA)

    def _by_key(self, name: Callable[[int, str], str]) -> Groups:
        """Groups by what `name` makes of store and key; the dataset stands before it where there are several."""
        datasets = {self.dataset(number) for number in range(len(self.stores))}
        names = [
            f"{self.dataset(store)} {name(store, key)}".strip() if len(datasets) > 1 else name(store, key)
            for store, key in self.keys
        ]
        return Groups.by(names, self.sequence)

    def _objects(self) -> Groups:
        names: dict[str, int] = {}
        of = np.empty(len(self), np.int64)
        for number, labels in enumerate(self.stores):
            known = object_names(labels.attrs)
            mine = self.store == number
            ids, place = np.unique(self["object_id"][mine], return_inverse=True)
            words = [
                NO_OBJECT if i < 0 else OTHER_OBJECT if i == 0 else known[i - 1] if i <= len(known) else f"object {i}"
                for i in ids.tolist()
            ]
            of[mine] = np.array([names.setdefault(word, len(names)) for word in words], np.int64)[place]
        return Groups.by(tuple(names), of)


def read_rows_of(paths: Sequence[Path]) -> LabelRows:
    """All frames of the stores. InputError as `LabelStore.open`, for a store named twice, and for no frame at all."""
    places = [path.resolve() for path in paths]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise InputError(f"{paths[number]}: is named twice; name every store once")
    stores = tuple(LabelStore.open(path) for path in paths)
    if not any(map(len, stores)):
        raise InputError(f"{', '.join(map(str, paths))}: no frame to report; were the labels made from an empty split?")
    counts = [len(labels) for labels in stores]
    starts = np.cumsum([0, *(len(labels.sequences) for labels in stores)])
    sequence = [labels["sequence_id"] + start for labels, start in zip(stores, starts[:-1], strict=True)]
    held = [set(labels.index) for labels in stores]
    return LabelRows(
        stores=stores,
        paths=tuple(map(str, paths)),
        store=np.repeat(np.arange(len(stores)), counts),
        sequence=np.concatenate(sequence).astype(np.int64),
        keys=tuple((number, key) for number, labels in enumerate(stores) for key in labels.sequences),
        columns={name: np.concatenate([_column(labels, name) for labels in stores]) for name in COLUMNS},
        has={name: np.repeat([name in names for names in held], counts) for name in LATER_COLUMNS},
    )


def _column(labels: LabelStore, name: str) -> np.ndarray:
    """A column; InputError where a float, all of which are shares here, is none. The store checks the others itself."""
    values = labels[name]
    if values.dtype.kind == "f":
        bad = ~(np.isnan(values) | ((values >= -_ROUNDING) & (values <= 1 + _ROUNDING)))
        if bad.any():
            row = int(np.flatnonzero(bad.reshape(len(values), -1).any(axis=1))[0])
            raise InputError(
                f"{labels.store.path}: column {name}: row {row} is {brief(values[row].tolist())}, expected 0 to 1 or"
                " NaN; run prepare-labels again"
            )
    return values


def repeated_frames(rows: LabelRows) -> int:
    """How many frames (dataset, camera sequence, number) are there more than once, in different stores."""
    names = {name: i for i, name in enumerate(dict.fromkeys((rows.dataset(s), key) for s, key in rows.keys))}
    number = np.array([names[rows.dataset(store), key] for store, key in rows.keys], np.int64)
    codes = (number[rows.sequence] << 32) | rows["frame"]
    return len(codes) - len(np.unique(codes))


def share_text(part: float | np.number | np.ndarray, whole: float | np.number | np.ndarray) -> str:
    """A share in percent, of two numbers; `unknown` of nothing."""
    return f"{100 * part / whole:.1f} %" if whole else "unknown"


def fingers_hidden(rows: LabelRows) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By rule: hidden and known fingers, (N, 5) bool each."""
    count = len(FINGERS)
    return {
        "h2onet": (rows.hidden[:, :count], rows.known[:, :count]),
        "depth": (rows.depth_hidden[:, :count], rows.depth_known[:, :count]),
    }
