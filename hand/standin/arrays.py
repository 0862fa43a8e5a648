"""The stand-in hand: a hand model in MANO's format and sizes that is generated, so that no licensed file is needed.

The skeleton is measured on real frames, the skin is `standin_shape`'s, the mesh `standin_mesh`'s, its motion
`standin_rig`'s and its shape and pose components `standin_space`'s. Here they become metres, take MANO's vertex
numbers at the places other people's code relies on (fingertips, wrist loop, finger ranges), and are written in MANO's
own pickle form. The left hand is the right one's mirror image through x = 0, with every basis mirrored.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.sparse import csc_matrix

from ...errors import InputError
from ..array_record import SIDES, HandArrays
from ..parts import FINGERS, mano_parts
from .components import mean_pose, pose_components, sample_poses, shape_components
from .mesh import HandMesh, build_mesh
from .rig import joint_regressor, pose_correctives, skin_weights
from .surface import FINGER_ORDER, PARENTS, finger_coordinates, fingers, hand_surface, project

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
_ARRAY_FIELDS = (
    "v_template", "shapedirs", "posedirs", "joint_regressor", "weights", "hands_components", "hands_mean",
    "hands_coeffs", "faces", "parents",
)  # fmt: skip


@lru_cache(maxsize=2)
def standin_arrays(side: str = "right") -> HandArrays:
    """The stand-in hand's arrays (metres, float64, read-only). Raises InputError for another side than right, left."""
    if side not in SIDES:
        raise InputError(f"side: expected right or left, found {side!r}")
    fields = _right() if side == "right" else _mirrored(_right())
    digest = hashlib.sha256()
    for name in _ARRAY_FIELDS:
        fields[name].setflags(write=False)
        digest.update(np.ascontiguousarray(fields[name]).tobytes())
    return HandArrays(**fields, side=side, source="standin", sha256=digest.hexdigest())


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
        "J": arrays.joint_regressor @ arrays.v_template,
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


@lru_cache(maxsize=1)
def _right() -> dict[str, np.ndarray]:
    mesh = build_mesh()
    weights = skin_weights(mesh)
    place = _numbering(mesh, weights)
    vertices, weights = mesh.vertices[place], weights[place]
    number = np.argsort(place)
    faces = number[mesh.faces]
    _, normals = project(hand_surface, vertices)
    components, mean = pose_components(), mean_pose()
    poses = np.array(list(sample_poses().values()))
    return {
        "v_template": vertices / 1000,
        "shapedirs": shape_components(vertices, normals, weights) / 1000,
        "posedirs": pose_correctives(vertices, weights) / 1000,
        "joint_regressor": joint_regressor(vertices, weights),
        "weights": weights,
        "hands_components": components,
        "hands_mean": mean,
        "hands_coeffs": (poses - mean) @ components.T,
        "faces": faces.astype(np.int32),
        "parents": PARENTS.astype(np.int64),
    }


def _numbering(mesh: HandMesh, weights: np.ndarray) -> np.ndarray:
    """For each of MANO's vertex numbers, the vertex of `mesh` that takes it (778,).

    Fingertips and the wrist loop exactly; the other numbers of a finger in MANO go to the vertices which that finger
    moves most, from its base to its tip, so that index lists made for MANO still mean about the same places.
    """
    place = np.full(len(mesh.vertices), -1)
    for name, numbers in TIP_VERTICES.items():
        pulp, nail, nail_side = mesh.tips[name][4], mesh.tips[name][1], mesh.tips[name][2]
        place[list(numbers)] = [mesh.tips[name][0], pulp, nail, nail_side][: len(numbers)]
    place[list(WRIST_LOOP)] = mesh.wrist
    left = np.setdiff1d(np.arange(len(place)), place)
    for part, name in enumerate(FINGERS):
        numbers = np.flatnonzero((mano_parts().vertex == part) & (place < 0))
        first = 1 + 3 * FINGER_ORDER.index(name)
        moved = weights[left, first : first + 3].sum(axis=1)
        along = finger_coordinates(fingers()[name], mesh.vertices[left])[0]
        chosen = np.lexsort((-along, -moved))[: len(numbers)]
        chosen = chosen[np.argsort(along[chosen], kind="stable")]
        place[numbers] = left[chosen]
        left = np.delete(left, chosen)
    left = left[np.argsort(-mesh.vertices[left, 0], kind="stable")]
    place[place < 0] = left
    return place


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
