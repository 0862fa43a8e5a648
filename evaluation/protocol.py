"""protocol.json: what a score was measured on, which shows whether two scores are comparable."""

import hashlib
import platform
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.clips import ClipStore
from ..data.loading.crops import GIVEN_MARGIN, JOINT_MARGIN, SIZE
from ..data.loading.windows import window_of
from ..errors import InputError
from ..network.checkpoint import checkpoint_hash
from ..network.h2onet import H2ONet
from ..untrusted import read_json

VERSION = 2
RESULTS = ("protocol.json", "metrics.json", "breakdown.json", "frames.npz", "scores.txt", "missing.txt", "report.json")
PAGE_MARKS = (b'<meta name="generator" content="h2onet', b":root { --ink: #1d2430; --soft: #5b6675;")
"""What tells a page of h2o evaluate; version 0.1.0's had only its colours."""
_HEAD = 4096
# Two scores are comparable when these agree; all other fields say what was scored, and with which software.
COMPARED = (
    "version",
    "dataset",
    "split",
    "setup",
    "frames",
    "frames_sha256",
    "meshes",
    "root",
    "alignment",
    "joints",
    "crop",
    "label_rules",
    "mano_sha256",
)


def refuse_foreign(out: Path) -> None:
    """InputError where `out` holds results by the names of an evaluation's that h2o evaluate did not write."""
    page, there = out / "report.html", [name for name in RESULTS if (out / name).exists()]
    own_page = page.is_file() and any(mark in page.read_bytes()[:_HEAD] for mark in PAGE_MARKS)
    if page.exists() and not own_page:
        raise InputError(f"--out: {page} is not of h2o evaluate and would be replaced; move it, or give another --out")
    if there and not own_page and not _is_own(out / "protocol.json"):
        raise InputError(
            f"--out: {out / there[0]} is not of h2o evaluate and would be replaced; move it, or give another --out"
        )


def _is_own(protocol: Path) -> bool:
    try:
        content = read_json(protocol)
    except (OSError, InputError):
        return False
    return isinstance(content, dict) and type(content.get("version")) is int and "frames_sha256" in content


def hash_lines(lines: Iterable[str]) -> str:
    """sha256 over sorted lines: equal lists of frames have equal hashes."""
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def hash_frame_list(store: ClipStore, rows: NDArray[np.int64]) -> str:
    """sha256 over the sorted list of `sequence frame` lines of the scored rows."""
    sequences = store.index["sequence_id"][rows]
    numbers = store.index["frame"][rows]
    pairs = zip(sequences.tolist(), numbers.tolist(), strict=True)
    return hash_lines(f"{store.entries[s]['key']} {n}" for s, n in pairs)


def build_protocol(
    store: ClipStore, rows: NDArray[np.int64], network: H2ONet, checkpoint: str | Path, tips: str
) -> dict[str, Any]:
    """The protocol of an evaluation on clips: frame list, split, crop, alignment, checkpoint, versions."""
    frames = network.config.frames
    mano = store.attrs.get("mano") or {}
    return {
        "version": VERSION,
        "dataset": store.dataset,
        "split": store.attrs.get("split"),
        "setup": store.attrs.get("setup"),
        "frames": len(rows),
        "frames_sha256": hash_frame_list(store, rows),
        "meshes": "oriented" if network.config.oriented else "canonical (orientation removed)",
        "root": "own wrist subtracted",
        "alignment": "similarity with scale, reflections allowed, joints and vertices apart",
        "joints": f"regressed from the mesh, fingertips {tips}",
        "crop": f"{SIZE} px, joints' box x {JOINT_MARGIN} or given box x {GIVEN_MARGIN}, left hands mirrored",
        "label_rules": store.attrs.get("rules"),
        "mano_sha256": {side: entry.get("sha256") for side, entry in sorted(mano.items())},
        "past_frames": _past_frames(store, frames),
        "checkpoint": str(checkpoint),
        "checkpoint_sha256": checkpoint_hash(checkpoint),
        "network": asdict(network.config),
        **versions(),
    }


def _past_frames(store: ClipStore, frames: int) -> list[int]:
    """How far back the past frames of a network with so many frames lie; nothing is known of other networks."""
    if frames not in (2, 3):
        return []
    return list(window_of(store.dataset, train=False, past=frames - 1, own=store.attrs.get("window")).past)


def versions() -> dict[str, str]:
    """The software that computed the scores."""
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
