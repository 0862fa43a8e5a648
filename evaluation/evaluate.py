"""h2o evaluate on clips: a checkpoint on every frame of a store.

Writes metrics.json (flat), breakdown.json, protocol.json, frames.npz, the page and, where asked for, files that other
scripts read. All are written at the end, each whole. HO3D's own protocol on a pred.json is in `ho3d.official`.
"""

import logging
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from ..data.clips import ClipDataset, ClipStore, window_of
from ..data.frame import SETUPS, SPLITS
from ..data.loading.batches import loader
from ..data.loading.processes import loader_processes
from ..durable import require_writable, write_json
from ..errors import InputError, brief
from ..hand.mano import HandModel
from ..network.checkpoint import load_checkpoint
from ..network.device import choose_device
from ..network.h2onet import H2ONet
from ..network.threads import piece_timer
from .compare import HEADER, compare, require_alike
from .exports import STORE_COLUMNS, check_predictions_path, count_missing_recordings, write_dexycb, write_predictions
from .frames_npz import write_frames
from .ho3d import files as ho3d
from .ho3d.files import write_ho3d
from .ho3d.official import evaluate_predictions, official_scores
from .meshes import DEFAULT_FRAMES, MeshChoice, write_meshes
from .page.cards import Drawer
from .page.clips import Result, Section, write_report
from .page.comparison import comparison_section
from .page.training import read_histories, training_section
from .protocol import build_protocol, refuse_foreign
from .scoring.breakdowns import break_down
from .scoring.facts import FrameFacts
from .scoring.scores import FrameScores, predicted_hands, score_batch
from .scoring.summary import MM, frame_values, intervals, summarise
from .truth import load_truth_hand

__all__ = ["evaluate_clips", "evaluate_predictions"]

log = logging.getLogger(__name__)

A_POINT = 1e-6
"""Metres: no hand is smaller, and no trained network's mesh comes near."""


@dataclass(frozen=True)
class Exports:
    """The optional files of an evaluation: paths, or None where they are not asked for."""

    ho3d_json: Path | None
    dexycb_txt: Path | None
    predictions: Path | None
    meshes: MeshChoice | None


def evaluate_clips(
    checkpoint: str | Path,
    clips: str | Path,
    out: str | Path,
    *,
    hierarchy: str | Path | None = None,
    ho3d_json: str | Path | None = None,
    dexycb_txt: str | Path | None = None,
    predictions_out: str | Path | None = None,
    meshes: str | None = None,
    mesh_frames: str = DEFAULT_FRAMES,
    mano: str | Path | None = None,
    device: str = "auto",
    batch_size: int = 32,
    num_workers: int = -1,
    report: bool = True,
    curves: Sequence[str | Path] | None = None,
    against: str | Path | None = None,
    extra: Sequence[Section] = (),
) -> dict[str, Any]:
    """Score a checkpoint on every frame of a clip store; returns what metrics.json holds.

    Also writes breakdown.json (with confidence intervals), protocol.json, frames.npz and, with `report`, report.html
    with the `extra` sections in it and the training curves of the run folders `curves` (None: of the checkpoint's own,
    where it lies in one); `against` is the result folder of another evaluation of the same frames, with which the page
    compares. `num_workers` processes decode the clips (-1: what feeds a GPU, none beside a CPU). `meshes` (a format)
    writes those of `mesh_frames` (`MeshChoice.parse`) to meshes/, `predictions_out` (.npz or .parquet) those of all
    frames to one file. Where a HO3D store holds the released meshes of all its frames, the keys of the official
    scores.txt are in metrics.json too. Raises InputError for a checkpoint or store that cannot be read, for an
    `against` of another protocol, for a network whose output is not finite, and for exports that the clips cannot give.
    """
    out, store = Path(out), ClipStore.open(clips)
    network = load_checkpoint(checkpoint, hierarchy)
    choice = None if meshes is None else MeshChoice.parse(meshes, mesh_frames)
    exports = Exports(as_path(ho3d_json), as_path(dexycb_txt), as_path(predictions_out), choice)
    check_exports(store, network, out, exports)
    histories = read_histories(checkpoint, curves)
    hand, samples, tips = load_truth_hand([store], mano), list_samples(store, network), choose_fingertips(store)
    protocol = build_protocol(store, np.arange(len(store)), network, checkpoint, tips or "of the network")
    if against is not None:
        if Path(against).resolve() == out.resolve():
            raise InputError(f"--against {against}: is --out itself, whose results are replaced; give another --out")
        require_alike(Path(against), protocol)
    chosen = choose_device(device)
    network = network.for_inference().to(chosen)
    workers = loader_processes(batch_size * network.config.frames, num_workers, on_gpu=chosen.type != "cpu")
    batches = loader(samples, batch_size, num_workers=workers)
    regressor = None if tips is None else hand.joint_regressor_21(tips)
    is_ho3d = store.dataset in ho3d.FRAME_COUNTS and network.config.oriented
    keep = is_ho3d or exports.predictions is not None
    with closing(batches):
        scores, vertices = score_clips(network, batches, store, hand, regressor=regressor, keep=keep)
    facts = FrameFacts.of(store, scores.frame_index)
    metrics = summarise(scores, facts)
    if is_ho3d and vertices is not None:
        metrics |= score_as_ho3d(store, scores, facts, vertices)
    breakdown = break_down(scores, facts) | {"confidence_95": intervals(scores, facts)}
    write_json(out / "protocol.json", protocol)  # first: it says that the folder is an evaluation's
    write_exports(out, store, scores, facts, vertices, exports)
    if choice is not None:
        write_meshes(
            out, choice, network, samples, store, hand, scores, facts, regressor=regressor, batch_size=batch_size
        )
    for name, content in (("metrics", metrics), ("breakdown", breakdown)):
        write_json(out / f"{name}.json", content)
    if report:
        result = Result(metrics, breakdown, protocol, scores, facts)
        training = training_section(histories, out / "pieces")
        first = [*extra] if against is None else [*extra, compare_with(Path(against), out)]
        write_report(out, result, Drawer(network, samples, store, scores, hand), training=training, extra=first)
    return metrics


