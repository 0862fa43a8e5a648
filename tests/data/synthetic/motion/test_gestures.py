"""Gestures behind a stack: fingers on their own, held, hidden and shown again, nothing touched."""

from itertools import pairwise

import numpy as np
import pytest
from h2onet.data.synthetic.choice import GRASPED
from h2onet.data.synthetic.motion.gestures import FAMILIES, make_gestures
from h2onet.data.synthetic.motion.skeleton import skeleton_of
from h2onet.data.synthetic.performance import hand_model, perform
from h2onet.data.synthetic.scene.objects import catalogue, object_mesh


def performance(seed: int, lowest: str = "003_cracker_box", length: int = 90):
    side = ("right", "left")[seed % 2]
    skeleton = skeleton_of(hand_model(side).arrays, np.random.default_rng(seed).normal(0, 0.6, 10))
    return perform(make_gestures(skeleton, lowest, length, np.random.default_rng([seed, 1])))


@pytest.mark.parametrize("lowest", ["003_cracker_box", "009_gelatin_box", "019_pitcher_base"])
def test_the_hand_passes_behind_a_stack_and_touches_nothing(lowest):
    for seed in range(4):
        shown = performance(seed, lowest)
        recording = shown.recording
        assert recording.objects[recording.grasped] == lowest and recording.touch == len(recording.pose)
        assert shown.vertices[..., 2].min() > 0.0  # above the table
        for name, pose in zip(recording.objects, recording.object_poses[0], strict=True):
            local = (shown.vertices[::3].reshape(-1, 3) - pose[:3, 3]) @ pose[:3, :3]
            assert catalogue()[name].distance(local).min() > 0.0
        place = recording.object_poses[0, recording.grasped, :2, 3]
        across = np.array([np.cos(np.radians(-24)), -np.sin(np.radians(-24))])
        offset = (shown.joints[:, 9, :2] - place) @ across
        assert offset.min() < -0.03 and offset.max() > 0.03  # on both sides of it
        steps = np.linalg.norm(np.diff(recording.wrist, axis=0), axis=1)
        assert np.median(steps) > 0.002 and steps.max() < 0.045


@pytest.mark.parametrize("lowest", GRASPED)
def test_a_stack_stands_and_is_of_one_family(lowest):
    recording = performance(3, lowest, 2).recording
    families = {GRASPED.index(name) % FAMILIES for name in recording.objects}
    assert families == {GRASPED.index(lowest) % FAMILIES}
    spans = []
    for name, pose in zip(recording.objects, recording.object_poses[0], strict=True):
        heights = object_mesh(name).vertices @ pose[2, :3] + pose[2, 3]
        spans.append((heights.min(), heights.max()))
    spans.sort()
    assert abs(spans[0][0]) < 1e-9 and len(spans) == 3
    for (_, top), (bottom, _) in pairwise(spans):
        assert abs(top - bottom) < 1e-9
    assert np.ptp(recording.object_poses, axis=0).max() == 0.0


def test_a_gesture_is_held_and_then_another_one_follows():
    pose = performance(0, length=400).recording.pose[:, 3:]
    moves = np.abs(np.diff(pose, axis=0)).max(axis=1) > 1e-6
    starts = np.flatnonzero(np.diff(moves.astype(int)) == 1)
    assert 5 <= len(starts) <= 14
    assert moves.mean() < 0.25  # nearly always still
    assert np.degrees(np.abs(np.diff(pose, axis=0)).max()) < 35  # and never a jump


def test_what_a_finger_does_says_nothing_about_the_others():
    tips = np.stack([performance(2 * seed, length=1).joints[0] for seed in range(150)])
    # How far each tip is from its knuckle: short when the finger is closed.
    reach = np.linalg.norm(tips[:, [8, 12, 16, 20]] - tips[:, [5, 9, 13, 17]], axis=-1)
    correlation = np.corrcoef(reach.T)[np.triu_indices(4, 1)]
    assert np.abs(correlation).max() < 0.4  # subjects' sizes are shared, bends are not
    assert reach.std(axis=0).min() > 0.012


def test_same_seed_same_gestures():
    first, again, other = (performance(seed).recording.pose for seed in (4, 4, 6))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
