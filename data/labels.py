"""labels.zarr: what is known about every annotated frame of one dataset split, on top of `stores/sequences.py`.

It holds all that building clips needs (with the photos under the dataset root): occlusion labels, hand pose, joints,
camera, object. Metres, radians, pixels; OpenCV camera frame; joints wrist, thumb .. little, base to tip; labels thumb,
index, middle, ring, little, palm, global; 1 = occluded, 0 = visible, 255 = unknown. Numbers the dataset does not give
are NaN.

    labels = LabelStore.open("labels.zarr")
    row = labels.row("20200709-subject-01/20200709_141754/836212060125", 17)
    labels["occluded"][row]
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from tqdm import tqdm

from ..durable import room_to_write
from ..errors import InputError, brief
from ..hand.parts import LABELS, UNKNOWN
from .stores.attributes import BY_COPY, LabelIndex, Pixels, Relative
from .stores.columns import LABEL_COLUMNS, VERTICES
from .stores.keys import check_keys
from .stores.records import Columns, Rows
from .stores.sequences import SequenceStore

SCHEMA = "h2onet-labels"
SCHEMA_VERSION = 1

COLUMNS = LABEL_COLUMNS
Photo = tuple[str, tuple[int, int] | None]
"""Path below the dataset's root, and width and height."""


