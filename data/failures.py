"""failures.jsonl: what a command could not read or lost, one row per frame or camera sequence.

    {"store": name of the output, "file": path below the dataset's root, "reason": why}

`file` is a photo, label, meta or mask file with forward slashes; the key of the camera sequence where all of it failed.
The file lies beside the output (inside one on an object store). Outputs in the same folder share it, even when several
runs write at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from .. import durable, locks
from .frame import Failure

FILE = "failures.jsonl"


def failures_file(out: str | Path) -> str:
    """Where the failures of an output are listed."""
    return f"{str(out).rstrip('/')}/{FILE}" if "://" in str(out) else str(Path(out).parent / FILE)


def failure_rows(store: str, failures: Iterable[Failure]) -> list[str]:
    """One line of JSON per failure of the output called `store`."""
    return [json.dumps({"store": store, "file": each.path, "reason": each.reason}) for each in failures]


def write_failures(out: Path, failures: Iterable[Failure]) -> None:
    """Rewrite the rows of the output `out` in the file beside it; rows of other outputs stay. No file without rows."""
    path, rows = Path(failures_file(out)), failure_rows(out.name, failures)
    if not rows and not path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with locks.locked(path.parent):
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        rows = [line for line in lines if line.strip() and _store_of(line) != out.name] + rows
        if not rows:
            path.unlink(missing_ok=True)
            return
        durable.write_text(path, "".join(row + "\n" for row in rows))


def _store_of(line: str) -> object:
    """The output that a row belongs to; None for a line that somebody else wrote."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row.get("store") if isinstance(row, dict) else None
