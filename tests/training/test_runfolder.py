"""Logs of a resumed run have no doubled steps, random states come back, the machine is asked for defaults."""

import json

import numpy as np
import pytest
import torch
from h2onet.errors import InputError
from h2onet.training import machine
from h2onet.training.logs import Stopwatch
from h2onet.training.recipe import load_recipe
from h2onet.training.runfolder import RunFolder


def test_a_resumed_log_forgets_what_will_be_done_again(tmp_path) -> None:
    folder, recipe = RunFolder(tmp_path / "run"), load_recipe("demo-single-stage1")
    folder.start(recipe, resume_step=None)
    lines = [json.dumps({"kind": "train", "step": step}) for step in (1, 2, 3)]
    folder.metrics.write_text("\n".join(lines) + '\n{"kind": "tr')
    leftover = folder.path / f".tmp-last-{'0' * 32}"
    leftover.mkdir()
    folder.start(recipe, resume_step=2)
    assert folder.metrics.read_text().splitlines() == lines[:2]
    assert not leftover.exists()


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


def test_one_run_at_a_time_writes_a_folder(tmp_path) -> None:
    recipe = load_recipe("demo-single-stage1")
    first, second = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    first.start(recipe, resume_step=None)
    (tmp_path / "run" / "metrics.jsonl").write_text("the first run's")
    with pytest.raises(InputError, match="run: another run is writing here"):
        second.start(recipe, resume_step=None)
    assert (tmp_path / "run" / "metrics.jsonl").exists()
    first.release()
    assert not (tmp_path / "run" / ".lock").exists()
    second.start(recipe, resume_step=None)
    second.release()
