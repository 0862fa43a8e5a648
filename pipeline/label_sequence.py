"""One task of `h2o prepare-labels`: read a camera sequence, label its frames in batches, commit its columns.

Runs in worker processes. Hand models, renderer and object meshes are loaded once per process, from paths, so that a
restarted worker finds them again. Nothing but counts travels back. Metres, pixels, OpenCV camera frame.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..data.datasets import iter_frames, own_objects
from ..data.frame import FRAME_FAULTS, CameraSequence, Failure, Frame, Unannotated
from ..data.labels import LabelStore, empty_columns
from ..data.readers.dexycb_splits import YCB_NAMES
from ..data.readers.ho3d_masks import CHANNELS, channel_counts, mask_files, read_channels
from ..data.stores.columns import LATER_COLUMNS
from ..data.stores.records import Rows
from ..data.stores.sequences import SequenceStore
from ..errors import InputError
from ..hand.camera import project
from ..hand.zbuffer import viewport_of
from ..labeling.label import FrameLabels, label_frames
from ..labeling.objects import ObjectLibrary, place
from ..labeling.pose import Hands, load_hands, other_mesh, problem_of
from ..labeling.raster import Mesh, Renderer, View
from ..labeling.renderers import make_renderer
from ..untrusted import fault

BATCH = 64
CHANNEL_SAMPLES = 8
SAME_HAND, OTHER_THING = 0.5, 0.2
"""Overlap (intersection over union) from which a mask's colour is taken for the rendered hand, and up to which not."""
JOINTS_OFF = 0.03
"""Mean distance of a frame's joints from its posed hand, m, that is worth a note. HO3D's fingertips, which are other
vertices (4 to 6 mm), make about 1 mm of it."""
LABEL_COLUMNS = (
    "labelled",
    "occluded",
    "visible_vertices",
    "visible_fraction",
    "hidden_fraction",
    "cause",
    "joint_visible",
    *LATER_COLUMNS,
    "mask_iou",
)
"""Columns that the rules fill, named alike in `FrameLabels` and labels.zarr."""


@dataclass(frozen=True)
class Job:
    """What all sequences of a run share: paths and names, nothing loaded. `token` is the store's (data/stores)."""

    out: str
    mano: str
    sides: tuple[str, ...]
    objects: str | None
    renderer: str
    vertices: bool  # the dataset gives meshes instead of poses
    token: str | None = None


@lru_cache(maxsize=2)
def _tools(
    mano: str, sides: tuple[str, ...], objects: str | None, renderer: str
) -> tuple[Hands, ObjectLibrary, Renderer]:
    return load_hands(mano, sides), ObjectLibrary(objects), make_renderer(renderer)


@dataclass
class _Report:
    """What is said about a sequence beside its columns; all of it is the same however often the task runs.

    `photos` by frame number: path, width, height.
    """

    skipped: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, str]] = field(default_factory=list)
    missing_objects: Counter[str] = field(default_factory=Counter)
    without_objects: int = 0
    rendered_masks: int = 0
    masked: int = 0
    samples: list[Frame] = field(default_factory=list)
    channels: tuple[int, int, int] | None = None
    joints_off: tuple[float, ...] = ()
    photos: dict[int, tuple[str, int, int]] = field(default_factory=dict)

    def fail(self, failure: Failure) -> None:
        self.failures.append(asdict(failure))


@dataclass(frozen=True)
class _Kept:
    """What the rows of a sequence keep: meshes where the dataset has them, and `object_id` by an object's name."""

    vertices: bool
    numbers: dict[str, int]


def label_sequence(job: Job, sequence: CameraSequence) -> None:
    """Label one camera sequence and commit it to the store at `job.out`. Idempotent."""
    tools = _tools(job.mano, job.sides, job.objects, job.renderer)
    report = _Report()
    kept = _Kept(job.vertices, {name: i for i, name in enumerate((*YCB_NAMES, *own_objects([sequence])), 1)})
    parts = []
    frames = _usable(sequence, report)
    while batch := list(islice(frames, BATCH)):
        parts += _label_faulty(batch, tools, report, kept)
    empty = empty_columns(0, vertices=job.vertices)
    rows = {name: np.concatenate([part[name] for part in parts]) if parts else empty[name] for name in empty}
    ho3d = sequence.dataset.startswith("ho3d")
    if ho3d and report.masked and _mean(rows["mask_iou"]) < OTHER_THING:
        _check_channel(sequence, report.samples, tools)
    if ho3d and sequence.split != "test" and len(sequence):
        report.channels = channel_counts(sequence, int(sequence.numbers[0]))
    LabelStore(SequenceStore(job.out, job.token)).commit(sequence.key, rows, _attributes(sequence, rows, report))


