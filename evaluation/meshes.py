"""Meshes of chosen frames as OBJ, PLY or .glb, predicted and true, at the same place so that they can be overlaid.

Metres, OpenCV camera frame (glTF's axes in a .glb), at the annotated wrist, left hands mirrored back; those of a stage
1 network canonical and at the origin. A test set has up to 10^5 frames and a mesh takes 29 to 45 kB: the caller
chooses frames.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data.clips import ClipDataset, ClipStore
from ..durable import building, replace
from ..errors import InputError
from ..hand.mano import HandModel
from ..hand.mesh_files import FORMATS, mesh_bytes
from ..network.h2onet import H2ONet
from .scoring.facts import FrameFacts
from .scoring.scores import FrameScores, predict_again, predicted_hands
from .scoring.summary import MM

DEFAULT_FRAMES = "best:10,worst:10"
LIST = "frames.csv"
COLUMNS = ("sequence", "frame", "pa_mpjpe_mm", "mpjpe_mm", "prediction", "truth")
_RULE = re.compile(r"(best|worst|every):(\d+)")
_LINE = re.compile(r"(.+?)(?:/|\s+(?:frame\s+)?)(\d+)")  # SEQUENCE/12, SEQUENCE 12, and the page's "SEQUENCE frame 12"


@dataclass(frozen=True)
class MeshChoice:
    """The frames whose meshes to write, by rules (best | worst | every, N) or as (sequence, number), and the format."""

    form: str
    rules: tuple[tuple[str, int], ...] = ()
    frames: tuple[tuple[str, int], ...] = ()

    @classmethod
    def parse(cls, form: str, chosen: str) -> "MeshChoice":
        """Read best:N, worst:N, every:N, several of them with commas, or a text file with a frame per line.

        InputError for anything else, and for a line of the file that names no frame.
        """
        if form not in FORMATS:
            raise InputError(f"--meshes: expected {', '.join(FORMATS)}, found {form!r}")
        found = [_RULE.fullmatch(part.strip()) for part in chosen.split(",")]
        rules = tuple((rule[1], int(rule[2])) for rule in found if rule)
        if len(rules) == len(found) and all(number for _, number in rules):
            return cls(form, rules)
        path = Path(chosen)
        if not path.is_file():
            raise InputError(
                f"--mesh-frames: expected best:N, worst:N or every:N with N from 1, or a text file with SEQUENCE/FRAME "
                f"per line, found {chosen!r}"
            )
        return cls(form, frames=tuple(read_frame_list(path)))

    def check(self, store: ClipStore, out: Path) -> None:
        """InputError before any work: frames that the clips do not hold, no truth to rank by, a folder in use."""
        folder = out / "meshes"
        if folder.exists() and not (folder / LIST).is_file():
            raise InputError(f"--meshes: {folder} is there and not of h2o evaluate; move it, or give another --out")
        ranked = any(rule in ("best", "worst") for rule, _ in self.rules)
        if ranked and not np.isfinite(store.index["joints"]).all((1, 2)).any():
            raise InputError(
                f"--mesh-frames: {store.path} holds no true joints, so that no frame is best or worst; give every:N or "
                "a list of frames"
            )
        known = set(zip(store.index["sequence_id"].tolist(), store.index["frame"].tolist(), strict=True))
        places = {entry["key"]: k for k, entry in enumerate(store.entries)}
        for key, number in self.frames:
            if (places.get(key), number) not in known:
                raise InputError(f"--mesh-frames: {store.path} has no frame {number} of sequence {key!r}")

    def positions(self, scores: FrameScores, facts: FrameFacts) -> list[int]:
        """Positions of the chosen frames among the scored ones, each once, in the order of scoring."""
        if self.frames:
            places = {
                pair: n for n, pair in enumerate(zip(facts.sequence.tolist(), facts.number.tolist(), strict=True))
            }
            return sorted({places[pair] for pair in self.frames if pair in places})
        error = scores.joint_errors_pa.mean(1)
        ranked = [n for n in np.argsort(error, kind="stable").tolist() if np.isfinite(error[n])]
        chosen: set[int] = set()
        for rule, number in self.rules:
            taken = {"best": ranked[:number], "worst": ranked[-number:], "every": range(0, len(scores), number)}[rule]
            chosen.update(taken)
        return sorted(chosen)


def read_frame_list(path: Path) -> Iterator[tuple[str, int]]:
    """Yield sequence and frame number of every line of a text file, except empty lines and those that start with #."""
    count = 0
    for number, text in enumerate(path.read_text(errors="replace").splitlines(), 1):
        line = text.strip()
        if not line or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise InputError(f"{path}: line {number}: expected SEQUENCE/FRAME, found {line[:80]!r}")
        count += 1
        yield found[1], int(found[2])
    if not count:
        raise InputError(f"{path}: names no frame; expected SEQUENCE/FRAME per line")


def write_meshes(
    out: Path,
    choice: MeshChoice,
    network: H2ONet,
    samples: ClipDataset,
    store: ClipStore,
    hand: HandModel,
    scores: FrameScores,
    facts: FrameFacts,
    *,
    regressor: NDArray | None = None,
    batch_size: int = 32,
) -> int:
    """Write `out`/meshes: NAME.obj, NAME-truth.obj where the truth is known, frames.csv; returns the number of frames.

    `samples` are those of `store`; the frames are predicted again. The folder appears whole and replaces that of an
    earlier evaluation. `regressor` as in `scores.predicted_hands`.
    """
    folder, rows = out / "meshes", list[list[str]]()
    positions = choice.positions(scores, facts)
    with building(folder) as unfinished:
        for start in range(0, len(positions), batch_size):
            part = positions[start : start + batch_size]
            _, prediction, truths = predict_again(network, samples, store, hand, part)
            found = predicted_hands(prediction, regressor)[0]
            for position, mesh, truth in zip(part, found, truths, strict=True):
                name = f"{facts.sequence[position].replace('/', '_')}_{facts.number[position]:06d}"
                files = {f"{name}.{choice.form}": mesh, f"{name}-truth.{choice.form}": truth}
                known = {file: points for file, points in files.items() if np.isfinite(points).all()}
                for file, points in known.items():
                    vertices, faces = place_in_camera(points, hand.faces, position, scores, facts)
                    (unfinished / file).write_bytes(mesh_bytes(vertices, faces, choice.form))
                rows.append(make_row(position, [file if file in known else "" for file in files], scores, facts))
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
        (unfinished / LIST).write_text(text.getvalue())
        replace(unfinished, folder)
    return len(positions)


def place_in_camera(
    points: NDArray, faces: NDArray, position: int, scores: FrameScores, facts: FrameFacts
) -> tuple[NDArray, NDArray]:
    """Move a root-relative mesh, as the network sees it, to the annotated wrist, mirrored back, with its faces."""
    if facts.groups["hand_side"][position] == "left":
        points, faces = points * [-1.0, 1.0, 1.0], faces[:, ::-1]  # a mirrored mesh is wound the other way
    root = facts.root[position]
    return (points + root if scores.oriented and np.isfinite(root).all() else points), faces


def make_row(position: int, files: list[str], scores: FrameScores, facts: FrameFacts) -> list[str]:
    """A line of frames.csv."""
    errors = (scores.joint_errors_pa[position].mean() * MM, scores.joint_errors[position].mean() * MM)
    told = [f"{error:.3f}" if np.isfinite(error) else "" for error in errors]
    return [str(facts.sequence[position]), str(facts.number[position]), *told, *files]
