"""The files of a checkpoint folder: config.json and model.safetensors, read defensively."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor

from ...errors import InputError, brief, one_line
from ...untrusted import read_json
from ..h2onet import H2ONet
from ..prediction import NetworkConfig
from .folder import CONFIG, SYNTHETIC, WEIGHTS, find_folder
from .official import check_finite
from .synthetic import unpack_tensors
from .torch_files import LARGEST

FORMAT = "h2onet-checkpoint"
FORMAT_VERSION = 1
_LARGEST_CONFIG = 2**20
_ADDED_LATER = ("joint_visibility", "fusion_weights")  # folders written before lack them


def read_config(folder: Path) -> dict[str, Any]:
    """The parsed config.json of a checkpoint folder. Raises InputError for another file or format version."""
    path = folder / CONFIG
    try:
        config = read_json(path, _LARGEST_CONFIG, nan=True)
    except OSError as error:
        raise InputError(f"{path}: not readable ({error.strerror}); the folder is damaged, take another") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise InputError(
            f"{path}: expected format {FORMAT!r}, found another file's JSON; pass a folder that training wrote"
        )
    if config.get("format_version") != FORMAT_VERSION:
        found = config.get("format_version")
        raise InputError(
            f"{path}: expected format_version {FORMAT_VERSION}, found {brief(found)}; install the h2onet that wrote it"
        )
    return config


def network_config(folder: Path, config: Mapping[str, Any]) -> NetworkConfig:
    """The network's configuration in a config.json. Raises InputError for other fields or values."""
    given = config.get("network")
    known = {field.name for field in fields(NetworkConfig)}
    if not isinstance(given, dict) or not known.difference(_ADDED_LATER) <= set(given) <= known:
        found = brief(sorted(given) if isinstance(given, dict) else given, 200)
        raise InputError(
            f"{folder / CONFIG}: network: expected the fields {sorted(known)}, found {found}; take another checkpoint"
        )
    try:
        return NetworkConfig(**given)
    except InputError as error:
        raise InputError(f"{folder / CONFIG}: {error}") from error


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of model.safetensors, on the CPU. Raises InputError for a damaged file, NaN or infinity."""
    path = folder / WEIGHTS
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"{path.stat().st_size >> 20} MB, expected at most {LARGEST >> 20}")
        tensors = load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(
            f"{path}: not readable as safetensors ({one_line(error, 160)}); the folder is damaged, take another"
            " checkpoint"
        ) from error
    check_finite(path, tensors)
    return unpack_tensors(tensors) if folder == SYNTHETIC else tensors


def require_folder(path: Path) -> Path:
    """The checkpoint folder at `path`. Raises InputError where there is none."""
    folder = find_folder(path)
    if folder is None:
        raise InputError(
            f"{path}: expected a checkpoint folder with {CONFIG}, found none; pass a folder that training wrote"
        )
    return folder


def config_json(model: H2ONet, weights_sha256: str, metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """The content of config.json for a model whose weights file has the given checksum."""
    try:
        own = version("h2onet")
    except PackageNotFoundError:
        own = "unknown"
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "network": asdict(model.config),
        "hierarchy_sha256": model.hierarchy_sha256,
        "weights_sha256": weights_sha256,
        "versions": {
            "h2onet": own,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "metadata": dict(metadata or {}),
    }
