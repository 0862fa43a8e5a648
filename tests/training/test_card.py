"""The card beside `best/` speaks of the weights in it, and of nothing on the machine that trained them."""

import re

from h2onet.data.clips import ClipStore
from h2onet.network.checkpoint import checkpoint_hash, read_metadata
from h2onet.training.loop import train
from h2onet.training.recipe import load_recipe
from h2onet.training.runfolder import RunFolder


def test_the_card_is_of_the_best_weights(clips, val_clips, tiny, tmp_path) -> None:
    recipe = tiny("demo-single-stage2", "max_steps=4", "epochs=2")
    result = train(recipe, clips, tmp_path / "run", val_clips=val_clips, device="cpu")
    card = (tmp_path / "run" / "card.md").read_text()
    assert f"| weights | {checkpoint_hash(tmp_path / 'run' / 'best')} |" in card
    assert f"on the validation clips below: {result.best_score:.4g}" in card
    step = read_metadata(tmp_path / "run" / "best")["step"]
    assert f"| trained for | {step} steps" in card
    scores = dict(re.findall(r"^\| (pa_mp\w+_mm) \| (\S+) \|$", card, re.MULTILINE))
    total = float(scores["pa_mpjpe_mm"]) + float(scores["pa_mpvpe_mm"])
    assert abs(total - result.best_score) < 1e-3 * total
    for path in (clips, val_clips):
        assert ClipStore.open(path).fingerprint in card
        assert str(path) not in card and str(tmp_path) not in card
    (tmp_path / "again.toml").write_text(card.split("```toml\n")[1].split("```")[0])
    assert load_recipe(tmp_path / "again.toml") == recipe
    assert "CC BY-NC 4.0" in card and "stand-in" in card


def test_without_validation_clips_the_card_says_what_chose(clips, tiny, tmp_path) -> None:
    train(tiny("demo-single-stage1", "max_steps=1"), clips, tmp_path / "run", device="cpu")
    card = (tmp_path / "run" / "card.md").read_text()
    assert "| chosen by | training loss: " in card and "| started from | random weights |" in card
    assert "(validation)" not in card


def test_a_resumed_run_keeps_the_card_of_its_best_weights(clips, tiny, tmp_path) -> None:
    run = tmp_path / "run"
    train(tiny("demo-single-stage1", "max_steps=1"), clips, run, device="cpu")
    first = (run / "card.md").read_text()
    (run / "card.md").write_text("another's")
    train(tiny("demo-single-stage1", "max_steps=4"), clips, run, device="cpu", resume=True)
    card = (run / "card.md").read_text()  # the first steps lower the loss, so that `best/` is a new one
    assert f"| weights | {checkpoint_hash(run / 'best')} |" in card and checkpoint_hash(run / "best") not in first


def test_starting_anew_removes_the_old_card(clips, tiny, tmp_path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.card.write_text("an old run's")
    folder.start(tiny(), resume_step=None)
    folder.release()
    assert not folder.card.exists()
