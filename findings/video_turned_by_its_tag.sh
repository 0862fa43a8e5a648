#!/usr/bin/env bash
# FINDING: the same phone video is upright in OpenCV and imageio's ffmpeg reader and lies on its side in PyAV and in imageio's own pyav reader.
#
# Phones store the sensor's picture and a tag that says how to turn it. OpenCV and the ffmpeg program apply the tag,
# PyAV hands out the stored picture (frame.rotation tells the angle), and imageio does the one or the other by which of
# its two plugins reads the file. Nothing warns, and a square video does not even change its shape.
# It matters for hand-object data because joints and boxes found with one reader are turned by 90 degrees for the next:
# the hand is still there, elsewhere, with focal lengths and principal point swapped.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check numpy==2.4.6 av==18.1.0 \
    opencv-python-headless==5.0.0.93 imageio==2.38.1 imageio-ffmpeg==0.8.1
cd "$work"

venv/bin/python - <<'PY' 2>errors.txt || { cat errors.txt >&2; exit 1; }
import subprocess
from importlib.metadata import version

import av
import cv2
import imageio.v2
import imageio.v3
import imageio_ffmpeg
import numpy as np

WIDTH, HEIGHT = 160, 96
stored = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
stored[:32, :32] = 255  # a white corner, top left as stored

with av.open("stored.mp4", "w") as container:
    stream = container.add_stream("libx264", rate=30)
    stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    for _ in range(5):
        container.mux(stream.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")))
    container.mux(stream.encode())
tag = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-display_rotation", "90", "-i", "stored.mp4"]
subprocess.run([*tag, "-c", "copy", "tagged.mp4"], check=True)


def by_av(path):
    with av.open(path) as container:
        frame = next(container.decode(video=0))
        return frame.to_ndarray(format="rgb24"), frame.rotation


def corner(picture):
    """Which corner is white."""
    rows, columns = np.nonzero(picture.mean(-1) > 127)
    vertical = "top" if rows.mean() < picture.shape[0] / 2 else "bottom"
    return f"{vertical} {'left' if columns.mean() < picture.shape[1] / 2 else 'right'}"


pictures = {
    "OpenCV": cv2.VideoCapture("tagged.mp4").read()[1],
    "imageio, ffmpeg plugin": imageio.v2.get_reader("tagged.mp4", "ffmpeg").get_data(0),
    "PyAV": by_av("tagged.mp4")[0],
    "imageio, pyav plugin": imageio.v3.imread("tagged.mp4", plugin="pyav", index=0),
}
print(*(f"{name} {version(name)}" for name in ("opencv-python-headless", "av", "imageio", "imageio-ffmpeg")))
for name, picture in pictures.items():
    print(f"  {name:24s} {picture.shape[1]} x {picture.shape[0]}, white corner {corner(picture)}")
print("  PyAV's frame.rotation:", by_av("tagged.mp4")[1])

turned = [pictures["OpenCV"], pictures["imageio, ffmpeg plugin"]]
as_stored = [pictures["PyAV"], pictures["imageio, pyav plugin"]]
assert all(p.shape == (WIDTH, HEIGHT, 3) and corner(p) == "bottom left" for p in turned), "a reader stopped turning"
assert all(p.shape == (HEIGHT, WIDTH, 3) and corner(p) == "top left" for p in as_stored), "a reader turns now"
PY
