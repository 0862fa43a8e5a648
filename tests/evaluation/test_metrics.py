"""Every metric on cases whose answer is known without it."""

import numpy as np
import pytest
from h2onet.errors import InputError
from h2onet.evaluation import metrics
from h2onet.hand.rotations import matrix_from_axis_angle
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation


@pytest.fixture
def hands() -> NDArray[np.float64]:
    """Twelve clouds of 60 points the size of hands, m."""
    return np.random.default_rng(0).normal([0.1, -0.05, 0.6], [0.05, 0.03, 0.02], (12, 60, 3))


def moved(points: NDArray, scale: float = 1.0) -> NDArray:
    rng = np.random.default_rng(1)
    turns = matrix_from_axis_angle(rng.normal(0, 1, (len(points), 3)))
    return scale * points @ np.swapaxes(turns, 1, 2) + rng.normal(0, 0.3, (len(points), 1, 3))


def test_a_known_shift_is_the_error(hands: NDArray) -> None:
    assert metrics.point_errors(hands + np.array([0.003, 0.004, 0.0]), hands) == pytest.approx(0.005)


def test_alignment_undoes_every_similarity(hands: NDArray) -> None:
    for reflection in (True, False):
        aligned = metrics.similarity_aligned(moved(hands, 1.7), hands, reflection=reflection)
        assert metrics.point_errors(aligned, hands).max() < 1e-7  # the official 1e-8 beside the norms remains


def test_alignment_is_the_official_one(hands: NDArray) -> None:
    noisy = hands + np.random.default_rng(2).normal(0, 0.01, hands.shape)
    for predicted, truth, ours in zip(noisy, hands, metrics.similarity_aligned(noisy, hands), strict=True):
        t, p = truth - truth.mean(0), predicted - predicted.mean(0)
        t_norm, p_norm = np.linalg.norm(t) + 1e-8, np.linalg.norm(p) + 1e-8
        rotation, scale = orthogonal_procrustes(t / t_norm, p / p_norm)
        assert ours == pytest.approx((p / p_norm) @ rotation.T * scale * t_norm + truth.mean(0), abs=1e-12)


def test_a_mirrored_hand_passes_only_with_reflections(hands: NDArray) -> None:
    mirrored = moved(hands * [-1.0, 1.0, 1.0])
    with_reflection = metrics.point_errors(metrics.similarity_aligned(mirrored, hands), hands)
    proper = metrics.point_errors(metrics.similarity_aligned(mirrored, hands, reflection=False), hands)
    assert with_reflection.max() < 1e-7
    assert proper.mean(1).min() > 0.005


def test_without_reflections_the_best_turn_is_found(hands: NDArray) -> None:
    """Against SciPy's Kabsch with Umeyama's scale, on mirrored hands and on noisy ones that need no reflection."""
    noisy = hands + np.random.default_rng(11).normal(0, 0.004, hands.shape)
    for predicted in (moved(noisy * [1.0, 1.0, -1.0]), moved(noisy, 0.6)):
        ours = metrics.similarity_aligned(predicted, hands, reflection=False)
        for p, t, aligned in zip(predicted, hands, ours, strict=True):
            p0, t0 = p - p.mean(0), t - t.mean(0)
            turned = Rotation.align_vectors(t0, p0)[0].apply(p0)
            best = turned * (turned * t0).sum() / (turned**2).sum() + t.mean(0)
            assert aligned == pytest.approx(best, abs=1e-7)
    free, proper = (metrics.similarity_aligned(moved(noisy), hands, reflection=allowed) for allowed in (True, False))
    assert free == pytest.approx(proper, abs=1e-9)


def test_the_scale_is_that_of_the_middle_fingers_first_bone() -> None:
    truth = np.random.default_rng(12).normal([0.1, 0.0, 0.6], 0.05, (3, 21, 3))
    stretched = truth.copy()
    stretched[:, 9] += truth[:, 9] - truth[:, 0]  # this bone alone is twice as long
    found = metrics.scale_translation_aligned(stretched + np.array([0.3, 0.2, 0.1]), truth)
    wrist = truth[:, :1]
    expected = (stretched - wrist) / 2 + wrist
    assert found == pytest.approx(expected, abs=1e-12)
    assert metrics.scale_translation_aligned(stretched, truth, reference=4) == pytest.approx(stretched, abs=1e-12)


