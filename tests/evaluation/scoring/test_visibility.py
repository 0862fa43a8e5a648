"""Hidden or visible: counted cases, honest calibration, joints together, and intervals against a plain bootstrap."""

import numpy as np
import pytest
from h2onet.evaluation.scoring.visibility import (
    JOINT_METRICS,
    binary_scores,
    joint_intervals,
    joint_metrics,
    joint_rows,
    joint_rows_together,
    macro_f1_of,
    occlusion_intervals,
    occlusion_metrics,
    precision_recall_of,
    reliability,
    roc_of,
)
from hypothesis import given
from hypothesis import strategies as st

UNKNOWN = 255


def test_occlusion_scores_of_a_counted_case() -> None:
    # Hidden: said 3 of 4 times. Seen: 2 of 6 times said to be hidden.
    truth = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], bool)
    probability = np.array([0.9, 0.9, 0.9, 0.1, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1])
    found = binary_scores(probability, truth)
    assert found["accuracy"] == pytest.approx(0.7) and found["majority_accuracy"] == pytest.approx(0.6)
    assert found["precision"] == pytest.approx(3 / 5) and found["recall"] == pytest.approx(3 / 4)
    f1, f1_seen = 2 * 3 / (5 + 4), 2 * 4 / (5 + 6)
    assert found["f1"] == pytest.approx(f1) and found["macro_f1"] == pytest.approx((f1 + f1_seen) / 2)
    # Two bins of five frames: 0.9 said and 3/5 true, 0.1 said and 1/5 true.
    assert found["calibration_error"] == pytest.approx(0.5 * 0.3 + 0.5 * 0.1)
    assert found["brier"] == pytest.approx((3 * 0.01 + 0.81 + 2 * 0.81 + 4 * 0.01) / 10)
    assert (found["frames"], found["occluded_share"]) == (10, pytest.approx(0.4))


def test_calibration_of_honest_and_of_overconfident_probabilities() -> None:
    rng = np.random.default_rng(0)
    said = rng.uniform(0, 1, 40_000)
    happened = rng.uniform(0, 1, 40_000) < said
    honest, bold = binary_scores(said, happened), binary_scores(np.round(said), happened)
    assert honest["calibration_error"] == pytest.approx(0.0, abs=0.02)
    assert bold["calibration_error"] == pytest.approx(0.25, abs=0.02)
    assert honest["brier"] == pytest.approx(1 / 6, abs=0.01) and honest["accuracy"] == pytest.approx(0.75, abs=0.01)


def test_scores_that_mean_nothing_are_not_given() -> None:
    never = binary_scores(np.array([0.1, 0.2]), np.array([False, False]))
    assert never["precision"] is None and never["recall"] is None and never["f1"] is None
    assert never["accuracy"] == never["macro_f1"] == 1.0
    missed = binary_scores(np.array([0.1, 0.2]), np.array([True, False]))
    assert missed["precision"] is None and missed["recall"] == 0.0 and missed["f1"] == 0.0


def counts(probability, truth, steps):
    """Counts (1, steps) of yes and no by step of a probability that is a multiple of 1 / steps."""
    place = np.round(probability * steps).astype(int)
    return [np.bincount(place[truth == label], minlength=steps + 1).astype(float)[None] for label in (True, False)]


@given(st.lists(st.tuples(st.integers(0, 10), st.booleans()), min_size=1, max_size=60))
def test_scores_of_counts_are_those_of_the_frames(drawn) -> None:
    probability, truth = np.array([p / 10 for p, _ in drawn]), np.array([t for _, t in drawn])
    yes, no = counts(probability, truth, 10)
    row = binary_scores(probability, truth)
    for name, score in (("roc_auc", roc_of), ("pr_auc", precision_recall_of), ("macro_f1", macro_f1_of)):
        found = float(score(yes, no, 6)[0])  # steps from 6 on are above one half
        assert np.isnan(found) if row[name] is None else found == pytest.approx(row[name])


def many_recordings(recordings: int = 30, frames: int = 20, seed: int = 0):
    """Probabilities (N, 21) that follow the labels (N, 21), each recording's in its own way; the recordings (N,)."""
    rng = np.random.default_rng(seed)
    recording = np.repeat([f"r{i}" for i in range(recordings)], frames)
    visible = rng.integers(0, 2, (len(recording), 21)).astype(np.uint8)
    skill = np.repeat(rng.uniform(-0.2, 1.2, recordings), frames)[:, None]
    logit = skill * np.where(visible == 1, -1.0, 1.0) + rng.normal(0, 1, visible.shape)
    visible[rng.random(visible.shape) < 0.1] = UNKNOWN
    return 1 / (1 + np.exp(-logit)), visible, recording


def test_intervals_are_those_of_drawing_recordings_one_by_one() -> None:
    probability, visible, recording = many_recordings()
    found = joint_intervals(probability, visible, recording)
    names, rng = np.unique(recording), np.random.default_rng(1)
    rows = {name: np.flatnonzero(recording == name) for name in names}
    drawn = []
    for _ in range(250):
        chosen = np.concatenate([rows[name] for name in rng.choice(names, len(names))])
        drawn.append(joint_metrics(probability[chosen], visible[chosen]))
    point = joint_metrics(probability, visible)
    for metric in JOINT_METRICS:
        low, high = np.quantile([one[metric] for one in drawn], [0.025, 0.975])
        width = high - low
        assert found[metric]["low"] == pytest.approx(low, abs=0.2 * width)
        assert found[metric]["high"] == pytest.approx(high, abs=0.2 * width)
        assert found[metric]["low"] < point[metric] < found[metric]["high"]


def test_there_are_no_intervals_without_several_recordings_or_without_anything_known() -> None:
    probability, visible, recording = many_recordings(2)
    assert joint_intervals(probability, visible, np.full(len(recording), "one")) == {}
    assert joint_intervals(np.full_like(probability, np.nan), visible, recording) == {}
    assert joint_metrics(np.full_like(probability, np.nan), visible) == dict.fromkeys(JOINT_METRICS)
    occluded = np.full((len(recording), 7), UNKNOWN, np.uint8)
    assert occlusion_intervals(probability[:, :6], occluded, recording) == {}
    occluded[:, 2] = np.arange(len(recording)) % 2
    found = occlusion_intervals(probability[:, :6], occluded, recording)
    mean = occlusion_metrics(probability[:, :6], occluded)
    for metric, interval in found.items():
        assert interval["low"] - 1e-9 <= mean[metric] <= interval["high"] + 1e-9


def test_joints_of_a_finger_and_of_the_hand_are_thrown_together() -> None:
    probability, visible, _ = many_recordings(4)
    rows = joint_rows_together(probability, visible)
    assert list(rows) == ["thumb", "index", "middle", "ring", "little", "all joints"]
    single = joint_rows(probability, visible)
    assert rows["all joints"]["frames"] == sum(row["frames"] for row in single.values())
    known = visible[:, 5:9] != UNKNOWN
    own = binary_scores(probability[:, 5:9][known], visible[:, 5:9][known] == 0)
    assert rows["index"] == own


def test_reliability_is_the_mean_of_every_bin() -> None:
    probability = np.array([[0.05, 0.05, 0.55, 0.55, 1.0, np.nan]])
    labels = np.array([[0, 1, 1, 1, 0, 0, 0]], np.uint8)
    found = reliability(probability[:, :5], labels[:, :5])
    assert found == [(0.05, 0.5, 2), (0.55, 1.0, 2), (1.0, 0.0, 1)]
