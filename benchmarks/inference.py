"""Predictions per second: single frame, multi-frame recomputed, multi-frame streaming; eager, folded, onnxruntime.

    python benchmarks/inference.py [--rounds 7] [--width 1.0]      writes benchmarks/inference.json beside itself

One prediction = one new 128 px picture of a stream, batch 1, one thread. "recomputed" encodes all three frames every
time, "streaming" only the new one and fuses it with kept features. All variants take turns within one process;
figures are medians over rounds, ratios are against the eager variant of the same kind. Meshes are compared with the
eager recomputed ones; weights are random, scaled so that meshes have the size of hands.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnxruntime
import torch
from h2onet.hand.hierarchy import build_hierarchy
from h2onet.hand.mano import load_hand
from h2onet.inference.export import export_onnx
from h2onet.network.checkpoint import save_checkpoint
from h2onet.network.h2onet import H2ONet, NetworkConfig, build_network
from numpy.typing import NDArray

Step = Callable[[int], NDArray]  # the mesh (778, 3) m of picture number n of the stream
FRAMES = 9
PAST = (2, 5)  # frames back; the first predictions repeat the first picture


def network(frames: int, width: float) -> H2ONet:
    """A random network whose meshes are spread like hands."""
    torch.manual_seed(0)
    hand = load_hand("standin")
    hierarchy = build_hierarchy(hand.arrays.v_template, hand.faces)
    model = build_network(NetworkConfig(frames=frames, width=width), hand, hierarchy).eval()
    with torch.inference_mode():
        for parameter in model.decoder.parameters():
            if parameter.ndim > 1:
                torch.nn.init.kaiming_normal_(parameter.flatten(1))
        picture = torch.rand(1, 3, 128, 128) if frames == 1 else torch.rand(1, frames, 3, 128, 128)
        model.decoder.head.linear.weight *= 0.04 / model(picture).vertices.std()
        if frames > 1:
            model.get_parameter("fusion.head.linear.weight").normal_(0, 0.01)
    return model


def window(number: int) -> list[int]:
    """Numbers of the current, short past and long past picture."""
    return [number, *(max(0, number - back) for back in PAST)]


def torch_steps(single: H2ONet, multi: H2ONet, video: torch.Tensor) -> dict[str, Step]:
    """The three kinds with PyTorch."""
    kept: dict[int, object] = {}

    def streaming(number: int) -> NDArray:
        if number == 0:
            kept.clear()
        kept[number] = multi.encode(video[number : number + 1])
        return multi.fuse(*(kept[n] for n in window(number))).vertices[0].numpy()  # type: ignore[arg-type]

    return {
        "single": lambda n: single(video[n : n + 1]).vertices[0].numpy(),
        "recomputed": lambda n: multi(video[window(n)][None]).vertices[0].numpy(),
        "streaming": streaming,
    }


def onnx_steps(single: H2ONet, multi: H2ONet, video: torch.Tensor, folder: Path) -> dict[str, Step]:
    """The three kinds with onnxruntime on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    saved = [save_checkpoint(folder / name, model) for name, model in (("one", single), ("many", multi))]
    files = [export_onnx(path, path.with_suffix(".onnx")) for path in saved]
    alone, backbone, fusion = (
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for path in (files[0][0], *files[1])
    )
    features = [output.name for output in backbone.get_outputs()]
    wanted = [given.name for given in fusion.get_inputs()]
    kept: dict[int, dict[str, NDArray]] = {}

    def encode(picture: NDArray) -> dict[str, NDArray]:
        return dict(zip(features, map(np.asarray, backbone.run(features, {"images": picture})), strict=True))

    def fuse(frames: list[dict[str, NDArray]]) -> NDArray:
        stacked = {name: np.stack([frame[name] for frame in frames], 1) for name in wanted}
        return np.asarray(fusion.run(["vertices"], stacked)[0])[0]

    def recomputed(number: int) -> NDArray:
        seen = encode(video[window(number)].numpy())
        return fuse([{name: value[t : t + 1] for name, value in seen.items()} for t in range(3)])

    def streaming(number: int) -> NDArray:
        if number == 0:
            kept.clear()
        kept[number] = encode(video[number : number + 1].numpy())
        return fuse([kept[n] for n in window(number)])

    def lone(number: int) -> NDArray:
        return np.asarray(alone.run(["vertices"], {"images": video[number : number + 1].numpy()})[0])[0]

    return {"single": lone, "recomputed": recomputed, "streaming": streaming}


def run(step: Step) -> tuple[float, NDArray]:
    """Seconds per prediction over the video, and all meshes."""
    meshes = []
    began = time.perf_counter()
    with torch.inference_mode():
        for number in range(FRAMES):
            meshes.append(step(number))
    return (time.perf_counter() - began) / FRAMES, np.stack(meshes)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--width", type=float, default=1.0)
    chosen = arguments.parse_args()
    torch.set_num_threads(1)
    single, multi = network(1, chosen.width), network(3, chosen.width)
    video = torch.rand(FRAMES, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    with tempfile.TemporaryDirectory() as folder:
        variants = {
            "eager": torch_steps(single, multi, video),
            "folded": torch_steps(single.for_inference(), multi.for_inference(), video),
            "onnxruntime": onnx_steps(single, multi, video, Path(folder)),
        }
        steps = {(kind, name): step for name, kinds in variants.items() for kind, step in kinds.items()}
        seconds: dict[tuple[str, str], list[float]] = {key: [] for key in steps}
        meshes = {key: run(step)[1] for key, step in steps.items()}  # also the warm-up
        for _ in range(chosen.rounds):
            for key, step in steps.items():
                seconds[key].append(run(step)[0])
    result: dict[str, object] = {
        "width": chosen.width,
        "rounds": chosen.rounds,
        "threads": 1,
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load": os.getloadavg()[0],
    }
    print(f"{'':<28}{'frames/s':>9}{'against eager':>15}{'largest difference, m':>24}")
    for kind, name in steps:
        own = statistics.median(seconds[kind, name])
        ratio = statistics.median(a / b for a, b in zip(seconds[kind, "eager"], seconds[kind, name], strict=True))
        reference = meshes["single" if kind == "single" else "recomputed", "eager"]
        difference = float(np.abs(meshes[kind, name] - reference).max())
        print(f"{kind + ', ' + name:<28}{1 / own:>9.1f}{ratio:>15.2f}{difference:>24.1e}")
        result[f"{kind}, {name}"] = {"frames_per_second": 1 / own, "against_eager": ratio, "difference_m": difference}
    for name in variants:
        gain = statistics.median(
            a / b for a, b in zip(seconds["recomputed", name], seconds["streaming", name], strict=True)
        )
        print(f"streaming against recomputed, {name}: {gain:.2f}")
        result[f"streaming against recomputed, {name}"] = gain
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
