"""How large are the departures from the authors' final code? Gradients per module at the start, and the start itself.

    python benchmarks/as_released.py --out runs/released [--clips clips.zarr] [--init CHECKPOINT] [--width 1]
                                     [--batch 8] [--batches 3] [--json benchmarks/as_released.json]

Without --clips it synthesizes 6 recordings into --out (the stand-in hand). Four questions, answered in the JSON file:
gradients: each module's gradient by default, divided by that with `as_released`, same weights, same batches, before
    clipping, means over the batches; from the released start, and with --init from a checkpoint too.
start: what a fresh network of either start says of the same pictures.
classifier: gradient of the occlusion classifier with batch statistics over all joints (here) and over the fingers' and
    the palm's joints apart (there).
ho3d: how far back the released past frames of HO3D lie, by position in a list without every 20th frame.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from h2onet.data.clips import ClipStore
from h2onet.data.loading.batches import collate
from h2onet.data.synthesize import SynthesizeSettings, synthesize
from h2onet.evaluation.truth import load_truth_hand
from h2onet.hand.mano import HandModel
from h2onet.network.h2onet import H2ONet
from h2onet.pipeline.build_clips import build_clips
from h2onet.pipeline.prepare_labels import LabelSettings, prepare_labels
from h2onet.training import inputs, losses
from h2onet.training.distributed import Processes
from h2onet.training.guard import Guard
from h2onet.training.recipe import Recipe, load_recipe
from h2onet.training.steps import Stepper
from torch import Tensor

Batches = list[dict[str, Tensor]]
PRESETS = ("single-stage1", "single-stage2", "multi-stage1", "multi-stage2")


def main() -> None:
    """Parse, make the data, measure, write."""
    parser = argparse.ArgumentParser(description="Sizes of the departures from the authors' final code.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--init", type=Path)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--batches", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    clips = options.clips or make_clips(options.out)
    hand = load_truth_hand([ClipStore.open(clips)], None)
    template = hand.arrays.v_template
    results = {
        "settings": {name: getattr(options, name) for name in ("width", "batch", "batches")} | {"frames": rows(clips)},
        "gradients": {name: compare(name, options, clips, hand) for name in PRESETS},
        "start": {kind: start(kind == "released", options, clips, hand) for kind in ("default", "released")},
        "classifier": classifier(options, clips, hand),
        "ho3d": ho3d_windows(),
        "middle_fingertip_mm": 1000 * float(np.linalg.norm(template[444] - template[445])),
    }
    text = json.dumps(results, indent=1)
    (options.json or options.out / "as_released.json").write_text(text + "\n")
    print(text)


def make_clips(out: Path) -> Path:
    """Clips of six synthesized recordings."""
    root, clips = out / "DEX_YCB", out / "clips.zarr"
    if not clips.exists():
        synthesize(SynthesizeSettings(root, "dexycb", 6, 12, 1, 0))
        labels = out / "labels.zarr"
        prepare_labels(LabelSettings(dataset="dexycb", root=root, split="train", mano=root / "mano", out=labels))
        build_clips(labels, clips)
    return clips


def rows(clips: Path) -> int:
    """Frames of a store."""
    return len(ClipStore.open(clips))


def recipe_of(name: str, options: argparse.Namespace, released: bool) -> Recipe:
    """The demo's recipe without clipping, which would hide sizes."""
    settings = [f"width={options.width}", f"batch_size={options.batch}", "clip_norm=1e9", "rotation_probability=0"]
    return load_recipe(f"demo-{name}", [*settings, f"as_released={str(released).lower()}"])


def load_batches(recipe: Recipe, options: argparse.Namespace, clips: Path) -> Batches:
    """The same batches for every variant, spread over the store."""
    samples = inputs.training_clips(recipe, clips)
    picked = np.linspace(0, len(samples) - 1, options.batch * options.batches).round().astype(int)
    order = np.random.default_rng(0).permutation(picked)
    return [collate([samples[int(i)] for i in part]) for part in order.reshape(options.batches, -1)]


def compare(name: str, options: argparse.Namespace, clips: Path, hand: HandModel) -> dict[str, dict[str, float]]:
    """Ratio of gradient norms, default to released, by module, from each kind of weights."""
    released = recipe_of(name, options, True)
    batches = load_batches(released, options, clips)
    found = {}
    for weights in ("released start", *(["--init"] if options.init else [])):
        norms = {}
        for kind in (False, True):
            torch.manual_seed(0)
            network = inputs.fresh_network(released, hand, None).train()
            if weights == "--init":
                inputs.load_initial_weights(network, released, options.init)
            norms[kind] = gradient_norms(network, recipe_of(name, options, kind), batches, hand, options.out)
        found[weights] = {part: round(norms[False][part] / norms[True][part], 3) for part in norms[False]}
        whole = [float(np.linalg.norm(list(norms[kind].values()))) for kind in (False, True)]
        found[weights] |= {"whole default": round(whole[0], 3), "whole released": round(whole[1], 3)}
    return found


def gradient_norms(network: H2ONet, recipe: Recipe, batches: Batches, hand: HandModel, out: Path) -> dict[str, float]:
    """Mean gradient norm of each module over the batches; the weights stay where they are."""
    if recipe.as_released:
        network.learn_joints()
    stepper = Stepper(
        network, hand, recipe, Guard(network, out / "skipped.jsonl", 1), dtype=None, device=torch.device("cpu"),
        processes=Processes(), name_frames=lambda batch: (),
    )  # fmt: skip
    stepper.set_rate(0.0)
    sums: dict[str, float] = {}
    for number, batch in enumerate(batches):
        stepper.step(batch, number, 0)
        squares: dict[str, float] = {}
        for name, value in network.named_parameters():
            if value.grad is not None and name != "joint_regressor":
                part = module_of(name)
                squares[part] = squares.get(part, 0.0) + float(value.grad.square().sum())
        for part, square in squares.items():
            sums[part] = sums.get(part, 0.0) + square**0.5 / len(batches)
    return sums


