"""`h2o demo` in a smallest form: everything from the synthesized sample to the page; interrupted, it goes on."""

import functools
import json
import os
import re
import signal

import pytest
from cli_trees import h2o, untouched
from h2onet import demo
from h2onet.network.checkpoint import read_metadata
from h2onet.training.steps import Stepper

# One recording of one camera for each split of setup s0.
SIZE = demo.DemoSize(sequences=3, frames=4, cameras=1)
SHORT = ("batch_size=4", "epochs=1", "milestones=[]", "num_workers=0", "pictures=1", "threads=1")


@pytest.fixture
def small(monkeypatch) -> None:
    """The command with a sample of 12 photos and a network that learns nothing."""
    short = functools.partial(demo.run_demo, size=SIZE, overrides=(*SHORT, "tensorboard=false"))
    monkeypatch.setattr(demo, "run_demo", short)


def test_a_demo_goes_all_the_way_and_on_after_a_break(small, tmp_path, monkeypatch) -> None:
    out, stages = tmp_path / "demo", demo.PRESETS
    taken = Stepper.step

    def step(self, batch, number, epoch):
        if self.recipe.name == stages[1]:
            os.kill(os.getpid(), signal.SIGINT)
        return taken(self, batch, number, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(Stepper, "step", step)
        broken_off = h2o("demo", "--out", out, "--workers", 1)
    assert broken_off.code == 130, broken_off
    assert broken_off.out.endswith("left after SIGINT\nthe same command goes on from there\n")
    assert not (out / "report.html").exists() and not (out / "single").exists()
    kept = [out / "DEX_YCB", out / "runs" / stages[0]]
    with untouched(*kept):
        done = h2o("demo", "--out", out, "--workers", 1)
    assert done.code == 0, done
    assert done.out.rstrip().endswith(f"open {out / 'report.html'}")
    assert re.search(r"train \d+ s, evaluate \d+ s", done.out) and "PA-MPJPE, mm" in done.out

    starts = ("synthetic", str(out / "runs" / stages[0] / "last"))
    for stage, start in zip(stages, starts, strict=True):
        metadata = read_metadata(out / "runs" / stage / "last")
        assert metadata["epoch"] == 1 and metadata["provenance"]["init"] == start
    single = json.loads((out / "single" / "protocol.json").read_text())
    assert single["network"]["frames"] == 1
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["frames"] == SIZE.frames and metrics["pa_mpjpe_mm"] > 0 and "occlusion_accuracy" in metrics
    page = (out / "report.html").read_text()
    for title in ("The sample", "Labels", "Clips", "Against another evaluation", "Metrics", *stages):
        assert title in page, title
    assert page.count("data:image/") >= 3 and not re.search(r'(src|href)="(?!data:|#)', page)

    refused = h2o("demo", "--out", out, "--seed", 1).error
    assert "the demo there is another one than seed 1" in refused and "--overwrite" in refused


def test_only_a_demo_is_overwritten(small, tmp_path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with untouched(tmp_path):
        for more in ((), ("--overwrite",)):
            assert "holds no demo" in h2o("demo", "--out", tmp_path, *more).error
    out = tmp_path / "demo"
    out.mkdir()
    for name in ("demo.txt", "old"):
        (out / name).write_text("an older demo")
    demo.prepare_folder(out, "seed 0", overwrite=True)
    assert [path.name for path in out.iterdir()] == ["demo.txt"]
