#!/usr/bin/env bash
# FINDING: smplx's MANO and MANOLayer, built with the same arguments, pose the same angles differently: flat_hand_mean=False adds the mean pose in MANO and is ignored by MANOLayer.
#
# smplx.create() and smplx.build_layer() differ as it seems only in angles against rotation matrices. But the layer also
# leaves out the hand's mean pose that flat_hand_mean=False (the default) asks for, while it reports "Flat hand mean:
# False"; and its pose of nothing given is the flat hand where the module's is the mean one. Besides, MANO's own output
# full_pose already holds the mean: passed in again, the mean is added a second time. The hand here is a made-up one in
# MANO's file format, torch is a CPU build.
# It matters for hand-object data because a fit made with the one and replayed with the other is bent by the mean pose,
# centimetres at the fingertips, and looks natural all the same.
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
from scipy.spatial.transform import Rotation

rng = np.random.default_rng(0)
parents = np.array([2**32 - 1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14], np.uint32)
regressor = rng.random((16, 778))
hand = {  # random numbers in MANO's form; the mean pose is what counts here
    "v_template": rng.normal(0, 0.05, (778, 3)),
    "f": rng.integers(0, 778, (1538, 3)).astype(np.uint32),
    "shapedirs": rng.normal(0, 0.003, (778, 3, 10)),
    "posedirs": np.zeros((778, 3, 135)),
    "J_regressor": regressor / regressor.sum(1, keepdims=True),
    "weights": rng.dirichlet(np.full(16, 0.2), 778),
    "kintree_table": np.stack([parents, np.arange(16, dtype=np.uint32)]),
    "hands_components": np.eye(45),
    "hands_mean": rng.normal(0, 0.2, 45),
}
with open("MANO_RIGHT.pkl", "wb") as file:
    pickle.dump(hand, file)

settings = {"model_type": "mano", "use_pca": False, "flat_hand_mean": False}
with contextlib.redirect_stdout(io.StringIO()):
    module = smplx.create("MANO_RIGHT.pkl", **settings)
    layer = smplx.build_layer("MANO_RIGHT.pkl", **settings)


def by_module(angles):
    with torch.no_grad():
        return module(hand_pose=torch.tensor(angles[None], dtype=torch.float32), return_full_pose=True)


def by_layer(angles):
    turns = Rotation.from_rotvec(angles.reshape(15, 3)).as_matrix()
    with torch.no_grad():
        return layer(hand_pose=torch.tensor(turns[None], dtype=torch.float32))


def apart(a, b):
    return 1e3 * (a.vertices - b.vertices).norm(dim=-1).max().item()


angles, mean = rng.normal(0, 0.3, 45), hand["hands_mean"]
same = apart(by_module(angles), by_layer(angles))
added = apart(by_module(angles), by_layer(angles + mean))
with torch.no_grad():
    nothing = apart(module(), layer())
again = apart(by_module(angles), by_module(by_module(angles).full_pose[0, 3:].numpy()))

print("smplx", version("smplx"), " torch", torch.__version__, " both built with", settings)
print("the layer says:", layer.extra_repr().splitlines()[-1])
print(f"  same angles:                                   {same:8.3f} mm apart")
print(f"  mean added by hand for the layer:              {added:8.3f} mm apart")
print(f"  no pose given:                                 {nothing:8.3f} mm apart")
print(f"  module, its own full_pose passed in again:     {again:8.3f} mm apart")

assert "Flat hand mean: False" in layer.extra_repr()
assert added < 0.01
assert same > 10 and nothing > 10, "MANOLayer and MANO agree about the mean now"
assert again > 10, "full_pose can be passed in again now"
PY
