"""A dataset as a table: its dataset.toml, which says what holds for every row of frames.jsonl or frames.parquet.

    ROOT/dataset.toml
    ROOT/frames.jsonl or frames.parquet     one row a hand in a photo (`table_rows.Row`)

Metres, radians, pixels, OpenCV axes, a pinhole camera: the file has to state the first and may state the others, and
anything else is refused rather than guessed. docs/add-a-dataset.md is the page.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from ...errors import InputError, one_line
from ...untrusted import check_name
from ..frame import DATASETS, DatasetFacts

FILE = "dataset.toml"
ROWS = ("frames.jsonl", "frames.parquet")
LARGEST = 2**20
"""Bytes of a dataset.toml; [splits] of a thousand sequences have 50 kB."""

Byte = Annotated[int, Meta(ge=0, le=255)]
Colour = Byte | Annotated[list[Byte], Meta(min_length=3, max_length=3)]
"""Of a hand in a mask: a grey value or an entry of a label map, or red, green, blue."""
Side = Annotated[int, Meta(ge=1, le=2**15 - 1)]
Split = Literal["train", "val", "test"]
_STATED = {"units": "m", "axes": "opencv", "camera": "pinhole"}
_ADVICE = {
    "units": 'write positions in metres (divide millimetres by 1000) and say so with units = "m"',
    "axes": 'turn positions to x right, y down, z forward (OpenGL: negate y and z) and say axes = "opencv"',
    "camera": 'undistort the photos first and say camera = "pinhole"',
}


class MaskColours(Struct, frozen=True, forbid_unknown_fields=True):
    """`[mask]`: the colour of the hand of either side, and how far a pixel may be from it in every channel."""

    right: Colour | None = None
    left: Colour | None = None
    tolerance: Byte = 0


class PastFrames(Struct, frozen=True, forbid_unknown_fields=True):
    """`[window]`: how far back past frames lie, and how wide training jitters them (`loading.windows.Window`)."""

    past: Annotated[tuple[Annotated[int, Meta(ge=1, le=10**6)], ...], Meta(max_length=2)] = (5, 10)
    jitter: Annotated[tuple[Annotated[float, Meta(ge=0, le=10**6)], ...], Meta(max_length=2)] | None = None


class TableConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of dataset.toml; folders are relative to it."""

    name: str
    units: str
    axes: str = "opencv"
    camera: str = "pinhole"
    photos: str = "."
    masks: str = "."
    objects: str = "models"
    size: tuple[Side, Side] | None = None
    split: Split = "train"
    splits: dict[Split, list[str]] = {}
    pca: Annotated[int, Meta(ge=1, le=45)] | None = None
    flat_hand_mean: bool | None = None
    joint_order: Literal["fingers", "mano"] = "fingers"
    mask: MaskColours = MaskColours()
    window: PastFrames = PastFrames()

    @property
    def adds_mean(self) -> bool:
        """Whether the hand's mean pose has to be added to `mano_pose`; by default to PCA coefficients only."""
        return self.pca is not None if self.flat_hand_mean is None else not self.flat_hand_mean

    def split_of(self, sequence: str) -> str:
        """The split of a sequence whose rows name none: by the patterns of [splits], else `split`."""
        for name, patterns in self.splits.items():
            if any(fnmatchcase(sequence, pattern) for pattern in patterns):
                return name
        return "" if self.splits else self.split


@dataclass(frozen=True)
class Table:
    """A table as it lies on the disk: what its dataset.toml says, the file of rows, and the folders it names."""

    config: TableConfig
    sha256: str
    rows: Path
    photos: Path
    masks: Path
    objects: Path

    @property
    def facts(self) -> DatasetFacts:
        """What holds for all its sequences."""
        past, jitter = self.config.window.past, self.config.window.jitter
        wide = (*(0.8 * back for back in past[:-1]), *(0.2 * back for back in past[-1:]))
        return DatasetFacts(
            self.config.name,
            past=past,
            jitter=wide if jitter is None else jitter,
            settings=f"dataset.toml {self.sha256}",
        )


def open_table(root: Path) -> Table:
    """The table in a folder. InputError naming the file, the key, what was expected and found."""
    path = root / FILE
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; a table's folder holds {FILE} and {ROWS[0]}") from None
    return _open_table(root, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)  # by the file's time as well: workers ask for every sequence, people change the file
def _open_table(root: Path, time: int, size: int) -> Table:
    path = root / FILE
    config, sha256 = _read_config(path)
    for key, expected in _STATED.items():
        if (found := getattr(config, key)) != expected:
            raise InputError(f"{path}: {key} is {one_line(repr(found), 60)}, expected {expected!r}; {_ADVICE[key]}")
    try:
        if check_name(config.name, "name") in DATASETS:
            raise ValueError(f"name is {config.name!r}, which stands for a dataset as its authors release it")
    except ValueError as error:
        raise InputError(f"{path}: {error}; give the table a name of its own") from None
    window = config.window
    if sorted(set(window.past)) != list(window.past) or len(window.jitter or window.past) != len(window.past):
        raise InputError(f"{path}: window is {window.past} with jitter {window.jitter}; expected increasing distances")
    there = [root / name for name in ROWS if (root / name).is_file()]
    if len(there) != 1:
        found = "both" if there else "neither"
        raise InputError(f"{root}: expected {' or '.join(ROWS)} beside {FILE}, found {found}; keep one of them")
    folders = (root / folder for folder in (config.photos, config.masks, config.objects))
    return Table(config, sha256, there[0], *(folder.expanduser().resolve() for folder in folders))


def _read_config(path: Path) -> tuple[TableConfig, str]:
    """What a dataset.toml says, and the hash of its bytes."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise ValueError(f"more than {LARGEST >> 20} MB")
        return msgspec.convert(tomllib.loads(data.decode()), TableConfig), hashlib.sha256(data).hexdigest()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; check the path") from None
    except (tomllib.TOMLDecodeError, ValueError, msgspec.ValidationError, RecursionError) as error:
        raise InputError(f"{path}: {one_line(error, 200)}; see docs/add-a-dataset.md for its keys") from None
