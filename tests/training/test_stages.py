"""Ground truth of a batch equals posing the hand; each stage has exactly the terms of the paper."""

import pytest
import torch
from h2onet.network.prediction import Prediction
from h2onet.training.stages import Counts, Targets, loss_terms, make_targets, weighted_sum

SHAPE = {"vertices", "joints", "normal", "edge", "joints_2d"}
TURNED = {"oriented_vertices", "oriented_joints", "rotation"}


@pytest.fixture(scope="module")
def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "mano_pose": torch.randn(2, 3, 48, generator=generator) * 0.5,
        "mano_shape": torch.randn(2, 3, 10, generator=generator),
        "joints_2d": torch.rand(2, 3, 21, 2, generator=generator),
        "occluded": torch.randint(0, 2, (2, 3, 7), generator=generator).to(torch.uint8),
    }


def _perfect(truth: Targets, frames: int, oriented: bool) -> Prediction:
    def shaped(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.unflatten(0, (-1, frames)) if frames > 1 else tensor

    first = slice(0, None, frames)
    logits = 40.0 * torch.nn.functional.one_hot(truth.occluded[:, [0, 1, 2, 3, 4, 6]].long(), 2).mT
    return Prediction(
        vertices=truth.oriented_vertices[first],
        canonical_vertices=shaped(truth.canonical_vertices),
        joints=truth.oriented_joints[first],
        joints_2d=shaped(truth.joints_2d),
        rotation=shaped(truth.rotation) if oriented else None,
        occlusion_logits=shaped(logits) if frames > 1 else None,
        canonical_joints=shaped(truth.canonical_joints),
        oriented_vertices=shaped(truth.oriented_vertices) if oriented else None,
        oriented_joints=shaped(truth.oriented_joints) if oriented else None,
    )


def test_targets_equal_posing_the_hand(hand, batch) -> None:
    truth = make_targets(batch, hand)
    pose, shape = batch["mano_pose"].reshape(6, 48), batch["mano_shape"].reshape(6, 10)
    mesh = hand(pose, shape)
    torch.testing.assert_close(truth.oriented_vertices, mesh.vertices, atol=1e-6, rtol=0)
    torch.testing.assert_close(truth.oriented_joints, mesh.joints, atol=1e-6, rtol=0)
    flat = torch.cat([torch.zeros(6, 3), pose[:, 3:]], 1)
    torch.testing.assert_close(truth.canonical_vertices, hand(flat, shape).vertices, atol=1e-6, rtol=0)
    # Not wrist-centred: the wrist is J0(shape).
    torch.testing.assert_close(truth.canonical_joints[:, 0], hand.root(shape), atol=1e-6, rtol=0)
    turned = (truth.canonical_joints[:, 5] - hand.root(shape))[:, None] @ truth.rotation.mT + hand.root(shape)[:, None]
    torch.testing.assert_close(turned[:, 0], truth.oriented_joints[:, 5], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("stage", "frames", "expected"),
    [
        (1, 1, SHAPE),
        (1, 3, SHAPE | {"occlusion"}),
        (2, 1, SHAPE | TURNED),
        (2, 3, SHAPE | {"occlusion"} | TURNED | {"oriented_normal", "oriented_edge"}),
    ],
)
def test_terms_of_a_stage_and_their_zero_at_the_truth(stage, frames, expected, hand, batch) -> None:
    truth = make_targets(batch, hand)
    faces = torch.from_numpy(hand.faces.astype("int64"))
    prediction = _perfect(truth, frames, oriented=stage == 2)
    terms = loss_terms(prediction, truth, faces, stage, Counts(6.0, 36.0))
    assert set(terms) == expected
    # Edges of a face lie in its plane, up to float32.
    assert all(term.abs() < 1e-4 for term in terms.values()), {name: float(term) for name, term in terms.items()}


def test_the_sum_weighs_normals_by_a_tenth() -> None:
    terms = {name: torch.tensor(1.0) for name in SHAPE | {"occlusion"}}
    assert weighted_sum(terms).item() == pytest.approx(5.1)
    turned = terms | {name: torch.tensor(1.0) for name in TURNED | {"oriented_normal", "oriented_edge"}}
    assert weighted_sum(turned).item() == pytest.approx(9.2)


def test_stage_two_needs_an_oriented_network(hand, batch) -> None:
    truth = make_targets(batch, hand)
    faces = torch.from_numpy(hand.faces.astype("int64"))
    with pytest.raises(ValueError, match="oriented=True"):
        loss_terms(_perfect(truth, 1, oriented=False), truth, faces, 2, Counts(6.0, 36.0))
