"""Two checkouts of this project side by side in one run: processor time of rounds that alternate, and the bytes made.

    python benchmarks/synthesize.py --baseline PATH      python benchmarks/clips.py --baseline PATH

PATH is another checkout, made ready with `make setup`: it works in its own environment, `.venv/bin/python`. Both do the
same work in a process of their own, kept between the rounds; processor time counts, which other programs on the machine
disturb least. Windows are also loaded in batches, by the clock: threads may share that work. What this file imports of
the project must be there in both.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Answer = dict[str, Any]


def hash_of_tree(folder: Path) -> str:
    """One SHA-256 of the names and bytes of all files below a folder."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(file.relative_to(folder)).encode() + b"\0")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def hash_of_arrays(items: list[dict[str, Any]]) -> str:
    """One SHA-256 of names, types, shapes and bytes of all arrays of some items or batches."""
    import numpy as np

    digest = hashlib.sha256()
    for item in items:
        for name in sorted(item):
            values = np.asarray(item[name])
            digest.update(f"{name} {values.dtype.str} {values.shape}".encode() + values.tobytes())
    return digest.hexdigest()


def synthesize_round(work: dict[str, Any]) -> Answer:
    """Make one dataset in this process."""
    from h2onet.data.synthesize import SynthesizeSettings, synthesize

    with tempfile.TemporaryDirectory() as folder:
        settings = SynthesizeSettings(Path(folder) / "out", workers=1, **work)
        began = time.process_time()
        summary = synthesize(settings)
        spent = time.process_time() - began
        return {"cpu_ms": 1e3 * spent / summary.photos, "sha256": hash_of_tree(Path(folder) / "out")}


def clips_round(work: dict[str, Any]) -> Answer:
    """Random training windows of a store, one by one in one thread, and as batches in this process; all are hashed."""
    import cv2
    import torch
    from h2onet.data.clips import Augmentation, ClipDataset, window_of

    try:
        from h2onet.data.loading.batches import loader
    except ImportError:  # where it stood before
        from h2onet.data.batches import loader  # pyright: ignore[reportMissingImports]

    cv2.setNumThreads(1)
    clips = _KEPT.setdefault(
        work["store"],
        ClipDataset(work["store"], frames=window_of("dexycb", train=True), augment=Augmentation()),
    )
    keys = [(work["epoch"], index % len(clips), 0) for index in work["indices"]]
    began = time.process_time()
    for key in keys:
        clips[key]
    spent = time.process_time() - began
    cv2.setNumThreads(-1)  # as in a user's process
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    batches = iter(loader(clips, 16, shuffle=True, seed=work["epoch"]))
    made = [next(batches), next(batches)]
    began = time.perf_counter()
    made += list(batches)
    wall = (time.perf_counter() - began) / sum(len(batch["images"]) for batch in made[2:])
    torch.set_num_threads(1)
    digest = hash_of_arrays([clips[key] for key in keys] + made)
    return {"cpu_ms": 1e3 * spent / len(keys), "wall_ms": 1e3 * wall, "sha256": digest}


_KEPT: dict[str, Any] = {}  # opened stores of a process
ROUNDS: dict[str, Callable[[dict[str, Any]], Answer]] = {"synthesize": synthesize_round, "clips": clips_round}


def _answer_requests() -> None:
    """What runs in both checkouts: one JSON request a line in, one JSON answer a line out."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed goes to the errors
    for line in sys.stdin:
        request = json.loads(line)
        answers.write(json.dumps(ROUNDS[request["round"]](request["work"])) + "\n")
        answers.flush()


class Side:
    """One checkout's process."""

    def __init__(self, python: Path | str, keep_path: bool) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        if not keep_path:  # the other checkout's own package, not this one's
            environment.pop("PYTHONPATH", None)
        self._process = subprocess.Popen(
            [str(python), str(Path(__file__).resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )

    def ask(self, name: str, work: dict[str, Any]) -> Answer:
        """Have one round done; RuntimeError when the process ended."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"round": name, "work": work}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args}: ended with {self._process.wait()}; run it by hand to see why")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def compare(name: str, baseline: Path, works: list[dict[str, Any]]) -> dict[str, Any]:
    """Do each of `works` in both checkouts, in turn; the first one warms both up and counts only for its bytes.

    Medians of the processor time of one item in ms (and of the clock's, where it counts), the ratio baseline / here
    (median, lowest and highest of the rounds), and whether all bytes were equal.
    """
    python = baseline / ".venv" / "bin" / "python"
    if not python.exists():
        sys.exit(f"--baseline {baseline}: has no {python}; run `make setup` there")
    sides = (Side(python, keep_path=False), Side(sys.executable, keep_path=True))
    try:
        rounds = []
        for number, work in enumerate(works):
            order = sides if number % 2 else sides[::-1]
            answers = {side: side.ask(name, work) for side in order}
            rounds.append(tuple(answers[side] for side in sides))
    finally:
        for side in sides:
            side.close()
    return {
        "rounds": len(rounds) - 1,
        **_figures("cpu_ms", "ratio", rounds[1:]),
        **(_figures("wall_ms", "wall_ratio", rounds[1:]) if "wall_ms" in rounds[0][1] else {}),
        "equal_bytes": [before["sha256"] == after["sha256"] for before, after in rounds],
        "sha256": [after["sha256"] for _, after in rounds],
    }


def _figures(time_of: str, ratio: str, rounds: list[tuple[Answer, ...]]) -> dict[str, float]:
    ratios = [before[time_of] / after[time_of] for before, after in rounds]
    return {
        f"baseline_{time_of}": statistics.median(before[time_of] for before, _ in rounds),
        time_of: statistics.median(after[time_of] for _, after in rounds),
        ratio: statistics.median(ratios),
        f"{ratio}_lowest": min(ratios),
        f"{ratio}_highest": max(ratios),
    }


if __name__ == "__main__":
    _answer_requests()
