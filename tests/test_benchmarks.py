"""The benchmark that is meant for another machine: it runs, reports whatever happens, and says what its figures are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("machine", "training", "loader", "inference")


def test_the_gpu_benchmark_reports_every_part_and_goes_on_after_one_failed(tmp_path):
    out = tmp_path / "gpu.json"
    words = ("--device", "cpu", "--smoke", "--json", out, "--only", *PARTS)
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks/gpu.py", *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
    )
    report = json.loads(out.read_text())
    assert report["device"] == "cpu" and report["smoke"] and report["width"] < 1 and "smoke" in report["note"]
    parts = report["parts"]
    assert tuple(parts) == PARTS
    # No clips were made: the part that needs them fails by name, and the others run.
    assert done.returncode == 1 and "failed: loader" in done.stdout, done
    assert {name: part["state"] for name, part in parts.items()} == {
        **dict.fromkeys(PARTS, "done"),
        "loader": "failed",
    }
    assert "needs the clips" in parts["loader"]["error"] and not parts["loader"]["figures"]
    for steps in parts["training"]["figures"].values():
        assert steps["images_per_s"] >= steps["samples_per_s"] > 0
    figures = parts["inference"]["figures"]
    assert figures["multi, folded, float32"]["streaming, batch 1"]["ms"] > 0
    for kind in ("single", "multi"):
        # Folded float32 against float64: rounding only.
        assert 0 < figures[f"{kind}, largest difference in mm"]["float32"] < 0.1


def test_what_is_left_after_alignment_in_2d_is_the_form(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from real_photos import aligned, share

    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 100, (5, 21, 2))
    angle, size = rng.uniform(0, 6, (5, 1)), rng.uniform(0.5, 2, (5, 1))
    x, y = truth[..., 0], truth[..., 1]
    turned = np.stack([np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y], -1)
    moved = size[..., None] * turned + rng.normal(0, 30, (5, 1, 2))
    assert share(moved, truth) > 0.2
    np.testing.assert_allclose(aligned(moved, truth), truth, atol=1e-9)
    mirrored = truth * [-1, 1]
    assert share(aligned(mirrored, truth), truth) > 0.1  # a mirrored hand is another one
    assert share(truth + np.array([10.0, 0.0]), truth) == pytest.approx(np.mean(10 / np.ptp(truth, axis=1).max(1)))
