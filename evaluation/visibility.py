"""h2o evaluate --visibility: somebody else's word on which joints are seen, against a labels.zarr.

The file says of frames, by camera sequence and frame number, how probable it is that each of the 21 joints (wrist,
thumb .. little, base to tip) is seen. Writes what an evaluation on clips writes: metrics.json, breakdown.json,
protocol.json, frames.npz and the page. No units.
"""

import hashlib
import importlib.util
import itertools
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..array_files import TEXT, WHOLE, read_npz
from ..data.labels import LabelStore
from ..durable import require_writable, write_json
from ..errors import InputError, brief, one_line
from ..hand.parts import JOINTS, UNKNOWN
from .frames_npz import write_frames
from .page.document import Page, Section, write_page
from .page.plots import reliability_plot
from .page.tables import NAMES, breakdown_tables, describe_intervals, page_title, protocol_rows
from .protocol import VERSION, hash_lines, refuse_foreign, versions
from .scoring.breakdowns import AREAS
from .scoring.confidence import bootstrap_interval, recordings
from .scoring.visibility import (
    binary_scores,
    hidden_labels,
    joint_intervals,
    joint_metrics,
    joint_rows,
    joint_rows_together,
    reliability,
)

log = logging.getLogger(__name__)

LONGEST_LINE = 2**14  # bytes; 21 numbers, a sequence and a frame have some hundreds
SUFFIXES = (".npz", ".jsonl", ".parquet")


@dataclass(frozen=True)
class SeenJoints:
    """What a file says: sequence (N,) str, frame (N,) int64, seen (N, 21) probabilities in [0, 1], NaN not said."""

    sequence: NDArray
    frame: NDArray[np.int64]
    seen: NDArray[np.float64]


class _Line(msgspec.Struct):
    """A line of a .jsonl; other fields are left aside."""

    sequence: str
    frame: int
    joints_seen: list[float | None]


def evaluate_visibility(
    predictions: str | Path, labels: str | Path, out: str | Path, *, report: bool = True
) -> dict[str, Any]:
    """Score a file of joints seen (`read_seen`) against a label store; returns what metrics.json holds.

    Frames of the store that the file does not name are counted and not scored. Raises InputError for a file or store
    that cannot be read, for frames that the store does not have, and where no joint has both a label and a probability.
    """
    path, out, store = Path(predictions), Path(out), LabelStore.open(labels)
    require_writable(out, "--out")
    refuse_foreign(out)
    given = read_seen(path)
    rows = match_rows(path, given, store)
    visible = store["joint_visible"][rows]
    hidden = 1.0 - given.seen
    known = (visible != UNKNOWN) & np.isfinite(hidden)
    if not known.any():
        raise InputError(f"{path}: no joint has both a probability there and a label in {labels}; nothing to score")
    keys = np.array(store.sequences)[store["sequence_id"][rows]]
    recording = recordings(keys, str(store.attrs["dataset"]))
    right = np.where(known, (hidden > 0.5) == (visible == 0), False).sum(1) / np.maximum(known.sum(1), 1)
    values = {"joint_visibility_accuracy": np.where(known.any(1), right, np.nan)}
    metrics = {
        "frames": len(rows),
        "frames_not_predicted": len(store) - len(rows),
        "joints": int(known.sum()),
        "joint_visibility_accuracy": float(np.nanmean(values["joint_visibility_accuracy"])),
        **joint_metrics(hidden, visible),
    }
    interval = bootstrap_interval(values["joint_visibility_accuracy"], recording)
    whole = {} if interval is None else {"joint_visibility_accuracy": {"low": interval[0], "high": interval[1]}}
    breakdown = {
        "joint_visibility": joint_rows(hidden, visible),
        "joint_visibility_together": joint_rows_together(hidden, visible),
        "hand_visible_area": by_area(hidden, visible, store["hand_visible_area"][rows]),
        "confidence_95": whole | joint_intervals(hidden, visible, recording),
    }
    protocol = build_protocol(path, store, keys, given.frame, str(labels))
    write_json(out / "protocol.json", protocol)  # first: it says that the folder is an evaluation's
    write_frames(out, {"sequence": keys, "recording": recording, "frame": given.frame}, values)
    write_json(out / "metrics.json", metrics)
    write_json(out / "breakdown.json", breakdown)
    if report:
        curve = reliability(hidden, hidden_labels(visible))
        write_visibility_page(out, metrics, breakdown, protocol, curve, len(np.unique(recording)))
    return metrics