def _label_faulty(
    frames: list[Frame], tools: tuple[Hands, ObjectLibrary, Renderer], report: _Report, kept: _Kept
) -> list[Rows]:
    """`_label_batch`, frame by frame where a batch fails: what one frame causes becomes that frame's failure."""
    before = replace(
        report,
        failures=[*report.failures],
        missing_objects=Counter(report.missing_objects),
        samples=[*report.samples],
    )
    try:
        return [_label_batch(frames, tools, report, kept)]
    except InputError:
        raise  # a model that is missing or damaged: wrong for the whole run
    except FRAME_FAULTS as error:
        vars(report).update(vars(before))
        if len(frames) == 1:
            report.fail(Failure(frames[0].image, f"cannot be labelled: {fault(error)}"))
            return []
    return [rows for frame in frames for rows in _label_faulty([frame], tools, report, kept)]


def _check_channel(sequence: CameraSequence, frames: list[Frame], tools: tuple[Hands, ObjectLibrary, Renderer]) -> None:
    """InputError where the mask's chosen colour is not the rendered hand in a sequence, and another one is."""
    files = mask_files(sequence)
    channels = [read_channels(Path(sequence.root) / files.path(frame.number)) for frame in frames]
    for channel, name in enumerate(CHANNELS):
        marked = [replace(frame, hand_mask=masks[channel]) for frame, masks in zip(frames, channels, strict=True)]
        overlap = _mean(label_frames(marked, *tools, rules=("depth",)).mask_iou)
        if channel != sequence.seg_channel and overlap >= SAME_HAND:
            raise InputError(
                f"{sequence.root}: {sequence.key}: {CHANNELS[sequence.seg_channel]} is nowhere in the masks or not "
                f"where the hand is, and {name} is (overlap {overlap:.2f}): give --seg-channel {name}, or another "
                "--dataset: HO3D v2 marks hands red, v3 blue"
            )


def _mean(overlap: np.ndarray) -> float:
    """The mean of what is known; 0 where nothing is."""
    known = overlap[np.isfinite(overlap)]
    return float(known.mean()) if len(known) else 0.0


def _attributes(sequence: CameraSequence, rows: Rows, report: _Report) -> dict[str, Any]:
    agreement = rows["mask_iou"][np.isfinite(rows["mask_iou"])]
    return {
        "listed": len(sequence),
        "labelled": int(rows["labelled"].sum()),
        "skipped": dict(sorted(report.skipped.items())),
        "failures": report.failures,
        "missing_objects": dict(sorted(report.missing_objects.items())),
        "frames_without_objects": report.without_objects,
        "rendered_masks": report.rendered_masks,
        "mask_iou": float(agreement.mean()) if len(agreement) else None,
        "mask_channel_pixels": report.channels,
        **({"joints_off": [len(report.joints_off), max(report.joints_off)]} if report.joints_off else {}),
        **({"photos": [report.photos[number] for number in rows["frame"].tolist()]} if sequence.facts else {}),
    }


def _usable(sequence: CameraSequence, report: _Report) -> Iterator[Frame]:
    for item in iter_frames(sequence):
        if isinstance(item, Unannotated):
            report.skipped[item.reason] += 1
        elif isinstance(item, Failure):
            report.fail(item)
        else:
            report.photos[item.number] = (item.image, item.width, item.height)
            yield item


