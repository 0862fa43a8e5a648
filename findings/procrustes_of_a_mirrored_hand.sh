#!/usr/bin/env bash
# FINDING: scipy, trimesh and torchmetrics align a mirrored hand perfectly: their Procrustes allows reflections, so a left hand predicted for a right one has an aligned error of 0.
#
# scipy.spatial.procrustes, scipy.linalg.orthogonal_procrustes, trimesh.registration.procrustes (as it comes) and
# torchmetrics' procrustes_disparity search among rotations AND reflections. roma's registration, scipy's
# Rotation.align_vectors and trimesh with reflection=False turn only.
# It matters for hand-object data because PA-MPJPE and PA-MPVPE are often written with these functions: a network that returns
# the wrong side, or a loader that forgets to mirror back, scores 0 mm. Nearly flat hands gain by reflections, too, without
# anybody noticing, so that two evaluations of the same predictions disagree. torch is a CPU build here.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check \
    numpy==2.4.6 scipy==1.17.1 trimesh==5.2.0 roma==1.8.0 torch==2.13.0 torchmetrics==1.9.0
cd "$work"

venv/bin/python - <<'PY'
from importlib.metadata import version

import numpy as np
import roma
import scipy.linalg
import scipy.spatial
import torch
import trimesh
from scipy.spatial.transform import Rotation
from torchmetrics.functional.shape import procrustes_disparity

# 21 joints of an open right hand, metres: wrist, then five fingers of four joints that fan out and bend a little.
fan, steps = np.radians([50, 20, 5, -10, -25]), np.array([0.05, 0.085, 0.11, 0.13])
fingers = [[np.sin(a) * s, np.cos(a) * s, -4 * (s - 0.05) ** 2 - 0.02 * (i == 0)] for i, a in enumerate(fan) for s in steps]
right = np.array([[0, 0, 0], *fingers])
left = right * (-1, 1, 1)
truth, guess = right - right.mean(0), left - left.mean(0)


def millimetres(aligned):
    return 1e3 * np.linalg.norm(aligned - truth, axis=1).mean()


matrix, _, _ = trimesh.registration.procrustes(left, right)
only_turned, _, _ = trimesh.registration.procrustes(left, right, reflection=False)
orthogonal, _ = scipy.linalg.orthogonal_procrustes(guess, truth)
turn, _ = Rotation.align_vectors(truth, guess)
r, t, s = roma.rigid_points_registration(torch.tensor(left), torch.tensor(right), compute_scaling=True)

for name in ("scipy", "trimesh", "torchmetrics", "roma"):
    print(name, version(name), end="  ")
print("\nmirrored hand aligned with the true one, mean error of 21 joints:")
reflecting = {
    "trimesh.registration.procrustes": millimetres(trimesh.transform_points(left, matrix) - right.mean(0)),
    "scipy.linalg.orthogonal_procrustes": millimetres(guess @ orthogonal),
}
turning = {
    "trimesh, reflection=False": millimetres(trimesh.transform_points(left, only_turned) - right.mean(0)),
    "scipy Rotation.align_vectors": millimetres(turn.apply(guess)),
    "roma.rigid_points_registration": millimetres(s.item() * left @ r.numpy().T + t.numpy() - right.mean(0)),
}
for name, value in (reflecting | turning).items():
    print(f"  {name:36s} {value:6.2f} mm")
disparities = {
    "scipy.spatial.procrustes": scipy.spatial.procrustes(right, left)[2],
    "torchmetrics procrustes_disparity": procrustes_disparity(torch.tensor(right)[None], torch.tensor(left)[None]).item(),
}
for name, value in disparities.items():
    print(f"  {name:36s} disparity {value:.1e}")

assert np.linalg.det(orthogonal) < 0 and np.linalg.det(matrix[:3, :3]) < 0
assert all(value < 1e-6 for value in reflecting.values()), "a reflection is no longer allowed"
assert all(value < 1e-9 for value in disparities.values()), "a reflection is no longer allowed"
assert all(value > 2 for value in turning.values()), "an aligner that only turned reflects now"
PY
