"""Boxes, affine maps and stored regions against the authors' rules, written out independently."""

import cv2
import numpy as np
import pytest
from h2onet.data.loading import crops
from hypothesis import given, settings
from hypothesis import strategies as st

WIDTH, HEIGHT = 640, 480


def three_points(box, scale, rotation):
    """The affine map as the authors compute it: float32 points, cv2.getAffineTransform."""
    centre = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
    half = np.array([box[2] - box[0], box[3] - box[1]]) * scale / 2
    angle = np.pi * rotation / 180
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    source = np.float32([centre, centre + turn @ [0, half[1]], centre + turn @ [half[0], 0]])
    return cv2.getAffineTransform(source, np.float32([[64, 64], [64, 128], [128, 64]]))


def test_joints_box_is_half_as_large_again():
    joints = np.tile([[300.0, 200.0]], (21, 1))
    joints[3], joints[7] = [260, 210], [340, 170]
    assert crops.joints_box(joints).tolist() == [240, 160, 120, 60]  # 80 x 40 px about (300, 190), times 1.5


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([100, 50, 81, 41], [100, 30, 80, 80]),  # square about the centre, one pixel less: far corner = near + w - 1
        ([-40, 100, 101, 101], [0, 100, 100, 100]),  # sticks out on the left: keeps its width from the clipped corner
        ([600, 100, 101, 101], [569.5, 100, 100, 100]),  # on the right: clipped to W - 1, then square about that
        ([700, 100, 50, 50], None),
        ([100, 480, 50, 50], None),
        ([100, 100, 0, 50], None),
        ([639, 479, 1, 1], None),  # a point
    ],
)
def test_square_box_follows_process_bbox(box, expected):
    square = crops.square_box(np.array(box), WIDTH, HEIGHT)
    assert (square is None) == (expected is None)
    if expected is not None:
        assert square.tolist() == expected


def test_given_boxes_are_enlarged_and_go_first():
    joints = np.random.default_rng(0).uniform(100, 200, (21, 2))
    box, rule = crops.crop_box(joints, np.array([300.0, 200.0, 401.0, 281.0]), WIDTH, HEIGHT)
    assert rule == crops.GIVEN
    assert box.tolist() == [275, 165, 425, 315]  # 100 x 80 -> 100 square about (350, 240) -> x 1.5


def test_a_hand_outside_the_photo_falls_back_to_the_whole_photo():
    joints = np.random.default_rng(0).uniform(700, 800, (21, 2))
    box, rule = crops.crop_box(joints, np.full(4, np.nan), WIDTH, HEIGHT)
    assert (rule, box.tolist()) == (crops.WHOLE_PHOTO, [0, 0, 639, 479])
    assert crops.crop_box(None, None, WIDTH, HEIGHT)[1] == crops.WHOLE_PHOTO


scales, turns = st.floats(0.75, 1.25), st.floats(-180, 180)


@given(st.floats(0, 639), st.floats(0, 479), st.floats(10, 600), scales, turns)
def test_affine_equals_the_three_points(cx, cy, side, scale, rotation):
    box = np.array([cx - side / 2, cy - side / 2, cx + side / 2, cy + side / 2])
    affine = crops.crop_from_photo(box, scale, rotation)
    corners = np.array([box[:2], box[2:], box[[0, 3]], box[[2, 1]]])
    expected = crops.transform(three_points(box, scale, rotation), corners)
    # The authors' points are float32: half a unit of 1e-4 px at 640, magnified by the crop's scale.
    np.testing.assert_allclose(crops.transform(affine, corners), expected, atol=2e-4 * 128 / side + 1e-4)


def test_the_whole_photo_is_squeezed_into_the_square():
    box = np.array([0.0, 0.0, 639.0, 479.0])
    affine = crops.crop_from_photo(box)
    np.testing.assert_allclose(affine, three_points(box, 1.0, 0.0), atol=1e-5)
    np.testing.assert_allclose(
        crops.transform(affine, np.array([[0.0, 0.0], [639, 479]])), [[0, 0], [128, 128]], atol=1e-9
    )


@settings(max_examples=200)
@given(st.floats(0, 639), st.floats(0, 479), st.floats(2, 500), scales, turns, st.sampled_from([(1, 1), (16, 8)]))
def test_augmentation_never_reads_outside_what_is_stored(cx, cy, side, scale, rotation, mcu):
    box = np.array([cx - side / 2, cy - side / 2, cx + side / 2, cy + side / 2])
    x, y, w, h = crops.stored_region(box, WIDTH, HEIGHT, mcu)
    assert x % mcu[0] == 0 and y % mcu[1] == 0 and x >= 0 and y >= 0 and x + w <= WIDTH and y + h <= HEIGHT
    inverse = cv2.invertAffineTransform(crops.crop_from_photo(box, scale, rotation))
    grid = np.array([[0, 0], [127, 0], [0, 127], [127, 127]], float)
    read = crops.transform(inverse, grid)
    # Two pixels of interpolation and two for chroma at the cut edge, wherever the photo goes on.
    low, high = np.floor(read.min(0)) - 2, np.ceil(read.max(0)) + 2
    assert (low[0] >= x or x == 0) and (low[1] >= y or y == 0)
    assert (high[0] < x + w or x + w == WIDTH) and (high[1] < y + h or y + h == HEIGHT)


def test_stored_side_covers_the_stated_margin():
    x, y, w, h = crops.stored_region(np.array([250.0, 170.0, 350.0, 270.0]), WIDTH, HEIGHT)
    assert min(w, h) >= 1.768 * 100 + 2
    assert (x, y) == (300 - 93, 220 - 93)


def test_mirroring_a_box_twice_gives_it_back():
    box = np.array([[10.0, 20.0, 110.0, 90.0], [-5, 0, 40, 40]])
    mirrored = crops.mirror_box(box, np.array([640, 320]))
    assert mirrored[0].tolist() == [529, 20, 629, 90]
    np.testing.assert_array_equal(crops.mirror_box(mirrored, np.array([640, 320])), box)