class LabelStore:
    """A labels.zarr: `create` to write (resumes), `open` to read; columns by name like a dictionary of NumPy arrays."""

    def __init__(self, store: SequenceStore) -> None:
        self.store = store
        self._index: Columns | None = None
        self._rows: dict[tuple[str, int], int] | None = None
        self._paths: dict[str, int] | None = None
        self._photos: tuple[int, list[Photo]] = (-1, [])

    @classmethod
    def create(cls, path: str | Path, settings: Mapping[str, Any], overwrite: bool = False) -> LabelStore:
        """Make or resume; errors as `SequenceStore.create`."""
        return cls(SequenceStore.create(path, settings, overwrite, schema=SCHEMA, version=SCHEMA_VERSION))

    @classmethod
    def open(cls, path: str | Path) -> LabelStore:
        """Open a finished store; InputError when it is missing, unfinished, or of another version."""
        labels = cls(SequenceStore.open(path, schema=SCHEMA, version=SCHEMA_VERSION))
        labels._index = labels.store.read_index(LabelIndex, COLUMNS)
        return labels

    def close(self) -> None:
        """Release the writer's lock."""
        self.store.close()

    # -- writing ----------------------------------------------------------------------------------------------------

    def commit(self, key: str, rows: Mapping[str, np.ndarray], attrs: Mapping[str, Any]) -> bool:
        """Store one sequence's columns (all of `COLUMNS`, `vertices` where given), atomically; see `SequenceStore`."""
        return self.store.commit(key, check_columns(rows), attrs)

    def finish(self, keys: Iterable[str], attrs: Mapping[str, Any]) -> None:
        """Write the index over the given finished sequences, in that order."""
        keys = list(keys)
        check_keys(self.store.path, keys)
        finished = self.store.finished()
        sequences = [
            {"key": key, "frames": finished[key]["n_frames"], "sha256": finished[key]["sha256"]} for key in keys
        ]
        facts = {"sequences": sequences, "labels": list(LABELS), "made_from": _digest([finished[key] for key in keys])}
        self.store.write_index(self._blocks(keys), {**attrs, **facts})
        self._index, self._rows, self._paths = None, None, None

    def is_current(self, keys: Iterable[str], required: Collection[str] = ()) -> bool:
        """Whether the index is there in full and was made from exactly these sequences as they are now.

        With the attributes `required`, and those that the store's settings repeat as they are there.
        """
        keys, finished = list(keys), self.store.finished()
        facts = [finished.get(key) for key in keys]
        try:
            index = self.store.read_index(LabelIndex, COLUMNS)
            index.check_whole()
            if not self._is_repeated_by(index, keys):
                return False
        except InputError:
            return False
        settings = self.store.attrs["settings"]
        repeated = [name for name in required if name in settings and name != "mano"]
        return (
            index.attrs["made_from"] == _digest(facts)
            and not set(required) - set(index.attrs)
            and all(index.attrs[name] == settings[name] for name in repeated)
        )

    def _is_repeated_by(self, index: Columns, keys: list[str]) -> bool:
        """Whether the index holds, byte for byte, what the sequences hold."""
        start = 0
        for block in self._blocks(keys):
            end = start + len(block["frame"])
            if any(index.part(name, start, end).tobytes() != values.tobytes() for name, values in block.items()):
                return False
            start = end
        return start == index.attrs["frames"]

    def _blocks(self, keys: list[str], rows_per_block: int = 16384) -> Iterator[Rows]:
        pending: list[Rows] = []
        count = 0
        for number, key in enumerate(keys):
            rows, attrs = self.store.read(key, COLUMNS)
            pending.append({"sequence_id": np.full(attrs["n_frames"], number, np.int32), **rows})
            count += attrs["n_frames"]
            if count >= rows_per_block or number == len(keys) - 1:
                yield {name: np.concatenate([part[name] for part in pending]) for name in pending[0]}
                pending, count = [], 0

    # -- reading ----------------------------------------------------------------------------------------------------

    @property
    def index(self) -> Columns:
        """All columns over all frames."""
        if self._index is None:
            self._index = self.store.read_index(LabelIndex, COLUMNS)
        return self._index

    @property
    def attrs(self) -> dict[str, Any]:
        """dataset, split, setup, root, image (`frame.image_pattern`), mano, rules, ... of the finished run."""
        return self.index.attrs

    @property
    def sequences(self) -> list[str]:
        """Keys of the camera sequences, by `sequence_id`."""
        return [entry["key"] for entry in self.attrs["sequences"]]

    def __getitem__(self, column: str) -> np.ndarray:
        return self.index[column]

    def __len__(self) -> int:
        return int(self.attrs["frames"])

    def _attribute(self, name: str) -> str:
        if name not in self.attrs:
            raise InputError(f"{self.store.path / 'index'}: attribute {name} is missing; {BY_COPY}")
        return self.attrs[name]

    def image(self, row: int) -> str:
        """The photo's path below the dataset root."""
        return self.photo(row)[0]

    def photo(self, row: int) -> tuple[str, tuple[int, int] | None]:
        """The photo's path below the dataset root, and its width and height, None where the store does not say."""
        number = int(self["sequence_id"][row])
        key, size = self.attrs["sequences"][number]["key"], self.attrs.get("photo")
        if "suffixes" not in self.attrs:  # a raw tree, whose photos follow a pattern
            path = self._attribute("image").format(sequence=key, frame=int(self["frame"][row]))
            return path, None if size is None else (size[0], size[1])
        if self._photos[0] != number:
            rows, attrs = self.store.read(key, COLUMNS)
            self._photos = (number, listed_photos(self.store.path, attrs, len(rows["frame"])))
        first = int(np.searchsorted(self["sequence_id"], number))
        return self._photos[1][row - first]

    def row(self, sequence: str, frame: int | None = None) -> int:
        """The row of a frame, by (sequence key, frame number) or by the photo's path; KeyError when it is no row.

        A raw tree's path may be a longer one; a table's is the one that its row gives, and of several hands the first.
        """
        if frame is None:
            if "suffixes" in self.attrs:
                return self._row_of_photo(sequence)
            sequence, frame = self._parse(sequence)
        if self._rows is None:
            keys = self.sequences
            pairs = zip(self["sequence_id"].tolist(), self["frame"].tolist(), strict=True)
            self._rows = {(keys[number], frame_number): row for row, (number, frame_number) in enumerate(pairs)}
        return self._rows[sequence, frame]

    def _row_of_photo(self, path: str) -> int:
        if self._paths is None:
            paths, first = {}, 0
            for entry in self.attrs["sequences"]:
                _, attrs = self.store.read(entry["key"], COLUMNS)
                for row, (listed, _) in enumerate(listed_photos(self.store.path, attrs, entry["frames"]), first):
                    paths.setdefault(listed, row)
                first += entry["frames"]
            self._paths = paths
        return self._paths[path]

    def _parse(self, path: str) -> tuple[str, int]:
        parts = Path(path).parts
        stem = Path(path).stem
        digits = stem.removeprefix("color_")
        if not digits.isdecimal():
            raise KeyError(path)
        if stem.startswith("color_"):
            return "/".join(parts[-4:-1]), int(digits)
        return parts[-3] if len(parts) >= 3 else "", int(digits)

    # -- the authors' per-frame files -------------------------------------------------------------------------------

    def export_json(self, folder: str | Path) -> int:
        """Write one JSON per labelled frame as the authors' scripts name and fill them; returns how many.

        `folder/<subject>/<sequence>/<serial>/occ_000000.json` or `folder/<SEQ>/occ/0000.json`, keys of `LABELS`.
        """
        keys, dexycb = self.sequences, self._attribute("dataset") == "dexycb"
        places = [Path(folder) / key if dexycb else Path(folder) / key / "occ" for key in keys]
        name = "occ_{:06d}.json" if dexycb else "{:04d}.json"
        rows = np.flatnonzero(self["labelled"])
        columns = (self[column][rows].tolist() for column in ("sequence_id", "frame", "occluded"))
        made = -1
        for number, frame, occluded in tqdm(zip(*columns, strict=True), "json", len(rows), unit="frame", delay=1.0):
            path = places[number] / name.format(frame)
            with room_to_write(path):
                if number != made:  # rows of a sequence follow each other
                    path.parent.mkdir(parents=True, exist_ok=True)
                    made = number
                path.write_text(json.dumps(dict(zip(LABELS, occluded, strict=True))), "utf-8")
        return len(rows)


