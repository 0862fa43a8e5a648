"""A full disk behind standard output or a run folder is one line and exit code 2; what was finished stays."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from clip_factory import make_clip_store
from h2onet.durable import DiskFull
from h2onet.hand.mano import load_hand
from h2onet.network.checkpoint import load_checkpoint
from h2onet.training import logs
from h2onet.training.guard import Guard, SkippedStep
from h2onet.training.loop import train
from h2onet.training.recipe import load_recipe

pytestmark = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight frames of the stand-in hand."""
    hand = load_hand("standin")
    mano = {"source": "standin", "sha256": hand.arrays.sha256}
    return make_clip_store(
        tmp_path_factory.mktemp("clips"), hand, {"subject-00/recording/camera": 8}, dataset="dexycb", split="train",
        labelled=True, mano=mano, seed=0,
    )  # fmt: skip


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 5 MB: one checkpoint of the narrowest network fits, a second beside it does not."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("nothing may be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def _command(*arguments: object, out: str) -> subprocess.CompletedProcess:
    with open(out, "w") as file:
        return subprocess.run(
            [sys.executable, "-m", "h2onet.cli", *map(str, arguments)], stdout=file, stderr=subprocess.PIPE, text=True
        )


def test_a_full_disk_behind_standard_output_is_one_line(clips: Path, monkeypatch) -> None:
    # The error shows in the first print, or when everything is flushed.
    for command, unbuffered in ((("clips", "info", clips), "1"), (("train", "--keys"), ""), (("--version",), "")):
        monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
        done = _command(*command, out="/dev/full")
        assert done.returncode == 2, command
        assert done.stderr.splitlines() == [done.stderr.strip()] and "output: No space left on device" in done.stderr


def test_a_reader_that_has_enough_is_no_error() -> None:
    ends = os.pipe()
    os.close(ends[0])
    with os.fdopen(ends[1], "w") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "h2onet.cli", "train", "--keys"], stdout=closed, stderr=subprocess.PIPE, text=True
        )
    assert done.stderr == "" and done.returncode != 0


def _recipe(*more: str):
    small = "width=0.125 batch_size=4 epochs=3 milestones=[] num_workers=0 tensorboard=false pictures=0 threads=1"
    return load_recipe("demo-single-stage1", [*small.split(), "checkpoint_every=1", *more])


def test_training_keeps_its_last_checkpoint_on_a_full_disk(clips: Path, small: Path) -> None:
    with pytest.raises(DiskFull, match=r"run/last: No space left on device; free space") as caught:
        train(_recipe(), clips, small / "run", device="cpu")
    assert "\n" not in str(caught.value)
    assert torch.isfinite(load_checkpoint(small / "run/last").joint_regressor).all()
    assert [path.name for path in (small / "run").iterdir() if path.name.startswith(".")] == []


def test_numbers_that_find_no_room_are_a_full_disk(tmp_path: Path) -> None:
    full = tmp_path / "metrics.jsonl"
    full.symlink_to("/dev/full")
    log = logs.RunLog(full, None, total=1, done=0, step=0, name="x")
    with pytest.raises(DiskFull, match=r"metrics\.jsonl"):
        log.write("train", 1, {"loss": 1.0})
    model = torch.nn.Linear(1, 1)
    record = SkippedStep(step=1, epoch=0, broken=("vertices",), values={}, parameters=(), frames=())
    with pytest.raises(DiskFull, match=r"metrics\.jsonl"):
        Guard(model, full, 3).skip(record)


def test_tensorboard_that_finds_no_room_is_a_full_disk(tmp_path: Path, small: Path, capsys) -> None:
    (small / "filler").write_bytes(bytes(5 * 2**20 - 2**15))
    lines = tmp_path / "metrics.jsonl"
    with pytest.raises(DiskFull), logs.RunLog(lines, small, total=1, done=0, step=0, name="x") as log:
        for step in range(3000):
            log.write("train", step, {f"value{i}": 1.0 for i in range(10)})
    assert "Traceback" not in capsys.readouterr().err


def test_a_dataset_that_finds_no_room_leaves_nothing_and_is_one_line(small: Path) -> None:
    (small / "filler").write_bytes(bytes(4 * 2**20))
    done = _command("synthesize", small / "tree", "--layout", "dexycb", "--sequences", 2, "--frames", 3, out=os.devnull)
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith(f"h2o: {small / 'tree'}: No space left")
    assert [path.name for path in small.iterdir()] == ["filler"] and "Traceback" not in done.stderr
