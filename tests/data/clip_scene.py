"""Small label stores with photographs for the tests of clips: made by hand, so that every number is known.

Loaded by path from the tests of two rooms (tests are no package).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from h2onet.data.frame import image_pattern
from h2onet.data.labels import LabelStore, empty_columns
from h2onet.hand.camera import project

WIDTH, HEIGHT = 640, 480
INTRINSICS = np.array([[613.1, 0.0, 313.0], [0.0, 611.9, 245.0], [0.0, 0.0, 1.0]])
KEY = "20200709-subject-01/20200709_141754/836212060125"
OTHER = "20200813-subject-02/20200813_145612/840412060917"


@dataclass(frozen=True)
class Scene:
    """Frame numbers per camera sequence, and more. `mirrored` makes the mirror image of scene and labels."""

    sequences: dict[str, tuple[int, ...]] = field(
        default_factory=lambda: {KEY: tuple(range(12)), OTHER: tuple(range(9))}
    )
    dataset: str = "dexycb"
    split: str = "train"
    left: bool = False
    mirrored: bool = False
    posed: bool = True
    labelled: bool = True
    place: tuple[float, float, float] = (0.03, -0.02, 0.75)
    subsampling: int = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    seed: int = 0


@lru_cache(maxsize=32)  # scenes differ in what stands before it
def ground(*seed: int) -> np.ndarray:
    """A texture (480, 640, 3) uint8 BGR, coarse and fine."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 215, (12, 16, 3)).astype(np.uint8)
    picture = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    fine = cv2.resize(rng.normal(0, 12, (HEIGHT // 2, WIDTH // 2, 3)), (WIDTH, HEIGHT))
    return np.clip(picture + fine, 0, 255).astype(np.uint8)


def photo(ground: np.ndarray, joints_2d: np.ndarray) -> np.ndarray:
    """A photo like `ground` with a dot at every joint."""
    picture = ground.copy()
    for x, y in joints_2d:
        cv2.circle(picture, (round(float(x) * 16), round(float(y) * 16)), 48, (255, 255, 255), -1, cv2.LINE_AA, 4)
    return picture


def write_scene(folder: Path, scene: Scene) -> Path:
    """Photos under folder/root and folder/labels.zarr; returns the latter's path."""
    root, path = folder / "root", folder / "labels.zarr"
    pattern = image_pattern(scene.dataset, scene.split)
    labels = LabelStore.create(path, {"scene": "by hand"})
    for number, (key, frames) in enumerate(scene.sequences.items()):
        labels.commit(key, _sequence(root, pattern, key, frames, scene, number), {"failures": []})
    attrs = {"dataset": scene.dataset, "split": scene.split, "setup": "s0", "root": str(root), "image": pattern}
    labels.finish(
        scene.sequences,
        {
            **attrs,
            "photo": [WIDTH, HEIGHT],
            "rules": {"h2onet": 1, "depth": 1},
            "mano": {"right": {"source": "standin", "sha256": "0" * 64}},
        },
    )
    labels.store.close()
    return path


def _sequence(root: Path, pattern: str, key: str, frames: tuple[int, ...], scene: Scene, number: int):
    rows = empty_columns(len(frames))
    for i, frame in enumerate(frames):
        rng = np.random.default_rng([scene.seed, number, frame])
        joints = np.array(scene.place) + np.cumsum(rng.normal(0, 0.02, (21, 3)), axis=0) * [1, 1, 0.3]
        pose, shape = rng.normal(0, 0.4, 48), rng.normal(0, 0.5, 10)
        intrinsics = INTRINSICS.copy()
        picture = photo(ground(scene.seed, number, frame, 1), project(joints, intrinsics))
        if scene.mirrored:
            joints, picture = joints * [-1, 1, 1], picture[:, ::-1]
            pose = (pose.reshape(16, 3) * [1, -1, -1]).reshape(48)
            intrinsics[0, 2] = WIDTH - 1 - intrinsics[0, 2]
        file = root / pattern.format(sequence=key, frame=frame)
        file.parent.mkdir(parents=True, exist_ok=True)
        options = [cv2.IMWRITE_JPEG_QUALITY, 92, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, scene.subsampling]
        cv2.imwrite(str(file), picture, options if file.suffix == ".jpg" else [])
        rows["frame"][i], rows["dataset_index"][i] = frame, 1000 * number + frame
        rows["is_left"][i], rows["intrinsics"][i], rows["root"][i] = scene.left, intrinsics, joints[0]
        if not scene.posed:
            low, high = project(joints, intrinsics).min(axis=0), project(joints, intrinsics).max(axis=0)
            rows["box"][i] = [*low, *high]
            continue
        rows["has_pose"][i], rows["mano_pose"][i], rows["mano_shape"][i] = True, pose, shape
        rows["joints"][i], rows["joints_2d"][i] = joints, project(joints, intrinsics)
        rows["translation"][i] = joints[0]
        if scene.labelled:
            rows["labelled"][i], rows["occluded"][i] = True, rng.integers(0, 2, 7)
            rows["joint_visible"][i], rows["visible_fraction"][i] = rng.integers(0, 2, 21), rng.random(6)
            rows["cause"][i] = 0
    return rows
