"""HandOccNet's annotation JSON, written from a raw tree: the converter for DexYCB and HO3D.

Metres, pixels, OpenCV camera frame, joint order wrist, thumb .. little, base to tip (docs/datasets.md). `pose[3:]`
has the hand mean removed, because the layers that read these files add it. The file is written as a stream and appears
only when it is whole.
"""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
from tqdm import tqdm

from ..durable import room_to_write, writing_file
from ..errors import InputError
from ..hand.basis import hand_basis
from .datasets import dataset_names, iter_frames, list_sequences, refuse_inside
from .failures import failures_file, write_failures
from .frame import RELEASED, CameraSequence, Failure, Frame, Unannotated

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AnnotationSummary:
    """What a conversion wrote, and how many frames it left out because they cannot be read (failures.jsonl)."""

    annotations: int
    failures: int
    out: Path

    def __str__(self) -> str:
        failed = f"; {self.failures} frames cannot be read, see {failures_file(self.out)}" if self.failures else ""
        return f"{self.annotations} annotations written to {self.out}{failed}"


def write_annotations(
    dataset: str,
    root: str | Path,
    split: str,
    setup: str,
    mano: str | Path,
    out: str | Path,
    overwrite: bool = False,
) -> AnnotationSummary:
    """Convert a raw tree to the file `out`, outside of it.

    DexYCB: every frame with a hand, `image_id` = the toolkit's dataset index. HO3D `train`: all of train.txt (with what
    this project holds out as `val`), `test`: evaluation.txt, both in the list's order, as H2ONet's loaders need.
    InputError for bad input, when nothing is found, or when `out` exists and may not be replaced.
    """
    if dataset in dataset_names() and dataset not in RELEASED:
        raise InputError(
            f"--dataset {dataset}: HandOccNet's JSON is of {', '.join(RELEASED)}; others are read as they are"
        )
    out = Path(out).expanduser()
    refuse_inside(out, root, "--out")
    if out.is_dir():
        raise InputError(f"--out {out}: is a folder; give the JSON file to write")
    if out.exists() and not overwrite:
        raise InputError(f"--out {out}: exists; add --overwrite to replace it, or give another file")
    count, failures = write_annotation_file(dataset, root, split, setup, mano, out)
    write_failures(out, failures)
    return AnnotationSummary(count, len(failures), out)


def write_annotation_file(
    dataset: str, root: str | Path, split: str, setup: str, mano: str | Path, out: Path, *, warn: bool = True
) -> tuple[int, list[Failure]]:
    """`write_annotations` without its checks of `out`, for the synthesizer: the count, and frames that cannot be read.

    Without `warn` nothing is logged about sequences that are missing and frames without an annotation.
    """
    sequences = list_sequences(dataset, root, split, setup, mano=mano, warn=warn)
    for side in ("right", "left") if dataset == "dexycb" else ("right",):
        hand_basis(mano, side)  # a wrong MANO folder is an error of the run, not of every frame
    if dataset != "dexycb" and split == "train":
        sequences += list_sequences(dataset, root, "val", setup, mano=mano, warn=warn)
    skipped: Counter[str] = Counter()
    failures: list[Failure] = []
    near = next(place for place in out.absolute().parents if place.exists())
    if not near.is_dir():
        raise InputError(f"--out {out}: {near} is a file, not a folder; give another place")
    with room_to_write(out), tempfile.TemporaryFile(dir=near) as spool:
        places = np.array(list(_write_spool(sequences, spool, skipped, failures)), np.int64).reshape(-1, 4)
        if not len(places):
            reasons = "; ".join(f"{count} {reason}" for reason, count in sorted(skipped.items()))
            reasons += f"; {len(failures)} cannot be read, first {failures[0].path}" if failures else ""
            raise InputError(f"{root}: no frame of {split} has an annotation ({reasons}); check --root and --split")
        places = places[np.argsort(places[:, 0], kind="stable")]
        with writing_file(out) as target:
            target.write(b'{"images": [')
            _copy(spool, places[:, 1:3], target)
            target.write(b'], "annotations": [')
            _copy(spool, places[:, 2:4], target)
            target.write(b"]}")
    for reason, count in sorted(skipped.items()) if warn else ():
        log.warning("%s: %d frames left out: %s", out, count, reason)
    return len(places), failures


def _write_spool(
    sequences: Sequence[CameraSequence], spool: IO[bytes], skipped: Counter[str], failures: list[Failure]
) -> Iterator[tuple[int, int, int, int]]:
    """Write image and annotation of every frame to the spool; yields (index, start, middle, end) of each."""
    position = 0
    bar = tqdm(total=sum(map(len, sequences)), desc="annotations", unit="frame", delay=1.0, dynamic_ncols=True)
    with bar:
        for sequence in sequences:
            for item in iter_frames(sequence, masks=False):
                if isinstance(item, Unannotated):
                    skipped[item.reason] += 1
                elif isinstance(item, Failure):
                    failures.append(item)
                else:
                    image = msgspec.json.encode(image_entry(item))
                    annotation = msgspec.json.encode(annotation_entry(item, sequence.mano))
                    spool.write(image + annotation)
                    middle, end = position + len(image), position + len(image) + len(annotation)
                    yield item.index, position, middle, end
                    position = end
            bar.update(len(sequence))


def _copy(spool: IO[bytes], ranges: np.ndarray, target: IO[bytes]) -> None:
    for number, (start, end) in enumerate(ranges.tolist()):
        spool.seek(start)
        target.write((b", " if number else b"") + spool.read(end - start))


def image_entry(frame: Frame) -> dict[str, Any]:
    """The entry of `images`. HO3D's file names leave out the folder of the split."""
    name = frame.image if frame.dataset == "dexycb" else frame.image.partition("/")[2]
    return {"id": frame.index, "file_name": name, "width": frame.width, "height": frame.height}


def annotation_entry(frame: Frame, mano: str | None) -> dict[str, Any]:
    """The entry of `annotations`, field for field as in HandOccNet's files (docs/datasets.md)."""
    k = frame.intrinsics
    entry: dict[str, Any] = {
        "id": frame.index,
        "image_id": frame.index,
        "cam_param": {"focal": [float(k[0, 0]), float(k[1, 1])], "princpt": [float(k[0, 2]), float(k[1, 2])]},
    }
    if frame.mano_pose is None:
        assert frame.box is not None
        x0, y0, x1, y1 = frame.box.tolist()
        return entry | {"root_joint_cam": frame.root.tolist(), "bbox": [x0, y0, x1 - x0, y1 - y0]}
    assert frame.joints is not None and frame.joints_2d is not None and frame.mano_shape is not None
    mean = hand_basis(mano, frame.side).mean
    pose = np.concatenate([frame.mano_pose[:3], frame.mano_pose[3:] - mean])
    entry["joints_coord_cam"] = frame.joints.tolist()
    entry["mano_param"] = {"pose": pose.tolist(), "shape": frame.mano_shape.tolist()}
    if frame.dataset == "dexycb":
        entry |= {"joints_img": frame.joints_2d.tolist(), "hand_type": frame.side}
    return entry
