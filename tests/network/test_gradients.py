"""Gradient flow: each loss trains its own branch and nothing else."""

import pytest
import torch
from h2onet.network.h2onet import H2ONet


def pictures(*leading: int) -> torch.Tensor:
    return torch.rand(*leading, 3, 128, 128, generator=torch.Generator().manual_seed(0))


def gradients(model: H2ONet, loss: torch.Tensor) -> set[str]:
    """The first two parts of the names of modules that the loss sends a gradient to."""
    model.zero_grad(set_to_none=True)
    loss.backward()
    touched = {n for n, p in model.named_parameters() if p.grad is not None and bool(p.grad.abs().max() > 0)}
    return {".".join(name.split(".")[: 2 if name.startswith("backbone") else 1]) for name in touched}


SHAPE = {f"backbone.{name}" for name in ("stem", "first", "first_remap", "merge", "second", "latent", "joint_maps")} | {
    "backbone.joint_regression",
    "decoder",
}


@pytest.mark.parametrize("frames", [1, 3])
def test_orientation_losses_never_reach_the_shape_branch(build, frames: int):
    model = build(frames=frames).train()
    prediction = model(pictures(2, *([3] if frames == 3 else [])))
    orientation = {"backbone.orientation_encoder", "orientation_feature", "rotation_head"}
    loss = prediction.rotation.square().sum() + prediction.oriented_vertices.square().sum()
    loss = loss + prediction.rotation[..., 0, 1].sum() + prediction.joints.sum() + prediction.oriented_joints.sum()
    assert gradients(model, loss) == (orientation | {"correction_head"} if frames == 3 else orientation)


def test_canonical_losses_train_the_shape_branch_and_the_fusion_only(build):
    model = build(frames=3).train()
    assert gradients(model, model(pictures(2, 3)).canonical_vertices.square().sum()) == SHAPE | {"fusion"}
    single = build().train()
    assert gradients(single, single(pictures(2)).canonical_vertices.square().sum()) == SHAPE


def test_occlusion_losses_train_the_classifier_only(build):
    model = build(frames=3).train()
    logits = model(pictures(2, 3)).occlusion_logits
    assert gradients(model, logits.square().sum()) == {"occlusion"}


def test_every_parameter_of_a_stage_gets_a_gradient(build):
    """No weight that optimisers and DDP would wait for in vain; stage 1 freezes the orientation branch."""
    for frames in (1, 3):
        for oriented in (False, True):
            model = build(frames=frames, oriented=oriented).train()
            prediction = model(pictures(2, *([3] if frames == 3 else [])))
            loss = prediction.canonical_vertices.square().sum() + prediction.joints_2d.sum()
            if oriented:
                loss = loss + prediction.oriented_vertices.square().sum()
            if prediction.occlusion_logits is not None:
                loss = loss + prediction.occlusion_logits.square().sum()
            loss.backward()
            idle = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
            assert idle == []
