"""Parts of benchmarks/gpu.py about training: steps on one batch, steps fed by the loader, two stages that learn.

Images per second count pictures, so that a sample of the multi-frame network is three. They are means over a loop after
warm-up; memory is the allocator's peak.
"""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import learned
import learning as benchmark
import torch
from gpu_bench import Bench, fresh_network
from h2onet.data.clips import ClipDataset, window_of
from h2onet.data.loading.batches import loader
from h2onet.data.stores.clips import ClipStore
from h2onet.evaluation.truth import load_truth_hand
from h2onet.hand.mano import load_hand
from h2onet.network.checkpoint import load_checkpoint
from h2onet.training import inputs
from h2onet.training import machine as training_machine
from h2onet.training.distributed import Processes
from h2onet.training.guard import Guard
from h2onet.training.recipe import Recipe, load_recipe
from h2onet.training.steps import Stepper
from torch import Tensor

KINDS = {"single": "dexycb-single-stage2", "multi": "dexycb-multi-stage2"}
LEARNING_STEPS = 400


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
