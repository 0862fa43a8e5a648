"""Anchors, decoding and merging of palms: layout, order, and that merging neither invents nor loses a palm."""

import numpy as np
import pytest
from h2onet.inference.detection.palms import SIDE, Palms, anchors, box_overlap, decode, merge
from hypothesis import given, settings
from hypothesis import strategies as st


def test_anchors_lie_in_the_middles_of_their_cells() -> None:
    found = anchors() * SIDE
    assert found.shape == (2016, 2)
    assert found[0].tolist() == found[1].tolist() == [4, 4] and found[2].tolist() == [12, 4]
    assert found[2 * 24].tolist() == [4, 12], "rows of the fine grid first"
    assert found[1152].tolist() == found[1157].tolist() == [8, 8] and found[1158].tolist() == [24, 8]
    for cells, part in ((24, found[:1152]), (12, found[1152:])):
        assert len(np.unique(part, axis=0)) == cells**2


def reports(boxes: np.ndarray, points: np.ndarray, where: np.ndarray) -> np.ndarray:
    """What the network says where these palms (units of the square) are reported at these anchors."""
    raw = np.zeros((2016, 18))
    middles = anchors()[where]
    raw[where, :2] = ((boxes[:, :2] + boxes[:, 2:]) / 2 - middles) * SIDE
    raw[where, 2:4] = (boxes[:, 2:] - boxes[:, :2]) * SIDE
    raw[where, 4:] = ((points - middles[:, None]) * SIDE).reshape(-1, 14)
    return raw


def random_palms(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    low = rng.uniform(0, 0.8, (count, 2))
    return np.concatenate([low, low + rng.uniform(0.05, 0.2, (count, 1))], 1), rng.uniform(0, 1, (count, 7, 2))


def test_decoding_undoes_what_the_network_means() -> None:
    rng = np.random.default_rng(0)
    boxes, points = random_palms(rng, 50)
    where = rng.choice(2016, 50, replace=False)
    logits = np.full(2016, -300.0)
    logits[where] = np.linspace(6, -6, 50)
    found = decode(reports(boxes, points, where), logits)
    kept = int((logits >= 0).sum())
    assert len(found.scores) == kept and (np.diff(found.scores) < 0).all()
    np.testing.assert_allclose(found.boxes, boxes[:kept], atol=1e-9)
    np.testing.assert_allclose(found.points, points[:kept], atol=1e-9)
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp(-logits[where][:kept])))


def test_numbers_that_are_not_finite_are_no_palm() -> None:
    raw, logits = np.zeros((2016, 18)), np.full(2016, -9.0)
    logits[[3, 4]], raw[3, 5] = 9.0, np.nan
    assert len(decode(raw, logits).scores) == 1
    assert len(merge(decode(raw, np.full(2016, -9.0))).scores) == 0


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_merging_leaves_palms_apart_and_keeps_the_surest(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    boxes, points = random_palms(rng, count)
    given_palms = Palms(boxes, points, rng.permutation(np.linspace(0.5, 1, count)))
    found = merge(given_palms)
    assert found.scores[0] == given_palms.scores.max() and set(found.scores) <= set(given_palms.scores)
    assert (found.boxes.min(0) >= boxes.min(0) - 1e-12).all() and (found.boxes.max(0) <= boxes.max(0) + 1e-12).all()
    order = rng.permutation(count)
    again = merge(Palms(boxes[order], points[order], given_palms.scores[order]))
    np.testing.assert_allclose(again.boxes, found.boxes)
    np.testing.assert_allclose(again.points, found.points)
    # No palm is lost: each overlaps a kept one's group, so every one that overlaps no other stays.
    for number in range(count):
        alone = box_overlap(boxes[number], np.delete(boxes, number, 0)).max(initial=0) <= 0.3
        assert not alone or given_palms.scores[number] in found.scores


def test_many_reports_of_one_palm_are_their_weighted_mean() -> None:
    boxes = np.array([[0.1, 0.1, 0.3, 0.3], [0.12, 0.1, 0.32, 0.3], [0.6, 0.6, 0.7, 0.7]])
    points = np.stack([np.full((7, 2), value) for value in (0.2, 0.3, 0.9)])
    found = merge(Palms(boxes, points, np.array([0.9, 0.6, 0.7])))
    assert found.scores.tolist() == [0.9, 0.7]
    assert found.boxes[0, 0] == pytest.approx((0.9 * 0.1 + 0.6 * 0.12) / 1.5)
    assert found.points[0, 0, 0] == pytest.approx((0.9 * 0.2 + 0.6 * 0.3) / 1.5)


def test_overlap_of_boxes() -> None:
    box = np.array([0.0, 0.0, 2.0, 2.0])
    others = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [2, 2, 3, 3], [1, 1, 1, 1.0]])
    assert box_overlap(box, others).tolist() == pytest.approx([1, 1 / 3, 0, 0])
    assert box_overlap(np.zeros(4), np.zeros((1, 4))).tolist() == [0]
