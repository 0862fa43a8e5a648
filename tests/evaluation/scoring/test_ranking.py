"""Areas under ROC and precision-recall curves: by hand, by definition, and under what must not matter."""

import numpy as np
import pytest
from h2onet.evaluation.scoring.ranking import average_precision, roc_auc
from hypothesis import given
from hypothesis import strategies as st

pairs = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=40)


def test_by_hand() -> None:
    probability = np.array([0.9, 0.8, 0.8, 0.4, 0.1])
    truth = np.array([True, False, True, True, False])
    # Of the 6 pairs yes, no: 0.9 wins both; 0.8 ties one, wins one; 0.4 loses one, wins one.
    assert roc_auc(probability, truth) == pytest.approx((2 + 1.5 + 1) / 6)
    # Recall 1/3 at precision 1, 2/3 at 2/3 (both 0.8 together), 1 at 3/4.
    assert average_precision(probability, truth) == pytest.approx(1 / 3 + (2 / 3) / 3 + (3 / 4) / 3)


def test_without_both_classes_there_is_nothing_to_rank() -> None:
    assert roc_auc(np.array([0.2, 0.3]), np.array([True, True])) is None
    assert roc_auc(np.array([0.2, 0.3]), np.array([False, False])) is None
    assert average_precision(np.array([0.2]), np.array([False])) is None
    assert average_precision(np.array([0.2]), np.array([True])) == 1.0


@given(pairs)
def test_the_roc_area_is_the_share_of_pairs_in_order(drawn) -> None:
    probability, truth = np.array([p for p, _ in drawn], float), np.array([t for _, t in drawn])
    found = roc_auc(probability, truth)
    wins = [(a > b) + 0.5 * (a == b) for a in probability[truth] for b in probability[~truth]]
    assert found == (pytest.approx(np.mean(wins)) if wins else None)
    if wins:
        assert roc_auc(-probability, ~truth) == pytest.approx(found)


@given(pairs, st.randoms())
def test_order_and_scale_do_not_matter(drawn, random) -> None:
    shuffled = random.sample(drawn, len(drawn))
    for area in (roc_auc, average_precision):
        one, two = (area(np.array([p for p, _ in d], float), np.array([t for _, t in d])) for d in (drawn, shuffled))
        three = area(np.exp([p for p, _ in drawn]), np.array([t for _, t in drawn]))
        assert one == two == pytest.approx(three) if one is None else one == pytest.approx(two) == pytest.approx(three)
        assert one is None or 0 <= one <= 1
