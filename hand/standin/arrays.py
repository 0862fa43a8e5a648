"""The stand-in hand: a hand model in MANO's format and sizes that is generated, so that no licensed file is needed.

right.npz beside this file holds the right hand as `generate` made it once: made anew on another processor, its last
digits would differ, and with them the hash by which stores and checkpoints know their hand. The left hand is the right
one's mirror image through x = 0, with every basis mirrored. Both are written in MANO's own pickle form.
"""

from __future__ import annotations

import hashlib
import math
import os
import pickle
from functools import lru_cache
from pathlib import Path

import numpy as np

from ...errors import InputError
from ..array_record import SIDES, STANDIN, HandArrays

# MANO's vertices on each fingertip, the most distal first; third-party fingertip sets choose among them.
TIP_VERTICES = {
    "thumb": (745, 744, 728),
    "index": (317, 333, 320, 353),
    "middle": (444, 445, 443, 442),
    "ring": (556, 555, 554, 576),
    "little": (673, 672, 671, 694),
}
# MANO's wrist loop in the order in which public code closes it with a fan of triangles (previous, next, centre).
WRIST_LOOP = (108, 79, 78, 121, 214, 215, 279, 239, 234, 92, 38, 122, 118, 117, 119, 120)
RIGHT = Path(__file__).with_name("right.npz")
ARRAY_FIELDS = (
    "v_template", "shapedirs", "posedirs", "joint_regressor", "weights", "hands_components", "hands_mean",
    "hands_coeffs", "faces", "parents",
)  # fmt: skip


@lru_cache(maxsize=2)
def standin_arrays(side: str = "right") -> HandArrays:
    """The stand-in hand's arrays (metres, float64, read-only). Raises InputError for another side than right, left."""
    if side not in SIDES:
        raise InputError(f"side: expected right or left, found {side!r}")
    with np.load(RIGHT, allow_pickle=False) as stored:
        fields = {name: stored[name] for name in ARRAY_FIELDS}
    if side == "left":
        fields = _mirrored(fields)
    digest = hashlib.sha256()
    for name in ARRAY_FIELDS:
        fields[name].setflags(write=False)
        digest.update(np.ascontiguousarray(fields[name]).tobytes())
    return HandArrays(**fields, side=side, source=STANDIN, sha256=digest.hexdigest())


def write_mano_pickles(folder: str | Path) -> list[Path]:
    """Write MANO_RIGHT.pkl and MANO_LEFT.pkl of the stand-in into `folder`, in MANO's own form; returns their paths.

    Plain protocol-2 pickles of numpy arrays and one scipy matrix, the same bytes every time. Each file appears whole
    or not at all. OSError when the folder cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for side in SIDES:
        path = folder / f"MANO_{side.upper()}.pkl"
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            partial.write_bytes(_mano_pickle(standin_arrays(side)))
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        paths.append(path)
    return paths


def _mano_pickle(arrays: HandArrays) -> bytes:
    from scipy.sparse import csc_matrix  # here: reading the hand needs none of it

    parents = np.where(arrays.parents < 0, 2**32 - 1, arrays.parents)
    # Fresh copies: pickle writes "the same array again" for shared objects, which would make the bytes depend on that.
    content = {
        "hands_components": arrays.hands_components.copy(),
        "hands_coeffs": arrays.hands_coeffs.copy(),
        "hands_mean": arrays.hands_mean.copy(),
        "v_template": arrays.v_template.copy(),
        "shapedirs": arrays.shapedirs.copy(),
        "posedirs": arrays.posedirs.copy(),
        "J_regressor": csc_matrix(arrays.joint_regressor),
        "J": _exact_product(arrays.joint_regressor, arrays.v_template),
        "weights": arrays.weights.copy(),
        "kintree_table": np.stack([parents, np.arange(16)]).astype(np.uint32),
        "f": arrays.faces.astype(np.uint32),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }
    data = pickle.dumps(content, protocol=2)
    # The names under which every numpy and scipy, old and new, finds these: NumPy 2 would write numpy._core.
    data = data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    return data.replace(b"cscipy.sparse._csc\n", b"cscipy.sparse\n")


def _mirrored(right: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The left hand: x -> -x, axis-angle (a, b, c) -> (a, -b, -c), triangles turned round."""
    flip = np.array([-1.0, 1.0, 1.0])
    feature = np.tile(np.outer(flip, flip).ravel(), 15)  # a mirrored rotation's entries
    turn = np.tile([1.0, -1.0, -1.0], 15)
    return right | {
        "v_template": right["v_template"] * flip,
        "shapedirs": right["shapedirs"] * flip[:, None],
        "posedirs": right["posedirs"] * flip[:, None] * feature,
        "joint_regressor": right["joint_regressor"].copy(),
        "hands_components": right["hands_components"] * turn,
        "hands_mean": right["hands_mean"] * turn,
        "faces": np.ascontiguousarray(right["faces"][:, ::-1]),
    }


def _exact_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The matrix product with correctly rounded sums: libraries of linear algebra add in an order of their own."""
    return np.array([[math.fsum(row * column) for column in b.T] for row in a])
