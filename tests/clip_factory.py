"""Clip stores of the stand-in hand with known truth, for the tests of several rooms: hands drawn on plain photos."""

from pathlib import Path

import cv2
import numpy as np
import torch
from h2onet.data.frame import image_pattern
from h2onet.data.labels import LabelStore, empty_columns
from h2onet.data.stores.clip_index import write_index
from h2onet.data.stores.clips import SCHEMA, SCHEMA_VERSION
from h2onet.data.stores.sequences import SequenceStore
from h2onet.hand.camera import project
from h2onet.hand.draw import overlay_mesh
from h2onet.hand.mano import HandModel
from h2onet.hand.rotations import mirror_pose
from h2onet.pipeline.cut_hands import ClipTask, cut_sequence

WIDTH, HEIGHT = 640, 480
INTRINSICS = np.array([[600.0, 0.0, (WIDTH - 1) / 2], [0.0, 600.0, (HEIGHT - 1) / 2], [0.0, 0.0, 1.0]])
FLIP = np.array([-1.0, 1.0, 1.0])


def make_clip_store(
    folder: Path,
    hand: HandModel,
    sequences: dict[str, int],
    *,
    dataset: str = "dexycb",
    split: str = "test",
    released: bool = False,
    known: bool = True,
    labelled: bool = True,
    mano: dict[str, str] | None = None,
    seed: int = 0,
) -> Path:
    """Make a clips.zarr of camera sequences, key -> number of frames; keys that hold "left" are left hands.

    `released` gives meshes instead of poses, as HO3D's evaluation split; `known=False` gives neither; `labelled=False`
    leaves occlusion unknown; `mano` is the hand that the store names (default: the stand-in).
    """
    pattern, first = image_pattern(dataset, split), 0
    labels = LabelStore.create(folder / "labels.zarr", {"seed": seed})
    for number, (key, frames) in enumerate(sequences.items()):
        rng = np.random.default_rng([seed, number])
        rows = draw_sequence(hand, folder / "root", pattern, key, frames, first, dataset, rng)
        first += frames
        if labelled and known and not released:
            label_randomly(rows, rng)
        if not released:
            rows.pop("vertices")
        if released or not known:
            rows["has_pose"][:], rows["mano_pose"][:] = False, np.nan
        if not known:
            rows["joints"][:], rows["joints_2d"][:] = np.nan, np.nan
            rows["box"][:] = [160.0, 80.0, 480.0, 400.0]
        labels.commit(key, rows, {"failures": []})
    facts = {"dataset": dataset, "split": split, "setup": "s0"}
    right = mano or {"source": "standin", "sha256": hand.arrays.sha256}
    facts_of_labels = {"root": str(folder / "root"), "image": pattern, "mano": {"right": right}}
    labels.finish(list(sequences), {**facts, **facts_of_labels})
    labels.store.close()
    store = SequenceStore.create(folder / "clips.zarr", {"seed": seed}, False, schema=SCHEMA, version=SCHEMA_VERSION)
    for key, frames in sequences.items():
        places = (str(folder / "labels.zarr"), str(folder / "root"), pattern, str(store.path))
        cut_sequence(ClipTask(key, frames, *places, "jpeg-q95-444", 1.25))
    attrs = {**facts, "mano": {"right": right}, "max_scale": 1.25, "rules": {"h2onet": 1, "depth": 1}}
    write_index(store, list(sequences), attrs)
    store.close()
    return store.path


def draw_sequence(
    hand: HandModel,
    root: Path,
    pattern: str,
    key: str,
    frames: int,
    first: int,
    dataset: str,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Columns of one sequence without labels, and its photos on disk; a left hand is the mirrored right one."""
    rows = empty_columns(frames)
    pose = np.concatenate([rng.normal([1.5, 0.0, 0.0], 0.2, (frames, 3)), rng.normal(0, 0.2, (frames, 45))], 1)
    shape = rng.normal(0, 0.5, (frames, 10))
    translation = rng.normal([0.0, 0.0, 0.5], 0.01, (frames, 3)) - hand.root(torch.tensor(shape).float()).numpy()
    tips = "ho3d" if dataset.startswith("ho3d") else "manopth"
    mesh = hand(*(torch.tensor(values).float() for values in (pose, shape, translation)), tips=tips)
    vertices, joints = mesh.vertices.double().numpy(), mesh.joints.double().numpy()
    left = "left" in key
    if left:
        vertices, joints, pose = vertices * FLIP, joints * FLIP, mirror_pose(pose)
    rows["vertices"] = vertices.astype(np.float32)
    for i in range(frames):
        rows["frame"][i], rows["dataset_index"][i] = i, first + i
        ground = np.full((HEIGHT, WIDTH, 3), rng.integers(30, 220, 3), np.uint8)
        picture = overlay_mesh(ground, vertices[i], hand.faces, INTRINSICS, opacity=1.0)
        file = root / pattern.format(sequence=key, frame=i)
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), picture[..., ::-1])
    rows["has_pose"][:], rows["mano_pose"][:], rows["mano_shape"][:] = True, pose, shape
    rows["translation"][:], rows["joints"][:], rows["root"][:] = translation, joints, joints[:, 0]
    rows["joints_2d"][:] = project(joints.reshape(-1, 3), INTRINSICS).reshape(frames, 21, 2)
    rows["intrinsics"][:], rows["is_left"][:], rows["object_id"][:] = INTRINSICS, left, 14 if left else 3
    return rows


def label_randomly(rows: dict[str, np.ndarray], rng: np.random.Generator) -> None:
    """Fill the columns of occlusion labels with random values."""
    frames = len(rows["frame"])
    rows["labelled"][:] = True
    rows["occluded"][:] = rng.integers(0, 2, (frames, 7))
    rows["visible_fraction"][:], rows["cause"][:] = rng.uniform(0, 1, (frames, 6)), rng.integers(0, 4, (frames, 6))
    rows["joint_visible"][:] = rng.integers(0, 2, (frames, 21))
