"""Writes DexYCB's raw tree (docs/datasets.md): calibration once, then one recording after another.

Files hold camera-frame (OpenCV) values in metres and pixels; `pose.npz` is in the world frame, the master camera's.
What the layout has no place for, a second hand, stands under names of its own beside the published ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from ..photos import encode
from ..readers.dexycb_splits import SERIALS, SUBJECTS
from .files import QUICK_PNG, write_npz
from .performance import Performance, hand_in_camera, shoot
from .scene.objects import catalogue
from .scene.room import Camera, Look
from .scene.shot import HAND, OTHER_HAND, Shot

MASTER = 2
"""Index of the camera whose frame is the world."""
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 93]


@dataclass(frozen=True)
class DexYCBPlace:
    """Where one recording goes: subject and camera indices, sequence name."""

    root: Path
    subject: int
    sequence: str
    cameras: tuple[int, ...]

    @property
    def folder(self) -> Path:
        return self.root / SUBJECTS[self.subject] / self.sequence


def extrinsics_id(subject: int) -> str:
    """Name of the calibration of a subject's session."""
    return f"{SUBJECTS[subject][:8]}_000000"


def mano_calibration(subject: int) -> str:
    """Name of a subject's hand calibration, made on the right hand and used for both."""
    return f"{SUBJECTS[subject][:8]}_140042_{SUBJECTS[subject][9:]}_right"


def world_from_table(rig: tuple[Camera, ...]) -> np.ndarray:
    """The pose (4, 4) m of the table in the world, which is the master camera's frame."""
    return rig[MASTER].camera_from_table


def write_intrinsics(root: Path, rig: tuple[Camera, ...]) -> None:
    """`calibration/intrinsics/<SERIAL>_640x480.yml` of every camera; the depth images use the colour camera's, too."""
    folder = root / "calibration" / "intrinsics"
    folder.mkdir(parents=True)
    for serial, camera in zip(SERIALS, rig, strict=True):
        k = camera.intrinsics
        values = f"{{fx: {float(k[0, 0])!r}, fy: {float(k[1, 1])!r}, ppx: {float(k[0, 2])!r}, ppy: {float(k[1, 2])!r}}}"
        (folder / f"{serial}_640x480.yml").write_text(f"color: {values}\ndepth: {values}\n")


def write_subject(root: Path, subject: int, rig: tuple[Camera, ...], betas: np.ndarray) -> None:
    """Extrinsics (camera to world, as python tuples, with the table's frame as `apriltag`) and betas of a subject."""
    folder = root / "calibration" / f"extrinsics_{extrinsics_id(subject)}"
    folder.mkdir(parents=True)
    world = world_from_table(rig)
    poses = {f"'{s}'": world @ np.linalg.inv(c.camera_from_table) for s, c in zip(SERIALS, rig, strict=True)}
    poses[f"'{SERIALS[MASTER]}'"] = np.eye(4)  # exactly, without rounding errors
    poses["apriltag"] = world
    lines = [f"master: '{SERIALS[MASTER]}'", "extrinsics:"]
    for name, pose in poses.items():
        numbers = ", ".join(f"{float(x):.12f}" for x in pose[:3].ravel())
        lines.append(f"  {name}: !!python/tuple [{numbers}]")
    (folder / "extrinsics.yml").write_text("\n".join(lines) + "\n")
    folder = root / "calibration" / f"mano_{mano_calibration(subject)}"
    folder.mkdir(parents=True)
    (folder / "mano.yml").write_text("betas:\n" + "".join(f"- {float(b)!r}\n" for b in betas))


