"""The machine that a run uses: device, number format, threads, memory allocator, seeds and random states."""

import logging
import os
import random
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.loading.processes import loader_processes
from ..errors import InputError
from ..network.allocator import keep_freed_memory
from ..network.device import choose_device
from ..network.threads import piece_timer, pinned, use_granted_cores
from .recipe import Recipe

log = logging.getLogger(__name__)


def pick_device(name: str, local_rank: int = 0) -> torch.device:
    """`network.device.choose_device`, except that under torchrun every process takes a GPU of its own."""
    device = choose_device(name)
    if device.type != "cuda":
        return device
    index = local_rank if device.index is None else device.index
    if index >= torch.cuda.device_count():
        raise InputError(
            f"--device {name}: process {index} of this machine has no GPU, {torch.cuda.device_count()} are here;"
            " start fewer processes"
        )
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def prepare(recipe: Recipe, device: torch.device, rank: int = 0) -> None:
    """Set threads, allocator, determinism and seeds for a run. Process-wide: call once, from `train`."""
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    elif not pinned():
        use_granted_cores(int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    if device.type == "cpu":
        keep_freed_memory()
    if recipe.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # warn_only: on GPUs neither grid_sample's backward, with which the decoder samples, nor the cross-entropy of
    # several outputs, the occlusion loss, is deterministic.
    torch.use_deterministic_algorithms(recipe.deterministic, warn_only=True)
    torch.backends.cudnn.benchmark = device.type == "cuda" and not recipe.deterministic
    random.seed(recipe.seed + rank)
    np.random.seed(recipe.seed + rank)  # noqa: NPY002  (third-party code draws from the global generator)
    torch.manual_seed(recipe.seed)


def step_timer(
    recipe: Recipe, device: torch.device, processes: int, say: Callable[[str], None]
) -> Callable[[], AbstractContextManager[None]]:
    """What to run each step in, so that torch's threads are found by timing, where the recipe leaves them open.

    Not where it asks for determinism, nor in one of several processes, which wait for each other in every step.
    """
    fixed = recipe.threads or recipe.deterministic or processes > 1
    return nullcontext if fixed else piece_timer(device, say)


def autocast_dtype(amp: str, device: torch.device) -> torch.dtype | None:
    """The number format of autocast, None for plain float32: "auto" is bf16 on GPUs that compute in it."""
    if amp == "auto":
        # Asked plainly, torch also says yes where it only emulates the format, slower than float32.
        computes = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if computes else None
    if amp == "fp16" and device.type != "cuda":
        raise InputError("amp = fp16 needs a CUDA device (its gradients need a loss scaler); use amp=bf16 or amp=off")
    return {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}[amp]


def to_device(batch: Mapping[str, Tensor], device: torch.device, channels_last: bool = True) -> dict[str, Tensor]:
    """The batch on the device; images (B, [T,] 3, H, W) laid out so that their flattened form is channels-last."""
    moved = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
    if channels_last:
        images = moved["images"]
        flat = images.flatten(0, -4).contiguous(memory_format=torch.channels_last)
        moved["images"] = flat.unflatten(0, images.shape[:-3])
    return moved


def worker_count(recipe: Recipe, device: torch.device, processes: int = 1) -> int:
    """Loader processes of a training run: the recipe's number, or `loader_processes` for -1."""
    samples = recipe.batch_size * recipe.frames
    return loader_processes(samples, recipe.num_workers, on_gpu=device.type != "cpu", processes=processes)


def random_states() -> dict[str, Any]:
    """All random states as tensors, numbers and lists only, so that torch.load(weights_only=True) reads them back."""
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    version, words, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [
            str(name),
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            int(position),
            int(has_gauss),
            float(cached),
        ],
        "python": [version, list(words), gauss],
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Put `random_states` back."""
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        # The machine may have fewer GPUs than the one before.
        torch.cuda.set_rng_state_all(states["cuda"][: torch.cuda.device_count()])
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