def by_area(hidden: NDArray, visible: NDArray[np.uint8], area: NDArray) -> dict[str, dict]:
    """`binary_scores` of all joints together, by the visible share of the hand's silhouette (N,)."""
    found = {}
    for low, high in itertools.pairwise(AREAS):
        chosen = (area <= high) & ((area > low) if low else (area >= 0))
        said, label = hidden[chosen].ravel(), visible[chosen].ravel()
        known = (label != UNKNOWN) & np.isfinite(said)
        if known.any():
            found[f"{low:.0%} to {high:.0%}"] = binary_scores(said[known], label[known] == 0)
    return found


def match_rows(path: Path, given: SeenJoints, store: LabelStore) -> NDArray[np.int64]:
    """The store's row of every frame of the file; InputError naming the first that it has not, or that comes twice."""
    numbers = {key: n for n, key in enumerate(store.sequences)}
    there = zip(store["sequence_id"].tolist(), store["frame"].tolist(), strict=True)
    place = {pair: row for row, pair in enumerate(there)}
    rows = np.empty(len(given.frame), np.int64)
    taken: set[int] = set()
    for n, (key, frame) in enumerate(zip(given.sequence.tolist(), given.frame.tolist(), strict=True)):
        row = place.get((numbers.get(key, -1), frame))
        if row is None:
            raise InputError(
                f"{path}: entry {n + 1} is sequence {brief(key)} frame {frame}, which {store.store.path} has not; give "
                "the labels of the same dataset and split"
            )
        if row in taken:
            raise InputError(f"{path}: sequence {brief(key)} frame {frame} comes twice (entry {n + 1}); keep one")
        taken.add(row)
        rows[n] = row
    missing = len(store) - len(rows)
    if missing:
        log.warning("%s: %d of %d frames of the labels are not in it and not scored", path, missing, len(store))
    return rows


# -- the file -------------------------------------------------------------------------------------------------------


