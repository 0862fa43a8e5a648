"""Writes HO3D's tree, versions 2 and 3 (docs/datasets.md): recordings, lists, calibration, released ground truth.

Files have OpenGL axes (x right, y up, z backward), metres and pixels, HO3D's joint order. The OpenCV camera frame
becomes OpenGL by C = diag(1, -1, -1); a hand's rotation turns about its rest wrist, so handTrans = C wrist - J0.
"""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from ...hand.parts import JOINTS_FROM_MANO, tip_vertices
from ..frame import PHOTO_SUFFIX
from ..photos import encode
from .files import QUICK_PNG
from .performance import Performance, hand_in_camera, shoot
from .scene.objects import catalogue, object_mesh
from .scene.room import HEIGHT, WIDTH, Camera, Look
from .scene.shot import HAND, Shot

DEPTH_SCALE = 0.00012498664727900177
GL_FROM_CV = np.diag([1.0, -1.0, -1.0])
HAND_COLOUR, OBJECT_COLOUR = {"v2": (255, 0, 0), "v3": (0, 0, 255)}, {"v2": (0, 0, 255), "v3": (0, 255, 0)}
"""RGB in `seg`: in v2 the hand is red, as H2ONet's labeller reads it, in v3 blue and the object green."""
SECOND_HOME = "HO3D_v3_segmentations_rendered"
"""Where v3's archive of masks unpacks by itself; one sequence of a synthetic v3 has its masks only there."""
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95]
UNLISTED = 9000
PARTS = ".parts"
"""Folder for what the lists need of the recordings; it is removed at the end."""


@dataclass(frozen=True)
class HO3DPlace:
    """Where one recording goes.

    `splits` of the camera digits are "train" or "evaluation"; frame `dropped` (None: none) of the first camera is not
    annotated.
    """

    root: Path
    version: str
    name: str
    digits: tuple[int, ...]
    splits: tuple[str, ...]
    dropped: int | None = None

    def sequence(self, i: int) -> str:
        """Name of a camera's sequence: the recording's and the camera's digit."""
        return f"{self.name}{self.digits[i]}"

    def masks(self, i: int) -> Path:
        """Folder of a training camera's masks; of the last one of a recording with `dropped` in v3 the second home."""
        second = self.version == "v3" and self.dropped is not None and i == len(self.digits) - 1
        return (self.root / SECOND_HOME if second else self.root) / self.splits[i] / self.sequence(i) / "seg"


@dataclass(frozen=True, eq=False)
class _Annotations:
    """One camera's annotations over F frames, OpenGL."""

    pose: np.ndarray  # (F, 48)
    translation: np.ndarray  # (F, 3)
    joints: np.ndarray  # (F, 21, 3), HO3D's order and fingertips
    vertices: np.ndarray  # (F, 778, 3)
    boxes: np.ndarray  # (F, 4) px
    object_rotation: np.ndarray  # (F, 3)
    object_translation: np.ndarray  # (F, 3)
    contact: np.ndarray  # (F, 778) uint8


def write_recording(place: HO3DPlace, performance: Performance, rig: tuple[Camera, ...], look: Look, seed: int) -> int:
    """Write one recording with the cameras of `place`; returns the number of photos."""
    recording = performance.recording
    suffix = "." + PHOTO_SUFFIX[f"ho3d-{place.version}"]
    quality = {".png": QUICK_PNG, ".jpg": _JPEG}[suffix]
    labels = [_annotate(performance, camera) for camera in rig]
    for i, split in enumerate(place.splits):
        for kind in ("rgb", "depth", "meta"):
            (place.root / split / place.sequence(i) / kind).mkdir(parents=True)
        if split == "train":
            place.masks(i).mkdir(parents=True)
    ident = catalogue()[recording.objects[recording.grasped]].ycb_id
    stamp = int.from_bytes(place.name.encode(), "big")
    count = 0
    for frame, i, shot in shoot(performance, rig, look, (seed, 6, stamp)):
        folder, split = place.root / place.splits[i] / place.sequence(i), place.splits[i]
        (folder / "rgb" / f"{frame:04d}{suffix}").write_bytes(encode(suffix, shot.photo, quality))
        (folder / "depth" / f"{frame:04d}.png").write_bytes(encode(".png", _encode_depth(shot), QUICK_PNG))
        if split == "train":
            _write_mask(place, i, frame, _mask(shot, ident, place.version))
        _write_meta(folder / "meta" / f"{frame:04d}.pkl", place, i, frame, performance, labels[i], rig[i])
        count += 1
    if place.version == "v3":
        _write_calibration(place, rig)
    (place.root / PARTS).mkdir(exist_ok=True)
    for i, split in enumerate(place.splits):
        if split == "evaluation":
            np.savez(place.root / PARTS / place.sequence(i), xyz=labels[i].joints, verts=labels[i].vertices)
    return count


