"""What does not fit is refused before anything is written, in one line that says what, where and what to do."""

import dataclasses
import itertools
import shutil
from pathlib import Path

import pytest
from h2onet.data.loading import processes
from h2onet.data.loading.augment import Augmentation
from h2onet.errors import InputError
from h2onet.hand.mano import load_arrays
from h2onet.hand.standin.arrays import write_mano_pickles
from h2onet.network.checkpoint import read_metadata
from h2onet.training import chains
from h2onet.training import recipe as recipe_module
from h2onet.training.chains import Stage, train_all
from h2onet.training.inputs import training_clips
from h2onet.training.loop import train
from h2onet.training.recipe import PRESETS
from h2onet.training.run import TrainResult

RESULT = TrainResult(Path("run"), 1, 1, None, "training loss", 0, None, 1.0, 1.0, 0.0)


def _refused(match: str, recipe, clips, out, **options) -> None:
    with pytest.raises(InputError, match=match) as caught:
        train(recipe, clips, out, device="cpu", **options)
    assert "\n" not in str(caught.value)
    assert not out.exists()


def test_multi_frame_presets_need_labels(make_clips, clips, tiny, tmp_path) -> None:
    bare = make_clips(labelled=False)
    _refused("no frame has occlusion labels.*demo-multi-stage1", tiny("demo-multi-stage1"), bare, tmp_path / "run")
    _refused("no frame has occlusion labels", tiny("demo-multi-stage2"), [clips, bare], tmp_path / "run")
    assert train(tiny("demo-single-stage1", "max_steps=1"), bare, tmp_path / "run", device="cpu").steps == 1


def test_clips_without_a_frame_are_refused(make_clips, clips, tiny, tmp_path) -> None:
    empty = make_clips(sequences=1, frames=0)
    _refused("no frame passes .*require_pose=True", tiny(), empty, tmp_path / "run")
    _refused("no frame passes .*require_pose=True", tiny(), clips, tmp_path / "run", val_clips=empty)
    _refused("no frame has occlusion labels", tiny("demo-multi-stage1"), empty, tmp_path / "run")


def test_the_recipe_s_augmentation_is_that_of_the_clips(clips, tiny) -> None:
    settings = ("scale_range=0.1", "rotation_degrees=7", "rotation_probability=0.5", "colour_gain=0.3")
    for photo in (False, True):
        dataset = training_clips(tiny("demo-single-stage1", *settings, f"augment_photo={str(photo).lower()}"), clips)
        assert dataset.augment == Augmentation(0.1, 7.0, 0.5, 0.3, photo)
    assert not tiny().augment_photo  # the authors know nothing of it


def test_presets_want_their_dataset(make_clips, clips, tiny, tmp_path) -> None:
    _refused(
        "holds dexycb, but preset ho3d-single-stage1 is for ho3d-v2 or ho3d-v3",
        tiny("ho3d-single-stage1"),
        clips,
        tmp_path / "r",
    )
    other = make_clips(dataset="ho3d-v3", frames=4)
    _refused("holds ho3d-v3, but preset dexycb-single-stage1", tiny("dexycb-single-stage1"), other, tmp_path / "r")


def test_test_data_choose_no_checkpoint_unless_asked(make_clips, clips, tiny, tmp_path) -> None:
    test = make_clips(split="test", frames=3)
    _refused("holds the test split", tiny(), clips, tmp_path / "run", val_clips=test)
    recipe = tiny("demo-single-stage1", "select_on_test=true", "max_steps=1")
    assert "mm on" in train(recipe, clips, tmp_path / "run", val_clips=test, device="cpu").chosen_on


def test_the_hand_of_the_clips_is_found_and_checked(make_clips, clips, tiny, hand, tmp_path) -> None:
    mano = tmp_path / "mano"
    mano.mkdir()
    write_mano_pickles(mano)
    recorded = load_arrays(mano, "right")
    elsewhere = make_clips(source=str(tmp_path / "gone"), sha256=recorded.sha256, frames=4)
    out, recipe = tmp_path / "run", tiny("demo-single-stage1", "max_steps=1")
    _refused("was labelled with .*gone.*say where that hand is with --mano", recipe, elsewhere, out)
    _refused("was labelled with .*standin has sha256", recipe, elsewhere, out, mano="standin")
    _refused("labelled with another MANO than", recipe, [clips, elsewhere], out)
    moved = shutil.copytree(mano, tmp_path / "moved")
    assert train(recipe, elsewhere, out, mano=moved, device="cpu").steps == 1


def test_initial_weights_of_another_network_are_named(clips, tiny, tmp_path) -> None:
    train(tiny("demo-single-stage1", "max_steps=1"), clips, tmp_path / "narrow", device="cpu")
    narrow = tmp_path / "narrow/last"
    _refused("width|shape", tiny("demo-single-stage2", "width=0.25"), clips, tmp_path / "run", init=narrow)
    _refused("nothing|no such|expected a checkpoint|missing", tiny(), clips, tmp_path / "run", init=tmp_path / "none")
    official = tmp_path / "official.pth"
    official.write_bytes(b"weights")
    _refused("give their transform.pkl", tiny(), clips, tmp_path / "run", init=official)


