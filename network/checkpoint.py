"""Checkpoints: this project's own (a folder) and the authors' files, behind one `load_checkpoint`.

A checkpoint folder holds `config.json` (format, network, hierarchy, versions, metadata, checksum), `model.safetensors`
(every tensor, the spirals and up-sampling included, so that no hierarchy file is needed) and, in training,
`training.pt`. Folders appear whole or not at all (`checkpoints.folder`).
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from ..errors import InputError
from ..hand.hierarchy import Hierarchy
from .checkpoints.folder import CONFIG, SYNTHETIC, WEIGHTS, file_sha256, find_folder, replace_folder
from .checkpoints.names import HIERARCHY_SHA256
from .checkpoints.official import (
    UNREADABLE,
    LoadReport,
    check_names,
    check_shapes,
    export_official,
    load_backbone,
    load_official,
    own_names,
    read_tensors,
)
from .checkpoints.own import (
    config_json,
    network_config,
    read_config,
    read_weights,
    require_folder,
)
from .checkpoints.synthetic import OF_THE_MESH
from .checkpoints.torch_files import load_plain
from .h2onet import H2ONet
from .tables import check_indices, is_table, read_tables

__all__ = [
    "LoadReport",
    "checkpoint_hash",
    "export_official",
    "initialise",
    "load_backbone",
    "load_checkpoint",
    "load_training_state",
    "read_metadata",
    "save_checkpoint",
]

TRAINING = "training.pt"

_log = logging.getLogger(__name__)


def load_checkpoint(path: str | Path, hierarchy: str | Path | Hierarchy | None = None) -> H2ONet:
    """The network of a checkpoint folder or an official .pth file, float32, on the CPU, in eval mode.

    hierarchy: transform.pkl (or what `load_hierarchy` gives), needed by official files and ignored for folders, which
    hold theirs. Raises InputError for missing, truncated, foreign or hostile files, unknown or missing tensors (named);
    runs no code of the file. The global random state is left as it was.
    """
    path = Path(path)
    folder = find_folder(path)
    with torch.random.fork_rng(devices=[]):
        if folder is not None:
            return _load_folder(folder)
        return load_official(path, hierarchy)


def save_checkpoint(
    folder: str | Path,
    model: H2ONet,
    training_state: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a checkpoint folder atomically, replacing an earlier checkpoint there, and returns its path.

    training_state: plain containers of tensors, numbers and strings (optimiser, scheduler, random states), readable
    without running code. metadata: JSON values (dataset hash, step, scores), kept in config.json. Raises InputError
    where `folder` is something else.
    """
    if model.prepared:
        raise InputError(f"{folder}: a copy made by for_inference() cannot be saved; save the model it was made from")
    target = Path(folder)
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    if training_state is not None:
        _check_plain(training_state, "training_state")
    with replace_folder(target) as temporary:
        # Written by Python, from memory: on a full disk safetensors and torch raise errors of their own, and
        # safetensors writes for its user alone, whatever the umask says.
        (temporary / WEIGHTS).write_bytes(save(state, metadata={"format": "pt"}))
        if training_state is not None:
            packed = io.BytesIO()
            torch.save(dict(training_state), packed)
            (temporary / TRAINING).write_bytes(packed.getbuffer())
        config = config_json(model, file_sha256(temporary / WEIGHTS), metadata)
        (temporary / CONFIG).write_text(json.dumps(config, indent=2, allow_nan=True) + "\n", encoding="utf-8")
    return target


def load_training_state(folder: str | Path) -> dict[str, Any]:
    """The training state of a checkpoint folder, tensors on the CPU.

    Raises InputError where there is none or it is damaged.
    """
    found = require_folder(Path(folder))
    path = found / TRAINING
    if not path.is_file():
        raise InputError(
            f"{path}: expected a training state to resume from, found none; start from the weights with --init"
        )
    try:
        state = load_plain(path)
    except UNREADABLE as error:
        raise InputError(
            f"{path}: damaged training state ({type(error).__name__}); resume from another checkpoint"
        ) from error
    if not isinstance(state, dict):
        raise InputError(f"{path}: expected a dictionary, found {type(state).__name__}; resume from another checkpoint")
    return state


def read_metadata(folder: str | Path) -> dict[str, Any]:
    """The metadata that `save_checkpoint` was given, `{}` where there was none. Raises InputError for other folders."""
    metadata = read_config(require_folder(Path(folder))).get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def checkpoint_hash(path: str | Path) -> str:
    """SHA-256 of the weights, to tell checkpoints apart in results.

    Of model.safetensors for a folder, of the whole file for an official one.
    """
    folder = find_folder(Path(path))
    if folder is None and not Path(path).is_file():
        raise InputError(f"{path}: expected a checkpoint, found nothing; check the path")
    return file_sha256(folder / WEIGHTS if folder is not None else Path(path))


