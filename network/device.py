"""Where a network runs: the device option of training, evaluation and prediction."""

import torch

from ..errors import InputError


def choose_device(device: str) -> torch.device:
    """The device of "auto", "cpu", "cuda" or "cuda:N": `auto` is the GPU where there is one.

    InputError for a device that is not there.
    """
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (":" in device and not (kind == "cuda" and number.isdecimal())):
        raise InputError(f"--device: expected auto, cpu, cuda or cuda:N, found {device!r}")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(
            f"--device {device}: this torch sees no GPU; use --device auto, or install a CUDA build of torch"
        )
    if number and int(number) >= torch.cuda.device_count():
        raise InputError(f"--device {device}: expected a number below {torch.cuda.device_count()}, the GPUs here")
    return torch.device("cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu"))
