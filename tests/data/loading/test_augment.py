"""Pictures and labels move together: mirror, turn, warp, colour."""

from dataclasses import fields

import cv2
import numpy as np
import pytest
import torch
from h2onet.data.loading.augment import NOTHING, Augmentation, Draw, HandLabels, mirror_left, patch, photo_affine, turn
from h2onet.data.loading.crops import crop_from_photo
from h2onet.errors import InputError
from h2onet.hand.camera import project
from h2onet.hand.mano import load_hand
from h2onet.hand.rotations import matrix_from_axis_angle
from hypothesis import given
from hypothesis import strategies as st

WIDTH = np.array([640, 640])
INTRINSICS = np.array([[613.1, 0.0, 313.0], [0.0, 605.9, 245.0], [0.0, 0.0, 1.0]])  # unequal focal lengths on purpose


def some_hands(seed=0):
    rng = np.random.default_rng(seed)
    root = rng.uniform([-0.2, -0.15, 0.5], [0.2, 0.15, 1.0], (2, 3))
    joints = np.concatenate([np.zeros((2, 1, 3)), rng.normal(0, 0.06, (2, 20, 3))], axis=1)
    intrinsics = np.stack([INTRINSICS, INTRINSICS])
    joints_2d = project(joints + root[:, None], intrinsics)
    hands = HandLabels(joints, root, rng.normal(0, 0.7, (2, 48)), joints_2d, intrinsics)
    for field in fields(hands):
        getattr(hands, field.name).setflags(write=False)  # writing into the input would raise
    return hands


def boxes_of(hands):
    low, high = hands.joints_2d.min(1), hands.joints_2d.max(1)
    side = (high - low).max(1, keepdims=True) * 1.5
    return np.concatenate([(low + high - side) / 2, (low + high + side) / 2], axis=1)


def projected(hands):
    """Projection with the whole (3, 3) matrix: turned intrinsics of unequal focal lengths are not triangular."""
    points = (hands.joints + hands.root[:, None]) @ np.swapaxes(hands.intrinsics, 1, 2)
    return points[..., :2] / points[..., 2:]


def assert_same(a, b, atol=1e-9):
    for field in fields(a):
        if field.name != "mano_pose":
            np.testing.assert_allclose(getattr(a, field.name), getattr(b, field.name), atol=atol, err_msg=field.name)
    rotations = [matrix_from_axis_angle(each.mano_pose.copy().reshape(2, 16, 3)) for each in (a, b)]
    np.testing.assert_allclose(*rotations, atol=atol)  # axis-angle vectors of one rotation may differ by a full turn


def test_mirroring_is_its_own_inverse_and_keeps_the_projection():
    hands = some_hands()
    mirrored = mirror_left(hands, WIDTH)
    np.testing.assert_allclose(projected(mirrored), mirrored.joints_2d, atol=1e-9)
    assert mirrored.intrinsics[0, 0, 2] == 639 - 313
    assert_same(mirror_left(mirrored, WIDTH), hands)


@given(st.floats(-180, 180), st.floats(0.75, 1.25), st.booleans(), st.integers(0, 50))
def test_joints_2d_are_the_projection_of_the_augmented_hand(rotation, scale, left, seed):
    hands = some_hands(seed)
    draw = Draw(scale, rotation)
    to_crop, _ = photo_affine(boxes_of(hands), WIDTH, left, draw)
    turned = turn(mirror_left(hands, WIDTH) if left else hands, rotation, to_crop)
    np.testing.assert_allclose(projected(turned), turned.joints_2d, atol=1e-6)


@given(st.floats(-180, 180), st.integers(0, 50))
def test_turning_by_a_then_minus_a_returns_the_label(angle, seed):
    hands = some_hands(seed)
    centre = np.array([[50.0, 40.0, 250.0, 240.0]] * 2)
    there = crop_from_photo(centre, 1.0, angle)
    full = np.concatenate([there, np.tile([[[0.0, 0.0, 1.0]]], (2, 1, 1))], axis=1)
    back = np.linalg.inv(full)[:, :2]
    assert_same(turn(turn(hands, angle, there), -angle, back), hands, atol=1e-8)


def test_the_turned_pose_gives_the_turned_joints():
    model = load_hand("standin", dtype=torch.float64)
    rng = np.random.default_rng(3)
    pose, shape = rng.normal(0, 0.3, (2, 48)), rng.normal(0, 0.5, (2, 10))

    def joints_of(poses):
        joints = model(torch.from_numpy(poses), torch.from_numpy(shape)).joints.detach().numpy()
        return joints - joints[:, :1]

    hands = some_hands()
    hands = HandLabels(joints_of(pose), hands.root, pose, hands.joints_2d, hands.intrinsics)
    turned = turn(hands, 37.0, crop_from_photo(boxes_of(hands), 1.0, 37.0))
    np.testing.assert_allclose(joints_of(turned.mano_pose), turned.joints, atol=1e-9)
    np.testing.assert_array_equal(turned.mano_pose[:, 3:], pose[:, 3:])  # only the global rotation changes


