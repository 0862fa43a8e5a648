"""Smoothing: what must not change does not, noise goes, nothing lags, and no cut is smoothed over."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from h2onet.hand.arrays import load_arrays
from h2onet.hand.skinning import SkinnedHand
from h2onet.inference.local_fit import REACH, local_points, local_turns
from h2onet.inference.mano_fit import MeshFitter
from h2onet.inference.one_euro import LOST, OneEuro, Points, Turns
from h2onet.inference.predictor import HandResult
from h2onet.inference.smoothing import HandSmoother, parts_between_cuts, refitted, smooth_track
from h2onet.inference.steadiness import jitter, lag
from scipy.spatial.transform import Rotation

Smooth = Callable[[Sequence[HandResult]], list[HandResult]]


def online(track: Sequence[HandResult]) -> list[HandResult]:
    smoother = HandSmoother()
    return [smoother(result) for result in track]


def offline(track: Sequence[HandResult]) -> list[HandResult]:
    return smooth_track(track, range(len(track)))


BOTH = pytest.mark.parametrize("smooth", [online, offline])


@pytest.fixture(scope="module")
def hand() -> SkinnedHand:
    return SkinnedHand(load_arrays("standin", "right"))


def track_of(hand: SkinnedHand, pose: np.ndarray, wrist: np.ndarray) -> list[HandResult]:
    """Results of poses (N, 48) and wrists (N, 3) m."""
    vertices, joints = hand.pose(pose, np.zeros((1, 10)))
    vertices, joints = vertices - joints[:, :1], joints - joints[:, :1]
    seen = joints + wrist[:, None]
    seen = 600 * seen[..., :2] / seen[..., 2:]
    return [
        HandResult(*each, np.zeros(4), "given", hand.side, True)
        for each in zip(vertices, joints, seen, [None] * len(pose), wrist, strict=True)
    ]


def moving(count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """A hand that waves: at most 0.4 m/s and 150 degrees/s at 30 frames per second, fingers bending."""
    times = np.arange(count)[:, None]
    pose = np.zeros((count, 48))
    pose[:, :3] = [0.3, -0.5, 1.0] + 0.8 * np.sin(times / 9) * [0.2, 1.0, -0.3]
    pose[:, 3:] = 0.3 + 0.25 * np.sin(times / 11 + np.arange(45))
    return pose, [0.02, -0.03, 0.7] + 0.1 * np.sin(times / 8 + [0.0, 1.0, 2.0])


def noisy(pose: np.ndarray, wrist: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """White noise: 3 degrees of the palm, 5 of every finger joint, 3 mm of the wrist and 10 in depth."""
    rng = np.random.default_rng(seed)
    sizes = np.radians([3.0] * 3 + [5.0] * 45) / np.sqrt(3)
    off = Rotation.from_rotvec((sizes * rng.normal(size=pose.shape)).reshape(-1, 3))
    turned = (off * Rotation.from_rotvec(pose.reshape(-1, 3))).as_rotvec().reshape(pose.shape)
    return turned, wrist + [0.003, 0.003, 0.01] * rng.normal(size=wrist.shape)


def rotated(track: Sequence[HandResult], turn: Rotation) -> list[HandResult]:
    return [
        replace(each, vertices=turn.apply(each.vertices), joints=turn.apply(each.joints), root=turn.apply(each.root))
        for each in track
    ]


def differ(track: Sequence[HandResult], other: Sequence[HandResult]) -> float:
    """The largest difference, in m and px."""
    fields = ("vertices", "joints", "joints_2d", "root")
    assert len(track) == len(other)
    return max(
        float(np.abs(getattr(a, name) - getattr(b, name)).max())
        for a, b in zip(track, other, strict=True)
        for name in fields
    )


def placed(track: Sequence[HandResult]) -> np.ndarray:
    return np.stack([each.joints + each.root for each in track])


@BOTH
def test_a_hand_at_rest_stays_as_it_is(smooth: Smooth, hand: SkinnedHand) -> None:
    pose, wrist = moving(1)
    track = track_of(hand, np.tile(pose, (9, 1)), np.tile(wrist, (9, 1)))
    assert differ(smooth(track), track) < 1e-9


@BOTH
def test_noise_goes_and_the_error_with_it(smooth: Smooth, hand: SkinnedHand) -> None:
    truth = moving()
    exact, raw = track_of(hand, *truth), track_of(hand, *noisy(*truth))
    steady = smooth(raw)
    target, before, after = placed(exact), placed(raw), placed(steady)
    most = {online: 0.5, offline: 0.3}[smooth]
    assert jitter([after - target]) < most * jitter([before - target])
    assert np.linalg.norm(after - target, axis=2).mean() < 0.85 * np.linalg.norm(before - target, axis=2).mean()
    late = (lag([(after, target)]) or 0.0) - (lag([(before, target)]) or 0.0)
    assert abs(late) < {online: 0.35, offline: 0.02}[smooth]
    seen = [np.stack([each.joints_2d for each in track]) for track in (exact, raw, steady)]
    assert np.linalg.norm(seen[2] - seen[0], axis=2).mean() < 0.95 * np.linalg.norm(seen[1] - seen[0], axis=2).mean()


@BOTH
def test_the_world_may_be_turned(smooth: Smooth, hand: SkinnedHand) -> None:
    """Also so that the hand's rotation passes half a turn: nothing flips there."""
    pose, wrist = noisy(*moving(30))
    raw = track_of(hand, pose, wrist)
    half = Rotation.from_rotvec(np.pi * np.array([0.0, 0.6, 0.8])) * Rotation.from_rotvec(pose[15, :3]).inv()
    for turn in (Rotation.from_rotvec([0.5, 1.0, -2.0]), half):
        assert differ(smooth(rotated(raw, turn)), rotated(smooth(raw), turn)) < 1e-9


