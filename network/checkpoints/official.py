"""Reading and writing the authors' checkpoint files (.pth): every tensor accounted for, no code of a file ever run.

Official tensors become this network's by the table in `names`. What a file lacks (spirals, up-sampling) comes from
the mesh hierarchy, transform.pkl (docs/network.md, "Checkpoints").
"""

from __future__ import annotations

import logging
import pickle
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...errors import InputError, brief, one_line
from ...hand.hierarchy import Hierarchy, load_hierarchy
from ...hand.parts import is_mano_topology, mano_parts
from ..backbone import JOINTS
from ..h2onet import H2ONet
from ..prediction import BASE_CHANNELS, NetworkConfig
from .names import ALIAS, HIERARCHY_SHA256, is_ignored, official_names
from .torch_files import load_plain

# What reading a truncated, foreign or hostile file can raise; `weights_only` turns everything executable into
# UnpicklingError.
UNREADABLE = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, struct.error, RuntimeError, OSError, EOFError, UnicodeDecodeError),
    *(AttributeError, IndexError, KeyError, TypeError, ValueError, MemoryError, OverflowError, AssertionError),
)


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadReport:
    """What a partial load did: tensors of the model found in the file, those it lacks, and file tensors not used."""

    path: Path
    found: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def summary(self) -> str:
        """One line for the log: counts, and the first few names of what was missing and unused."""
        line = f"{self.path}: {len(self.found)} tensors loaded"
        for label, names in (("not in the file", self.missing), ("not used", self.unused)):
            if names:
                line += f"; {len(names)} {label} ({name_some(names)})"
        return line


