"""Two checkouts side by side: each runs `labels_side.py` in a process of its own, and they take turns step by step."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from labels_side import STEPS


class Side:
    """A checkout's process; `python` is the interpreter of its environment."""

    def __init__(self, python: Path, *arguments: Path, package: str | None = None) -> None:
        # The baseline's own environment says which h2onet it imports; ours is inherited.
        environment = {name: value for name, value in os.environ.items() if package or name != "PYTHONPATH"}
        self._python = python
        program = Path(__file__).with_name("labels_side.py")
        self._process = subprocess.Popen(
            [python, program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.started: dict[str, Any] = self._answer()

    def ask(self, step: str) -> dict[str, float]:
        """What the process answers to the name of a step."""
        assert self._process.stdin is not None
        self._process.stdin.write(step + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._python}: its process ended without an answer")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def side_by_side(baseline: Path, root: Path, mano: Path, objects: Path, many: Path, folder: Path, rounds: int) -> dict:
    """Milliseconds of processor time per frame of every step in both checkouts, and their workers' memory."""
    common = (root, mano, objects, many)
    sides = {
        "before": Side(baseline / ".venv" / "bin" / "python", *common, folder / "before.zarr"),
        "now": Side(Path(sys.executable), *common, folder / "now.zarr", package="inherited"),
    }
    times: dict[str, dict[str, list[float]]] = {step: {name: [] for name in sides} for step in STEPS}
    for _ in range(rounds):
        for step in STEPS:
            for name, side in sides.items():
                times[step][name].append(side.ask(step)["ms"])
    memory = {name: side.ask("memory") for name, side in sides.items()}
    for side in sides.values():
        side.close()
    steps = {}
    for step, found in times.items():
        before, now = (statistics.median(found[name]) for name in ("before", "now"))
        steps[step] = {"before": before, "now": now, "ratio": before / now}
    kinds = {
        kind: {**{name: found[kind] for name, found in memory.items()}}
        | {"ratio": memory["now"][kind] / memory["before"][kind]}
        for kind in ("rss", "uss")
    }
    return {"frames": sides["now"].started, "cpu_ms_per_frame": steps, "worker_mb": kinds, "rounds": rounds}


def print_sides(result: dict) -> None:
    """Print the table."""
    print(f"\nprocessor time per frame, median of {result['rounds']} interleaved rounds; frames: {result['frames']}")
    print(f"{'':36}{'before ms':>10}{'now ms':>10}{'ratio':>8}")
    for step, found in result["cpu_ms_per_frame"].items():
        print(f"{step:36}{found['before']:10.3f}{found['now']:10.3f}{found['ratio']:8.2f}")
    for kind, found in result["worker_mb"].items():
        print(f"{'largest worker, MB ' + kind:36}{found['before']:10.0f}{found['now']:10.0f}{found['ratio']:8.2f}")