@BOTH
def test_a_left_hand_is_smoothed_as_its_mirror_image_is(smooth: Smooth, hand: SkinnedHand) -> None:
    def mirrored(track: Sequence[HandResult]) -> list[HandResult]:
        flip = np.array([-1.0, 1.0, 1.0])
        return [
            replace(
                each,
                side="left",
                vertices=each.vertices * flip,
                joints=each.joints * flip,
                joints_2d=each.joints_2d * flip[:2],
                root=each.root * flip,
            )
            for each in track
        ]

    raw = track_of(hand, *noisy(*moving(12)))
    assert differ(smooth(mirrored(raw)), mirrored(smooth(raw))) < 1e-9


@BOTH
def test_a_cut_starts_anew(smooth: Smooth, hand: SkinnedHand) -> None:
    pose, wrist = noisy(*moving(20))
    aside = wrist + np.array([0.5, 0.0, 0.0])
    first, second = track_of(hand, pose, wrist), track_of(hand, pose[::-1], aside)
    turned = pose.copy()
    turned[:, :3] = (Rotation.from_rotvec([0.0, 0.0, 2.0]) * Rotation.from_rotvec(pose[:, :3])).as_rotvec()
    for next_shot in (
        second,  # it stands elsewhere
        [replace(each, side="left") for each in first],
        track_of(hand, pose, wrist * [1.0, 1.0, 0.3]),  # larger
        track_of(hand, turned, wrist)[::-1],
    ):
        assert [len(part) for part in parts_between_cuts([*first, *next_shot], range(40))] == [20, 20]
        assert differ(smooth([*first, *next_shot])[20:], smooth(next_shot)) < 1e-12
    assert len(parts_between_cuts(first + first[::-1], range(40))) == 1


def test_a_lost_hand_starts_anew(hand: SkinnedHand) -> None:
    raw = track_of(hand, *noisy(*moving(20)))
    for missed, anew in ((LOST, False), (LOST + 1, True)):
        numbers = [*range(10), *range(10 + missed, 20 + missed)]
        smoother = HandSmoother()
        for each in raw[:10]:
            smoother(each)
        for _ in range(missed):
            smoother.skip()
        came = [smoother(each) for each in raw[10:]]
        assert (differ(came, online(raw[10:])) < 1e-12) is anew
        assert len(parts_between_cuts(raw, numbers)) == 1 + anew
    smoother.reset()
    assert differ([smoother(raw[0])], raw[:1]) < 1e-12


def test_offline_time_has_no_direction(hand: SkinnedHand) -> None:
    raw = track_of(hand, *noisy(*moving(30)))
    numbers = np.delete(np.arange(33), [4, 11, 12])  # some are missing
    there, back = smooth_track(raw, numbers), smooth_track(raw[::-1], 40 - numbers[::-1])
    assert differ(there, back[::-1]) < 1e-9


