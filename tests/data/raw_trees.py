"""Tiny trees in DexYCB's and HO3D's own layout, written from docs/datasets.md, with the stand-in hand.

Loaded by path from the tests of two rooms (tests are no package). Every number is kept, so that readers can be held
against it.
"""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from h2onet.hand.mano import load_hand

SUBJECT, SEQUENCE, SERIAL = "20200709-subject-01", "20200709_141754", "836212060125"
FX, FY, CX, CY = 613.1, 611.9, 313.0, 245.0
INTRINSICS = np.array([[FX, 0, CX], [0, FY, CY], [0, 0, 1.0]])
BETAS = np.linspace(-1.0, 1.0, 10)
# The project's joint order -> HO3D's; written out here, so that the readers' own table is held against another.
TO_HO3D = [0, 5, 6, 7, 9, 10, 11, 17, 18, 19, 13, 14, 15, 1, 2, 3, 4, 8, 12, 16, 20]
OBJ = "v -0.03 -0.03 -0.03\nv 0.03 -0.03 -0.03\nv 0 0.03 -0.03\nv 0 0 0.04\nf 1 2 3\nf 1 2 4\nf 2 3 4\nf 3 1 4\n"
_PHOTO = cv2.imencode(".jpg", np.full((480, 640, 3), 90, np.uint8))[1].tobytes()
_PHOTO_PNG = cv2.imencode(".png", np.full((480, 640, 3), 90, np.uint8))[1].tobytes()


@dataclass(frozen=True)
class Posed:
    """Ground truth of one frame in OpenCV axes: what was written, before any convention of a dataset."""

    coefficients: np.ndarray  # (45,) PCA
    pose: np.ndarray  # (48,) with the mean
    translation: np.ndarray
    joints: np.ndarray  # (21, 3)
    vertices: np.ndarray


@lru_cache(maxsize=64)
def posed(side: str, number: int, tips: str = "manopth") -> Posed:
    """A hand some 60 cm before the camera that turns and moves with the frame number."""
    model = load_hand("standin", side, dtype=torch.float64)
    rng = np.random.default_rng(number)
    coefficients = rng.normal(0, 0.3, 45).astype(np.float32).astype(np.float64)
    pose = np.concatenate([[0.3, 1.2 + 0.05 * number, -0.4], model.finger_pose(coefficients)])
    pose[:3] = pose[:3].astype(np.float32)
    translation = np.array([0.02 + 0.004 * number, 0.01, 0.62]).astype(np.float32).astype(np.float64)
    shape = torch.from_numpy(BETAS)[None]
    mesh = model(torch.from_numpy(pose)[None], shape, torch.from_numpy(translation)[None], tips=tips)
    return Posed(coefficients, pose, translation, mesh.joints[0].numpy(), mesh.vertices[0].numpy())


def projected(points: np.ndarray) -> np.ndarray:
    """(N, 3) m -> (N, 2) px, written out."""
    return np.stack([FX * points[:, 0] / points[:, 2] + CX, FY * points[:, 1] / points[:, 2] + CY], axis=1)


def hand_area(vertices: np.ndarray) -> np.ndarray:
    """(480, 640) bool: the convex outline of the projected hand, a crude but sufficient segmentation."""
    area = np.zeros((480, 640), np.uint8)
    cv2.fillConvexPoly(area, cv2.convexHull(projected(vertices).astype(np.int32)), 1)
    return area.astype(bool)


def object_pose(number: int) -> np.ndarray:
    """(3, 4) camera_from_object, OpenCV."""
    rotation, _ = cv2.Rodrigues(np.array([0.1, 0.2 + 0.1 * number, 0.3]))
    return np.concatenate([rotation, [[0.0], [0.05], [0.75]]], axis=1)


# -- DexYCB -------------------------------------------------------------------------------------------------------


def write_dexycb(
    root: Path,
    recordings: dict[tuple[str, str], str] | None = None,
    serials: tuple[str, ...] = (SERIAL,),
    frames: int = 4,
) -> Path:
    """DexYCB. `recordings`: (subject, sequence) -> side. Frame 1 of every camera has no hand."""
    for serial in serials:
        _text(
            root / "calibration/intrinsics" / f"{serial}_640x480.yml",
            f"color: {{fx: {FX}, fy: {FY}, ppx: {CX}, ppy: {CY}}}\ndepth: {{fx: 1.0, fy: 1.0, ppx: 1.0, ppy: 1.0}}\n",
        )
    _text(root / "calibration/mano_20200709_140042_subject-01_right/mano.yml", yaml_list("betas", BETAS))
    tuples = "\n".join(f"  '{s}': !!python/tuple [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0.5]" for s in serials)
    _text(
        root / "calibration/extrinsics_20200702_151821/extrinsics.yml",
        f"master: '{serials[0]}'\nextrinsics:\n{tuples}\n",
    )
    for name in ("003_cracker_box", "025_mug"):
        _text(root / "models" / name / "textured_simple.obj", OBJ)
    for (subject, sequence), side in (recordings or {(SUBJECT, SEQUENCE): "right"}).items():
        folder = root / subject / sequence
        names = ", ".join(f"'{s}'" for s in serials)
        _text(
            folder / "meta.yml",
            f"serials: [{names}]\nnum_frames: {frames}\nextrinsics: '20200702_151821'\nycb_ids: [14, 2]\n"
            f"ycb_grasp_ind: 1\nmano_sides: [{side}]\nmano_calib: ['20200709_140042_subject-01_right']\n",
        )
        for serial in serials:
            for number in range(frames):
                _dexycb_frame(folder / serial, number, side)
    return root


