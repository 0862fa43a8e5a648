#!/usr/bin/env bash
# FINDING: smplx's MANO with use_pca=True and num_pca_comps=45 switches PCA off without a word and reads the 45 coefficients as joint angles.
#
# With 6 or 44 components coefficients are multiplied with the basis of the hand's file; with all 45 the same call takes
# them for axis-angles, although use_pca=True was asked for. Shapes fit, nothing is printed about it. The hand here is a
# made-up one in MANO's file format, torch is a CPU build.
# It matters for hand-object data because DexYCB stores exactly 45 PCA coefficients per frame: whoever passes them to
# smplx as they are gets a plausible hand in a wrong pose, centimetres off at the fingers. Multiply with hands_components
# oneself, or ask for 44 to see the difference.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check numpy==2.4.6 scipy==1.17.1 torch==2.13.0 smplx==0.1.28
cd "$work"

venv/bin/python - <<'PY'
import contextlib
import io
import pickle
from importlib.metadata import version

import numpy as np
import smplx
import torch

rng = np.random.default_rng(0)
parents = np.array([2**32 - 1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14], np.uint32)
regressor = rng.random((16, 778))
hand = {  # random numbers in MANO's form; basis and mean are what counts here
    "v_template": rng.normal(0, 0.05, (778, 3)),
    "f": rng.integers(0, 778, (1538, 3)).astype(np.uint32),
    "shapedirs": rng.normal(0, 0.003, (778, 3, 10)),
    "posedirs": np.zeros((778, 3, 135)),
    "J_regressor": regressor / regressor.sum(1, keepdims=True),
    "weights": rng.dirichlet(np.full(16, 0.2), 778),
    "kintree_table": np.stack([parents, np.arange(16, dtype=np.uint32)]),
    "hands_components": np.linalg.qr(rng.normal(size=(45, 45)))[0],
    "hands_mean": rng.normal(0, 0.2, 45),
}
with open("MANO_RIGHT.pkl", "wb") as file:
    pickle.dump(hand, file)


def model(**settings):
    with contextlib.redirect_stdout(io.StringIO()):
        return smplx.create("MANO_RIGHT.pkl", "mano", is_rhand=True, **settings)


def vertices(layer, pose):
    with torch.no_grad():
        return layer(hand_pose=torch.tensor(pose, dtype=torch.float32)).vertices[0].numpy()


plain = model(use_pca=False, flat_hand_mean=True)
coefficients = rng.normal(0, 0.5, (1, 45))


def distance(count):
    """Largest distance in mm between smplx's hand and the one posed by mean + coefficients @ basis; PCA on or off."""
    layer = model(use_pca=True, num_pca_comps=count, flat_hand_mean=False)
    angles = coefficients[:, :count] @ hand["hands_components"][:count] + hand["hands_mean"]
    difference = vertices(layer, coefficients[:, :count]) - vertices(plain, angles)
    return 1e3 * np.linalg.norm(difference, axis=1).max(), layer.use_pca


print("smplx", version("smplx"), " torch", torch.__version__, " use_pca=True every time")
results = {count: distance(count) for count in (6, 44, 45)}
for count, (worst, on) in results.items():
    print(f"  num_pca_comps={count:2d}: use_pca is {on!s:5s} vertices off by at most {worst:8.4f} mm")
as_angles = vertices(plain, coefficients + hand["hands_mean"])
taken = vertices(model(use_pca=True, num_pca_comps=45, flat_hand_mean=False), coefficients)
print(f"  45 coefficients taken as angles + mean: {1e3 * np.abs(taken - as_angles).max():.4f} mm off what smplx returns")

assert results[6][1] and results[44][1] and max(results[6][0], results[44][0]) < 0.01
assert not results[45][1] and results[45][0] > 20, "num_pca_comps=45 is treated differently now"
assert np.abs(taken - as_angles).max() < 1e-6
PY