def test_pieces_of_long_tracks_are_not_seen(hand: SkinnedHand, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = track_of(hand, *noisy(*moving(40)))
    whole = offline(raw)
    monkeypatch.setattr("h2onet.inference.smoothing._PIECE", 7)
    sizes = np.ptp([each.joints_2d for each in raw], axis=1)
    assert sizes.std() > 0 and differ(offline(raw), whole) < 1e-9


@BOTH
def test_a_wrist_that_is_not_known_stays_so(smooth: Smooth, hand: SkinnedHand) -> None:
    raw = track_of(hand, *noisy(*moving(20)))
    raw = [replace(each, root=None) if 5 <= at < 14 else each for at, each in enumerate(raw)]
    steady = smooth(raw)
    assert [each.root is None for each in steady] == [each.root is None for each in raw]
    assert np.abs(steady[14].root - raw[14].root).max() < (1e-12 if smooth is online else 0.02)  # it was lost


def test_parameters_are_those_of_the_smooth_mesh(hand: SkinnedHand) -> None:
    raw = track_of(hand, *noisy(*moving(5)))
    fitter = MeshFitter("standin")
    smoother = HandSmoother(fitter)
    for steady in (refitted(offline(raw), fitter), [smoother(each) for each in raw]):
        for each in steady:
            assert each.mano_pose is not None and each.mano_shape is not None and each.mano_wrist is not None
            shape = each.mano_shape[None]
            vertices, _ = hand.pose(each.mano_pose[None], shape, each.mano_wrist - hand.root(shape))
            away = np.linalg.norm(vertices[0] - each.vertices, axis=1).mean()
            assert away == pytest.approx(each.mano_error, abs=1e-6) and away < 2e-3
    assert all(each.mano_pose is None for each in offline(refitted(raw, fitter)))


@pytest.mark.parametrize("missing", [(), (7,), (7, 8, 12)])
def test_steady_motion_is_left_alone(missing: tuple[int, ...]) -> None:
    """Offline also what is accelerated; online after a while, whatever frames are missing."""
    frames = np.delete(np.arange(80), missing)
    way = np.array([0.01, -0.02, 0.005])
    even, sped = frames[:, None, None] * way, 1e-3 * frames[:, None, None] ** 2 * way
    turns = Rotation.from_rotvec(0.2 * frames[:, None] * [0.6, 0.0, 0.8])  # five half turns
    assert local_points(even + sped, frames) == pytest.approx(even + sped, abs=1e-9)
    assert Rotation.concatenate(local_turns(turns, frames)).as_matrix() == pytest.approx(turns.as_matrix(), abs=1e-9)
    points, spin = OneEuro(Points(), 0.006), OneEuro(Turns(), 0.06)
    for at, frame in enumerate(frames):
        step = int(frame - frames[at - 1]) if at else 1
        place, turn = points(even[at], step), spin(turns[at], step)
    assert place == pytest.approx(even[-1], abs=1e-4)
    assert (turn * turns[-1].inv()).magnitude() < 1e-3


def test_what_is_far_does_not_matter_offline() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(20, 4, 3))
    other = points.copy()
    other[10] += 1.0
    changed = np.abs(local_points(other, range(20)) - local_points(points, range(20))).max(axis=(1, 2)) > 1e-12
    assert np.flatnonzero(changed).tolist() == list(range(10 - REACH, 11 + REACH))


def test_few_frames_are_enough() -> None:
    for count in (1, 2, 3):
        points = np.random.default_rng(0).normal(size=(count, 2, 3))
        assert local_points(points, range(count)) == pytest.approx(points, abs=1e-9)  # a parabola passes through three


def test_lag_and_jitter_of_known_tracks() -> None:
    times = np.arange(60.0)[:, None, None]

    def wave(late: float) -> np.ndarray:
        return np.concatenate([np.sin((times - late) / 7), np.cos((times - late) / 5)], axis=2)

    for late in (0.0, 0.4, -1.3, 2.2):
        assert lag([(wave(late), wave(0.0))]) == pytest.approx(late, abs=0.01)
    assert lag([(wave(5.0), wave(0.0))]) == 3.0  # the most that is looked for
    assert lag([(np.ones((60, 1, 2)), np.ones((60, 1, 2)))]) is None and lag([]) is None
    assert jitter([times**2 * [1.0, 0.0], times[:2]]) == pytest.approx(2.0)
    assert jitter([times[:2]]) is None
