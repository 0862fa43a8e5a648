"""A hand's arrays: MANO's, read from its own files and checked, or the stand-in's.

float64, metres, in MANO's rest axes: a right hand's fingers run along -x from the wrist, its palm faces -y and its
index side is +z. MANO is licensed and comes from https://mano.is.tue.mpg.de; "standin" names the built-in hand.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..errors import InputError
from .array_record import SIDES, STANDIN, HandArrays
from .parts import Parts, is_mano_topology, mano_parts, parts_from_weights
from .pickles import safe_load

_GET_MANO = "get it from https://mano.is.tue.mpg.de (free after registration, research licence) and pass its folder"
_FOLDERS = ("", "models", "mano", "mano/models")
# Name in the file -> shape; J_regressor may be sparse, f may have any integer type.
_SHAPES = {
    "v_template": (778, 3),
    "shapedirs": (778, 3, 10),
    "posedirs": (778, 3, 135),
    "J_regressor": (16, 778),
    "weights": (778, 16),
    "hands_components": (45, 45),
    "hands_mean": (45,),
    "f": (1538, 3),
    "kintree_table": (2, 16),
}


def find_mano(mano: str | Path, side: str) -> Path:
    """The MANO_RIGHT.pkl or MANO_LEFT.pkl under `mano` (a folder, or the file itself); InputError when absent."""
    if side not in SIDES:
        raise InputError(f"side: expected right or left, found {side!r}")
    path = Path(mano).expanduser()
    if path.is_file():
        return path
    name = f"MANO_{side.upper()}.pkl"
    for folder in _FOLDERS:
        if (path / folder / name).is_file():
            return path / folder / name
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder; expected MANO's folder with {name}: {_GET_MANO}")
    places = ", ".join(str(Path(folder) / name) for folder in _FOLDERS)
    raise InputError(f"{path}: expected one of {places}, found none of them; {_GET_MANO}")


def load_arrays(mano: str | Path, side: str = "right") -> HandArrays:
    """MANO's arrays from `mano`: "standin", a folder holding MANO_RIGHT.pkl / MANO_LEFT.pkl, or such a file.

    No code of the file is run (see `pickles`). Files read once are kept, as long as they do not change on disk.
    Raises InputError for a missing or unreadable file, wrong shapes, values that are not finite, or the other hand.
    """
    if side not in SIDES:
        raise InputError(f"side: expected right or left, found {side!r}")
    if str(mano) == STANDIN:
        from .standin.arrays import standin_arrays

        return standin_arrays(side)
    path = find_mano(mano, side)
    stat = path.stat()
    return _read_arrays(path, side, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=8)
def _read_arrays(path: Path, side: str, _modified: int, _size: int) -> HandArrays:
    content = safe_load(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a dictionary of MANO's arrays, found {type(content).__name__}; {_GET_MANO}")
    fields = {name: _field(path, content, name, shape) for name, shape in _SHAPES.items()}
    faces, parents = fields["f"], fields["kintree_table"][0].astype(np.int64)
    parents[0] = -1
    if faces.min() < 0 or faces.max() >= 778:
        raise InputError(f"{path}: f: expected vertex ids 0..777, found {faces.min():g}..{faces.max():g}; {_GET_MANO}")
    if np.any(parents[1:] < 0) or np.any(parents[1:] >= np.arange(1, 16)):
        raise InputError(f"{path}: kintree_table: expected every joint's parent before it; {_GET_MANO}")
    _check_side(path, side, fields["J_regressor"] @ fields["v_template"])
    return HandArrays(
        v_template=fields["v_template"],
        shapedirs=fields["shapedirs"],
        posedirs=fields["posedirs"],
        joint_regressor=fields["J_regressor"],
        weights=fields["weights"],
        hands_components=fields["hands_components"],
        hands_mean=fields["hands_mean"],
        # The poses that MANO was learned from. Nothing is computed from them, so a cleaned copy may lack them.
        hands_coeffs=_field(path, {"hands_coeffs": np.zeros((0, 45))} | content, "hands_coeffs", (None, 45)),
        faces=_freeze(faces.astype(np.int32)),
        parents=_freeze(parents),
        side=side,
        source=str(path),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def parts_by_faces(faces: np.ndarray) -> Parts | None:
    """The parts of a mesh that is known by its faces (F, 3), in either winding: MANO's or the stand-in's; else None."""
    return _parts_by_faces(np.sort(np.asarray(faces), axis=1).astype("<i4").tobytes(), len(faces))


@lru_cache(maxsize=8)
def _parts_by_faces(triangles: bytes, count: int) -> Parts | None:
    given = np.frombuffer(triangles, "<i4").reshape(count, 3)
    if is_mano_topology(given):
        return mano_parts()
    own = load_arrays(STANDIN)
    if not np.array_equal(np.sort(own.faces, axis=1), given):
        return None
    return parts_from_weights(own.weights, own.faces)


def _field(path: Path, content: dict, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    if name not in content:
        raise InputError(f"{path}: {name}: missing; found {', '.join(map(str, content))}; {_GET_MANO}")
    value = content[name]
    found = getattr(value, "shape", None)
    # The shape is checked before a sparse matrix is made dense: a hostile file may claim any size.
    if found is None or len(found) != len(shape) or any(e not in (None, f) for e, f in zip(shape, found, strict=True)):
        expected = tuple("N" if e is None else e for e in shape)
        raise InputError(f"{path}: {name}: expected shape {expected}, found {found}; {_GET_MANO}".replace("'", ""))
    array = np.asarray(value.toarray() if hasattr(value, "toarray") else value)
    if array.dtype.kind not in "fiu":
        raise InputError(f"{path}: {name}: expected numbers, found {array.dtype}; {_GET_MANO}")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise InputError(f"{path}: {name}: expected finite numbers, found NaN or infinity; {_GET_MANO}")
    return _freeze(array)


def _check_side(path: Path, side: str, joints: np.ndarray) -> None:
    """At rest the fingers of MANO's right hand run along -x from the wrist, those of its left hand along +x."""
    found = "right" if joints[[1, 4, 7, 10], 0].mean() < joints[0, 0] else "left"
    if found != side:
        raise InputError(
            f"{path}: v_template: expected a {side} hand, found a {found} one (fingers along "
            f"{'-x' if found == 'right' else '+x'}); use MANO_{side.upper()}.pkl as distributed"
        )


def _freeze(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array
