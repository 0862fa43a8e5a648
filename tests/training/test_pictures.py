"""Sample pictures of an epoch: the true mesh lies on the photo's hand, every column says what it is."""

import numpy as np
import torch
from h2onet.hand.draw import BLUE, ORANGE
from h2onet.training import inputs
from h2onet.training.pictures import CAPTION, SIDE, draw_samples


def _tinted(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Where a picture (H, W, 3) has the colour's hue, however it is shaded: (H, W) bool."""
    wanted = np.asarray(colour, float) / np.linalg.norm(colour)
    length = np.linalg.norm(picture.astype(float), axis=-1)
    return (picture @ wanted > 0.99 * length) & (length > 60)


def test_the_true_mesh_lies_on_the_hand(clips, hand, tiny) -> None:
    recipe = tiny("demo-multi-stage2", "pictures=3")
    samples = inputs.validation_clips(recipe, clips, [])
    assert samples is not None
    network = inputs.fresh_network(recipe, hand, None)
    picture = draw_samples(network, samples, hand, recipe, torch.device("cpu"))
    assert picture.dtype == np.uint8 and picture.shape == (CAPTION + 3 * SIDE, 4 * SIDE, 3) and network.training
    assert all(picture[:CAPTION, column * SIDE : (column + 1) * SIDE].max() > 150 for column in range(4))
    rows = [0, (len(samples) - 1) // 2, len(samples) - 1]
    for number, row in enumerate(rows):
        cells = picture[CAPTION + number * SIDE :][:SIDE]
        joints, mesh = cells[:, :SIDE], cells[:, 2 * SIDE : 3 * SIDE]
        assert _tinted(joints, ORANGE).sum() > 100 and _tinted(joints, BLUE).sum() > 0
        pixels = (np.asarray(samples[row]["joints_2d"])[0] * SIDE).astype(int)
        seen = pixels[((pixels >= 0) & (pixels < SIDE)).all(1)]
        assert len(seen) > 10 and _tinted(mesh, ORANGE)[seen[:, 1], seen[:, 0]].mean() > 0.75
        assert _tinted(mesh, ORANGE).mean() < 0.6
        # As many filled squares as hidden fingers; the probability bars of an untrained network begin all the same.
        bars = cells[:, 3 * SIDE :]
        hidden = np.asarray(samples[row]["occluded"])[0][[0, 1, 2, 3, 4, 6]] == 1
        assert [bool(_tinted(bars, ORANGE)[26 + 40 * i, 90]) for i in range(6)] == hidden.tolist()
        assert all(_tinted(bars, BLUE)[26 + 40 * i, 120] for i in range(6))
