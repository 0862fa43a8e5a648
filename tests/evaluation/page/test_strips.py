"""Which camera sequences a page shows, and which frames of them."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from h2onet.evaluation.page.strips import CELL, COLUMNS, ROWS, choose_sequences, draw_strip
from h2onet.hand.parts import CAUSES

BORDER = CAUSES.index("outside the image")


def scene(errors: dict[str, list[float]], outside: dict[str, list[int]]) -> tuple[Any, Any]:
    """Scores and facts of sequences with these errors in mm by frame; `outside`: frames whose hand the border hides."""
    sequence = np.array([key for key, values in errors.items() for _ in values])
    number = np.concatenate([np.arange(len(values)) for values in errors.values()])
    cause = np.zeros((len(sequence), 6), np.uint8)
    for key, frames in outside.items():
        cause[(sequence == key) & np.isin(number, frames), 1:4] = BORDER
    joints = np.repeat(np.concatenate([*errors.values()])[:, None] / 1000, 21, axis=1)
    zeros = np.zeros((len(sequence), 6))
    scores = SimpleNamespace(joint_errors_pa=joints, occluded=zeros.astype(np.uint8), occluded_probability=zeros)
    return scores, SimpleNamespace(sequence=sequence, number=number, cause=cause)


class Pictures:
    """Draws a frame as one shade per position."""

    def __init__(self, scores: Any) -> None:
        self.scores = scores

    def pictures(self, position: int) -> dict[str, np.ndarray]:
        return dict.fromkeys(ROWS, np.full((128, 128, 3), position, np.uint8))


def test_sequences_are_ranked_by_frames_that_show_the_hand() -> None:
    errors = {"a": [1.0] * 8, "b": [9.0] * 4 + [2.0] * 4, "c": [3.0] * 8, "d": [0.5] * 8, "e": [4.0] * 8}
    scores, facts = scene(errors, {"b": [0, 1, 2, 3], "d": [0, 1, 2, 3, 4]})
    # d shows the hand in three frames only.
    assert choose_sequences(scores, facts) == {"best sequences": ["a", "b"], "worst sequences": ["e", "c"]}
    for gone in (8, 6):  # nowhere, or nowhere for long enough
        nowhere = scene(errors, {key: list(range(gone)) for key in errors})
        assert choose_sequences(*nowhere)["best sequences"] == ["d", "a"]


def test_a_strip_shows_frames_with_the_hand_evenly_from_the_first_to_the_last() -> None:
    scores, facts = scene({"a": [1.0] * 3, "b": [9.0] * 5 + [2.0] * 20}, {"b": [0, 1, 2, 3, 4]})
    strip = draw_strip(cast(Any, Pictures(scores)), facts, "b")
    assert len(strip.frames) == COLUMNS and strip.frames[0] == 5 and strip.frames[-1] == 24
    assert set(np.diff(strip.frames)) <= {2, 3} and abs(strip.error_mm - 2.0) < 1e-9
    assert strip.picture.shape == (len(ROWS) * CELL, COLUMNS * CELL, 3)
    assert [int(strip.picture[5, column * CELL + 5, 0]) for column in range(COLUMNS)] == [3 + n for n in strip.frames]


def test_a_strip_of_hands_outside_the_image_shows_what_there_is() -> None:
    scores, facts = scene({"a": [1.0, 2.0, 3.0]}, {"a": [0, 1, 2]})
    strip = draw_strip(cast(Any, Pictures(scores)), facts, "a")
    assert strip.frames == [0, 1, 2] and abs(strip.error_mm - 2.0) < 1e-9
