"""Wide looks: patterns and colours that vary, follow from the seed, and stay within what a picture can hold."""

import numpy as np
import pytest
from h2onet.data.synthetic.performance import hand_model
from h2onet.data.synthetic.scene.patterns import any_colour, pattern, skin_tone
from h2onet.data.synthetic.scene.room import SKIN, make_backdrop, make_look, make_rig
from h2onet.data.synthetic.scene.textures import TEXTURE
from h2onet.data.synthetic.scene.wide import widen

SEEDS = range(12)


def plain_and_wide(seed, cameras=8):
    plain = make_look(seed, np.random.default_rng(seed))
    rest = hand_model("right").arrays.v_template
    return plain, widen(plain, rest, 4, cameras, np.random.default_rng([seed, 1]))


@pytest.mark.parametrize("size", [(40, 60), (7, 90), (2, 2)])
def test_patterns_are_pictures_that_follow_from_the_seed(size):
    made = [pattern(*size, np.random.default_rng(seed)) for seed in SEEDS]
    for seed, picture in zip(SEEDS, made, strict=True):
        assert picture.shape == (*size, 3) and picture.dtype == np.uint8
        np.testing.assert_array_equal(picture, pattern(*size, np.random.default_rng(seed)))
    means = np.array([picture.mean(axis=(0, 1)) for picture in made])
    assert len(np.unique(means.round(), axis=0)) == len(SEEDS) and means.std(axis=0).min() > 20


def test_patterns_are_fine_and_coarse_grey_and_coloured():
    """Not all of one kind: the variation within a picture, and its finest part, differ widely between pictures."""
    made = [pattern(96, 128, np.random.default_rng(seed)).astype(float) for seed in range(60)]
    spread = np.array([picture.std() for picture in made])
    fine = np.array([np.abs(np.diff(picture, axis=1)).mean() for picture in made])
    assert np.quantile(spread, 0.9) > 2 * np.quantile(spread, 0.1)
    assert np.quantile(fine, 0.9) > 5 * np.quantile(fine, 0.1)


def test_skins_lie_between_the_known_ones_and_reach_both_ends():
    rng = np.random.default_rng(0)
    tones = np.array([skin_tone(rng) for _ in range(2000)])
    known = np.array(SKIN)
    assert tones.min() >= 0 and tones.max() <= 255
    assert (tones[:, 0] >= tones[:, 1] * 0.97).all() and (
        tones[:, 1] >= tones[:, 2] * 0.95
    ).mean() > 0.99  # no blue ones
    assert tones[:, 0].min() < 1.05 * known[-1, 0] and tones[:, 0].max() > 0.97 * known[0, 0]
    away = np.abs(tones[:, None] / known - 1).max(-1).min(1)
    assert np.median(away) < 0.15


def test_colours_have_every_hue():
    rng = np.random.default_rng(0)
    colours = np.array([any_colour(rng) for _ in range(2000)])
    assert colours.min() >= 0 and colours.max() <= 255
    for strongest in range(3):
        assert (colours.argmax(axis=1) == strongest).mean() > 0.15


@pytest.mark.parametrize("seed", SEEDS)
def test_a_wide_look_differs_in_all_that_may_and_in_nothing_else(seed):
    plain, wide = plain_and_wide(seed)
    for kept in ("sleeve_start", "table_half"):  # they belong to the scene's shape
        np.testing.assert_array_equal(getattr(plain, kept), getattr(wide, kept))
    for drawn in ("skin", "sleeve", "lights", "light_colours", "ambient", "noise"):
        assert not np.array_equal(getattr(plain, drawn), getattr(wide, drawn)), drawn
    assert plain.wide is None and wide.wide is not None
    np.testing.assert_allclose(np.linalg.norm(wide.lights, axis=1), 1)
    assert wide.lights[0, 2] > 0.4 and wide.lights[1, 2] > 0  # neither shines from below the table
    assert (wide.light_colours >= 0).all() and (wide.ambient > 0).all() and (wide.wide.gains > 0.5).all()
    assert wide.wide.skin.shape == (778, 3) and 0.4 < wide.wide.skin.min() < wide.wide.skin.max() < 1.7
    assert wide.wide.skin.std() > 0.005
    for image in wide.wide.textures.values():
        assert (
            image.shape == (TEXTURE, TEXTURE, 3) and image.dtype == np.float32 and 0 <= image.min() <= image.max() <= 1
        )


def test_wide_looks_follow_from_their_generator_and_vary():
    looks = [plain_and_wide(seed)[1] for seed in SEEDS]
    again = plain_and_wide(3)[1]
    np.testing.assert_array_equal(looks[3].wide.gains, again.wide.gains)
    np.testing.assert_array_equal(looks[3].table, again.table)
    kinds = [image is None for look in looks for image in look.wide.backgrounds]
    assert 0.2 < np.mean(kinds) < 0.6
    bare = [np.array_equal(look.sleeve, look.skin) for look in looks]
    assert any(bare) and not all(bare)
    assert {len(look.wide.textures) for look in looks} > {2, 3}


def test_a_background_hides_the_room_and_leaves_it_where_it_is():
    look, camera = plain_and_wide(0)[0], make_rig(np.random.default_rng(0))[0]
    sheet = pattern(480, 640, np.random.default_rng(1))
    plain, hidden = make_backdrop(camera, look), make_backdrop(camera, look, sheet)
    np.testing.assert_array_equal(plain.depth, hidden.depth)
    np.testing.assert_array_equal(plain.table, hidden.table)
    np.testing.assert_array_equal(plain.points, hidden.points)
    np.testing.assert_allclose(hidden.colour, (sheet / 255.0) ** 2.2, atol=1e-6)
