"""The pictures of a folder, as cameras, phones and other programs leave them."""

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from h2onet.cli import main
from h2onet.data.photos import MOST_PIXELS
from h2onet.errors import InputError
from h2onet.inference.sources import PictureFolder, decode_upright
from PIL import Image

# What a viewer does with a picture of each orientation tag (EXIF 2.3, tag 274).
ORIENTATIONS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


def jpeg(picture: np.ndarray, orientation: int | None = None) -> bytes:
    """RGB as JPEG bytes, with an orientation tag written out where one is given."""
    data = cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes()
    if orientation is None:
        return data
    tag = struct.pack("<HHIHH", 0x112, 3, 1, orientation, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + tag + b"\0\0\0\0"
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


def picture(height: int = 40, width: int = 60) -> np.ndarray:
    """A smooth picture without any symmetry."""
    small = np.random.default_rng(0).integers(0, 255, (4, 5, 3), np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_pictures_are_read_as_a_viewer_shows_them(tmp_path: Path, orientation: int) -> None:
    plain = decode_upright(jpeg(picture()))
    assert plain is not None and np.abs(plain.astype(int) - picture()).mean() < 8  # RGB, not BGR
    (tmp_path / "a.jpg").write_bytes(jpeg(picture(), orientation))
    (frame,) = PictureFolder.open(tmp_path).read()
    assert frame.picture is not None and np.array_equal(frame.picture, ORIENTATIONS[orientation](plain))


def test_every_form_of_picture_becomes_three_bytes_a_pixel(tmp_path: Path) -> None:
    deep = picture().astype(np.uint16) * 257
    for name, values in (
        ("grey.png", picture()[..., 0]), ("alpha.png", np.dstack([picture(), picture()[..., :1]])), ("deep.png", deep),
        ("a.bmp", picture()), ("a.webp", picture()), ("a.TIFF", picture()),
    ):  # fmt: skip
        assert cv2.imwrite(str(tmp_path / name), values)
    (tmp_path / "notes.txt").write_text("no picture")
    found = {frame.name: frame.picture for frame in PictureFolder.open(tmp_path).read()}
    assert list(found) == ["a.TIFF", "a.bmp", "a.webp", "alpha.png", "deep.png", "grey.png"]
    assert all(
        values is not None and values.shape == (40, 60, 3) and values.dtype == np.uint8 for values in found.values()
    )
    assert found["deep.png"] is not None and np.array_equal(found["deep.png"], picture()[..., ::-1])


def test_files_that_are_no_pictures_say_so(tmp_path: Path) -> None:
    whole = jpeg(picture(200, 300))
    png = cv2.imencode(".png", picture())[1].tobytes()
    large = png[:16] + struct.pack(">II", 8193, 8193) + png[24:]
    large = large[:29] + struct.pack(">I", zlib.crc32(large[12:29])) + large[33:]
    for name, data in (
        ("cut.jpg", whole[: len(whole) // 2]), ("cut.png", png[:-20]), ("empty.png", b""), ("large.png", large),
        ("text.jpg", b"<html>"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "link.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.jpg")
    frames = list(PictureFolder.open(tmp_path).read())
    assert all(frame.picture is None for frame in frames)
    assert {frame.name: frame.reason.split(":")[0].split(",")[0] for frame in frames} == {
        "cut.jpg": "truncated JPEG",
        "cut.png": "truncated PNG",
        "empty.png": "empty file",
        "folder.jpg": "is a folder",
        "large.png": "too large",
        "link.jpg": "No such file or directory",
        "pipe.jpg": "is no file",
        "text.jpg": "cannot be decoded as a picture",
    }


def test_pictures_are_known_by_suffix_or_by_their_first_bytes(tmp_path: Path) -> None:
    """Nothing that is a picture is passed over without a word; other programs' files are."""
    png = cv2.imencode(".png", picture())[1].tobytes()
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    for name, data in (
        ("a.jfif", jpeg(picture())), ("b", jpeg(picture())), ("c", png), ("d.JPE", jpeg(picture())),
        ("IMG_1.HEIC", heic), ("IMG_2.heic", heic), ("e", heic), ("f.jpg~", jpeg(picture())), ("g.dng", b"II*\0"),
        ("notes.txt", b"no picture"), (".DS_Store", b"\0\0\0\1Bud1"), ("Thumbs.db", b"\xd0\xcf\x11\xe0"),
        ("boxes.json", b"{}"), ("._a.jfif", b"\0\5\x16\7"), ("README", b""),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(data)
    found = PictureFolder.open(tmp_path)
    assert [frame.name for frame in found.read() if frame.picture is not None] == ["a.jfif", "b", "c", "d.JPE"]
    assert [path.name for path in found.paths] == ["a.jfif", "b", "c", "d.JPE"]
    assert found.unread == {".heic": 2, "without a suffix": 1, ".jpg~": 1, ".dng": 1}
    assert found.unread_line().startswith("5 pictures are not read (2 .heic, 1 without a suffix, ")
    for path in found.paths:
        path.unlink()
    with pytest.raises(InputError, match=r"no picture that is read .*2 \.heic.*convert them to JPEG or PNG"):
        PictureFolder.open(tmp_path)


@pytest.mark.parametrize("suffix", [".avif", ".jp2", ".gif", ".ppm"])
def test_other_forms_are_read_where_opencv_has_them(tmp_path: Path, suffix: str) -> None:
    if not cv2.haveImageWriter(suffix):
        pytest.skip(f"this build of OpenCV has no {suffix}")
    assert cv2.imwrite(str(tmp_path / f"a{suffix}"), picture()[..., ::-1])
    (frame,) = PictureFolder.open(tmp_path).read()
    assert frame.picture is not None and np.abs(frame.picture.astype(int) - picture()).mean() < 20


def test_what_pillow_writes_and_animations(tmp_path: Path) -> None:
    shown = Image.fromarray(picture())
    shown.convert("CMYK").save(tmp_path / "a.jpg")
    shown.convert("LA").save(tmp_path / "b.png")
    Image.new("RGB", (1, 1)).save(tmp_path / "c.png")
    shown.save(tmp_path / "d.gif", save_all=True, append_images=[Image.fromarray(picture()[::-1])])
    found = {frame.name: frame for frame in PictureFolder.open(tmp_path).read()}
    assert all(found[name].picture is not None for name in ("a.jpg", "b.png", "c.png"))
    assert found["d.gif"].picture is None and found["d.gif"].reason == "is an animation; give it as --video"


def test_names_of_any_bytes_and_length(tmp_path: Path) -> None:
    names = [b"a\nb.png", b"\xff\xfe.png", b"-x.png", b"y" * 251 + b".png"]
    png = cv2.imencode(".png", picture())[1].tobytes()
    for name in names:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(png)
    found = {os.fsencode(frame.name): frame.picture for frame in PictureFolder.open(tmp_path).read()}
    assert set(found) == set(names) and all(shown is not None for shown in found.values())


def test_the_command_bounds_pictures_before_opencv_is_loaded(monkeypatch) -> None:
    """For kinds of pictures whose size only OpenCV knows."""
    monkeypatch.setenv("OPENCV_IO_MAX_IMAGE_PIXELS", "1")  # restored afterwards
    monkeypatch.delenv("OPENCV_IO_MAX_IMAGE_PIXELS")
    monkeypatch.setattr("sys.argv", ["h2o", "--version"])
    with pytest.raises(SystemExit):
        main()
    assert os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] == str(MOST_PIXELS)
