#!/usr/bin/env bash
# FINDING: OpenCV's VideoWriter reads OPENCV_FFMPEG_WRITER_OPTIONS, says so in its log, and hands none of them to the encoder.
#
# The variable looks like the way to choose quality or speed of an encoder, as its sister for reading does work. With
# `cpu-used;8|crf;50` a VP9 file is the same to the byte as without, and the encoder runs at its slow default. PyAV with
# the same encoder and options writes another file.
# It matters for hand-object data because overlays and datasets are written as videos: VP9 from OpenCV, which browsers
# play, takes many times as long as it need, and a quality that was asked for is not the one in the file.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check numpy==2.4.6 av==18.1.0 opencv-python-headless==5.0.0.93
cd "$work"

cat >write.py <<'PY'
import sys

import cv2
import numpy as np

rng = np.random.default_rng(0)
writer = cv2.VideoWriter(sys.argv[1], cv2.VideoWriter.fourcc(*"vp09"), 30, (160, 96))
assert writer.isOpened()
for _ in range(10):
    writer.write(rng.integers(0, 256, (96, 160, 3), np.uint8))
writer.release()
PY
options='deadline;realtime|cpu-used;8|crf;50'
env -u OPENCV_FFMPEG_WRITER_OPTIONS venv/bin/python write.py plain.mp4
OPENCV_FFMPEG_WRITER_OPTIONS=$options OPENCV_LOG_LEVEL=DEBUG venv/bin/python write.py asked.mp4 >log.txt 2>&1

venv/bin/python - <<'PY'
import re
from importlib.metadata import version
from pathlib import Path

import av
import numpy as np


def by_av(path, options):
    rng = np.random.default_rng(0)
    with av.open(path, "w") as file:
        stream = file.add_stream("libvpx-vp9", rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for _ in range(10):
            picture = rng.integers(0, 256, (96, 160, 3), np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        file.mux(stream.encode())
    return Path(path).read_bytes()


said = re.search(r"using writer options from environment: (.*)", Path("log.txt").read_text())
plain, asked = (Path(name).read_bytes() for name in ("plain.mp4", "asked.mp4"))
other = [by_av(name, options) for name, options in (("a.mp4", {}), ("b.mp4", {"cpu-used": "8", "crf": "50"}))]
print("opencv-python-headless", version("opencv-python-headless"), " av", version("av"))
print("  OpenCV's log:", said and said[1])
print(f"  OpenCV: {len(plain)} bytes without options, {len(asked)} with them, equal: {plain == asked}")
print(f"  PyAV:   {len(other[0])} bytes without options, {len(other[1])} with them, equal: {other[0] == other[1]}")
assert said is not None, "OpenCV no longer reads the variable"
assert plain == asked, "the options have an effect now"
assert other[0] != other[1], "the options have no effect in PyAV either"
PY
