"""Videos: every frame, as a viewer shows it; what is no video, or not a whole one, in one line."""

import logging
import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from h2onet.errors import InputError
from h2onet.inference import movie_header
from h2onet.inference.video import Video, find_container
from movie_files import change, scales, set_edits, set_matrix, write_video

FRAMES = 20
MATRICES = {
    "upright": ((1, 0), (0, 1)),
    "a quarter": ((0, 1), (-1, 0)),
    "a half": ((-1, 0), (0, -1)),
    "three quarters": ((0, -1), (1, 0)),
    "mirrored": ((-1, 0), (0, 1)),
    "upside down": ((1, 0), (0, -1)),
    "transposed": ((0, 1), (1, 0)),
    "transposed the other way": ((0, -1), (-1, 0)),
}


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("movie") / "v.mp4", FRAMES)


def read(path: Path) -> tuple[list[np.ndarray], list[str]]:
    """Pictures, and reasons of frames without one."""
    frames = list(Video.open(path).read())
    assert [frame.name for frame in frames] == [f"{number:06d}" for number in range(len(frames))]
    return [f.picture for f in frames if f.picture is not None], [f.reason for f in frames if f.picture is None]


@pytest.mark.parametrize("name", MATRICES)
def test_pictures_are_as_a_viewer_shows_them(movie: Path, tmp_path: Path, name: str, caplog) -> None:
    """The white corner and the sides are where the matrix of the header puts them."""
    matrix = np.array(MATRICES[name])
    pictures, reasons = read(set_matrix(movie, tmp_path / "v.mp4", MATRICES[name]))
    assert len(pictures) == FRAMES and not reasons
    size = np.abs(np.array([96, 64]) @ matrix)
    corner = (np.array([-1, -1]) @ matrix + 1) // 2  # 0 or 1 of the width, of the height
    for picture in pictures:
        assert picture.shape == (size[1], size[0], 3)
        x, y = corner * (size - 1)
        assert picture[y, x].mean() > 200 > picture[size[1] - 1 - y, size[0] - 1 - x].mean()
    mirrors = np.linalg.det(matrix) < 0
    assert ("its header mirrors the picture" in caplog.text) == mirrors


def test_matrices_that_are_no_quarter_turn_are_refused(movie: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no quarter turn"):
        Video.open(set_matrix(movie, tmp_path / "v.mp4", ((0.8, 0.6), (-0.6, 0.8))))
    pictures, _ = read(set_matrix(movie, tmp_path / "w.mp4", ((0, 0), (0, 0))))  # some programs write that
    assert pictures[0].shape == (64, 96, 3)


@pytest.mark.parametrize(
    ("rows", "shown"),
    [
        ([(1.0, 0.0)], 20),
        ([(0.5, 0.0)], 10),
        ([(0.5, 0.25)], 10),
        ([(0.3, None), (1.0, 0.0)], 20),
        ([(0.2, 0.0), (0.2, 0.5)], 8),
        ([(9.0, 0.75)], 5),
    ],
)
def test_a_trimmed_clip_is_whole(movie: Path, tmp_path: Path, rows: list, shown: int) -> None:
    of_movie, of_track = scales(movie)
    edits = [(round(length * of_movie), -1 if start is None else round(start * of_track)) for length, start in rows]
    path = set_edits(movie, tmp_path / "v.mp4", edits)
    assert Video.open(path).frames == shown
    pictures, reasons = read(path)
    assert len(pictures) == shown and not reasons


def test_videos_that_end_early_say_so(tmp_path: Path) -> None:
    for name, code, words in (
        ("v.mkv", "mp4v", r"the video ends after \d+ frames: the last \d+ bytes of the file are missing"),
        ("v.avi", "MJPG", r"the video ends after \d+ of 20 frames"),
    ):
        whole = write_video(tmp_path / name, FRAMES, code)
        pictures, reasons = read(whole)
        assert len(pictures) == FRAMES and not reasons
        content = whole.read_bytes()
        whole.write_bytes(content[: len(content) * 3 // 4])
        pictures, (reason,) = read(whole)
        assert 0 < len(pictures) < FRAMES
        assert re.fullmatch(words, reason)
    movie = write_video(tmp_path / "v.mp4", FRAMES)
    longer = set_edits(movie, tmp_path / "w.mp4", [(1500, 0)])
    change(longer, longer, b"stts", lambda table: table[:8] + (30).to_bytes(4) + table[12:])
    pictures, reasons = read(longer)  # its header promises more than there is
    assert reasons == [f"the video ends after {len(pictures)} of 30 frames"]
    movie.write_bytes(movie.read_bytes()[:-400])
    with pytest.raises(InputError, match=r"no moov: the end of the file is missing; .*broken off"):
        Video.open(movie)


def test_estimates_of_frames_are_no_promise(tmp_path: Path) -> None:
    """In Matroska and transport streams OpenCV multiplies a duration by a rate."""
    for name, code in (("v.mkv", "mp4v"), ("v.ts", "mp4v"), ("v.webm", "VP80")):
        path = write_video(tmp_path / name, FRAMES, code)
        assert Video.open(path).frames is None
        pictures, reasons = read(path)
        assert len(pictures) == FRAMES and not reasons


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nv.mp4\n#EXT-X-ENDLIST\n"),
        ("list.mp4", "#EXTM3U\n#EXTINF:1,\nv.mp4\n"),
        ("list.txt", "ffconcat version 1.0\nfile v.mp4\n"),
        ("list.mpd", "<?xml version='1.0'?><MPD></MPD>"),
        ("empty.mp4", ""),
    ],
)
def test_files_that_name_others_are_not_followed(movie: Path, tmp_path: Path, name: str, content: str) -> None:
    os.symlink(movie, tmp_path / "v.mp4")
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=r"first bytes are those of no container .*are not followed"):
        Video.open(tmp_path / name)
    assert len(read(tmp_path / "v.mp4")[0]) == FRAMES  # a link is no list