def initialise(model: H2ONet, path: str | Path, *, regressor: bool = False) -> LoadReport:
    """Loads the weights of another checkpoint (folder or official file) into `model` in place.

    Only tensors that both have are loaded: for stage 2 from stage 1, and multi-frame from single-frame. The model's own
    mesh tables stay, and its joint regressor unless `regressor`: where it is learned, it goes on from there. Raises
    InputError for another width, another mesh hierarchy, or nothing in common.
    """
    path = Path(path)
    folder = find_folder(path)
    state = model.state_dict()
    if folder is not None:
        width = network_config(folder, read_config(folder)).width
        if width != model.config.width:
            raise InputError(
                f"{path}: has width {width:g}, but the network to train {model.config.width:g}; "
                f"add --set width={width:g} or take another checkpoint"
            )
        source = read_weights(folder)
        differing = next(
            (name for name in source if is_table(name) and not _is_same(source[name], state.get(name))), None
        )
        if differing and folder == SYNTHETIC:
            source = {name: value for name, value in source.items() if not name.startswith(OF_THE_MESH)}
            _log.info("%s: was trained on the stand-in's mesh; the mesh decoder starts anew on this hand's", path)
        elif differing:
            raise InputError(
                f"{folder}: {differing} differs: the checkpoint was trained on another mesh; "
                "use the same --mano and hierarchy"
            )
    else:
        source = own_names(model, read_tensors(path))
        if model.hierarchy_sha256 != HIERARCHY_SHA256:
            raise InputError(
                f"{path}: official weights work on the authors' mesh hierarchy only, found the network built "
                "on another; pass their transform.pkl as --hierarchy"
            )
    kept = set() if regressor else {"joint_regressor"}
    wanted = {name: value for name, value in state.items() if not is_table(name) and name not in kept}
    found = {name: value for name, value in source.items() if name in wanted}
    if not found:
        raise InputError(f"{path}: nothing in it is this network's; pass a checkpoint folder or an official .pth file")
    check_shapes(path, wanted, found)
    model.load_state_dict(found, strict=False)
    unused = [name for name in source if name not in wanted and not is_table(name) and name not in kept]
    report = LoadReport(path, tuple(sorted(found)), tuple(sorted(set(wanted) - set(found))), tuple(sorted(unused)))
    _log.info("%s", report.summary())
    return report


def _is_same(table: Tensor, own: Tensor | None) -> bool:
    """Is this table the network's own, or one that it does not have?"""
    return own is None or torch.equal(table, own.cpu())


def _load_folder(folder: Path) -> H2ONet:
    config = read_config(folder)
    network = network_config(folder, config)
    tensors = read_weights(folder)
    wanted = config.get("weights_sha256")
    if wanted != file_sha256(folder / WEIGHTS):
        raise InputError(
            f"{folder / WEIGHTS}: its checksum is not the one in {CONFIG}; "
            "the folder is damaged, take another checkpoint"
        )
    tables = read_tables(folder / WEIGHTS, tensors, str(config.get("hierarchy_sha256", "")))
    parts = torch.full((tables.sizes[0],), 5) if network.frames == 1 else tensors.get("fusion.finger_of_vertex")
    regressor = tensors.get("joint_regressor")
    if parts is None or regressor is None:
        raise InputError(
            f"{folder / WEIGHTS}: no joint_regressor or fusion.finger_of_vertex in it; take another checkpoint"
        )
    check_indices(folder / WEIGHTS, "fusion.finger_of_vertex", parts.numpy(), 6)
    model = H2ONet(network, tables, vertex_parts=parts.numpy(), joint_regressor=regressor.float().numpy())
    state = model.state_dict()
    check_names(folder / WEIGHTS, set(state), set(tensors))
    check_shapes(folder / WEIGHTS, state, tensors)
    model.load_state_dict(tensors)
    return model.eval()


def _check_plain(value: Any, where: str) -> None:
    """Raises TypeError naming the first value that could not be read back without running code."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            _check_plain(name, f"{where}: a key")
            _check_plain(item, f"{where}[{name!r}]")
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            _check_plain(item, f"{where}[{i}]")
    elif type(value) not in (str, int, float, bool, bytes, type(None)) and not isinstance(value, Tensor):
        raise TypeError(
            f"{where} is a {type(value).__name__}: expected plain containers of tensors, numbers and strings"
        )
