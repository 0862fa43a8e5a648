"""`reliable`: every sign alone casts doubt, on its side of its limit, and a hand without any is relied on."""

import numpy as np
import pytest
from h2onet.inference import reliability
from h2onet.inference.reliability import doubts_of, presence_doubts, signs_of

GOOD = {"inside": 1.0, "extent": 0.67, "side": 150.0}


def test_a_hand_without_doubts() -> None:
    assert doubts_of(True, 0.02, GOOD) == () and presence_doubts(0.99) == ()


@pytest.mark.parametrize(
    ("word", "oriented", "misfit", "signs"),
    [
        ("orientation", False, None, {}),
        ("place", True, None, {}),
        ("misfit", True, reliability.LARGEST_MISFIT + 1e-6, {}),
        ("outside", True, 0.02, {"inside": reliability.LEAST_INSIDE - 1e-6}),
        ("extent", True, 0.02, {"extent": reliability.LEAST_EXTENT - 1e-6}),
        ("small", True, 0.02, {"side": reliability.SMALLEST_SIDE - 1e-6}),
    ],
)
def test_every_sign_alone_casts_doubt(word: str, oriented: bool, misfit: float | None, signs: dict) -> None:
    assert doubts_of(oriented, misfit, GOOD | signs) == (word,)


def test_signs_of_joints_and_box() -> None:
    """Of joints along a diagonal of 60 px: two thirds of a square of 90 px; 15 of 21 before the border at 45 px."""
    line = np.linspace(2.0, 62.0, 21)
    signs = signs_of(np.stack([line, line], 1), np.array([-13.0, -13.0, 77.0, 77.0]), 45, 200)
    assert signs == pytest.approx({"inside": 15 / 21, "extent": 60 / 90, "side": 90.0})


def test_presence_below_the_limit() -> None:
    assert presence_doubts(reliability.LEAST_PRESENCE - 1e-6) == ("presence",)
