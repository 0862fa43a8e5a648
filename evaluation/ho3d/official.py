"""HO3D's official scores: a pred.json against the released ground truth, as the official script prints them.

Errors are centimetres here, as in scores.txt; the file formats are in `files.py`.
"""

import hashlib
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...durable import require_writable, write_json, write_text
from ...errors import InputError
from ...hand.parts import JOINTS, VERTICES
from .. import metrics
from ..frames_npz import write_frames
from ..protocol import VERSION, hash_lines, refuse_foreign, versions
from ..scoring.confidence import recordings
from . import files as ho3d
from .files import Meshes
from .page import UNNAMED, Scored, break_down_sequences, write_official_page
from .pictures import Photos

log = logging.getLogger(__name__)

MIDDLE_1 = 4  # HO3D order; the scale reference of the official script
CHUNK = 512
DIGITS = 6  # the official scores.txt prints "%f"
CM = 100.0
MM = 1000.0
A_POINT = 1e-6  # m: no hand is smaller, an untrained network's neither
NEAR = 1e-3  # m: nothing is nearer to a camera
F_COLUMNS = {5: metrics.F_CURVE.index(0.005), 15: metrics.F_CURVE.index(0.015)}
NAMED = 5  # how many missing frames the log names; missing.txt names them all


def evaluate_predictions(
    predictions: str | Path,
    ground_truth: str | Path,
    dataset: str,
    out: str | Path,
    *,
    frames: str | Path | None = None,
    report: bool = True,
) -> dict[str, float]:
    """Score a pred.json; metrics.json gets the keys and values of the official scores.txt, which is written too.

    Also writes breakdown.json (by sequence, with confidence intervals), protocol.json, frames.npz and, with `report`,
    report.html, with pictures where HO3D's photos lie in `ground_truth` or under $HO3D_DIR.

    Frames that are null or [] in pred.json count as not predicted: the others are scored and the missing ones named
    in missing.txt. `frames` is a text file with a "SEQ/NNNN" for every prediction, for files that hold only some
    frames or another order (the ground truth then needs its evaluation.txt). Raises InputError for input that is
    certainly a mistake, before anything is written.
    """
    path, folder, out = Path(predictions), Path(ground_truth), Path(out)
    if dataset not in ho3d.FRAME_COUNTS:
        raise InputError(f"--dataset: expected {' or '.join(ho3d.FRAME_COUNTS)}, found {dataset!r}")
    require_writable(out, "--out")
    refuse_foreign(out)
    truth = ho3d.load_ground_truth(folder)
    lines = ho3d.read_evaluation_list(folder)
    if lines is not None and len(lines) != len(truth):
        raise InputError(f"{folder}: evaluation.txt has {len(lines)} lines, the ground truth {len(truth)} frames")
    predicted, given, length = ho3d.load_predictions(path)
    given = match_frames(path, given, length, lines, len(truth), None if frames is None else Path(frames))
    truth_given = truth.select(given)
    names = np.array(lines if lines is not None else [f"line {n + 1}" for n in range(len(truth))])
    warn_of_nonsense(path, predicted, names[given])
    ho3d.check_predictions(path, predicted, truth_given)
    if len(truth) != ho3d.FRAME_COUNTS[dataset]:
        log.warning("%s: %d frames, the whole of %s has %d", folder, len(truth), dataset, ho3d.FRAME_COUNTS[dataset])
    missing = names[np.setdiff1d(np.arange(len(truth)), given)]
    errors = frame_errors(predicted, truth_given)
    found = Scored(
        scores=official_table(errors),
        errors=errors,
        values=per_frame_values(errors),
        keys=frame_keys(names[given]),
        names=names[given],
        missing=missing,
        protocol=build_protocol(dataset, path, names[given], missing),
    )
    breakdown = break_down_sequences(found)
    write_results(out, found, breakdown)
    if report:
        write_official_page(out, found, breakdown, Photos.beside(folder, dataset), predicted, truth_given)
    if len(missing):
        log.warning(
            "%d of %d frames are not predicted and not scored: %s%s; all are in %s",
            len(missing),
            len(truth),
            ", ".join(missing[:NAMED]),
            " ..." if len(missing) > NAMED else "",
            out / "missing.txt",
        )
    return found.scores