def test_a_name_is_only_a_name(movie: Path, tmp_path: Path, monkeypatch) -> None:
    """Neither addresses, nor numbered pictures, nor bytes that are no text: OpenCV does not see the name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "threads;1")
    for name in (b"concat:a|b", b"v_%02d.jpg", b"\xff.mp4", b"-i", b"a\nb.mp4"):
        path = Path(os.fsdecode(name))
        path.write_bytes(movie.read_bytes())
        assert len(read(path)[0]) == FRAMES
    assert os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] == "threads;1" and "OPENCV_FFMPEG_LOGLEVEL" not in os.environ
    with pytest.raises(InputError, match="is no file"):
        Video.open(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        Video.open(Path("http://localhost/v.mp4"))


def test_containers_are_known_by_their_first_bytes(tmp_path: Path) -> None:
    for name, code in (("a.mov", "mp4v"), ("a.mkv", "mp4v"), ("a.avi", "MJPG"), ("a.ts", "mp4v"), ("a.mpg", "mpg1")):
        assert find_container(write_video(tmp_path / name, 2, code).read_bytes()[:512]) is not None
    packets = b"".join(b"\0\0\0\0G" + bytes(187) for _ in range(3))
    assert find_container(packets[:512]) == "other"  # as cameras write it, with four bytes before each packet
    for text in (b"RIFF\0\0\0\0WAVE", b"GGGG", b"\x89PNG\r\n\x1a\n", b"<smil>", b"v=0\r\n"):
        assert find_container(text) is None


def test_headers_beyond_all_bounds_are_told_and_not_believed(movie: Path, tmp_path: Path, caplog, monkeypatch) -> None:
    """OpenCV's own count then stands in, and a line says so."""
    beyond = (movie_header.MOST_FRAMES + 1).to_bytes(4)
    path = change(movie, tmp_path / "v.mp4", b"stts", lambda table: table[:8] + beyond + table[12:])
    with path.open("rb") as file, pytest.raises(movie_header.BadHeader, match="at most"):
        movie_header.read_movie_header(file, path.stat().st_size)
    path = change(movie, tmp_path / "w.mp4", b"stts", lambda table: table[:4] + (2).to_bytes(4) + table[8:])
    with caplog.at_level(logging.WARNING):
        assert Video.open(path).path == path
    assert "its header cannot be read (a table of 2 rows" in caplog.text
    monkeypatch.setattr("h2onet.inference.video.MOST_PIXELS", 96 * 64 - 1)
    with pytest.raises(InputError, match="frames of 96 x 64 pixels, at most"):
        Video.open(movie)


def test_damaged_headers_raise_nothing_else(movie: Path, tmp_path: Path) -> None:
    whole, rng = movie.read_bytes(), np.random.default_rng(0)
    start, path, refused = whole.index(b"moov"), tmp_path / "v.mp4", 0
    for _ in range(300):
        content = bytearray(whole)
        content[rng.integers(start, len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(content)
        try:
            with path.open("rb") as file:
                movie_header.read_movie_header(file, len(content))
        except movie_header.BadHeader as error:
            refused += 1
            assert str(error)
    assert 10 < refused < 290


def test_a_video_without_a_frame_says_so() -> None:
    class Nothing:
        def read(self) -> tuple[bool, None]:
            return False, None

        def release(self) -> None:
            pass

    for frames, reason in ((None, "holds no frame"), (3, "ends after 0 of 3 frames")):
        (frame,) = Video(Path("v.mp4"), Nothing(), frames, 30.0).read()  # type: ignore[arg-type]
        assert frame.picture is None and reason in frame.reason


def test_opencv_still_takes_a_mirrored_video_for_a_turned_one(movie: Path, tmp_path: Path) -> None:
    """When this fails, the mirrors of `inference.video` can go."""
    capture = cv2.VideoCapture(str(set_matrix(movie, tmp_path / "v.mp4", MATRICES["mirrored"])))
    picture = np.asarray(capture.read()[1])
    assert picture[-1, -1].mean() > 200 > picture[0, -1].mean()
