"""The authors' files: every tensor accounted for on the way in, the same tensors on the way out."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from h2onet.errors import InputError
from h2onet.hand.hierarchy import build_hierarchy
from h2onet.hand.parts import mano_parts
from h2onet.network.checkpoint import export_official, initialise, load_backbone, load_checkpoint, save_checkpoint
from h2onet.network.checkpoints.names import is_ignored, official_names
from h2onet.network.h2onet import H2ONet, NetworkConfig


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_every_official_tensor_is_used_or_on_the_list(golden: Path, official_models: dict[str, H2ONet], kind: str):
    keys = {name for name, *_ in json.loads((golden / f"keys_{kind}.json").read_text())["state_dict"]}
    used = set(official_names(official_models[kind].state_dict(), kind == "multi").values())
    left = {name for name in keys - used if not is_ignored(name)}
    assert used <= keys
    assert {name.split(".finger_cls_layer.")[0] for name in left} <= {"decoder3d.occ_pred"}
    assert sum(is_ignored(name) for name in keys) == 9 + 12  # MANO's buffers; the gate's 2 linear layers and 2 norms


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_exporting_an_import_gives_the_same_tensors(official_code, golden: Path, official_models, kind: str):
    original = official_code.make_state_dict(str(golden / f"keys_{kind}.json"))
    exported = export_official(official_models[kind])
    assert set(exported) == {name for name in original if not is_ignored(name)}
    assert all(
        torch.equal(value, original[name]) and value.dtype == original[name].dtype for name, value in exported.items()
    )


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_an_import_saved_as_a_folder_needs_no_hierarchy(official_models, tmp_path: Path, kind: str):
    folder = save_checkpoint(tmp_path / "imported", official_models[kind])
    loaded, original = load_checkpoint(folder).state_dict(), official_models[kind].state_dict()
    assert all(torch.equal(loaded[name], original[name]) for name in original)
    assert not any("th_" in name or "mano_layer" in name for name in loaded)


def test_names_without_the_module_prefix_are_read(
    official_code, golden: Path, authors_hierarchy, official_models, tmp_path
):
    path = tmp_path / "plain.pth"
    torch.save(official_code.make_state_dict(str(golden / "keys_single.json")), path)
    loaded = load_checkpoint(path, authors_hierarchy)
    assert all(torch.equal(v, loaded.state_dict()[n]) for n, v in official_models["single"].state_dict().items())


@pytest.mark.parametrize("frames", [1, 3])
def test_narrow_networks_export_and_import(authors_hierarchy, tmp_path: Path, frames: int):
    """The official spelling knows no width: it is read from the shapes."""
    config = NetworkConfig(frames=frames, width=0.125)
    regressor = np.full((21, 778), 1 / 778)
    model = H2ONet(config, authors_hierarchy, vertex_parts=mano_parts().vertex, joint_regressor=regressor)
    torch.save(export_official(model), tmp_path / "narrow.pth")
    loaded = load_checkpoint(tmp_path / "narrow.pth", authors_hierarchy)
    assert loaded.config == config
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())
    report = initialise(
        H2ONet(config, authors_hierarchy, vertex_parts=mano_parts().vertex, joint_regressor=regressor),
        tmp_path / "narrow.pth",
    )
    assert report.missing == report.unused == ()


def test_a_missing_hierarchy_is_said_so(official_files: dict[str, Path]):
    with pytest.raises(InputError, match=r"transform\.pkl"):
        load_checkpoint(official_files["single"])


def test_a_hierarchy_of_another_hand_is_refused(official_files: dict[str, Path], sphere):
    with pytest.raises(InputError, match="MANO's mesh hierarchy, found another topology"):
        load_checkpoint(official_files["single"], sphere)


@pytest.fixture(scope="module")
def tensors(authors_hierarchy) -> dict[str, torch.Tensor]:
    """The state dict of an official-format multi-frame checkpoint, narrow so that files are small."""
    config, regressor = NetworkConfig(frames=3, width=0.125), np.full((21, 778), 1 / 778)
    return export_official(
        H2ONet(config, authors_hierarchy, vertex_parts=mano_parts().vertex, joint_regressor=regressor)
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("backbone.reduce.0.weight"), r"1 missing: backbone\.reduce\.0\.weight"),
        (lambda t: t.update({"decoder3d.surprise": torch.zeros(1)}), r"1 unknown: decoder3d\.surprise"),
        (
            lambda t: t.update({"decoder3d.upsample": torch.zeros(49, 20)}),
            r"decoder3d\.upsample: expected shape \(49, 21\)",
        ),
        (lambda t: t.update({"mano_joint_reg": torch.zeros(21, 100)}), r"mano_joint_reg: expected \(21, 778\)"),
        (lambda t: t.update({"mano_joint_reg": torch.full((21, 778), torch.nan)}), "NaN or infinity in mano_joint_reg"),
        (lambda t: t.update({"decoder3d.occ_pred.finger_cls_layer.6.bias": torch.ones(2)}), "one module .* differ"),
        (lambda t: t.pop("backbone.thrink.0.weight"), "expected an official H2ONet checkpoint"),
        (lambda t: t.update({"epoch": 3}), "expected only tensors"),
        (lambda t: t.update({"backbone.thrink.0.weight": torch.zeros(100, 512, 1, 1)}), "width must be a multiple"),
        (lambda t: t.clear(), "expected a dictionary of tensors"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tensors, authors_hierarchy, tmp_path: Path, change, words: str):
    changed = dict(tensors)
    change(changed)
    torch.save({"state_dict": changed}, tmp_path / "changed.pth")
    with pytest.raises(InputError, match=words):
        load_checkpoint(tmp_path / "changed.pth", authors_hierarchy)


def test_the_unused_regressor_copy_is_ignored(tensors, authors_hierarchy, tmp_path: Path):
    torch.save(tensors | {"mano_joint_reg_copy": torch.zeros(21, 778)}, tmp_path / "released.pth")
    assert load_checkpoint(tmp_path / "released.pth", authors_hierarchy).config.frames == 3


@pytest.mark.parametrize("cut", [0, 10, 1000, 1_000_000])
def test_truncated_files_are_refused(tensors, authors_hierarchy, tmp_path: Path, cut: int):
    torch.save({"state_dict": tensors}, tmp_path / "whole.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:cut])
    with pytest.raises(InputError, match=r"cut\.pth: not readable as a checkpoint"):
        load_checkpoint(tmp_path / "cut.pth", authors_hierarchy)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x02}.", b"PK\x03\x04junk", b"\x89PNG\r\n\x1a\n" * 20])
def test_foreign_files_are_refused(authors_hierarchy, tmp_path: Path, content: bytes):
    (tmp_path / "foreign.pth").write_bytes(content)
    with pytest.raises(InputError, match=r"foreign\.pth"):
        load_checkpoint(tmp_path / "foreign.pth", authors_hierarchy)


def densestack(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What MobRecon's pre-trained file holds: the two stacks of the backbone, without prefix, and something else."""
    names = ("pre_layer", "thrink", "dense_stack1", "stack1_remap", "thrink2", "dense_stack2")
    kept = {name.removeprefix("backbone."): value for name, value in tensors.items() if name.startswith("backbone.")}
    return {name: value for name, value in kept.items() if name.split(".")[0] in names} | {
        "extra.weight": torch.zeros(2)
    }


