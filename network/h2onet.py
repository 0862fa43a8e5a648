"""H2ONet: one or several pictures of a hand to its mesh, joints, orientation and per-finger occlusion.

Owns the assembly of backbone, decoder, fusion and orientation. Metres, radians, OpenCV axes; RGB in [0, 1], 128x128
crops. Xu et al., "H2ONet: Hand-Occlusion-and-Orientation-aware Network", CVPR 2023; see docs/network.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError
from ..hand.hierarchy import Hierarchy, build_hierarchy
from .backbone import JOINTS, Backbone
from .decoder import MeshDecoder
from .folding import prepare
from .fusion import FingerFusion, JointVisibility, OcclusionClassifier
from .orientation import OrientationFeature, RotationHead, hand_occluded, nearest_visible, turn_about
from .prediction import FrameFeatures, NetworkConfig, Prediction, stack_frames
from .tables import MeshTables

if TYPE_CHECKING:
    from ..hand.mano import HandModel

__all__ = ["IMAGE_SIZE", "FrameFeatures", "H2ONet", "NetworkConfig", "Prediction", "build_network"]

IMAGE_SIZE = 128


class H2ONet(nn.Module):
    """Single- and multi-frame H2ONet over any mesh hierarchy; single-frame is the same network without fusion."""

    joint_regressor: Tensor
    faces: Tensor
    prepared = False  # a copy made by `for_inference`: not to be trained or saved

    def __init__(
        self, config: NetworkConfig, hierarchy: MeshTables, *, vertex_parts: np.ndarray, joint_regressor: np.ndarray
    ) -> None:
        """A network over `hierarchy` (spirals, up-sampling); `build_network` takes the tables from a hand model.

        vertex_parts (V,) part ids: 0-4 thumb .. little, 5 palm. joint_regressor (21, V). Raises InputError where their
        sizes disagree.
        """
        super().__init__()
        vertices = hierarchy.sizes[0]
        _check_tables(vertices, vertex_parts, joint_regressor)
        self.config = config
        c, channels = config.channels, config.level_channels
        self.backbone = Backbone(c)
        self.decoder = MeshDecoder(c, channels, hierarchy)
        self.orientation_feature = OrientationFeature(c)
        self.rotation_head = RotationHead(8 * c, c)
        if config.frames > 1:
            self.occlusion = OcclusionClassifier(c, config.occlusion_joint_order)
            self.fusion = FingerFusion(channels[-1], vertex_parts, hierarchy.spirals[0])
            self.correction_head = RotationHead(16 * c, c, start_at_identity=True)
        if config.joint_visibility:  # last: with the same seed all other weights start as without it
            self.joint_visibility = JointVisibility(c)
        if not config.oriented:  # no loss reaches them: optimisers and DDP must not wait for their gradients
            for module in self.orientation_modules():
                module.requires_grad_(False)
        # A parameter in the official files. Here it is not learned (but see `learn_joints`): no loss of the paper is
        # about it, and joints could leave the mesh.
        self.register_buffer("joint_regressor", torch.from_numpy(joint_regressor.astype(np.float32)))
        # (F, 3) vertex ids of the predicted mesh: losses and pictures need them, and a checkpoint must stand alone.
        self.register_buffer("faces", torch.from_numpy(hierarchy.faces[0].astype(np.int64)))
        self.hierarchy_sha256 = hierarchy.sha256

    def orientation_modules(self) -> list[nn.Module]:
        """The modules that only orientation losses train."""
        modules = [self.backbone.orientation_encoder, self.orientation_feature, self.rotation_head]
        return modules + ([self.correction_head] if self.config.frames > 1 else [])

    def learn_joints(self) -> None:
        """Make the joint regressor a parameter, as the authors' is: for `training.released`; its name stays."""
        table = self.joint_regressor.detach().clone()
        del self.joint_regressor
        self.joint_regressor = nn.Parameter(table)

    def encode(self, images: Tensor) -> FrameFeatures:
        """images (B, 3, 128, 128) RGB in [0, 1]; returns the features (B, ...) that later frames need of each."""
        _check_images(images, 4)
        seen = self.backbone(images, orientation=self.config.oriented)
        sampled = self.decoder.sample(seen.latent, seen.joints_2d)
        vertices, features = self.decoder(sampled)
        logits = self.occlusion(sampled) if self.config.frames > 1 else None
        joints = self.joint_visibility(sampled) if self.config.joint_visibility else None
        if seen.orientation is None:
            return FrameFeatures(vertices, seen.joints_2d, features, logits, joint_visibility_logits=joints)
        turned = self.orientation_feature(seen.mesh, seen.orientation)
        return FrameFeatures(vertices, seen.joints_2d, features, logits, turned, self.rotation_head(turned), joints)

    def fuse(self, current: FrameFeatures, *past: FrameFeatures) -> Prediction:
        """The prediction for the current frame from its features and those of the past ones (short, long), (B, ...)."""
        if len(past) != self.config.frames - 1:
            raise InputError(
                f"network: expected {self.config.frames - 1} past frames, found {len(past)}; encode and pass each one"
            )
        return self._predict_single(current) if not past else self.predict_window(stack_frames((current, *past)))

    def forward(self, images: Tensor) -> Prediction:
        """images (B, 3, 128, 128), or (B, T, 3, 128, 128) with the current frame first; RGB in [0, 1]."""
        frames = self.config.frames
        if frames == 1:
            return self._predict_single(self.encode(images))
        _check_images(images, 5)
        if images.shape[1] != frames:
            raise InputError(
                f"network: expected {frames} frames per sample, found {images.shape[1]}; "
                f"pass images of shape (B, {frames}, 3, 128, 128)"
            )
        return self.predict_window(self.encode(images.flatten(0, 1)).unstack(frames))

    def regress_joints(self, vertices: Tensor) -> Tensor:
        """vertices (..., V, 3) m; returns joints (..., 21, 3) m in the order of hand.parts."""
        with torch.autocast(vertices.device.type, enabled=False):
            return torch.matmul(self.joint_regressor, vertices)

    def for_inference(self, fold: bool = True, channels_last: bool = True) -> H2ONet:
        """A copy for predictions (`network.folding`): same numbers to float rounding, faster, not trainable, eval mode.

        fold: batch norms folded into the layers before them, the decoder's first level and its lifting made one.
        channels_last: the layout convolutions are fastest in.
        """
        ready = prepare(self, fold=fold, channels_last=channels_last)
        if fold:
            ready.decoder.merge_lifting()
        ready.prepared = True
        return ready

    def _predict_single(self, seen: FrameFeatures) -> Prediction:
        canonical = seen.canonical_vertices
        joints = self.regress_joints(canonical)
        visibility = seen.joint_visibility_logits
        if seen.rotation is None:
            return Prediction(
                canonical,
                canonical,
                joints,
                seen.joints_2d,
                canonical_joints=joints,
                joint_visibility_logits=visibility,
                frame_visibility_logits=visibility,
            )
        with torch.autocast(canonical.device.type, enabled=False):
            vertices = turn_about(canonical.detach(), joints[:, 0].detach(), seen.rotation)
        turned = self.regress_joints(vertices)
        return Prediction(
            vertices,
            canonical,
            turned,
            seen.joints_2d,
            seen.rotation,
            canonical_joints=joints,
            oriented_vertices=vertices,
            oriented_joints=turned,
            joint_visibility_logits=visibility,
            frame_visibility_logits=visibility,
        )

    def predict_window(self, seen: FrameFeatures) -> Prediction:
        """seen: stacked features (B, T, ...), current frame first; returns the prediction of a multi-frame network."""
        logits = seen.occlusion_logits
        if logits is None:
            raise InputError(
                "network: these features come from a single-frame network; encode the frames with a multi-frame one"
            )
        visibility = seen.joint_visibility_logits
        offset = self.fusion(
            seen.vertex_features, logits, visibility if self.config.fusion_weights == "joints" else None
        )
        current = None if visibility is None else visibility[:, 0]
        past = seen.canonical_vertices[:, 1:]
        canonical = torch.cat([(seen.canonical_vertices[:, 0] + offset)[:, None], past], 1)
        joints = self.regress_joints(canonical)
        if seen.rotation is None or seen.orientation_features is None:
            return Prediction(
                canonical[:, 0],
                canonical,
                joints[:, 0],
                seen.joints_2d,
                None,
                logits,
                canonical_joints=joints,
                joint_visibility_logits=current,
                frame_visibility_logits=visibility,
            )
        chosen = nearest_visible(seen.orientation_features, hand_occluded(logits))
        correction = self.correction_head(torch.cat([seen.orientation_features[:, 0], chosen], 1))
        with torch.autocast(canonical.device.type, enabled=False):
            # v' = (v - w) R^T D^T + w for frame t, past frames by their own R only.
            total = torch.cat([torch.matmul(correction, seen.rotation[:, 0])[:, None], seen.rotation[:, 1:]], 1)
            vertices = turn_about(canonical.detach(), joints[:, :, 0].detach(), total)
        turned = self.regress_joints(vertices)
        return Prediction(
            vertices[:, 0],
            canonical,
            turned[:, 0],
            seen.joints_2d,
            seen.rotation,
            logits,
            joints,
            vertices,
            turned,
            correction,
            current,
            visibility,
        )


