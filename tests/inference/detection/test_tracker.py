"""Hands keep their numbers: two that cross, one that is hidden for a while, one that leaves; sides are the truth's."""

import numpy as np
import pytest
from h2onet.inference.detection.finder import HandFinder
from h2onet.inference.detection.regions import turn
from h2onet.inference.detection.tracker import MEMORY, REDETECT, HandTracker
from hand_fakes import DotNetworks, FakeFinder, Truth, hand_shape, paint_hand

PICTURE = np.zeros((480, 640, 3), np.uint8)
SIZE = 120.0


def truth(place: np.ndarray, right: bool, angle: float = 0.0, visible: bool = True) -> Truth:
    return Truth(place + SIZE * (hand_shape(right) + np.array([0, 0.5])) @ turn(angle).T, right, visible)


def run(finder: FakeFinder, tracker: HandTracker | None = None) -> list[dict[int, tuple[str, int]]]:
    """Of every frame: number -> side, and which of the frame's true hands it is on (-1: on none)."""
    tracker = tracker or HandTracker(finder)  # type: ignore[arg-type]
    found = []
    for number, hands in enumerate(finder.frames):
        finder.frame = number
        seen = {}
        for track in tracker.follow(PICTURE):
            away = [np.linalg.norm(track.hand.landmarks - hand.landmarks, axis=1).mean() for hand in hands]
            near = bool(away) and min(away) < 0.2 * SIZE
            seen[track.number] = (track.side, int(np.argmin(away)) if near else -1)
        assert len({which for _, which in seen.values()}) == len(seen), "a hand was found twice"
        found.append(seen)
    return found


def crossing(sides: tuple[bool, bool], seed: int, hide: bool = True, frames: int = 300) -> list[list[Truth]]:
    """Two hands that pass each other again and again; while they overlap, the farther one is hidden."""
    rng = np.random.default_rng(seed)
    speed, shift = rng.uniform(0.05, 0.08), rng.uniform(-40, 40)
    found = []
    for frame in range(frames):
        swing = 220 * np.cos(speed * frame)
        places = np.array([[320 + swing, 240], [320 - swing, 240 + shift]])
        places += [[0, 8 * np.sin(0.3 * frame)], [0, 8 * np.cos(0.2 * frame)]]
        hidden = hide and np.linalg.norm(places[0] - places[1]) < 0.5 * SIZE
        found.append([truth(places[0], sides[0], 0.2), truth(places[1], sides[1], -0.3, visible=not hidden)])
    return found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("hide", [True, False])
def test_hands_that_cross_keep_their_numbers_and_sides(seed: int, hide: bool) -> None:
    found = run(FakeFinder(crossing((True, False), seed, hide), seed))
    assert set().union(*found) == {0, 1}
    owner = {number: found[0][number][1] for number in found[0]}
    assert sorted(owner.values()) == [0, 1]
    for time, frame in enumerate(found):
        for number, (side, which) in frame.items():
            assert which == owner[number]
            assert time < 5 or side == ("right", "left")[which], "a first look may be mistaken"
    assert sum(len(frame) for frame in found) > (480 if hide else 560)


@pytest.mark.parametrize("seed", range(6))
def test_hands_of_one_side_are_told_apart_by_their_motion(seed: int) -> None:
    found = run(FakeFinder(crossing((True, True), seed), seed))
    owner = {number: found[0][number][1] for number in found[0]}
    swaps = sum(which != owner.get(number, which) for frame in found for number, (_, which) in frame.items())
    assert swaps == 0 and set().union(*found) == {0, 1}


def test_a_hidden_hand_comes_back_under_its_number_and_a_forgotten_one_does_not() -> None:
    frames = []
    for frame in range(200):
        away = 20 <= frame < 40 or 80 <= frame < 80 + MEMORY + 10
        frames.append([truth(np.array([200.0, 240]), True), truth(np.array([450.0, 240]), False, visible=not away)])
    found = run(FakeFinder(frames))
    assert all(set(frame) == {0, 1} for frame in [*found[:20], *found[40 + REDETECT : 80]])
    assert all(set(frame) == {0} for frame in found[21:40])
    assert all(set(frame) == {0, 2} for frame in found[80 + MEMORY + 10 + REDETECT :])


def test_what_a_video_costs() -> None:
    """While hands are held, palms are looked for every REDETECT frames, and each hand is read once a frame."""
    hands = [truth(np.array([200.0, 240]), True), truth(np.array([450.0, 240]), False)]
    finder = FakeFinder([hands] * 150)
    tracker = HandTracker(finder)  # type: ignore[arg-type]
    run(finder, tracker)
    assert tracker.palm_runs <= 150 / REDETECT + 4
    assert finder.hand_runs <= 2 * 150 + 2


