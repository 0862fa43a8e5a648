"""Files that say where hands and cameras are: as programs write them, and as nobody should."""

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from h2onet.errors import InputError
from h2onet.inference.places import LARGEST_FILE, check_names, frame_name, read_boxes, read_intrinsics
from h2onet.inference.predictor import given_square


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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a.jpg": [1, 2, NaN, 4]}', "not JSON"),
        ('{"a.jpg": [1, 2, 1e999, 4]}', "not JSON"),
        ('{"a.jpg": [1, 2, 1' + "0" * 100 + ", 4]}", "a.jpg: expected pixels, at most"),
        ('{"a.jpg": [-2e6, 2, 3, 4]}', "a.jpg: expected pixels, at most"),
        ('{"a.jpg": [true, 2, 3, 4]}', "a.jpg: expected"),
        ('{"a.jpg": [1, 2, 3, 4], "a.jpg": [1, 2, 3, 5]}', "comes twice"),
        ('{"a\\n.jpg": ["' + "x" * 1000 + '"]}', "a .jpg: expected"),
    ],
)
def test_boxes_that_cannot_be_meant_are_one_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "b.json").write_text(text)
    with pytest.raises(InputError, match=words) as error:
        read_boxes(tmp_path / "b.json")
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


@pytest.mark.parametrize("numbers", ["nan,0,1,1", "inf,0,1,1", "0,0,1e7,1"])
def test_numbers_of_a_csv_are_finite_and_bounded(tmp_path: Path, numbers: str) -> None:
    (tmp_path / "b.csv").write_text(f"name,x0,y0,x1,y1\na.jpg,{numbers}\n")
    with pytest.raises(InputError, match="line 2: expected pixels, at most"):
        read_boxes(tmp_path / "b.csv")
    with pytest.raises(InputError, match="box: expected 4 numbers"):
        given_square(np.array([float(number) for number in numbers.split(",")]), 100, 100)


def test_files_beyond_the_bound_are_not_read(tmp_path: Path) -> None:
    for name in ("b.json", "b.csv"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(LARGEST_FILE + 1)  # takes no room
        with pytest.raises(InputError, match="at most"):
            read_boxes(tmp_path / name)
    with pytest.raises(InputError, match="is no file"):
        read_boxes(tmp_path)


@pytest.mark.parametrize(
    "matrix",
    [
        np.diag([500, 500, 1]).astype(complex),
        np.diag([500, 500, 1]).astype(str),
        np.array([[500, 0, 0], [0, 500, 0], [320, 240, 1.0]]),  # transposed, as MATLAB has it
        np.diag([500, np.nan, 1]),
        np.diag([5e8, 500, 1]),
        np.diag([500, 500, 0.0]),
        np.eye(4),
    ],
    ids=["complex", "text", "transposed", "nan", "huge", "singular", "shape"],
)
def test_cameras_that_cannot_be_meant_are_refused(tmp_path: Path, matrix: np.ndarray) -> None:
    np.save(tmp_path / "k.npy", matrix)
    with pytest.raises(InputError, match="expected a 3 x 3 camera matrix"):
        read_intrinsics(tmp_path / "k.npy")


def test_camera_files_that_cannot_be_read_are_one_line(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", np.eye(3))
    whole = (tmp_path / "k.npy").read_bytes()
    header = whole.replace(b"(3, 3), }     ", b"(3, 300000), }")
    assert len(header) == len(whole) and header != whole
    for content in (whole[:100], whole[:-8], header, b"", b"PK\3\4"):
        (tmp_path / "k.npy").write_bytes(content)
        with pytest.raises(InputError, match=r"--intrinsics .*k\.npy: no \.npy file that can be read") as error:
            read_intrinsics(tmp_path / "k.npy")
        assert "\n" not in str(error.value)
    (tmp_path / "k.json").write_text('[["500", 0, 0], [0, 500, 0], [0, 0, 1]]')
    with pytest.raises(InputError, match="expected a 3 x 3 camera matrix"):
        read_intrinsics(tmp_path / "k.json")
