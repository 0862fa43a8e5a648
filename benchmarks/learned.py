"""What benchmarks/learning.py measures of trained networks on held-out frames.

Metres inside, mm and degrees in results.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from h2onet.data.clips import ClipDataset, window_of
from h2onet.data.loading.batches import loader
from h2onet.data.stores.clips import ClipStore
from h2onet.evaluation.metrics import point_errors, rotation_error, similarity_aligned
from h2onet.evaluation.scoring.confidence import bootstrap_interval, recordings
from h2onet.evaluation.truth import load_truth_hand
from h2onet.hand.mano import HandModel
from h2onet.hand.parts import FINGERS
from h2onet.network.checkpoint import load_checkpoint
from h2onet.network.h2onet import H2ONet
from h2onet.training.stages import make_targets


@dataclass(frozen=True)
class Predictions:
    """One network on the held-out frames.

    joints (N, 21, 3) m relative to the wrist, rotation (N, 3, 3), logits (N, 2, 6).
    """

    joints: np.ndarray
    rotation: np.ndarray
    logits: np.ndarray | None


@dataclass(frozen=True)
class Truth:
    """The held-out frames: joints as predicted ones, rotation, occluded (N, T, 7), each frame's recording (N,)."""

    joints: np.ndarray
    rotation: np.ndarray
    occluded: np.ndarray
    recording: np.ndarray


def measure(runs: Path, clips: Path, device: torch.device) -> dict:
    """The answers, on held-out clips, for the networks of the benchmark's run folders."""
    hand = load_truth_hand([ClipStore.open(clips)]).to(device)
    samples = ClipDataset(clips, frames=window_of("dexycb", train=False), require_pose=True)
    canonical, single, multi = (
        load_checkpoint(runs / name / "last").to(device)
        for name in ("single-stage1", "single-stage2-on", "multi-stage2")
    )
    guesses, truth = {}, None
    for name, network, past in (
        ("canonical", canonical, True),
        ("single", single, True),
        ("multi", multi, True),
        ("multi without past", multi, False),
    ):
        guesses[name], truth = predict(network, samples, hand, device, past=past)
    assert truth is not None
    return {
        "frames": len(truth.joints),
        "recordings": len(np.unique(truth.recording)),
        "errors_mm": {name: overall(guess, truth) for name, guess in guesses.items() if name != "canonical"},
        "orientation": orientation(guesses, truth),
        "occlusion": occlusion(guesses["multi"], truth),
        "hidden_but_seen_earlier": hidden_fingers(guesses, truth),
    }


@torch.no_grad()
def predict(
    network: H2ONet, samples: ClipDataset, hand: HandModel, device: torch.device, *, past: bool
) -> tuple[Predictions, Truth]:
    """A network on windows; a single-frame one takes the current frame.

    Without `past` all frames are the current one.
    """
    found: dict[str, list[np.ndarray]] = {
        key: [] for key in ("joints", "rotation", "logits", "true", "turn", "occluded", "row")
    }
    for batch in loader(samples, 16):
        moved = {name: value.to(device) for name, value in batch.items()}
        images = moved["images"] if past else moved["images"][:, :1].expand_as(moved["images"])
        output = network(images if network.config.frames > 1 else images[:, 0])
        target = make_targets(
            {name: moved[name][:, 0] for name in ("mano_pose", "mano_shape", "joints_2d", "occluded")}, hand
        )
        turn = output.rotation if output.rotation is not None else torch.eye(3, device=device).expand(len(images), 3, 3)
        turn = turn[:, 0] if turn.dim() == 4 else turn
        turn = turn if output.correction is None else output.correction @ turn
        values = {
            "joints": output.joints - output.joints[:, :1],
            "rotation": turn,
            "true": target.oriented_joints - target.oriented_joints[:, :1],
            "turn": target.rotation,
            "occluded": moved["occluded"],
            "row": moved["frame_index"][:, 0],
        }
        if output.occlusion_logits is not None:
            values["logits"] = output.occlusion_logits[:, 0]
        for name, value in values.items():
            found[name].append(value.cpu().numpy())
    arrays = {name: np.concatenate(parts) for name, parts in found.items() if parts}
    guess = Predictions(arrays["joints"], arrays["rotation"], arrays.get("logits"))
    store = ClipStore.open(samples.paths[0])
    keys = np.array([entry["key"] for entry in store.entries])
    recording = recordings(keys, store.dataset)[store.index["sequence_id"][arrays["row"]]]
    return guess, Truth(arrays["true"], arrays["turn"], arrays["occluded"], recording)


