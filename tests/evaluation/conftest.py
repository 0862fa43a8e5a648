"""Small clip stores with known truth and narrow untrained networks for the tests of evaluation."""

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
from h2onet.hand.camera import project
from h2onet.hand.draw import overlay_mesh
from h2onet.hand.hierarchy import build_hierarchy
from h2onet.hand.mano import HandModel, load_hand
from h2onet.hand.rotations import mirror_pose
from h2onet.network.checkpoint import save_checkpoint
from h2onet.network.h2onet import H2ONet, NetworkConfig, build_network
from h2onet.pipeline.cut_hands import ClipTask, cut_sequence

WIDTH, HEIGHT = 640, 480
INTRINSICS = np.array([[600.0, 0.0, (WIDTH - 1) / 2], [0.0, 600.0, (HEIGHT - 1) / 2], [0.0, 0.0, 1.0]])
FLIP = np.array([-1.0, 1.0, 1.0])
MakeStore = Callable[..., Path]
MakeCheckpoint = Callable[..., Path]


@pytest.fixture(scope="session")
def hand() -> HandModel:
    """The right stand-in hand."""
    return load_hand("standin")


@pytest.fixture(autouse=True)
def one_thread():
    """A shared machine: one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make_store(hand: HandModel, tmp_path_factory: pytest.TempPathFactory) -> MakeStore:
    """Makes a clips.zarr of these camera sequences: key -> number of frames; keys that hold "left" are left hands.

    `released` gives meshes instead of poses, as HO3D's evaluation split; `known=False` gives neither.
    """

    def make(sequences: dict[str, int], *, dataset: str = "dexycb", released: bool = False, known: bool = True) -> Path:
        folder = tmp_path_factory.mktemp("clips")
        pattern = image_pattern(dataset, "test")
        labels, first = LabelStore.create(folder / "labels.zarr", {"seed": 0}), 0
        for key, frames in sequences.items():
            rows = sequence_rows(hand, folder / "root", pattern, key, frames, first, dataset)
            first += frames
            if released or not known:
                rows["has_pose"][:], rows["mano_pose"][:], rows["labelled"][:] = False, np.nan, False
                rows["occluded"][:], rows["visible_fraction"][:], rows["cause"][:] = 255, np.nan, 255
            if not released:
                rows.pop("vertices")
            if not known:
                rows["joints"][:], rows["joints_2d"][:] = np.nan, np.nan
                rows["box"][:] = [160.0, 80.0, 480.0, 400.0]
            labels.commit(key, rows, {"failures": []})
        keys = list(sequences)
        labels.finish(
            keys,
            {"dataset": dataset, "split": "test", "setup": "s0", "root": str(folder / "root"), "image": pattern},
        )
        labels.store.close()
        store = SequenceStore.create(folder / "clips.zarr", {"seed": 0}, False, schema=SCHEMA, version=SCHEMA_VERSION)
        for key, frames in sequences.items():
            places = (str(folder / "labels.zarr"), str(folder / "root"), pattern, str(store.path))
            cut_sequence(ClipTask(key, frames, *places, "jpeg-q95-444", 1.25))
        mano = {"source": "standin", "sha256": hand.arrays.sha256}
        attrs = {"dataset": dataset, "split": "test", "setup": "s0", "mano": {"right": mano}, "max_scale": 1.25}
        write_index(store, keys, {**attrs, "rules": {"h2onet": 1, "depth": 1}})
        store.close()
        return store.path

    return make


@pytest.fixture(scope="session")
def store(make_store: MakeStore) -> Path:
    """Two recordings, two cameras each, one of them with a left hand: 22 frames."""
    return make_store({"S1/R1/cam0": 6, "S1/R1/cam1": 6, "S2/left/cam0": 6, "S2/left/cam1": 4})


@pytest.fixture(scope="session")
def make_checkpoint(hand: HandModel, tmp_path_factory: pytest.TempPathFactory) -> MakeCheckpoint:
    """Saves an untrained narrow network: frames 1 or 3, oriented or not, by seed."""
    hierarchy = build_hierarchy(hand.arrays.v_template, hand.faces)

    def make(frames: int = 1, oriented: bool = True, seed: int = 0) -> Path:
        torch.manual_seed(seed)
        network = build_network(NetworkConfig(frames=frames, width=0.125, oriented=oriented), hand, hierarchy)
        spread(network.eval(), frames)
        return save_checkpoint(tmp_path_factory.mktemp("checkpoint") / "net", network.eval())

    return make


@torch.no_grad()
def spread(network: H2ONet, frames: int) -> None:
    """Untrained decoders say nearly nothing: make them say clouds of the size of hands, different for every picture."""
    for parameter in network.decoder.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter.flatten(1))
    image = torch.rand(2, 3, 128, 128) if frames == 1 else torch.rand(2, frames, 3, 128, 128)
    network.decoder.head.linear.weight *= 0.04 / network(image).vertices.std()


def sequence_rows(
    hand: HandModel, root: Path, pattern: str, key: str, frames: int, first: int, dataset: str
) -> dict[str, np.ndarray]:
    """Columns of one sequence, and its photos on disk; a left hand is the mirrored right one."""
    rng = np.random.default_rng(first)
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
    rows["labelled"][:], rows["occluded"][:] = True, rng.integers(0, 2, (frames, 7))
    rows["visible_fraction"][:], rows["joint_visible"][:] = rng.uniform(0, 1, (frames, 6)), 1
    rows["cause"][:] = rng.integers(0, 4, (frames, 6))
    return rows