def name_some(names: tuple[str, ...] | list[str] | set[str], limit: int = 4) -> str:
    """The first few of `names`, sorted, and how many more there are."""
    ordered = [one_line(name, 100) for name in sorted(names)]
    more = f" and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return ", ".join(ordered[:limit]) + more


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The state dict of a torch.save file, `module.` prefixes removed, on the CPU.

    The file may be the state dict or hold it under "state_dict". Raises InputError for anything else, NaN weights
    included.
    """
    if not path.is_file():
        hint = "landmarks is no network, it serves h2o predict alone" if path == Path("landmarks") else "check the path"
        raise InputError(f"{path}: expected a checkpoint file, found none; {hint}")
    try:
        content = load_plain(path)
    except UNREADABLE as error:
        reason = one_line((str(error).strip().splitlines() or [type(error).__name__])[0], 160)
        raise InputError(
            f"{path}: not readable as a checkpoint of plain tensors ({reason}); nothing of it was run; "
            "expected an official .pth file or a checkpoint folder, download it again if it was cut short"
        ) from error
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not state:
        raise InputError(
            f"{path}: expected a dictionary of tensors or one under 'state_dict', found {type(state).__name__}"
        )
    foreign = [
        brief(name) for name, value in state.items() if not (isinstance(name, str) and isinstance(value, Tensor))
    ]
    if foreign:
        raise InputError(f"{path}: expected only tensors in the state dict, found others: {name_some(foreign)}")
    tensors = dict(state)
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    check_finite(path, tensors)
    return tensors


def check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raises InputError naming tensors with NaN or infinity: the training had diverged before they were saved."""
    broken = [name for name, value in tensors.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if broken:
        raise InputError(
            f"{path}: NaN or infinity in {name_some(broken)}; take a checkpoint from before training diverged"
        )


def _without_aliases(path: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    kept = dict(tensors)
    for name in tensors:
        if name.startswith(ALIAS[0]):
            original = ALIAS[1] + name.removeprefix(ALIAS[0])
            alias = kept.pop(name)
            if not torch.equal(kept.setdefault(original, alias), alias):
                raise InputError(
                    f"{path}: {name} and {original} are one module in the authors' code but differ; wrong file?"
                )
    return kept


def load_official(path: Path, source: str | Path | Hierarchy | None) -> H2ONet:
    """The network of an official file, float32, eval mode.

    source: transform.pkl, or what `load_hierarchy` reads from it.
    """
    tensors = _without_aliases(path, read_tensors(path))
    config = _config_of(path, tensors)
    hierarchy = _hierarchy(source, path)
    if not is_mano_topology(hierarchy.faces[0]):
        raise InputError(
            f"{path}: official checkpoints need MANO's mesh hierarchy, found another topology; pass transform.pkl"
        )
    if hierarchy.sha256 != HIERARCHY_SHA256:
        # People train the authors' code on templates of their own, so this is no error; released weights are then
        # 75 mm off.
        _log.warning("%s: the hierarchy given is not the one the released weights were trained on", path)
    regressor = tensors.get("mano_joint_reg", torch.zeros(JOINTS, hierarchy.sizes[0]))
    if tuple(regressor.shape) != (JOINTS, hierarchy.sizes[0]):
        raise InputError(
            f"{path}: mano_joint_reg: expected (21, {hierarchy.sizes[0]}), found {tuple(regressor.shape)}; wrong file?"
        )
    model = H2ONet(config, hierarchy, vertex_parts=mano_parts().vertex, joint_regressor=regressor.numpy())
    state = model.state_dict()
    names = official_names(state, config.frames > 1)
    check_names(path, set(names.values()), {name for name in tensors if not is_ignored(name)})
    check_shapes(path, {theirs: state[ours] for ours, theirs in names.items()}, tensors)
    model.load_state_dict(state | {ours: tensors[theirs] for ours, theirs in names.items()})
    return model.eval()


def _hierarchy(source: str | Path | Hierarchy | None, path: Path) -> Hierarchy:
    if source is None:
        raise InputError(
            f"{path}: an official checkpoint does not hold its mesh hierarchy, found none given; "
            "pass hierarchy=... (--hierarchy), the authors' transform.pkl"
        )
    return load_hierarchy(source) if isinstance(source, str | Path) else source


def _config_of(path: Path, tensors: Mapping[str, Tensor]) -> NetworkConfig:
    stem = tensors.get("backbone.thrink.0.weight")
    if stem is None or stem.dim() != 4:
        raise InputError(
            f"{path}: expected an official H2ONet checkpoint, found no backbone.thrink.0.weight among "
            f"{len(tensors)} tensors ({name_some(tuple(tensors))}); "
            "a densestack.pth is an --init for training, not a network"
        )
    frames = 3 if any(name.startswith("decoder3d.occ_pred.") for name in tensors) else 1
    return NetworkConfig(frames=frames, width=stem.shape[0] / BASE_CHANNELS)


def check_names(path: Path, expected: set[str], found: set[str]) -> None:
    """Raises InputError naming tensors that are missing or unknown."""
    missing, unknown = expected - found, found - expected
    if missing or unknown:
        what = [f"{len(missing)} missing: {name_some(missing)}"] if missing else []
        what += [f"{len(unknown)} unknown: {name_some(unknown)}"] if unknown else []
        raise InputError(
            f"{path}: the tensors are not this network's ({'; '.join(what)}); is it of another architecture?"
        )


def check_shapes(path: Path, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Raises InputError naming the tensors of `expected` whose shape in `found` is another."""
    wrong = [name for name, value in expected.items() if name in found and found[name].shape != value.shape]
    if wrong:
        name = sorted(wrong)[0]
        raise InputError(
            f"{path}: {name}: expected shape {tuple(expected[name].shape)}, found {tuple(found[name].shape)} "
            f"({len(wrong)} tensors differ); the checkpoint is of another width or mesh"
        )


def export_official(model: H2ONet) -> dict[str, Tensor]:
    """The model's tensors under the authors' names (no `module.` prefix), aliases included.

    Left out, as on import: the MANO layer's buffers, the never-applied gate, the unused regressor copy; the authors'
    code loads the result with strict=False. Left out too: the head for joints, which their network does not have.
    Raises InputError where the fusion takes its weights from that head: their code would compute something else.
    """
    if model.config.fusion_weights != "fingers":
        raise InputError(
            f"network: fusion_weights is {model.config.fusion_weights}, which the authors' code does not know; "
            "export a network with fusion_weights fingers"
        )
    multi = model.config.frames > 1
    state = model.state_dict()
    exported = {theirs: state[ours].detach().clone() for ours, theirs in official_names(state, multi).items()}
    aliases = {
        ALIAS[0] + name.removeprefix(ALIAS[1]): value for name, value in exported.items() if name.startswith(ALIAS[1])
    }
    return exported | aliases


def own_names(model: H2ONet, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Official tensors under `model`'s names, without ignored ones and aliases.

    Tensors that the model has no place for keep their names.
    """
    multi = any(name.startswith("decoder3d.occ_pred.") for name in tensors)
    ours_of = {theirs: ours for ours, theirs in official_names(model.state_dict(), multi).items()}
    kept = {name: value for name, value in tensors.items() if not is_ignored(name) and not name.startswith(ALIAS[0])}
    return {ours_of.get(name, name): value for name, value in kept.items()}


def load_backbone(path: str | Path, model: H2ONet) -> LoadReport:
    """Loads MobRecon's densestack.pth (or any official file's backbone) into `model` in place, as far as it goes.

    Names may carry `backbone.`. Raises InputError where nothing fits or a tensor has another shape (another width).
    """
    path = Path(path)
    tensors = {name.removeprefix("backbone."): value for name, value in read_tensors(path).items()}
    state = {name: value for name, value in model.state_dict().items() if name.startswith("backbone.")}
    names = {ours: theirs.removeprefix("backbone.") for ours, theirs in official_names(state, False).items()}
    found = {ours: theirs for ours, theirs in names.items() if theirs in tensors}
    if not found:
        raise InputError(
            f"{path}: none of its {len(tensors)} tensors is the backbone's ({name_some(tuple(tensors))}); wrong file?"
        )
    check_shapes(path, {theirs: state[ours] for ours, theirs in found.items()}, tensors)
    model.load_state_dict({ours: tensors[theirs] for ours, theirs in found.items()}, strict=False)
    unused = tuple(sorted(set(tensors) - set(found.values())))
    return LoadReport(path, tuple(sorted(found)), tuple(sorted(set(names) - set(found))), unused)
