"""The import table: how the authors' checkpoints (and MobRecon's densestack.pth) spell this network's tensors.

Only names and shapes live here; nothing is loaded. See docs/network.md, "Checkpoints".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

_STACKS = {"backbone.first": "backbone.dense_stack1", "backbone.second": "backbone.dense_stack2"}

# `Hierarchy.sha256` of the transform.pkl that the released weights were trained on (MobRecon's template folder).
HIERARCHY_SHA256 = "7cac0615c1f44d6ef6e349683fe62a879e6a053826d75d52c2055dc41e057f1c"
# Tensors of the official files that this network has no use for, each with the reason.
IGNORED: tuple[tuple[str, str], ...] = (
    (r"mano_layer\.th_\w+", "the vendored MANO layer's buffers: licensed data, never stored"),
    (r"backbone\.dense_stack1\.senet3\..+", "a gate that the authors' network holds but never applies"),
    (r"mano_joint_reg_copy", "an unused copy of the joint regressor"),
)
# Two names of one module in the official multi-frame network: (alias, the name that the table uses).
ALIAS = ("decoder3d.occ_pred.finger_cls_layer.", "decoder3d.occ_pred.finger_cls_layer_list.4.")
# Tensors of ours that official files do not hold: buffers from the hierarchy and the part table, and the head for
# joints, which is not the authors'.
LOCAL = re.compile(r"(decoder\.levels\.\d+\.(spiral|upsample)|fusion\.finger_of_vertex|faces|joint_visibility\..+)")


def _modules() -> list[tuple[str, str]]:
    """(our prefix, their prefix) of every normalised layer, spiral convolution and perceptron layer."""
    table = [
        ("backbone.stem.conv", "backbone.pre_layer.0"),
        ("backbone.stem.unit", "backbone.pre_layer.1"),
        ("backbone.stem.reduce", "backbone.thrink"),
        ("backbone.first_remap", "backbone.stack1_remap"),
        ("backbone.merge", "backbone.thrink2"),
        ("backbone.latent", "backbone.mid_proj"),
        ("backbone.joint_maps", "backbone.reduce"),
        *((f"backbone.joint_regression.{i}", f"backbone.uv_reg.{i}") for i in range(3)),
    ]
    downs = [(f"{ours}.down", theirs) for ours, theirs in _STACKS.items()]
    downs.append(("backbone.orientation_encoder", "backbone.dense_stack3"))
    for ours, theirs in downs:
        blocks = [(f"{ours}.blocks.{i}", f"{theirs}.dense{i + 1}") for i in range(3)]
        blocks += [(f"{ours}.refine.{i}", f"{theirs}.dense{i + 4}") for i in range(2)]
        for block, original in blocks:
            table += [(f"{block}.units.{i}", f"{original}.conv{i + 1}") for i in range(4)]
        table += [(f"{ours}.gates.{i}", f"{theirs}.senet{i + 1}") for i in range(3)]
    for ours, theirs in _STACKS.items():
        for i, step in enumerate((f"{ours}.up.0", f"{ours}.up.1", f"{ours}.out")):
            table += [(f"{step}.units.{u}", f"{theirs}.thrink{i + 1}.{u}") for u in range(2)]
            table.append((f"{step}.gate", f"{theirs}.senet{i + 4}"))
    return table


def _decoder_modules(multi_frame: bool) -> list[tuple[str, str]]:
    """(our prefix, their prefix) of the modules after the backbone."""
    table = [
        ("decoder.reduce", "decoder3d.de_layer_conv"),
        *((f"decoder.levels.{i}.conv.linear", f"decoder3d.de_layer.{i}.conv.layer") for i in range(4)),
        ("decoder.head.linear", "decoder3d.head.layer"),
        ("orientation_feature.reduce", "decoder3d.rot_reg.conv_block"),
        ("orientation_feature.mix", "decoder3d.rot_reg.pre_block"),
        # The single-frame head is called fc_block in the single-frame network, fc_block1 in the multi-frame one.
        ("rotation_head.layers", "decoder3d.rot_reg.fc_block1" if multi_frame else "decoder3d.rot_reg.fc_block"),
        ("correction_head.layers", "decoder3d.rot_reg.fc_block2"),
        *((f"fusion.convs.{i}.linear", f"decoder3d.offset_pred.block.{2 * i}.layer") for i in range(3)),
        ("fusion.head.linear", "decoder3d.offset_pred.head.layer"),
    ]
    heads = [
        ("occlusion.joint_layers", "decoder3d.occ_pred.pre_layer"),
        ("occlusion.finger_base", "decoder3d.occ_pred.base_layer"),
        *((f"occlusion.finger_heads.{i}", f"decoder3d.occ_pred.finger_cls_layer_list.{i}") for i in range(5)),
        ("occlusion.global_head", "decoder3d.occ_pred.glob_cls_layer"),
    ]
    for ours, theirs in heads:  # theirs: one flat sequence linear, norm, ReLU, linear, norm, ReLU[, linear]
        for i in range(2):
            table += [(f"{ours}.{i}.layer", f"{theirs}.{3 * i}"), (f"{ours}.{i}.norm", f"{theirs}.{3 * i + 1}")]
        table.append((f"{ours}.2", f"{theirs}.6"))
    return table


_LEAVES = (
    (re.compile(r"^depthwise\.(\d)\."), r"conv3x3.\1."),
    (re.compile(r"^pointwise\."), "conv1x1."),
    (re.compile(r"^squeeze\."), "fc1."),
    (re.compile(r"^excite\."), "fc2."),
    (re.compile(r"\blayer\."), "0."),
    (re.compile(r"\bnorm\."), "1."),
)


def _official_leaf(leaf: str) -> str:
    for pattern, replacement in _LEAVES:
        leaf = pattern.sub(replacement, leaf)
    return leaf


@cache
def _prefixes(multi_frame: bool) -> dict[str, str]:
    return dict(_modules() + _decoder_modules(multi_frame))


def official_name(name: str, multi_frame: bool) -> str | None:
    """Our tensor's name to the official one (without `module.`); None for what official files do not hold.

    Raises KeyError for a name that the table does not know: a layer was added without its line here.
    """
    if LOCAL.fullmatch(name):
        return None
    if name == "joint_regressor":
        return "mano_joint_reg"
    if name == "decoder.lifting":
        return "decoder3d.upsample"
    prefixes = _prefixes(multi_frame)
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        prefix = ".".join(parts[:length])
        if prefix in prefixes:
            leaf = _official_leaf(".".join(parts[length:]))
            return f"{prefixes[prefix]}.{leaf}"
    raise KeyError(f"no official spelling for {name}")


def official_names(names: Iterable[str], multi_frame: bool) -> dict[str, str]:
    """Our names to official ones, for all of `names` that official files hold."""
    pairs = ((name, official_name(name, multi_frame)) for name in names)
    return {ours: theirs for ours, theirs in pairs if theirs is not None}


def is_ignored(name: str) -> bool:
    """Is this official tensor on the list of those left out?"""
    return any(re.fullmatch(pattern, name) for pattern, _ in IGNORED)