def write_recording(
    place: DexYCBPlace, performance: Performance, rig: tuple[Camera, ...], look: Look, seed: int
) -> int:
    """Write one recording with all its cameras; returns the number of photos."""
    recording = performance.recording
    folder = place.folder
    for index in place.cameras:
        (folder / SERIALS[index]).mkdir(parents=True)
    ids = [catalogue()[name].ycb_id for name in recording.objects]
    serials = ", ".join(f"'{SERIALS[index]}'" for index in place.cameras)
    (folder / "meta.yml").write_text(
        f"serials: [{serials}]\nnum_frames: {len(recording.pose)}\nextrinsics: '{extrinsics_id(place.subject)}'\n"
        f"ycb_ids: {ids}\nycb_grasp_ind: {recording.grasped}\nmano_sides: [{recording.side}]\n"
        f"mano_calib: ['{mano_calibration(place.subject)}']\n"
        + (f"other_sides: [{performance.other.recording.side}]\n" if performance.other else "")
    )
    _write_world(folder / "pose.npz", performance, world_from_table(rig))
    cameras = tuple(rig[index] for index in place.cameras)
    annotations = [_Annotations(performance, camera) for camera in cameras]
    count = 0
    for frame, i, shot in shoot(performance, cameras, look, (seed, 5, place.subject, _stamp(place.sequence))):
        _write_frame(folder / SERIALS[place.cameras[i]], frame, shot, annotations[i])
        count += 1
    return count


def _stamp(sequence: str) -> int:
    return int(sequence.replace("_", ""))


class _Annotations:
    """The labels of all frames in one camera's frame, absent hands as DexYCB marks them."""

    def __init__(self, performance: Performance, camera: Camera) -> None:
        recording = performance.recording
        pose = camera.camera_from_table
        joints = performance.joints @ pose[:3, :3].T + pose[:3, 3]
        pixels, _ = camera.project(performance.joints.reshape(-1, 3))
        there = recording.present
        self.pose_m = _parameters(performance, pose)
        self.joint_3d = np.where(there[:, None, None], joints, -1.0).astype(np.float32)[:, None]
        self.joint_2d = np.where(there[:, None, None], pixels.reshape(-1, 21, 2), -1.0).astype(np.float32)[:, None]
        self.pose_y = (pose @ recording.object_poses)[:, :, :3].astype(np.float32)
        self.other_pose_m = None if performance.other is None else _parameters(performance.other, pose)


def _parameters(performance: Performance, pose: np.ndarray) -> np.ndarray:
    """(F, 1, 51) float32, DexYCB's `pose_m`, after the table was moved by `pose` (4, 4); 0 where the hand is absent."""
    hand, translation = hand_in_camera(performance, pose)
    parameters = np.concatenate([hand[:, :3], performance.coefficients, translation], axis=1)
    return np.where(performance.recording.present[:, None], parameters, 0.0).astype(np.float32)[:, None]


def _write_frame(folder: Path, frame: int, shot: Shot, annotations: _Annotations) -> None:
    (folder / f"color_{frame:06d}.jpg").write_bytes(encode(".jpg", shot.photo, _JPEG))
    depth = np.round(shot.depth * 1000.0).astype(np.uint16)
    (folder / f"aligned_depth_to_color_{frame:06d}.png").write_bytes(encode(".png", depth, QUICK_PNG))
    arrays = {
        "seg": shot.seg,
        "pose_y": annotations.pose_y[frame],
        "pose_m": annotations.pose_m[frame],
        "joint_3d": annotations.joint_3d[frame],
        "joint_2d": annotations.joint_2d[frame],
    }
    if annotations.other_pose_m is not None:
        other = shot.seg == OTHER_HAND
        # To DexYCB's programs the other hand is what an arm is to them: nothing that is annotated.
        arrays["seg"] = np.where(other, np.uint8(0), shot.seg)
        arrays["other_seg"] = np.where(other, np.uint8(HAND), np.uint8(0))
        arrays["other_pose_m"] = annotations.other_pose_m[frame]
    write_npz(folder / f"labels_{frame:06d}.npz", arrays)


def _write_world(path: Path, performance: Performance, world: np.ndarray) -> None:
    """`pose.npz`: objects as quaternion xyzw and translation, the hand as 51 numbers, in the world frame."""
    recording = performance.recording
    poses = world @ recording.object_poses
    quaternions = Rotation.from_matrix(poses[..., :3, :3].reshape(-1, 3, 3)).as_quat()
    pose_y = np.concatenate([quaternions.reshape(*poses.shape[:2], 4), poses[..., :3, 3]], axis=-1)
    arrays = {"pose_y": pose_y.astype(np.float32), "pose_m": _parameters(performance, world)}
    if performance.other is not None:
        arrays["other_pose_m"] = _parameters(performance.other, world)
    write_npz(path, arrays)
