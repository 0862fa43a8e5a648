"""How long one frame takes, by stage, precision and preparation of the network: what `h2o benchmark` prints.

Milliseconds, the median over repeated calls at batch 1 after warm-up; on a GPU every call waits for the device.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ..cores import granted_cores
from ..data.loading.crops import SIZE
from ..errors import InputError
from ..network.checkpoint import load_checkpoint
from ..network.device import choose_device
from ..network.h2onet import H2ONet
from ..network.threads import pinned, use_granted_cores
from .predictor import Predictor, crop

PICTURE = (480, 640, 3)
BOX = np.array([220.0, 140.0, 420.0, 340.0])
WARM_UP = 3


@dataclass(frozen=True)
class Timing:
    """One line: what ran, how the network was prepared, in which precision, and its median milliseconds."""

    stage: str
    network: str
    precision: str
    milliseconds: float


@dataclass(frozen=True)
class Latency:
    """All lines, and the machine they were measured on."""

    machine: str
    timings: list[Timing]

    def __str__(self) -> str:
        lines = [f"{'stage':<24}{'network':<10}{'precision':<11}{'ms':>8}{'per second':>12}"]
        lines += [
            f"{t.stage:<24}{t.network:<10}{t.precision:<11}{t.milliseconds:>8.2f}{1000 / t.milliseconds:>12.1f}"
            for t in self.timings
        ]
        return "\n".join([*lines, self.machine])


def measure(
    checkpoint: str | Path, *, hierarchy: str | Path | None = None, device: str = "auto", seconds: float = 1.0
) -> Latency:
    """Time every stage for about `seconds` each: crop, backbone and decoder (encode), fusion, a whole Predictor call.

    A multi-frame network is also timed the other way round, with all frames encoded again for every prediction.
    """
    if not seconds > 0:
        raise InputError(f"--seconds: expected more than 0, found {seconds}")
    where = choose_device(device)
    if not pinned():
        use_granted_cores()
    network = load_checkpoint(checkpoint, hierarchy)
    wait = partial(torch.cuda.synchronize, where) if where.type == "cuda" else lambda: None
    picture = np.random.default_rng(0).integers(0, 256, PICTURE, dtype=np.uint8)
    timings = [Timing("crop", "-", "-", median_ms(lambda: crop(picture, BOX, left=False), wait, seconds))]
    for name, prepared in (("as loaded", network), ("folded", network.for_inference())):
        prepared = prepared.eval().to(where)
        for precision in ("float32", "bfloat16"):
            for stage, call in stages(prepared, where, precision, picture).items():
                timings.append(Timing(stage, name, precision, median_ms(call, wait, seconds)))
    return Latency(machine(where), timings)


def stages(
    network: H2ONet, device: torch.device, precision: str, picture: np.ndarray
) -> dict[str, Callable[[], object]]:
    """The calls to time, by name, of one network in one precision."""
    frames = network.config.frames
    image = torch.rand(1, 3, SIZE, SIZE, device=device)
    half = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")

    def within(call: Callable[[], object]) -> Callable[[], object]:
        def run() -> object:
            with torch.inference_mode(), half:
                return call()

        return run

    with torch.inference_mode(), half:
        seen = network.encode(image)
    calls = {"encode": within(lambda: network.encode(image))}
    calls["fuse and orient"] = within(lambda: network.fuse(*[seen] * frames))
    if frames > 1:
        window = torch.rand(1, frames, 3, SIZE, SIZE, device=device)
        calls[f"all {frames} frames anew"] = within(lambda: network(window))
    if network.prepared:
        predictor = Predictor(network, device=str(device), precision=precision, track=False)
        calls["Predictor, one frame"] = lambda: predictor(picture, BOX)
    return calls


def median_ms(call: Callable[[], object], wait: Callable[[], object], seconds: float) -> float:
    """Median milliseconds of a call, repeated for about `seconds` and at least five times after warming up."""
    for _ in range(WARM_UP):
        call()
    wait()
    found: list[float] = []
    stop = time.perf_counter() + seconds
    while len(found) < 5 or time.perf_counter() < stop:
        started = time.perf_counter()
        call()
        wait()
        found.append((time.perf_counter() - started) * 1000.0)
    return statistics.median(found)


def machine(device: torch.device) -> str:
    """One line about the machine that the timings are from."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    return f"CPU, {torch.get_num_threads()} threads of {granted_cores()} cores, torch {torch.__version__}"
