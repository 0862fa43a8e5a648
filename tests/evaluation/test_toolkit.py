"""dex-ycb-toolkit's hand pose results: read back by a reader of our own, written as the toolkit's is, for every setup.

Nothing below `toolkit_` uses the package: splits and the order of its index are written out from docs/datasets.md.
"""

import logging
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import raw_trees as raw
import yaml
from h2onet.data.datasets import iter_frames, list_sequences
from h2onet.data.frame import Frame
from h2onet.data.readers.dexycb_splits import SERIALS, SUBJECTS, sequence_list
from h2onet.errors import InputError
from h2onet.evaluation import metrics
from h2onet.evaluation.exports import write_dexycb

NAMES = [f"{setup}_{split}" for setup in ("s0", "s1", "s2", "s3") for split in ("val", "test")]


def toolkit_split(name: str) -> tuple[list[int], list[int], list[int]]:
    """Indices of subjects, cameras and sequences of a split."""
    every, cameras, sequences = list(range(10)), list(range(8)), list(range(100))
    fifth = [i for i in sequences if i % 5 == 4]
    return {
        "s0_train": (every, cameras, [i for i in sequences if i % 5 != 4]),
        "s0_val": ([0, 1], cameras, fifth),
        "s0_test": ([2, 3, 4, 5, 6, 7, 8, 9], cameras, fifth),
        "s1_val": ([6], cameras, sequences),
        "s1_test": ([7, 8], cameras, sequences),
        "s2_val": (every, [6], sequences),
        "s2_test": (every, [7], sequences),
        "s3_val": (every, cameras, [i for i in sequences if i // 5 in (3, 19)]),
        "s3_test": (every, cameras, [i for i in sequences if i // 5 in (7, 11, 15)]),
    }[name]


def toolkit_images(root: Path, name: str) -> list[tuple[str, int]]:
    """("SUBJECT/SEQUENCE/SERIAL", frame) of every image of a split: its place in the list is the toolkit's index."""
    subjects, cameras, chosen = toolkit_split(name)
    images = []
    for subject in [sorted(folder.name for folder in root.glob("*-subject-*"))[s] for s in subjects]:
        listed = sorted(os.listdir(root / subject))
        for sequence in [listed[i] for i in chosen]:
            meta = yaml.safe_load((root / subject / sequence / "meta.yml").read_text())
            for camera in cameras:
                key = f"{subject}/{sequence}/{sorted(meta['serials'])[camera]}"
                images += [(key, frame) for frame in range(meta["num_frames"])]
    return images


def toolkit_scores(root: Path, name: str, text: Path) -> dict[str, tuple[float, float]]:
    """MPJPE (mm) and AUC, absolute, root-relative and aligned, of a result file, as the toolkit's evaluation does."""
    said = {}
    for line in text.read_text().splitlines():
        numbers = [float(number) for number in line.split(",")]
        assert len(numbers) == 64
        said[int(line.split(",")[0])] = np.array(numbers[1:]).reshape(21, 3)
    errors: dict[str, list[np.ndarray]] = {"absolute": [], "root-relative": [], "procrustes": []}
    for index, (key, frame) in enumerate(toolkit_images(root, name)):
        path = root / key / f"labels_{frame:06d}.npz"
        if not path.is_file():
            continue  # not downloaded: its index counts all the same
        with np.load(path) as file:
            truth = file["joint_3d"][0].astype(np.float64)
        if (truth == -1).all():
            continue
        t, p = 1000 * truth, said[index]  # KeyError where a valid image has no result
        errors["absolute"].append(np.linalg.norm(p - t, axis=1))
        errors["root-relative"].append(np.linalg.norm((p - p[0]) - (t - t[0]), axis=1))
        t0, p0 = t - t.mean(0), p - p.mean(0)
        u, s, vt = np.linalg.svd((t0 / np.linalg.norm(t0)).T @ (p0 / np.linalg.norm(p0)))
        fitted = (p0 / np.linalg.norm(p0)) @ (u @ vt).T * s.sum() * np.linalg.norm(t0)
        errors["procrustes"].append(np.linalg.norm(fitted - t0, axis=1))
    limits = np.linspace(0, 50, 100)
    found = {}
    for kind, rows in errors.items():
        values = np.array(rows)
        areas = [
            np.trapezoid([(values[:, j] <= limit).mean() for limit in limits], limits) / 50
            for j in range(21)  # the area of every keypoint, then their mean
        ]
        found[kind] = float(values.mean()), float(np.mean(areas))
    return found


@pytest.fixture(scope="module")
def skeleton(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 1000 recordings with lengths of their own; camera folders are empty."""
    root, rng = tmp_path_factory.mktemp("full"), np.random.default_rng(0)
    serials = ", ".join(f"'{serial}'" for serial in SERIALS)
    for subject, sequences in sequence_list().items():
        for name in sequences:
            folder = root / subject / name
            folder.mkdir(parents=True)
            (folder / "meta.yml").write_text(f"serials: [{serials}]\nnum_frames: {rng.integers(1, 9)}\n")
            for serial in SERIALS:
                (folder / serial).mkdir()
    return root


@pytest.mark.parametrize("name", ["s0_train", *NAMES])
def test_the_index_is_the_toolkits_on_the_whole_dataset(skeleton: Path, name: str, caplog) -> None:
    setup, split = name.split("_")
    with caplog.at_level(logging.WARNING):
        sequences = list_sequences("dexycb", skeleton, split, setup)
    ours = {
        (sequence.key, frame): index
        for sequence in sequences
        for frame, index in zip(sequence.numbers.tolist(), sequence.indices.tolist(), strict=True)
    }
    assert ours == {image: index for index, image in enumerate(toolkit_images(skeleton, name))}
    assert caplog.text == ""  # nothing is missing


@pytest.fixture(scope="module")
def tree(skeleton: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole list of recordings, three cameras of eight of them downloaded, two at least in every split."""
    root = tmp_path_factory.mktemp("part")
    names = {subject: list(sequences) for subject, sequences in sequence_list().items()}
    places = [(0, 4), (1, 9), (2, 4), (9, 99), (6, 0), (7, 37), (8, 16), (4, 78)]
    recordings = {(SUBJECTS[s], names[SUBJECTS[s]][i]): "left" if i % 2 else "right" for s, i in places}
    raw.write_dexycb(root, recordings, (SERIALS[0], SERIALS[6], SERIALS[7]), frames=3)
    for meta in skeleton.glob("*/*/meta.yml"):
        place = root / meta.relative_to(skeleton)
        if place.is_file():  # the camera that is not there still counts
            text = place.read_text().splitlines(keepends=True)
            place.write_text("".join([meta.read_text().splitlines(keepends=True)[0], *text[1:]]))
        else:
            place.parent.mkdir(parents=True)
            shutil.copy(meta, place)
    return root


@pytest.mark.parametrize("name", NAMES)
def test_a_result_scores_the_same_in_an_independent_reader(tree: Path, name: str, tmp_path: Path) -> None:
    setup, split = name.split("_")
    read: list[Any] = [
        item for s in list_sequences("dexycb", tree, split, setup, mano="standin") for item in iter_frames(s)
    ]
    frames = [item for item in read if isinstance(item, Frame)]
    assert len(frames) >= 4
    truth = np.array([frame.joints for frame in frames])
    rng = np.random.default_rng(1)
    joints = 1.1 * truth + rng.normal(0, 0.01, truth.shape) + rng.normal(0, 0.02, (len(truth), 1, 3))
    index = np.array([frame.index for frame in frames])
    shuffled = rng.permutation(len(frames))
    path = write_dexycb(tmp_path / "pose.txt", index[shuffled], joints[shuffled])
    written = [int(line.split(",")[0]) for line in path.read_text().splitlines()]
    assert written == sorted(index.tolist())
    found = toolkit_scores(tree, name, path)
    ours = {
        "absolute": metrics.point_errors(joints, truth),
        "root-relative": metrics.point_errors(joints - joints[:, :1], truth - truth[:, :1]),
        "procrustes": metrics.point_errors(metrics.similarity_aligned(joints, truth), truth),
    }
    for kind, errors in ours.items():
        assert found[kind][0] == pytest.approx(1000 * errors.mean(), abs=1e-3), kind
        assert found[kind][1] == pytest.approx(metrics.auc(errors), abs=5e-4), kind  # 1e-4 mm of the file's digits


def test_indices_that_come_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one setup and split"):
        write_dexycb(tmp_path / "pose.txt", np.array([3, 3]), np.zeros((2, 21, 3)))
    assert not (tmp_path / "pose.txt").exists()
