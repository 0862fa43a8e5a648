"""Hands of a frame meet the hands that were followed: by side, then by place."""

import numpy as np
from h2onet.inference.following import numbered
from h2onet.inference.sources import Given

HERE, THERE = np.array([0.0, 0.0, 40.0, 40.0]), np.array([100.0, 0.0, 140.0, 40.0])


def joints(box: np.ndarray) -> np.ndarray:
    """(21, 2) px round the middle of a box."""
    around = np.random.default_rng(0).uniform(-10, 10, (19, 2))
    return np.concatenate([around, [[-10, -10], [10, 10]]]) + (box[:2] + box[2:]) / 2


def test_the_first_hands_are_numbered_in_order() -> None:
    assert numbered([Given(HERE, "left"), Given(THERE, "right")], [], []) == [0, 1]


def test_sides_never_change_places() -> None:
    sides, seen = ["left", "right"], [joints(HERE), joints(THERE)]
    left, right = Given(THERE, "left"), Given(HERE, "right")  # hands that crossed
    assert numbered([right, left], sides, seen) == [1, 0]
    assert numbered([right], sides, seen) == [1]
    assert numbered([left], sides, seen) == [0]
    assert numbered([left, right, Given(HERE, "left")], sides, seen) == [2, 1, 0]  # the nearer left hand is the old one


def test_hands_of_one_side_go_by_their_place() -> None:
    sides, seen = ["right", "right"], [joints(HERE), joints(THERE)]
    assert numbered([Given(THERE, "right"), Given(HERE, "right")], sides, seen) == [1, 0]
    assert numbered([Given(THERE + 5, "right")], sides, seen) == [1]
    assert numbered([Given(THERE, "right"), Given(THERE + 3, "right")], sides, seen) == [1, 0]
    third = [Given(THERE, "right"), Given(HERE, "right"), Given(THERE + 90, "right")]
    assert numbered(third, sides, seen) == [1, 0, 2]


def test_without_a_place_the_order_counts() -> None:
    assert numbered([Given(None, "right"), Given(HERE, "right")], ["right", "right"], [None, None]) == [0, 1]
    assert numbered([Given(None, "right")], ["right", "right"], [None, joints(HERE)]) == [0]
