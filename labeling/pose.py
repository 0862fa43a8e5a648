"""From frames to meshes before the camera: one batch of poses through the hand models, placed as each rule wants them.

Metres in the OpenCV camera frame, pixels with pixel i covering [i, i+1). Also the checks that decide whether a frame
can be posed and labelled at all.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.frame import Frame, OtherHand
from ..errors import InputError
from ..hand.arrays import load_arrays
from ..hand.camera import project
from ..hand.rotations import mirror_pose
from ..hand.skinning import SkinnedHand
from ..jit import njit, readonly
from .raster import Mesh

_MIRROR = np.array([-1.0, 1.0, 1.0])
FARTHEST = 50.0
"""Metres from the camera beyond which a hand or an object is no annotation in metres; both datasets end at about 2."""
ROTATION_TOLERANCE = 0.02
_FIELDS = {
    "mano_pose": (48,),
    "mano_shape": (10,),
    "translation": (3,),
    "joints": (21, 3),
    "vertices": (778, 3),
    "root": (3,),
}
_FLATTEST = 1e-6  # the least that an intrinsics matrix's determinant may be of its focal lengths' product


@dataclass(frozen=True, eq=False)
class Hands:
    """The hands of both sides (`load_hands`); left is None where a dataset has right hands only."""

    right: SkinnedHand
    left: SkinnedHand | None = None

    def own(self, side: str) -> SkinnedHand:
        """The model of one side; raises InputError when there is none."""
        if side == "right":
            return self.right
        if self.left is None:
            raise InputError("hands: a left hand needs MANO_LEFT.pkl, and only the right model was loaded")
        return self.left


def load_hands(mano: str | Path, sides: Sequence[str] = ("right", "left")) -> Hands:
    """Load the hands from `mano`: a folder with MANO's pickles, or "standin"."""
    models = {side: SkinnedHand(load_arrays(mano, side)) for side in sides}
    return Hands(models["right"], models.get("left"))


@dataclass(frozen=True, eq=False)
class Posed:
    """The meshes of N frames, m, and their projections, px.

    authors (N, 778, 3): as the h2onet rule wants them: the right model, left hands mirrored through their pose, with
    the winding of the right hand; the wrist at the dataset's. own (N, 778, 3): the model of the hand's own side,
    placed by the dataset's translation. joints (N, 21, 3): the dataset's, or the model's where it gives none.
    joints_off (N,): the mean distance, m, of the dataset's joints from the posed model's (from the middle of the mesh
    to the joints' where the dataset gives meshes), NaN where there are none.
    """

    authors: np.ndarray
    own: np.ndarray
    joints: np.ndarray
    authors_2d: np.ndarray
    own_2d: np.ndarray
    joints_2d: np.ndarray
    joints_off: np.ndarray


def pose_frames(frames: Sequence[Frame], hands: Hands, left_too: bool = True) -> Posed:
    """Pose frames that passed `problem_of` and have a pose or a mesh: one batch per model.

    left_too: pose the left model for left hands; without it `own` is the mirrored right hand (enough for the h2onet
    rule, and possible without MANO_LEFT). Raises InputError when the left model is needed and missing.
    """
    authors, own = np.zeros((2, len(frames), 778, 3))
    joints = np.zeros((len(frames), 21, 3))
    for side in ("right", "left"):
        rows = [i for i, frame in enumerate(frames) if frame.side == side and frame.vertices is None]
        if not rows:
            continue
        pose = np.stack([np.asarray(frames[i].mano_pose, np.float64) for i in rows])
        shape = np.stack([np.asarray(frames[i].mano_shape, np.float64) for i in rows])
        root = np.stack([np.asarray(frames[i].root, np.float64) for i in rows])[:, None]
        mesh, bones = _centred(hands.right, pose if side == "right" else mirror_pose(pose), shape)
        if side == "left":
            mesh, bones = mesh * _MIRROR, bones * _MIRROR
        authors[rows] = mesh + root
        model = hands.right
        if side == "left" and left_too:
            model = hands.own(side)
            mesh, bones = _centred(model, pose, shape)
        wrist = _wrists([frames[i] for i in rows], model, shape, root)
        own[rows], joints[rows] = mesh + wrist, bones + wrist
    joints_off = np.full(len(frames), np.nan)
    for i, frame in enumerate(frames):
        if frame.vertices is not None:
            authors[i] = own[i] = frame.vertices
            joints[i] = np.nan
        if frame.joints is not None:
            joints_off[i] = _distance(frame.joints, joints[i] if frame.vertices is None else frame.vertices)
            joints[i] = frame.joints
    intrinsics = np.stack([np.asarray(frame.intrinsics, np.float64) for frame in frames])
    authors_2d, own_2d, joints_2d = (project(points, intrinsics) for points in (authors, own, joints))
    return Posed(authors, own, joints, authors_2d, own_2d, joints_2d, joints_off)


