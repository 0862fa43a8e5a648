"""h2o fit: hands out of a file of joints or meshes (.npz or .json), fitted, into an .npz of MANO's parameters.

Metres, in whatever right-handed axes the file has: the fitted hands stand in the same ones. Joints come in one of
`parts.ORDERS`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..array_files import names_of, read_npz
from ..durable import writing_file
from ..errors import InputError, brief, one_line
from ..untrusted import read_json
from .array_record import SIDES
from .arrays import load_arrays
from .fitting import JOINT_NOISE, MESH_NOISE, NOISIEST, FittedHands, HandFitter, known_hands
from .parts import JOINTS, ORDERS, VERTICES, bone_length

log = logging.getLogger(__name__)
LARGEST = 2**30  # bytes of an .npz file's arrays: 57,000 meshes in float64
LARGEST_JSON = 2**28
_COUNTS = {"joints": JOINTS, "vertices": VERTICES}
_REACH = 0.02, 1.0  # m from the first point to the farthest; a hand's is 0.1 to 0.25
_RISE = 5e-4  # m by which one shape may make the error larger, beside a half of it
_FAR, _SAMPLE = 0.01, 64  # m of error that say something is wrong; hands that are tried as the other side's
_TIPS = {"h2onet": "manopth", "ho3d": "ho3d", "mediapipe": "manopth"}


@dataclass(frozen=True)
class FitSummary:
    """How many hands a file has, how many of them are unknown (NaN), what was fitted to, and the error in m.

    one_shape: all have one.
    """

    out: Path
    hands: int
    unknown: int
    points: str
    mean: float
    worst: float
    one_shape: bool = False

    def __str__(self) -> str:
        unknown = f", {self.unknown} unknown (NaN)" if self.unknown else ""
        known = self.hands > self.unknown
        error = f", mean error {1000 * self.mean:.2f} mm, worst {1000 * self.worst:.2f} mm" if known else ""
        shape = " of one shape" if self.one_shape else ""
        return f"{self.hands} hands{shape}{unknown}, fitted to {self.points}{error}: {self.out}"


def fit_file(
    path: str | Path,
    out: str | Path,
    *,
    mano: str | Path,
    side: str,
    order: str = "h2onet",
    tips: str | None = None,
    vertices: bool | None = None,
    noise: float | None = None,
    limits: bool = False,
    one_shape: bool = False,
) -> FitSummary:
    """Fit the hands of `path` and write `out`: mano_pose (N, 48), mano_shape (N, 10), wrist (N, 3), error (N,), side.

    path: an .npz file, or JSON, with `joints` (N, 21, 3) and perhaps `vertices` (N, 778, 3), m; hands that are NaN,
    null in JSON, or all one point, are unknown and become NaN. vertices: fit to them (True), to the joints (False), or
    to vertices where there are any (None). order: one of `parts.ORDERS`; tips: one of `parts.TIPS` (None: the usual
    ones of that order). noise: how far off the points are, m (None: 1 mm for joints, 0.3 mm for vertices). limits: hold
    joints softly within their ranges of motion. one_shape: all hands are one person's and get one `mano_shape`.
    Raises InputError for another file, and for joints in another order or unit.
    """
    path, out = Path(path), Path(out)
    _check_words(out, path, side, order)
    if noise is not None and not 0 < noise <= NOISIEST:
        raise InputError(f"--noise: expected above 0 and up to {1000 * NOISIEST:g} mm, found {1000 * noise:g} mm")
    fitter = HandFitter(load_arrays(mano, side), limits=limits)
    points, observed = _read_hands(path, vertices)
    observed = np.asarray(observed, np.float64)
    known = known_hands(observed)
    _check_size(f"--joints {path}: {points}", observed[known])
    if points == "joints":
        _check_order(f"--joints {path}", observed[known], order)
        observed = observed[:, list(ORDERS[order])]

    def fit(hands: np.ndarray, one_shape: bool = one_shape) -> FittedHands:
        if points == "vertices":
            return fitter.to_vertices(hands, MESH_NOISE if noise is None else noise, one_shape=one_shape)
        wanted = JOINT_NOISE if noise is None else noise
        return fitter.to_joints(hands, tips or _TIPS[order], wanted, one_shape=one_shape)

    found = fit(observed)
    error = found.error[known]
    _warn(f"--joints {path}", fit, observed[known], error, side)
    if one_shape:
        _warn_of_several(f"--joints {path}", fit, observed, found.error)
    with writing_file(out) as file:
        np.savez(
            file,
            mano_pose=found.mano_pose,
            mano_shape=found.mano_shape,
            wrist=found.wrist,
            error=found.error,
            side=np.array(side),
        )
    mean, worst = (float(error.mean()), float(error.max())) if error.size else (np.nan, np.nan)
    return FitSummary(out, len(observed), int((~known).sum()), points, mean, worst, one_shape)


def _check_words(out: Path, path: Path, side: str, order: str) -> None:
    if side not in SIDES:
        raise InputError(f"--side: expected right or left, found {side!r}")
    if order not in ORDERS:
        raise InputError(f"--order: expected one of {', '.join(ORDERS)}, found {order!r}")
    if out.suffix != ".npz":
        raise InputError(f"--out {out}: expected a name that ends in .npz")
    if out.resolve() == path.resolve():
        raise InputError(f"--out {out}: is what is to be read; give another --out")


def _read_hands(path: Path, vertices: bool | None) -> tuple[str, np.ndarray]:
    """What is to be fitted to: "joints" or "vertices", and the array."""
    where = f"--joints {path}"
    if not path.is_file():
        raise InputError(f"{where}: {'is no file' if path.exists() else 'no such file'}; expected .npz or .json")
    is_json = path.suffix.lower() == ".json"
    try:
        content = _read_json(path) if is_json else {}
        names = list(content) if is_json else names_of(path)
        asked = "vertices" if vertices or (vertices is None and "vertices" in names) else "joints"
        if asked not in names:
            there = ", ".join(brief(name, 30) for name in names[:5]) or "nothing"
            raise ValueError(f"lacks {asked} (N, {_COUNTS[asked]}, 3), found {there}")
        wanted = (None, _COUNTS[asked], 3)
        array = _array(content[asked], asked) if is_json else read_npz(path, {asked: wanted}, largest=LARGEST)[asked]
    except ValueError as error:
        said = one_line(error).removeprefix(f"{path}: ")
        raise InputError(f"{where}: {said}; see docs/fit.md for what the file must hold") from None
    except OSError as error:
        raise InputError(f"{where}: {error.strerror}; check the file") from None
    return asked, array


def _read_json(path: Path) -> dict[str, Any]:
    content = read_json(path, LARGEST_JSON, nan=True)
    if not isinstance(content, dict):
        raise ValueError(f"expected an object with joints, found {type(content).__name__}")
    return content


def _array(value: Any, name: str) -> np.ndarray:
    """An array (N, count, 3) of JSON lists; a hand that is null becomes NaN."""
    count = _COUNTS[name]
    if not isinstance(value, list):
        raise ValueError(f"{name} is {brief(value)}, expected a list of hands")
    nothing = np.full((count, 3), np.nan)
    try:
        array = np.array([nothing if hand is None else hand for hand in value])
    except ValueError:  # lists of several lengths
        raise ValueError(f"{name} has hands of several shapes, expected ({count}, 3) for each") from None
    if array.shape[1:] != (count, 3) or array.dtype.kind not in "fi":
        if not value:
            return np.empty((0, count, 3))
        raise ValueError(f"{name} has shape {array.shape} of {array.dtype}, expected (N, {count}, 3) numbers")
    return array


def _check_size(where: str, hands: np.ndarray) -> None:
    """InputError for hands that are no hands in metres."""
    if not len(hands):
        return
    reach = float(np.median(np.linalg.norm(hands - hands[:, :1], axis=2).max(axis=1)))
    if not _REACH[0] < reach < _REACH[1]:
        unit = "; are they in millimetres? divide by 1000" if 30 < reach < 1000 else "; scale them to metres"
        raise InputError(f"{where}: expected hands in metres, about 0.2 long, found {reach:.3g}{unit}")


def _check_order(where: str, joints: np.ndarray, order: str) -> None:
    """InputError where the bones are shorter in another order: no hand's are in a wrong one."""
    if not len(joints):
        return
    lengths = {name: float(np.median(bone_length(joints[:, list(rows)]))) for name, rows in ORDERS.items()}
    best = min(lengths, key=lambda name: lengths[name])
    if lengths[best] < 0.98 * lengths[order]:
        raise InputError(
            f"{where}: joints: expected the order {order}, in which the bones would measure {lengths[order]:.2f} m; in "
            f"that of {best} they measure {lengths[best]:.2f} m; pass --order {best}"
        )


