"""`h2o clips export`: a clips.zarr in the format of other people's tools; one module of `exports/` writes each.

Every export is a folder that appears whole or not at all, with the store's card as `README.md`: the reminders of
licences go with the pictures.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .. import durable
from ..data.loading.card import clip_card
from ..data.stores.clips import ClipStore
from ..errors import InputError
from .exports.coco import write_coco
from .exports.lerobot import write_lerobot
from .exports.table import write_table
from .exports.webdataset import write_shards


@dataclass(frozen=True)
class ExportFormat:
    """What writes a format into an empty folder, and the packages that the extra of the format's name installs."""

    write: Callable[[ClipStore, Path], str]
    needs: tuple[str, ...] = ()


FORMATS = {
    "webdataset": ExportFormat(write_shards),
    "lerobot": ExportFormat(write_lerobot, ("av", "pyarrow")),
    "coco": ExportFormat(write_coco),
    "parquet": ExportFormat(write_table, ("pyarrow",)),
}


@dataclass(frozen=True)
class ExportSummary:
    """What was written."""

    written: str
    nbytes: int
    out: str

    def __str__(self) -> str:
        return f"{self.written} ({self.nbytes / 1e6:.1f} MB) in {self.out}"


def export_clips(store: str | Path, to: str, out: str | Path) -> ExportSummary:
    """Write a store as a new folder `out` in one of `FORMATS`.

    InputError for another format, a missing package (named with its extra), a store that cannot be opened or is empty,
    and an `out` that exists; then nothing is written.
    """
    if to not in FORMATS:
        raise InputError(f"--to: expected {', '.join(FORMATS)}, found {to!r}")
    chosen = FORMATS[to]
    missing = [name for name in chosen.needs if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"--to {to}: needs {' and '.join(missing)}; run: pip install 'h2onet[{to}]'")
    clips, out = ClipStore.open(store), Path(out)
    if not len(clips):
        raise InputError(f"{store}: holds no frame to write")
    if out.exists() or out.is_symlink():
        raise InputError(f"--out {out}: exists already; give a new folder")
    durable.require_writable(out.parent, "--out")
    out.parent.mkdir(parents=True, exist_ok=True)
    with durable.building(out) as temporary:
        written = chosen.write(clips, temporary)
        durable.write_text(temporary / "README.md", clip_card(store))
        nbytes = sum(file.stat().st_size for file in temporary.rglob("*") if file.is_file())
        if not durable.publish(temporary, out):
            raise InputError(f"--out {out}: another export wrote it meanwhile; give a new folder")
    return ExportSummary(written, nbytes, str(out))