def other_mesh(other: OtherHand, hands: Hands, intrinsics: np.ndarray) -> Mesh:
    """The mesh of another hand in the picture, which passed `problem_of`; InputError when its model is missing."""
    model = hands.own(other.side)
    if other.vertices is not None:
        vertices = np.ascontiguousarray(other.vertices, np.float64)
    else:
        pose, shape, translation = other.mano_pose, other.mano_shape, other.translation
        assert pose is not None and shape is not None and translation is not None
        vertices = model.pose(pose[None].astype(np.float64), shape[None].astype(np.float64))[0][0] + translation
    return Mesh(vertices, model.faces, project(vertices, np.asarray(intrinsics, np.float64)))


def _distance(joints: np.ndarray, expected: np.ndarray) -> float:
    """Mean distance, m, of joints (21, 3) from other joints, or of their middle from that of a mesh (V, 3)."""
    if len(joints) != len(expected):
        return float(np.linalg.norm(joints.mean(axis=0) - expected.mean(axis=0)))
    return float(np.linalg.norm(joints - expected, axis=-1).mean())


def _centred(model: SkinnedHand, pose: np.ndarray, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (B, 778, 3) and joints (B, 21, 3) relative to the wrist."""
    vertices, joints = model.pose(pose, shape)
    return vertices - joints[:, :1], joints - joints[:, :1]


def _wrists(frames: Sequence[Frame], model: SkinnedHand, shape: np.ndarray, root: np.ndarray) -> np.ndarray:
    """(B, 1, 3) m: J0(shape) + translation where the dataset gives a translation, else its wrist joint."""
    wrists = root.copy()
    rows = [i for i, frame in enumerate(frames) if frame.translation is not None]
    if rows and model.side == frames[0].side:
        rest = model.root(shape[rows])
        translation = np.stack([np.asarray(frames[i].translation, np.float64) for i in rows])
        wrists[rows] = (rest + translation)[:, None]
    return wrists


def problem_of(frame: Frame, needs_mask: bool = True) -> str | None:
    """Why this frame cannot be labelled, in one line ("field: expected ..., found ..."); None when nothing is wrong.

    needs_mask: a frame with a pose must have the dataset's hand mask (the h2onet rule).
    """
    if problem := _intrinsics_problem(np.ascontiguousarray(frame.intrinsics, np.float64)):
        return f"intrinsics: {problem}"
    if frame.side not in ("right", "left"):
        return f"side: expected right or left, found {frame.side!r}"
    if frame.mano_pose is None and frame.vertices is None:
        return None
    if frame.vertices is None and frame.mano_shape is None:
        return "mano_shape: expected 10 numbers beside the pose, found none"
    for field, shape in _FIELDS.items():
        value = getattr(frame, field)
        if value is not None and (problem := _numbers_problem(value, shape)):
            return f"{field}: {problem}"
    for other in frame.others:
        if problem := _other_problem(other):
            return f"other hand: {problem}"
    for item in frame.objects:
        if problem := _pose_problem(item.pose):
            return f"pose of object {item.name}: {problem}"
    if frame.hand_mask is None and frame.vertices is None and needs_mask:
        return "hand mask: expected the dataset's segmentation, found none"
    if frame.hand_mask is not None and frame.hand_mask.shape != (frame.height, frame.width):
        return f"hand mask: expected {frame.height} x {frame.width} px, found {frame.hand_mask.shape}"
    return None


def _intrinsics_problem(k: np.ndarray) -> str | None:
    """What is wrong with an intrinsics matrix, None where nothing is."""
    if k.shape == (3, 3) and _surely_a_camera(k):
        return None
    if k.shape != (3, 3) or not np.isfinite(k).all() or not (k[0, 0] > 0 and k[1, 1] > 0):
        found = f"{k[0, 0]:g}, {k[1, 1]:g}" if k.shape == (3, 3) else f"shape {k.shape}"
        return f"expected finite values and focal lengths above 0, found {found}"
    if abs(np.linalg.det(k)) < _FLATTEST * k[0, 0] * k[1, 1]:
        return f"expected a matrix with an inverse, found the determinant {np.linalg.det(k):g}"
    return None


def _numbers_problem(value: np.ndarray, shape: tuple[int, ...]) -> str | None:
    """What is wrong with an array of numbers, which are metres where the last axis has three; None if nothing is."""
    far = _largest(np.ascontiguousarray(value, np.float64).reshape(-1)) if value.shape == shape else 0.0
    if value.shape != shape or math.isinf(far):
        found = "NaN or infinity" if value.shape == shape else f"shape {value.shape}"
        return f"expected {' x '.join(map(str, shape))} finite numbers, found {found}"
    if shape[-1] == 3 and far > FARTHEST:
        return f"expected metres, at most {FARTHEST:g} from the camera, found {far:g}: millimetres?"
    return None


def _other_problem(other: OtherHand) -> str | None:
    """What is wrong with another hand of a frame, None where nothing is."""
    if other.side not in ("right", "left"):
        return f"side: expected right or left, found {other.side!r}"
    for field in ("vertices",) if other.vertices is not None else ("mano_pose", "mano_shape", "translation"):
        value, shape = getattr(other, field), _FIELDS[field]
        if value is None:
            return f"{field}: expected {' x '.join(map(str, shape))} finite numbers, found none"
        if problem := _numbers_problem(value, shape):
            return f"{field}: {problem}"
    return None


@njit(f"float64({readonly('float64', 1)})")
def _largest(values):
    """The largest magnitude of some numbers; infinity where one of them is NaN."""
    largest = 0.0
    for value in values:
        if not abs(value) < np.inf:
            return np.inf
        largest = max(largest, abs(value))
    return largest


@njit(f"float64({readonly('float64', 2)})")
def _determinant(m):
    """Of the first three columns of three rows."""
    a, b, c = m[0], m[1], m[2]
    return a[0] * (b[1] * c[2] - b[2] * c[1]) + a[1] * (b[2] * c[0] - b[0] * c[2]) + a[2] * (b[0] * c[1] - b[1] * c[0])


@njit(f"boolean({readonly('float64', 2)})")
def _surely_a_camera(k):
    """Whether `_intrinsics_problem` finds nothing wrong, by a bound a little tighter."""
    return (
        np.isfinite(k).all()
        and k[0, 0] > 0
        and k[1, 1] > 0
        and abs(_determinant(k)) > 2 * _FLATTEST * k[0, 0] * k[1, 1]
    )


@njit(f"boolean({readonly('float64', 2)})")
def _surely_possible(pose):
    """Whether `_pose_problem` finds nothing wrong, by bounds a little tighter: it is asked about every object."""
    far, worst = 0.0, 0.0
    for i in range(3):
        far += pose[i, 3] ** 2
        for j in range(3):
            product = pose[i, 0] * pose[j, 0] + pose[i, 1] * pose[j, 1] + pose[i, 2] * pose[j, 2]
            worst = max(worst, abs(product - (1.0 if i == j else 0.0)))
    return far < 0.99 * FARTHEST**2 and worst < 0.99 * ROTATION_TOLERANCE and _determinant(pose) > 0.5


def _pose_problem(pose: np.ndarray) -> str | None:
    """What makes an object's pose impossible, None where nothing does; all zeros mean that it is absent."""
    if np.shape(pose) == (3, 4) and _surely_possible(np.ascontiguousarray(pose, np.float64)):
        return None
    if np.shape(pose) != (3, 4) or not np.isfinite(pose).all():
        return "expected 3 x 4 finite numbers, found NaN, infinity or another shape"
    rotation, offset = pose[:, :3], pose[:, 3]
    if not rotation.any():
        return None
    if (far := np.linalg.norm(offset)) > FARTHEST:
        return f"expected metres, at most {FARTHEST:g} from the camera, found {far:g}: millimetres?"
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=ROTATION_TOLERANCE) or np.linalg.det(rotation) < 0:
        sizes = ", ".join(f"{size:.3g}" for size in np.linalg.norm(rotation, axis=0))
        return f"expected a rotation, found columns of length {sizes} and determinant {np.linalg.det(rotation):.3g}"
    return None
