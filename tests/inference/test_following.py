"""Hands of a frame meet the hands that were followed: by side, then by place."""

import numpy as np
from h2onet.inference.following import number_hands
from h2onet.inference.places import HandBox

HERE, THERE = np.array([0.0, 0.0, 40.0, 40.0]), np.array([100.0, 0.0, 140.0, 40.0])


def joints(box: np.ndarray) -> np.ndarray:
    """(21, 2) px round the middle of a box."""
    around = np.random.default_rng(0).uniform(-10, 10, (19, 2))
    return np.concatenate([around, [[-10, -10], [10, 10]]]) + (box[:2] + box[2:]) / 2


def test_the_first_hands_are_number_hands_in_order() -> None:
    assert number_hands([HandBox(HERE, "left"), HandBox(THERE, "right")], {}, {}) == [0, 1]


def test_sides_never_change_places() -> None:
    sides, seen = {0: "left", 1: "right"}, {0: joints(HERE), 1: joints(THERE)}
    left, right = HandBox(THERE, "left"), HandBox(HERE, "right")  # hands that crossed
    assert number_hands([right, left], sides, seen) == [1, 0]
    assert number_hands([right], sides, seen) == [1]
    assert number_hands([left], sides, seen) == [0]
    assert number_hands([left, right, HandBox(HERE, "left")], sides, seen) == [
        2,
        1,
        0,
    ]  # the nearer left hand is the old one


def test_hands_of_one_side_go_by_their_place() -> None:
    sides, seen = {0: "right", 1: "right"}, {0: joints(HERE), 1: joints(THERE)}
    assert number_hands([HandBox(THERE, "right"), HandBox(HERE, "right")], sides, seen) == [1, 0]
    assert number_hands([HandBox(THERE + 5, "right")], sides, seen) == [1]
    assert number_hands([HandBox(THERE, "right"), HandBox(THERE + 3, "right")], sides, seen) == [1, 0]
    third = [HandBox(THERE, "right"), HandBox(HERE, "right"), HandBox(THERE + 90, "right")]
    assert number_hands(third, sides, seen) == [1, 0, 2]


def test_without_a_place_the_order_counts() -> None:
    sides = {0: "right", 1: "right"}
    assert number_hands([HandBox(None, "right"), HandBox(HERE, "right")], sides, {0: None, 1: None}) == [0, 1]
    assert number_hands([HandBox(None, "right")], sides, {0: None, 1: joints(HERE)}) == [0]
