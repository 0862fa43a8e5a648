"""The card of a store says what is in it, and nothing of the machine that built it."""

import clip_scene
import pytest
from cli_trees import h2o
from h2onet.data.clips import ClipStore, clip_info
from h2onet.data.loading.card import clip_card, licence_reminders, table
from h2onet.pipeline.build_clips import build_clips


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    build_clips(clip_scene.write_scene(folder, clip_scene.Scene()), folder / "c.zarr", workers=1)
    return folder / "c.zarr"


def test_counts_balance_and_hashes_are_the_stores(clips):
    card, info, store = clip_card(clips), clip_info(clips), ClipStore.open(clips)
    assert card.startswith("# Clips: dexycb s0 train\n")
    assert f"| frames | {info.frames}: {info.frames} right hands, 0 left |" in card
    for label, hidden in info.occluded.items():
        assert f"| {label} | {hidden} | 21 | {hidden / 21:.1%} |" in card
    assert "| thumb | 100.0% | 0.0% | 0.0% | 0.0% | 0.0% |" in card  # no cause hides anything
    assert store.fingerprint in card and store.attrs["labels_sha256"] in card
    assert str(clips.parent) not in card and clips.parent.name not in card


def test_unlabelled_clips_have_no_balance(tmp_path):
    labels = clip_scene.write_scene(tmp_path, clip_scene.Scene(labelled=False, posed=False))
    build_clips(labels, tmp_path / "c.zarr", workers=1)
    card = clip_card(tmp_path / "c.zarr")
    assert "No frame has occlusion labels." in card and "| joints seen | unknown |" in card
    assert "box given by the dataset" in card and "nan" not in card.lower()


def test_licences_follow_the_dataset_and_the_hand():
    class Store:
        def __init__(self, dataset, source):
            self.dataset, self.attrs = dataset, {"mano": {"right": {"source": source, "sha256": "0" * 64}}}

    real = "\n".join(licence_reminders([Store("dexycb", "MANO_RIGHT.pkl"), Store("ho3d-v3", "MANO_RIGHT.pkl")]))
    assert "CC BY-NC 4.0" in real and "HO3D" in real and "mano.is.tue.mpg.de" in real and "stand-in" not in real
    made = "\n".join(licence_reminders([Store("dexycb", "standin")]))
    assert "stand-in" in made and "mano.is.tue.mpg.de" not in made
    both = "\n".join(licence_reminders([Store("dexycb", "standin"), Store("dexycb", "MANO_RIGHT.pkl")]))
    assert "mano.is.tue.mpg.de" in both
    assert "rig &lt;b>" in licence_reminders([Store("rig <b>", "MANO_RIGHT.pkl")])[0]


def test_what_a_file_says_stays_in_its_cell():
    assert table(("a",), [("x | y\n# z <img>",)]) == "| a |\n| --- |\n| x \\| y # z &lt;img> |"


def test_the_command_prints_or_writes_it_once(clips, tmp_path):
    printed = h2o("clips", "card", clips)
    assert printed.code == 0 and printed.out == clip_card(clips)
    out = tmp_path / "new" / "card.md"
    assert h2o("clips", "card", clips, "--out", out).code == 0 and out.read_text() == printed.out
    assert h2o("clips", "card", clips, "--out", out).error == f"h2o: --out {out}: exists already; give a new name"
    assert "lies inside the store" in h2o("clips", "card", clips, "--out", clips / "card.md").error
