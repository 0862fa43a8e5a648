"""Regions turn with the hand, cutting out and going back agree, and every pixel counts where a region is reduced."""

import numpy as np
import pytest
from h2onet.inference.detection.regions import (
    STEADY,
    Region,
    cut_out,
    region_of_landmarks,
    region_of_palm,
    turn,
    upward,
)
from hypothesis import given, settings
from hypothesis import strategies as st

ANGLES = st.floats(-7, 7)
SEEDS = st.integers(0, 2**32 - 1)


def same(a: Region, b: Region) -> None:
    np.testing.assert_allclose(a.centre, b.centre, atol=1e-6)
    assert a.side == pytest.approx(b.side)
    assert np.cos(a.angle - b.angle) == pytest.approx(1)


def hand(seed: int) -> np.ndarray:
    """Landmarks (21, 2) px of something like a hand: a wrist, and five fans of four."""
    rng = np.random.default_rng(seed)
    fingers = rng.uniform(-0.8, 0.8, 5)
    lengths = np.arange(1, 5)[:, None] * rng.uniform(15, 30)
    points = [np.zeros((1, 2)), *(lengths * [[np.sin(angle), -np.cos(angle)]] for angle in np.sort(fingers))]
    return np.concatenate(points) + rng.uniform(0, 500, 2)


def test_up_is_where_the_fingers_point() -> None:
    wrist = np.array([5.0, 5.0])
    for end, angle in (((5, 0), 0), ((9, 5), np.pi / 2), ((5, 9), np.pi), ((0, 5), -np.pi / 2)):
        assert upward(wrist, np.array(end, float)) == pytest.approx(angle)


@settings(deadline=None)
@given(SEEDS, ANGLES, st.floats(0.2, 5))
def test_the_region_of_a_turned_hand_is_the_turned_region(seed: int, angle: float, gain: float) -> None:
    landmarks = hand(seed)
    about = np.array([200.0, 300.0])
    moved = gain * (landmarks - about) @ turn(angle).T + about
    plain, found = region_of_landmarks(landmarks), region_of_landmarks(moved)
    same(found, Region(gain * turn(angle) @ (plain.centre - about) + about, gain * plain.side, plain.angle + angle))


@settings(deadline=None)
@given(SEEDS, ANGLES)
def test_the_region_of_a_turned_palm_is_the_turned_region(seed: int, angle: float) -> None:
    rng = np.random.default_rng(seed)
    middle, half, points = rng.uniform(0, 400, 2), rng.uniform(5, 90), rng.uniform(0, 400, (7, 2))
    about = rng.uniform(0, 400, 2)

    def turned(values: np.ndarray) -> np.ndarray:
        return (values - about) @ turn(angle).T + about

    plain = region_of_palm(np.concatenate([middle - half, middle + half]), points)
    new = turned(middle[None])[0]  # palms' boxes are upright squares
    found = region_of_palm(np.concatenate([new - half, new + half]), turned(points))
    same(found, Region(turned(plain.centre[None])[0], plain.side, plain.angle + angle))


def test_a_region_holds_its_hand_the_right_way_up() -> None:
    for seed in range(20):
        landmarks = hand(seed) @ turn(seed).T
        inside = region_of_landmarks(landmarks).from_picture(landmarks)
        assert (inside[STEADY] > 0).all() and (inside[STEADY] < 1).all()
        assert inside[0, 1] > inside[9, 1], "the wrist is below"


@settings(deadline=None)
@given(SEEDS, ANGLES, st.floats(1, 3000))
def test_the_way_to_the_picture_and_back(seed: int, angle: float, side: float) -> None:
    rng = np.random.default_rng(seed)
    region, points = Region(rng.uniform(-100, 900, 2), side, angle), rng.uniform(-1, 2, (30, 2))
    np.testing.assert_allclose(region.from_picture(region.to_picture(points)), points, atol=1e-7)


@pytest.mark.parametrize("side", [40.0, 100.0, 700.0])
@pytest.mark.parametrize("angle", [0.0, 0.4, -2.0, 3.1])
def test_what_is_cut_out_is_what_lies_there(angle: float, side: float) -> None:
    """In a picture of even slopes every pixel's value tells its place."""
    y, x = np.mgrid[0:1000, 0:1000] + 0.5
    picture = np.stack([x / 4, y / 4, np.full_like(x, 9)], 2).round().astype(np.uint8)
    region, size = Region(np.array([503.3, 496.1]), side, angle), 64
    found = cut_out(picture, region, size, repeat_edges=True)
    middles = (np.stack(np.meshgrid(np.arange(size), np.arange(size)), 2).reshape(-1, 2) + 0.5) / size
    wanted = region.to_picture(middles).reshape(size, size, 2) / 4
    assert np.abs(found[..., :2] - wanted).max() < 1.1 and (found[..., 2] == 9).all()


def test_cutting_out_turns_with_the_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    region = Region(np.array([50.0, 40.0]), 64.0, 0.3)
    turned = Region(np.array([90 - 40.0, 50.0]), 64.0, 0.3 + np.pi / 2)  # by a quarter, clockwise
    a = cut_out(picture, region, 64, repeat_edges=False)
    b = cut_out(np.ascontiguousarray(np.rot90(picture, -1)), turned, 64, repeat_edges=False)
    assert np.abs(a.astype(int) - b).max() <= 8  # OpenCV interpolates in steps of 1/32 px


def test_beyond_the_edges() -> None:
    picture = np.full((50, 60, 3), 200, np.uint8)
    for region in (Region(np.array([0.0, 0.0]), 40.0, 0.0), Region(np.array([-500.0, 900.0]), 30.0, 1.0)):
        assert (cut_out(picture, region, 32, repeat_edges=True) == 200).all()
        assert (cut_out(picture, region, 32, repeat_edges=False) == 0).any()
    assert cut_out(picture, Region(np.array([30.0, 25.0]), 1e5, 0.2), 32, repeat_edges=False).max() <= 200


def test_fine_lines_are_not_passed_over_where_a_region_is_reduced() -> None:
    picture = np.zeros((2000, 2000, 3), np.uint8)
    picture[:, ::10] = 250  # a tenth is white
    found = cut_out(picture, Region(np.array([1000.0, 1000.0]), 1900.0, 0.0), 95, repeat_edges=False)
    assert abs(found.mean() - 25) < 3 and found.std() < 12
