"""Training curves on the page: which runs are shown, and histories that are torn, sick or long."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from h2onet.errors import InputError
from h2onet.evaluation.evaluate import evaluate_clips
from h2onet.evaluation.page.training import (
    LOSSES,
    MOST_POINTS,
    average_points,
    find_run,
    name_histories,
    read_histories,
    read_history,
    series,
    training_section,
)


def write_history(run: Path, *lines: dict | str) -> Path:
    run.mkdir(parents=True, exist_ok=True)
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (run / "metrics.jsonl").write_text("\n".join(texts) + "\n")
    return run


def step(number: int, loss: float = 1.0) -> dict:
    return {"kind": "train", "step": number, "loss": loss}


def validation(number: int, error: float = 20.0) -> dict:
    return {"kind": "val", "step": number, "val_loss": 2.0, "pa_mpjpe_mm": error, "pa_mpvpe_mm": error, "score": error}


@pytest.fixture
def trained(make_checkpoint, tmp_path: Path) -> Path:
    """A run folder with a checkpoint as best/ and a short history."""
    run = write_history(tmp_path / "runs" / "mine", step(1), step(2, 0.5), validation(2), step(3, 0.4))
    shutil.copytree(make_checkpoint(), run / "best")
    config = json.loads((run / "best" / "config.json").read_text())
    (run / "best" / "config.json").write_text(json.dumps(config | {"metadata": {"step": 2}}))
    return run


def test_the_checkpoints_own_run_is_found(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for given in (trained / "best", trained / "best" / "config.json", trained / "best" / "model.safetensors"):
        assert find_run(given) == trained
    monkeypatch.chdir(trained)
    assert find_run("best") == trained
    (found,) = read_histories(trained / "best")
    assert found.run == trained and found.step == 2 and len(found.lines) == 4
    shutil.copytree(trained / "best", tmp_path / "elsewhere")
    assert find_run(tmp_path / "elsewhere") is None and read_histories(tmp_path / "elsewhere") == []
    (trained / "metrics.jsonl").unlink()
    assert find_run(trained / "best") is None


def test_named_runs_take_the_place_of_the_own(trained: Path, tmp_path: Path) -> None:
    other = write_history(tmp_path / "other" / "mine", step(1))
    found = read_histories(trained / "best", [other, trained, other])
    assert [(history.run, history.step) for history in found] == [(other, None), (trained, 2)]
    assert list(name_histories(found)) == [str(other), str(trained)]  # both are called "mine"
    with pytest.raises(InputError, match=r"--curves .*runs: has no metrics.jsonl"):
        read_histories(trained / "best", [trained.parent])


def test_what_cannot_be_drawn_is_left_out(tmp_path: Path) -> None:
    """NaN and Infinity as Python writes them, missing and odd values, lines that are no object, half a last line."""
    run = write_history(
        tmp_path / "sick",
        step(1, 4.0),
        step(2, float("nan")),
        step(3, float("inf")),
        {"kind": "train", "loss": 1.0},
        {"kind": "train", "step": 4},
        {"step": 5, "loss": None},
        {"step": True, "loss": 1.0},
        {"step": 6, "loss": "low"},
        "[1, 2]",
        "[" * 100_000,
        {"step": 7, "loss": 10**400},
        step(8, 2.0),
        '{"kind": "train", "step": 9, "lo',
    )
    (run / "metrics.jsonl").write_bytes((run / "metrics.jsonl").read_bytes().rstrip(b"\n") + b"\xff")
    history = read_history(run)
    assert history.broken == 3
    steps, losses = series(history.lines, "loss")
    assert (steps.tolist(), losses.tolist()) == ([1, 8], [4, 2])
    section = training_section([history])
    assert len(section.plots) == 1 and section.plots[0].startswith("<svg")
    assert "sick: 3 lines are not readable" in section.text
    empty = training_section([read_history(write_history(tmp_path / "new"))])
    assert not empty.plots and "new: metrics.jsonl holds no step that can be drawn" in empty.text


def test_long_histories_are_averaged() -> None:
    steps = np.arange(10_000.0)
    x, y, every = average_points(steps, 2 * steps)
    assert every == 25 and len(x) == MOST_POINTS and y == pytest.approx(2 * x)
    assert average_points(steps[:7], steps[:7])[2] == 1
    x, y, every = average_points(steps[: MOST_POINTS + 1], np.ones(MOST_POINTS + 1))
    assert every == 2 and x[-1] == MOST_POINTS and (y == 1).all()


def test_names_are_no_markup_and_no_path(tmp_path: Path) -> None:
    run = write_history(tmp_path / "--><script>", step(1), validation(2))
    section = training_section([read_history(run)], tmp_path / "pieces")
    assert len(section.plots) == 2 and not any("<script" in plot for plot in section.plots)
    assert len(list((tmp_path / "pieces").glob("training-*.png"))) == 2


def test_the_page_shows_them_or_says_that_there_are_none(trained: Path, store: Path, make_checkpoint) -> None:
    out = trained.parent / "score"
    evaluate_clips(trained / "best", store, out)
    page = (out / "report.html").read_text()
    assert "<!-- mine: loss -->" in page and "<!-- mine: validation -->" in page
    assert "No training curves" not in page and "dashed line" in page
    assert {path.name for path in (out / "pieces").glob("training-*")} == {
        "training-mine-loss.png",
        "training-mine-validation.png",
    }
    evaluate_clips(make_checkpoint(), store, out)
    page = (out / "report.html").read_text()
    assert "No training curves" in page and "--curves RUN" in page and "<!-- mine" not in page
    assert not list((out / "pieces").glob("training-*"))  # none of the evaluation before
    assert set(LOSSES) == {"loss", "val_loss"}