def test_densestack_loads_the_two_stacks_and_reports(tensors, build, tmp_path: Path):
    torch.save(densestack(tensors), tmp_path / "densestack.pth")
    model = build(frames=3, width=0.125)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    report = load_backbone(tmp_path / "densestack.pth", model)
    after = model.state_dict()
    names = official_names(after, True)
    assert all(torch.equal(after[name], tensors[names[name]]) for name in report.found)
    assert all(torch.equal(after[name], before[name]) for name in after if name not in report.found)
    assert {".".join(name.split(".")[:2]) for name in report.found} == {
        f"backbone.{part}" for part in ("stem", "first", "first_remap", "merge", "second")
    }
    missing = {"orientation_encoder", "latent", "joint_maps", "joint_regression"}
    assert {name.split(".")[1] for name in report.missing} == missing
    assert report.unused == ("extra.weight",)
    assert "tensors loaded" in report.summary() and "not in the file" in report.summary()


def test_densestack_of_another_width_or_something_else_is_refused(tensors, build, tmp_path: Path):
    torch.save(densestack(tensors), tmp_path / "densestack.pth")
    with pytest.raises(InputError, match="another width"):
        load_backbone(tmp_path / "densestack.pth", build())
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="none of its 1 tensors is the backbone's"):
        load_backbone(tmp_path / "other.pth", build())
    with pytest.raises(InputError, match="expected an official H2ONet checkpoint"):
        load_checkpoint(tmp_path / "densestack.pth", hierarchy=None)


def test_official_single_initialises_multi(official_files, authors_hierarchy, official_models, build):
    regressor = np.full((21, 778), 1 / 778)
    model = H2ONet(
        NetworkConfig(frames=3), authors_hierarchy, vertex_parts=mano_parts().vertex, joint_regressor=regressor
    )
    report = initialise(model, official_files["single"])
    assert {name.split(".")[0] for name in report.missing} == {"occlusion", "fusion", "correction_head"}
    head = "rotation_head.layers.6.weight"
    assert torch.equal(model.state_dict()[head], official_models["single"].state_dict()[head])
    with pytest.raises(InputError, match=r"pass their transform\.pkl"):
        initialise(build(frames=3, width=1.0), official_files["single"])


def test_another_hierarchy_of_the_same_mesh_is_warned_of(tensors, authors_hierarchy, tmp_path: Path, caplog):
    """Official files do not say which spirals they were trained with, and a wrong guess costs 75 mm."""
    torch.save(tensors, tmp_path / "narrow.pth")
    load_checkpoint(tmp_path / "narrow.pth", authors_hierarchy)
    assert caplog.records == []
    rebuilt = build_hierarchy(authors_hierarchy.vertices[0], authors_hierarchy.faces[0])
    load_checkpoint(tmp_path / "narrow.pth", rebuilt)
    assert "not the one the released weights were trained on" in caplog.text
