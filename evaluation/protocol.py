"""What a score was measured on, so that two numbers can be seen to be comparable or not."""

import hashlib
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.clips import ClipStore
from ..network.checkpoint import checkpoint_hash
from ..network.h2onet import H2ONet

VERSION = 1


def frame_list_hash(store: ClipStore, rows: NDArray[np.int64]) -> str:
    """sha256 over the sorted list of `sequence frame` lines of the scored rows: equal lists, equal hashes."""
    sequences = store.index["sequence_id"][rows]
    numbers = store.index["frame"][rows]
    lines = sorted(f"{store.entries[s]['key']} {n}" for s, n in zip(sequences.tolist(), numbers.tolist(), strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def protocol_of(store: ClipStore, rows: NDArray[np.int64], network: H2ONet, checkpoint: str | Path) -> dict[str, Any]:
    """Frame list, split, alignment, checkpoint and versions of an evaluation on clips: protocol.json."""
    return {
        "version": VERSION,
        "dataset": store.dataset,
        "split": store.attrs.get("split"),
        "setup": store.attrs.get("setup"),
        "frames": len(rows),
        "frames_sha256": frame_list_hash(store, rows),
        "meshes": "oriented" if network.config.oriented else "canonical (orientation removed)",
        "root": "own wrist subtracted",
        "alignment": "similarity with scale, reflections allowed, joints and vertices apart",
        "label_rules": store.attrs.get("rules"),
        "mano_sha256": (store.attrs.get("mano") or {}).get("sha256"),
        "checkpoint": str(checkpoint),
        "checkpoint_sha256": checkpoint_hash(checkpoint),
        "network": asdict(network.config),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
