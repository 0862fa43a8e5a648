"""h2o compare: two result folders of h2o evaluate side by side, and whether their difference can be chance.

Both were scored on the same frames (their protocols say so), so differences are taken frame by frame. Frames of one
recording are alike, so the bootstrap draws whole recordings, and the sign-flip test flips whole recordings.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, brief
from ..untrusted import read_json as parse_file
from .frames_npz import read_frames
from .protocol import COMPARED
from .scoring.confidence import bootstrap_interval, sign_flip_p

HEADER = ("", "A", "B", "B - A", "95 % of the paired difference", "p")
FEW_RECORDINGS = 6  # below this many no sign-flip test can reach p < 0.05


@dataclass(frozen=True)
class Line:
    """One metric: its two values and their difference (second minus first); the paired interval and p-value, if any."""

    metric: str
    first: float | None
    second: float | None
    difference: float | None
    interval: tuple[float, float] | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class Comparison:
    """All lines, the number of recordings (0: not paired), how the protocols differ, and what A and B are."""

    lines: list[Line]
    recordings: int
    unlike: list[str]
    scored: tuple[str, str]

    def rows(self) -> list[tuple[str, str, str, str, str, str]]:
        """The lines as cells: metric, A, B, B - A, interval, p-value; empty where there is nothing to say."""
        return [
            (
                line.metric,
                format_cell(line.first),
                format_cell(line.second),
                "" if line.difference is None else f"{line.difference:+.3f}",
                "" if line.interval is None else f"{line.interval[0]:+.3f} to {line.interval[1]:+.3f}",
                "" if line.p_value is None else f"{line.p_value:.4f}",
            )
            for line in self.lines
        ]

    def notes(self) -> list[str]:
        """What has to be known of the numbers: unlike protocols, and how sure their differences can be."""
        notes = [f"not the same protocol: {text}" for text in self.unlike]
        if self.recordings == 1:
            notes.append("all frames are of one recording: no interval and no test")
        elif self.recordings:
            notes.append(f"paired over {self.recordings} recordings (bootstrap interval, sign-flip test)")
            if self.recordings < FEW_RECORDINGS:
                notes.append("so few recordings cannot show a significant difference, whatever the numbers")
        return notes

    def __str__(self) -> str:
        rows = [HEADER, *self.rows()]
        widths = [max(len(row[k]) for row in rows) for k in range(6)]
        table = "\n".join(
            "  ".join(
                cell.ljust(width) if k == 0 else cell.rjust(width)
                for k, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )
        return "\n".join([f"A: {self.scored[0]}", f"B: {self.scored[1]}", table, *self.notes()])


def compare(first: str | Path, second: str | Path, *, force: bool = False) -> Comparison:
    """Compare two result folders. InputError where one of them is not one, or where protocols differ without `force`.

    With `force`, results of different protocols are shown side by side, without paired columns where frames differ.
    """
    folders = Path(first), Path(second)
    metrics = [read_json(folder / "metrics.json") for folder in folders]
    protocols = [read_json(folder / "protocol.json") for folder in folders]
    for folder, values in zip(folders, metrics, strict=True):
        for name, value in values.items():
            if not isinstance(value, int | float | None):
                raise InputError(f"{folder}/metrics.json: {brief(name)} is {brief(value)}, expected a number or null")
    unlike = differences(*protocols)
    if unlike and not force:
        raise InputError(
            f"{folders[0]} and {folders[1]}: not measured alike: {'; '.join(unlike)}; the numbers cannot be compared "
            "(--force shows them side by side all the same)"
        )
    paired: dict[str, tuple[tuple[float, float] | None, float | None]] = {}
    recordings = 0
    if protocols[0].get("frames_sha256") == protocols[1].get("frames_sha256"):
        paired, recordings = paired_statistics(*(read_frames(folder) for folder in folders))
    lines = []
    for name in [*metrics[0], *(name for name in metrics[1] if name not in metrics[0])]:
        a, b = metrics[0].get(name), metrics[1].get(name)
        if a is None and b is None:
            continue
        difference = None if a is None or b is None else float(b) - float(a)
        lines.append(Line(name, a, b, difference, *paired.get(name, (None, None))))
    whose = [protocol.get("checkpoint") or protocol.get("predictions") for protocol in protocols]
    first, second = (f"{folder} ({what})" for folder, what in zip(folders, whose, strict=True))
    return Comparison(lines, recordings, unlike, (first, second))


def require_alike(folder: Path, protocol: dict[str, Any]) -> None:
    """InputError where `folder` holds no results, or those of another protocol than this one."""
    read_json(folder / "metrics.json")
    unlike = differences(read_json(folder / "protocol.json"), protocol)
    if unlike:
        raise InputError(f"{folder}: not measured as this evaluation: {'; '.join(unlike)}; compare with one that was")


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """The protocol fields that make two scores incomparable, in words."""
    return [
        f"{name} {brief(a.get(name))} against {brief(b.get(name))}" for name in COMPARED if a.get(name) != b.get(name)
    ]


def paired_statistics(
    a: dict[str, NDArray], b: dict[str, NDArray]
) -> tuple[dict[str, tuple[tuple[float, float] | None, float | None]], int]:
    """Interval and p-value of the mean difference of every per-frame column of both, and the number of recordings."""
    orders = [np.lexsort((columns["frame"], columns["sequence"])) for columns in (a, b)]
    for name in ("sequence", "frame"):
        if not np.array_equal(a[name][orders[0]], b[name][orders[1]]):
            raise InputError("frames.npz: the two folders list other frames than their protocols say; evaluate again")
    clusters = a["recording"][orders[0]]
    found = {}
    for name in a:
        if name in b and a[name].ndim == 1 and a[name].dtype.kind == "f":
            difference = b[name][orders[1]].astype(np.float64) - a[name][orders[0]]
            found[name] = bootstrap_interval(difference, clusters), sign_flip_p(difference, clusters)
    return found, len(np.unique(clusters))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a result folder."""
    if not path.is_file():
        raise InputError(f"{path}: not found; expected a folder that h2o evaluate wrote")
    content = parse_file(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object, found {brief(content)}")
    return content


def format_cell(value: float | None) -> str:
    """A value as a cell of the table."""
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4f}"
