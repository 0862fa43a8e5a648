"""From per-frame scores to tables: every key gets its own number in its own unit, and groups hold the right fingers."""

import numpy as np
import pytest
from h2onet.evaluation.scoring.breakdowns import break_down, by_fraction, by_time, by_window
from h2onet.evaluation.scoring.confidence import bootstrap_interval
from h2onet.evaluation.scoring.facts import FrameFacts
from h2onet.evaluation.scoring.scores import FrameScores
from h2onet.evaluation.scoring.summary import frame_values, intervals, summarise
from h2onet.evaluation.scoring.visibility import joint_rows, occlusion_rows

UNKNOWN = 255
FINGERS = ["thumb", "index", "middle", "ring", "little"]


def frame_scores(frames: int, **changes: np.ndarray) -> FrameScores:
    """Scores that are different in every field: joints 10 to 13 mm off, vertices 14 to 16, and so on."""
    alike = np.ones(frames)
    counts = np.zeros((frames, 100), np.uint16)
    fields = {
        "frame_index": np.arange(frames),
        "joint_errors": np.full((frames, 21), 0.010),
        "joint_errors_pa": np.full((frames, 21), 0.011),
        "joint_errors_proper": np.full((frames, 21), 0.012),
        "joint_errors_st": np.full((frames, 21), 0.013),
        "vertex_errors": 0.014 * alike,
        "vertex_errors_pa": 0.015 * alike,
        "vertex_errors_proper": 0.016 * alike,
        "vertex_pck": counts + 389,  # half of 778
        "vertex_pck_pa": counts + 778,
        "f_scores": np.tile([0.1, 0.2], (frames, 1)),
        "f_scores_pa": np.tile([0.3, 0.4], (frames, 1)),
        "rotation_errors": np.radians(17.0) * alike,
        "joint_errors_2d": np.full((frames, 21), 18.0),
        "occluded_probability": np.full((frames, 6), np.nan),
        "joint_hidden_probability": np.full((frames, 21), np.nan),
        "occluded": np.zeros((frames, 7), np.uint8),
        "joints": np.zeros((frames, 21, 3)),
    }
    return FrameScores(**fields | changes)


def frame_facts(frames: int, **changes: np.ndarray) -> FrameFacts:
    """One camera sequence, frame after frame, of a hand that moves evenly."""
    number = np.arange(frames)
    fields = {
        "sequence": np.full(frames, "S/R/camera"),
        "recording": np.full(frames, "S/R"),
        "number": number,
        "dataset_index": number,
        "visible_fraction": np.ones((frames, 6), np.float32),
        "cause": np.zeros((frames, 6), np.uint8),
        "joints": np.zeros((frames, 21, 3)),
        "root": np.zeros((frames, 3)),
        "seen_earlier": np.ones((frames, 5), np.uint8),
        "joint_visible": np.full((frames, 21), UNKNOWN, np.uint8),
        "hand_visible_area": np.full(frames, np.nan),
        "object_visible_area": np.full(frames, np.nan),
        "groups": {},
    }
    return FrameFacts(**fields | changes)


def test_every_key_has_its_own_number() -> None:
    table = summarise(frame_scores(4), frame_facts(4))
    lengths = {"mpjpe": 10, "pa_mpjpe": 11, "proper_pa_mpjpe": 12, "scale_translation_mpjpe": 13}
    lengths |= {"mpvpe": 14, "pa_mpvpe": 15, "proper_pa_mpvpe": 16}
    expected = {f"{name}_mm": value for name, value in lengths.items()}
    expected |= {"f_5": 0.1, "f_15": 0.2, "pa_f_5": 0.3, "pa_f_15": 0.4, "orientation_deg": 17, "joints_2d_px": 18}
    per_frame = frame_values(frame_scores(4), frame_facts(4))
    for name, value in expected.items():
        assert table[name] == pytest.approx(value), name
        assert per_frame[name] == pytest.approx(np.full(4, value)), name
    # 10 mm lies 19.8 steps of 50/99 mm up, 11 mm 21.78: reached from the 21st and the 23rd threshold of 100 on.
    assert table["joint_auc"] == pytest.approx((99 - 20 + 0.5) / 99)
    assert table["pa_joint_auc"] == pytest.approx((99 - 22 + 0.5) / 99)
    assert (table["vertex_auc"], table["pa_vertex_auc"]) == (pytest.approx(0.5), pytest.approx(1.0))
    assert table["frames"] == table["frames_with_joints"] == table["frames_with_mesh"] == 4


