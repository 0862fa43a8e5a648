"""h2o evaluate: a checkpoint on clips, or a HO3D pred.json against the released ground truth.

Writes metrics.json (flat), breakdown.json, the page and, where asked for, the files that other scripts read. All files
are written at the end, each whole.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from ..data.batches import loader
from ..data.clips import ClipDataset, ClipStore, window_of
from ..hand.errors import InputError
from ..hand.mano import HandModel
from ..network.checkpoint import load_checkpoint
from ..network.h2onet import H2ONet
from . import ho3d
from .exports import write_atomically, write_dexycb, write_ho3d
from .protocol import protocol_of
from .report import Result, Section, write_report
from .scores import FrameScores, concatenated, score_batch
from .summary import break_down, summarise
from .truth import truth_hand

log = logging.getLogger(__name__)


def evaluate_clips(
    checkpoint: str | Path,
    clips: str | Path,
    out: str | Path,
    *,
    hierarchy: str | Path | None = None,
    ho3d_json: str | Path | None = None,
    dexycb_txt: str | Path | None = None,
    mano: str | Path | None = None,
    device: str = "auto",
    batch_size: int = 32,
    num_workers: int = 0,
    report: bool = True,
    extra: Sequence[Section] = (),
) -> dict[str, Any]:
    """Score a checkpoint on every frame of a clip store; returns what metrics.json holds.

    Also writes breakdown.json, protocol.json and, with `report`, report.html with the `extra` sections in it. Raises
    InputError for a checkpoint or store that cannot be read and for exports that the clips cannot give.
    """
    out, store = Path(out), ClipStore.open(clips)
    check_exports(store, ho3d_json, dexycb_txt)
    network = load_checkpoint(checkpoint, hierarchy)
    hand = truth_hand([str(clips)], mano)
    samples = clips_in_order(clips, network)
    where = chosen_device(device)
    scores, vertices = run(network, samples, store, hand, where, batch_size, num_workers, keep=ho3d_json is not None)
    metrics = summarise(scores)
    protocol = protocol_of(store, scores.frame_index, network, checkpoint)
    breakdown = break_down(scores, groups_of(store, scores.frame_index))
    write_json(out / "metrics.json", metrics)
    write_json(out / "breakdown.json", breakdown)
    write_json(out / "protocol.json", protocol)
    root = store.index["root"][scores.frame_index].astype(np.float64)[:, None]
    index = store.index["dataset_index"][scores.frame_index]
    if ho3d_json is not None and vertices is not None:
        order = np.argsort(index)
        joints = scores.joints + root
        archive = write_ho3d(Path(ho3d_json), joints[order], (vertices + root)[order], lines=index[order])
        log.info("%s and %s written", ho3d_json, archive)
    if dexycb_txt is not None:
        write_dexycb(Path(dexycb_txt), index, scores.joints + root)
    if report:
        write_report(out, Result(metrics, breakdown, protocol, scores), network, samples, hand, extra=extra)
    return metrics


def evaluate_predictions(
    predictions: str | Path, ground_truth: str | Path, dataset: str, out: str | Path
) -> dict[str, float]:
    """HO3D's official scores of a pred.json; metrics.json holds them under the keys of the official scores.txt."""
    if dataset not in ho3d.FRAMES:
        raise InputError(f"--dataset: expected {' or '.join(ho3d.FRAMES)}, found {dataset!r}")
    truth = ho3d.load_ground_truth(Path(ground_truth))
    predicted = ho3d.load_predictions(Path(predictions))
    ho3d.check_predictions(Path(predictions), predicted, truth)
    if len(truth.joints) != ho3d.FRAMES[dataset]:
        log.warning(
            "%s: %d frames, the whole of %s has %d", ground_truth, len(truth.joints), dataset, ho3d.FRAMES[dataset]
        )
    scores = ho3d.score(predicted, truth)
    write_json(Path(out) / "metrics.json", scores)
    return scores


def check_exports(store: ClipStore, ho3d_json: object, dexycb_txt: object) -> None:
    """Refuse exports of the other dataset before any work is done."""
    if ho3d_json is not None and store.dataset not in ho3d.FRAMES:
        raise InputError(
            f"--ho3d-json: {store.path} holds {store.dataset}; the HO3D format is for HO3D's evaluation frames"
        )
    if dexycb_txt is not None and store.dataset != "dexycb":
        raise InputError(f"--dexycb-txt: {store.path} holds {store.dataset}; the toolkit's format is for DexYCB")


def clips_in_order(clips: str | Path, network: H2ONet) -> ClipDataset:
    """The frames (or windows, without jitter) of a store, in order, as the network wants them."""
    past = network.config.frames - 1
    dataset = ClipStore.open(clips).dataset
    return ClipDataset(clips, frames=window_of(dataset, train=False, past=past) if past else None)


def chosen_device(device: str) -> torch.device:
    """`auto` is the GPU where there is one; InputError for a device that is not there."""
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device: expected auto, cpu or cuda, found {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: this torch sees no GPU; use --device auto, or install a CUDA build of torch")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def run(
    network: H2ONet,
    samples: ClipDataset,
    store: ClipStore,
    hand: HandModel,
    device: torch.device,
    batch_size: int,
    num_workers: int,
    *,
    keep: bool,
) -> tuple[FrameScores, NDArray[np.float32] | None]:
    """Scores of every sample and, with `keep`, its predicted mesh (N, 778, 3) m relative to its wrist, unmirrored."""
    network = network.for_inference().to(device)
    given = store.index.get("vertices")
    parts, meshes = [], []
    batches = loader(samples, batch_size, num_workers=num_workers)
    with torch.inference_mode(), tqdm(total=len(samples), unit="frame", desc="evaluate") as bar:
        for batch in batches:
            prediction = network(batch["images"].to(device))
            rows = np.asarray(batch["frame_index"]).reshape(len(batch["is_left"]), -1)[:, 0]
            parts.append(score_batch(batch, prediction, hand, None if given is None else given[rows]))
            if keep:
                mesh = (prediction.vertices - prediction.joints[:, :1]).float().cpu().numpy()
                mesh[np.asarray(batch["is_left"], bool), :, 0] *= -1.0
                meshes.append(mesh)
            bar.update(len(rows))
    return concatenated(parts), np.concatenate(meshes) if keep else None


def groups_of(store: ClipStore, rows: NDArray[np.int64]) -> dict[str, NDArray]:
    """What errors are broken down by: object, hand side and, for DexYCB, subject and camera, one value per frame."""
    names = np.array([*store.attrs.get("objects", []), "none"])
    groups = {
        "object": names[store.index["object_id"][rows]],
        "hand_side": np.where(store.index["is_left"][rows], "left", "right"),
    }
    keys = np.array([entry["key"] for entry in store.entries])[store.index["sequence_id"][rows]]
    if store.dataset == "dexycb":
        parts = np.array([key.split("/") for key in keys]).reshape(-1, 3)
        return groups | {"subject": parts[:, 0], "camera": parts[:, 2]}
    return groups | {"sequence": keys}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """A readable JSON file that appears whole."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))
