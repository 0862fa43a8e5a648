"""Tiny clip stores of the stand-in hand and narrow recipes for the tests of training."""

from collections.abc import Callable
from pathlib import Path

import pytest
from clip_factory import make_clip_store
from h2onet.hand.mano import HandModel, load_hand
from h2onet.training.recipe import Recipe, load_recipe

MakeClips = Callable[..., Path]


@pytest.fixture(autouse=True)
def threads(one_thread: None) -> None:
    """Every test of this room computes with one thread: bits are compared."""


@pytest.fixture(scope="session")
def hand() -> HandModel:
    """The right stand-in hand."""
    return load_hand("standin")


@pytest.fixture(scope="session")
def make_clips(hand: HandModel, tmp_path_factory: pytest.TempPathFactory) -> MakeClips:
    """Makes a clips.zarr of `sequences` x `frames` pictures; `sha256` and `source` name the hand of its labels."""

    def make(
        *,
        sequences: int = 2,
        frames: int = 8,
        dataset: str = "dexycb",
        split: str = "train",
        labelled: bool = True,
        sha256: str | None = None,
        source: str = "standin",
        seed: int = 0,
    ) -> Path:
        keys = {f"subject-{number:02d}/recording/camera": frames for number in range(sequences)}
        mano = {"source": source, "sha256": sha256 or hand.arrays.sha256}
        folder = tmp_path_factory.mktemp("clips")
        return make_clip_store(
            folder, hand, keys, dataset=dataset, split=split, labelled=labelled, mano=mano, seed=seed
        )

    return make


@pytest.fixture(scope="session")
def clips(make_clips: MakeClips) -> Path:
    """A training store: 2 sequences of 8 frames."""
    return make_clips()


@pytest.fixture(scope="session")
def val_clips(make_clips: MakeClips) -> Path:
    """A validation store of other frames."""
    return make_clips(split="val", frames=3, seed=7)


@pytest.fixture
def tiny() -> Callable[..., Recipe]:
    """A recipe by preset name, shrunk to the narrowest network and a few steps."""

    def recipe(preset: str = "demo-single-stage1", *overrides: str) -> Recipe:
        small = "width=0.125 batch_size=4 epochs=1 milestones=[] num_workers=0 tensorboard=false pictures=0 log_every=1"
        return load_recipe(preset, [*small.split(), "threads=1", "checkpoint_every=1000", *overrides])

    return recipe
