"""Settings of `h2o synthesize`, read by the entry and by the layouts' planners."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SynthesizeSettings:
    """What to write. `out` is the dataset's root itself; `sequences` counts recordings, `cameras` views of each.

    handling: "lift" reaches, grasps and lifts; "gestures" shows gestures behind a stack of objects (`motion.gestures`);
    "mixed" does one and the other by turns.
    hands: 2 has the person's other hand pass before the annotated one (DexYCB layout only; `motion.passing`).
    looks: "plain" is a laboratory, "wide" draws colours, patterns, light and backgrounds far beyond (`scene.wide`).
    motion: npz of real trajectories to replay (DexYCB layout only), every `motion_step`-th frame. workers: processes,
    default one per usable core. overwrite: replace `out`, if it is a tree made by this module.
    """

    out: Path
    layout: str = "dexycb"
    sequences: int = 8
    frames: int = 36
    cameras: int = 3
    seed: int = 0
    handling: str = "lift"
    hands: int = 1
    looks: str = "plain"
    motion: Path | None = None
    motion_step: int = 1
    workers: int | None = None
    overwrite: bool = False
