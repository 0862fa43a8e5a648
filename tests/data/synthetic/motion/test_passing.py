"""The other hand's way: before the first one for a part of the frames, touching nothing, and changing nothing else."""

import functools

import numpy as np
import pytest
from h2onet.data.synthetic.dexycb import subject_rig
from h2onet.data.synthetic.motion.passing import _passes
from h2onet.data.synthetic.performance import Performance, make_performance, subject_betas, with_other_hand
from h2onet.data.synthetic.scene.objects import catalogue

FRAMES = 40
CASES = [
    ("right", "003_cracker_box", "reach", 1),
    ("left", "025_mug", "hold", 2),
    ("right", "037_scissors", "gestures", 3),
]


def make(side: str, thing: str, stage: str, seed: int) -> tuple[Performance, np.ndarray]:
    """A performance with both hands, and where its two cameras stand (2, 3)."""
    cameras = (subject_rig(seed, 1)[0], subject_rig(seed, 1)[7])
    rng = np.random.default_rng(seed)
    one = make_performance(side, subject_betas(seed, 1), thing, 2, FRAMES, cameras, stage, rng)
    eyes = np.stack([-c.camera_from_table[:3, :3].T @ c.camera_from_table[:3, 3] for c in cameras])
    return with_other_hand(one, cameras, rng), eyes


made = functools.cache(make)


def before(first: np.ndarray, other: np.ndarray, eye: np.ndarray) -> np.ndarray:
    """(F,) how many joints of the first hand (F, 21, 3) lie behind the other one's, 12 mm or less off."""
    sight, from_eye = first[:, :, None] - eye, other[:, None] - eye
    along = (sight * from_eye).sum(axis=-1) / (sight**2).sum(axis=-1)
    apart = np.linalg.norm(from_eye - along[..., None] * sight, axis=-1)
    return ((apart < 0.012) & (along > 0) & (along < 0.99)).any(axis=2).sum(axis=1)


@pytest.mark.parametrize(("side", "thing", "stage", "seed"), CASES)
def test_it_passes_before_the_first_hand_and_touches_nothing(side, thing, stage, seed):
    both, eyes = made(side, thing, stage, seed)
    first, other = both, both.other
    assert other is not None and other.other is None
    recording = other.recording
    assert recording.side != first.recording.side and recording.present.all()
    np.testing.assert_array_equal(recording.betas, first.recording.betas)
    hidden = np.stack([before(first.joints, other.joints, eye) for eye in eyes]).max(axis=0)
    assert (hidden >= 4).sum() >= 4 and (hidden == 0).sum() >= 4  # of 40 frames, in either camera
    for i, name in enumerate(recording.objects):
        pose = recording.object_poses[:, i]
        local = (other.joints - pose[:, None, :3, 3]) @ pose[:, :3, :3]
        assert catalogue()[name].distance(local).min() > 0.008, name
    assert other.joints[..., 2].min() > 0.008
    apart = np.linalg.norm(first.joints[:, :, None] - other.joints[:, None], axis=-1)[first.recording.present]
    assert apart.min() > 0.025
    steps = np.linalg.norm(np.diff(other.joints[:, 0], axis=0), axis=1)
    assert steps.max() < 0.06  # m per frame: a quick hand, at 30 frames a second


def test_it_is_made_by_the_generator_alone_and_leaves_the_first_hand_as_it_was():
    side, thing, stage, seed = CASES[0]
    (one, _), (two, _) = made(side, thing, stage, seed), make(side, thing, stage, seed)
    assert one.other is not None and two.other is not None
    np.testing.assert_array_equal(one.other.vertices, two.other.vertices)
    cameras = (subject_rig(seed, 1)[0], subject_rig(seed, 1)[7])
    alone = make_performance(
        side, subject_betas(seed, 1), thing, 2, FRAMES, cameras, stage, np.random.default_rng(seed)
    )
    assert alone.other is None
    np.testing.assert_array_equal(alone.vertices, one.vertices)
    np.testing.assert_array_equal(with_other_hand(one, cameras, np.random.default_rng(1)).vertices, one.vertices)


@pytest.mark.parametrize("count", [1, 2, 6, 14, 36, 200])
def test_every_recording_has_a_stay_and_all_but_the_shortest_have_the_hand_aside(count):
    for seed in range(20):
        aside = _passes(count, np.random.default_rng(seed))
        assert len(aside) == count and aside.min() < 0.06 and aside.max() <= 0.27
        if count >= 6:
            assert aside.max() > 0.2
        if count >= 36:
            assert np.abs(np.diff(aside)).max() < 0.05
