"""Checkpoints: what is written comes back bit for bit, and nothing damaged, foreign or hostile gets in."""

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from h2onet import durable
from h2onet.errors import InputError
from h2onet.network.checkpoint import (
    checkpoint_hash,
    initialise,
    load_checkpoint,
    load_training_state,
    read_metadata,
    save_checkpoint,
)
from h2onet.network.h2onet import H2ONet
from safetensors.torch import load_file, save_file


def same(a: H2ONet, b: H2ONet) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return list(left) == list(right) and all(torch.equal(left[name], right[name]) for name in left)


def rewrite(folder: Path, change) -> None:
    """Changes the tensors of a checkpoint and makes its checksum right again: an attacker can, too."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    config["weights_sha256"] = checkpoint_hash(folder)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.fixture
def saved(build, tmp_path: Path) -> Path:
    return save_checkpoint(tmp_path / "last", build(frames=3, width=0.125), {"step": 3}, {"dataset_sha256": "abc"})


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("order", ["official", "corrected"])
def test_round_trip_without_any_other_file(build, tmp_path: Path, frames: int, order: str):
    model = build(frames=frames, width=0.125, occlusion_joint_order=order, oriented=order == "official")
    loaded = load_checkpoint(save_checkpoint(tmp_path / "best", model))
    assert same(model, loaded) and loaded.config == model.config and not loaded.training
    assert loaded.hierarchy_sha256 == model.hierarchy_sha256
    images = torch.rand(1, *([3] if frames == 3 else []), 3, 128, 128)
    with torch.inference_mode():
        assert torch.equal(model(images).vertices, loaded(images).vertices)


def test_metadata_training_state_and_versions_come_back(saved: Path):
    assert read_metadata(saved) == {"dataset_sha256": "abc"}
    assert load_training_state(saved) == {"step": 3}
    config = json.loads((saved / "config.json").read_text())
    assert config["versions"]["torch"] == torch.__version__
    assert config["weights_sha256"] == checkpoint_hash(saved)


def test_optimiser_states_come_back(build, tmp_path: Path):
    model = build(width=0.125).train()
    optimiser = torch.optim.Adam(model.parameters())
    model(torch.rand(2, 3, 128, 128)).canonical_vertices.sum().backward()
    optimiser.step()
    save_checkpoint(tmp_path / "last", model, {"optimiser": optimiser.state_dict(), "random": torch.get_rng_state()})
    state = load_training_state(tmp_path / "last")
    again = torch.optim.Adam(load_checkpoint(tmp_path / "last").parameters())
    again.load_state_dict(state["optimiser"])
    assert torch.equal(state["random"], torch.get_rng_state())
    assert state["optimiser"]["state"].keys() == optimiser.state_dict()["state"].keys()


def test_training_state_that_needs_code_is_refused_before_anything_is_written(build, tmp_path: Path):
    with pytest.raises(TypeError, match=r"training_state\['recipe'\] is a PosixPath"):
        save_checkpoint(tmp_path / "last", build(width=0.125), {"recipe": tmp_path})
    assert list(tmp_path.iterdir()) == []


def test_loading_leaves_the_random_state_alone(saved: Path):
    torch.manual_seed(5)
    load_checkpoint(saved)
    after = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(3))


def test_saving_replaces_and_leaves_nothing_else(build, saved: Path):
    other = build(seed=1, width=0.125)
    (saved.parent / f".tmp-last-{'0' * 32}").mkdir()
    save_checkpoint(saved, other)
    assert same(load_checkpoint(saved), other)
    assert [path.name for path in saved.parent.iterdir()] == ["last"]
    with pytest.raises(InputError, match="none; start from the weights"):
        load_training_state(saved)


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("step", range(1, 11))
def test_a_crash_at_any_moment_leaves_a_whole_checkpoint(build, saved: Path, monkeypatch, step: int, exchange: bool):
    """Every file operation of a save in turn kills it: a checkpoint is always there, and the next save cleans up."""
    old, new = load_checkpoint(saved), build(seed=1, frames=3, width=0.125)
    done = 0

    def dying(operation):
        def wrapped(*args, **kwargs):
            nonlocal done
            done += 1
            if done == step:
                raise KeyboardInterrupt
            return operation(*args, **kwargs)

        return wrapped

    monkeypatch.setattr(durable, "exchange", dying(durable.exchange if exchange else lambda first, second: False))
    monkeypatch.setattr(durable, "fsync_path", dying(durable.fsync_path))
    monkeypatch.setattr(durable.os, "rename", dying(durable.os.rename))
    # A killed process runs no clean-up either: the one in `finally` must not be what saves the day.
    monkeypatch.setattr(durable.shutil, "rmtree", dying(durable.shutil.rmtree))
    try:
        save_checkpoint(saved, new)
    except KeyboardInterrupt:
        loaded = load_checkpoint(saved)
        assert same(loaded, old) or same(loaded, new)
    else:
        assert same(load_checkpoint(saved), new)
    monkeypatch.undo()
    save_checkpoint(saved, new)
    assert same(load_checkpoint(saved), new)
    assert [path.name for path in saved.parent.iterdir()] == ["last"]


def test_other_folders_are_never_replaced(build, tmp_path: Path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="choose another --out"):
        save_checkpoint(tmp_path / "photos", build(width=0.125))
    assert (tmp_path / "photos" / "a.jpg").read_bytes() == b"x"


def test_prepared_copies_are_not_saved(build, tmp_path: Path):
    with pytest.raises(InputError, match="for_inference"):
        save_checkpoint(tmp_path / "last", build(width=0.125).for_inference())


def test_paths_that_are_no_checkpoints_are_named(saved: Path):
    with pytest.raises(InputError, match=r"landmarks: .* it serves h2o predict alone"):
        load_checkpoint("landmarks")
    with pytest.raises(InputError, match="found none; check the path"):
        load_checkpoint(saved.parent / "absent")
    with pytest.raises(InputError, match=r"found a folder without one; pass .*last"):
        load_checkpoint(saved.parent)
    assert same(load_checkpoint(saved / "model.safetensors"), load_checkpoint(saved))


@pytest.mark.parametrize("cut", [0, 4, 100, 5000])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_truncated_files_are_refused(saved: Path, name: str, cut: int):
    content = (saved / name).read_bytes()
    (saved / name).write_bytes(content[: min(cut, len(content) - 9)])
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        load_checkpoint(saved)


def test_every_damaged_byte_is_noticed(saved: Path):
    path = saved / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="checksum"):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("decoder.head.linear.bias"), r"1 missing: decoder\.head\.linear\.bias"),
        (lambda t: t.update(extra=torch.zeros(1)), "1 unknown: extra"),
        (lambda t: t.update({"decoder.lifting": torch.zeros(49, 20)}), r"decoder\.lifting: expected shape \(49, 21\)"),
        (lambda t: t["decoder.lifting"].fill_(float("nan")), r"NaN or infinity in decoder\.lifting"),
        (lambda t: t["decoder.levels.3.spiral"].fill_(778), r"decoder\.levels\.3\.spiral: expected vertex ids"),
        (lambda t: t["faces"].fill_(-1), "faces: expected vertex ids"),
        (lambda t: t["fusion.finger_of_vertex"].fill_(9), "finger_of_vertex: expected vertex ids from 0 to 5"),
        (lambda t: t.pop("decoder.levels.0.upsample"), "mesh tables are missing"),
        (lambda t: t.pop("joint_regressor"), "no joint_regressor"),
    ],
)
def test_tensors_that_do_not_fit_are_named(saved: Path, change, words: str):
    rewrite(saved, change)
    with pytest.raises(InputError, match=words):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "other"}, "expected format"),
        ({"format_version": 2}, "format_version 1, found 2"),
        ({"network": {"width": 1}}, "network: expected the fields"),
        (
            {"network": {"frames": 3, "width": 0.3, "occlusion_joint_order": "official", "oriented": True}},
            "width must be",
        ),
        (
            {"network": {"frames": 3, "width": 1.0, "occlusion_joint_order": "official", "oriented": True}},
            "another width",
        ),
        ({"weights_sha256": None}, "checksum"),
    ],
)
def test_configurations_that_do_not_fit_are_named(saved: Path, change: dict, words: str):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(InputError, match=words):
        load_checkpoint(saved)


class Attack:
    """Pickles to a call of os.mkdir."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("writer", ["torch", "legacy torch", "pickle"])
