#!/usr/bin/env bash
# FINDING: OpenCV shows a video that its header mirrors turned by half a circle instead, so that the hand stands on its head.
#
# The display matrix of an MP4 or MOV can turn a picture and mirror it; front cameras and editors write mirrored ones.
# OpenCV asks only for the matrix's angle, which of a mirror is 180 degrees, and turns by that. The ffmpeg program (and
# imageio's plugin of that name) mirrors, as players do; PyAV hands out the stored picture. Nothing warns, and the shape of
# the picture is the right one.
# It matters for hand-object data because a mirrored right hand is a left one: joints, sides and boxes of such a
# recording are those of another picture, upside down and of the other side.
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
tag = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-display_hflip", "-i", "stored.mp4"]
subprocess.run([*tag, "-c", "copy", "mirrored.mp4"], check=True)


def by_av(path):
    with av.open(path) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def corner(picture):
    """Which corner is white."""
    rows, columns = np.nonzero(picture.mean(-1) > 127)
    vertical = "top" if rows.mean() < picture.shape[0] / 2 else "bottom"
    return f"{vertical} {'left' if columns.mean() < picture.shape[1] / 2 else 'right'}"


pictures = {
    "imageio, ffmpeg plugin": imageio.v2.get_reader("mirrored.mp4", "ffmpeg").get_data(0),
    "OpenCV": cv2.VideoCapture("mirrored.mp4").read()[1],
    "PyAV": by_av("mirrored.mp4"),
}
print(*(f"{name} {version(name)}" for name in ("opencv-python-headless", "av", "imageio", "imageio-ffmpeg")))
for name, picture in pictures.items():
    print(f"  {name:24s} {picture.shape[1]} x {picture.shape[0]}, white corner {corner(picture)}")

assert all(picture.shape == (HEIGHT, WIDTH, 3) for picture in pictures.values())
assert corner(pictures["imageio, ffmpeg plugin"]) == "top right", "ffmpeg no longer mirrors"
assert corner(pictures["OpenCV"]) == "bottom right", "OpenCV mirrors now"
assert corner(pictures["PyAV"]) == "top left", "PyAV mirrors now"
PY
