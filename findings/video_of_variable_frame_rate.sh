#!/usr/bin/env bash
# FINDING: in a video of variable frame rate imageio returns frames that are not there, OpenCV seeks to the wrong ones, and in Matroska OpenCV counts frames that do not exist.
#
# A valid H.264 video of 90 frames whose distances vary between 1/30 and 3/30 s. imageio's ffmpeg reader fills the gaps
# with repeated frames (163 instead of 90). OpenCV reads all 90 in order, but set(CAP_PROP_POS_FRAMES, k) computes a time
# from the mean rate and lands frames beside k; in the same video as .mkv (and .webm) CAP_PROP_FRAME_COUNT is duration
# times nominal rate, 163. PyAV decodes 90. At a constant rate all of them agree.
# It matters for hand-object data because phones, webcams and browsers record at a variable rate, and joints, boxes and
# labels are kept by frame number: numbers from one reader mean other pictures in the next, and fast-moving hands show it
# last, as a jitter. Decode in order, or convert to a constant rate once, before anything is labelled.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check numpy==2.4.6 av==18.1.0 \
    opencv-python-headless==5.0.0.93 imageio==2.38.1 imageio-ffmpeg==0.8.1
cd "$work"

venv/bin/python - <<'PY'
from fractions import Fraction
from importlib.metadata import version

import av
import cv2
import imageio.v2 as imageio
import numpy as np

FRAMES, TICK = 90, Fraction(1, 90000)


def picture_of(number):
    """A picture that says its number in ten black or white bars."""
    bars = np.array([255 * (number >> bit & 1) for bit in range(10)], np.uint8)
    return np.repeat(np.tile(np.repeat(bars, 16), (64, 1))[..., None], 3, axis=2)


def number_of(picture):
    return sum(1 << bit for bit in range(10) if picture[10:50, 16 * bit + 4 : 16 * bit + 12].mean() > 127)


def write(path, times):
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"g": "30", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 160, 64, "yuv420p"
        stream.time_base = stream.codec_context.time_base = TICK
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture_of(number), format="rgb24")
            frame.pts, frame.time_base = int(time), TICK
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def look(path):
    """Counts and orders that each reader finds."""
    with av.open(path) as container:
        by_av = [number_of(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    by_imageio = [number_of(frame) for frame in imageio.get_reader(path, "ffmpeg")]
    capture = cv2.VideoCapture(path)
    says, in_order, wrong = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), [], 0
    while (read := capture.read())[0]:
        in_order.append(number_of(read[1]))
    for number in range(FRAMES):
        capture.set(cv2.CAP_PROP_POS_FRAMES, number)
        there, picture = capture.read()
        wrong += not there or number_of(picture) != number
    exact = list(range(FRAMES))
    print(
        f"  {path:13s} PyAV {len(by_av)}   imageio {len(by_imageio)} ({len(set(by_imageio))} different)"
        f"   OpenCV says {says}, reads {len(in_order)}, seeks wrongly {wrong}"
    )
    assert by_av == exact and in_order == exact
    return len(by_imageio), says, wrong


gaps = np.random.default_rng(0).choice([3000, 3000, 6000, 9000], FRAMES - 1)
constant, variable = 3000 * np.arange(FRAMES), np.concatenate([[0], np.cumsum(gaps)])
print(*(f"{name} {version(name)}" for name in ("opencv-python-headless", "imageio", "imageio-ffmpeg", "av")))
print(f"videos of {FRAMES} frames:")
found = {}
for name, times in (("constant", constant), ("variable", variable)):
    for ending in ("mp4", "mkv"):
        write(f"{name}.{ending}", times)
        found[name, ending] = look(f"{name}.{ending}")

assert found["constant", "mp4"] == found["constant", "mkv"] == (FRAMES, FRAMES, 0)
assert found["variable", "mp4"][0] > 1.5 * FRAMES, "imageio no longer repeats frames"
assert found["variable", "mp4"][1] == FRAMES and found["variable", "mkv"][1] > 1.5 * FRAMES, "OpenCV counts otherwise"
assert min(found["variable", "mp4"][2], found["variable", "mkv"][2]) > 5, "OpenCV seeks otherwise"
PY