def compare_with(against: Path, out: Path) -> Section:
    """The page's section that sets the results just written to `out` beside those of another folder."""
    found = compare(against, out)
    return comparison_section(found.scored, HEADER, found.rows(), found.notes())


def as_path(given: str | Path | None) -> Path | None:
    """A path, or None where none is given."""
    return None if given is None else Path(given)


def check_exports(store: ClipStore, network: H2ONet, out: Path, exports: Exports) -> None:
    """Refuse exports that cannot be correct, or cannot be written, before any work is done."""
    require_writable(out, "--out")
    refuse_foreign(out)
    files = {
        "--ho3d-json": exports.ho3d_json,
        "--dexycb-txt": exports.dexycb_txt,
        "--predictions-out": exports.predictions,
    }
    for option, path in files.items():
        if path is not None:
            require_writable(path.absolute().parent, option)
    if exports.ho3d_json is not None and store.dataset not in ho3d.FRAME_COUNTS:
        raise InputError(
            f"--ho3d-json: {store.path} holds {store.dataset}; the HO3D format is for HO3D's evaluation frames"
        )
    if exports.dexycb_txt is not None and store.dataset != "dexycb":
        raise InputError(f"--dexycb-txt: {store.path} holds {store.dataset}; the toolkit's format is for DexYCB")
    if exports.dexycb_txt is not None:
        setup, split = store.attrs.get("setup"), store.attrs["split"]
        if setup not in SETUPS or split not in SPLITS:
            raise InputError(
                f"--dexycb-txt: {store.path} is of setup {brief(setup)}, split {brief(split)}; expected"
                f" {', '.join(SETUPS)} and {', '.join(SPLITS)}: build the clips again"
            )
        missing, whole = count_missing_recordings(store)
        if missing:
            log.warning(
                "--dexycb-txt: %d of %d recordings of this split are not in %s: its indices are dex-ycb-toolkit's only "
                "where labels were prepared from the whole download, and the toolkit wants all of them",
                missing, whole, store.path,
            )  # fmt: skip
    if (exports.ho3d_json is not None or exports.dexycb_txt is not None) and not network.config.oriented:
        raise InputError(
            "--checkpoint: is of stage 1, which knows no orientation; results for other scripts need a stage 2 network"
        )
    if exports.predictions is not None:
        check_predictions_path(exports.predictions)
    if exports.meshes is not None:
        exports.meshes.check(store, out)


def choose_fingertips(store: ClipStore) -> str | None:
    """The fingertip vertices of the truth, where they are not those that networks are trained with; else None.

    HO3D annotates other tip vertices than DexYCB (docs/hand.md): joints of the same mesh differ by 4 to 6 mm there. The
    authors submit DexYCB's tips to HO3D; here joints are regressed as the truth was.
    """
    return "ho3d" if store.dataset in ho3d.FRAME_COUNTS else None


