"""Photos and labels for benchmarks/clips.py: 640 x 480 JPEGs of about DexYCB's mean size, hands of about 100 px.

The pictures are noise on smooth colour, made to compress like photographs; the labels are numbers without meaning.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from h2onet.data.frame import image_pattern
from h2onet.data.labels import LabelStore, empty_columns
from h2onet.hand.camera import project


def make_dataset(folder: Path, sequences: int, frames: int) -> Path:
    """Photos and labels of some camera sequences, half of them left hands; returns labels.zarr."""
    pattern = image_pattern("dexycb", "train")
    labels = LabelStore.create(folder / "labels.zarr", {"made": "by benchmarks/clips.py"})
    keys = [f"20200709-subject-01/20200709_{n:06d}/836212060125" for n in range(sequences)]
    for number, key in enumerate(keys):
        rng = np.random.default_rng(number)
        rows = empty_columns(frames)
        hand = np.cumsum(rng.normal(0, [0.014, 0.014, 0.006], (21, 3)), axis=0)
        hand *= 0.065 / np.abs(hand - hand.mean(0)).max()
        coarse = cv2.resize(rng.integers(30, 225, (24, 32, 3), np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)
        for frame in range(frames):
            joints = hand + np.array([0.12 * np.sin(frame / 9), 0.08 * np.cos(frame / 7), 0.8])
            intrinsics = np.array([[613.1, 0, 313.0], [0, 612.0, 245.0], [0, 0, 1]])
            photo = np.clip(coarse + rng.normal(0, 9.5, coarse.shape), 0, 255).astype(np.uint8)
            file = folder / "root" / pattern.format(sequence=key, frame=frame)
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), photo, [cv2.IMWRITE_JPEG_QUALITY, 82])
            rows["frame"][frame], rows["intrinsics"][frame], rows["is_left"][frame] = frame, intrinsics, number % 2 == 1
            rows["joints"][frame], rows["joints_2d"][frame] = joints, project(joints, intrinsics)
            rows["root"][frame], rows["has_pose"][frame], rows["labelled"][frame] = joints[0], True, True
            rows["mano_pose"][frame], rows["mano_shape"][frame] = rng.normal(0, 0.3, 48), rng.normal(0, 0.5, 10)
            rows["occluded"][frame] = rng.integers(0, 2, 7)
        labels.commit(key, rows, {})
    attrs = {"dataset": "dexycb", "split": "train", "setup": "s0", "root": str(folder / "root"), "image": pattern}
    labels.finish(keys, {**attrs, "rules": {"h2onet": 1}})
    labels.store.close()
    LabelStore.open(folder / "labels.zarr").export_json(folder / "occ")
    return folder / "labels.zarr"
