"""Clips as webdataset shards, for people with other trainers.

A shard is a tar file with two members per frame, `<key>.jpg` (the stored picture, byte for byte) and `<key>.json`
(the row of the index: metres, pixels, OpenCV camera frame, null where the dataset says nothing). The key is the
camera sequence with "__" for "/" and "%2E" for ".", then the frame number: readers end a key at its first dot. A camera
sequence is never split, so that windows can be formed in a shard.
"""

from __future__ import annotations

import io
import json
import math
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ...data.stores.clips import ClipStore
from ...errors import InputError
from .names import dotless, frame_stems

_INTERNAL = ("offset", "length", "sequence_id")


def write_shards(clips: ClipStore, folder: Path, *, frames_per_shard: int = 4096) -> str:
    """Write `clips-000000.tar`, ... and `clips.json` (the store's attributes); returns what was written, in words.

    A shard is closed at the end of the camera sequence with which it reaches `frames_per_shard`. The same store gives
    the same bytes.
    """
    if frames_per_shard < 1:
        raise InputError(f"frames_per_shard: expected 1 or more, found {frames_per_shard}")
    stems = frame_stems(clips.index)
    starts = np.searchsorted(clips.index["sequence_id"], np.arange(len(clips.entries) + 1)).tolist()
    with tqdm(total=len(clips), desc="export", unit="frame") as bar:
        shards, first = 0, 0
        for end in starts[1:]:
            if end - first >= frames_per_shard or (end == starts[-1] and end > first):
                _write_shard(clips, np.arange(first, end), stems, folder / f"clips-{shards:06d}.tar", bar)
                shards, first = shards + 1, end
    attrs = {name: value for name, value in clips.attrs.items() if name not in ("columns", "sequences", "settings")}
    (folder / "clips.json").write_text(json.dumps({**attrs, "shards": shards}, indent=2), "utf-8")
    return f"{len(clips)} frames in {shards} shards"


def _write_shard(clips: ClipStore, rows: np.ndarray, stems: list[str], path: Path, bar: tqdm) -> None:
    names = [name for name in clips.index if name not in _INTERNAL]
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for row in rows:
            (jpeg,) = clips.jpegs(rows[row - rows[0] : row - rows[0] + 1])
            values = {name: _plain(clips.index[name][row].tolist()) for name in names}
            sequence = clips.key(int(row))
            key = f"{dotless(sequence)}__{stems[row]}"
            record = {"sequence": sequence, "dataset": clips.dataset, **values}
            _add(tar, key + ".jpg", jpeg)
            _add(tar, key + ".json", json.dumps(record, allow_nan=False).encode())
            bar.update()


def _plain(value: Any) -> Any:
    """Numbers as JSON knows them: NaN becomes null."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # no time, no owner: the same store gives the same bytes
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