def test_frames_without_truth_are_no_part_of_a_mean() -> None:
    errors, vertices = np.full((3, 21), 0.010), np.array([0.014, np.nan, 0.020])
    errors[0] = np.nan
    counts = np.full((3, 100), 778, np.uint16)
    counts[1] = 0  # what `vertex_scores` leaves where there is no truth
    table = summarise(frame_scores(3, joint_errors=errors, vertex_errors=vertices, vertex_pck=counts), frame_facts(3))
    assert (table["frames"], table["frames_with_joints"], table["frames_with_mesh"]) == (3, 2, 2)
    assert table["mpjpe_mm"] == pytest.approx(10) and table["mpvpe_mm"] == pytest.approx(17)
    assert table["joint_auc"] == pytest.approx((99 - 20 + 0.5) / 99) and table["vertex_auc"] == pytest.approx(1.0)


def test_motion_is_said_in_millimetres() -> None:
    t = np.arange(8.0)[:, None, None]
    said = np.broadcast_to(0.5 * 0.002 * t**2 * [1.0, 0.0, 0.0], (8, 21, 3))
    truth = np.broadcast_to(t**3 * [0.0, 0.0, 0.001], (8, 21, 3))
    straight = summarise(frame_scores(8, joints=said), frame_facts(8))
    assert straight["acceleration_error_mm"] == pytest.approx(2.0)
    assert straight["jitter_mm"] == pytest.approx(0.0, abs=1e-9)
    swung = summarise(frame_scores(8, joints=said), frame_facts(8, joints=truth))
    assert (swung["jitter_mm"], swung["true_jitter_mm"]) == (pytest.approx(0.0, abs=1e-9), pytest.approx(6.0))


def test_occlusion_outputs_meet_their_own_labels() -> None:
    """Output k is held against its own label: five fingers, then the whole hand (not the palm); 255 says nothing."""
    labels = np.array([[1, 0, 0, 0, 0, 0, 1], [0, 1, 0, 0, 0, 1, 0], [0, 0, 1, 0, UNKNOWN, 1, 1]], np.uint8)
    own = labels[:, [0, 1, 2, 3, 4, 6]] == 1
    found = occlusion_rows(np.where(own, 0.8, 0.2), labels)
    assert list(found) == [*FINGERS, "global"]
    assert all(row["accuracy"] == 1.0 for row in found.values())
    assert [row["frames"] for row in found.values()] == [3, 3, 3, 3, 2, 3]
    assert [row["occluded_share"] for row in found.values()] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0, 0, 2 / 3])
    wrong = occlusion_rows(np.where(own, 0.2, 0.8), labels)
    assert all(row["accuracy"] == 0.0 for row in wrong.values())
    table = summarise(frame_scores(3, occluded=labels, occluded_probability=np.where(own, 0.8, 0.2)), frame_facts(3))
    assert table["occlusion_accuracy"] == table["occlusion_macro_f1"] == 1.0
    assert table["occlusion_majority_accuracy"] == pytest.approx((2 / 3 * 3 + 2) / 5)
    silent = summarise(frame_scores(3, occluded=labels), frame_facts(3))
    assert silent["occlusion_accuracy"] is None and silent["occlusion_macro_f1"] is None


