#!/usr/bin/env bash
# FINDING: of the hand landmark model's four outputs OpenCV 5 gives one, or four in another order than TensorFlow Lite's.
#
# By default the new engine reads the file and keeps one output only, the landmarks in metres, without a word. With
# engine=ENGINE_CLASSIC there are four, but getUnconnectedOutLayersNames() sorts them another way than the file: the two
# single numbers among them, the hand's presence and its side, have changed places. And read from memory instead of
# from a file, the engine that was asked for is not taken: again one output, without an error. The palm detector loses
# its scores in the same way.
# It matters for hand-object data because this is the model that most people find hands with. Code that takes outputs by
# number, as it may with TensorFlow Lite, takes the probability of a left hand for that of a hand: left and right hands
# are then kept and thrown away by their side.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
pip="$work/venv/bin/pip"
"$pip" install -q --disable-pip-version-check numpy==2.4.6 opencv-python-headless==5.0.0.93 ai-edge-litert==2.3.0
# Only for the two model files in it (Apache-2.0); its code is not run.
"$pip" download -q --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.11 -d "$work" mediapipe==0.10.21
cd "$work"

venv/bin/python - <<'PY'
from importlib.metadata import version
from pathlib import Path
from zipfile import ZipFile

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter

[wheel] = Path().glob("mediapipe-*.whl")
HAND = ["Identity", "Identity_1", "Identity_2", "Identity_3"]  # landmarks, presence, side, landmarks in metres
PALM = ["Identity", "Identity_1"]  # boxes, scores


def by_opencv(source, side, *engine):
    net = cv2.dnn.readNetFromTFLite(source, *engine)
    net.setInput(np.zeros((1, 3, side, side), np.float32))
    names = list(net.getUnconnectedOutLayersNames())
    assert len(net.forward(names)) == len(names)
    return names


print("OpenCV", version("opencv-python-headless"), " ai-edge-litert", version("ai-edge-litert"), " mediapipe's files 0.10.21")
for name, side, wanted in (("hand_landmark/hand_landmark_full", 224, HAND), ("palm_detection/palm_detection_full", 192, PALM)):
    content = ZipFile(wheel).read(f"mediapipe/modules/{name}.tflite")
    Path("model.tflite").write_bytes(content)
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    litert = [output["name"] for output in interpreter.get_output_details()]
    plain = by_opencv("model.tflite", side)
    classic = by_opencv("model.tflite", side, cv2.dnn.ENGINE_CLASSIC)
    memory = by_opencv(np.frombuffer(content, np.uint8), side, cv2.dnn.ENGINE_CLASSIC)
    print(name)
    print("  TensorFlow Lite:                      ", litert)
    print("  OpenCV, file:                         ", plain)
    print("  OpenCV, file, ENGINE_CLASSIC:         ", classic)
    print("  OpenCV, from memory, ENGINE_CLASSIC:  ", memory)
    assert litert == wanted, "TensorFlow Lite has another order"
    assert len(plain) == 1, "the new engine gives all outputs now"
    assert sorted(classic) == sorted(wanted) and classic != wanted, "the classic engine keeps the file's order now"
    assert len(memory) == 1, "from memory the engine that is asked for is taken now"
PY
