"""One side of `labels.py --baseline`: the steps of labelling in whatever checkout runs this file, timed on request.

    python benchmarks/labels_side.py ROOT MANO OBJECTS MANY OUT

Reads names of steps from standard input, one a line, and answers each with a line of JSON. Only names that have stayed
the same are imported, so that older checkouts can run it too. Times are processor time.
"""

import contextlib
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import psutil
from h2onet.data.datasets import iter_frames, list_sequences
from h2onet.data.frame import Frame
from h2onet.labeling.label import label_frames
from h2onet.labeling.objects import ObjectLibrary
from h2onet.labeling.pose import load_hands, pose_frames
from h2onet.labeling.raster import CpuRenderer
from h2onet.pipeline.label_settings import LabelSettings
from h2onet.pipeline.prepare_labels import prepare_labels

STEPS = ("reading frames", "posing, both models", "h2onet rule, frames read", "depth rule, frames read", "end to end")


@contextlib.contextmanager
def largest_child() -> Iterator[dict[str, float]]:
    """The largest memory of any child process, MB, sampled while the block runs: resident, and its own share of it."""
    peak, done = {"rss": 0.0, "uss": 0.0}, threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            for child in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):  # it may just have ended
                    found = child.memory_full_info()
                    for kind in peak:
                        peak[kind] = max(peak[kind], getattr(found, kind) / 2**20)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def main() -> None:
    root, mano, objects, many, out = map(Path, sys.argv[1:])
    listed = list_sequences("dexycb", root, "train", mano=mano)[:8]
    frames = [frame for sequence in listed for frame in iter_frames(sequence) if isinstance(frame, Frame)]
    hands, library, renderer = load_hands(mano), ObjectLibrary(objects), CpuRenderer()
    total = sum(len(sequence) for sequence in list_sequences("dexycb", many, "train", mano=mano))

    def run(workers: int, limit: int | None = None) -> None:
        shutil.rmtree(out, ignore_errors=True)
        settings = LabelSettings("dexycb", many, "train", mano, out, objects=objects, workers=workers, limit=limit)
        prepare_labels(settings)

    actions: dict[str, tuple[Callable[[], object], int]] = {
        STEPS[0]: (lambda: [sum(1 for _ in iter_frames(sequence)) for sequence in listed], sum(map(len, listed))),
        STEPS[1]: (lambda: pose_frames(frames, hands), len(frames)),
        STEPS[2]: (lambda: label_frames(frames, hands, library, renderer, ("h2onet",)), len(frames)),
        STEPS[3]: (lambda: label_frames(frames, hands, library, renderer, ("depth",)), len(frames)),
        STEPS[4]: (lambda: run(1), total),
    }
    run(1, limit=200)  # compiled code and object meshes are loaded before anything is timed
    print(json.dumps({"frames": len(frames), "frames_end_to_end": total}), flush=True)
    for line in sys.stdin:
        step = line.strip()
        if step == "memory":
            with largest_child() as answer:
                run(2)
        else:
            action, count = actions[step]
            before = time.process_time()
            action()
            answer = {"ms": 1e3 * (time.process_time() - before) / count}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        main()
