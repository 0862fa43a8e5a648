"""h2o view: one camera sequence of a store, or a folder of predictions, as a file that the viewer Rerun opens."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ...data.labels import SCHEMA as LABELS
from ...data.stores.attributes import group_attributes
from ...data.stores.clips import SCHEMA as CLIPS
from ...data.stores.remote import is_url
from ...errors import InputError
from .predictions import ROWS, prediction_scene
from .recording import require_rerun, write_recording
from .scene import Scene
from .stores import clip_scene, label_scene

MOST_FRAMES = 300
"""Shown by default. A frame has some 110 kB: 40 of meshes, the rest its photo."""

DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


@dataclass(frozen=True)
class ViewSummary:
    """What was written."""

    out: Path
    title: str
    frames: int
    nbytes: int

    def __str__(self) -> str:
        return (
            f"{self.title}: {self.frames} frames ({self.nbytes / 1e6:.1f} MB) in {self.out}; open it: rerun {self.out}"
        )


def view(
    source: str,
    out: Path,
    *,
    sequence: str | None = None,
    frames: int = MOST_FRAMES,
    root: Path | None = None,
    mano: str | None = None,
    spawn: bool = False,
) -> ViewSummary:
    """Write labels.zarr, clips.zarr (a path or URL) or a folder of h2o predict as an .rrd; `spawn` opens the viewer.

    sequence: its key (default: the first one with labels); frames: at most so many, evenly spaced; root: where the
    photos of labels lie now; mano: where the stores' hand lies now. Raises InputError for any other source, an `out`
    that is no .rrd, without rerun-sdk, and for `spawn` without a display; then nothing is written.
    """
    require_rerun()
    if out.suffix != ".rrd":
        raise InputError(f"--out {out}: expected a name that ends in .rrd")
    if spawn:
        require_display()
    scene = find_scene(source, sequence, frames, root, mano)
    count, nbytes = write_recording(scene, out)
    if spawn:
        subprocess.Popen([sys.executable, "-m", "rerun", str(out)], start_new_session=True)
    return ViewSummary(out, scene.title, count, nbytes)


def require_display() -> None:
    """InputError where no window can open; the viewer would say so only after everything is written."""
    if sys.platform == "linux" and not any(os.environ.get(name) for name in DISPLAYS):
        raise InputError(
            f"--spawn: no window can open here ({' and '.join(DISPLAYS)} are empty); leave it out and copy the file to"
            " a machine with a screen, or run: rerun --serve-web FILE.rrd"
        )


def find_scene(source: str, sequence: str | None, frames: int, root: Path | None, mano: str | None) -> Scene:
    """What there is to see in a source, by what it is. InputError where it is none of the three."""
    path = Path(source)
    if not is_url(source) and (path / ROWS).is_file():
        for option, value in (("--sequence", sequence), ("--root", root), ("--mano", mano)):
            if value is not None:
                raise InputError(f"{option}: {source} is a folder of h2o predict, which has none; leave it out")
        return prediction_scene(path, most=frames)
    schema = CLIPS if is_url(source) else (group_attributes(path) or {}).get("schema")
    if schema == LABELS:
        return label_scene(path, sequence=sequence, most=frames, root=root, mano=mano)
    if schema == CLIPS:
        if root is not None:
            raise InputError("--root: clips hold their pictures themselves; leave it out")
        return clip_scene(source, sequence=sequence, most=frames, mano=mano)
    raise InputError(f"{source}: expected a labels.zarr, a clips.zarr or a folder that h2o predict wrote")