def build_network(config: NetworkConfig, hand: HandModel, hierarchy: Hierarchy | None = None) -> H2ONet:
    """A fresh network for a hand model; without `hierarchy` one is built from the hand's template by decimation.

    Raises InputError for a hierarchy of another mesh than the hand's.
    """
    if hierarchy is None:
        hierarchy = build_hierarchy(hand.arrays.v_template, hand.faces)
    elif not np.array_equal(np.sort(hierarchy.faces[0], 1), np.sort(hand.faces, 1)):
        raise InputError(
            f"network: the hierarchy's {len(hierarchy.faces[0])} faces are not the {hand.arrays.source} hand's; "
            "leave the hierarchy out to build one, or take the hand it was made for"
        )
    return H2ONet(config, hierarchy, vertex_parts=hand.parts.vertex, joint_regressor=hand.joint_regressor_21("manopth"))


def _check_tables(vertices: int, vertex_parts: np.ndarray, joint_regressor: np.ndarray) -> None:
    if vertex_parts.shape != (vertices,) or int(vertex_parts.max()) > 5:
        raise InputError(
            f"network: expected vertex parts 0 to 5 of shape ({vertices},), found {vertex_parts.shape} up to "
            f"{vertex_parts.max()}; use the parts of the hand that the hierarchy was made for"
        )
    if joint_regressor.shape != (JOINTS, vertices):
        raise InputError(
            f"network: expected a joint regressor of shape (21, {vertices}), found {joint_regressor.shape}; "
            "use that of the hand that the hierarchy was made for"
        )


def _check_images(images: Tensor, dims: int) -> None:
    if images.dim() != dims or tuple(images.shape[-3:]) != (3, IMAGE_SIZE, IMAGE_SIZE):
        wanted = "(B, 3, 128, 128)" if dims == 4 else "(B, T, 3, 128, 128)"
        raise InputError(
            f"network: expected images of shape {wanted}, found {tuple(images.shape)}; "
            "crop and resize to 128x128 RGB first"
        )
    if not images.is_floating_point():
        raise InputError(
            f"network: expected floating-point RGB in [0, 1], found {images.dtype}; divide uint8 pictures by 255"
        )
