"""The tables of DexYCB's test split: seconds and memory of everything that comes after the network, for random scores.

    python benchmarks/evaluation_tables.py [--frames 80000]     writes benchmarks/evaluation_tables.json beside itself

Scores arrive in batches of 32, as in `h2o evaluate`; sequences have 60 frames, eight cameras each.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from h2onet.evaluation.frames_npz import write_frames
from h2onet.evaluation.page.clips import pck_curves
from h2onet.evaluation.page.strips import choose_sequences
from h2onet.evaluation.scoring.breakdowns import break_down
from h2onet.evaluation.scoring.facts import FrameFacts
from h2onet.evaluation.scoring.scores import FrameScores
from h2onet.evaluation.scoring.summary import frame_values, intervals, summarise
from h2onet.evaluation.scoring.visibility import reliability


def random_batch(rng: np.random.Generator, first: int, count: int) -> FrameScores:
    """Scores of `count` frames from row `first` on."""
    pck = [np.sort(rng.integers(0, 779, (count, 100)), axis=1).astype(np.uint16) for _ in range(2)]
    return FrameScores(
        frame_index=np.arange(first, first + count),
        joint_errors=rng.gamma(2, 0.005, (count, 21)),
        joint_errors_pa=rng.gamma(2, 0.005, (count, 21)),
        joint_errors_proper=rng.gamma(2, 0.005, (count, 21)),
        joint_errors_st=rng.gamma(2, 0.005, (count, 21)),
        vertex_errors=rng.gamma(2, 0.005, count),
        vertex_errors_pa=rng.gamma(2, 0.005, count),
        vertex_errors_proper=rng.gamma(2, 0.005, count),
        vertex_pck=pck[0],
        vertex_pck_pa=pck[1],
        f_scores=rng.random((count, 2)),
        f_scores_pa=rng.random((count, 2)),
        rotation_errors=rng.random(count),
        joint_errors_2d=rng.random((count, 21)),
        occluded_probability=rng.random((count, 6)),
        joint_hidden_probability=rng.random((count, 21)),
        occluded=rng.integers(0, 2, (count, 7)).astype(np.uint8),
        joints=rng.random((count, 21, 3)),
    )


def facts(rng: np.random.Generator, frames: int) -> FrameFacts:
    """Names and labels of the frames."""
    number = np.arange(frames)
    recording = np.char.add("20200709-subject-01/20200709_", (number // 480).astype("U6"))
    sequence = np.char.add(np.char.add(recording, "/83621206012"), (number // 60 % 8).astype("U1"))
    return FrameFacts(
        sequence,
        recording,
        number % 60,
        number,
        rng.random((frames, 6)).astype(np.float32),
        rng.integers(0, 4, (frames, 6)).astype(np.uint8),
        rng.random((frames, 21, 3)),
        rng.random((frames, 3)),
        rng.integers(0, 2, (frames, 5)).astype(np.uint8),
        rng.integers(0, 2, (frames, 21)).astype(np.uint8),
        rng.random(frames),
        rng.random(frames),
        {"object": (number // 480 % 20).astype("U2"), "camera": (number // 60 % 8).astype("U1")},
    )


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--frames", type=int, default=80_000)
    frames = arguments.parse_args().frames
    rng, before = np.random.default_rng(0), peak_gb()
    batches = [random_batch(rng, first, min(32, frames - first)) for first in range(0, frames, 32)]
    scores, known = FrameScores.concatenate(batches), facts(rng, frames)
    began = time.perf_counter()
    summarise(scores, known)
    break_down(scores, known)
    intervals(scores, known)
    choose_sequences(scores, known)
    pck_curves(scores)
    reliability(scores.occluded_probability[:, :5], scores.occluded[:, :5])
    with tempfile.TemporaryDirectory() as folder:
        keys = {"sequence": known.sequence, "recording": known.recording, "frame": known.number}
        write_frames(Path(folder), keys, frame_values(scores, known))
    result = {
        "frames": frames,
        "seconds": round(time.perf_counter() - began, 1),
        "peak_rss_gb": round(peak_gb(), 2),
        "of_which_imports_gb": round(before, 2),
    }
    print(json.dumps(result, indent=2))
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
