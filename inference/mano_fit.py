"""MANO's parameters of a network's meshes: the hand that has the network's triangles, fitted to what it predicts.

Metres and radians; meshes in the hand's own side, relative to the wrist, as `predictor.HandResult` has them.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..durable import writing_file
from ..errors import InputError, one_line
from ..hand.array_record import SIDES
from ..hand.arrays import load_arrays
from ..hand.fitting import FittedHands, HandFitter

NOISE = 3e-3
"""m: a network's meshes are off by about so much; they are no reason to believe in a shape that nobody has."""
log = logging.getLogger(__name__)


class MeshFitter:
    """Fits the hand models of a folder to meshes of either side, for any number of predictors."""

    def __init__(self, mano: str | Path, *, warn: bool = True) -> None:
        """mano: folder of MANO_RIGHT.pkl and MANO_LEFT.pkl, or "standin". InputError where neither side is there.

        warn: say which side is not there.
        """
        self.mano = mano
        self._fitters: dict[str, HandFitter] = {}
        faults: list[InputError] = []
        for side in SIDES:
            try:
                self._fitters[side] = HandFitter(load_arrays(mano, side))
            except InputError as error:
                faults.append(error)
        if len(faults) == len(SIDES):
            raise faults[0]
        for fault in faults if warn else ():
            log.warning("--mano: %s; hands of that side get no MANO parameters", one_line(fault))

    @classmethod
    def of_network(cls, mano: str | Path | None, faces: NDArray) -> MeshFitter | None:
        """The fitter of a hand that has a network's triangles; None, with a line that says why, without such a hand."""
        if mano is None:
            log.info("no MANO parameters are written: they need --mano, the hand that the network was trained on")
            return None
        fitter = cls(mano)
        try:
            fitter.check(faces)
        except InputError as error:
            log.warning("no MANO parameters are written: %s", error)
            return None
        return fitter

    def check(self, faces: NDArray) -> None:
        """InputError where a network's triangles (1538, 3), in either winding, are not those of the hand models."""
        wanted = np.sort(faces, axis=1)
        for fitter in self._fitters.values():
            if not np.array_equal(wanted, np.sort(fitter.arrays.faces, axis=1)):
                raise InputError(
                    f"--mano {self.mano}: expected the hand that the network was trained on, found other triangles; "
                    "pass that hand's folder, or standin for a network of synthetic data"
                )

    def __call__(self, vertices: NDArray, side: str, *, one_shape: bool = False) -> FittedHands | None:
        """The fit of meshes (N, 778, 3) m, `one_shape`: of one person's; None where that side's model is missing."""
        fitter = self._fitters.get(side)
        return None if fitter is None else fitter.to_vertices(vertices, NOISE, one_shape=one_shape)


def write_mano(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the MANO parameters of rows of predictions.jsonl as arrays, one line a hand.

    name, hand, side, mano_pose (N, 48) rad, mano_shape (N, 10), wrist (N, 3) m (in the camera frame where that is
    known, else relative to the network's wrist: `placed` says which), error (N,) m, root_from ("" where not placed) and
    reliable, as the rows have them.
    """
    placed = np.array([row["root"] is not None for row in rows])
    roots = np.array([row["root"] or (0.0, 0.0, 0.0) for row in rows])
    with writing_file(path) as file:
        np.savez(
            file,
            name=np.array([row["name"] for row in rows]),
            hand=np.array([row["hand"] for row in rows]),
            side=np.array([row["side"] for row in rows]),
            mano_pose=np.array([row["mano_pose"] for row in rows]),
            mano_shape=np.array([row["mano_shape"] for row in rows]),
            wrist=np.array([row["mano_wrist_m"] for row in rows]) + roots,
            placed=placed,
            error=np.array([row["mano_error_m"] for row in rows]),
            root_from=np.array([row["root_from"] or "" for row in rows]),
            reliable=np.array([row["reliable"] for row in rows]),
        )
