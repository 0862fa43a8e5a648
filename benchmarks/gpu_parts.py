"""The parts of benchmarks/gpu.py: each measures one thing and reports figures as it goes.

Images per second count pictures, so that a sample of the multi-frame network is three. Memory is the allocator's peak.
Throughputs are means over the time of a loop after warm-up, latencies medians over calls that wait for the device.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import learned
import learning as benchmark
import numpy as np
import torch
from h2onet.cores import granted_cores
from h2onet.data.clips import ClipDataset, window_of
from h2onet.data.datasets import iter_frames, list_sequences
from h2onet.data.frame import Frame
from h2onet.data.loading.batches import loader
from h2onet.data.stores.clips import ClipStore
from h2onet.errors import InputError
from h2onet.evaluation.truth import load_truth_hand
from h2onet.hand.hierarchy import Hierarchy, build_hierarchy
from h2onet.hand.mano import load_hand
from h2onet.inference.latency import median_ms
from h2onet.labeling.label import label_frames
from h2onet.labeling.objects import ObjectLibrary
from h2onet.labeling.pose import load_hands
from h2onet.labeling.renderers import make_renderer
from h2onet.network.checkpoint import load_checkpoint
from h2onet.network.h2onet import H2ONet, NetworkConfig, build_network
from h2onet.training import inputs
from h2onet.training import machine as training_machine
from h2onet.training.distributed import Processes
from h2onet.training.guard import Guard
from h2onet.training.recipe import Recipe, load_recipe
from h2onet.training.steps import Stepper
from torch import Tensor

SMOKE_WIDTH = 0.125
KINDS = {"single": "dexycb-single-stage2", "multi": "dexycb-multi-stage2"}
PRECISIONS = ("float32", "bfloat16")
FULL_DATA = {"recordings": 60, "frames": 20, "cameras": 3}
SMOKE_DATA = {"recordings": 20, "frames": 2, "cameras": 1}
LEARNING_STEPS = 400


class NotHere(Exception):
    """A part does not apply to this machine; the text says why. Not a failure."""


@dataclass
class Bench:
    """What every part is told, and where it reports to: the device, the folder shared by all parts, its seconds."""

    device_name: str
    smoke: bool
    folder: Path
    seed: int
    seconds: float = 60.0
    stopped: bool = False
    report: Callable[[str, Any], None] = field(default=lambda name, value: None)
    began: float = 0.0

    def begin(self, report: Callable[[str, Any], None]) -> None:
        """Start the clock in the part's own process."""
        self.report, self.began = report, time.monotonic()

    @property
    def device(self) -> torch.device:
        """The device, made current. InputError where there is none."""
        return training_machine.pick_device(self.device_name)

    @property
    def width(self) -> float:
        """Of the networks."""
        return SMOKE_WIDTH if self.smoke else 1.0

    def time_left(self, needed: float = 0.0) -> bool:
        """Whether so many seconds are left; a part that is told no has not measured all."""
        left = time.monotonic() - self.began + needed < self.seconds
        self.stopped |= not left
        return left

    def wait(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def options(self) -> argparse.Namespace:
        """What benchmarks/learning.py is told."""
        sizes = SMOKE_DATA if self.smoke else FULL_DATA
        batch = 4 if self.smoke else 32
        return argparse.Namespace(
            out=self.folder, seed=self.seed, width=self.width, batch=batch, epochs_scale=1.0,
            device=self.device_name, smoke=self.smoke, workers=1 if self.smoke else None, **sizes,
        )  # fmt: skip

    def clips(self) -> dict[str, Path]:
        """The clips that the part `data` has made. RuntimeError where it has not."""
        found = {split: self.folder / f"{split}.zarr" for split in benchmark.SPLITS}
        if not all(path.exists() for path in found.values()):
            raise RuntimeError("needs the clips of the part data, which did not make them")
        return found


def machine(bench: Bench) -> None:
    """What it ran on."""
    bench.report("torch", f"{torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}")
    bench.report("cores", granted_cores())
    bench.report("convolutions in TF32", torch.backends.cudnn.allow_tf32)
    bench.report("matrix products", torch.get_float32_matmul_precision())
    if bench.device.type == "cuda":
        found = torch.cuda.get_device_properties(bench.device)
        bench.report("GPU", f"{found.name}, {found.total_memory / 2**30:.0f} GiB, compute {found.major}.{found.minor}")
        bench.report("amp=auto", str(training_machine.autocast_dtype("auto", bench.device)))


def data(bench: Bench) -> None:
    """Clips of synthesized recordings for the later parts."""
    began = time.perf_counter()
    clips = benchmark.make_data(bench.options(), "lift")
    bench.report("seconds", round(time.perf_counter() - began, 1))
    bench.report("frames", {split: len(ClipStore.open(path)) for split, path in clips.items()})


def training(bench: Bench) -> None:
    """Steps on one batch that lies on the device: forward, all losses, backward, clipping, Adam."""
    size = 4 if bench.smoke else 32
    variants = [(amp, channels_last) for amp in ("off", "bf16") for channels_last in (True, False)]
    for kind in KINDS:
        for amp, channels_last in variants[:1] if bench.smoke else variants:
            if not bench.time_left():
                return
            name = f"{kind}, {amp}, {'channels-last' if channels_last else 'contiguous'}"
            bench.report(name, steps_per_second(bench, kind, size, amp, channels_last))
        if bench.device.type == "cuda" and bench.time_left():
            with_larger(bench, kind, size)


def with_larger(bench: Bench, kind: str, size: int) -> None:
    """The largest batch, a power of two, that four fifths of the memory hold by the peak of a smaller one."""
    small = steps_per_second(bench, kind, size, "bf16", True, seconds=0.5)["peak_gib"]
    total = torch.cuda.get_device_properties(bench.device).total_memory / 2**30
    most = min(2048, 2 ** int(math.log2(max(size, size * 0.8 * total / small))))
    while most > size and bench.time_left():
        bench.report(f"{kind}, bf16, channels-last, batch {most}", steps_per_second(bench, kind, most, "bf16", True))
        most //= 4


def steps_per_second(
    bench: Bench, kind: str, size: int, amp: str, channels_last: bool, compile_with: str = "", seconds: float = 2.5
) -> dict[str, float]:
    """Images and samples per second and peak memory of training steps on a random batch."""
    device = bench.device
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    recipe = recipe_of(bench, kind, size, amp, channels_last)
    step = stepper(bench, recipe, compile_with)
    batch = training_machine.to_device(random_batch(recipe), device, recipe.channels_last)
    begun = time.perf_counter()
    count = iter(range(1, 10**9))
    for _ in range(1 if bench.smoke else 3):
        step.step(batch, next(count), 0)
    bench.wait()
    warm = time.perf_counter() - begun
    rate = per_second(lambda: step.step(batch, next(count), 0), bench, seconds)
    found = {
        "batch": size,
        "samples_per_s": round(rate * size, 2),
        "images_per_s": round(rate * size * recipe.frames, 2),
        "first_steps_s": round(warm, 2),
    }
    if device.type == "cuda":
        found["peak_gib"] = round(torch.cuda.max_memory_allocated(device) / 2**30, 3)
    return found


def per_second(call: Callable[[], object], bench: Bench, seconds: float) -> float:
    """Calls per second, over about so many seconds; the device's work counts."""
    seconds = 0.0 if bench.smoke else seconds
    begun, calls = time.perf_counter(), 0
    while calls < 1 or time.perf_counter() - begun < seconds:
        call()
        calls += 1
    bench.wait()
    return calls / (time.perf_counter() - begun)


def recipe_of(bench: Bench, kind: str, size: int, amp: str, channels_last: bool = True) -> Recipe:
    """The authors' recipe of stage 2 with another batch, number format and layout."""
    settings = (f"width={bench.width}", f"batch_size={size}", f"amp={amp}", f"channels_last={channels_last}".lower())
    return load_recipe(KINDS[kind], settings)


def stepper(bench: Bench, recipe: Recipe, compile_with: str = "") -> Stepper:
    """What `h2o train` takes its steps with, over a fresh network and the stand-in hand."""
    device = bench.device
    training_machine.prepare(recipe, device)
    hand = load_hand("standin").to(device)
    network = fresh_network(recipe.frames, recipe.width).train().to(device)
    if recipe.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    called: Any = torch.compile(network, backend=compile_with) if compile_with else network
    return Stepper(
        called,
        hand,
        recipe,
        Guard(network, bench.folder / "skipped.jsonl", recipe.skip_limit),
        dtype=training_machine.autocast_dtype(recipe.amp, device),
        device=device,
        processes=Processes(),
        name_frames=lambda batch: (),
    )


@cache
def hierarchy() -> Hierarchy:
    """The stand-in hand's mesh levels; they take seconds to make, so all parts share them."""
    hand = load_hand("standin")
    return build_hierarchy(hand.arrays.v_template, hand.faces)


def fresh_network(frames: int, width: float) -> H2ONet:
    """An untrained network of stage 2, the same every time, whose meshes have the size of hands: 4 cm from the mean."""
    torch.manual_seed(0)
    model = build_network(NetworkConfig(frames, width), load_hand("standin"), hierarchy()).eval()
    with torch.inference_mode():
        for parameter in model.decoder.parameters():
            if parameter.ndim > 1:
                torch.nn.init.kaiming_normal_(parameter.flatten(1))
        images = torch.rand(1, 3, 128, 128) if frames == 1 else torch.rand(1, frames, 3, 128, 128)
        model.decoder.head.linear.weight *= 0.04 / model(images).vertices.std()
    return model


def random_batch(recipe: Recipe) -> dict[str, Tensor]:
    """A batch as the loader gives it, of random pictures and poses."""
    generator = torch.Generator().manual_seed(1)
    lead = (recipe.batch_size,) if recipe.frames == 1 else (recipe.batch_size, recipe.frames)
    return {
        "images": torch.rand(*lead, 3, 128, 128, generator=generator),
        "mano_pose": 0.3 * torch.randn(*lead, 48, generator=generator),
        "mano_shape": torch.randn(*lead, 10, generator=generator),
        "joints_2d": torch.rand(*lead, 21, 2, generator=generator),
        "occluded": torch.randint(0, 2, (*lead, 7), generator=generator, dtype=torch.uint8),
    }


def loading(bench: Bench) -> None:
    """Share of the time that training waits for 8 loader processes, and what they give when nothing else is done."""
    clips, device = bench.clips(), bench.device
    workers = 1 if bench.smoke else 8
    size = 4 if bench.smoke else 32
    seconds = 0.5 if bench.smoke else 8.0
    for kind in KINDS:
        if not bench.time_left(seconds):
            return
        recipe = recipe_of(bench, kind, size, "auto")
        samples = inputs.training_clips(recipe, clips["train"])
        batches = loader(
            samples, size, shuffle=True, num_workers=workers, drop_last=True, pin_memory=device.type == "cuda"
        )
        step = stepper(bench, recipe)
        found: dict[str, float] = {"workers": workers, "batch": size}
        for name, action in (("alone", None), ("training", step)):
            waited, total, count = waiting(batches, action, seconds)
            found[f"{name}_images_per_s"] = round(count * size * recipe.frames / total, 1)
            found[f"{name}_waiting_share"] = round(waited / total, 4)
        bench.report(kind, found)


def waiting(batches: Any, step: Stepper | None, seconds: float) -> tuple[float, float, int]:
    """Seconds waited for batches, seconds in all, batches; after two batches that start processes and kernels."""
    endless: Iterator[dict[str, Tensor]] = (batch for _ in iter(int, 1) for batch in batches)
    waited, count, begun = 0.0, -2, 0.0
    while count < 1 or time.perf_counter() - begun < seconds:
        asked = time.perf_counter()
        batch = next(endless)
        got = time.perf_counter()
        if step is not None:
            step.step(batch, 1, 0)
        count += 1
        if count == 0:
            begun = time.perf_counter()
        elif count > 0:
            waited += got - asked
    return waited, time.perf_counter() - begun, count


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


def learning(bench: Bench) -> None:
    """Two stages of benchmarks/learning.py: their curves, and the error on people and objects that were not seen."""
    clips, options, device = bench.clips(), bench.options(), bench.device
    per_epoch = max(1, len(ClipStore.open(clips["train"])) // options.batch)
    epochs = max(1, LEARNING_STEPS // per_epoch)
    stages = (
        benchmark.Stage("single-stage1", "demo-single-stage1", None, epochs),
        benchmark.Stage("multi-stage2", "demo-multi-stage2", "single-stage1", max(1, epochs // 2)),
    )
    hand = load_truth_hand([ClipStore.open(clips["test"])]).to(device)
    held_out = ClipDataset(clips["test"], frames=window_of("dexycb", train=False), require_pose=True)
    for stage in stages:
        if not bench.time_left():
            return
        benchmark.train_stage(stage, options, clips, device.type == "cpu")
        network = load_checkpoint(bench.folder / stage.name / "last").to(device)
        guess, truth = learned.predict(network, held_out, hand, device, past=True)
        error = {"frames": len(truth.joints), **learned.overall(guess, truth)}
        bench.report(stage.name, {"held_out": error, **benchmark.history(bench.folder / stage.name)})


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
