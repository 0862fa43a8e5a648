"""What a clips.zarr holds, in counts; whether it is as it was written is `verify`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...hand.parts import LABELS
from ..stores.clips import ClipStore
from .crops import WHOLE_PHOTO


@dataclass(frozen=True)
class ClipInfo:
    """Counts and sizes of a store; `str()` is the table that `h2o clips info` prints.

    `occluded` and `known` count frames per label (thumb, index, middle, ring, little, palm, global). `gaps` are frame
    numbers missing between the first and the last frame of a sequence: frames without a hand or with a failed photo.
    """

    path: str
    dataset: str
    split: str
    setup: str
    codec: str
    sequences: int
    frames: int
    labelled: int
    with_pose: int
    left: int
    whole_photo: int
    duplicates: int
    gaps: int
    failures: int
    picture_bytes: int
    total_bytes: int
    files: int
    occluded: dict[str, int] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        per_frame = self.picture_bytes / max(1, self.frames) / 1e3
        rows = [
            ("store", self.path),
            ("dataset", " ".join(part for part in (self.dataset, self.setup, self.split) if part)),
            ("label rules", ", ".join(f"{name} {version}" for name, version in self.rules.items()) or "not recorded"),
            ("frames", f"{self.frames} in {self.sequences} camera sequences"),
            ("", f"{self.labelled} labelled, {self.with_pose} with pose, {self.left} left hands"),
            ("", f"{self.whole_photo} with the hand outside the photo, {self.failures} photos failed"),
            ("frame numbers", f"{self.gaps} missing inside sequences, {self.duplicates} twice"),
            ("pictures", f"{self.codec}, {per_frame:.1f} KB per frame"),
            ("on disk", f"{self.total_bytes / 1e6:.1f} MB in {self.files} files"),
        ]
        lines = [f"{name:<14}{value}" for name, value in rows]
        lines.append(f"{'label':<14}{'occluded':>9}{'of':>9}{'share':>8}")
        for label in LABELS:
            known, hidden = self.known[label], self.occluded[label]
            share = f"{hidden / known:8.1%}" if known else "       -"
            lines.append(f"{label:<14}{hidden:>9}{known:>9}{share}")
        return "\n".join(lines)


def clip_info(path: str | Path) -> ClipInfo:
    """Counts, sizes, label balance, duplicate and missing frames of a store. InputError as `ClipStore.open`."""
    store = ClipStore.open(path)
    index, attrs = store.index, store.attrs
    occluded = index["occluded"]
    sizes = store.sequences.sizes()
    return ClipInfo(
        path=str(path),
        dataset=attrs["dataset"],
        split=attrs["split"],
        setup=attrs.get("setup") or "",
        codec=attrs.get("codec", "not recorded"),
        sequences=len(store.entries),
        frames=len(store),
        labelled=int(index["labelled"].sum()),
        with_pose=int(index["has_pose"].sum()),
        left=int(index["is_left"].sum()),
        whole_photo=int((index["box_rule"] == WHOLE_PHOTO).sum()),
        duplicates=len(find_duplicates(store)),
        gaps=_gaps(store),
        failures=int(attrs.get("failures", 0)),
        picture_bytes=int(index["length"].sum(dtype=np.int64)),
        total_bytes=sum(sizes),
        files=len(sizes),
        occluded={label: int((occluded[:, i] == 1).sum()) for i, label in enumerate(LABELS)},
        known={label: int((occluded[:, i] <= 1).sum()) for i, label in enumerate(LABELS)},
        rules={str(name): str(version) for name, version in (attrs.get("rules") or {}).items()},
    )


def find_duplicates(store: ClipStore) -> list[tuple[int, int]]:
    """Frames that are there more than once, as (sequence, frame number)."""
    pairs = np.stack([store.index["sequence_id"], store.index["frame"]], axis=1)
    unique, counts = np.unique(pairs, axis=0, return_counts=True)
    return [(int(s), int(f)) for s, f in unique[counts > 1]]


def _gaps(store: ClipStore) -> int:
    if not len(store):
        return 0
    sequence, frame = store.index["sequence_id"], store.index["frame"]
    inside = sequence[1:] == sequence[:-1]
    return int(np.maximum(np.diff(frame)[inside] - 1, 0).sum())