def module_of(name: str) -> str:
    """Backbone parts by two names, everything else by one."""
    return ".".join(name.split(".")[: 2 if name.startswith("backbone") else 1])


@torch.no_grad()
def start(released: bool, options: argparse.Namespace, clips: Path, hand: HandModel) -> dict[str, float]:
    """What an untrained multi-frame network says in training mode."""
    recipe = recipe_of("multi-stage2", options, released)
    batch = load_batches(recipe, options, clips)[0]
    torch.manual_seed(0)
    network = inputs.fresh_network(recipe, hand, None).train()
    seen = network.encode(batch["images"].flatten(0, 1)).unstack(recipe.frames)
    prediction = network.predict_window(seen)
    assert prediction.rotation is not None and prediction.correction is not None
    assert prediction.occlusion_logits is not None
    offset = prediction.canonical_vertices[:, 0] - seen.canonical_vertices[:, 0]
    corners = prediction.canonical_vertices.flatten(0, 1)[:, network.faces]
    edges = (corners - corners.roll(1, 2)).norm(dim=-1)
    return {
        "rotation_degrees": angle(prediction.rotation),
        "correction_degrees": angle(prediction.correction),
        "offset_mm": 1000 * float(offset.norm(dim=-1).mean()),
        "occlusion_loss": float(
            losses.occlusion_cross_entropy(
                prediction.occlusion_logits.flatten(0, 1),
                batch["occluded"].flatten(0, 1),
                float(losses.known_labels(batch["occluded"].flatten(0, 1))),
            )
        ),
        "median_edge_um": 1e6 * float(edges.median()),
        "edges_below_1_um": float((edges < losses.SHORTEST).float().mean()),
    }


def angle(rotation: Tensor) -> float:
    """Mean angle from the identity, degrees."""
    trace = rotation.diagonal(dim1=-2, dim2=-1).sum(-1)
    return float(torch.rad2deg(torch.arccos(((trace - 1) / 2).clamp(-1, 1))).mean())


def classifier(options: argparse.Namespace, clips: Path, hand: HandModel) -> dict[str, float]:
    """Loss and gradient of the occlusion classifier with joints normalised together and apart."""
    recipe = recipe_of("multi-stage1", options, True)
    batch = load_batches(recipe, options, clips)[0]
    torch.manual_seed(0)
    network = inputs.fresh_network(recipe, hand, None).train()
    with torch.no_grad():
        seen = network.backbone(batch["images"].flatten(0, 1), orientation=False)
        sampled = network.decoder.sample(seen.latent, seen.joints_2d)
    labels = batch["occluded"].flatten(0, 1)
    gradients, values = [], []
    for forward in (network.occlusion, lambda x: apart(network, x)):
        network.zero_grad()
        loss = losses.occlusion_cross_entropy(forward(sampled), labels, float(losses.known_labels(labels)))
        loss.backward()
        values.append(float(loss))
        gradients.append(torch.cat([p.grad.flatten() for p in network.occlusion.parameters() if p.grad is not None]))
    cosine = torch.nn.functional.cosine_similarity(gradients[0], gradients[1], dim=0)
    return {
        "loss together": values[0],
        "loss apart": values[1],
        "gradient ratio": float(gradients[0].norm() / gradients[1].norm()),
        "cosine": float(cosine),
    }


def apart(network: H2ONet, sampled: Tensor) -> Tensor:
    """The occlusion classifier with the fingers' joints and the palm's passing the shared layers apart."""
    module, x = network.occlusion, sampled.transpose(1, 2)
    joints = module.joint_layers(x.index_select(2, module.fingers))
    base = module.finger_base(joints.unflatten(2, (5, 4)).transpose(1, 2).flatten(1))
    palm = module.joint_layers(x.index_select(2, module.palm)).flatten(1)
    logits = [head(base) for head in module.finger_heads]
    return torch.stack([*logits, module.global_head(torch.cat([base, palm], 1))], -1)


def ho3d_windows(sequences: int = 55, frames: int = 1200) -> dict[str, object]:
    """Distances in frames of the released past frames, and the share of samples that look into another sequence."""
    listed = [(s, f) for s in range(sequences) for f in range(frames)]
    lists = {"train": [x for i, x in enumerate(listed) if i % 20], "val": listed[::20]}
    result: dict[str, object] = {}
    for split, samples in lists.items():
        distances: dict[int, set[int]] = {30: set(), 60: set()}
        across = 0
        for i, (sequence, frame) in enumerate(samples):
            steps = (30, 60) if frame >= 60 else (frame // 2, frame)
            past = [samples[i - step] for step in steps]
            across += any(other != sequence for other, _ in past)
            if frame >= 60 and all(other == sequence for other, _ in past):
                for step, (_, earlier) in zip(steps, past, strict=True):
                    distances[step].add(frame - earlier)
        result[split] = {
            "across the border": round(across / len(samples), 4),
            **{f"{step} back": [min(found), max(found)] if found else [] for step, found in distances.items()},
        }
    return result


if __name__ == "__main__":
    main()
