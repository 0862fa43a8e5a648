"""`h2o demo`: the whole way on a synthesized sample, for a newcomer without any licensed file.

It composes the rooms as the four commands do: synthesize, prepare labels, build clips, train both networks, evaluate
them on held-out sequences, and write one page. Everything lies below one folder; an interrupted demo goes on where it
stood. The single-frame network starts from the weights that come with the program, the multi-frame one from its end:
what both share is learned where a sample costs a third.
"""

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from .data.clips import contact_sheet
from .data.synthesize import SynthesizeSettings, synthesize
from .durable import follow
from .errors import InputError
from .evaluation.evaluate import evaluate_clips
from .evaluation.page.clips import Section
from .evaluation.page.tables import metrics_table
from .hand.pages import data_uri
from .pipeline.build_clips import build_clips
from .pipeline.cluster import workers_kept
from .pipeline.prepare_labels import LabelSettings, prepare_labels
from .training.chains import is_finished
from .training.loop import train
from .training.recipe import load_recipe
from .training.run import TrainResult

log = logging.getLogger(__name__)

PRESETS = ("synthetic-single-stage2", "synthetic-multi-stage2")
"""In order; each starts from the end of the one before, the first from the weights in the package."""
INIT = "synthetic"
SPLITS = ("train", "val", "test")
T = TypeVar("T")


@dataclass(frozen=True)
class DemoSize:
    """How much is synthesized: recordings, frames and cameras of each (DexYCB's setup s0 splits them)."""

    # Many short recordings from many sides: what a small sample teaches depends on its variety, not on its length.
    sequences: int = 28
    frames: int = 16
    cameras: int = 4


@dataclass(frozen=True)
class DemoResult:
    """The page, the scores on held-out sequences, and the seconds that every step took."""

    page: Path
    metrics: dict
    seconds: dict[str, float]
    interrupted: str | None = None
    """The signal that stopped training; there is no page then."""

    def __str__(self) -> str:
        if self.interrupted:
            return "the same command goes on from there"
        spent = ", ".join(f"{name} {value:.0f} s" for name, value in self.seconds.items())
        return f"{metrics_table(self.metrics)}\n\n{spent}\nopen {self.page}"


def run_demo(
    out: Path,
    *,
    seed: int = 0,
    workers: int | None = None,
    overwrite: bool = False,
    size: DemoSize | None = None,
    overrides: tuple[str, ...] = (),
) -> DemoResult:
    """Run everything below `out` and return the page's path. InputError where `out` holds something else.

    `overrides` (key=value) go to every stage of the training chain.
    """
    size = size or DemoSize()
    prepare_folder(out, f"seed {seed}, {size.sequences} recordings of {size.frames} x {size.cameras} photos", overwrite)
    seconds: dict[str, float] = {}

    def step(name: str, function: Callable[[], T]) -> T:
        log.info("%s ...", name)
        started = time.monotonic()
        result = function()
        seconds[name] = time.monotonic() - started
        return result

    sample = out / "DEX_YCB"
    if not sample.exists():
        chosen = SynthesizeSettings(
            out=sample, sequences=size.sequences, frames=size.frames, cameras=size.cameras, seed=seed, workers=workers
        )
        print(step("synthesize", lambda: synthesize(chosen)))
    with workers_kept():
        for split in SPLITS:
            print(step(f"label {split}", lambda split=split: prepare_labels(label_settings(out, split, workers))))
        for split in SPLITS:
            labels, clips = out / split / "labels.zarr", out / split / "clips.zarr"
            print(step(f"clips {split}", lambda source=labels, to=clips: build_clips(source, to, workers=workers)))
    results = step("train", lambda: train_networks(out, overrides))
    for result in results:
        print(result)
    page, interrupted = out / "report.html", results[-1].interrupted if results else None
    if interrupted:
        return DemoResult(page, {}, seconds, interrupted)
    return DemoResult(page, step("evaluate", lambda: score(out)), seconds)


def prepare_folder(out: Path, sample: str, overwrite: bool) -> None:
    """Make the folder of a demo with this `sample` (in words); with `overwrite` empty it, but only if it is a demo's.

    InputError where it holds something else, or a demo with another sample.
    """
    marker, text = out / "demo.txt", f"`h2o demo`: {sample}. `h2o demo --overwrite` deletes this folder.\n"
    if out.exists() and any(out.iterdir()):
        if not marker.is_file():
            raise InputError(f"{out}: is not empty and holds no demo; give another --out")
        if overwrite:
            shutil.rmtree(follow(out))
        elif marker.read_text() != text:
            raise InputError(f"{marker}: the demo there is another one than {sample}; add --overwrite or another --out")
    follow(out).mkdir(parents=True, exist_ok=True)
    marker.write_text(text)


def label_settings(out: Path, split: str, workers: int | None) -> LabelSettings:
    """Options of prepare-labels for one split of the sample, with a contact sheet."""
    sample = out / "DEX_YCB"
    return LabelSettings(
        dataset="dexycb",
        root=sample,
        split=split,
        mano=sample / "mano",
        out=out / split / "labels.zarr",
        workers=workers,
        sheet=out / split / "labels.png",
    )


def train_networks(out: Path, overrides: tuple[str, ...]) -> list[TrainResult]:
    """Train both networks, one after the other; the results of those that were not finished before."""
    results, start = [], INIT
    for preset in PRESETS:
        recipe, folder, init = load_recipe(preset, overrides), out / "runs" / preset, start
        start = folder / "last"
        if is_finished(folder, recipe):
            log.info("%s: finished before, kept", folder)
            continue
        clips, val_clips = (out / split / "clips.zarr" for split in ("train", "val"))
        results.append(train(recipe, clips, folder, val_clips=val_clips, init=init, resume=True))
        if results[-1].interrupted:
            break
    return results


def score(out: Path) -> dict:
    """Score both networks on the test split; the page is the multi-frame one's, with every step's pictures."""
    sheet = contact_sheet(out / "test" / "clips.zarr", out / "test" / "clips.png", windows=4)
    sections = [
        Section(
            "The sample",
            "A synthetic dataset in DexYCB's exact layout: the hand is a licence-free stand-in in MANO's format, the "
            "objects have the sizes of YCB objects. Every number below comes from this small sample; none can be "
            "compared with published ones.",
        ),
        Section(
            "Labels",
            "The parts of the hand over the photograph, what is hidden, and why: an object, the hand itself, or both.",
            pictures=[("test frames with part overlay, labels and causes", picture(out / "test" / "labels.png", 0.42))],
        ),
        Section(
            "Clips",
            "What the network sees: the current frame and two past ones, with 2D joints and labels.",
            pictures=[("random windows of the test split", picture(sheet))],
        ),
    ]
    # Not `best`: that is chosen by the aligned error, as the authors do, which says nothing about the orientation.
    runs = [out / "runs" / preset for preset in PRESETS]
    clips, against = out / "test" / "clips.zarr", out / "single"
    evaluate_clips(runs[0] / "last", clips, against, report=False)
    return evaluate_clips(runs[1] / "last", clips, out, extra=sections, curves=runs, against=against)


def picture(path: Path, part: float = 1.0) -> str:
    """The upper `part` of a PNG as a JPEG data URI for the page, at most 1600 px wide."""
    image = cv2.imread(str(path))
    if image is None:
        raise InputError(f"{path}: expected a picture, could not be read")
    image = image[: round(part * len(image))]
    if image.shape[1] > 1600:
        scale = 1600 / image.shape[1]
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return data_uri(np.ascontiguousarray(np.asarray(image, np.uint8)[..., ::-1]))
