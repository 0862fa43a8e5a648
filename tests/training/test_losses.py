"""Losses equal plain NumPy, vanish at the truth, survive degenerate meshes, and add up over processes."""

import numpy as np
import pytest
import torch
from h2onet.training import losses

FACES = torch.tensor([[0, 1, 2], [0, 2, 3], [3, 2, 1]])


def _pair(seed: int = 0, frames: int = 4, count: int = 4, axes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    predicted, true = torch.randn(2, frames, count, axes, generator=generator, dtype=torch.float64)
    return predicted, true


def test_mesh_losses_equal_their_definition() -> None:
    predicted, true = _pair()
    edges, normals, lengths = [], [], []
    for p, t in zip(predicted.numpy(), true.numpy(), strict=True):
        for a, b, c in FACES.numpy():
            normal = np.cross(t[b] - t[a], t[c] - t[a])
            normal /= np.linalg.norm(normal)
            for i, j in ((a, b), (b, c), (a, c)):
                edge = p[j] - p[i]
                normals.append(abs(edge @ normal) / np.linalg.norm(edge))
                lengths.append(abs(np.linalg.norm(edge) - np.linalg.norm(t[j] - t[i])))
                edges.append(edge)
    assert losses.normal_cosine(predicted, true, FACES, 4).item() == pytest.approx(np.mean(normals))
    assert losses.edge_length_l1(predicted, true, FACES, 4).item() == pytest.approx(np.mean(lengths))


def test_pointwise_losses_are_means() -> None:
    predicted, true = _pair()
    expected = (predicted - true).abs().mean()
    assert losses.vertices_l1(predicted, true, 4) == pytest.approx(expected)
    assert losses.joints_l1(predicted, true, 4) == pytest.approx(expected)
    flat = _pair(1, axes=2)
    assert losses.joints_2d_l1(*flat, 4) == pytest.approx((flat[0] - flat[1]).abs().mean())
    turns = torch.linalg.qr(torch.randn(5, 3, 3, dtype=torch.float64))[0]
    assert losses.rotation_mse(turns, turns.mT, 5) == pytest.approx(((turns - turns.mT) ** 2).mean())


def test_cross_entropy_counts_known_labels_of_the_six_outputs() -> None:
    logits = torch.randn(3, 2, 6, dtype=torch.float64)
    occluded = torch.tensor([[0, 1, 255, 0, 1, 0, 1], [255] * 7, [1, 1, 1, 1, 1, 255, 0]], dtype=torch.uint8)
    columns = [0, 1, 2, 3, 4, 6]
    values = [
        -torch.log_softmax(logits[n, :, k], 0)[int(occluded[n, column])].item()
        for n in range(3)
        for k, column in enumerate(columns)
        if occluded[n, column] != 255
    ]
    known = losses.known_labels(occluded)
    assert int(known) == len(values) == 11
    assert losses.occlusion_cross_entropy(logits, occluded, known).item() == pytest.approx(np.mean(values))


def test_no_known_label_is_no_loss_and_no_gradient() -> None:
    logits = torch.randn(2, 2, 6, requires_grad=True)
    loss = losses.occlusion_cross_entropy(logits, torch.full((2, 7), 255, dtype=torch.uint8), 1.0)
    loss.backward()
    assert logits.grad is not None
    assert loss.item() == 0 and torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("collapse", ["one edge", "one face", "everything"])
def test_degenerate_meshes_have_finite_losses_and_gradients(collapse: str) -> None:
    predicted, true = _pair(3)
    predicted, true = predicted.float(), true.float()
    rows = {"one edge": [1], "one face": [1, 2], "everything": [1, 2, 3]}[collapse]
    predicted[:, rows] = predicted[:, :1]
    true[:, rows] = true[:, :1]
    predicted.requires_grad_()
    loss = losses.normal_cosine(predicted, true, FACES, 4) + losses.edge_length_l1(predicted, true, FACES, 4)
    loss.backward()
    assert predicted.grad is not None
    assert torch.isfinite(loss) and torch.isfinite(predicted.grad).all()


def test_gradients_match_finite_differences() -> None:
    predicted, true = _pair(4)
    predicted.requires_grad_()
    assert torch.autograd.gradcheck(lambda p: losses.normal_cosine(p, true, FACES, 4), predicted)
    assert torch.autograd.gradcheck(lambda p: losses.edge_length_l1(p, true, FACES, 4), predicted)


def test_losses_stay_float32_under_autocast() -> None:
    predicted, true = (tensor.float() for tensor in _pair(5))
    plain = losses.normal_cosine(predicted, true, FACES, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = losses.normal_cosine(predicted.bfloat16().float(), true, FACES, 4)
        half = losses.vertices_l1(predicted.bfloat16(), true, 4)
    assert mixed.dtype == half.dtype == torch.float32
    assert abs(mixed - plain) < 5e-3


def test_shares_of_two_processes_average_to_the_whole() -> None:
    predicted, true = _pair(6, frames=5)
    whole = losses.vertices_l1(predicted, true, 5)
    parts = [losses.vertices_l1(predicted[rows], true[rows], 5 / 2) for rows in (slice(0, 2), slice(2, 5))]
    assert sum(parts) / 2 == pytest.approx(whole)


def test_joint_visibility_weighs_seen_and_hidden_alike_and_leaves_out_the_unknown() -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(4, 21, generator=generator, dtype=torch.float64, requires_grad=True)
    visible = torch.randint(0, 12, (4, 21), generator=generator)
    visible = torch.where(visible > 10, 255, visible.clamp_max(1)).to(torch.uint8)  # few hidden, some unknown
    seen, hidden = losses.known_joints(visible).tolist()
    values = visible.numpy()
    assert (seen, hidden) == ((values == 1).sum(), (values == 0).sum()) and 0 < hidden < seen
    loss = losses.joint_visibility_cross_entropy(logits, visible, seen, hidden)
    found = logits.detach().numpy()
    of_seen, of_hidden = np.log1p(np.exp(-found[values == 1])).mean(), np.log1p(np.exp(found[values == 0])).mean()
    assert loss.item() == pytest.approx((of_seen + of_hidden) / 2)
    loss.backward()
    np.testing.assert_array_equal(logits.grad.numpy() != 0, values != 255)


def test_joint_visibility_of_one_kind_or_none() -> None:
    logits = torch.zeros(2, 21)
    for label, kinds in ((1, 0.5), (0, 0.5), (255, 0.0)):
        visible = torch.full((2, 21), label, dtype=torch.uint8)
        counts = losses.known_joints(visible).clamp_min(1)
        loss = losses.joint_visibility_cross_entropy(logits, visible, *counts)
        assert loss.item() == pytest.approx(kinds * np.log(2))


def test_joint_visibility_adds_up_over_processes() -> None:
    """Each process divides by the whole batch's counts over the processes; the mean of their losses is the whole's."""
    logits = torch.randn(4, 21, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    visible = (torch.arange(84).reshape(4, 21) % 5 > 0).to(torch.uint8)
    whole = losses.known_joints(visible)
    parts = [
        losses.joint_visibility_cross_entropy(logits[rows], visible[rows], *(whole / 2))
        for rows in (slice(0, 1), slice(1, 4))
    ]
    expected = losses.joint_visibility_cross_entropy(logits, visible, *whole)
    assert torch.stack(parts).mean().item() == pytest.approx(expected.item())