def test_error_after_reappearance_is_that_of_the_finger_and_the_frame() -> None:
    """The index finger is hidden in frames 2 to 4 and its error is its frame number, in mm; others are never hidden."""
    labels = np.zeros((20, 7), np.uint8)
    labels[2:5, 1] = 1
    errors = np.zeros((20, 21))
    errors[:, 5:9] = np.arange(20)[:, None] / 1000  # joints of the index finger
    scores = frame_scores(20, occluded=labels, joint_errors=errors, joint_errors_pa=errors / 2)
    found = by_time(scores, frame_facts(20))
    after, hidden = found["after_reappearance"], found["hidden_for"]
    assert after["1 to 3 frames"] == {"fingers": 3, "mpjpe_mm": pytest.approx(6.0), "pa_mpjpe_mm": pytest.approx(3.0)}
    assert after["4 to 10 frames"]["fingers"] == 7 and after["4 to 10 frames"]["mpjpe_mm"] == pytest.approx(11.0)
    assert after["11 to 30 frames"]["mpjpe_mm"] == pytest.approx(17.0)
    assert after["never hidden before"]["fingers"] == 4 * 20 + 2
    assert hidden == {
        "1 to 5 frames": {"fingers": 3, "mpjpe_mm": pytest.approx(3.0), "pa_mpjpe_mm": pytest.approx(1.5)}
    }
    two = frame_facts(20, sequence=np.repeat(["a", "b"], [5, 15]))  # another sequence forgets
    assert "1 to 3 frames" not in by_time(scores, two)["after_reappearance"]


def test_hidden_fingers_are_told_apart_by_what_the_window_shows_of_them() -> None:
    """Thumb and index are hidden in both frames; the thumb was seen before the first, the index never, nothing else."""
    labels = np.zeros((2, 7), np.uint8)
    labels[:, :2] = 1
    labels[1, 4] = UNKNOWN
    seen = np.array([[1, 0, 1, 0, UNKNOWN], [UNKNOWN, 0, 1, 0, 1]], np.uint8)
    errors = np.zeros((2, 21))
    errors[:, 1:5], errors[:, 5:9] = 0.004, [[0.006] * 4, [0.008] * 4]
    scores, facts = frame_scores(2, occluded=labels, joint_errors_pa=errors), frame_facts(2, seen_earlier=seen)
    rows = by_window(scores, facts)
    assert rows["hidden now, seen earlier"] == {"fingers": 1, "mpjpe_mm": 10.0, "pa_mpjpe_mm": pytest.approx(4.0)}
    assert rows["hidden now and earlier"] == {"fingers": 2, "mpjpe_mm": 10.0, "pa_mpjpe_mm": pytest.approx(7.0)}
    assert rows["visible now"]["fingers"] == 5
    table, per_frame = summarise(scores, facts), frame_values(scores, facts)
    assert table["pa_mpjpe_seen_earlier_mm"] == pytest.approx(4.0)
    assert table["pa_mpjpe_never_seen_mm"] == pytest.approx(7.0)
    np.testing.assert_allclose(per_frame["pa_mpjpe_seen_earlier_mm"], [4.0, np.nan])
    np.testing.assert_allclose(per_frame["pa_mpjpe_never_seen_mm"], [6.0, 8.0])
    unlabelled = summarise(frame_scores(2, occluded=np.full((2, 7), UNKNOWN, np.uint8)), facts)
    assert unlabelled["pa_mpjpe_seen_earlier_mm"] is None and unlabelled["pa_mpjpe_never_seen_mm"] is None


def test_the_visibility_of_joints_is_scored_joint_by_joint() -> None:
    """Joint 0 is ranked perfectly, joint 1 the wrong way round, joint 2 is hidden nowhere, the others unknown."""
    visible = np.full((4, 21), UNKNOWN, np.uint8)
    visible[:, 0], visible[:, 1], visible[:, 2] = [1, 1, 0, 0], [0, 0, 1, 1], 1
    hidden = np.zeros((4, 21))
    hidden[:, :3] = np.array([0.1, 0.2, 0.8, 0.9])[:, None]
    scores, facts = frame_scores(4, joint_hidden_probability=hidden), frame_facts(4, joint_visible=visible)
    rows = joint_rows(hidden, visible)
    assert list(rows) == ["wrist", "thumb_mcp", "thumb_pip"]
    assert [rows[name]["roc_auc"] for name in rows] == [1.0, 0.0, None]
    assert rows["wrist"]["macro_f1"] == 1.0 and rows["thumb_mcp"]["macro_f1"] == 0.0
    table = summarise(scores, facts)
    assert table["joint_visibility_roc_auc"] == 0.5
    assert table["joint_visibility_map"] == pytest.approx((1.0 + (1 / 3 + 2 / 4) / 2) / 2)
    silent = summarise(frame_scores(4), facts)
    assert silent["joint_visibility_roc_auc"] is None and silent["joint_visibility_map"] is None


