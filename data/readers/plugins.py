"""Readers that other packages bring: entry points of the group `h2onet.datasets`, named as `--dataset` names them.

    [project.entry-points."h2onet.datasets"]
    our-rig = "our_package.reader:OurRig"        # a DatasetReader, or a class of them without arguments

Code of a package is loaded only when its dataset is asked for. docs/add-a-dataset.md has an example.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Protocol

from ...errors import InputError, brief, one_line
from ..frame import DATASETS, FRAME_FAULTS, CameraSequence, Failure, Frame, Unannotated

GROUP = "h2onet.datasets"


class DatasetReader(Protocol):
    """What reads a dataset: three questions, asked in the command and in its workers."""

    def list_sequences(self, root: Path, split: str, mano: str | None) -> list[CameraSequence]:
        """The camera sequences of train, val or test, each with `facts`; InputError where there are none."""
        ...

    def iter_frames(self, sequence: CameraSequence, masks: bool) -> Iterator[Frame | Unannotated | Failure]:
        """Every listed frame of a sequence, in order; without `masks` segmentations may be left out."""
        ...

    def folders(self, root: Path) -> tuple[Path, Path]:
        """The folder that the photos' paths are relative to, and that of the object models (which need not exist)."""
        ...


@lru_cache(maxsize=1)
def _found() -> dict[str, EntryPoint]:
    # Once: looking through all installed packages takes 60 ms each time.
    return {entry.name: entry for entry in entry_points(group=GROUP) if entry.name not in DATASETS}


def dataset_names() -> tuple[str, ...]:
    """All that `--dataset` takes: the datasets of this program, then those of installed packages."""
    return (*DATASETS, *sorted(_found()))


@lru_cache(maxsize=8)
def plugin(dataset: str) -> DatasetReader:
    """The reader of a dataset that a package brings. InputError where none does, or it cannot be loaded."""
    entry = _found().get(dataset)
    if entry is None:
        raise InputError(f"dataset {brief(dataset)}: no installed package has a reader of it ({GROUP})")
    try:
        loaded = entry.load()
        return loaded() if isinstance(loaded, type) else loaded
    except FRAME_FAULTS as error:  # whatever that package raises
        raise InputError(
            f"{GROUP}: {entry.name} = {entry.value}: {one_line(error, 200)}; repair that package"
        ) from None


def list_plugin(dataset: str, root: Path, split: str, mano: str | None) -> list[CameraSequence]:
    """The sequences that a package's reader lists; InputError where they are none that this program can use."""
    found = plugin(dataset).list_sequences(root, split, mano)
    wrong = [each.key for each in found if each.facts is None or each.dataset != dataset]
    if wrong or not found:
        said = f"{wrong[0]} has no facts, or another dataset" if wrong else f"no sequence of split {split}"
        raise InputError(f"{root}: the reader of {dataset} lists {said}; see docs/add-a-dataset.md")
    return found