def match_frames(
    path: Path, given: NDArray[np.int64], length: int, lines: list[str] | None, count: int, frames: Path | None
) -> NDArray[np.int64]:
    """Positions in the ground truth of the predictions at positions `given` of a pred.json with `length` entries."""
    if frames is None:
        if length != count:
            raise InputError(
                f"{path}: expected {count} frames like the ground truth, found {length}; predictions go in "
                "evaluation.txt's order, one for every line (null for a missing one), or name yours with --frames FILE"
            )
        return given
    if lines is None:
        raise InputError("--frames: the ground truth folder has no evaluation.txt that says which frames it holds")
    if not frames.is_file():
        raise InputError(f"{frames}: file not found; expected a text file with a SEQ/NNNN for every prediction")
    named = ho3d.read_frame_names(frames)
    if len(named) != length:
        raise InputError(f"{frames}: names {len(named)} frames, {path} holds {length}")
    places = {line: n for n, line in enumerate(lines)}
    unknown = [name for name in named if name not in places]
    if unknown or len(set(named)) != len(named):
        problem = f"{unknown[0]!r} is no line of evaluation.txt" if unknown else "names a frame twice"
        raise InputError(f"{frames}: {problem}")
    return np.array([places[named[n]] for n in given.tolist()], np.int64)


def warn_of_nonsense(path: Path, predicted: Meshes, names: NDArray[np.str_]) -> None:
    """Warn of frames whose hand is one point, and of predictions relative to a joint; refuse nothing but points.

    Both are scored as given, as the official script does. InputError when every hand is a point.
    """
    points = (np.ptp(predicted.joints, axis=1).max(axis=-1) < A_POINT) | (
        np.ptp(predicted.vertices, axis=1).max(axis=-1) < A_POINT
    )
    if len(points) and points.all():
        raise InputError(f"{path}: every hand is a single point (all zeros?): expected {JOINTS} joints in metres")
    if points.any():
        log.warning(
            "%s: %d of %d hands are a single point (all zeros?) and are scored as given: %s%s; write null for frames "
            "without a prediction",
            path, points.sum(), len(points), ", ".join(names[points][:NAMED]), " ..." if points.sum() > NAMED else "",
        )  # fmt: skip
    origin = np.flatnonzero((np.abs(predicted.joints[~points]) < NEAR).all(axis=(0, 2)))
    if len(origin):
        log.warning(
            "%s: joint %d is at the origin in every frame: these hands are relative to it, and the absolute errors "
            "(xyz_mean3d, mesh_mean3d, f_score) say how far the hand is from the camera; the aligned ones stand",
            path, origin[0],
        )  # fmt: skip


def frame_errors(predicted: Meshes, truth: Meshes) -> dict[str, NDArray]:
    """Errors of every frame, by the stems of the official keys.

    They are joint errors (N, 21) m, mean vertex errors (N,) m with their PCK counts (N, 100), and F-scores (N, 15) at
    the thresholds of `metrics.F_CURVE`.
    """
    errors: dict[str, list[NDArray]] = {}
    for start in range(0, len(truth), CHUNK):
        part = slice(start, start + CHUNK)
        p, t = predicted.joints[part], truth.joints[part]
        found = {
            "xyz_mean3d": metrics.point_errors(p, t),
            "xyz_procrustes_al_mean3d": metrics.point_errors(metrics.similarity_aligned(p, t), t),
            "xyz_scale_trans_al_mean3d": metrics.point_errors(
                metrics.scale_translation_aligned(p, t, reference=MIDDLE_1), t
            ),
        }
        p, t = predicted.vertices[part], truth.vertices[part]
        aligned = metrics.similarity_aligned(p, t)
        for name, points in (("mesh", p), ("mesh_al", aligned)):
            distances = metrics.point_errors(points, t)
            found |= {f"{name}_mean3d": distances.mean(1), f"{name}_counts": metrics.pck_counts(distances)}
        found |= {"f_score": metrics.f_scores(p, t, metrics.F_CURVE)}
        found |= {"f_al_score": metrics.f_scores(aligned, t, metrics.F_CURVE)}
        for name, values in found.items():
            errors.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in errors.items()}


