"""One door to all datasets: the camera sequences of a split, the frames of one, and what a run needs to know of both.

Metres, pixels, OpenCV camera frame, joint order wrist, thumb .. little, base to tip (see `frame.Frame`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError, brief
from .frame import RELEASED, SETUPS, SPLITS, CameraSequence, Failure, Frame, Unannotated
from .readers.dexycb import dexycb_frames
from .readers.dexycb_lists import list_dexycb
from .readers.dexycb_splits import SUBJECTS
from .readers.handoccnet import annotated_frames
from .readers.handoccnet_index import list_annotated
from .readers.ho3d import ho3d_frames
from .readers.ho3d_lists import list_ho3d
from .readers.ho3d_masks import CHANNELS, hand_channel
from .readers.plugins import dataset_names, list_plugin, plugin
from .readers.table import FILE, open_table
from .readers.table_frames import table_frames
from .readers.table_index import list_table


def list_sequences(
    dataset: str,
    root: str | Path,
    split: str,
    setup: str = "s0",
    annotations: str | Path = "raw",
    mano: str | Path | None = None,
    seg_channel: str = "auto",
    warn: bool = True,
) -> list[CameraSequence]:
    """Camera sequences of a dataset split, in the dataset's own order.

    `annotations` is "raw" or the path of a HandOccNet JSON. `mano` (a folder of MANO's files, or "standin") is needed
    to iterate frames, not to list. `seg_channel` (red, green, blue; auto: as released) marks the hand in HO3D's
    segmentation. `warn` logs what a partial
    DexYCB lacks. InputError for a missing root, an unknown split, nothing found.
    """
    for name, value, allowed in (
        ("--dataset", dataset, dataset_names()),
        ("--split", split, SPLITS),
        ("--setup", setup if dataset == "dexycb" else "s0", SETUPS),
    ):
        if value not in allowed:
            raise InputError(f"{name} {value}: expected one of {', '.join(allowed)}")
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; --root must be the dataset's own folder (see docs/datasets.md)")
    if dataset not in RELEASED:
        if str(annotations) != "raw":
            raise InputError(f"--annotations {annotations}: {dataset} has annotations of its own; leave it away")
        hand = None if mano is None else str(mano)
        return list_table(folder, split, hand) if dataset == "table" else list_plugin(dataset, folder, split, hand)
    hand, channel = None if mano is None else str(mano), CHANNELS.index(hand_channel(dataset, seg_channel))
    if str(annotations) != "raw":
        return list_annotated(dataset, folder, split, setup, Path(annotations), hand, channel)
    if dataset == "dexycb":
        return list_dexycb(folder, split, setup, hand, warn)
    return list_ho3d(dataset, folder, split, hand, channel)


def iter_frames(sequence: CameraSequence, masks: bool = True) -> Iterator[Frame | Unannotated | Failure]:
    """Every frame of a camera sequence, in order: a Frame, or why there is none.

    Without `masks` segmentations are not read (and, from a JSON, objects neither). A frame whose mask cannot be read
    comes without one, after a Failure that names the file.
    """
    if sequence.dataset == "table":
        return table_frames(sequence, masks)
    if sequence.dataset not in RELEASED:
        return plugin(sequence.dataset).iter_frames(sequence, masks)
    if sequence.annotations != "raw":
        return annotated_frames(sequence, masks)
    if sequence.dataset == "dexycb":
        return dexycb_frames(sequence, masks)
    return ho3d_frames(sequence, masks)


def hand_sides(sequences: Iterable[CameraSequence]) -> tuple[str, ...]:
    """The sides whose models a run needs: HO3D has right hands only, DexYCB both, others what their reader says.

    The right one always: the h2onet rule renders it.
    """
    left = any(each.dataset == "dexycb" or (each.facts is not None and each.facts.left) for each in sequences)
    return ("right", "left") if left else ("right",)


def dataset_folders(dataset: str, root: Path) -> tuple[Path, Path]:
    """Where the photos and the object models of a dataset lie; InputError for a root without a dataset.toml."""
    if dataset == "table":
        table = open_table(root)
        return table.photos, table.objects
    return (root, root / "models") if dataset in RELEASED else plugin(dataset).folders(root)


def own_attributes(sequences: Iterable[CameraSequence]) -> dict[str, Any]:
    """What stores keep of a dataset that is none of the released ones: `window` of past frames, `origins` by key."""
    known = {each.key: each.facts for each in sequences if each.facts is not None}
    if not known:
        return {}
    first = next(iter(known.values()))
    window = {"past": list(first.past), "jitter": list(first.jitter)}
    return {"window": window, "origins": {key: facts.origin for key, facts in known.items()}}


def own_objects(sequences: Iterable[CameraSequence]) -> tuple[str, ...]:
    """Names of the objects that have the numbers after YCB's (`DatasetFacts.objects`)."""
    return next((each.facts.objects for each in sequences if each.facts is not None), ())


def path_or_none(folder: Path | None) -> str | None:
    """An absolute path as text, for settings and workers with another working directory."""
    return None if folder is None else str(folder.expanduser().resolve())


def refuse_foreign(path: str | Path, option: str, *, itself: bool = True) -> None:
    """InputError when `path` lies in the root of a dataset, or in a store, and so is no place for results.

    Without `itself` the path may be a store, whose command writes it.
    """
    resolved = _check_text(path, option)
    for folder in (resolved, *resolved.parents) if itself else resolved.parents:
        if _is_root(folder):
            raise InputError(f"{option} {path}: lies inside the dataset {folder}; give a folder outside it")
        if (folder / "zarr.json").is_file():
            raise InputError(f"{option} {path}: lies inside the store {folder}; give a folder outside it")


def _check_text(path: str | Path, option: str) -> Path:
    """The absolute path; InputError where it is no text: stores keep paths, and JSON holds nothing else."""
    resolved = Path(path).expanduser().resolve()
    try:
        str(resolved).encode()
    except UnicodeEncodeError:
        raise InputError(f"{option} {brief(str(path), 200)}: its name is no text in UTF-8; give another path") from None
    return resolved


def _is_root(folder: Path) -> bool:
    """Whether a folder looks like the root of DexYCB, HO3D or a table."""
    if (folder / FILE).is_file():
        return True
    if (folder / "calibration").is_dir() and any((folder / subject).is_dir() for subject in SUBJECTS):
        return True
    return any((folder / f"{name}.txt").is_file() and (folder / name).is_dir() for name in ("train", "evaluation"))


def refuse_inside(folder: str | Path, root: str | Path, option: str) -> None:
    """InputError when `folder` lies inside the dataset: nothing is ever written there."""
    _check_text(root, "--root")
    refuse_foreign(folder, option, itself=False)
    inner, outer = Path(folder).expanduser().resolve(), Path(root).expanduser().resolve()
    if inner == outer or outer in inner.parents:
        raise InputError(f"{option} {folder}: lies inside the dataset {root}; give a folder outside it")
