"""`h2o labels info`: what a labels.zarr holds, in counts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...data.labels import LabelStore
from ...hand.parts import CAUSES, LABELS, PARTS, UNKNOWN


@dataclass(frozen=True)
class LabelInfo:
    """Counts of a store; `str()` is the table that `h2o labels info` prints.

    hidden, known: frames by label (thumb .. palm, global); causes: frames by part and cause, without the unknown;
    mask_iou: 5 %, median, 95 % of the overlap with the dataset's mask, None where no frame has one.
    """

    path: str
    dataset: str
    rules: dict[str, str]
    renderer: str
    sequences: int
    frames: int
    labelled: int
    with_pose: int
    left: int
    failures: int
    hidden: dict[str, int]
    known: dict[str, int]
    causes: dict[str, dict[str, int]]
    mask_frames: int
    mask_iou: tuple[float, float, float] | None

    def __str__(self) -> str:
        overlap = "no frame has a mask"
        if self.mask_iou:
            low, middle, high = self.mask_iou
            overlap = f"median {middle:.3f}, 5 % below {low:.3f}, 5 % above {high:.3f} ({self.mask_frames} frames)"
        rows = [
            ("store", self.path),
            ("dataset", self.dataset),
            ("label rules", ", ".join(f"{name} {version}" for name, version in self.rules.items()) or "not recorded"),
            ("renderer", self.renderer),
            ("frames", f"{self.frames} in {self.sequences} camera sequences"),
            (
                "",
                f"{self.labelled} labelled, {self.with_pose} with pose, {self.left} left hands, {self.failures} failed",
            ),
            ("mask overlap", overlap),
        ]
        lines = [f"{name:<14}{value}" for name, value in rows]
        lines.append(f"{'label':<14}{'occluded':>9}{'of':>9}{'share':>8}")
        for label in LABELS:
            share = f"{self.hidden[label] / self.known[label]:8.1%}" if self.known[label] else "       -"
            lines.append(f"{label:<14}{self.hidden[label]:>9}{self.known[label]:>9}{share}")
        lines.append(f"{'cause':<14}" + "".join(f"{cause:>19}" for cause in CAUSES))
        for part in PARTS:
            lines.append(f"{part:<14}" + "".join(f"{self.causes[part][cause]:>19}" for cause in CAUSES))
        return "\n".join(lines)


def label_info(path: str | Path) -> LabelInfo:
    """Counts, balance of labels and causes, overlap with the masks. InputError as `LabelStore.open`."""
    labels = LabelStore.open(path)
    attrs, occluded, cause = labels.attrs, labels["occluded"], labels["cause"]
    overlap = labels["mask_iou"][~np.isnan(labels["mask_iou"])]
    low, middle, high = np.percentile(overlap, (5, 50, 95)).tolist() if len(overlap) else (0.0, 0.0, 0.0)
    return LabelInfo(
        path=str(path),
        dataset=" ".join(str(attrs.get(name) or "") for name in ("dataset", "setup", "split") if attrs.get(name)),
        rules={str(name): str(version) for name, version in (attrs.get("rules") or {}).items()},
        renderer=str(attrs.get("renderer") or "not recorded"),
        sequences=len(labels.sequences),
        frames=len(labels),
        labelled=int(labels["labelled"].sum()),
        with_pose=int(labels["has_pose"].sum()),
        left=int(labels["is_left"].sum()),
        failures=int(attrs.get("failures") or 0),
        hidden={label: int((occluded[:, i] == 1).sum()) for i, label in enumerate(LABELS)},
        known={label: int((occluded[:, i] != UNKNOWN).sum()) for i, label in enumerate(LABELS)},
        causes={
            part: {name: int((cause[:, i] == code).sum()) for code, name in enumerate(CAUSES)}
            for i, part in enumerate(PARTS)
        },
        mask_frames=len(overlap),
        mask_iou=(low, middle, high) if len(overlap) else None,
    )
