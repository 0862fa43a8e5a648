"""Pictures of labels: what is coloured, what is striped, what is written, and which frames come first."""

import cv2
import numpy as np
import pytest
from h2onet.data.frame import Frame, OtherHand
from h2onet.errors import InputError
from h2onet.hand.parts import PARTS
from h2onet.labeling.objects import ObjectLibrary
from h2onet.labeling.overlay import PART_COLOURS, contact_sheet, draw_label, most_telling_first, write_picture

PHOTO = np.full((480, 640, 3), 100, np.uint8)


def card_of(stage, frame, photo=PHOTO):
    return draw_label(frame, photo, stage.label(frame), 0, stage.hands, ObjectLibrary(stage.folder))


def has_colour(card, part):
    """Pixels of the right panel where the part's colour lies over the grey photo."""
    blend = 0.66 * PART_COLOURS[part].astype(float) + 0.34 * 100
    return int((np.abs(card[:, card.shape[1] // 2 :].astype(float) - blend).max(axis=-1) < 2).sum())


def test_a_card_shows_photo_mask_parts_and_chips(stage):
    frame = stage.frame(stage.pose())
    card = card_of(stage, frame)
    assert card.dtype == np.uint8 and card.shape[2] == 3
    assert all(has_colour(card, part) > 150 for part in range(6))
    left = card[40:400, 20:380]
    assert (left > 180).all(axis=-1).sum() > 200  # the mask's outline
    assert (np.abs(left.astype(int) - 100).max(axis=-1) < 2).mean() > 0.8
    assert (card_of(stage, frame, PHOTO + 50) != card).any()


def test_hidden_parts_are_striped_and_their_chip_changes(stage):
    frame = stage.frame(stage.pose())
    joints = stage.mesh(frame)[1]
    wall = stage.sphere("ball", joints[[6, 7, 8]].mean(axis=0) * 0.8, 0.05)
    bare, hidden = card_of(stage, frame), card_of(stage, stage.frame(stage.pose(), objects=[wall]))
    index, thumb = PARTS.index("index"), PARTS.index("thumb")
    assert has_colour(hidden, index) < 0.3 * has_colour(bare, index)
    assert has_colour(hidden, thumb) > 0.5 * has_colour(bare, thumb)
    width = (bare.shape[1] - 16) // 7
    chip = slice(-80, None), slice(8 + index * width, 8 + (index + 1) * width)
    assert (bare[chip] != hidden[chip]).any()


def test_what_another_hand_hides_is_chequered_and_that_hand_outlined(stage):
    bare = stage.frame(stage.pose())
    tips = stage.mesh(bare)[1][[8, 12]].mean(axis=0)
    left = stage.frame(stage.pose(), side="left", middle=tips * 0.6)
    both = Frame(**vars(bare) | {"others": (OtherHand("left", vertices=stage.mesh(left)[0]),)})
    ball = stage.frame(stage.pose(), objects=[stage.sphere("ball", tips * 0.8, 0.05)])
    cards = [card_of(stage, frame) for frame in (bare, both, ball)]
    red = [(np.abs(card[:, card.shape[1] // 2 :].astype(int) - (201, 56, 48)).max(axis=-1) < 6).sum() for card in cards]
    assert red[1] > red[0] + 300 and red[2] < red[0] + 300  # chips have red words, too
    index = PARTS.index("index")
    assert has_colour(cards[1], index) < 0.7 * has_colour(cards[0], index)
    behind = Frame(**vars(bare) | {"others": (OtherHand("left", vertices=stage.mesh(left)[0] * 2.5),)})
    assert has_colour(card_of(stage, behind), index) > 0.9 * has_colour(cards[0], index)  # its outline lies beside


def test_frames_with_another_hand_are_among_the_first(stage):
    bare = stage.frame(stage.pose())
    tips = stage.mesh(bare)[1][[8, 12]].mean(axis=0)
    left = stage.mesh(stage.frame(stage.pose(), side="left", middle=tips * 0.6))[0]
    others = [Frame(**vars(bare) | {"others": (OtherHand("left", vertices=left * k),)}) for k in (1.0, 2.5)]
    mask = stage.silhouette(bare)
    labels = stage.label(bare, Frame(**vars(others[1]) | {"hand_mask": mask}), others[0])
    assert labels.other_hand_fraction[2].sum() > 0 == labels.other_hand_fraction[1].sum()
    assert most_telling_first(labels)[0] == 2


def test_left_hands_released_meshes_and_frames_without_mask_are_drawn(stage):
    left = stage.frame(stage.pose(), side="left", mask=None)
    labels = stage.label(left, rules=("depth",))
    card = draw_label(left, PHOTO, labels, 0, stage.hands, ObjectLibrary(None))
    assert all(has_colour(card, part) > 100 for part in range(6))
    posed = stage.frame(stage.pose())
    vertices, joints = stage.mesh(posed)
    released = type(posed)(**vars(posed) | {"mano_pose": None, "vertices": vertices, "joints": joints})
    np.testing.assert_array_equal(card_of(stage, released)[40:400], card_of(stage, posed)[40:400])


def test_wrong_photos_and_frames_without_a_hand_are_refused(stage):
    frame = stage.frame(stage.pose())
    with pytest.raises(InputError, match="expected a photo of 480x640x3"):
        card_of(stage, frame, PHOTO[:240])
    blank = type(frame)(**vars(frame) | {"mano_pose": None})
    with pytest.raises(InputError, match="no pose"):
        card_of(stage, blank)


def test_bad_agreement_comes_first_then_what_is_hidden_and_hands_outside_last(stage):
    good = stage.frame(stage.pose())
    assert good.hand_mask is not None
    half = stage.frame(stage.pose(), mask=np.roll(good.hand_mask, 30, axis=1))
    tip = stage.mesh(good)[1][8]
    hidden = stage.frame(stage.pose(), mask=good.hand_mask, objects=[stage.sphere("ball", tip * 0.9, 0.004)])
    failed = type(good)(**vars(good) | {"root": np.full(3, np.nan)})
    outside = stage.frame(stage.pose(), middle=(-0.37, 0.0, 0.7))
    labels = stage.label(good, failed, outside, half, hidden)
    assert labels.hidden_fraction[2, :, 2].mean() > 0.5 and labels.hidden_fraction[4, :, 0].sum() > 0
    assert most_telling_first(labels) == [3, 4, 0, 2]
    none = stage.frame(stage.pose(), mask=good.hand_mask & False)
    assert most_telling_first(stage.label(good, none))[0] == 1


def test_sheets_and_files(tmp_path):
    cards = [np.full((20, 30, 3), value, np.uint8) for value in (10, 20, 30)]
    sheet = contact_sheet(cards, columns=2)
    assert sheet.shape == (2 * 28, 2 * 38, 3)
    assert [sheet[10, 10, 0], sheet[10, 50, 0], sheet[40, 10, 0]] == [10, 20, 30]
    sheet[..., 0] = 200
    path = write_picture(tmp_path / "new" / "sheet.png", sheet)
    np.testing.assert_array_equal(cv2.imread(str(path))[..., ::-1], sheet)
    with pytest.raises(InputError, match="at least one"):
        contact_sheet([])
    with pytest.raises(InputError, match=r"\.png"):
        write_picture(tmp_path / "sheet.tiff", sheet)
