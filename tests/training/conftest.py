"""Tiny clip stores of the stand-in hand for the tests of training: right hands drawn on plain photos, labels known."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from h2onet.data.frame import image_pattern
from h2onet.data.labels import LabelStore, empty_columns
from h2onet.data.stores.clip_index import write_index
from h2onet.data.stores.clips import SCHEMA, SCHEMA_VERSION
from h2onet.data.stores.sequences import SequenceStore
from h2onet.hand import hierarchy
from h2onet.hand.camera import project
from h2onet.hand.draw import overlay_mesh
from h2onet.hand.mano import HandModel, load_hand
from h2onet.pipeline.cut_hands import ClipTask, cut_sequence
from h2onet.training.recipe import Recipe, load_recipe

WIDTH, HEIGHT = 640, 480
INTRINSICS = np.array([[613.0, 0.0, 313.0], [0.0, 612.0, 245.0], [0.0, 0.0, 1.0]])
MakeClips = Callable[..., Path]


@pytest.fixture(scope="session")
def hand() -> HandModel:
    """The right stand-in hand."""
    return load_hand("standin")


@pytest.fixture(autouse=True)
def one_thread():
    """Bit-for-bit comparisons and a shared machine: one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def one_hierarchy(hand: HandModel):
    """Every network here is over the same mesh: decimate it once."""
    built = hierarchy.build_hierarchy(hand.arrays.v_template, hand.faces)

    def same(vertices: np.ndarray, faces: np.ndarray) -> hierarchy.Hierarchy:
        assert np.array_equal(vertices, hand.arrays.v_template) and np.array_equal(faces, hand.faces)
        return built

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hierarchy, "build_hierarchy", same)
        yield


@pytest.fixture(scope="session")
def make_clips(hand: HandModel, tmp_path_factory: pytest.TempPathFactory) -> MakeClips:
    """Makes a clips.zarr of `sequences` x `frames` pictures with these facts; its path."""

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
        folder = tmp_path_factory.mktemp("clips")
        labels, pattern = LabelStore.create(folder / "labels.zarr", {"seed": seed}), image_pattern(dataset, split)
        keys = [f"subject-{number:02d}/recording/camera" for number in range(sequences)]
        for number, key in enumerate(keys):
            rows = _sequence(
                hand, folder / "root", pattern, key, frames, labelled, np.random.default_rng([seed, number])
            )
            labels.commit(key, rows, {"failures": []})
        attrs = {"dataset": dataset, "split": split, "setup": "s0", "root": str(folder / "root"), "image": pattern}
        labels.finish(keys, attrs)
        labels.store.close()
        store = SequenceStore.create(
            folder / "clips.zarr", {"seed": seed}, False, schema=SCHEMA, version=SCHEMA_VERSION
        )
        for key in keys:
            cut_sequence(
                ClipTask(
                    key,
                    frames,
                    str(folder / "labels.zarr"),
                    str(folder / "root"),
                    pattern,
                    str(store.path),
                    "jpeg-q95-444",
                    1.25,
                )
            )
        mano = {"source": source, "sha256": hand.arrays.sha256 if sha256 is None else sha256}
        write_index(store, keys, {"dataset": dataset, "split": split, "mano": {"right": mano}, "max_scale": 1.25})
        store.close()
        return store.path

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


def _sequence(
    hand: HandModel, root: Path, pattern: str, key: str, frames: int, labelled: bool, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    rows = empty_columns(frames)
    pose, shape = rng.normal(0, 0.25, (frames, 48)), rng.normal(0, 0.5, (frames, 10))
    pose[:, :3] += [1.5, 0.0, 0.0]
    translation = rng.normal([0.0, 0.0, 0.5], 0.02, (frames, 3)) - hand.root(torch.tensor(shape).float()).numpy()
    mesh = hand(*(torch.tensor(values).float() for values in (pose, shape, translation)))
    vertices, joints = mesh.vertices.double().numpy(), mesh.joints.double().numpy()
    for i in range(frames):
        rows["frame"][i] = rows["dataset_index"][i] = i
        ground = np.full((HEIGHT, WIDTH, 3), rng.integers(30, 220, 3), np.uint8)
        picture = overlay_mesh(ground, vertices[i], hand.faces, INTRINSICS, opacity=1.0)
        file = root / pattern.format(sequence=key, frame=i)
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), picture[..., ::-1])
    rows["has_pose"][:], rows["mano_pose"][:], rows["mano_shape"][:] = True, pose, shape
    rows["translation"][:], rows["joints"][:], rows["root"][:] = translation, joints, joints[:, 0]
    rows["joints_2d"][:] = project(joints.reshape(-1, 3), INTRINSICS).reshape(frames, 21, 2)
    rows["intrinsics"][:] = INTRINSICS
    if labelled:
        rows["labelled"][:], rows["occluded"][:] = True, rng.integers(0, 2, (frames, 7))
        rows["visible_fraction"][:], rows["joint_visible"][:], rows["cause"][:] = 0.5, 1, 0
    return rows
