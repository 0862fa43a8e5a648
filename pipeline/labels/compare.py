"""`h2o labels compare`: in what two labels.zarr differ, column by column."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...data.labels import LabelStore
from .columns import blocks, column_names, frame_names, read_rows

_SHOWN = 5


@dataclass(frozen=True)
class ColumnDifference:
    """How two stores differ in a column over the frames that both have.

    frames, values: how many differ, NaN being equal to NaN; of: values compared; largest: the largest difference of
    two finite floats, None for other columns; first: SEQUENCE/FRAME of the first differing frames, at most five.
    """

    frames: int
    values: int
    of: int
    largest: float | None
    first: tuple[str, ...]


@dataclass(frozen=True)
class LabelComparison:
    """How store `a` differs from `b`; `str()` is what `h2o labels compare` prints.

    only_a, only_b: frames in one store; first_a, first_b: the first of them, SEQUENCE/FRAME; columns_only: columns
    (`vertices`) in one store.
    """

    a: str
    b: str
    about: tuple[str, str]
    common: int
    only_a: int
    only_b: int
    first_a: tuple[str, ...]
    first_b: tuple[str, ...]
    columns: dict[str, ColumnDifference]
    columns_only: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether anything differs: a value, a column, or which frames there are."""
        changed = any(column.frames for column in self.columns.values())
        return bool(changed or self.only_a or self.only_b or self.columns_only)

    def __str__(self) -> str:
        lines = [f"A  {self.a} ({self.about[0]})", f"B  {self.b} ({self.about[1]})", f"{self.common} frames in both"]
        for name, count, first in (("A", self.only_a, self.first_a), ("B", self.only_b, self.first_b)):
            if count:
                lines.append(f"{count} frames only in {name}: {_listed(first, count)}")
        lines += [f"column {name} is in one of them only" for name in self.columns_only]
        changed = {name: column for name, column in self.columns.items() if column.frames}
        if changed:
            lines.append(f"{'column':<22}{'frames':>9}{'share':>8}{'values':>10}{'share':>8}{'largest':>12}  first")
        for name, found in changed.items():
            largest = "" if found.largest is None else f"{found.largest:.4g}"
            shares = found.frames / self.common, found.values / found.of
            lines.append(
                f"{name:<22}{found.frames:>9}{shares[0]:>8.2%}{found.values:>10}{shares[1]:>8.2%}{largest:>12}  "
                + _listed(found.first, found.frames)
            )
        if not self.common:
            return "\n".join([*lines, "no frame is in both: no column was compared"])
        lines.append(f"{len(changed)} of {len(self.columns)} columns differ" if self.differs else "nothing differs")
        return "\n".join(lines)


def compare_labels(a: str | Path, b: str | Path) -> LabelComparison:
    """Compare two stores frame by frame, matched by sequence and frame number. InputError as `LabelStore.open`."""
    first, second = LabelStore.open(a), LabelStore.open(b)
    ids = {key: number for number, key in enumerate(dict.fromkeys([*first.sequences, *second.sequences]))}
    codes = (_codes(first, ids), _codes(second, ids))
    _, rows_a, rows_b = np.intersect1d(codes[0], codes[1], return_indices=True)
    order = np.argsort(rows_a)
    rows_a, rows_b = rows_a[order], rows_b[order]
    alone = [np.setdiff1d(np.arange(len(code)), rows) for code, rows in zip(codes, (rows_a, rows_b), strict=True)]
    names, others = column_names(first), column_names(second)
    return LabelComparison(
        a=str(a),
        b=str(b),
        about=(_about(first), _about(second)),
        common=len(rows_a),
        only_a=len(alone[0]),
        only_b=len(alone[1]),
        first_a=tuple(frame_names(first, alone[0][:_SHOWN])),
        first_b=tuple(frame_names(second, alone[1][:_SHOWN])),
        columns={name: _difference(first, second, name, rows_a, rows_b) for name in names if name in others},
        columns_only=tuple(sorted(set(names) ^ set(others))),
    )


def _codes(labels: LabelStore, ids: dict[str, int]) -> np.ndarray:
    """A number (N,) int64 per frame that is the same in both stores."""
    sequence = np.array([ids[key] for key in labels.sequences], np.int64)
    return (sequence[labels["sequence_id"]] << 32) | labels["frame"]


def _about(labels: LabelStore) -> str:
    rules = ", ".join(f"{name} {version}" for name, version in (labels.attrs.get("rules") or {}).items())
    return f"rules {rules or 'not recorded'}; renderer {labels.attrs.get('renderer') or 'not recorded'}"


def _difference(a: LabelStore, b: LabelStore, name: str, rows_a: np.ndarray, rows_b: np.ndarray) -> ColumnDifference:
    frames = values = of = 0
    largest: float | None = None
    first: list[str] = []
    for start, end in blocks(len(rows_a), 4096 if name == "vertices" else 16384):
        x, y = (read_rows(labels, name, rows[start:end]) for labels, rows in ((a, rows_a), (b, rows_b)))
        x, y = x.reshape(end - start, -1), y.reshape(end - start, -1)
        differ = x != y
        if x.dtype.kind == "f":
            differ &= ~(np.isnan(x) & np.isnan(y))
            both = np.isfinite(x) & np.isfinite(y)
            gap = np.abs(np.where(both, x, 0).astype(np.float64) - np.where(both, y, 0))
            largest = max(largest or 0.0, float(gap.max(initial=0)))
        changed = np.flatnonzero(differ.any(axis=1))
        frames, values, of = frames + len(changed), values + int(differ.sum()), of + differ.size
        if len(first) < _SHOWN:
            first += frame_names(a, rows_a[start + changed[: _SHOWN - len(first)]])
    return ColumnDifference(frames, values, of, largest, tuple(first))


def _listed(names: tuple[str, ...], count: int) -> str:
    return ", ".join(names) + (", ..." if count > len(names) else "")
