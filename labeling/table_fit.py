"""Whether a table means what it says: its hands, read in several ways, held against their joints, pixels and masks.

A row says the same thing several times over: a pose, and mostly joints, their pixels or a mask as well. The reading
under which they agree is the right one, so that a wrong side, PCA coefficients taken for angles or a mean left out can
be named. Metres, pixels, OpenCV axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

import numpy as np
from msgspec import structs

from ..data.readers.table import Table
from ..data.readers.table_frames import hand_of, in_order, intrinsics_of
from ..data.readers.table_rows import Row, numbers
from ..hand.arrays import load_arrays
from ..hand.basis import hand_basis
from ..hand.camera import opencv_from_opengl, opencv_pose_from_opengl, project
from ..hand.skinning import SkinnedHand
from ..hand.zbuffer import viewport_of
from .occlusion import silhouette_iou
from .raster import NEAR, Mesh, Renderer, View

CHANGES = ("side", "pca", "mean", "order")
"""What a reading may take otherwise than the table says: the hand's side, the numbers of a pose, the joints' order."""
POSITIONS = ("translation", "wrist", "joints", "vertices")
WORST_JOINTS, WORST_PIXELS, WORST_OVERLAP = 0.008, 0.05, 0.85
"""From here on a reading does not fit: joints off their pose, m (tips of other conventions are 1 mm on average); off
their pixels, of the hand's size in the photo; overlap of hand and mask, up to which."""
BETTER = 0.6
"""A reading is better than the table's where it leaves at most this share of what does not fit."""


@dataclass(frozen=True)
class Fit:
    """How well a reading fits a row: `joints` m, `pixels` of the hand's size, `overlap` 0 to 1; NaN where unknown."""

    joints: float
    pixels: float
    overlap: float


@dataclass(frozen=True)
class Verdict:
    """The table's reading and the best one of a sample: medians, and the `changes` (of CHANGES) that the best makes."""

    own: Fit
    best: Fit
    changes: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether the table means what it says, as far as its rows tell."""
        return _misfit(self.own) <= 1.0


def _misfit(fit: Fit) -> float:
    """1 where a reading just does not fit: by joints and their pixels, else by the mask; 0 where nothing is known.

    A mask says less: objects before the hand are no misfit.
    """
    known = [share for share in (fit.joints / WORST_JOINTS, fit.pixels / WORST_PIXELS) if np.isfinite(share)]
    if known:
        return max(known)
    return (1.0 - fit.overlap) / (1.0 - WORST_OVERLAP) if np.isfinite(fit.overlap) else 0.0


# -- readings ------------------------------------------------------------------------------------------------------


def changed(table: Table, changes: Sequence[str]) -> Table:
    """The table with its dataset.toml read otherwise; the side is the row's."""
    config = table.config
    if "pca" in changes:
        config = structs.replace(config, pca=45 if config.pca is None else None, flat_hand_mean=None)
    if "mean" in changes:
        config = structs.replace(config, flat_hand_mean=config.adds_mean)
    if "order" in changes:
        config = structs.replace(config, joint_order="mano" if config.joint_order == "fingers" else "fingers")
    return replace(table, config=config)


def scaled(row: Row, factor: float) -> Row:
    """A row whose positions were written in another unit."""
    values = {name: getattr(row, name) for name in POSITIONS}
    found = {
        name: (np.asarray(value, np.float64) * factor).tolist() for name, value in values.items() if value is not None
    }
    return structs.replace(row, **found)


def turned(row: Row, table: Table, mano: str) -> Row:
    """A row that was written in OpenGL axes, in OpenCV's."""
    found = {}
    for name in POSITIONS:
        if (value := getattr(row, name)) is not None:
            found[name] = opencv_from_opengl(np.asarray(value, np.float64).reshape(-1, 3)).tolist()
            found[name] = found[name][0] if len(found[name]) == 1 else found[name]
    if row.mano_pose is not None and row.mano_shape is not None:
        pose, shape = np.ravel(np.asarray(row.mano_pose, np.float64)), numbers(row.mano_shape, (10,), "mano_shape")
        offset = np.zeros(3) if row.translation is None else numbers(row.translation, (3,), "translation")
        orient, offset = opencv_pose_from_opengl(pose[:3], offset, hand_basis(mano, row.side).rest_wrist(shape))
        found["mano_pose"] = [*orient.tolist(), *pose[3:].tolist()]
        if row.translation is not None:
            found["translation"] = offset.tolist()
    return structs.replace(row, **found)


def fit_row(row: Row, table: Table, mano: str, mask: np.ndarray | None, renderer: Renderer) -> Fit:
    """How well a row with a pose fits itself; ValueError where it cannot be read so."""
    hand, intrinsics = hand_of(row, table, mano), intrinsics_of(row)
    assert hand.pose is not None and hand.shape is not None and hand.translation is not None
    model = _model(mano, row.side)
    vertices, joints = (each[0] for each in model.pose(hand.pose[None], hand.shape[None], hand.translation[None]))
    joints_off = pixels_off = overlap = float("nan")
    if row.joints is not None:
        given = in_order(numbers(row.joints, (21, 3), "joints"), table)
        joints_off = float(np.linalg.norm((joints - joints[0]) - (given - given[0]), axis=1).mean())
    if row.joints_2d is not None:
        seen = in_order(numbers(row.joints_2d, (21, 2), "joints_2d"), table)
        size = max(1.0, float(np.ptp(seen, axis=0).max()))
        pixels_off = float(np.linalg.norm(project(joints, intrinsics) - seen, axis=1).mean()) / size
    if mask is not None and mask.any() and (vertices[:, 2] > NEAR).any():
        height, width = mask.shape
        points = project(vertices, intrinsics)
        view = View(intrinsics, width, height, viewport_of(points, width, height))
        drawn = renderer.inverse_depth([Mesh(vertices, model.faces, points)], view)
        overlap = silhouette_iou(drawn, np.zeros_like(drawn), view, mask)
    return Fit(joints_off, pixels_off, overlap)


@lru_cache(maxsize=2)
def _model(mano: str, side: str) -> SkinnedHand:
    return SkinnedHand(load_arrays(mano, side))


# -- verdicts ------------------------------------------------------------------------------------------------------


def judge(rows: Sequence[tuple[Row, np.ndarray | None]], table: Table, mano: str, renderer: Renderer) -> Verdict | None:
    """The reading under which rows with a pose, each with its mask, fit best; None where there are no such rows.

    A reading with fewer changes is taken unless another is clearly better.
    """
    posed = [(row, mask) for row, mask in rows if row.mano_pose is not None]
    if not posed:
        return None
    found: dict[tuple[str, ...], Fit] = {}
    for chosen in product((False, True), repeat=len(CHANGES)):
        changes = tuple(name for name, taken in zip(CHANGES, chosen, strict=True) if taken)
        fits = []
        for row, mask in posed:
            other = {"right": "left", "left": "right"}[row.side] if "side" in changes else row.side
            try:
                fits.append(fit_row(structs.replace(row, side=other), changed(table, changes), mano, mask, renderer))
            except ValueError:  # numbers that cannot be read so
                break
        else:
            found[changes] = Fit(*(_median([getattr(each, name) for each in fits]) for name in Fit.__annotations__))
    own = best = ()
    for changes in sorted(found, key=len):
        if _misfit(found[changes]) < BETTER * _misfit(found[best]):
            best = changes
    return Verdict(found[own], found[best], best)


def _median(values: list[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.median(known)) if known else float("nan")