def _dexycb_frame(folder: Path, number: int, side: str) -> None:
    truth = posed(side, number)
    seg = np.zeros((480, 640), np.uint8)
    seg[300:340, 100:150] = 2
    seg[hand_area(truth.vertices)] = 255
    poses = np.zeros((2, 3, 4), np.float32)
    poses[1] = object_pose(number)  # the mug is absent, the box is there and held
    arrays = {
        "seg": seg,
        "pose_y": poses,
        "pose_m": np.concatenate([truth.pose[:3], truth.coefficients, truth.translation])[None].astype(np.float32),
        "joint_3d": truth.joints[None].astype(np.float32),
        "joint_2d": projected(truth.joints)[None].astype(np.float32),
    }
    if number == 1:
        arrays |= {"pose_m": np.zeros((1, 51), np.float32), "joint_3d": np.full((1, 21, 3), -1, np.float32)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"color_{number:06d}.jpg").write_bytes(_PHOTO)
    save_label(folder / f"labels_{number:06d}.npz", arrays)


def save_label(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """As the dataset's files are: compressed npz."""
    np.savez_compressed(path, **arrays)


def change_label(path: Path, **arrays: np.ndarray) -> None:
    """Rewrite some arrays of a label file."""
    with np.load(path) as file:
        old = dict(file)
    save_label(path, old | arrays)


# -- HO3D ---------------------------------------------------------------------------------------------------------


def write_ho3d(
    root: Path, version: str = "v2", train: dict[str, int] | None = None, evaluation: dict[str, int] | None = None
) -> Path:
    """HO3D. `train`, `evaluation`: sequence -> number of frames. The lists are shuffled: nobody promised order."""
    suffix = {"v2": "png", "v3": "jpg"}[version]
    lists: dict[str, list[str]] = {"train": [], "evaluation": []}
    chosen = {"train": train or {"ABF10": 3, "SM2": 2}, "evaluation": evaluation or {"SB11": 2}}
    for split, sequences in chosen.items():
        for key, frames in sequences.items():
            for number in range(frames):
                lists[split].append(f"{key}/{number:04d}")
                _ho3d_frame(root / split / key, number, suffix, split == "train")
        rng = np.random.default_rng(3)
        _text(root / f"{split}.txt", "".join(f"{lists[split][i]}\n" for i in rng.permutation(len(lists[split]))))
    _text(root / "models/003_cracker_box/textured_simple.obj", OBJ)
    return root


def _ho3d_frame(folder: Path, number: int, suffix: str, train: bool) -> None:
    for name in ("rgb", "meta", *(["seg"] if train else [])):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "rgb" / f"{number:04d}.{suffix}").write_bytes(_PHOTO if suffix == "jpg" else _PHOTO_PNG)
    truth, gl = posed("right", number, "ho3d"), np.diag([1.0, -1.0, -1.0])
    held = object_pose(number)
    rotation = cv2.Rodrigues(gl @ held[:, :3])[0]
    meta = {
        "objRot": rotation,
        "objTrans": gl @ held[:, 3],
        "objName": "003_cracker_box",
        "camMat": INTRINSICS,
        "handJoints3D": gl @ truth.joints[0],
    }
    if train:
        root = truth.joints[0] - truth.translation
        orient = cv2.Rodrigues(gl @ cv2.Rodrigues(truth.pose[:3])[0])[0].ravel()
        meta |= {
            "handPose": np.concatenate([orient, truth.pose[3:]]),
            "handBeta": BETAS,
            "handTrans": gl @ (truth.translation + root) - root,
            "handJoints3D": (truth.joints @ gl)[TO_HO3D],
        }
        write_ho3d_mask(folder / "seg", number, suffix, hand_area(truth.vertices))
    else:
        points = projected(truth.joints)
        meta["handBoundingBox"] = [*points.min(axis=0).tolist(), *points.max(axis=0).tolist()]
    save_meta(folder / "meta" / f"{number:04d}.pkl", meta)


def write_ho3d_mask(folder: Path, number: int, photo_suffix: str, hand: np.ndarray) -> None:
    """A half-size mask: v2's a JPEG with the hand red, v3's a PNG with the hand blue and a piece of object green."""
    folder.mkdir(parents=True, exist_ok=True)
    seg = np.zeros((240, 320, 3), np.uint8)  # BGR
    if photo_suffix == "png":
        seg[hand[::2, ::2]] = (0, 0, 255)
        cv2.imwrite(str(folder / f"{number:04d}.jpg"), seg, [cv2.IMWRITE_JPEG_QUALITY, 95])
    else:
        seg[200:220, 280:310] = (0, 255, 0)
        seg[hand[::2, ::2]] = (255, 0, 0)
        cv2.imwrite(str(folder / f"{number:04d}.png"), seg)


def save_meta(path: Path, meta: dict) -> None:
    """As the dataset's files are: a protocol-2 pickle."""
    path.write_bytes(pickle.dumps(meta, protocol=2).replace(b"numpy._core", b"numpy.core"))


def write_released(root: Path) -> None:
    """evaluation_xyz.json and evaluation_verts.json: OpenGL, HO3D's joint order, the list's order."""
    gl = np.diag([1.0, -1.0, -1.0])
    truths = [posed("right", int(line[-4:]), "ho3d") for line in (root / "evaluation.txt").read_text().splitlines()]
    (root / "evaluation_xyz.json").write_text(json.dumps([(t.joints @ gl)[TO_HO3D].tolist() for t in truths]))
    (root / "evaluation_verts.json").write_text(json.dumps([(t.vertices @ gl).tolist() for t in truths]))


def yaml_list(name: str, values: np.ndarray) -> str:
    """A list of numbers as DexYCB's calibration has it."""
    return f"{name}:\n" + "".join(f"- {value!r}\n" for value in values.tolist())


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