def read_seen(path: Path) -> SeenJoints:
    """Read a .npz, .parquet or .jsonl with `sequence`, `frame` and `joints_seen` (docs/visibility.md has the schema).

    InputError for another suffix, a missing column, a wrong length, probabilities outside [0, 1], and no frame at all.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"--visibility {path}: expected a name that ends in {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"--visibility {path}: no such file")
    reader = {".npz": _read_npz, ".jsonl": _read_lines, ".parquet": _read_parquet}[path.suffix]
    try:
        given = reader(path)
    except OSError as error:
        raise InputError(f"--visibility {path}: cannot be read ({one_line(error, 160)})") from None
    if not len(given.frame):
        raise InputError(f"{path}: holds no frame; expected at least one")
    bad = np.isinf(given.seen) | (given.seen < 0) | (given.seen > 1)
    if bad.any():
        row, joint = np.argwhere(bad)[0]
        raise InputError(
            f"{path}: joints_seen of entry {row + 1} has {given.seen[row, joint]:g} for joint {joint}; expected "
            "probabilities from 0 (hidden) to 1 (seen), NaN or null where nothing is said"
        )
    return given


def _read_npz(path: Path) -> SeenJoints:
    wanted = {"sequence": (None,), "frame": (None,), "joints_seen": (None, JOINTS)}
    try:
        found = read_npz(path, wanted, {"sequence": TEXT, "frame": WHOLE})
    except ValueError as error:
        raise InputError(f"{path}: {one_line(error, 200)}; see docs/visibility.md") from None
    lengths = {name: len(values) for name, values in found.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"{path}: its arrays have other lengths ({lengths}); expected one row a frame in each")
    return SeenJoints(
        found["sequence"].astype(str), found["frame"].astype(np.int64), found["joints_seen"].astype(float)
    )


def _read_lines(path: Path) -> SeenJoints:
    decoder, lines = msgspec.json.Decoder(_Line), []
    with path.open("rb") as file:
        for number in itertools.count(1):
            data = file.readline(LONGEST_LINE)
            if not data:
                break
            if not data.strip():
                continue
            try:
                line = decoder.decode(data)
                if len(line.joints_seen) != JOINTS:
                    raise ValueError(f"joints_seen has {len(line.joints_seen)} numbers, expected {JOINTS}")
                if abs(line.frame) >= 2**62:
                    raise ValueError(f"frame is {brief(line.frame)}, expected a frame number")
            except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
                raise InputError(f"{path}: line {number}: {one_line(error, 160)}; see docs/visibility.md") from None
            lines.append(line)
    seen = [[np.nan if value is None else value for value in line.joints_seen] for line in lines]
    return SeenJoints(
        np.array([line.sequence for line in lines], str),
        np.array([line.frame for line in lines], np.int64),
        np.array(seen, np.float64).reshape(-1, JOINTS),
    )


def _read_parquet(path: Path) -> SeenJoints:
    if importlib.util.find_spec("pyarrow") is None:
        raise InputError(f"--visibility {path}: needs pyarrow; run: pip install pyarrow, or give a .npz or .jsonl")
    import pyarrow as pa  # pyright: ignore[reportMissingImports]
    import pyarrow.parquet  # pyright: ignore[reportMissingImports]

    try:
        table = pyarrow.parquet.read_table(path, columns=["sequence", "frame", "joints_seen"])
        sequence = table["sequence"].cast(pa.string()).to_pylist()
        frame = table["frame"].cast(pa.int64()).to_pylist()
        seen = table["joints_seen"].cast(pa.list_(pa.float64())).to_pylist()
        short = next((n for n, row in enumerate(seen) if row is None or len(row) != JOINTS), None)
        if short is not None:
            raise ValueError(f"joints_seen of entry {short + 1} has not {JOINTS} numbers")
        if None in sequence or None in frame:
            raise ValueError("sequence and frame of every entry must be known")
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise InputError(f"{path}: {one_line(error, 160)}; see docs/visibility.md") from None
    values = [[np.nan if value is None else value for value in row] for row in seen]
    return SeenJoints(np.array(sequence, str), np.array(frame, np.int64), np.array(values, float).reshape(-1, JOINTS))


# -- what is written ------------------------------------------------------------------------------------------------


def build_protocol(
    path: Path, store: LabelStore, keys: NDArray, frames: NDArray[np.int64], labels: str
) -> dict[str, Any]:
    """What was scored on what, as protocol.json of every evaluation says it."""
    attrs = store.attrs
    pairs = zip(keys.tolist(), frames.tolist(), strict=True)
    return {
        "version": VERSION,
        "dataset": attrs["dataset"],
        "split": attrs.get("split"),
        "setup": attrs.get("setup"),
        "frames": len(frames),
        "frames_sha256": hash_lines(f"{key} {frame}" for key, frame in pairs),
        "meshes": "none: joints seen or hidden",
        "label_rules": attrs.get("rules"),
        "mano_sha256": {side: entry.get("sha256") for side, entry in sorted((attrs.get("mano") or {}).items())},
        "labels": labels,
        "predictions": str(path),
        "predictions_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        **versions(),
    }


def write_visibility_page(
    out: Path,
    metrics: dict[str, Any],
    breakdown: dict[str, Any],
    protocol: dict[str, Any],
    curve: list[tuple[float, float, int]],
    count: int,
) -> None:
    """Write report.html: scores, calibration, and the table of every joint."""
    intervals = breakdown["confidence_95"]
    shown = [(NAMES[name], value, intervals.get(name)) for name, value in metrics.items() if value is not None]
    plot = reliability_plot(curve, out / "pieces" / "reliability.png")
    tables = {name: rows for name, rows in breakdown.items() if name != "confidence_95"}
    page = Page(
        title=f"Joints seen or hidden, {page_title(protocol)}",
        about=[f"predictions {protocol['predictions']} ({protocol['predictions_sha256'][:12]})", protocol["labels"]],
        tiles=[row for row in shown if row[0] not in (NAMES["frames"], NAMES["joints"], NAMES["frames_not_predicted"])],
        first=[
            Section(
                "Calibration", "How often joints are hidden of which the file says so.", plots=[plot] if plot else []
            )
        ],
        metrics=shown,
        metrics_text=describe_intervals(count),
        recordings=count,
        tables=breakdown_tables(tables),
        frames={},
        frames_text="",
        published=[],
        published_text="",
        protocol=protocol_rows(protocol),
    )
    write_page(out / "report.html", page)
