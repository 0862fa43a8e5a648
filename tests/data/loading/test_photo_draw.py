"""What lens, sensor and file do to a crop: nothing by default, each blemish what it says, all of it from the seed."""

import numpy as np
import pytest
from h2onet.data.loading.augment import Augmentation
from h2onet.data.loading.photo_draw import PhotoDraw, draw_photo, smear, spoil


def some_crop(seed=0):
    """A crop with edges and slopes, away from black and white."""
    y, x = np.mgrid[:128, :128] / 127
    squares = ((x * 6).astype(int) + (y * 6).astype(int)) % 2
    rng = np.random.default_rng(seed)
    return np.stack([0.3 + 0.2 * x + 0.1 * squares, 0.35 + 0.2 * y, 0.3 + 0.3 * rng.random() * squares]).astype("f4")


def spoilt(frame=0, seed=0, **changes):
    crop = some_crop(seed)
    spoil(crop, PhotoDraw(**changes), frame)
    return crop


def test_the_defaults_do_nothing():
    np.testing.assert_allclose(spoilt(), some_crop(), atol=1e-6)


def test_without_it_augmentation_draws_what_it_always_drew_and_with_it_the_same_before():
    for seed in range(20):
        rngs = [np.random.default_rng(seed) for _ in range(2)]
        plain, more = (Augmentation(photo=photo).draw(rng) for photo, rng in zip((False, True), rngs, strict=True))
        assert plain.photo is None and more.photo is not None
        assert (plain.scale, plain.rotation, plain.gain) == (more.scale, more.rotation, more.gain)


def test_draws_follow_from_the_generator_and_always_take_as_many_values():
    rng = np.random.default_rng(3)
    draws = [draw_photo(rng) for _ in range(400)]
    again = np.random.default_rng(3)
    assert [draw_photo(again) for _ in range(400)] == draws
    for name in ("blur", "noise", "quality", "coarse", "saturation", "contrast", "gamma"):
        assert len({getattr(draw, name) for draw in draws}) > 30, name
    untouched = PhotoDraw()
    for name, share in (("blur", 0.4), ("quality", 0.4), ("coarse", 0.3), ("motion", 0.2)):
        befallen = np.mean([getattr(draw, name) != getattr(untouched, name) for draw in draws])
        assert abs(befallen - share) < 0.08, name


@pytest.mark.parametrize("seed", range(30))
def test_a_spoilt_crop_is_a_picture(seed):
    crop = some_crop(seed)
    spoil(crop, draw_photo(np.random.default_rng(seed)), 0)
    assert crop.dtype == np.float32 and crop.shape == (3, 128, 128)
    assert np.isfinite(crop).all() and crop.min() >= 0 and crop.max() <= 1
    assert np.abs(crop - some_crop(seed)).mean() > 0.004


def test_exposure_and_colours():
    crop = some_crop()
    np.testing.assert_allclose(spoilt(gain=(1.2, 0.8, 1.0)), crop * np.reshape([1.2, 0.8, 1.0], (3, 1, 1)), atol=1e-6)
    grey = spoilt(saturation=0.0)
    np.testing.assert_allclose(grey[0], grey[1], atol=1e-6)
    np.testing.assert_allclose(grey[0], np.tensordot([0.299, 0.587, 0.114], crop, 1), atol=1e-5)
    np.testing.assert_allclose(spoilt(gamma=2.0), crop**2, atol=1e-6)
    np.testing.assert_allclose(spoilt(contrast=0.5).std(), crop.std() / 2, rtol=1e-4)


@pytest.mark.parametrize("changes", [{"blur": 1.5}, {"motion": (6.0, 0.3)}, {"coarse": 2.5}])
def test_what_makes_a_picture_unsharp_keeps_its_brightness(changes):
    crop, found = some_crop(), spoilt(**changes)
    assert np.abs(np.diff(found, axis=2)).max() < 0.8 * np.abs(np.diff(crop, axis=2)).max()
    np.testing.assert_allclose(found.mean(axis=(1, 2)), crop.mean(axis=(1, 2)), atol=0.004)


def test_noise_is_another_one_in_every_frame_and_the_same_for_the_same_seed():
    first, second = spoilt(noise=0.05), spoilt(noise=0.05, frame=1)
    np.testing.assert_array_equal(first, spoilt(noise=0.05))
    assert abs((first - some_crop()).std() - 0.05) < 0.002
    assert abs(np.corrcoef((first - some_crop()).ravel(), (second - some_crop()).ravel())[0, 1]) < 0.02


def test_compression_errs_more_the_lower_its_quality():
    away = [np.abs(spoilt(quality=quality) - some_crop()).mean() for quality in (15, 50, 95)]
    assert away[0] > away[1] > away[2] > 0


@pytest.mark.parametrize("direction", [0.0, 0.7, np.pi / 2, 3.0])
def test_a_smear_runs_along_its_direction(direction):
    kernel = smear(9.0, direction)
    assert kernel.sum() == pytest.approx(1)
    y, x = np.mgrid[: len(kernel), : len(kernel)] - len(kernel) // 2
    along = kernel * (x * np.cos(direction) + y * np.sin(direction)) ** 2
    across = kernel * (y * np.cos(direction) - x * np.sin(direction)) ** 2
    assert along.sum() > 15 * across.sum()
