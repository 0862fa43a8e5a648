#!/usr/bin/env bash
# FINDING: COCOeval takes a perfectly found hand for a false alarm when its annotation has the id 0, so numbering annotations from 0 costs average precision.
#
# The evaluation notes for every detection the id of the annotation it was matched with, and 0 also stands for "matched
# with nothing". Nothing in the format forbids an id 0. Ten hands, ten predictions that equal them to the last digit,
# a single sequence of ids: from 1 the score is 1, from 0 it is about 0.81.
# It matters for hand-object data because such annotations are nearly always converted from another format by a loop
# that counts frames from 0. The loss shrinks with the number of hands, so that on a whole test set it looks like an
# honest difference between two networks. faster-coco-eval scores the same way, but warns.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check numpy==2.4.6 pycocotools==2.0.11 faster-coco-eval==1.8.0
cd "$work"

venv/bin/python - <<'PY'
import contextlib
import io
import warnings
from importlib.metadata import version

import faster_coco_eval
import numpy as np
import pycocotools.coco
import pycocotools.cocoeval

JOINTS, HANDS = 21, 10
SIGMAS = np.full(JOINTS, 0.035)  # the default ones are for the 17 joints of a body


def hands(first_id):
    """Annotations of one hand per picture with ids from first_id, and detections that equal them."""
    rng = np.random.default_rng(0)
    annotations, detections = [], []
    for picture in range(HANDS):
        points = rng.uniform(100, 300, (JOINTS, 2))
        common = {"image_id": picture, "category_id": 1}
        annotations.append(
            common
            | {
                "id": first_id + picture,
                "keypoints": np.column_stack([points, np.full(JOINTS, 2)]).ravel().tolist(),
                "num_keypoints": JOINTS,
                "bbox": [100, 100, 200, 200],
                "area": 40000.0,
                "iscrowd": 0,
            }
        )
        found = np.column_stack([points, np.ones(JOINTS)]).ravel().tolist()
        detections.append(common | {"keypoints": found, "score": 0.9 - 0.01 * picture})
    dataset = {
        "images": [{"id": i, "width": 640, "height": 480} for i in range(HANDS)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "hand", "keypoints": [str(i) for i in range(JOINTS)], "skeleton": []}],
    }
    return dataset, detections


def precision(first_id):
    dataset, detections = hands(first_id)
    truth = pycocotools.coco.COCO()
    truth.dataset = dataset
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = pycocotools.cocoeval.COCOeval(truth, truth.loadRes(detections), "keypoints")
        evaluation.params.kpt_oks_sigmas = SIGMAS
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[0]


def faster_precision(first_id):
    dataset, detections = hands(first_id)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        truth = faster_coco_eval.COCO(dataset)
    evaluation = faster_coco_eval.COCOeval_faster(
        truth, truth.loadRes(detections), "keypoints", kpt_oks_sigmas=SIGMAS, print_function=lambda *_: None
    )
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats[0], any("id 0" in str(w.message) for w in caught)


print("pycocotools", version("pycocotools"), " faster-coco-eval", version("faster-coco-eval"))
print("the same ten hands, every prediction exact; average precision:")
from_one, from_zero = precision(1), precision(0)
print(f"  pycocotools       ids from 1: {from_one:.3f}   ids from 0: {from_zero:.3f}")
fast_one, _ = faster_precision(1)
fast_zero, warned = faster_precision(0)
print(f"  faster-coco-eval  ids from 1: {fast_one:.3f}   ids from 0: {fast_zero:.3f}   warns: {warned}")

assert from_one > 0.999 and fast_one > 0.999
assert 0.75 < from_zero < 0.9, "pycocotools scores annotation id 0 differently now"
assert 0.75 < fast_zero < 0.9 and warned, "faster-coco-eval treats annotation id 0 differently now"
PY