def _annotate(performance: Performance, camera: Camera) -> _Annotations:
    recording = performance.recording
    gl_from_table = camera.camera_from_table.copy()
    gl_from_table[:3] = GL_FROM_CV @ gl_from_table[:3]
    pose, translation = hand_in_camera(performance, gl_from_table)
    vertices = performance.vertices @ gl_from_table[:3, :3].T + gl_from_table[:3, 3]
    skeleton = performance.joints[:, [JOINTS_FROM_MANO.index(j) for j in range(16)]]
    tips = performance.vertices[:, list(tip_vertices("ho3d", recording.side))]
    joints = np.concatenate([skeleton, tips], axis=1)  # HO3D's order: MANO's joints, then the tips
    pixels, _ = camera.project(performance.vertices.reshape(-1, 3))
    pixels = pixels.reshape(-1, 778, 2)
    limit = np.array([WIDTH - 1, HEIGHT - 1])
    boxes = np.concatenate([np.clip(pixels.min(axis=1), 0, limit), np.clip(pixels.max(axis=1), 0, limit)], axis=1)
    held = recording.object_poses[:, recording.grasped]
    thing = catalogue()[recording.objects[recording.grasped]]
    local = (performance.vertices - held[:, None, :3, 3]) @ held[:, :3, :3]
    posed = gl_from_table @ held
    return _Annotations(
        pose=pose,
        translation=translation,
        joints=joints @ gl_from_table[:3, :3].T + gl_from_table[:3, 3],
        vertices=vertices,
        boxes=np.round(boxes),
        object_rotation=Rotation.from_matrix(posed[:, :3, :3]).as_rotvec(),
        object_translation=posed[:, :3, 3],
        contact=(thing.distance(local) < 0.004).astype(np.uint8),
    )


def _write_meta(
    path: Path, place: HO3DPlace, i: int, frame: int, performance: Performance, labels: _Annotations, camera: Camera
) -> None:
    recording = performance.recording
    name = recording.objects[recording.grasped]
    rest = _corners(name)
    rotation = Rotation.from_rotvec(labels.object_rotation[frame]).as_matrix()
    meta: dict[str, object] = {
        "objRot": labels.object_rotation[frame][:, None].astype(np.float32),
        "objTrans": labels.object_translation[frame].astype(np.float32),
        "objName": name,
        "objLabel": catalogue()[name].ycb_id,
        "objCorners3D": (rest @ rotation.T + labels.object_translation[frame]).astype(np.float32),
        "objCorners3DRest": rest.astype(np.float32),
        "camMat": camera.intrinsics.astype(np.float32),
        "camIDList": [str(digit) for digit in place.digits],
    }
    if place.splits[i] == "evaluation":
        meta["handJoints3D"] = labels.joints[frame, 0].astype(np.float32)
        meta["handBoundingBox"] = [int(x) for x in labels.boxes[frame]]
    else:
        meta["handPose"] = labels.pose[frame].astype(np.float32)
        meta["handBeta"] = recording.betas.astype(np.float32)
        meta["handTrans"] = labels.translation[frame].astype(np.float32)
        meta["handJoints3D"] = labels.joints[frame].astype(np.float32)
        meta["handVertContact"] = labels.contact[frame]
    if frame == place.dropped and i == 0:
        if place.version == "v3":
            return  # version 3 simply lacks the file
        kept = ("camMat", "camIDList", "objName", "objLabel")
        meta = {key: value if key in kept else None for key, value in meta.items()}
    data = pickle.dumps(meta, protocol=2)
    # The name under which every NumPy finds it, as in the dataset's own files; NumPy 2 would write numpy._core.
    path.write_bytes(data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))


