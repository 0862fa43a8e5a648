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
from ..network.checkpoint import checkpoint_hash
from ..network.h2onet import H2ONet

VERSION = 2
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
        "past_frames": list(window_of(store.dataset, train=False, past=frames - 1).past) if frames in (2, 3) else [],
        "checkpoint": str(checkpoint),
        "checkpoint_sha256": checkpoint_hash(checkpoint),
        "network": asdict(network.config),
        **versions(),
    }


def versions() -> dict[str, str]:
    """The software that computed the scores."""
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
