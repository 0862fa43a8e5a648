"""The posed hand behind a store: the model its labels were made with, where it is still there, and meshes of rows."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...hand.array_record import STANDIN, HandArrays
from ...hand.arrays import load_arrays
from ...hand.skinning import SkinnedHand
from .scene import HandSurface

log = logging.getLogger(__name__)


class StoreHands:
    """Meshes of a store's hands, by side; where the model of the labels is gone, a warning says that none is drawn.

    mano: where the model lies now; InputError when it is not the recorded one. None: where it was, then $MANO_DIR.
    """

    def __init__(self, attrs: Mapping[str, Any], where: str, mano: str | None) -> None:
        recorded = attrs.get("mano") or {}
        self._models = {side: _load(recorded.get(side), side, mano, where) for side in ("right", "left")}
        self._surfaces = {
            side: HandSurface(model.faces, model.parts.vertex)
            for side, model in self._models.items()
            if model is not None
        }

    def surface(self, side: str) -> HandSurface | None:
        """Faces and parts of one side's hand; None without its model."""
        return self._surfaces.get(side)

    def vertices(self, row: Mapping[str, np.ndarray], side: str) -> np.ndarray | None:
        """The mesh (778, 3) m of a store's row: as it is stored, else posed; None where neither is possible."""
        given = row.get("vertices")
        if given is not None and np.isfinite(given).all():
            return given
        model = self._models[side]
        pose, shape = row["mano_pose"][None].astype(np.float64), row["mano_shape"][None].astype(np.float64)
        if model is None or not row["has_pose"] or not (np.isfinite(pose).all() and np.isfinite(shape).all()):
            return None
        vertices, joints = model.pose(pose, shape)
        rest = model.root(shape) + row["translation"]
        wrist = rest if np.isfinite(rest).all() else row["root"]
        return vertices[0] - joints[0, :1] + wrist


def _load(recorded: Any, side: str, mano: str | None, where: str) -> SkinnedHand | None:
    """The model of one side that a store names; None, with a warning, where it is not found."""
    if not isinstance(recorded, dict):
        return None  # a dataset without hands of that side
    source, sha256 = str(recorded["source"]), str(recorded["sha256"])
    fallback = os.environ.get("MANO_DIR")
    problems = []
    for place in [mano] if mano is not None else [source, *([fallback] if fallback else [])]:
        try:
            arrays = load_arrays(place, side)
        except InputError as error:
            problems.append(str(error))
            continue
        if _is_same(arrays, source, sha256):
            return SkinnedHand(arrays)
        problems.append(f"{arrays.source} has sha256 {arrays.sha256[:12]}")
    found = f"{where}: was labelled with {source} (sha256 {sha256[:12]}), which is not there now: {'; '.join(problems)}"
    if mano is not None:
        raise InputError(f"{found}; say where that hand is with --mano")
    log.warning("%s; no mesh of %s hands is drawn, say where that hand is with --mano", found, side)
    return None


def _is_same(arrays: HandArrays, source: str, sha256: str) -> bool:
    # Up to 0.1.0 the stand-in was computed anew on every machine, with other last digits and another hash.
    return arrays.sha256 == sha256 or (arrays.source == STANDIN and Path(source).name == STANDIN)
