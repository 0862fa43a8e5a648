"""Windows by frame number: the authors' ranges, gaps, the start of a sequence."""

import numpy as np
import pytest
from h2onet.data.loading.windows import (
    Window,
    fixed_positions,
    nearest_position,
    sampling_weights,
    seen_earlier,
    window_of,
    window_positions,
)
from h2onet.errors import InputError
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("dataset", "number", "short", "long"),
    [("dexycb", 40, {4, 5, 6}, {9, 10}), ("ho3d-v2", 100, set(range(26, 35)), set(range(56, 61)))],
)
def test_training_jitters_in_the_authors_ranges(dataset, number, short, long):
    window, rng = window_of(dataset, train=True), np.random.default_rng(0)
    drawn = [window.offsets(number, rng) for _ in range(2000)]
    assert {k[0] for k in drawn} == short
    assert {k[1] for k in drawn} == long


def test_test_windows_are_fixed():
    assert window_of("dexycb", train=False).offsets(10) == (5, 10)
    assert window_of("ho3d-v3", train=False).offsets(99) == (30, 60)
    rng = np.random.default_rng(0)
    assert {window_of("dexycb", train=False).offsets(50, rng) for _ in range(50)} == {(5, 10)}


@pytest.mark.parametrize(("number", "offsets"), [(0, (0, 0)), (1, (0, 1)), (7, (3, 7)), (9, (4, 9))])
def test_the_start_of_a_sequence_looks_half_way_back_and_at_frame_0(number, offsets):
    assert window_of("dexycb", train=True).offsets(number, np.random.default_rng(0)) == offsets


def test_the_jitter_of_training_is_centred_on_short_and_before_long():
    rng = np.random.default_rng(1)
    drawn = np.array([window_of("dexycb", train=True).offsets(30, rng) for _ in range(4000)])
    # trunc((u - 0.5) * 4) is 0 for half of all u; int(2 u) is 0 for half.
    assert abs((drawn[:, 0] == 5).mean() - 0.5) < 0.03
    assert abs((drawn[:, 1] == 10).mean() - 0.5) < 0.03


def test_number_of_past_frames_is_a_setting():
    assert len(window_of("dexycb", train=True, past=0)) == 1
    assert window_of("dexycb", train=False, past=1).offsets(20) == (5,)
    assert Window((2, 4, 8), (0.0, 0.0, 0.0)).offsets(20) == (2, 4, 8)
    assert Window((2, 4, 8), (0.0, 0.0, 0.0)).offsets(6) == (2, 4, 6)
    assert Window((), ()).offsets(3) == ()


@pytest.mark.parametrize("bad", [((5,), ()), ((10, 5), (0.0, 0.0)), ((0, 5), (0.0, 0.0)), ((5, 10), (9.0, 10.0))])
def test_nonsense_is_refused(bad):
    with pytest.raises(InputError, match="Window"):
        Window(*bad)


def test_unknown_dataset_is_named():
    with pytest.raises(InputError, match="freihand"):
        window_of("freihand", train=True)


def test_the_nearest_existing_frame_stands_in():
    numbers = np.array([0, 1, 2, 8, 9, 20])
    assert [nearest_position(numbers, n) for n in (-3, 0, 4, 5, 6, 14, 15, 99)] == [0, 0, 2, 2, 3, 4, 5, 5]
    # t = 20: 15 is missing (9 is 6 away, 20 is 5), 10 is missing (9); never a later frame than t.
    assert window_positions(numbers, 5, Window((5, 10), (0.0, 0.0))).tolist() == [5, 5, 4]


frames = st.lists(st.integers(0, 200), min_size=1, max_size=40, unique=True).map(sorted)


@given(frames, st.data(), st.sampled_from(["dexycb", "ho3d-v2"]), st.integers(0, 1000))
def test_a_window_stays_in_the_sequence_and_in_the_past(numbers, data, dataset, seed):
    position = data.draw(st.integers(0, len(numbers) - 1))
    window = window_of(dataset, train=True)
    chosen = window_positions(np.array(numbers), position, window, np.random.default_rng(seed))
    offsets = window.offsets(numbers[position], np.random.default_rng(seed))
    assert chosen[0] == position
    assert (chosen >= 0).all() and (chosen <= position).all()
    for at, back in zip(chosen[1:], offsets, strict=True):
        wanted = numbers[position] - back
        assert abs(numbers[at] - wanted) == min(abs(n - wanted) for n in numbers[: position + 1])


@given(frames, st.sampled_from([0, 1, 2]), st.sampled_from(["dexycb", "ho3d-v2"]))
def test_all_windows_at_once_are_those_taken_one_by_one(numbers, past, dataset):
    window = window_of(dataset, train=False, past=past)
    chosen = fixed_positions(np.array(numbers), window)
    alone = [window_positions(np.array(numbers), i, window) for i in range(len(numbers))]
    np.testing.assert_array_equal(chosen, np.array(alone).reshape(len(numbers), 1 + past))


def test_what_a_past_frame_shows_counts_only_inside_the_sequence():
    occluded = np.zeros((4, 5), np.uint8)
    occluded[1:, 0] = [1, 1, 255]  # hidden in the second frame, and in both of the other sequence's but one unknown
    sequence, numbers = np.array([0, 0, 1, 1]), np.array([0, 10, 0, 10])
    window = Window((5, 10), (0.0, 0.0))
    earlier = seen_earlier(occluded, sequence, numbers, window)
    # Frame 10 of the first sequence has frames 0 and 10 (nearest to 5, the earlier one on a tie: 0) in its past.
    assert earlier[1].tolist() == [1] * 5
    # The other sequence starts hidden: its first frame's past is itself.
    assert earlier[2].tolist() == [0, 1, 1, 1, 1]
    assert earlier[3].tolist() == [0, 1, 1, 1, 1]
    assert sampling_weights(occluded, sequence, numbers, window).tolist() == [1, 2, 1, 1]


labels = st.sampled_from([0, 1, 255])


@given(frames, st.data())
def test_a_weight_counts_the_fingers_that_a_window_tells_of(numbers, data):
    flat = data.draw(st.lists(labels, min_size=5 * len(numbers), max_size=5 * len(numbers)))
    occluded = np.array(flat, np.uint8).reshape(-1, 5)
    window = window_of("dexycb", train=False)
    weights = sampling_weights(occluded, np.zeros(len(numbers), int), np.array(numbers), window)
    for i, weight in enumerate(weights):
        past = window_positions(np.array(numbers), i, window)[1:]
        told = [f for f in range(5) if occluded[i, f] == 1 and any(occluded[row, f] == 0 for row in past)]
        assert weight == 1 + len(told)
