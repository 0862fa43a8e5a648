"""`h2o table from`: what the readers of DexYCB, HO3D and HandOccNet's JSON give, written as a table.

Numbers are written so that they read back as the same float64: labels and clips made from the table are equal to
those made from the source, byte for byte, but for the dataset's name. Photos and object models stay where they are;
masks are written as PNGs, 255 where the hand is. Metres, pixels, OpenCV axes.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .. import durable
from ..data.datasets import hand_sides, iter_frames, list_sequences, refuse_foreign, refuse_inside
from ..data.failures import failures_file, write_failures
from ..data.frame import CameraSequence, Failure, Frame, Photo, Unannotated, ho3d_folder, recording_of
from ..data.loading.windows import window_of
from ..data.photos import encode
from ..data.readers.dexycb_splits import SUBJECTS
from ..data.readers.table import FILE, ROWS
from ..errors import InputError
from ..hand.basis import hand_basis
from .table_files import FORMATS, rows_file

log = logging.getLogger(__name__)
SOURCES = ("dexycb", "ho3d-v2", "ho3d-v3")
HAND = 255


@dataclass(frozen=True)
class TableSummary:
    """What a table holds, and what of its source could not be read (failures.jsonl beside it)."""

    rows: int
    unannotated: int
    masks: int
    failures: int
    out: Path

    def __str__(self) -> str:
        failed = f"; {self.failures} failures, see {failures_file(self.out)}" if self.failures else ""
        return (
            f"{self.rows} rows ({self.unannotated} of photos without a hand) and {self.masks} masks"
            f" in {self.out}{failed}"
        )


def write_table(
    source: str,
    root: Path,
    splits: Sequence[str],
    setup: str,
    mano: str,
    out: Path,
    *,
    rows: str = "jsonl",
    dataset: str | None = None,
    overwrite: bool = False,
) -> TableSummary:
    """Write splits of a dataset as a table in the folder `out`, which appears only when it is whole.

    `source` is one of SOURCES or the path of a HandOccNet JSON, of the `dataset` that lies at `root` (None: as the
    folder looks). InputError for bad input, and when `out` exists and may not be replaced.
    """
    root, out = Path(root).expanduser(), Path(out).expanduser()
    if rows not in FORMATS:
        raise InputError(f"--rows {rows}: expected one of {', '.join(FORMATS)}")
    name, annotations = _source(source, root, dataset)
    for split in (each for each in splits if splits.count(each) > 1):
        raise InputError(f"--split {split}: given twice")
    refuse_inside(out, root, "--out")
    refuse_foreign(out, "--out", itself=False)
    if out.exists() and not (overwrite and (out / FILE).is_file()):
        raise InputError(f"--out {out}: exists; give another folder, or --overwrite for a table")
    listed = [list_sequences(name, root.resolve(), split, setup, annotations, mano) for split in splits]
    for side in hand_sides(listed[0]):
        hand_basis(mano, side)  # a wrong MANO folder is an error of the run, not of every frame
    report = _Report()
    with durable.building(out) as folder:
        with rows_file(folder / ROWS[FORMATS.index(rows)]) as target:
            for sequence in tqdm([each for part in listed for each in part], "table", unit="seq", delay=1.0):
                for row in _rows_of(sequence, folder, report):
                    target.write(row)
        if not report.rows:
            raise InputError(f"{root}: no frame of {', '.join(splits)} can be read; check ROOT and --split")
        (folder / FILE).write_text(_describe(name, root.resolve()), "utf-8")
        durable.replace(folder, out) if out.exists() else durable.publish(folder, out)
    write_failures(out, report.failures)
    if report.crowded:
        log.warning(
            "%s: %d frames show another hand, which the source annotates with no frame of its own: it is left out, and "
            "labels made from the table do not know what it hides; add it as a row of the same image",
            out,
            report.crowded,
        )
    return TableSummary(report.rows, report.skipped.total(), report.masks, len(report.failures), out)


def _source(source: str, root: Path, dataset: str | None) -> tuple[str, str]:
    """The dataset and where its annotations come from, as `list_sequences` has them."""
    if source in SOURCES:
        if dataset not in (None, source):
            raise InputError(f"--dataset {dataset}: the source is {source}; leave it away")
        return source, "raw"
    if not source.endswith(".json"):
        raise InputError(f"SOURCE {source}: expected {', '.join(SOURCES)} or a HandOccNet annotation .json")
    if dataset is None:
        dataset = _looks_like(root)
    if dataset not in SOURCES:
        raise InputError(f"--dataset {dataset}: {source} and {root} are of one of {', '.join(SOURCES)}; say which")
    return dataset, str(Path(source).expanduser().resolve())


def _looks_like(root: Path) -> str | None:
    """The dataset whose tree this is; None where it is none's."""
    if any((root / subject).is_dir() for subject in SUBJECTS):
        return "dexycb"
    for folder in (ho3d_folder("train"), ho3d_folder("test")):
        for suffix, version in (("png", "ho3d-v2"), ("jpg", "ho3d-v3")):
            if next((root / folder).glob(f"*/rgb/*.{suffix}"), None) is not None:
                return version
    return None