def test_scale_and_translation_leave_the_rotation(hands: NDArray) -> None:
    grown = 1.4 * hands + 0.2
    assert metrics.point_errors(metrics.scale_translation_aligned(grown, hands), hands).max() < 1e-12
    turn = matrix_from_axis_angle(np.array([0.0, 0.0, 0.5]))
    turned = metrics.scale_translation_aligned(hands @ turn.T, hands)
    relative, true = hands - hands[:, :1], turned - hands[:, :1]
    assert true == pytest.approx(relative @ turn.T, abs=1e-12)


def test_auc_of_constant_errors() -> None:
    # 100 thresholds from 0 to 50 mm: an error of exactly the k-th counts from there on.
    for steps_away in (0, 30, 99):
        error = np.linspace(0, 0.05, 100)[steps_away]
        expected = (99 - steps_away + 0.5 * (steps_away > 0)) / 99
        assert metrics.auc(np.full((3, 5), error)) == pytest.approx(expected)
    assert metrics.auc(np.full((3, 5), 0.06)) == 0.0


def test_counts_keep_the_area_exactly() -> None:
    errors = np.random.default_rng(3).gamma(2.0, 0.008, (40, 778))
    counts = metrics.pck_counts(errors)
    assert counts.shape == (40, 100)
    assert metrics.auc_of_counts(counts, 778) == pytest.approx(metrics.auc(errors), abs=1e-14)
    assert metrics.auc_of_counts(counts[5:9], 778) == pytest.approx(metrics.auc(errors[5:9]), abs=1e-14)


@pytest.mark.parametrize("noise", [0.0, 0.003, 0.02, 0.3])
def test_f_scores_are_those_of_a_tree(hands: NDArray, noise: float) -> None:
    predicted = hands + np.random.default_rng(4).normal(0, noise, hands.shape) if noise else hands.copy()
    found = metrics.f_scores(predicted, hands, (0.005, 0.015))
    for p, t, scores in zip(predicted, hands, found, strict=True):
        to_truth, to_predicted = KDTree(t).query(p)[0], KDTree(p).query(t)[0]
        for limit, score in zip((0.005, 0.015), scores, strict=True):
            precision, recall = (to_truth < limit).mean(), (to_predicted < limit).mean()
            assert score == pytest.approx(2 * precision * recall / max(precision + recall, 1e-12), abs=1e-12)


def test_f_scores_keep_the_order_of_thresholds_and_are_strict(hands: NDArray) -> None:
    near = hands + np.random.default_rng(5).normal(0, 0.005, hands.shape)
    both = metrics.f_scores(near, hands, (0.005, 0.015))
    assert metrics.f_scores(near, hands, (0.015, 0.005)) == pytest.approx(both[:, ::-1])
    apart = np.array([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])
    assert metrics.f_scores(apart + np.array([0.0, 0.25, 0.0]), apart, (0.25, 0.5)).tolist() == [[0.0, 1.0]]


def test_rotation_error_is_the_angle() -> None:
    axes = np.random.default_rng(6).normal(0, 1, (50, 3))
    axes *= (np.linspace(0.0, np.pi, 50) / np.linalg.norm(axes, axis=1))[:, None]
    base = matrix_from_axis_angle(np.random.default_rng(7).normal(0, 1, (50, 3)))
    found = metrics.rotation_error(base @ matrix_from_axis_angle(axes), base)
    assert found == pytest.approx(np.linspace(0.0, np.pi, 50), abs=1e-7)


def test_acceleration_and_jitter_of_known_motion() -> None:
    t = np.arange(10.0)[:, None, None]
    straight = np.broadcast_to(t * [0.01, 0.0, 0.0], (10, 21, 3))
    bent = straight + 0.5 * 0.002 * t**2 * [0.0, 1.0, 0.0]
    assert metrics.acceleration_error(bent, straight) == pytest.approx(0.002)
    assert metrics.jitter(bent).max() < 1e-12
    assert metrics.jitter(np.broadcast_to(t**3 * [0.0, 0.0, 0.001], (10, 21, 3))) == pytest.approx(0.006)


def test_known_noise_gives_its_expected_error() -> None:
    truth = np.random.default_rng(8).normal(0, 0.05, (400, 21, 3))
    error = metrics.point_errors(truth + np.random.default_rng(9).normal(0, 0.01, truth.shape), truth)
    assert error.mean() == pytest.approx(0.01 * np.sqrt(8 / np.pi), rel=0.02)


def test_broken_predictions_are_refused(hands: NDArray) -> None:
    broken = hands.copy()
    broken[7, 3, 1] = np.nan
    with pytest.raises(InputError, match="frame 7"):
        metrics.point_errors(broken, hands)
    with pytest.raises(InputError, match="shape"):
        metrics.point_errors(hands[:, :20], hands)
