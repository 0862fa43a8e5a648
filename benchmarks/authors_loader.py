"""A loader that works as the published one does, to measure against: three whole JPEGs and three JSONs per window.

Written after the H2ONet authors' released loader, with its copies: decode, BGR to RGB copy, float32, another copy,
warp of the whole photo, clip, tensor; one JSON opened per frame. Only the random numbers come from outside, so that
both loaders make the same window, and past frames are copied before they are changed (the published loader corrupts
them).
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import cv2
import numpy as np
import torch
from h2onet.data.labels import LabelStore
from h2onet.data.loading.augment import Augmentation
from h2onet.data.loading.crops import crop_box
from h2onet.data.loading.windows import window_of, window_positions
from torch.utils.data import Dataset

FINGERS = ("thumb", "index", "middle", "ring", "little", "global")
TARGET = np.array([[64, 64], [64, 128], [128, 64]], np.float32)


class AuthorsLoader(Dataset):
    """Windows of one label store; `occ` is the folder that `LabelStore.export_json` wrote."""

    def __init__(self, labels: Path, occ: Path, seed: int = 0) -> None:
        store = LabelStore.open(labels)
        self.window, self.augment, self.seed = window_of("dexycb", train=True), Augmentation(), seed
        self.sequence, self.number = store["sequence_id"], store["frame"]
        self.items = []
        for row in range(len(store)):
            key = store.sequences[int(store["sequence_id"][row])]
            box, _ = crop_box(store["joints_2d"][row], None, 640, 480)
            self.items.append(
                {
                    "photo": str(Path(store.attrs["root"]) / store.image(row)),
                    "occ": str(occ / key / f"occ_{store['frame'][row]:06d}.json"),
                    "left": bool(store["is_left"][row]),
                    "box": box,
                    "joints": store["joints"][row].copy(),
                    "joints_2d": store["joints_2d"][row].copy(),
                    "mano_pose": store["mano_pose"][row].copy(),
                    "mano_shape": store["mano_shape"][row].copy(),
                }
            )

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, torch.Tensor]:
        """One window for (epoch, index), with the random numbers that ClipDataset draws for it."""
        epoch, index = key
        rng = np.random.Generator(np.random.Philox(key=[self.seed, epoch], counter=[0, 0, index, 0]))
        rows = np.flatnonzero(self.sequence == self.sequence[index])
        chosen = rows[window_positions(self.number[rows], index - rows[0], self.window, rng)]
        draw = self.augment.draw(rng)
        parts = [self._frame(copy.deepcopy(self.items[row]), draw) for row in chosen]
        return {name: torch.stack([part[name] for part in parts]) for name in parts[0]}

    def _frame(self, item: dict, draw) -> dict[str, torch.Tensor]:
        image = cv2.imread(item["photo"], cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        assert image is not None, item["photo"]
        image = image[:, :, ::-1].copy().astype(np.float32)
        image, affine = self._patch(image, item["box"], item["left"], draw)
        image = np.clip(image * np.array(draw.gain)[None, None, :], 0, 255).astype(np.float32)
        tensor = torch.from_numpy(image.transpose(2, 0, 1)).contiguous() / 255.0

        joints_2d = item["joints_2d"]
        if item["left"]:
            joints_2d[:, 0] = 640 - joints_2d[:, 0] - 1
        joints_2d = np.concatenate([joints_2d, np.ones_like(joints_2d[:, :1])], axis=1) @ affine.T / 128

        angle = np.deg2rad(-draw.rotation)
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]], np.float32)
        joints = item["joints"] - item["joints"][:1]
        pose = item["mano_pose"].reshape(16, 3)
        if item["left"]:
            joints[:, 0] *= -1
            pose[:, 1:] *= -1
        joints = joints @ turn.T
        pose[0] = cv2.Rodrigues(turn @ cv2.Rodrigues(pose[0])[0])[0].reshape(3)
        with open(item["occ"]) as file:
            occ = json.load(file)
        return {
            "images": tensor,
            "joints_2d": torch.from_numpy(joints_2d.astype(np.float32)),
            "joints": torch.from_numpy(joints.astype(np.float32)),
            "mano_pose": torch.from_numpy(pose.reshape(48)),
            "mano_shape": torch.from_numpy(item["mano_shape"]),
            "occluded": torch.tensor([occ[name] for name in FINGERS]),
        }

    def _patch(self, image: np.ndarray, box: np.ndarray, left: bool, draw) -> tuple[np.ndarray, np.ndarray]:
        image = image.copy()
        centre = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]
        if left:
            image, centre[0] = image[:, ::-1, :], image.shape[1] - centre[0] - 1
        half = (box[2:] - box[:2]) * draw.scale / 2
        sin, cos = np.sin(np.pi * draw.rotation / 180), np.cos(np.pi * draw.rotation / 180)
        down, right = np.array([-sin * half[1], cos * half[1]]), np.array([cos * half[0], sin * half[0]])
        source = np.array([centre, centre + down, centre + right], np.float32)
        affine = cv2.getAffineTransform(source, TARGET).astype(np.float32)
        return cv2.warpAffine(image, affine, (128, 128), flags=cv2.INTER_LINEAR), affine