def overall(guess: Predictions, truth: Truth) -> dict[str, float]:
    """MPJPE relative to the wrist and after Procrustes alignment, mm."""
    aligned = similarity_aligned(guess.joints, truth.joints)
    return {
        "mpjpe_mm": round(float(point_errors(guess.joints, truth.joints).mean()) * 1e3, 2),
        "pa_mpjpe_mm": round(float(point_errors(aligned, truth.joints).mean()) * 1e3, 2),
    }


def orientation(guesses: dict[str, Predictions], truth: Truth) -> dict[str, float]:
    """Angle to the true rotation, degrees, and joint errors.

    Of stage 1 (no rotation), of always the mean rotation, and of stage 2.
    """
    mean = truth.rotation.mean(0)
    left, _, right = np.linalg.svd(mean)
    constant = np.broadcast_to(left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right, truth.rotation.shape)
    angles = {"stage 1": guesses["canonical"].rotation, "best constant": constant, "stage 2": guesses["multi"].rotation}
    result = {
        f"{name} degrees": round(float(np.degrees(rotation_error(turn, truth.rotation)).mean()), 1)
        for name, turn in angles.items()
    }
    for name, key in (("stage 1", "canonical"), ("stage 2", "multi")):
        result[f"{name} mpjpe_mm"] = round(float(point_errors(guesses[key].joints, truth.joints).mean()) * 1e3, 1)
    return result


def occlusion(guess: Predictions, truth: Truth) -> dict[str, dict[str, float]]:
    """Accuracy per finger on known labels, beside always saying the test set's commoner class."""
    assert guess.logits is not None
    result = {}
    for i, finger in enumerate(FINGERS):
        labels = truth.occluded[:, 0, i]
        known = labels != 255
        right = guess.logits.argmax(1)[known, i] == labels[known]
        share = float(labels[known].mean())
        result[finger] = {"accuracy": round(float(right.mean()), 4), "majority": round(max(share, 1 - share), 4)}
    return result


def hidden_fingers(
    guesses: dict[str, Predictions], truth: Truth, kinds: tuple[str, ...] = ("aligned", "to wrist")
) -> dict[str, dict]:
    """Error of a finger's four joints by what is seen of it: now, only earlier, never in the window; mm, per finger.

    Differences are paired, multi-frame minus another network, with a 95 % bootstrap interval over recordings.
    """
    hidden = truth.occluded[:, :, : len(FINGERS)] == 1
    groups = {
        "visible now": ~hidden[:, 0],
        "hidden now, seen earlier": hidden[:, 0] & ~hidden[:, 1:].all(1),
        "never seen": hidden.all(1),
    }
    result: dict[str, dict] = {name: {"fingers": int(chosen.sum())} for name, chosen in groups.items()}
    for kind in kinds:
        errors = {name: finger_errors(guess, truth, aligned=kind == "aligned") for name, guess in guesses.items()}
        for group, chosen in groups.items():
            if not chosen.any():
                continue
            clusters = truth.recording[np.nonzero(chosen)[0]]
            mean = {name: round(float(values[chosen].mean()), 2) for name, values in errors.items()}
            result[group][kind] = {name: mean[name] for name in ("single", "multi", "multi without past")}
            for other in ("single", "multi without past"):
                difference = (errors["multi"] - errors[other])[chosen]
                interval = bootstrap_interval(difference, clusters)
                result[group][kind][f"multi - {other}"] = {
                    "mean": round(float(difference.mean()), 2),
                    "interval": None if interval is None else [round(end, 2) for end in interval],
                }
    return result


def finger_errors(guess: Predictions, truth: Truth, *, aligned: bool) -> np.ndarray:
    """Mean error of each finger's four joints, (N, 5) mm, after Procrustes alignment of the hand or about the wrist."""
    joints = similarity_aligned(guess.joints, truth.joints) if aligned else guess.joints
    return 1e3 * point_errors(joints, truth.joints)[:, 1:].reshape(-1, len(FINGERS), 4).mean(2)
