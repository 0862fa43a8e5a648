"""The weights that come with this project: `synthetic`, a single-frame network of width 0.25 (docs/weights.md).

A checkpoint folder inside the package (`folder.SYNTHETIC`), packed to stay under 4 MB: matrices as float16, indices as
int16, and each up-sampling matrix, which has three numbers a row, as those numbers and their columns. Vectors (biases,
batch normalisation) and the joint regressor stay float32. A head for joints' visibility, which shaped the features that
it was trained on, is left out. `benchmarks/pretrain.py` trains and packs it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from ...durable import write_json
from ...errors import InputError
from .folder import CONFIG, WEIGHTS, file_sha256

OF_THE_MESH = ("decoder.lifting", "decoder.levels.", "decoder.head.")
"""Learned for one mesh's vertices: of no use on another mesh, even where the shapes fit."""
_PER_ROW = 3  # a vertex lies in one triangle of the coarser level
_EXACT = ("joint_regressor",)
_LEFT_OUT = "joint_visibility"  # the head's key in the network's config, and its tensors' prefix


def pack_checkpoint(source: Path, out: Path, card: Mapping[str, Any]) -> Path:
    """Packs a checkpoint folder of `h2o train` into `out`, with `card` (JSON values) in its metadata.

    Raises InputError for weights that float16 cannot hold.
    """
    config = json.loads((source / CONFIG).read_text(encoding="utf-8"))
    packed: dict[str, Tensor] = {}
    for name, value in load_file(source / WEIGHTS).items():
        if not name.startswith(f"{_LEFT_OUT}."):
            packed |= _pack_tensor(source, name, value)
    out.mkdir(parents=True, exist_ok=True)
    (out / WEIGHTS).write_bytes(save(packed, metadata={"format": "pt"}))
    config["network"][_LEFT_OUT] = False
    recipe = config["metadata"]["recipe"]
    config["metadata"] = {"recipe": recipe, "card": {**card, "unpacked_sha256": config["weights_sha256"]}}
    config["weights_sha256"] = file_sha256(out / WEIGHTS)
    write_json(out / CONFIG, config)
    return out


def _pack_tensor(source: Path, name: str, value: Tensor) -> dict[str, Tensor]:
    if name.endswith(".upsample"):
        columns = value.abs().topk(_PER_ROW, dim=1).indices.sort(dim=1).values
        weights = value.gather(1, columns)
        if not torch.equal(torch.zeros_like(value).scatter(1, columns, weights), value):
            raise InputError(f"{source}: {name}: expected {_PER_ROW} numbers a row at most, found more")
        return {f"{name}.columns": columns.to(torch.int16), f"{name}.weights": weights}
    if not value.is_floating_point():
        return {name: value.to(torch.int16) if value.dim() > 1 else value}
    if value.dim() < 2 or name in _EXACT:
        return {name: value}
    if not value.half().isfinite().all():
        raise InputError(
            f"{source}: {name}: has numbers beyond float16, up to {value.abs().max():g}; pack other weights"
        )
    return {name: value.half()}


def unpack_tensors(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, float32 and int64, from those of the package."""
    tensors: dict[str, Tensor] = {}
    for name, value in packed.items():
        if name.endswith(".upsample.columns"):
            whole = name.removesuffix(".columns")
            level = int(whole.split(".")[2])
            coarse = packed[f"decoder.levels.{level - 1}.spiral"] if level else packed["decoder.lifting"]
            dense = torch.zeros(len(value), len(coarse))
            tensors[whole] = dense.scatter(1, value.long(), packed[f"{whole}.weights"])
        elif not name.endswith(".upsample.weights"):
            tensors[name] = value.float() if value.is_floating_point() else value.long()
    return tensors