def _label_batch(
    frames: list[Frame], tools: tuple[Hands, ObjectLibrary, Renderer], report: _Report, kept: _Kept
) -> Rows:
    """Columns of the frames that could be labelled, in order; the others are reported."""
    given = [frame.hand_mask is not None for frame in frames]
    frames = [frame if mask else _with_rendered_mask(frame, tools) for frame, mask in zip(frames, given, strict=True)]
    masked = [frame.hand_mask is not None for frame in frames]
    rows = _frame_columns(frames, kept)
    keep = np.ones(len(frames), bool)
    for with_mask, rules in ((True, ("h2onet", "depth")), (False, ("depth",))):
        places = [i for i, mask in enumerate(masked) if mask == with_mask]
        labels = label_frames([frames[i] for i in places], *tools, rules=rules)
        _take(rows, places, labels)
        for i, failure in labels.failures:
            keep[places[i]] = False
            report.fail(failure)
        report.missing_objects.update(name for _, name in labels.missing_objects)
        report.joints_off += tuple(labels.joints_off[labels.joints_off > JOINTS_OFF].tolist())
    for i, frame in enumerate(frames):
        if given[i] and frame.hand_mask is not None:
            report.masked += 1
            if len(report.samples) < CHANNEL_SAMPLES:
                report.samples.append(frame)
        if masked[i] and not given[i]:
            report.rendered_masks += 1
            rows["mask_iou"][i] = np.nan  # a mask that was rendered says nothing about itself
        report.without_objects += not frame.objects and (frame.mano_pose is not None or frame.vertices is not None)
    return {name: values[keep] for name, values in rows.items()}


def _take(rows: Rows, places: list[int], labels: FrameLabels) -> None:
    for name in LABEL_COLUMNS:
        rows[name][places] = getattr(labels, name)


def _with_rendered_mask(frame: Frame, tools: tuple[Hands, ObjectLibrary, Renderer]) -> Frame:
    """A mask for frames of datasets that release meshes but no segmentation (HO3D evaluation).

    The hand as rendered, less what objects and other hands hide: what a perfect segmentation would show. Only where
    every object is known, with its mesh; otherwise the frame keeps no mask, and the h2onet rule stays unknown.
    """
    hands, library, renderer = tools
    if frame.vertices is None or not frame.objects or library.missing({item.name for item in frame.objects}):
        return frame
    if problem_of(frame, needs_mask=False):
        return frame  # it fails when it is labelled, by its reason
    points = project(frame.vertices, frame.intrinsics)
    view = View(frame.intrinsics, frame.width, frame.height, viewport_of(points, frame.width, frame.height))
    hand = renderer.inverse_depth([Mesh(frame.vertices, hands.own(frame.side).faces, points)], view)
    meshes = [(library.get(item.name), item.pose) for item in frame.objects]
    placed = [place(mesh, pose, frame.intrinsics) for mesh, pose in meshes if mesh is not None]
    placed += [other_mesh(other, hands, frame.intrinsics) for other in frame.others]
    front = renderer.inverse_depth(placed, view)
    mask = np.zeros((frame.height, frame.width), bool)
    x0, y0, x1, y1 = view.viewport
    mask[y0:y1, x0:x1] = (hand > 0) & (hand >= front)
    return replace(frame, hand_mask=mask)


def _frame_columns(frames: list[Frame], kept: _Kept) -> Rows:
    """What the dataset says about the frames; labels still unknown."""
    rows = empty_columns(len(frames), vertices=kept.vertices)
    for i, frame in enumerate(frames):
        rows["frame"][i], rows["dataset_index"][i] = frame.number, frame.index
        rows["is_left"][i], rows["has_pose"][i] = frame.side == "left", frame.mano_pose is not None
        values = {
            "intrinsics": frame.intrinsics,
            "mano_pose": frame.mano_pose,
            "mano_shape": frame.mano_shape,
            "translation": frame.translation,
            "joints": frame.joints,
            "joints_2d": frame.joints_2d,
            "root": frame.root,
            "box": frame.box,
            "vertices": frame.vertices if kept.vertices else None,
        }
        if frame.grasped >= 0:
            held = frame.objects[frame.grasped]
            rows["object_id"][i] = kept.numbers.get(held.name, 0)
            values["object_pose"] = held.pose
        for name, value in values.items():
            if value is not None:
                rows[name][i] = value
    return rows