def listed_photos(where: str | Path, attrs: Mapping[str, Any], rows: int) -> list[Photo]:
    """Path and size of the photo of every row, as a table's sequence keeps them; InputError where it does not."""
    try:
        found = msgspec.convert(attrs.get("photos"), list[tuple[Relative, Pixels, Pixels]])
        if len(found) != rows:
            raise ValueError(f"{len(found)} photos for {rows} rows")
    except (msgspec.ValidationError, ValueError) as error:
        raise InputError(f"{where}: photos of sequence {brief(attrs.get('key'))}: {error}; {BY_COPY}") from None
    return [(path, (width, height)) for path, width, height in found]


def _digest(facts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def check_columns(rows: Mapping[str, np.ndarray]) -> Rows:
    """The columns in their stored type and order; ValueError when one is missing, unknown or of the wrong shape."""
    expected = {**COLUMNS, **(VERTICES if "vertices" in rows else {})}
    if set(rows) != set(expected):
        raise ValueError(f"columns differ from the schema: {sorted(set(rows) ^ set(expected))}")
    stored = {}
    for name, (kind, shape) in expected.items():
        values = np.asarray(rows[name])
        if values.shape[1:] != shape:
            raise ValueError(f"column {name}: shape {values.shape}, expected (frames, {', '.join(map(str, shape))})")
        stored[name] = values.astype(np.dtype(kind), copy=False)
    return stored


def empty_columns(frames: int, *, vertices: bool = False) -> Rows:
    """Columns of `frames` rows with nothing filled in: NaN, label 255, object -1."""
    fills: dict[str, Any] = {"occluded": UNKNOWN, "cause": UNKNOWN, "joint_visible": UNKNOWN, "object_id": -1}
    fills["visible_vertices"] = -1
    # coco_visibility stays 0: COCO has one flag for "outside the image" and "nobody knows".
    rows = {}
    for name, (kind, shape) in {**COLUMNS, **(VERTICES if vertices else {})}.items():
        fill = fills.get(name, np.nan if np.dtype(kind).kind == "f" else 0)
        rows[name] = np.full((frames, *shape), fill, np.dtype(kind))
    return rows
