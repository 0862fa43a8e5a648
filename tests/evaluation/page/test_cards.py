"""Which frames a page shows."""

import numpy as np
from h2onet.evaluation.page.cards import choose_frames
from h2onet.hand.parts import CAUSES

OBJECT, OWN, BORDER = (CAUSES.index(name) for name in ("object", "own hand", "outside the image"))


def test_groups_show_hands_in_view_by_what_hides_them_and_the_worst_whatever_it_is():
    rng = np.random.default_rng(0)
    error = rng.permutation(100).astype(float)
    cause = np.zeros((100, 6), np.uint8)
    cause[:20, :3], cause[20:40, 1:5], cause[40:50] = OBJECT, OWN, BORDER
    error[45] = 1000.0
    groups = choose_frames(error, cause)
    assert list(groups) == ["typical", "hidden by an object", "hidden by the hand itself", "worst"]
    assert all(len(positions) == 3 for positions in groups.values())
    assert all(0 <= i < 20 for i in groups["hidden by an object"])
    assert all(20 <= i < 40 for i in groups["hidden by the hand itself"])
    assert not set(groups["typical"]) & set(range(40, 50))
    assert np.abs(error[groups["typical"]] - np.median(np.delete(error, range(40, 50)))).max() < 10
    assert groups["worst"][0] == 45


def test_without_causes_or_errors():
    groups = choose_frames(np.arange(30.0), np.full((30, 6), 255))
    assert list(groups) == ["typical", "best", "worst"] and groups["worst"][0] == 29 and groups["best"][0] == 0
    assert list(choose_frames(np.arange(30.0))) == ["typical", "best", "worst"]
    assert choose_frames(np.full(5, np.nan)) == {"frames": [0, 1, 2]}
    few = choose_frames(np.array([np.nan, 2.0]), np.full((2, 6), BORDER))
    assert few == {"typical": [1], "best": [1], "worst": [1]}
