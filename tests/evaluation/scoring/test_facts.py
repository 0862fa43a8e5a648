"""What the clip store says about scored frames: which hidden fingers a past frame of the window shows."""

from pathlib import Path

import numpy as np
from h2onet.data.clips import ClipDataset, ClipStore, window_of
from h2onet.evaluation.scoring.facts import FrameFacts, seen_in_window

UNKNOWN = 255


def test_seen_earlier_is_what_the_past_frames_of_the_training_windows_show(store: Path) -> None:
    clips = ClipDataset(store, frames=window_of("dexycb", train=False))
    found = seen_in_window(ClipStore.open(store))
    kinds = set()
    for place in range(len(clips)):
        sample = clips[place]
        past = sample["occluded"][1:, :5]
        for finger, labels in enumerate(past.T.tolist()):
            expected = 1 if 0 in labels else 0 if set(labels) == {1} else UNKNOWN
            assert found[sample["frame_index"][0], finger] == expected, (place, finger)
            kinds.add(expected)
    assert kinds == {0, 1}


def test_scored_rows_come_in_the_order_they_were_scored(store: Path) -> None:
    opened = ClipStore.open(store)
    rows = np.array([7, 3, 12])
    np.testing.assert_array_equal(FrameFacts.of(opened, rows).seen_earlier, seen_in_window(opened)[rows])


def test_without_labels_nothing_is_known(make_store) -> None:
    unlabelled = make_store({"S1/R1/cam0": 3}, labelled=False)
    assert (seen_in_window(ClipStore.open(unlabelled)) == UNKNOWN).all()
