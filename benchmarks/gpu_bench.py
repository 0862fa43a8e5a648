"""What every part of benchmarks/gpu.py is told, and the networks that they measure."""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import learning as benchmark
import torch
from h2onet.cores import granted_cores
from h2onet.data.stores.clips import ClipStore
from h2onet.hand.arrays import load_arrays
from h2onet.hand.hierarchy import Hierarchy, build_hierarchy
from h2onet.hand.mano import load_hand
from h2onet.network.h2onet import H2ONet, NetworkConfig, build_network
from h2onet.training import machine as training_machine

SMOKE_WIDTH = 0.125
FULL_DATA = {"recordings": 60, "frames": 20, "cameras": 3}
SMOKE_DATA = {"recordings": 20, "frames": 2, "cameras": 1}


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


@cache
def hierarchy() -> Hierarchy:
    """The stand-in hand's mesh levels; they take seconds to make, so all parts share them.

    Without torch, whose threads would not survive the fork into a part's process.
    """
    hand = load_arrays("standin")
    return build_hierarchy(hand.v_template, hand.faces)


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