def official_table(errors: dict[str, NDArray]) -> dict[str, float]:
    """The official keys in the official order, from errors in m and counts of all frames."""
    scores: dict[str, float] = {}
    for name in ("xyz", "xyz_procrustes_al", "xyz_scale_trans_al"):
        scores[f"{name}_mean3d"] = float(errors[f"{name}_mean3d"].mean() * CM)
        scores[f"{name}_auc3d"] = metrics.auc(errors[f"{name}_mean3d"])
    for name in ("mesh", "mesh_al"):
        scores[f"{name}_mean3d"] = float(errors[f"{name}_mean3d"].mean() * CM)
        scores[f"{name}_auc3d"] = metrics.auc_of_counts(errors[f"{name}_counts"], VERTICES)
    for millimetres, k in F_COLUMNS.items():
        scores[f"f_score_{millimetres}"] = float(errors["f_score"][:, k].mean())
        scores[f"f_al_score_{millimetres}"] = float(errors["f_al_score"][:, k].mean())
    return {name: round(value, DIGITS) for name, value in scores.items()}


def per_frame_values(errors: dict[str, NDArray]) -> dict[str, NDArray]:
    """Errors of every frame for frames.npz, under the names that clips use, mm."""
    return {
        "mpjpe_mm": errors["xyz_mean3d"].mean(1) * MM,
        "pa_mpjpe_mm": errors["xyz_procrustes_al_mean3d"].mean(1) * MM,
        "scale_translation_mpjpe_mm": errors["xyz_scale_trans_al_mean3d"].mean(1) * MM,
        "mpvpe_mm": errors["mesh_mean3d"] * MM,
        "pa_mpvpe_mm": errors["mesh_al_mean3d"] * MM,
        "f_5": errors["f_score"][:, F_COLUMNS[5]],
        "f_15": errors["f_score"][:, F_COLUMNS[15]],
        "pa_f_5": errors["f_al_score"][:, F_COLUMNS[5]],
        "pa_f_15": errors["f_al_score"][:, F_COLUMNS[15]],
    }


def official_scores(predicted: Meshes, truth: Meshes) -> dict[str, float]:
    """The 14 official values alone, by key."""
    return official_table(frame_errors(predicted, truth))


def frame_keys(names: NDArray) -> dict[str, NDArray]:
    """The columns sequence, recording and frame (N,) of frames "SEQ/NNNN", or "line N" where nothing names them."""
    number = np.array([int(digits[-1]) for digits in (re.findall(r"\d+", name) for name in names.tolist())])
    sequence = np.array([name.rsplit("/", 1)[0] for name in names.tolist()])
    if any("/" in name for name in names.tolist()):
        return {"sequence": sequence, "recording": recordings(sequence, "ho3d"), "frame": number}
    return {"sequence": sequence, "recording": np.full(len(names), UNNAMED), "frame": number}


def build_protocol(dataset: str, path: Path, scored: NDArray, missing: NDArray) -> dict[str, Any]:
    """protocol.json of an evaluation of predictions; keys as `protocol.COMPARED` wants them."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "version": VERSION,
        "dataset": dataset,
        "split": "test",
        "setup": None,
        "frames": len(scored),
        "frames_missing": len(missing),
        "frames_sha256": hash_lines(scored.tolist()),
        "meshes": "as submitted",
        "root": "none subtracted",
        "alignment": "HO3D's official script",
        "joints": "as submitted",
        "crop": None,
        "label_rules": None,
        "mano_sha256": None,
        "predictions": str(path),
        "predictions_sha256": digest,
        **versions(),
    }


def write_results(out: Path, found: Scored, breakdown: dict[str, dict]) -> None:
    """Write the result files; missing.txt names the frames that were not predicted, where there are some."""
    write_json(out / "protocol.json", found.protocol)  # first: it says that the folder is an evaluation's
    write_text(out / "scores.txt", "".join(f"{name}: {value:f}\n" for name, value in found.scores.items()))
    for name, content in (("metrics", found.scores), ("breakdown", breakdown)):
        write_json(out / f"{name}.json", content)
    if len(found.missing):
        write_text(out / "missing.txt", "".join(f"{name}\n" for name in found.missing.tolist()))
    else:
        (out / "missing.txt").unlink(missing_ok=True)  # of an earlier evaluation
    write_frames(out, found.keys, found.values)
