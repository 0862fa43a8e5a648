"""Parts of benchmarks/gpu.py about predictions and labels.

Milliseconds are medians over calls that wait for the device.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from gpu_bench import Bench, NotHere, fresh_network
from gpu_training import steps_per_second
from h2onet.data.datasets import iter_frames, list_sequences
from h2onet.data.frame import Frame
from h2onet.errors import InputError
from h2onet.inference.latency import median_ms
from h2onet.labeling.label import label_frames
from h2onet.labeling.objects import ObjectLibrary
from h2onet.labeling.pose import load_hands
from h2onet.labeling.renderers import make_renderer
from h2onet.network.h2onet import H2ONet

PRECISIONS = ("float32", "bfloat16")


def inference(bench: Bench) -> None:
    """Milliseconds and pictures per second: single, multi, streaming; as trained and folded; two precisions."""
    for kind, frames in (("single", 1), ("multi", 3)):
        network = fresh_network(frames, bench.width)
        bench.report(f"{kind}, largest difference in mm", differences(network, bench))
        for prepared, name in ((network.to(bench.device), "as trained"), (network.for_inference(), "folded")):
            for precision in PRECISIONS[: 1 if bench.smoke else 2]:
                if not bench.time_left():
                    return
                bench.report(f"{kind}, {name}, {precision}", latencies(prepared.to(bench.device), precision, bench))


def latencies(network: Any, precision: str, bench: Bench, call: Any = None) -> dict[str, dict[str, float]]:
    """By batch: milliseconds of a call and predictions per second; of a multi-frame network also streaming."""
    device, frames = bench.device, network.config.frames
    half = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
    found: dict[str, dict[str, float]] = {}
    with torch.inference_mode(), half:
        for batch in (1,) if bench.smoke else (1, 8, 64):
            images = torch.rand(batch, 3, 128, 128, device=device)
            window = images if frames == 1 else torch.rand(batch, frames, 3, 128, 128, device=device)
            calls: dict[str, Callable[[], object]] = {"": partial(network if call is None else call, window)}
            if frames > 1 and call is None:
                past = [network.encode(images) for _ in range(frames - 1)]
                calls["streaming, "] = lambda images=images, past=past: network.fuse(network.encode(images), *past)
            for name, action in calls.items():
                spent = median_ms(action, bench.wait, 0.01 if bench.smoke else 0.6)
                found[f"{name}batch {batch}"] = {"ms": round(spent, 3), "per_s": round(1e3 * batch / spent, 1)}
    return found


@torch.inference_mode()
def differences(network: H2ONet, bench: Bench) -> dict[str, float]:
    """How far a mesh's vertices lie at most from those in float64 on the CPU, mm."""
    shape = (2, 3, 128, 128) if network.config.frames == 1 else (2, network.config.frames, 3, 128, 128)
    images = torch.rand(shape, generator=torch.Generator().manual_seed(2))
    folded = network.for_inference()
    exact = network.for_inference().double()(images.double()).vertices
    moved, found = folded.to(bench.device), {}
    for precision in PRECISIONS:
        for tf32 in (False, True) if precision == "float32" and bench.device.type == "cuda" else (None,):
            with (
                torch.autocast(bench.device.type, torch.bfloat16, enabled=precision == "bfloat16"),
                torch.backends.cudnn.flags(allow_tf32=torch.backends.cudnn.allow_tf32 if tf32 is None else tf32),
            ):
                given = moved(images.to(bench.device)).vertices.cpu().double()
            name = precision if tf32 is None else f"{precision}, {'with' if tf32 else 'without'} TF32"
            found[name] = float(f"{1e3 * (given - exact).abs().max():.3g}")
    return found


def labels(bench: Bench) -> None:
    """Frames per second of both renderers over the same frames, and how often their labels agree."""
    root = bench.folder / "DEX_YCB"
    if not root.is_dir():
        raise RuntimeError("needs the dataset of the part data, which did not make it")
    sequences = list_sequences("dexycb", root, "train", mano=root / "mano", warn=False)
    every = (frame for sequence in sequences for frame in iter_frames(sequence) if isinstance(frame, Frame))
    frames = [frame for _, frame in zip(range(8 if bench.smoke else 400), every, strict=False)]
    hands, objects = load_hands(root / "mano"), ObjectLibrary(root / "models")
    found: dict[str, np.ndarray] = {}
    bench.report("frames", len(frames))
    for name in ("cpu", "pyrender"):
        try:
            renderer = make_renderer(name)
        except InputError as error:
            raise NotHere(str(error)) from None
        label_frames(frames[:2], hands, objects, renderer)
        begun = time.perf_counter()
        found[name] = label_frames(frames, hands, objects, renderer).occluded
        bench.report(f"{name}_frames_per_s", round(len(frames) / (time.perf_counter() - begun), 1))
        renderer.close()
    bench.report("equal labels", float((found["cpu"] == found["pyrender"]).mean()))


def compiled(bench: Bench) -> None:
    """torch.compile, last because it takes longest and is likeliest to fail: predictions, then training steps."""
    backend = "aot_eager" if bench.smoke else "inductor"
    bench.report("backend", backend)
    for kind, frames in (("single", 1), ("multi", 3)):
        if bench.smoke and frames > 1:
            return
        ready = fresh_network(frames, bench.width).for_inference().to(bench.device)
        for precision in PRECISIONS[: 1 if bench.smoke else 2]:
            if not bench.time_left(20):
                return
            torch.compiler.reset()
            call = torch.compile(ready, backend=backend, dynamic=False)
            bench.report(f"{kind}, folded, {precision}", latencies(ready, precision, bench, call))
        if bench.smoke or not bench.time_left(30):
            return
        torch.compiler.reset()
        bench.report(f"{kind}, training, bf16", steps_per_second(bench, kind, 32, "bf16", True, backend))
