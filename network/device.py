"""Where a network runs when nobody trains it: the device option of evaluation and prediction."""

import torch

from ..hand.errors import InputError


def chosen_device(device: str) -> torch.device:
    """`auto` is the GPU where there is one; InputError for a device that is not there."""
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device: expected auto, cpu or cuda, found {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: this torch sees no GPU; use --device auto, or install a CUDA build of torch")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
