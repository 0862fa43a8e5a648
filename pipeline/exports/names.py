"""Names of frames in exports: of files that other tools open, and of samples that they group by name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...data.stores.keys import folder_name


def frame_stems(index: Mapping[str, np.ndarray]) -> list[str]:
    """A name per row of a clip index that its sequence has once: "000012", "000012-2" for that frame's second hand."""
    frame, sequence = index["frame"], index["sequence_id"]
    place = np.arange(len(frame))
    order = np.lexsort((place, frame, sequence))
    first = np.ones(len(frame), bool)
    first[1:] = (np.diff(frame[order]) != 0) | (np.diff(sequence[order]) != 0)
    earlier = np.empty(len(frame), np.int64)  # rows before this one that show the same frame
    earlier[order] = place - np.maximum.accumulate(np.where(first, place, 0))
    pairs = zip(frame.tolist(), earlier.tolist(), strict=True)
    return [f"{number:06d}-{before + 1}" if before else f"{number:06d}" for number, before in pairs]


def dotless(sequence: str) -> str:
    """The folder name of a sequence without dots, which webdataset takes for the end of a sample's name.

    Different sequences keep different names: "%" stands in no key.
    """
    return folder_name(sequence).replace(".", "%2E")