def test_hostile_files_are_refused_and_not_run(saved: Path, tmp_path: Path, writer: str):
    planted, path = tmp_path / "planted", tmp_path / "hostile.pth"
    content = {"state_dict": {"module.a": torch.zeros(1), "module.b": Attack(planted)}}
    if writer == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=writer == "torch")
    with pytest.raises(InputError, match="nothing of it was run"):
        load_checkpoint(path)
    (saved / "training.pt").write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="damaged training state"):
        load_training_state(saved)
    assert not planted.exists()


def test_initialising_multi_frame_from_single_frame(build, tmp_path: Path):
    single, multi = build(width=0.125), build(seed=1, frames=3, width=0.125)
    report = initialise(multi, save_checkpoint(tmp_path / "best", single))
    own, theirs = multi.state_dict(), single.state_dict()
    assert report.found and not report.unused
    assert all(torch.equal(own[name], theirs[name]) for name in report.found)
    assert {name.split(".")[0] for name in report.missing} == {"occlusion", "fusion", "correction_head"}
    assert set(report.found) | set(report.missing) | {"faces", "joint_regressor"} >= {
        name for name in own if not name.endswith(("spiral", "upsample", "finger_of_vertex"))
    }


def test_initialising_from_another_width_or_mesh_is_refused(build, tmp_path: Path):
    wide, narrow = build(width=0.25), build(width=0.125)
    folder = save_checkpoint(tmp_path / "best", wide)
    with pytest.raises(InputError, match=r"has width 0.25, .* 0.125; add --set width=0.25"):
        initialise(narrow, folder)
    wide.decoder.levels[3].spiral[0, 1] += 1
    try:
        with pytest.raises(InputError, match="another mesh"):
            initialise(wide, folder)
    finally:
        wide.decoder.levels[3].spiral[0, 1] -= 1
