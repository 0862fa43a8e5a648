"""Clips as training sees them: a map-style dataset of single frames or windows, augmented, in the right hand's frame.

The store itself is `stores/clips.py`; batches, order and resuming are `batches`. Metres, OpenCV camera frame turned
with the picture; 2D in [0, 1] of the 128 px crop; RGB in [0, 1]; joints wrist, thumb .. little, base to tip.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ...cores import one_opencv_thread
from ...errors import InputError
from ..stores.clips import ClipStore
from .augment import NOTHING, Augmentation, Draw, HandLabels, mirror_left, patch, photo_affine, turn
from .crops import SIZE, WHOLE_PHOTO
from .photo_draw import spoil
from .windows import SAMPLINGS, Window, sampling_weights, window_of, window_positions

Item = dict[str, Any]
Windows = Window | Mapping[str, Window] | None
Key = int | tuple[int, int, int]

MOST_THREADS = 4
"""That make the samples of a batch: a third of their time they hold Python's lock, so that more would wait for it."""
WAITING_THREADS = 8
"""The same for stores at a URL, where they wait for answers rather than for cores."""


@dataclass(frozen=True, eq=False)
class _Part:
    """One store as the dataset uses it: its chosen rows (R,) in order, and each sequence's start in them (S + 1,)."""

    store: ClipStore
    rows: np.ndarray
    starts: np.ndarray
    window: Window | None


@dataclass(frozen=True, eq=False)
class _Sample:
    """What a sample is made of: its store's number and part, rows (T,), random draw, side, and affine maps (T, 2, 3).

    `to_crop` is from the possibly mirrored photo, `stored_to_crop` from the photo as stored.
    """

    number: int
    part: _Part
    rows: np.ndarray
    draw: Draw
    left: bool
    to_crop: np.ndarray
    stored_to_crop: np.ndarray


