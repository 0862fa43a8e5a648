"""Time and chance: runs of frames, smoothness, re-appearance, bootstrap and sign flips on cases with known answers."""

import numpy as np
import pytest
import scipy.stats
from h2onet.evaluation.scoring.confidence import bootstrap_interval, recordings, sign_flip_p
from h2onet.evaluation.scoring.temporal import NEVER, frames_since_change, smoothness, split_runs


def test_runs_end_at_gaps_sequences_and_unknown_frames() -> None:
    sequence = np.array(["a", "a", "a", "a", "b", "b", "a"])
    number = np.array([0, 1, 2, 4, 5, 6, 5])
    known = np.array([True, True, True, True, True, False, True])
    assert [run.tolist() for run in split_runs(sequence, number, known)] == [[0, 1, 2], [3, 6], [4]]
    assert split_runs(sequence, number, np.zeros(7, bool)) == []


def test_smoothness_never_crosses_a_gap() -> None:
    number = np.array([0, 1, 2, 3, 4, 10, 11, 12, 13])
    truth = np.broadcast_to(number[:, None, None] * np.array([0.01, 0.0, 0.0]), (9, 21, 3)).copy()
    said = truth + 0.5 * 0.004 * (number**2)[:, None, None] * np.array([0.0, 1.0, 0.0])
    acceleration, jitter, true_jitter = smoothness(said, truth, np.array(["s"] * 9), number)
    middle = [1, 2, 3, 6, 7]
    assert acceleration[middle] == pytest.approx(0.004)
    assert np.isnan(np.delete(acceleration, middle)).all()
    assert np.nanmax(jitter) < 1e-12 and np.isfinite(jitter).sum() == 3
    assert np.nanmax(true_jitter) < 1e-12
    truth[2] = np.nan
    assert np.isfinite(smoothness(said, truth, np.array(["s"] * 9), number)[0]).sum() == 2


def test_time_since_a_finger_was_hidden() -> None:
    labels = np.array([[0], [1], [1], [0], [0], [255], [0], [1]])
    sequence = np.array(["s"] * 7 + ["t"])
    since = frames_since_change(labels, sequence, np.array([0, 1, 2, 3, 5, 6, 7, 8]))
    assert since[:, 0].tolist() == [NEVER, 1, 2, 1, 3, NEVER, NEVER, NEVER]


def test_recordings_join_the_cameras_of_one_motion() -> None:
    keys = np.array(["A/20200709/1", "A/20200709/2", "B/20200709/1"])
    assert len(np.unique(recordings(keys, "dexycb"))) == 2
    assert recordings(np.array(["ABF10", "ABF14", "SM1"]), "ho3d-v2").tolist() == ["ABF1", "ABF1", "SM"]


def test_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(120):
        offsets = rng.normal(5.0, 1.0, 25)
        values = np.repeat(offsets, 8) + rng.normal(0, 0.1, 200)
        interval = bootstrap_interval(values, np.repeat(np.arange(25), 8), draws=400)
        assert interval is not None
        covered += interval[0] <= 5.0 <= interval[1]
    assert 0.84 < covered / 120 <= 1.0


def test_one_recording_says_nothing_about_others() -> None:
    assert bootstrap_interval(np.arange(5.0), np.zeros(5)) is None
    assert sign_flip_p(np.arange(5.0), np.zeros(5)) is None


def test_sign_flips_are_exact_for_few_and_sampled_for_many() -> None:
    assert sign_flip_p(np.ones(6), np.arange(6)) == pytest.approx(2 / 64)
    assert sign_flip_p(np.array([1.0, -1.0]), np.arange(2)) == 1.0
    found = sign_flip_p(np.ones(40), np.arange(40))
    assert found is not None and found < 0.001
    rng = np.random.default_rng(1)
    chance = [sign_flip_p(rng.normal(0, 1, 12), np.arange(12)) for _ in range(80)]
    assert 0.3 < np.mean([p for p in chance if p is not None]) < 0.7


def test_intervals_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    for clusters in (2, 6, 20, 100):
        sizes = rng.integers(1, 9, clusters)
        names = np.repeat(np.arange(clusters), sizes)
        values = rng.gamma(2.0, 5.0, len(names)) + rng.normal(0.0, 3.0, clusters)[names]
        sums, counts = np.bincount(names, values), sizes.astype(float)
        expected = scipy.stats.bootstrap(
            (sums, counts),
            lambda s, c, axis=-1: s.sum(axis) / c.sum(axis),
            paired=True,
            method="percentile",
            n_resamples=2000,
            random_state=np.random.default_rng(0),
        ).confidence_interval
        assert bootstrap_interval(values, names) == pytest.approx((expected.low, expected.high), rel=1e-12)
