"""Checkpoints are replaced at one instant, survive a failed or a killed save; logs of a resumed run have no doubled
steps.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from h2onet.training import machine, runfolder
from h2onet.training.logs import Stopwatch
from h2onet.training.recipe import load_recipe
from h2onet.training.runfolder import RunFolder, exchange


def _writer(text: str):
    def write(folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(text)

    return write


def test_exchange_swaps_folders_and_refuses_what_is_not_there(tmp_path) -> None:
    for name in ("a", "b"):
        _writer(name)(tmp_path / name)
    if not exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this system or file system cannot exchange names")
    assert (tmp_path / "a/config.json").read_text() == "b" and (tmp_path / "b/config.json").read_text() == "a"
    assert not exchange(tmp_path / "a", tmp_path / "missing")


@pytest.mark.parametrize("can_exchange", [True, False])
def test_saving_replaces_and_leaves_nothing_behind(can_exchange, tmp_path, monkeypatch) -> None:
    if not can_exchange:
        monkeypatch.setattr(runfolder, "exchange", lambda first, second: False)
    folder = RunFolder(tmp_path / "run")
    folder.start(load_recipe("demo-single-stage1"), resume_step=None)
    for text in ("first", "second"):
        folder.save("last", _writer(text))
        assert (folder.last / "config.json").read_text() == text
    assert sorted(path.name for path in folder.path.iterdir()) == ["config.toml", "last"]


def test_a_save_that_fails_leaves_the_old_checkpoint(tmp_path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.start(load_recipe("demo-single-stage1"), resume_step=None)
    folder.save("last", _writer("good"))

    def fail(path: Path) -> None:
        _writer("half")(path)
        raise RuntimeError("killed here")

    with pytest.raises(RuntimeError, match="killed here"):
        folder.save("last", fail)
    assert (folder.last / "config.json").read_text() == "good"
    assert sorted(path.name for path in folder.path.iterdir()) == ["config.toml", "last"]


def test_a_resumed_log_forgets_what_will_be_done_again(tmp_path) -> None:
    folder, recipe = RunFolder(tmp_path / "run"), load_recipe("demo-single-stage1")
    folder.start(recipe, resume_step=None)
    lines = [json.dumps({"kind": "train", "step": step}) for step in (1, 2, 3)]
    folder.metrics.write_text("\n".join(lines) + '\n{"kind": "tr')
    (folder.path / ".tmp-last-dead").mkdir()
    folder.start(recipe, resume_step=2)
    assert folder.metrics.read_text().splitlines() == lines[:2]
    assert not (folder.path / ".tmp-last-dead").exists()


def test_random_states_go_through_a_file_and_come_back(tmp_path) -> None:
    torch.save(machine.random_states(), tmp_path / "state.pt")
    draws = [torch.rand(3), torch.tensor(np.random.rand(3))]  # noqa: NPY002
    torch.rand(5)
    machine.restore_random_states(torch.load(tmp_path / "state.pt", weights_only=True))
    again = [torch.rand(3), torch.tensor(np.random.rand(3))]  # noqa: NPY002
    assert all(torch.equal(a, b) for a, b in zip(draws, again, strict=True))


def test_the_wait_share_is_waiting_over_all() -> None:
    watch = Stopwatch()
    assert watch.wait_share == 0 and watch.rate == 0
    watch.add(1.0, 3.0, 8)
    watch.add(1.0, 3.0, 8)
    assert watch.wait_share == pytest.approx(0.25) and watch.rate == pytest.approx(2.0)


def test_machine_choices_follow_the_device() -> None:
    cpu, recipe = torch.device("cpu"), load_recipe("demo-single-stage1")
    assert machine.autocast_dtype("auto", cpu) is None and machine.autocast_dtype("bf16", cpu) == torch.bfloat16
    assert machine.worker_count(recipe, cpu) == 0
    assert machine.worker_count(load_recipe("demo-single-stage1", ["num_workers=3"]), cpu) == 3
    assert machine.worker_count(recipe, torch.device("cuda")) >= 1
