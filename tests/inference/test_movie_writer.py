"""overlay.mp4: every frame as it was drawn, and a browser that plays it where one is installed."""

import logging
import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from h2onet.durable import DiskFull
from h2onet.inference import movie_writer
from h2onet.inference.movie_writer import open_movie

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome") or ""
# What a <video> element says about its file: readyState (2 and more: there is a picture) and the error's code, 0 none.
PAGE = """<video muted preload=auto src="overlay.mp4"></video><script>
const video = document.querySelector("video");
const tell = () => document.body.dataset.video =
  [video.readyState, video.error ? video.error.code : 0, video.videoWidth, video.videoHeight, video.duration].join(" ");
for (const name of ["error", "loadeddata", "canplaythrough"]) video.addEventListener(name, tell);
</script>"""


def draw(number: int, width: int = 96, height: int = 64) -> np.ndarray:
    """A picture that gets brighter with its number, a red corner in it."""
    picture = np.full((height, width, 3), 20 + 8 * number, np.uint8)
    picture[: height // 2, : width // 2] = (200, 30, 30)
    return picture


def write(path: Path, frames: int = 20, rate: float = 25.0, width: int = 96, height: int = 64) -> Path:
    movie = open_movie(path, rate, width, height)
    for number in range(frames):
        movie.add(draw(number, width, height))
    movie.close()
    return path


@pytest.fixture(params=["vp9", "mpeg4"])
def codec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "vp9":
        pytest.importorskip("av", reason="av is not installed: no VP9 to write")
    else:
        monkeypatch.setattr(movie_writer, "_has_vp9", lambda: False)
    return request.param


@pytest.mark.parametrize("size", [(96, 64), (97, 63)])
def test_every_frame_is_there_in_order_and_colour(codec: str, tmp_path: Path, size: tuple[int, int]) -> None:
    capture = cv2.VideoCapture(str(write(tmp_path / "overlay.mp4", width=size[0], height=size[1])))
    assert abs(capture.get(cv2.CAP_PROP_FPS) - 25) < 0.01
    seen = []
    while (read := capture.read())[0]:
        seen.append(read[1][..., ::-1].astype(int))
    capture.release()
    assert len(seen) == 20
    for number, picture in enumerate(seen):
        assert abs(picture[50, 80].mean() - (20 + 8 * number)) < 6
        assert np.abs(picture[10, 10] - (200, 30, 30)).max() < 40


def test_a_rate_of_television_keeps_its_value(codec: str, tmp_path: Path) -> None:
    capture = cv2.VideoCapture(str(write(tmp_path / "overlay.mp4", rate=30000 / 1001)))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(30000 / 1001, abs=1e-3)


def test_what_no_browser_plays_is_said(codec: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        write(tmp_path / "overlay.mp4", frames=2)
    assert [re.search(r"browsers do not play.*h2onet\[video\]", line) is not None for line in caplog.messages] == (
        [] if codec == "vp9" else [True]
    )


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="av is not installed: no VP9 to write")
    if not Path("/dev/full").exists():
        pytest.skip("the system has no /dev/full")
    (tmp_path / "overlay.mp4").symlink_to("/dev/full")
    with pytest.raises(DiskFull, match=r"overlay\.mp4: No space left"):
        write(tmp_path / "overlay.mp4")


@pytest.mark.skipif(not BROWSER, reason="Chromium is not installed: nothing to play a video in")
def test_a_browser_plays_it(codec: str, tmp_path: Path) -> None:
    """VP9 has a picture, the right size and length; MPEG-4 Part 2 is refused, as the warning says."""
    write(tmp_path / "overlay.mp4")
    (tmp_path / "page.html").write_text(PAGE)
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    said: list[str] = []
    for budget in (3000, 10_000, 30_000):  # ms of the page's clock, which does not wait for a decoder
        command = [BROWSER, *options, f"--virtual-time-budget={budget}", (tmp_path / "page.html").as_uri()]
        dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
        if found := re.search(r'data-video="([^"]*)"', dom):
            said = found[1].split()
            break
    if codec == "vp9":
        assert int(said[0]) >= 2 and said[1:4] == ["0", "96", "64"] and float(said[4]) == pytest.approx(0.8, abs=0.05)
    else:
        assert said[:2] == ["0", "4"]  # MEDIA_ERR_SRC_NOT_SUPPORTED