def test_draws_follow_the_authors_distributions():
    draws = [Augmentation().draw(np.random.default_rng(seed)) for seed in range(3000)]
    scale, rotation = np.array([d.scale for d in draws]), np.array([d.rotation for d in draws])
    gain = np.array([d.gain for d in draws])
    assert scale.min() == 0.75 and scale.max() == 1.25
    assert abs((np.abs(scale - 1) == 0.25).mean() - 0.3173) < 0.03  # the clipped tails of a normal distribution
    assert np.abs(rotation).max() == 60 and abs((rotation == 0).mean() - 0.4) < 0.03
    assert gain.min() >= 0.8 and gain.max() <= 1.2 and np.abs(gain.mean(0) - 1).max() < 0.01
    assert np.abs(np.corrcoef(gain.T) - np.eye(3)).max() < 0.1  # one gain per channel


@pytest.mark.parametrize("bad", [{"scale": 1.0}, {"rotation": -1.0}, {"rotation_probability": 1.5}, {"colour": 2.0}])
def test_nonsense_is_refused(bad):
    with pytest.raises(InputError, match="Augmentation"):
        Augmentation(**bad)


def authors_crop(photo, box, draw, mirrored):
    """The authors' way on the whole photo: mirror it, warp it in float, gain, clip."""
    image = photo[:, :, ::-1].astype(np.float32)
    centre, side = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2], box[2] - box[0]
    if mirrored:
        image, centre[0] = image[:, ::-1], photo.shape[1] - centre[0] - 1
    angle, half = np.pi * draw.rotation / 180, side * draw.scale / 2
    down, right = np.array([-np.sin(angle), np.cos(angle)]), np.array([np.cos(angle), np.sin(angle)])
    source = np.float32([centre, centre + down * half, centre + right * half])
    affine = cv2.getAffineTransform(source, np.float32([[64, 64], [64, 128], [128, 64]])).astype(np.float32)
    warped = cv2.warpAffine(image, affine, (128, 128), flags=cv2.INTER_LINEAR)
    return np.clip(warped * np.array(draw.gain), 0, 255).transpose(2, 0, 1) / 255


def psnr(a, b):
    return 10 * np.log10(1 / max(np.mean((a - b) ** 2), 1e-20))


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("corner", [(200, 100), (-60, -40), (560, 400)])  # inside; leaving the photo
def test_a_stored_part_gives_the_picture_of_the_whole_photo(mirrored, corner):
    rng = np.random.default_rng(5)
    photo = cv2.resize(rng.integers(0, 255, (60, 80, 3), np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)
    box = np.array([*corner, corner[0] + 150, corner[1] + 150], float)
    x, y = max(0, corner[0] - 80), max(0, corner[1] - 80)
    part = photo[y : y + 310, x : x + 310]
    for draw in (NOTHING, Draw(1.25, 45.0, (1.2, 0.8, 1.0)), Draw(0.75, -60.0, (0.9, 1.1, 1.0))):
        _, from_stored = photo_affine(box[None], WIDTH[:1], mirrored, draw)
        out = np.full((3, 128, 128), np.nan, np.float32)
        patch(part, (x, y), from_stored[0], draw, out)
        assert psnr(out, authors_crop(photo, box, draw, mirrored)) > 90
        if corner[0] < 0:
            assert (out == 0).any()  # black beyond the photo's edge


@given(st.integers(0, 2**31), st.floats(0.0, 0.4))
def test_gains_are_those_of_one_channel_after_the_other(seed, colour):
    rng = np.random.default_rng(seed)
    part = rng.integers(0, 256, (int(rng.integers(1, 200)), int(rng.integers(1, 200)), 3), np.uint8)
    draw = Augmentation(colour=colour).draw(rng)
    affine = crop_from_photo(np.array([10.0, 20.0, 150.0, 160.0]), draw.scale, draw.rotation)
    out, expected = np.empty((2, 3, 128, 128), np.float32)
    patch(part, (0, 0), affine, draw, out)
    warped = cv2.warpAffine(part.astype(np.float32), affine, (128, 128), flags=cv2.INTER_LINEAR)
    for channel, gain in enumerate(draw.gain):
        expected[channel] = warped[:, :, 2 - channel] * np.float32(gain / 255.0)
    np.testing.assert_allclose(out, np.minimum(expected, 1.0), atol=2e-4)  # only a part of it is warped
    patch(part, (0, 0), affine, Draw(draw.scale, draw.rotation), expected)
    at_most = np.array(draw.gain, np.float32)[:, None, None]
    np.testing.assert_allclose(out, np.minimum(expected * at_most, 1.0), rtol=1e-6)
