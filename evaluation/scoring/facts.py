"""Which group every scored frame belongs to: object, subject, camera, hand side, recording."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...data.clips import ClipStore, window_of
from ...data.loading.windows import seen_earlier
from ...data.readers.dexycb_splits import object_names
from ...hand.parts import FINGERS
from .confidence import recordings


@dataclass(frozen=True)
class FrameFacts:
    """What the clip store records about N scored frames, without their pictures.

    sequence, recording (N,) str; number, dataset_index (N,) int64; visible_fraction (N, 6) of thumb .. little and palm,
    cause (N, 6) uint8 (codes of `hand.parts.CAUSES`, 255 unknown); joints (N, 21, 3) m, true, relative to the wrist in
    the hand's own side, NaN unknown; root (N, 3) m; seen_earlier as `seen_in_window` gives it; joint_visible (N, 21)
    uint8, 255 unknown; hand_visible_area, object_visible_area (N,), NaN unknown; groups title -> (N,) values.
    """

    sequence: NDArray
    recording: NDArray
    number: NDArray[np.int64]
    dataset_index: NDArray[np.int64]
    visible_fraction: NDArray
    cause: NDArray[np.uint8]
    joints: NDArray
    root: NDArray
    seen_earlier: NDArray[np.uint8]
    joint_visible: NDArray[np.uint8]
    hand_visible_area: NDArray
    object_visible_area: NDArray
    groups: dict[str, NDArray]

    @classmethod
    def of(cls, store: ClipStore, rows: NDArray[np.int64]) -> "FrameFacts":
        """The facts of some rows of a clip store."""
        index = store.index
        keys = np.array([entry["key"] for entry in store.entries])[index["sequence_id"][rows]]
        root = index["root"][rows].astype(np.float64)
        return cls(
            sequence=keys,
            recording=_origin(store, keys, "recording", recordings(keys, store.dataset)),
            number=index["frame"][rows].astype(np.int64),
            dataset_index=index["dataset_index"][rows].astype(np.int64),
            visible_fraction=index["visible_fraction"][rows],
            cause=index["cause"][rows],
            joints=index["joints"][rows].astype(np.float64) - root[:, None],
            root=root,
            seen_earlier=seen_in_window(store)[rows],
            joint_visible=index["joint_visible"][rows],
            hand_visible_area=index["hand_visible_area"][rows],
            object_visible_area=index["object_visible_area"][rows],
            groups=group_frames(store, rows, keys),
        )


def seen_in_window(store: ClipStore) -> NDArray[np.uint8]:
    """`seen_earlier` of every frame of a store, in its dataset's window: (frames of the store, 5).

    The window is the dataset's, whatever network is scored, so that networks can be compared on the same fingers.
    """
    index, window = store.index, window_of(store.dataset, train=False, own=store.attrs.get("window"))
    return seen_earlier(index["occluded"][:, : len(FINGERS)], index["sequence_id"], index["frame"], window)


def group_frames(store: ClipStore, rows: NDArray[np.int64], keys: NDArray) -> dict[str, NDArray]:
    """One value per frame under each title: object, hand_side, and subject and camera (DexYCB) or sequence (HO3D).

    Of a table subject and camera where its rows name them, else the sequence.
    """
    names = np.array([*object_names(store.attrs), "none", "other"])  # -1: none annotated; 0, or too large: no name
    number = store.index["object_id"][rows]
    groups = {
        "object": names[np.where(number < 0, -2, np.where((number > 0) & (number <= len(names) - 2), number - 1, -1))],
        "hand_side": np.where(store.index["is_left"][rows], "left", "right"),
    }
    if store.dataset == "dexycb":
        parts = np.array([key.split("/") for key in keys.tolist()]).reshape(-1, 3)
        return groups | {"subject": parts[:, 0], "camera": parts[:, 2]}
    known = {name: _origin(store, keys, name, np.array([""] * len(keys))) for name in ("subject", "camera")}
    known = {name: values for name, values in known.items() if (values != "").any()}
    return groups | (known or {"sequence": keys})


def _origin(store: ClipStore, keys: NDArray, name: str, otherwise: NDArray) -> NDArray:
    """What a table's store says of the sequences of some rows (N,), `otherwise` (N,) where it says nothing."""
    origins = store.attrs.get("origins") or {}
    if not origins:
        return otherwise
    said = (origins.get(key, {}).get(name, given) for key, given in zip(keys.tolist(), otherwise.tolist(), strict=True))
    return np.array(list(said), dtype=np.str_)