def _warn(
    where: str, fit: Callable[[np.ndarray], FittedHands], hands: np.ndarray, error: np.ndarray, side: str
) -> None:
    """Say where the hands fit badly, or better as the other side's: mirrored ones are fitted for comparison."""
    if not len(hands):
        return
    sample = hands[np.linspace(0, len(hands) - 1, min(_SAMPLE, len(hands))).astype(int)]
    median, mirrored = float(np.median(error)), float(np.median(fit(sample * [-1.0, 1.0, 1.0]).error))
    if mirrored < 0.9 * median:
        other = SIDES[1 - SIDES.index(side)]
        log.warning(
            "%s: the hands fit better as %s hands (%.1f mm) than as %s ones (%.1f mm): is --side %s meant?",
            where,
            other,
            1000 * mirrored,
            side,
            1000 * median,
            other,
        )
    elif median > _FAR:
        log.warning("%s: a median error of %.0f mm says that these are no such hands", where, 1000 * median)


def _warn_of_several(where: str, fit: Callable[..., FittedHands], hands: np.ndarray, error: np.ndarray) -> None:
    """Say where hands (N, P, 3) fit much worse with one shape than each by itself; error (N,) m, NaN if unknown."""
    known = np.flatnonzero(np.isfinite(error))
    if not known.size:
        return
    sample = known[np.linspace(0, len(known) - 1, min(_SAMPLE, len(known))).astype(int)]
    alone, shared = float(np.median(fit(hands[sample], one_shape=False).error)), float(np.median(error[sample]))
    if shared > 1.5 * alone + _RISE:
        worst = int(np.nanargmax(error))
        log.warning(
            "%s: with one shape the median error rises from %.1f to %.1f mm: are these one person's hands? The worst, "
            "hand %d (counted from 0), is off by %.1f mm",
            where,
            1000 * alone,
            1000 * shared,
            worst,
            1000 * error[worst],
        )
