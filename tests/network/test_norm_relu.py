"""Batch norm + ReLU together against torch's own, and small maps' 1x1 convolutions against oneDNN's."""

import copy

import h2onet.network.norm_relu
import numpy as np
import pytest
import torch
from h2onet.network.layers import Normalized, PointwiseConv, SpaceToDepthConv
from h2onet.network.norm_relu import norm_relu, takes
from torch import Tensor, nn
from torch.nn import functional

SHAPES = [(4, 16, 8, 8), (3, 5, 7, 2), (2, 1, 3, 3), (6, 9, 1, 1), (2, 96, 96, 64)]


def maps(shape: tuple[int, ...], mean: float = 0.0, seed: int = 0) -> Tensor:
    """Random numbers in the layout that training uses."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + mean
    return x.contiguous(memory_format=torch.channels_last)


def batch_norm(shape: tuple[int, ...]) -> nn.Module:
    """A batch norm for the shape with weights of both signs."""
    torch.manual_seed(1)
    norm = nn.BatchNorm2d(shape[1])
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm.train()


def both_ways(shape: tuple[int, ...], mean: float = 0.0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Output, gradients and running statistics after two steps: by `norm_relu`, and by torch in float64."""
    norm = batch_norm(shape)
    exact = copy.deepcopy(norm).double()
    answers = []
    for model, dtype, run in ((norm, torch.float32, norm_relu), (exact, torch.float64, lambda n, x: n(x).relu())):
        for seed in (2, 3):
            x = maps(shape, mean, seed).to(dtype).requires_grad_()
            out = run(model, x)
            model.zero_grad()
            (out * maps(shape, 0.0, seed + 10).to(dtype)).sum().backward()
        found = {"out": out, "x": x.grad, "weight": model.weight.grad, "bias": model.bias.grad}
        answers.append({k: v.detach() for k, v in (found | dict(model.named_buffers())).items()})
    return answers[0], answers[1]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("threads", [1, 2])
def test_same_as_torch(shape, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ours, exact = both_ways(shape)
    finally:
        torch.set_num_threads(before)
    for name, wanted in exact.items():
        scale = float(wanted.abs().max()) + 1e-3
        assert float((ours[name].double() - wanted).abs().max()) < 2e-5 * scale, name


def test_means_far_from_zero_keep_their_digits():
    ours, exact = both_ways((8, 12, 16, 16), mean=1000.0)
    # The inputs themselves are rounded to 1000 / 2^24 = 6e-5.
    assert float((ours["out"] - exact["out"]).abs().max()) < 5e-4
    assert float((ours["running_var"] - exact["running_var"]).abs().max()) < 1e-3


def test_layout_is_kept():
    x = maps((2, 6, 4, 4))
    assert norm_relu(batch_norm(x.shape), x).stride() == x.stride()


@pytest.mark.parametrize("planted", [float("nan"), float("inf")])
def test_broken_numbers_stay_visible(planted):
    x = maps((2, 6, 4, 4))
    x[1, 3, 2, 2] = planted
    x.requires_grad_()
    out = norm_relu(batch_norm(x.shape), x)
    assert out[:, 3].isnan().all() and out[:, [0, 1, 2, 4, 5]].isfinite().all()
    out.sum().backward()
    assert x.grad is not None and not x.grad[:, 3].isfinite().all()


@pytest.fixture
def _small_maps_too(monkeypatch):
    monkeypatch.setattr(h2onet.network.norm_relu, "LARGE", 1)


@pytest.mark.usefixtures("_small_maps_too")
def test_what_is_left_to_torch():
    norm, relu, x = batch_norm((2, 32, 3, 3)), nn.ReLU(), maps((2, 32, 3, 3))
    assert takes(norm, relu, x)
    assert not takes(norm, nn.Hardtanh(), x) and not takes(norm, None, x)
    assert not takes(norm, relu, x.double()) and not takes(norm, relu, x.bfloat16())
    assert not takes(norm, relu, x.contiguous()), "contiguous maps have no row per pixel"
    assert not takes(batch_norm((2, 24, 3, 3)), relu, maps((2, 24, 3, 3))), "24 channels fill no whole registers"
    assert not takes(nn.BatchNorm2d(32, track_running_stats=False).train(), relu, x)
    assert not takes(norm.eval(), relu, x)


def test_small_maps_are_left_to_torch():
    assert not takes(batch_norm((2, 32, 3, 3)), nn.ReLU(), maps((2, 32, 3, 3)))


@pytest.mark.usefixtures("_small_maps_too")
def test_the_network_goes_through_it():
    torch.manual_seed(0)
    unit = Normalized(nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.ReLU(inplace=True)).to(
        memory_format=torch.channels_last  # type: ignore[call-overload]
    )
    x = maps((2, 3, 9, 9))
    assert unit(x).grad_fn.name() == "_NormReLUBackward"
    assert unit.eval()(x).grad_fn.name() != "_NormReLUBackward"


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("pixels", [4, 8, 16])
def test_pointwise_is_the_convolution(batch, pixels):
    torch.manual_seed(0)
    conv, x = PointwiseConv(12, 7, 1), maps((batch, 12, pixels, pixels))
    ours, wanted = conv(x), functional.conv2d(x, conv.weight, conv.bias)
    assert torch.allclose(ours, wanted, atol=1e-6) and ours.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(conv(x.contiguous()), wanted, atol=1e-6)


def test_space_to_depth_is_the_shuffle_and_the_convolution():
    torch.manual_seed(0)
    conv, x = SpaceToDepthConv(5, 6), maps((2, 5, 8, 6))
    wanted = functional.conv2d(functional.pixel_unshuffle(x, 2), conv.weight)
    assert np.allclose(conv(x).detach(), wanted.detach(), atol=1e-6)