class ClipDataset(Dataset):
    """Frames or windows of one or several clip stores; `dataset[i]` is a dict of NumPy arrays (see `__getitem__`).

    `paths` one clips.zarr or several. `frames` None for single frames, a Window for (t, short past, long past), or one
    Window per dataset name. `augment` None for validation and test; otherwise windows jitter too, and frames whose hand
    lies outside the photo are dropped, as the authors do. `require_pose` keeps frames with a hand pose; the
    past frames of a window come from the kept ones. `weights` (one per store) is each store's share of an epoch, used
    by `batches.loader`. `sampling` is uniform, or hidden: an epoch is as long, but draws frames in proportion to how
    many fingers are hidden in them and were seen before (`windows.sampling_weights`).

    Everything random follows from (seed, epoch, index) alone. Picklable; files are opened per process, on first use.
    """

    def __init__(
        self,
        paths: str | Path | Sequence[str | Path],
        *,
        frames: Windows = None,
        augment: Augmentation | None = None,
        seed: int = 0,
        weights: Sequence[float] | None = None,
        require_pose: bool = False,
        sampling: str = "uniform",
    ) -> None:
        self.paths = [str(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
        if not self.paths:
            raise InputError("ClipDataset: no clip store given; expected at least one clips.zarr")
        if weights is not None and (len(weights) != len(self.paths) or min(weights) < 0 or not sum(weights) > 0):
            raise InputError(
                f"ClipDataset: weights {list(weights)} for {len(self.paths)} stores; give one >= 0 for each"
            )
        if seed < 0:
            raise InputError(f"ClipDataset: seed is {seed}; expected 0 or more")
        self.frames, self.augment, self.seed = frames, augment, seed
        self.weights = None if weights is None else tuple(float(w) for w in weights)
        if sampling not in SAMPLINGS:
            raise InputError(f"ClipDataset: sampling is {sampling!r}; expected one of {', '.join(SAMPLINGS)}")
        self.require_pose = require_pose
        self.sampling = sampling
        self.epoch = 0
        self._parts: list[_Part] | None = None
        self.fingerprints: tuple[str, ...] = ()  # of the stores, in the order of `paths`
        self.counts = tuple(len(part.rows) for part in self._open_parts())
        for path, count in zip(self.paths, self.counts, strict=True):
            if count == 0:
                raise InputError(
                    f"{path}: no frame passes require_pose={require_pose};"
                    f" see h2o clips info {path}, or give another split"
                )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_parts": None}

    def __len__(self) -> int:
        return sum(self.counts)

    def set_epoch(self, epoch: int) -> None:
        """The epoch that plain integer indices draw their augmentation for."""
        self.epoch = epoch

    def drawn(self) -> list[NDArray[np.float64]]:
        """How often each sample of each store is drawn relative to the others of its store; empty: all equally often.

        InputError for a store whose dataset has no window of its own.
        """
        if self.sampling == "uniform":
            return []
        weights = []
        for part in self._open_parts():
            store, index = part.store, part.store.index
            window = window_of(store.dataset, train=False, own=store.attrs.get("window"))
            whole = sampling_weights(index["occluded"], index["sequence_id"], index["frame"], window)
            weights.append(whole[part.rows])
        return weights

    def _open_parts(self) -> list[_Part]:
        if self._parts is None:
            parts = [self._open(path) for path in self.paths]
            found = tuple(part.store.fingerprint for part in parts)
            for path, now, before in zip(self.paths, found, self.fingerprints or found, strict=True):
                if now != before:
                    raise InputError(f"{path}: was built anew since this dataset was made; make the dataset again")
            self.fingerprints = found
            self._parts = parts
        return self._parts

    def _open(self, path: str) -> _Part:
        store = ClipStore.open(path)
        if self.augment is not None and 1.0 + self.augment.scale > store.attrs["max_scale"] + 1e-9:
            raise InputError(
                f"{path}: stored pictures cover augmentation up to scale {store.attrs['max_scale']}, asked for"
                f" {1.0 + self.augment.scale}; build the clips with a larger max_scale"
            )
        keep = np.ones(len(store), bool)
        if self.require_pose:
            keep &= store.index["has_pose"]
        if self.augment is not None:
            keep &= store.index["box_rule"] != WHOLE_PHOTO
        rows = np.flatnonzero(keep)
        starts = np.searchsorted(store.index["sequence_id"][rows], np.arange(len(store.entries) + 1))
        return _Part(store, rows, starts, self._window(store))

    def _window(self, store: ClipStore) -> Window | None:
        if self.frames is None or isinstance(self.frames, Window):
            return self.frames
        if store.dataset not in self.frames:
            raise InputError(
                f"{store.path}: no window given for its dataset {store.dataset!r} ({', '.join(self.frames)}); add one"
            )
        return self.frames[store.dataset]

    def __getitem__(self, key: Key) -> Item:
        """One sample. `key` is an index, or (epoch, index, draw) as the loader's sampler gives it.

        Of T frames (no T axis for single frames): images (T, 3, 128, 128) float32; joints (T, 21, 3) m relative to the
        wrist, root (T, 3) m, mano_pose (T, 48), mano_shape (T, 10), joints_2d (T, 21, 2), intrinsics (T, 3, 3) of the
        augmented crop, float32, of a right hand (left ones are mirrored); occluded (T, 7) uint8, 255 unknown;
        visible_fraction (T, 6), NaN unknown; joint_visible (T, 21) uint8; has_pose, has_joints (T,) bool (where False,
        those numbers are 0); frame_index (T,) int64, the rows of the store; is_left () bool; store () int64.
        """
        sample = self._sample(key)
        return self._item(sample, self._images(sample))

    def __getitems__(self, keys: Sequence[Key]) -> list[Item]:
        """The samples of a batch, as torch's loader asks for them: made by several threads, the same bytes.

        As many as torch may use, at most four; in a loader's worker process torch may use one. Eight everywhere where a
        store lies at a URL.
        """
        remotes = [part.store.remote for part in self._open_parts() if part.store.remote is not None]
        threads = WAITING_THREADS if remotes else min(torch.get_num_threads(), MOST_THREADS)
        threads = min(threads, len(keys))
        own = type(self).__getitem__ is not ClipDataset.__getitem__  # a subclass's way to make samples, kept as it is
        if own or threads <= 1 or not all(remote.shared_by_threads for remote in remotes):
            return [self[key] for key in keys]
        # Threads decode and warp, nearly all of it outside Python's lock; labels, which need the lock, are made here.
        samples = [self._sample(key) for key in keys]
        images: list[Any] = [None] * len(samples)
        left, errors = deque(range(len(samples))), {}

        def draw() -> None:
            while left:
                try:
                    number = left.popleft()
                except IndexError:  # another thread took the last one
                    return
                try:
                    images[number] = self._images(samples[number])
                except Exception as error:  # noqa: BLE001 raised below: that of the first sample
                    errors[number] = error
                    left.clear()

        with one_opencv_thread(), ThreadPoolExecutor(threads) as pool:
            try:
                wait([pool.submit(draw) for _ in range(threads)])
            finally:
                left.clear()  # after Ctrl-C the threads end with the pictures that they are at
        if errors:
            raise errors[min(errors)]
        return [self._item(sample, drawn) for sample, drawn in zip(samples, images, strict=True)]

    def _sample(self, key: Key) -> _Sample:
        epoch, index, draw = key if isinstance(key, tuple) else (self.epoch, key, 0)
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} of a dataset of {len(self)}")
        number, position = 0, index
        while position >= self.counts[number]:
            position -= self.counts[number]
            number += 1
        part = self._open_parts()[number]
        # A counter-based generator needs no state: the same sample gets the same draws in any process and order.
        rng = np.random.Generator(np.random.Philox(key=[self.seed, epoch], counter=[0, draw, index, 0]))
        rows = self._window_rows(part, position, rng if self.augment is not None else None)
        drawn = NOTHING if self.augment is None else self.augment.draw(rng)
        columns = part.store.index
        left = bool(columns["is_left"][rows[0]])
        to_crop, stored_to_crop = photo_affine(columns["box"][rows], columns["photo"][rows, 0], left, drawn)
        return _Sample(number, part, rows, drawn, left, to_crop, stored_to_crop)

    def _images(self, sample: _Sample) -> np.ndarray:
        """(T, 3, 128, 128) float32 RGB in [0, 1]."""
        images = np.empty((len(sample.rows), 3, SIZE, SIZE), np.float32)
        origins = sample.part.store.index["crop"][sample.rows, :2].tolist()
        for t, picture in enumerate(sample.part.store.pictures(sample.rows)):
            patch(picture, origins[t], sample.stored_to_crop[t], sample.draw, images[t])
            if sample.draw.photo is not None:
                spoil(images[t], sample.draw.photo, t)
        return images

    def _window_rows(self, part: _Part, position: int, rng: np.random.Generator | None) -> np.ndarray:
        if part.window is None or not part.window.past:
            return part.rows[position : position + 1]
        sequence = part.store.index["sequence_id"][part.rows[position]]
        start, end = int(part.starts[sequence]), int(part.starts[sequence + 1])
        rows = part.rows[start:end]
        return rows[window_positions(part.store.index["frame"][rows], position - start, part.window, rng)]

    def _item(self, sample: _Sample, images: np.ndarray) -> Item:
        index, rows, draw = sample.part.store.index, sample.rows, sample.draw
        stored_joints = index["joints"][rows]
        root, joints = _zero_unknown(index["root"][rows]), _zero_unknown(stored_joints)
        has_joints = ~np.isnan(stored_joints).any(axis=(1, 2))
        hands = HandLabels(
            joints=np.where(has_joints.reshape(-1, 1, 1), joints - root[:, None], 0.0),
            root=root,
            mano_pose=_zero_unknown(index["mano_pose"][rows]),
            joints_2d=index["joints_2d"][rows].astype(np.float64),
            intrinsics=index["intrinsics"][rows],
        )
        if sample.left:
            hands = mirror_left(hands, index["photo"][rows, 0])
        hands = turn(hands, draw.rotation, sample.to_crop)
        item = {
            "images": images,
            "joints": hands.joints.astype(np.float32),
            "joints_2d": _zero_unknown(hands.joints_2d / SIZE).astype(np.float32),
            "root": hands.root.astype(np.float32),
            "mano_pose": hands.mano_pose.astype(np.float32),
            "mano_shape": _zero_unknown(index["mano_shape"][rows]).astype(np.float32),
            "intrinsics": hands.intrinsics.astype(np.float32),
            "occluded": index["occluded"][rows],
            "visible_fraction": index["visible_fraction"][rows],
            "joint_visible": index["joint_visible"][rows],
            "has_pose": index["has_pose"][rows],
            "has_joints": has_joints,
            "frame_index": rows.astype(np.int64),
        }
        if sample.part.window is None or not sample.part.window.past:
            item = {name: values[0] for name, values in item.items()}
        return {**item, "is_left": index["is_left"][rows[0]], "store": np.int64(sample.number)}


def _zero_unknown(values: np.ndarray) -> np.ndarray:
    """A float64 copy with 0 where the dataset says nothing (NaN), so that masked losses stay finite."""
    known = values.astype(np.float64)
    known[np.isnan(known)] = 0.0
    return known
