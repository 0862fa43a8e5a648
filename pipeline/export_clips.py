"""`h2o clips export`: a clips.zarr as webdataset shards, for people with other trainers.

A shard is a tar file with two members per frame, `<key>.jpg` (the stored picture, byte for byte) and `<key>.json`
(the row of the index: metres, pixels, OpenCV camera frame, null where the dataset says nothing). The key is the
camera sequence with "__" for "/", then the frame number. A camera sequence is never split, so that windows can be
formed in a shard.
"""

from __future__ import annotations

import io
import json
import math
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .. import durable
from ..data.stores.clips import ClipStore
from ..data.stores.keys import folder_name
from ..errors import InputError

_INTERNAL = ("offset", "length", "sequence_id")


@dataclass(frozen=True)
class ExportSummary:
    """What was written."""

    frames: int
    shards: int
    nbytes: int
    out: str

    def __str__(self) -> str:
        return f"{self.frames} frames in {self.shards} shards ({self.nbytes / 1e6:.1f} MB) in {self.out}"


def export_webdataset(store: str | Path, out: str | Path, *, frames_per_shard: int = 4096) -> ExportSummary:
    """Write `out/clips-000000.tar`, ... and `out/clips.json` (the store's attributes); `out` must not exist yet.

    A shard is closed at the end of the camera sequence with which it reaches `frames_per_shard`. The same store gives
    the same bytes. InputError when the store cannot be opened or `out` exists; then nothing is written.
    """
    clips, out = ClipStore.open(store), Path(out)
    if out.exists():
        raise InputError(f"--out {out}: exists already; give a new folder")
    if frames_per_shard < 1:
        raise InputError(f"frames_per_shard: expected 1 or more, found {frames_per_shard}")
    out.parent.mkdir(parents=True, exist_ok=True)
    starts = np.searchsorted(clips.index["sequence_id"], np.arange(len(clips.entries) + 1)).tolist()
    with durable.building(out) as temporary, tqdm(total=len(clips), desc="export", unit="frame") as bar:
        shards, first = 0, 0
        for end in starts[1:]:
            if end - first >= frames_per_shard or (end == starts[-1] and end > first):
                _write_shard(clips, np.arange(first, end), temporary / f"clips-{shards:06d}.tar", bar)
                shards, first = shards + 1, end
        attrs = {name: value for name, value in clips.attrs.items() if name not in ("columns", "sequences", "settings")}
        (temporary / "clips.json").write_text(json.dumps({**attrs, "shards": shards}, indent=2), "utf-8")
        nbytes = sum(file.stat().st_size for file in temporary.iterdir())
        if not durable.publish(temporary, out):
            raise InputError(f"--out {out}: another export wrote it meanwhile; give a new folder")
    return ExportSummary(len(clips), shards, nbytes, str(out))


def _write_shard(clips: ClipStore, rows: np.ndarray, path: Path, bar: tqdm) -> None:
    names = [name for name in clips.index if name not in _INTERNAL]
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for row in rows:
            (jpeg,) = clips.jpegs(rows[row - rows[0] : row - rows[0] + 1])
            values = {name: _plain(clips.index[name][row].tolist()) for name in names}
            sequence = clips.key(int(row))
            key = f"{folder_name(sequence)}__{values['frame']:06d}"
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
