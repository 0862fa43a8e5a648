"""A picture of random windows of a clip store, for checking by eye that crops, joints and labels belong together.

2D in pixels of the 128 px crop, enlarged for the sheet; colours RGB.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ...errors import InputError
from ...hand.draw import overlay_skeleton, write_picture
from ...hand.parts import LABELS
from ..stores.clips import ClipStore
from .dataset import ClipDataset, Item
from .windows import window_of

_CELL = 256  # px per crop on the sheet
_STRIP = 48  # px of label text below it
_VISIBLE, _OCCLUDED, _UNKNOWN = (90, 200, 90), (235, 70, 70), (150, 150, 150)


def contact_sheet(store: str | Path, out: str | Path, *, seed: int = 0, windows: int = 8) -> Path:
    """Draw random windows (one row each: t, short past, long past) into a PNG and return its path.

    Windows whose frame t has most of its joints in the photo come before others: a hand outside it is not to be seen.
    Crops as the network gets them (left hands mirrored), the 2D joints, and per label green = visible, red =
    occluded, grey = unknown. InputError when the store cannot be opened or `out` is no PNG.
    """
    out = Path(out)
    if out.suffix.lower() != ".png":
        raise InputError(f"--out {out}: expected a .png file")
    opened = ClipStore.open(store)
    dataset = ClipDataset(
        store, frames=window_of(opened.dataset, train=False, own=opened.attrs.get("window")), seed=seed
    )
    order = np.random.default_rng(seed).permutation(len(dataset))
    chosen = np.sort(order[np.argsort(~_in_the_photo(opened)[order], kind="stable")][:windows])
    rows = [_row(dataset[int(index)], opened) for index in chosen]
    write_picture(out, np.concatenate(rows))
    return out


def _in_the_photo(store: ClipStore) -> np.ndarray:
    """(N,) bool: does the photo of each frame hold more than half of the hand's joints (or are they unknown)?"""
    points = store.index["joints_2d"]
    inside = ((points >= 0) & (points < store.index["photo"][:, None])).all(axis=2)
    return (inside.mean(axis=1) > 0.5) | np.isnan(points).all(axis=(1, 2))


def _row(item: Item, store: ClipStore) -> np.ndarray:
    if item["images"].ndim == 3:  # a table of single photos has no past frames
        item = {name: values if name in ("is_left", "store") else values[None] for name, values in item.items()}
    return np.concatenate([_cell(item, t, store) for t in range(len(item["images"]))], axis=1)


def _cell(item: Item, t: int, store: ClipStore) -> np.ndarray:
    row = int(item["frame_index"][t])
    crop = np.rint(item["images"][t].transpose(1, 2, 0) * 255).astype(np.uint8)
    picture = cv2.resize(crop, (_CELL, _CELL), interpolation=cv2.INTER_NEAREST)
    if item["has_joints"][t]:
        _draw_joints(picture, item["joints_2d"][t], item["joint_visible"][t])
    side = "left, mirrored" if item["is_left"] else "right"
    strip = np.full((_STRIP, _CELL, 3), 24, np.uint8)
    _text(strip, f"{store.key(row)[-26:]} #{store.index['frame'][row]} {side}", (4, 12), (220, 220, 220))
    step = _CELL / len(LABELS)
    for i, label in enumerate(LABELS):
        value = int(item["occluded"][t][i])
        colour = {0: _VISIBLE, 1: _OCCLUDED}.get(value, _UNKNOWN)
        x = int(i * step)
        cv2.rectangle(strip, (x + 2, 18), (int(x + step) - 2, 28), colour, -1)
        _text(strip, label[:6], (x + 2, 41), colour)
    cell = np.concatenate([picture, strip])
    cell[:, -1] = 24
    return cell


def _draw_joints(picture: np.ndarray, joints_2d: np.ndarray, visible: np.ndarray) -> None:
    # +0.5: integer coordinates are pixel centres in the crop, and an enlarged pixel's centre is half its width in.
    points = (joints_2d * 128 + 0.5) * (_CELL / 128)
    picture[:] = overlay_skeleton(picture, points, thickness=1, filled=visible == 1)


def _text(picture: np.ndarray, text: str, at: tuple[int, int], colour: tuple[int, int, int]) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.33, colour, 1, cv2.LINE_AA)