def list_samples(store: ClipStore, network: H2ONet) -> ClipDataset:
    """The frames of a store in order, or for multi-frame networks the windows that end in them, without jitter."""
    past = network.config.frames - 1
    window = window_of(store.dataset, train=False, past=past, own=store.attrs.get("window")) if past else None
    return ClipDataset(str(store), frames=window)


def score_clips(
    network: H2ONet, batches: Any, store: ClipStore, hand: HandModel, *, regressor: NDArray | None, keep: bool
) -> tuple[FrameScores, NDArray[np.float32] | None]:
    """Score every sample; with `keep` also return its mesh (N, 778, 3) m, relative to its wrist and mirrored back."""
    device = next(network.parameters()).device
    given = store.index.get("vertices")
    parts, meshes, points = [], [], 0
    with torch.inference_mode(), tqdm(total=len(batches.dataset), unit="frame", desc="evaluate") as bar:
        timed = piece_timer(device, lambda text: tqdm.write(text, file=sys.stderr))
        for batch in batches:
            with timed():
                prediction = network(batch["images"].to(device))
            rows = np.asarray(batch["frame_index"]).reshape(len(batch["is_left"]), -1)[:, 0]
            check_finite(prediction.vertices, store, rows)
            points += count_points(prediction.vertices)
            truth = None if given is None else given[rows]
            parts.append(score_batch(batch, prediction, hand, truth, regressor=regressor))
            if keep:
                mesh = predicted_hands(prediction, regressor)[0].astype(np.float32)
                mesh[np.asarray(batch["is_left"], bool), :, 0] *= -1.0
                meshes.append(mesh)
            bar.update(len(rows))
    if points:
        log.warning(
            "%d of %d predicted hands are a single point; is the checkpoint broken?", points, len(batches.dataset)
        )
    return FrameScores.concatenate(parts), np.concatenate(meshes) if keep else None


def check_finite(vertices: torch.Tensor, store: ClipStore, rows: NDArray[np.int64]) -> None:
    """InputError naming the first frame whose mesh is not finite."""
    broken = np.flatnonzero(~torch.isfinite(vertices).flatten(1).all(1).cpu().numpy())
    if len(broken):
        row = int(rows[broken[0]])
        raise InputError(
            f"{store.path}: sequence {store.key(row)!r} frame {int(store.index['frame'][row])}: the network's mesh is "
            "not finite; the checkpoint is broken, take an earlier one"
        )


def count_points(vertices: torch.Tensor) -> int:
    """How many meshes (N, 778, 3) m are a single point: hands that only broken or empty weights give."""
    size = (vertices.amax(dim=1) - vertices.amin(dim=1)).amax(dim=1)
    return int((size < A_POINT).sum())


def score_as_ho3d(
    store: ClipStore, scores: FrameScores, facts: FrameFacts, vertices: NDArray[np.float32]
) -> dict[str, float]:
    """The official HO3D scores where the store holds the released truth of all frames; empty otherwise.

    Predictions are placed at the annotated wrist, as the field does: the "absolute" errors are root-aligned.
    """
    truth, root = store.index.get("vertices"), facts.root[:, None]
    if truth is None or not np.isfinite(facts.joints).all():
        return {}
    found = ho3d.from_camera(scores.joints + root, vertices + root)
    return official_scores(found, ho3d.from_camera(facts.joints + root, truth[scores.frame_index]))


def write_exports(
    out: Path,
    store: ClipStore,
    scores: FrameScores,
    facts: FrameFacts,
    vertices: NDArray[np.float32] | None,
    exports: Exports,
) -> None:
    """Write frames.npz and the files that were asked for; predictions are placed at the annotated wrist."""
    root, index = facts.root[:, None], facts.dataset_index
    keys = {"sequence": facts.sequence, "recording": facts.recording, "frame": facts.number}
    if exports.ho3d_json is not None and vertices is not None:
        order = np.argsort(index)
        joints = scores.joints + root
        archive = write_ho3d(exports.ho3d_json, joints[order], (vertices + root)[order], lines=index[order])
        log.info("%s and %s written", exports.ho3d_json, archive)
    if exports.dexycb_txt is not None:
        write_dexycb(exports.dexycb_txt, index, scores.joints + root)
    if exports.predictions is not None and vertices is not None:
        given = {name: store.index[name][scores.frame_index] for name in STORE_COLUMNS}
        write_predictions(exports.predictions, keys, given, scores.joints + root, vertices + root)
    errors = {"joint_errors_mm": scores.joint_errors * MM, "joint_errors_pa_mm": scores.joint_errors_pa * MM}
    write_frames(out, keys, frame_values(scores, facts) | errors)
