"""DexYCB's lists: which camera recordings of a download belong to a split, and how many frames each has.

Source: dex-ycb-toolkit's dataset definition (`dexycb_splits` holds its constants); see docs/datasets.md.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np

from ...errors import InputError, brief
from ..frame import CameraSequence
from .dexycb_splits import SERIALS, SUBJECTS, cameras_of, position_in_split, positions, subjects_of
from .yaml_files import field, read_yaml

log = logging.getLogger(__name__)
LONG_RECORDING = 10_000
"""Frames from which on meta.yml is held against the folder: DexYCB's own recordings have about 70."""


def list_dexycb(root: Path, split: str, setup: str, mano: str | None = None, warn: bool = True) -> list[CameraSequence]:
    """Camera recordings of a split in the toolkit's order: subject, sequence, camera.

    `indices` count frames as the toolkit's dataset index does (restarting at 0 for every setup and split); they equal
    the toolkit's only when the download is complete. With `warn`, sequences and cameras that are missing are logged.
    InputError when nothing is there.
    """
    found: list[CameraSequence] = []
    index, missing, cameras_missing = 0, 0, 0
    for subject in sorted(subjects_of(setup, split)):
        folder = root / SUBJECTS[subject]
        names = _sequence_names(folder)
        wanted = [name for name, position in names.items() if position_in_split(setup, split, position)]
        complete = sum(position_in_split(setup, split, position) for position in range(100))
        missing += max(0, complete - len(wanted))
        for name in wanted:
            frames, recorded = _extent(folder / name / "meta.yml")
            there = {entry.name for entry in os.scandir(folder / name)}
            for camera in sorted(cameras_of(setup, split) & recorded):
                numbers = np.arange(frames, dtype=np.int64)
                if SERIALS[camera] in there:
                    key = f"{SUBJECTS[subject]}/{name}/{SERIALS[camera]}"
                    indices = index + numbers
                    found.append(CameraSequence("dexycb", str(root), split, setup, key, numbers, indices, mano=mano))
                else:
                    cameras_missing += 1
                index += frames
    if not found:
        here = [name for name in SUBJECTS if (root / name).is_dir()]
        nothing = f"nothing of {setup} {split} ({len(here)} subjects)"
        have = nothing if here else f"no subject folders such as {SUBJECTS[0]}"
        raise InputError(
            f"{root}: holds {have}; expected <SUBJECT>/<SEQUENCE>/<SERIAL>/ as DexYCB has it: check --root"
        )
    if mano is not None and not (root / "calibration").is_dir():  # frames are wanted, not only the list
        raise InputError(f"{root}: has no calibration/; unpack calibration.tar.gz of the download beside the subjects")
    if missing and warn:
        log.warning(
            "%s: %d sequences of %s %s are not there; dataset_index is not the toolkit's", root, missing, setup, split
        )
    if cameras_missing and warn:
        log.warning(
            "%s: %d camera folders of %s %s are not there, though meta.yml names them; their frames are left out",
            root,
            cameras_missing,
            setup,
            split,
        )
    return found


def _sequence_names(folder: Path) -> dict[str, int]:
    """Sequence names of a subject, sorted, with their positions in the full list of 100.

    Other folders that people put there, without a meta.yml, are none.
    """
    if not folder.is_dir():
        return {}
    known = positions()
    names = sorted(
        entry.name
        for entry in os.scandir(folder)
        if not entry.name.startswith(".")
        and ((folder.name, entry.name) in known or (folder / entry.name / "meta.yml").is_file())
        and entry.is_dir()
    )
    unknown = [name for name in names if (folder.name, name) not in known]
    if unknown:
        log.warning(
            "%s: %d sequences are not in DexYCB's list (first: %s); their place among the %d here decides their split",
            folder,
            len(unknown),
            unknown[0],
            len(names),
        )
    return {name: known.get((folder.name, name), place) for place, name in enumerate(names)}


def _extent(path: Path) -> tuple[int, set[int]]:
    """Frames of a recording and the indices of the cameras that took part (in the full dataset always all eight)."""
    meta = read_yaml(path)
    count, serials = field(meta, path, "num_frames"), field(meta, path, "serials")
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise InputError(f"{path}: num_frames is {brief(count)}, expected a count; copy the file again")
    if not isinstance(serials, list):
        raise InputError(f"{path}: serials is {brief(serials)}, expected a list of cameras; copy the file again")
    if count > LONG_RECORDING and count > (most := _fullest_folder(path.parent)):
        raise InputError(
            f"{path}: num_frames is {brief(count)}, but no camera's folder has more than {most} files; copy the file"
            " again"
        )
    return count, {SERIALS.index(str(serial)) for serial in serials if str(serial) in SERIALS}


def _fullest_folder(recording: Path) -> int:
    """Files in the camera folder that has most of them."""
    return max((sum(1 for _ in os.scandir(entry)) for entry in os.scandir(recording) if entry.is_dir()), default=0)