def test_hands_that_move_slowly_are_not_read_in_every_frame() -> None:
    """Their places follow from their motion; fast ones and those near another hand are read."""
    frames = [
        [truth(np.array([150.0 + 2 * frame, 240]), True), truth(np.array([500.0 - frame, 240]), False)]
        for frame in range(100)
    ]
    finder = FakeFinder(frames, noise=0.005)
    tracker = HandTracker(finder, stride=4)  # type: ignore[arg-type]
    found = run(finder, tracker)
    assert all(set(frame) == {0, 1} and {which for _, which in frame.values()} == {0, 1} for frame in found)
    near = sum(350 - 3 * frame < 1.5 * SIZE for frame in range(100))
    assert 2 * near < finder.hand_runs < 2 * near + 2 * (100 - near) / 4 + 30
    for step, most in ((30, 2 * 40), (3, 40 / 2)):
        finder = FakeFinder([[truth(np.array([100.0 + step * frame % 400, 240]), True)] for frame in range(40)])
        run(finder, HandTracker(finder, stride=4))  # type: ignore[arg-type]
        assert finder.hand_runs <= most if step == 3 else finder.hand_runs >= 35


@pytest.mark.parametrize("seed", range(3))
def test_hands_that_cross_are_told_apart_with_frames_left_out(seed: int) -> None:
    finder = FakeFinder(crossing((True, False), seed), seed)
    found = run(finder, HandTracker(finder, stride=4))  # type: ignore[arg-type]
    owner = {number: found[0][number][1] for number in found[0]}
    assert set().union(*found) == {0, 1}
    assert all(which == owner[number] for frame in found for number, (_, which) in frame.items())


def test_what_is_not_read_says_so_and_a_hand_that_leaves_is_noticed() -> None:
    hands = [truth(np.array([320.0, 240]), True)]
    finder = FakeFinder([hands] * 40 + [[]] * 10)
    tracker, read = HandTracker(finder, stride=4), []  # type: ignore[arg-type]
    for frame in range(50):
        finder.frame = frame
        read.append([each.read for each in tracker.follow(PICTURE)])
    assert read[:4] == [[True]] * 4 and 15 < read[:40].count([False]) <= 30
    assert read[40:43].count([False]) <= 3 and read[44:] == [[]] * 6


def test_a_new_hand_is_found_while_another_is_held() -> None:
    first, second = truth(np.array([200.0, 240]), True), truth(np.array([450.0, 240]), False)
    found = run(FakeFinder([[first]] * 50 + [[first, second]] * 50))
    assert set(found[49]) == {0} and set(found[50 + REDETECT]) == {0, 1}


def test_sides_that_the_model_mistakes_for_a_moment_stay() -> None:
    hands = [truth(np.array([320.0, 240]), True)]
    finder = FakeFinder([hands] * 60)
    tracker, sides = HandTracker(finder), []  # type: ignore[arg-type]
    for frame in range(60):
        finder.frames[frame] = [Truth(hands[0].landmarks, frame not in (20, 21, 22))]
        finder.frame = frame
        [track] = tracker.follow(PICTURE)
        sides.append(track.side)
    assert set(sides) == {"right"}


def test_frames_of_another_size_start_anew_and_unread_ones_pass() -> None:
    hands = [truth(np.array([320.0, 240]), True)]
    finder = FakeFinder([hands] * 3)
    tracker = HandTracker(finder)  # type: ignore[arg-type]
    assert [track.number for track in tracker.follow(PICTURE)] == [0]
    for _ in range(3):
        tracker.skip()
    assert [track.number for track in tracker.follow(PICTURE)] == [0]
    assert [track.number for track in tracker.follow(PICTURE[:400])] == [1]
    for _ in range(MEMORY + 1):
        tracker.skip()
    assert tracker.known == set()


def test_a_small_hand_in_a_large_frame_is_found_now_and_then_and_held() -> None:
    """As a whole a frame is 192 px wide: the dots would be two pixels. Pieces are looked at every 30 frames only."""
    networks = DotNetworks()
    tracker, looks = HandTracker(HandFinder(networks)), []
    see = networks.palms
    networks.palms = lambda square: looks.append(frame) or see(square)  # type: ignore[method-assign, func-returns-value]
    found = []
    for frame in range(2 * REDETECT + 6):
        picture = np.full((1080, 1920, 3), 90, np.uint8)
        if frame >= REDETECT + 3:
            paint_hand(picture, np.array([1500.0 + 3 * frame, 700.0]), np.array([1510.0 + 3 * frame, 650.0]))
        found.append([each.number for each in tracker.follow(picture)])
    closer = [frame for frame in set(looks) if looks.count(frame) > 1]
    assert len(closer) == 3 and min(np.diff(sorted(closer))) >= REDETECT
    assert not any(found[: closer[-1]]) and all(each == [0] for each in found[closer[-1] :])
