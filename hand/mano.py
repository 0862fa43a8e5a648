"""The posed hand: the model that turns poses and shapes into meshes and joints, through smplx's MANO layer.

Metres and radians. Everywhere in the project a pose is `(B, 48)`: the full axis-angle, global rotation first, the hand
mean included, in the hand's own side convention. vertices = LBS(pose, shape) + translation, in the frame that global
rotation and translation refer to (here the OpenCV camera). The global rotation turns about the rest wrist
J0(shape), so the posed wrist is J0(shape) + translation.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from smplx.body_models import MANOLayer
from smplx.utils import Struct

from .array_record import SIDES, HandArrays
from .arrays import find_mano, load_arrays
from .basis import HandBasis
from .parts import JOINTS_FROM_MANO, Parts, parts_of, tip_vertices

__all__ = ["SIDES", "HandArrays", "HandMesh", "HandModel", "find_mano", "load_arrays", "load_hand", "rotation_matrices"]


@dataclass(frozen=True)
class HandMesh:
    """Posed hands: vertices `(B, 778, 3)` and joints `(B, 21, 3)` (wrist, thumb..little, base to tip), metres."""

    vertices: torch.Tensor
    joints: torch.Tensor


def load_hand(mano: str | Path, side: str = "right", dtype: torch.dtype = torch.float32) -> "HandModel":
    """The hand of `load_arrays(mano, side)` as a model. Raises InputError as that does."""
    return HandModel(load_arrays(mano, side), dtype)


def rotation_matrices(axis_angle: torch.Tensor) -> torch.Tensor:
    """Axis-angle `(..., 3)` rad to matrices `(..., 3, 3)`: differentiable, also at zero, and exact in float64.

    (smplx's own version adds 1e-8 to every component, which shows in float64.)
    """
    squared = (axis_angle * axis_angle).sum(-1)[..., None, None]
    small = squared < 1e-8
    safe = torch.where(small, torch.ones_like(squared), squared)
    angle = safe.sqrt()
    sine = torch.where(small, 1 - squared / 6, torch.sin(angle) / angle)
    # 2 sin^2(a/2) instead of 1 - cos(a): no cancellation for small angles in float32.
    cosine = torch.where(small, 0.5 - squared / 24, 2 * (torch.sin(angle / 2) / angle) ** 2)
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    identity = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return identity + sine * cross + cosine * (cross @ cross)


class _Layer(MANOLayer):
    SHAPE_SPACE_DIM = 10  # smplx prints a warning to stdout for fewer coefficients than this class attribute says


class HandModel(torch.nn.Module):
    """Poses one side's hand through smplx's MANO layer. Holds buffers only: nothing to train, moves with `.to()`."""

    root_template: torch.Tensor
    root_directions: torch.Tensor

    def __init__(self, arrays: HandArrays, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.arrays = arrays
        self.side: str = arrays.side
        self.faces: np.ndarray = arrays.faces
        self.parts: Parts = parts_of(arrays.faces, arrays.weights)
        self.hands_mean: np.ndarray = arrays.hands_mean
        self.hands_components: np.ndarray = arrays.hands_components
        self.layer = _smplx_layer(arrays, dtype)
        self._basis = HandBasis.of(arrays)
        root_template = torch.tensor(self._basis.wrist_template, dtype=dtype)
        self.register_buffer("root_template", root_template, persistent=False)
        root_directions = torch.tensor(self._basis.wrist_directions, dtype=dtype)
        self.register_buffer("root_directions", root_directions, persistent=False)
        self.requires_grad_(False)

    def forward(
        self,
        mano_pose: torch.Tensor,
        mano_shape: torch.Tensor,
        translation: torch.Tensor | None = None,
        tips: str = "manopth",
    ) -> HandMesh:
        """Meshes and joints of a batch of poses.

        mano_pose `(B, 48)` rad, hand mean included; mano_shape `(B, 10)` or `(1, 10)`; translation `(B, 3)` m, added to
        the un-centred output (None: nothing is added, the wrist is `root(mano_shape)`); tips: a set of `parts.TIPS`.
        """
        if len(mano_pose) == 0:  # smplx cannot reshape an empty batch
            return HandMesh(mano_pose.new_zeros(0, 778, 3), mano_pose.new_zeros(0, 21, 3))
        rotations = rotation_matrices(mano_pose.reshape(-1, 16, 3))
        posed = self.layer(
            betas=mano_shape.expand(len(mano_pose), -1),
            global_orient=rotations[:, :1],
            hand_pose=rotations[:, 1:],
            transl=translation,
        )
        fingertips = [posed.vertices[:, vertex] for vertex in tip_vertices(tips, self.side)]
        joints = torch.cat([posed.joints, torch.stack(fingertips, dim=1)], dim=1)
        joints = torch.stack([joints[:, row] for row in JOINTS_FROM_MANO], dim=1)  # slices: no index tensor to move
        return HandMesh(posed.vertices, joints)

    def root(self, mano_shape: torch.Tensor) -> torch.Tensor:
        """J0 `(B, 3)` m: the rest wrist of shapes `(B, 10)`. The posed wrist is J0 + translation (docs/hand.md)."""
        return self.root_template + mano_shape @ self.root_directions.T

    def finger_pose(self, coefficients: np.ndarray) -> np.ndarray:
        """PCA coefficients `(..., 45)` to finger axis-angles `(..., 45)` rad, hand mean added (docs/hand.md)."""
        return self._basis.finger_pose(coefficients)

    def coefficients(self, finger_pose: np.ndarray) -> np.ndarray:
        """The PCA coefficients `(..., 45)` of finger axis-angles `(..., 45)` rad: the inverse of `finger_pose`."""
        return self._basis.coefficients(finger_pose)

    def joint_regressor_21(self, tips: str = "h2onet") -> np.ndarray:
        """The `(21, 778)` float64 regressor from vertices to joints: 16 regressed ones and five tip vertices."""
        fingertips = np.zeros((5, 778))
        fingertips[np.arange(5), list(tip_vertices(tips, self.side))] = 1.0
        return np.concatenate([self.arrays.joint_regressor, fingertips])[list(JOINTS_FROM_MANO)]


def _smplx_layer(arrays: HandArrays, dtype: torch.dtype) -> _Layer:
    """smplx's layer fed with arrays, so that smplx never opens (and unpickles) a file.

    `flat_hand_mean=True`: the poses here already include the mean, which smplx would add a second time.
    """
    data = Struct(
        v_template=arrays.v_template,
        shapedirs=arrays.shapedirs,
        posedirs=arrays.posedirs,
        J_regressor=arrays.joint_regressor,
        weights=arrays.weights,
        kintree_table=np.stack([arrays.parents, np.arange(16)]),
        f=arrays.faces,
        hands_components=arrays.hands_components,
        hands_mean=arrays.hands_mean,
    )
    layer = _Layer(
        model_path="",
        data_struct=data,
        is_rhand=arrays.side == "right",
        use_pca=False,
        flat_hand_mean=True,
        create_body_pose=False,
        dtype=dtype,
    )
    # smplx rounds its arrays to float32 even for a float64 layer: put the exact ones back.
    exact = {
        "v_template": arrays.v_template,
        "shapedirs": arrays.shapedirs,
        "posedirs": arrays.posedirs.reshape(-1, 135).T.copy(),
        "J_regressor": arrays.joint_regressor,
        "lbs_weights": arrays.weights,
    }
    del layer.vertex_joint_selector  # the landmarks of the whole body, which the hand layer never reads
    # smplx asks a buffer for each joint's parent: on a GPU that would wait for the device 15 times per call.
    del layer.parents
    object.__setattr__(layer, "parents", arrays.parents.copy())
    for name, rounded in list(layer.named_buffers()):
        buffer = torch.tensor(exact[name], dtype=dtype) if name in exact else rounded
        # Not persistent: MANO's licensed arrays must never travel in a checkpoint of a model that holds a hand.
        layer.register_buffer(name, buffer, persistent=False)
    return layer
