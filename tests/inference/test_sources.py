"""What is read before anything is predicted: photographs as cameras and phones write them, names, boxes files."""

import json
import struct
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest
from h2onet.errors import InputError
from h2onet.inference.sources import Video, check_names, decode_upright, frame_name, read_boxes, read_folder

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
    (frame,) = read_folder(tmp_path)
    assert frame.picture is not None and np.array_equal(frame.picture, ORIENTATIONS[orientation](plain))


def test_every_form_of_picture_becomes_three_bytes_a_pixel(tmp_path: Path) -> None:
    deep = picture().astype(np.uint16) * 257
    for name, values in (
        ("grey.png", picture()[..., 0]), ("alpha.png", np.dstack([picture(), picture()[..., :1]])), ("deep.png", deep),
        ("a.bmp", picture()), ("a.webp", picture()), ("a.TIFF", picture()),
    ):  # fmt: skip
        assert cv2.imwrite(str(tmp_path / name), values)
    (tmp_path / "notes.txt").write_text("no picture")
    found = {frame.name: frame.picture for frame in read_folder(tmp_path)}
    assert list(found) == ["a.TIFF", "a.bmp", "a.webp", "alpha.png", "deep.png", "grey.png"]
    assert all(
        values is not None and values.shape == (40, 60, 3) and values.dtype == np.uint8 for values in found.values()
    )
    assert found["deep.png"] is not None and np.array_equal(found["deep.png"], picture()[..., ::-1])


def test_files_that_are_no_pictures_say_so(tmp_path: Path) -> None:
    whole = jpeg(picture(200, 300))
    for name, data in (("cut.jpg", whole[: len(whole) // 2]), ("empty.png", b""), ("text.jpg", b"<html>")):
        (tmp_path / name).write_bytes(data)
    frames = list(read_folder(tmp_path))
    assert [frame.picture for frame in frames] == [None] * 3
    assert {frame.reason for frame in frames} == {"cannot be decoded as a picture"}


def test_a_video_without_a_frame_says_so() -> None:
    class Nothing:
        def read(self) -> tuple[bool, None]:
            return False, None

        def release(self) -> None:
            pass

    for frames, reason in ((0, "holds no frame"), (3, "ends after 0 of 3 frames")):
        (frame,) = Video(Path("v.mp4"), Nothing(), frames, 30.0).read()  # type: ignore[arg-type]
        assert frame.picture is None and reason in frame.reason


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("excel.csv", "\ufeffname,x0,y0,x1,y1,side\r\né x.jpg,1,2,3,4,left\r\n"),
        ("spaces.csv", "name, x0, y0, x1, y1, side\n\né x.jpg, 1, 2.0, 3, 4, left \n"),
        ("order.csv", 'side,y1,x1,y0,x0,name\nleft,4,3,2,1,"é x.jpg"\n'),
        ("mark.json", '\ufeff{"é x.jpg": {"box": [1, 2, 3, 4], "side": "left"}}'),
        ("apart.json", '{"e\u0301 x.jpg": [{"box": [1, 2, 3, 4], "side": "left"}]}'),
    ],
)
def test_boxes_as_programs_write_them(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(text.encode())
    found = read_boxes(tmp_path / name)
    assert list(found) == [unicodedata.normalize("NFC", "é x.jpg")]
    (hand,) = found["é x.jpg"]
    assert hand.box is not None and hand.box.tolist() == [1, 2, 3, 4] and hand.side == "left"


def test_frames_by_number_and_frames_without_a_hand(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text(
        json.dumps({"7": [1, 2, 3, 4], "000007": [5, 6, 7, 8], "²": [1, 2, 3, 4], "8": []})
    )
    found = read_boxes(tmp_path / "b.json")
    assert {name: len(hands) for name, hands in found.items()} == {"000007": 2, "²": 1, "000008": 0}
    assert frame_name(" 12") == "000012" and frame_name("12.jpg") == "12.jpg"


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("b.csv", "name,x0,y0,x1,y1\né,1,2,3,4\n".encode("cp1252"), "not a text file in UTF-8"),
        ("b.csv", b"name;x0;y0;x1;y1\na;1;2;3;4\n", "expected the header name,x0"),
        ("b.csv", b"x0,y0,x1,y1,name\n1,2,3,4\n", "line 2: expected a name"),
        ("b.csv", b"", "expected the header"),
        ("b.json", b"[" * 100_000, "not JSON"),
        ("b.json", b"\xff\xfe{}", "not JSON"),
    ],
)
def test_boxes_that_cannot_be_read_are_refused(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=words) as error:
        read_boxes(tmp_path / name)
    assert "\n" not in str(error.value)


def test_names_are_held_against_what_is_there() -> None:
    assert check_names("--boxes b.json", {"a.jpg": 0, "z.jpg": 0}, ["a.jpg", "b.jpg"]) == ["z.jpg"]
    assert check_names("--boxes b.json", {}, ["a.jpg"]) == []
    with pytest.raises(InputError, match=r"names no frame that is there \('photos/a.jpg', .*without folders.*'a.jpg'"):
        check_names("--boxes b.json", {"photos/a.jpg": 0}, ["b.jpg", "a.jpg"])
    with pytest.raises(InputError, match="numbers of the video's frames"):
        check_names("--boxes b.json", {"frame_0": 0}, None)
    assert check_names("--boxes b.json", {"000000": 0, "frame_1": 0}, None) == ["frame_1"]