def test_joints_and_frames_are_grouped_by_what_is_visible_of_them() -> None:
    visible = np.full((2, 21), UNKNOWN, np.uint8)
    visible[0, :3], visible[1, 5] = [1, 0, 1], 0
    errors = np.full((2, 21), 0.001)
    errors[0, 1], errors[1, 5] = 0.003, 0.005
    facts = frame_facts(2, joint_visible=visible, hand_visible_area=np.array([0.25, 0.26]))
    found = break_down(frame_scores(2, joint_errors=errors), facts)
    assert found["joint"]["visible"]["joints"] == 2 and found["joint"]["visible"]["mpjpe_mm"] == pytest.approx(1.0)
    assert found["joint"]["not visible"]["mpjpe_mm"] == pytest.approx(4.0)
    assert {name: row["frames"] for name, row in found["hand_visible_area"].items()} == {
        "0% to 25%": 1,
        "25% to 50%": 1,
    }
    assert "object_visible_area" not in found


def test_fingers_are_grouped_by_what_is_visible_of_them() -> None:
    fraction = np.array([[0.0, 0.1, 0.11, 0.5, 1.0], [np.nan, 0.75, 0.76, 0.25, 0.26]])
    errors = np.zeros((2, 21))
    errors[0, 1:5] = 0.004  # the thumb of the first frame: nothing visible
    errors[0, 17:21] = 0.008  # the little finger: all of it
    found = by_fraction(frame_scores(2, joint_errors=errors), fraction)
    assert {name: row["fingers"] for name, row in found.items()} == {
        "0% to 10%": 2, "10% to 25%": 2, "25% to 50%": 2, "50% to 75%": 1, "75% to 100%": 2
    }  # fmt: skip
    assert found["0% to 10%"]["mpjpe_mm"] == pytest.approx(2.0)
    assert found["75% to 100%"]["mpjpe_mm"] == pytest.approx(4.0)


def test_groups_hold_their_own_frames() -> None:
    labels = np.zeros((6, 7), np.uint8)
    labels[1:, 0], labels[3:, 3] = 1, 1
    labels[5, 1] = UNKNOWN
    error = np.arange(6.0) / 1000
    facts = frame_facts(6, groups={"hand_side": np.array(["left", "right"] * 3)}, cause=np.eye(6, 6, dtype=np.uint8))
    found = break_down(frame_scores(6, occluded=labels, joint_errors=np.repeat(error[:, None], 21, 1)), facts)
    occluded = {count: (row["frames"], row["mpjpe_mm"]) for count, row in found["occluded_fingers"].items()}
    assert occluded == {"0": (1, 0.0), "1": (2, pytest.approx(1.5)), "2": (2, pytest.approx(3.5))}
    assert found["hand_side"]["right"]["mpjpe_mm"] == pytest.approx(3.0)
    assert found["finger"]["ring"]["hidden"]["mpjpe_mm"] == pytest.approx(4.0)
    assert found["finger"]["ring"]["visible"]["fingers"] == 3 and found["finger"]["index"]["hidden"]["fingers"] == 0
    assert found["cause"]["object"]["mpjpe_mm"] == pytest.approx(2.0)  # finger i of frame i, of five fingers


def test_intervals_draw_recordings_and_weigh_them_by_their_frames() -> None:
    values, clusters = np.array([0.0, 0.0, 0.0, 10.0]), np.array(["a", "a", "a", "b"])
    assert bootstrap_interval(values, clusters) == (0.0, 10.0)
    middle = bootstrap_interval(values, clusters, level=0.0)
    assert middle == (2.5, 2.5)  # both drawn: the mean over frames, not over recordings
    assert bootstrap_interval(values, clusters, seed=1) == bootstrap_interval(values, clusters, seed=1)
    unknown = np.where(clusters == "b", np.nan, values)
    assert bootstrap_interval(unknown, clusters) is None  # one recording is left
    facts = frame_facts(4, recording=clusters)
    bounds = intervals(frame_scores(4, vertex_errors=values / 1000), facts)
    assert bounds["mpvpe_mm"] == {"low": 0.0, "high": pytest.approx(10.0)}
    assert "occlusion_accuracy" not in bounds
