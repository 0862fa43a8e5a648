"""HO3D's evaluation split scored: seconds and memory, against a plain per-frame scorer written with SciPy.

    python benchmarks/evaluation.py [--frames 11524] [--sample 60]     writes benchmarks/evaluation.json beside itself

The files are made here: random posed stand-in hands, predictions with 6 mm of noise, printed with 8 digits as
pred.json is. `h2o evaluate` runs in its own process, so that its peak memory is its own. The plain scorer does per
frame what the official script does (Procrustes with SciPy, nearest neighbours with k-d trees) on a sample of the same
frames, without reading JSON; its time is scaled to all frames.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from h2onet.evaluation.ho3d.files import from_camera, load_ground_truth, load_predictions, write_ho3d
from h2onet.evaluation.ho3d.official import official_scores
from h2onet.hand.mano import load_hand
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import KDTree


def make_files(folder: Path, frames: int) -> None:
    """evaluation_xyz.json, evaluation_verts.json and pred.json of `frames` random hands."""
    hand, rng = load_hand("standin"), np.random.default_rng(0)
    joints, vertices = [], []
    for start in range(0, frames, 500):
        count = min(500, frames - start)
        pose = torch.from_numpy(rng.normal(0, 0.3, (count, 48))).float()
        place = torch.from_numpy(rng.normal([0, 0, 0.6], 0.05, (count, 3))).float()
        mesh = hand(pose, torch.zeros(count, 10), place, tips="ho3d")
        joints.append(mesh.joints.double().numpy())
        vertices.append(mesh.vertices.double().numpy())
    points = np.concatenate(joints), np.concatenate(vertices)
    truth = from_camera(*points)
    for name, part in (("xyz", truth.joints), ("verts", truth.vertices)):
        with (folder / f"evaluation_{name}.json").open("w") as file:
            for n, frame in enumerate(part):
                file.write(("[" if n == 0 else ", ") + json.dumps(frame.tolist()))
            file.write("]")
    noisy = [part + rng.normal(0, 0.006, part.shape) for part in points]
    write_ho3d(folder / "pred.json", *noisy)


def aligned(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Procrustes with scale of one frame."""
    t_mean, p_mean = truth.mean(0), predicted.mean(0)
    t, p = truth - t_mean, predicted - p_mean
    t_norm, p_norm = np.linalg.norm(t) + 1e-8, np.linalg.norm(p) + 1e-8
    rotation, scale = orthogonal_procrustes(t / t_norm, p / p_norm)
    return (p / p_norm) @ rotation.T * scale * t_norm + t_mean


def f_score(truth: np.ndarray, predicted: np.ndarray, limit: float) -> float:
    """F-score of one frame."""
    precision = (KDTree(truth).query(predicted)[0] < limit).mean()
    recall = (KDTree(predicted).query(truth)[0] < limit).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def plain_scores(joints: tuple, vertices: tuple) -> dict[str, float]:
    """The official values of a list of frames, one frame after the other."""
    rows = []
    for n in range(len(joints[0])):
        p, t, pv, tv = joints[0][n], joints[1][n], vertices[0][n], vertices[1][n]
        pva = aligned(tv, pv)
        scale = np.linalg.norm(t[4] - t[0]) / np.linalg.norm(p[4] - p[0])
        moved = (p - p[0]) * scale + t[0]
        rows.append(
            [
                np.linalg.norm(p - t, axis=1).mean(),
                np.linalg.norm(aligned(t, p) - t, axis=1).mean(),
                np.linalg.norm(moved - t, axis=1).mean(),
                np.linalg.norm(pv - tv, axis=1).mean(),
                np.linalg.norm(pva - tv, axis=1).mean(),
                *(f_score(tv, points, limit) for limit in (0.005, 0.015) for points in (pv, pva)),
            ]
        )
    names = ["xyz_mean3d", "xyz_procrustes_al_mean3d", "xyz_scale_trans_al_mean3d", "mesh_mean3d", "mesh_al_mean3d"]
    names += ["f_score_5", "f_al_score_5", "f_score_15", "f_al_score_15"]
    means = np.array(rows).mean(0) * ([100.0] * 5 + [1.0] * 4)
    return dict(zip(names, means.tolist(), strict=True))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--frames", type=int, default=11_524)
    arguments.add_argument("--sample", type=int, default=60)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_files(folder, chosen.frames)
        sizes = {path.name: path.stat().st_size for path in sorted(folder.glob("*.json"))}
        command = [sys.executable, "-m", "h2onet.cli", "evaluate", "--predictions", str(folder / "pred.json")]
        command += ["--ground-truth", name, "--dataset", "ho3d-v2", "--out", str(folder / "out")]
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
        used = resource.getrusage(resource.RUSAGE_CHILDREN)

        truth = load_ground_truth(folder)
        predicted = load_predictions(folder / "pred.json")[0]
    sample = np.linspace(0, chosen.frames - 1, chosen.sample).astype(int)
    some, true = predicted.select(sample), truth.select(sample)
    began = time.perf_counter()
    plain = plain_scores((some.joints, true.joints), (some.vertices, true.vertices))
    plain_each = (time.perf_counter() - began) / len(sample)
    ours = official_scores(some, true)
    result = {
        "frames": chosen.frames,
        "json_bytes": sizes,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_rss_gb": round(used.ru_maxrss / 2**20, 2),
        "plain_scorer_seconds_per_frame": round(plain_each, 4),
        "plain_scorer_seconds_for_all": round(plain_each * chosen.frames, 1),
        "ratio": round(plain_each * chosen.frames / seconds, 1),
        "largest_difference_on_sample": max(abs(plain[name] - ours[name]) for name in plain),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
    }
    print(json.dumps(result, indent=2))
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
