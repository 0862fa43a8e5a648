"""What a synthetic dataset's layouts have in common: a plan of independent recordings."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError
from ..annotations import write_annotation_file

log = logging.getLogger(__name__)
STAGES = ("entry", "reach", "hold")
"""Which part of a performance a short recording shows, see `performance.make_performance`."""


@dataclass(frozen=True)
class Plan:
    """What is still to be written of a dataset.

    tasks: one picklable call per recording, each returns its number of photos; finish: writes what needs all of them.
    """

    tasks: list[Callable[[], int]]
    finish: Callable[[], None]


def annotate(dataset: str, root: Path, files: dict[str, str]) -> None:
    """Write HandOccNet's annotation JSONs of a finished tree: `files` maps a split to the name under `annotations/`.

    A split without any annotated frame gets no file, with a warning.
    """
    (root / "annotations").mkdir()
    for split, name in files.items():
        try:
            # Without warnings that most of the real dataset is missing: here that is as it should be.
            write_annotation_file(dataset, root, split, "s0", root / "mano", root / "annotations" / name, warn=False)
        except InputError as error:
            log.warning("annotations/%s is not written: %s", name, error)