def test_devices_and_formats_that_are_not_there(clips, tiny, tmp_path) -> None:
    with pytest.raises(InputError, match="expected auto, cpu, cuda"):
        train(tiny(), clips, tmp_path / "run", device="tpu")
    _refused("fp16 needs a CUDA device", tiny("demo-single-stage1", "amp=fp16"), clips, tmp_path / "run")


def test_chains_initialise_each_stage_from_the_best_before(clips, val_clips, tmp_path) -> None:
    tiny = [
        "width=0.125",
        "batch_size=4",
        "max_steps=1",
        "num_workers=0",
        "tensorboard=false",
        "pictures=0",
        "threads=1",
    ]
    results = train_all("demo-multi", clips, tmp_path, val_clips=val_clips, overrides=tiny, device="cpu")
    names = [result.out.name for result in results]
    assert names == ["demo-single-stage1", "demo-single-stage2", "demo-multi-stage2"]
    for name, before in zip(names[1:], names, strict=False):
        provenance = read_metadata(tmp_path / name / "last")["provenance"]
        assert provenance["init"] == str(tmp_path / before / "best") and provenance["found"] > 100
    # The same command again has nothing left to do.
    assert train_all("demo-multi", clips, tmp_path, val_clips=val_clips, overrides=tiny, device="cpu") == []


def test_what_a_stage_does_stands_in_the_chain_and_not_in_names(tmp_path, monkeypatch) -> None:
    calls = []

    def train(recipe, clips, out, *, val_clips, init, **rest):
        calls.append((recipe.name, clips, out.name, val_clips, init))
        return dataclasses.replace(RESULT, out=out)

    chain = (Stage("x-warmup"), Stage("demo-single-stage1", clips="warmup"), Stage("demo-single-stage2", start="last"))
    presets = tmp_path / "presets"
    presets.mkdir()
    for name in ("demo-single-stage1", "demo-single-stage2"):
        shutil.copy(PRESETS / f"{name}.toml", presets)
    shutil.copy(PRESETS / "demo-single-stage1.toml", presets / "x-warmup.toml")
    monkeypatch.setattr(recipe_module, "PRESETS", presets)
    monkeypatch.setattr(chains, "train", train)
    monkeypatch.setitem(chains.CHAINS, "mine", chain)
    given = {"val_clips": "val", "warmup_clips": "other", "init": "start.pth"}
    train_all("mine", "clips", tmp_path, **given, overrides=["name=y-warmup"])
    assert calls == [
        ("y-warmup", "clips", "x-warmup", "val", "start.pth"),
        ("y-warmup", "other", "demo-single-stage1", None, tmp_path / "x-warmup/best"),
        ("y-warmup", "clips", "demo-single-stage2", "val", tmp_path / "demo-single-stage1/last"),
    ]


def test_the_authors_warm_up_trains_on_dexycb_and_hands_on_its_last_weights() -> None:
    for name, stages in chains.CHAINS.items():
        assert any(stage.clips == "warmup" for stage in stages) == name.startswith("ho3d")
        for before, stage in itertools.pairwise(stages):
            assert stage.start == ("last" if before.clips == "warmup" else "best")


def test_chains_refuse_what_they_lack(clips, tmp_path) -> None:
    with pytest.raises(InputError, match="chain dexycb: unknown; chains are dexycb-single"):
        train_all("dexycb", clips, tmp_path)
    with pytest.raises(InputError, match="give --warmup-clips"):
        train_all("ho3d-multi", clips, tmp_path)


def test_loader_processes_fit_into_shared_memory(monkeypatch, caplog, tmp_path):
    class Room:
        f_bavail, f_frsize = 64 * 2**10, 1024  # 64 MiB, as a container has by default

    monkeypatch.setattr(processes.os, "statvfs", lambda path: Room)
    monkeypatch.setattr(processes, "SHARED_MEMORY", str(tmp_path))
    assert processes.fit_shared_memory(8, 1_000_000) == 8 and not caplog.text
    assert processes.fit_shared_memory(8, 32 * 3 * processes.FRAME_BYTES) == 0
    assert processes.fit_shared_memory(8, 4 * 3 * processes.FRAME_BYTES) == 7
    assert processes.fit_shared_memory(8, 4 * 3 * processes.FRAME_BYTES, processes=2) == 3
    assert len(caplog.records) == 3 and "--shm-size" in caplog.records[0].message
    assert "room for 64 MB, 8 loader processes need 483 MB: 0 are started" in caplog.records[0].message
    monkeypatch.setattr(processes, "SHARED_MEMORY", str(tmp_path / "none"))
    assert processes.fit_shared_memory(8, 10**9) == 8
