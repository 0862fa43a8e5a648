"""The dual-branch image encoder: two dense stacks for the shape branch, a third down path for the orientation branch.

Images are (B, 3, 128, 128) RGB in [0, 1]; 2D joints are in [0, 1] of the crop. `c` is the base channel count (128 at
full width), from which every other one follows. As in the authors' code; the first stack is MobRecon's DenseStack.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import DenseBlock, MobileUnit, Normalized, SpaceToDepthConv, SqueezeExcite, conv_block

JOINTS = 21
# Channels of a stack's output. Not scaled with the width: 21 joint maps are one 1x1 convolution away from it.
MAP_CHANNELS = 24
# A joint map is 16x16 and is flattened, so that this size follows from the picture's, not from the width.
MAP_PIXELS = 256


class ImageFeatures(NamedTuple):
    """What the backbone finds in a picture.

    `latent` (B, 2c, 4, 4), `mesh` M (B, 8c, 4, 4), `orientation` O (B, 8c, 4, 4) or None, `joints_2d` (B, 21, 2) in
    [0, 1] of the crop (values outside are possible).
    """

    latent: Tensor
    mesh: Tensor
    orientation: Tensor | None
    joints_2d: Tensor


class Stem(nn.Module):
    """(B, 3, 128, 128) -> (B, c, 32, 32): strided conv, mobile unit, space-to-depth by 2, 1x1 conv."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv = conv_block(3, c // 2, 3, stride=2)
        self.unit = MobileUnit(c // 2, c)
        self.reduce = Normalized(SpaceToDepthConv(c, c), nn.BatchNorm2d(c), nn.ReLU(inplace=True))

    def forward(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) in [0, 1]; returns (B, c, H/4, W/4)."""
        return self.reduce(self.unit(self.conv(images)))


class DownPath(nn.Module):
    """c -> 2c -> 4c -> 8c channels, halving the size each time; with `refine`, two "no expand" dense blocks at the end.

    The gate after the third block exists only with `refine`; in official checkpoints stack 1 has one too, which is
    never applied.
    """

    def __init__(self, c: int, refine: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            [DenseBlock(c, (c // 2,) * 2), DenseBlock(2 * c, (c // 2,) * 4), DenseBlock(4 * c, (c,) * 4)]
        )
        gated = (2 * c, 4 * c, 8 * c) if refine else (2 * c, 4 * c)
        self.gates = nn.ModuleList(SqueezeExcite(channels, 2 * c) for channels in gated)
        last = DenseBlock(8 * c, (6 * c, 2 * c), keep_input=False)
        again = DenseBlock(8 * c, (6 * c, 2 * c), keep_input=False)
        self.refine = nn.Sequential(last, again) if refine else nn.Identity()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, c, 32, 32); returns (B, 2c, 16, 16), (B, 4c, 8, 8), (B, 8c, 4, 4)."""
        levels = []
        for i, block in enumerate(self.blocks):
            x = functional.avg_pool2d(block(x), 2)
            if i < len(self.gates):  # gated before pooling in the authors' code; the same numbers (SqueezeExcite)
                x = self.gates[i](x)
            levels.append(x)
        return levels[0], levels[1], self.refine(levels[2])


class UpStep(nn.Module):
    """Two mobile units (the second with two depthwise layers) and a gate: (B, c_in, H, W) -> (B, c_out, H, W)."""

    def __init__(self, c_in: int, middle: int, c_out: int, limit: int) -> None:
        super().__init__()
        self.units = nn.Sequential(MobileUnit(c_in, middle), MobileUnit(middle, c_out, depthwise=2))
        self.gate = SqueezeExcite(c_out, limit)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, c_in, H, W); returns (B, c_out, H, W)."""
        return self.gate(self.units(x))


class DenseStack(nn.Module):
    """A down path and the way back up with skips.

    `refine` marks the second stack, which leaves out the last up-sampling.
    """

    def __init__(self, c: int, refine: bool) -> None:
        super().__init__()
        self.down = DownPath(c, refine)
        self.up = nn.ModuleList([UpStep(8 * c, 4 * c, 4 * c, 2 * c), UpStep(4 * c, 2 * c, 2 * c, 2 * c)])
        self.out = UpStep(2 * c, 2 * c, MAP_CHANNELS, 2 * c)
        self.upsample_output = not refine

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, c, 32, 32); returns the map (B, 24, 32, 32) or (B, 24, 16, 16) and the bottom feature (B, 8c, 4, 4)."""
        fine, middle, bottom = self.down(x)
        y = functional.interpolate(self.up[0](bottom), scale_factor=2, mode="nearest") + middle
        y = functional.interpolate(self.up[1](y), scale_factor=2, mode="nearest") + fine
        y = self.out(y)
        if self.upsample_output:
            y = functional.interpolate(y, scale_factor=2, mode="bilinear", align_corners=True)
        return y, bottom


class Backbone(nn.Module):
    """Pictures to latent, mesh and orientation features and 2D joints, (B, 3, 128, 128) -> `ImageFeatures`."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.stem = Stem(c)
        self.first = DenseStack(c, refine=False)
        self.first_remap = conv_block(MAP_CHANNELS, MAP_CHANNELS)
        self.merge = conv_block(c + MAP_CHANNELS, c)
        self.second = DenseStack(c, refine=True)
        self.orientation_encoder = DownPath(c, refine=True)
        self.latent = Normalized(nn.Conv2d(8 * c, 2 * c, 1, bias=False))
        self.joint_maps = Normalized(nn.Conv2d(MAP_CHANNELS, JOINTS, 1, bias=False))
        self.joint_regression = nn.Sequential(
            Normalized(nn.Linear(MAP_PIXELS, 128, bias=False), activation=nn.Hardtanh(0.0, 4.0, inplace=True)),
            Normalized(nn.Linear(128, 64, bias=False), activation=nn.Hardtanh(0.0, 4.0, inplace=True)),
            Normalized(nn.Linear(64, 2, bias=False)),
        )

    def forward(self, images: Tensor, orientation: bool = True) -> ImageFeatures:
        """images (B, 3, 128, 128) RGB in [0, 1]; without `orientation` that branch is skipped, as in stage 1."""
        stem = self.stem(images)
        remap, _ = self.first(stem)
        shared = self.merge(torch.cat([self.first_remap(remap), stem], 1))
        maps, mesh = self.second(shared)
        # Detached: the orientation branch has its own encoder and must not train the shape branch (paper, section 3.3).
        turned = self.orientation_encoder(shared.detach())[2] if orientation else None
        return ImageFeatures(self.latent(mesh), mesh, turned, self.joints_2d(maps))

    def joints_2d(self, maps: Tensor) -> Tensor:
        """maps (B, 24, 16, 16); returns (B, 21, 2), always in at least float32: bfloat16 has half-pixel steps here."""
        with torch.autocast(maps.device.type, enabled=False):
            wide = self.joint_maps(maps.to(next(self.joint_maps.parameters()).dtype))
            return self.joint_regression(wide.flatten(2))