def _corners(name: str) -> np.ndarray:
    """The eight corners (8, 3) m of an object's bounds."""
    vertices = object_mesh(name).vertices
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    pick = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    return np.where(pick == 0, low, high)


def _encode_depth(shot: Shot) -> np.ndarray:
    """Depth as HO3D's picture, BGR: red holds the low byte, green the high byte, in units of `DEPTH_SCALE` m."""
    units = np.clip(np.round(shot.depth / DEPTH_SCALE), 0, 65535).astype(np.uint16)
    return np.stack([np.zeros_like(units), units >> 8, units & 255], axis=-1).astype(np.uint8)


def _write_mask(place: HO3DPlace, i: int, frame: int, mask: np.ndarray) -> None:
    """v2: JPEG; v3: PNG, and for the first frame once more under a number that no list has, as in the archive."""
    if place.version == "v2":
        (place.masks(i) / f"{frame:04d}.jpg").write_bytes(encode(".jpg", mask, _JPEG))
        return
    data = encode(".png", mask, QUICK_PNG)
    for number in (frame, UNLISTED)[: 1 + (frame == 0)]:
        (place.masks(i) / f"{number:04d}.png").write_bytes(data)


def _mask(shot: Shot, ident: int, version: str) -> np.ndarray:
    """Half-size mask (240, 320, 3) BGR: every second pixel of the segmentation."""
    small = shot.seg[1::2, 1::2]
    mask = np.zeros((*small.shape, 3), np.uint8)
    mask[small == HAND] = HAND_COLOUR[version][::-1]
    mask[small == ident] = OBJECT_COLOUR[version][::-1]
    return mask


def _write_calibration(place: HO3DPlace, rig: tuple[Camera, ...]) -> None:
    """Version 3's calibration folder; the world is the first camera's OpenCV frame."""
    folder = place.root / "calibration" / place.name / "calibration"
    folder.mkdir(parents=True)
    (folder / "cam_orders.txt").write_text("\n".join(str(digit) for digit in place.digits) + "\n")
    for digit, camera in zip(place.digits, rig, strict=True):
        k = camera.intrinsics
        values = {"fx": k[0, 0], "fy": k[1, 1], "ppx": k[0, 2], "ppy": k[1, 2]}
        line = ", ".join(f"{name}: {float(value)!r}" for name, value in values.items())
        (folder / f"cam_{digit}_intrinsics.txt").write_text(line + "\n")
        (folder / f"cam_{digit}_depth_scale.txt").write_text(f"{DEPTH_SCALE!r}\n")
        world = rig[0].camera_from_table @ np.linalg.inv(camera.camera_from_table)
        rows = (" ".join(f"{float(x):.12f}" for x in row) for row in world)
        (folder / f"trans_{digit}.txt").write_text("\n".join(rows) + "\n")


def write_lists(root: Path, train: list[str], evaluation: list[str]) -> None:
    """train.txt, evaluation.txt and, in the latter's order, the released evaluation_xyz.json and evaluation_verts.json.

    The entries are "SEQ/NNNN". Joints and meshes come from what the recordings left in `PARTS`, which is removed.
    """
    (root / "train.txt").write_text("".join(f"{entry}\n" for entry in train))
    (root / "evaluation.txt").write_text("".join(f"{entry}\n" for entry in evaluation))
    parts: dict[str, dict[str, np.ndarray]] = {}
    for path in sorted((root / PARTS).glob("*.npz")):
        with np.load(path) as part:
            parts[path.stem] = {key: part[key] for key in part.files}
        path.unlink()
    (root / PARTS).rmdir()
    for kind in ("xyz", "verts"):
        rows = []
        for entry in evaluation:
            sequence, number = entry.split("/")
            rows.append(np.round(parts[sequence][kind][int(number)], 7).tolist())
        (root / f"evaluation_{kind}.json").write_text(json.dumps(rows))
