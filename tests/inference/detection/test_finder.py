"""Hands of one picture, found through every step from letterbox to landmarks, by networks that see coloured dots."""

import itertools

import numpy as np
import pytest
from h2onet.inference.detection.finder import HandFinder, SeenHand, find_hands, once, pieces, views
from h2onet.inference.detection.palms import SIDE
from h2onet.inference.detection.regions import MIDDLE_BASE, WRIST
from hand_fakes import DotNetworks, paint_hand

FINDER = HandFinder(DotNetworks())


@pytest.mark.parametrize("angle", np.linspace(0, 2 * np.pi, 9)[:-1])
@pytest.mark.parametrize("size", [(300, 400), (640, 360), (200, 200)])
def test_landmarks_come_back_to_where_they_are(size: tuple[int, int], angle: float) -> None:
    width, height = size
    picture = np.full((height, width, 3), 40, np.uint8)
    wrist = np.array([0.55 * width, 0.45 * height])
    middle = wrist + 0.15 * height * np.array([np.sin(angle), -np.cos(angle)])
    paint_hand(picture, wrist, middle)
    [hand] = find_hands(FINDER, picture)
    assert np.abs(hand.landmarks[[WRIST, MIDDLE_BASE]] - [wrist, middle]).max() < 0.7
    assert hand.presence == 0.98 and hand.score == pytest.approx(1 / (1 + np.exp(-3)))


@pytest.mark.parametrize("upright", [False, True])
def test_a_hand_in_a_long_panorama(upright: bool) -> None:
    """As a whole it is 192 px long: the hand would be two pixels."""
    picture = np.full((900, 8000, 3), 90, np.uint8)
    wrist, middle = np.array([6511.0, 500.0]), np.array([6500.0, 380.0])
    paint_hand(picture, wrist, middle)
    if upright:
        picture, wrist, middle = np.ascontiguousarray(picture.swapaxes(0, 1)), wrist[::-1], middle[::-1]
    [hand] = find_hands(FINDER, picture)
    assert np.abs(hand.landmarks[[WRIST, MIDDLE_BASE]] - [wrist, middle]).max() < 1.5


@pytest.mark.parametrize("size", [(640, 480), (1920, 1080), (8000, 900), (300, 4000), (60_000, 20), (1, 1)])
def test_views_cover_the_picture(size: tuple[int, int]) -> None:
    found = list(views(*size))
    assert found[0].side == max(size) and len(found) <= 33
    if len(found) > 1:
        along = 0 if size[0] > size[1] else 1
        edges = sorted((view.centre[along] - view.side / 2, view.centre[along] + view.side / 2) for view in found[1:])
        assert edges[0][0] == pytest.approx(0) and edges[-1][1] == pytest.approx(max(size))
        for (_, end), (start, stop) in itertools.pairwise(edges):
            assert end - start >= 0.49 * (stop - start), "neighbours overlap by half"
        assert all(view.side >= min(size) for view in found)


@pytest.mark.parametrize("reach", [55.0, 30.0])
def test_a_small_hand_in_a_large_picture(reach: float) -> None:
    """As a whole it is 192 px wide: the dots would be one or two pixels."""
    picture = np.full((2000, 3000, 3), 90, np.uint8)
    wrist, middle = np.array([2210.0, 1405.0]), np.array([2210.0 + 0.3 * reach, 1405.0 - reach])
    paint_hand(picture, wrist, middle)
    assert not len(FINDER.palms(picture).scores)
    [hand] = find_hands(FINDER, picture)
    assert np.abs(hand.landmarks[[WRIST, MIDDLE_BASE]] - [wrist, middle]).max() < 1.5


@pytest.mark.parametrize(
    "size", [(640, 480), (1920, 1080), (1080, 1920), (4000, 3000), (8000, 900), (300, 200), (1, 1)]
)
def test_pieces_cover_the_picture(size: tuple[int, int]) -> None:
    sides = []
    for regions in pieces(*size):
        side, centres = regions[0].side, np.array([region.centre for region in regions])
        sides.append(side)
        assert side >= SIDE and len(regions) <= 64 and {region.side for region in regions} == {side}
        for axis, length in enumerate(size):
            edges = np.unique(centres[:, axis]) - side / 2
            assert edges[0] == pytest.approx(0) and edges[-1] + side == pytest.approx(length)
            assert (np.diff(edges) <= 0.75 * side + 1e-9).all(), "a hand of a quarter is whole in one of them"
        assert len(np.unique(centres, axis=0)) == len(regions)
    assert sides == [min(size) / 2 ** (level + 1) for level in range(len(sides))]
    assert len(sides) == {640: 1, 1920: 2, 1080: 2, 4000: 2}.get(size[0], 0), "a panorama would be too many"


def test_pictures_without_a_hand_and_of_one_pixel() -> None:
    for shape in ((240, 320, 3), (1, 1, 3), (2, 3000, 3)):
        assert find_hands(FINDER, np.full(shape, 128, np.uint8)) == []


def test_no_hand_twice() -> None:
    rng = np.random.default_rng(0)
    landmarks, world = rng.uniform(0, 100, (21, 2)), np.zeros((21, 3))
    surest = SeenHand(landmarks, 0.99, 0.9, 0.8, world)
    nearly = SeenHand(landmarks + rng.normal(0, 4, (21, 2)), 0.97, 0.9, 0.9, world)
    fingers = SeenHand(30 + landmarks / 4, 0.6, 0.2, 0.7, world)  # doubtful, and inside the surer one
    before = SeenHand(30 + landmarks / 4, 0.97, 0.2, 0.7, world)  # a small hand before a large one
    beside = SeenHand(landmarks + 150, 0.6, 0.9, 0.6, world)
    assert once([nearly, surest, fingers, beside]) == [surest, beside]
    assert once([before, surest]) == [surest, before]
