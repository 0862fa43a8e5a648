"""Photos as bytes: whatever a disk did to them, they are read, cut, or refused as bad; nothing else happens."""

import cv2
import numpy as np
import pytest
from h2onet.data import photos

PICTURE = cv2.resize(np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8), (640, 480))


def jpeg() -> bytes:
    return cv2.imencode(".jpg", PICTURE)[1].tobytes()


def test_sampling_factors_of_zero_are_damage():
    content = bytearray(jpeg())
    assert photos.coding_unit(bytes(content)) == (16, 16)
    content[content.index(b"\xff\xc0") + 11] = 0x20  # the first channel's factors: 2 across, 0 down
    with pytest.raises(photos.BadPhoto, match="no frame header"):
        photos.coding_unit(bytes(content))


@pytest.mark.parametrize("codec", photos.CODECS)
def test_flipped_bits_and_lost_ends_raise_nothing_else(codec):
    if codec == photos.LOSSLESS and photos.turbojpeg() is None:
        pytest.skip("libturbojpeg or PyTurboJPEG is not installed")
    whole, rng, refused = jpeg(), np.random.default_rng(1), 0
    for i in range(400):
        content = bytearray(whole if i % 4 else whole[: rng.integers(len(whole))])
        if content:
            content[rng.integers(min(len(content), 700))] ^= 1 << rng.integers(8)
        try:
            width, height = photos.photo_size(bytes(content))
            x = 96 - 96 % photos.coding_unit(bytes(content))[0]
            assert photos.cut(bytes(content), (x, 0, 100, 100), codec) if (width, height) == (640, 480) else True
        except photos.BadPhoto as error:
            refused += 1
            assert str(error)
    assert 100 < refused < 400
