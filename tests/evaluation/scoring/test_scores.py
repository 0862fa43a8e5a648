"""Scores of a batch whose prediction is made from its truth: left and right, one or three frames."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from h2onet.data.clips import ClipDataset, ClipStore, Window
from h2onet.data.loading.batches import collate
from h2onet.errors import InputError
from h2onet.evaluation.scoring.scores import FrameScores, score_batch
from h2onet.hand.mano import HandModel, rotation_matrices
from h2onet.network.prediction import Prediction
from scipy.spatial import KDTree


def perfect(batch: dict[str, torch.Tensor], hand: HandModel, *, oriented: bool = True) -> Prediction:
    """The truth as a network would say it, wrist left where MANO puts it."""
    now = (slice(None), 0) if batch["images"].ndim == 5 else (slice(None),)
    pose, shape = batch["mano_pose"][now].clone(), batch["mano_shape"][now]
    rotation = rotation_matrices(pose[:, :3].double()).float()
    if not oriented:
        pose[:, :3] = 0
    mesh = hand(pose, shape)
    several = batch["images"].ndim == 5
    joints_2d = batch["joints_2d"]
    logits = None
    if several:
        hidden = batch["occluded"][..., [0, 1, 2, 3, 4, 6]].float()
        logits = torch.stack([-5 * hidden + 2.5, 5 * hidden - 2.5], 2)
    rotation = (
        (rotation[:, None].expand(-1, batch["images"].shape[1], 3, 3) if several else rotation) if oriented else None
    )
    return Prediction(mesh.vertices, mesh.vertices, mesh.joints, joints_2d, rotation, logits)


def batch_of(store: Path, window: Window | None = None) -> dict[str, torch.Tensor]:
    samples = ClipDataset(store, frames=window)
    return collate([samples[i] for i in range(len(samples))])


@pytest.mark.parametrize("window", [None, Window((1, 2), (0.0, 0.0))])
@pytest.mark.parametrize("oriented", [True, False])
def test_the_truth_scores_zero(store: Path, hand: HandModel, window: Window | None, oriented: bool) -> None:
    batch = batch_of(store, window)
    scores = score_batch(batch, perfect(batch, hand, oriented=oriented), hand)
    assert len(scores) == 22 and int(batch["is_left"].sum()) == 10
    for name in ("joint_errors", "joint_errors_pa", "joint_errors_proper", "joint_errors_st", "vertex_errors"):
        assert getattr(scores, name).max() < 2e-6, name
    assert scores.f_scores.min() == 1.0 and scores.joint_errors_2d.max() == 0.0
    assert (scores.vertex_pck[:, 1:] == 778).all()
    if oriented:
        assert scores.rotation_errors.max() < 1e-3
    else:
        assert np.isnan(scores.rotation_errors).all()
    if window is not None:
        known = scores.occluded[:, [0, 1, 2, 3, 4, 6]]
        assert ((scores.occluded_probability > 0.5) == (known == 1)).all()


def test_predicted_joints_come_back_in_the_hands_own_side(store: Path, hand: HandModel) -> None:
    samples = ClipDataset(store)
    scores = score_batch(batch := batch_of(store), perfect(batch, hand), hand)
    index = ClipStore.open(samples.paths[0]).index
    annotated = index["joints"][:] - index["root"][:][:, None]
    assert scores.joints == pytest.approx(annotated, abs=2e-6)


def test_a_wrong_orientation_is_seen_only_before_alignment(store: Path, hand: HandModel) -> None:
    batch = batch_of(store)
    said = perfect(batch, hand)
    turn = rotation_matrices(torch.tensor([[0.0, 0.3, 0.0]]))[0]
    assert said.rotation is not None
    turned = Prediction(
        said.vertices @ turn.T, said.canonical_vertices, said.joints @ turn.T, said.joints_2d, turn @ said.rotation
    )
    scores = score_batch(batch, turned, hand)
    assert np.degrees(scores.rotation_errors) == pytest.approx(np.degrees(0.3), abs=0.05)
    assert scores.joint_errors.mean() > 0.01
    assert scores.joint_errors_pa.max() < 2e-6 and scores.vertex_errors_proper.max() < 2e-6


def test_a_larger_hand_is_seen_only_before_alignment(store: Path, hand: HandModel) -> None:
    batch = batch_of(store)
    said = perfect(batch, hand)
    grown = Prediction(1.1 * said.vertices, said.vertices, 1.1 * said.joints, said.joints_2d, said.rotation)
    scores = score_batch(batch, grown, hand)
    lengths = np.linalg.norm(batch["joints"].numpy(), axis=-1)
    assert scores.joint_errors == pytest.approx(0.1 * lengths, abs=3e-6)
    assert scores.joint_errors_pa.max() < 2e-6 and scores.joint_errors_st.max() < 3e-6


def test_raw_and_aligned_scores_of_a_mesh_do_not_change_places(store: Path, hand: HandModel) -> None:
    batch = batch_of(store)
    said = perfect(batch, hand)
    grown = Prediction(1.1 * said.vertices, said.vertices, 1.1 * said.joints, said.joints_2d, said.rotation)
    scores = score_batch(batch, grown, hand)
    assert scores.f_scores_pa.min() == 1.0 and (scores.f_scores[:, 0] < scores.f_scores[:, 1]).all()
    assert scores.f_scores[:, 1].max() < 1.0
    assert (scores.vertex_pck_pa[:, 1:] == 778).all() and (scores.vertex_pck[:, 1] < 778).all()
    mesh = (said.vertices - said.joints[:, :1]).double().numpy()
    away = np.linalg.norm(0.1 * mesh, axis=-1)
    assert scores.vertex_errors == pytest.approx(away.mean(1), abs=3e-6)
    at_5_mm = (
        [KDTree(1.1 * points).query(points)[0] < 0.005 for points in mesh],
        [KDTree(points).query(1.1 * points)[0] < 0.005 for points in mesh],
    )
    recall, precision = (np.array(near).mean(1) for near in at_5_mm)
    assert scores.f_scores[:, 0] == pytest.approx(2 * precision * recall / (precision + recall), abs=4e-3)


def test_a_mirrored_hand_is_seen_only_without_reflections(store: Path, hand: HandModel) -> None:
    batch = batch_of(store)
    said = perfect(batch, hand)
    flip = torch.tensor([-1.0, 1.0, 1.0])
    mirrored = Prediction(said.vertices * flip, said.vertices, said.joints * flip, said.joints_2d, said.rotation)
    scores = score_batch(batch, mirrored, hand)
    assert scores.joint_errors_pa.max() < 2e-6 and scores.vertex_errors_pa.max() < 2e-6
    assert scores.joint_errors_proper.mean(1).min() > 0.003 and scores.vertex_errors_proper.min() > 0.003
    assert scores.joint_errors.mean() > scores.joint_errors_proper.mean()


@pytest.mark.parametrize("window", [None, Window((1, 2), (0.0, 0.0))])
def test_2d_errors_are_pixels_of_the_current_crop(store: Path, hand: HandModel, window: Window | None) -> None:
    batch = batch_of(store, window)
    said = perfect(batch, hand)
    moved = said.joints_2d.clone()
    now = moved[:, 0] if window is not None else moved
    now += torch.tensor([3.0, 4.0]) / 128
    if window is not None:
        moved[:, 1:] += 0.5  # what is said of past frames is not scored
    scores = score_batch(batch, dataclasses.replace(said, joints_2d=moved), hand)
    assert scores.joint_errors_2d == pytest.approx(5.0, abs=1e-3)


def test_the_correction_turns_after_the_rotation(store: Path, hand: HandModel) -> None:
    batch = batch_of(store, Window((1, 2), (0.0, 0.0)))
    said = perfect(batch, hand)
    assert said.rotation is not None
    turn = rotation_matrices(torch.tensor([[0.4, 0.0, -0.3]]))[0]
    early = dataclasses.replace(said, rotation=turn.T @ said.rotation, correction=turn.expand(len(said.joints), 3, 3))
    assert score_batch(batch, early, hand).rotation_errors.max() < 1e-3
    late = dataclasses.replace(early, correction=None)
    assert np.degrees(score_batch(batch, late, hand).rotation_errors) == pytest.approx(np.degrees(0.5), abs=0.05)


def test_frames_without_truth_are_left_out(make_store, hand: HandModel) -> None:
    batch = batch_of(make_store({"SM10": 2}, dataset="ho3d-v2", known=False))
    vertices = torch.rand(2, 778, 3)
    said = Prediction(vertices, vertices, vertices[:, :21], torch.rand(2, 21, 2), torch.eye(3).expand(2, 3, 3))
    scores = score_batch(batch, said, hand)
    for name in ("joint_errors", "vertex_errors", "f_scores_pa", "rotation_errors", "joint_errors_2d"):
        assert np.isnan(getattr(scores, name)).all(), name


def test_released_meshes_are_the_truth_with_ho3ds_fingertips(make_store, hand: HandModel) -> None:
    path = make_store({"SM10": 3}, dataset="ho3d-v2", released=True)
    samples = ClipDataset(path)
    batch, given = collate([samples[i] for i in range(3)]), ClipStore.open(samples.paths[0]).index["vertices"][:]
    vertices = torch.from_numpy(given.copy())
    joints = torch.from_numpy(hand.joint_regressor_21("manopth")).float() @ vertices
    said = Prediction(vertices, vertices, joints, torch.rand(3, 21, 2), torch.eye(3).expand(3, 3, 3))
    theirs = score_batch(batch, said, hand, given)
    ours = score_batch(batch, said, hand, given, regressor=hand.joint_regressor_21("ho3d"))
    assert theirs.vertex_errors.max() < 1e-5 and ours.vertex_errors.max() < 1e-5
    # A posed skeleton's joints are within a millimetre of those regressed from the posed mesh; tips are vertices.
    assert ours.joint_errors.max() < 1.5e-3
    tips = [4, 8, 12, 16, 20]
    assert ours.joint_errors[:, tips].max() < 1e-3 < 2e-3 < theirs.joint_errors[:, tips].mean()


def test_nothing_to_score_is_an_input_error() -> None:
    with pytest.raises(InputError, match="no frame"):
        FrameScores.concatenate([])


def test_concatenation_keeps_order(store: Path, hand: HandModel) -> None:
    batch = batch_of(store)
    scores = score_batch(batch, perfect(batch, hand), hand)
    both = FrameScores.concatenate([scores, scores])
    assert isinstance(both, FrameScores)
    assert both.frame_index.tolist() == [*range(22), *range(22)]