@dataclass
class _Report:
    rows: int = 0
    masks: int = 0
    crowded: int = 0  # frames with other hands, which have no row of their own in the source
    skipped: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)


def _rows_of(sequence: CameraSequence, folder: Path, report: _Report) -> Iterator[dict[str, Any]]:
    """The rows of a sequence: its frames, and its photos without a hand, which say why."""
    numbers = zip(sequence.numbers.tolist(), sequence.indices.tolist(), strict=True)
    photos = {Photo(sequence, number, index).image: (number, index) for number, index in numbers}
    rows: list[dict[str, Any]] = []
    for item in iter_frames(sequence):
        if isinstance(item, Failure):
            report.failures.append(item)
        elif isinstance(item, Unannotated):
            number, index = photos[item.path]
            report.skipped[item.reason] += 1
            rows.append({"frame": number, "index": index, "image": item.path, "unannotated": item.reason})
        else:
            rows.append(_row(item, folder, report))
            report.crowded += bool(item.others)
    report.rows += len(rows)
    side = next((row["side"] for row in rows if "side" in row), "right")
    yield from ({**_names(sequence), "side": side, "split": sequence.split, **row} for row in rows)


def _names(sequence: CameraSequence) -> dict[str, str]:
    """Sequence, camera, recording and subject, so that keys and groups are those of the source."""
    recording = recording_of(sequence.key, sequence.dataset)
    if sequence.dataset == "dexycb":
        subject, _, camera = sequence.key.split("/")
        return {"sequence": recording, "camera": camera, "subject": subject}
    return {"sequence": sequence.key, "recording": recording}


def _row(frame: Frame, folder: Path, report: _Report) -> dict[str, Any]:
    row: dict[str, Any] = {
        "frame": frame.number,
        "index": frame.index,
        "image": frame.image,
        "side": frame.side,
        "intrinsics": frame.intrinsics.tolist(),
        "wrist": frame.root.tolist(),
    }
    for name in ("mano_pose", "mano_shape", "translation", "joints", "joints_2d", "vertices", "box"):
        if (value := getattr(frame, name)) is not None:
            row[name] = np.asarray(value, np.float64).tolist()
    if frame.objects:
        row["objects"] = [
            {"name": each.name, "pose": np.asarray(each.pose, np.float64).tolist()} for each in frame.objects
        ]
        row["grasped"] = frame.grasped
    if frame.hand_mask is not None:
        row["mask"] = f"masks/{frame.sequence}/{frame.number:06d}.png"
        path = folder / row["mask"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(".png", frame.hand_mask.astype(np.uint8) * HAND))
        report.masks += 1
    return row


def _describe(dataset: str, root: Path) -> str:
    """The dataset.toml of a table whose photos and object models stay in `root`."""
    window, size = window_of(dataset, train=True), [640, 480]
    text = f'name = "{dataset}-table"\nunits = "m"\naxes = "opencv"\ncamera = "pinhole"\n'
    text += f"photos = {json.dumps(str(root))}\nobjects = {json.dumps(str(root / 'models'))}\nsize = {size}\n"
    text += f"\n[mask]\nright = {HAND}\nleft = {HAND}\n"
    return text + f"\n[window]\npast = {list(window.past)}\njitter = {list(window.jitter)}\n"
