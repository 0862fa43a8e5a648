#!/usr/bin/env bash
# FINDING: trimesh gives a volume for an open mesh without a word, and that volume depends on where the mesh stands: the same hand has 200 cm3 at the origin and -500 cm3 in front of a camera.
#
# volume and center_mass sum signed tetrahedra between each triangle and the origin, which is the volume only for a closed
# surface. MANO's hand is open at the wrist. A finger-like tube that is cut open serves here: closed (cap=True) its volume
# stays the same wherever it is moved, open it does not, and can be negative. is_watertight and is_volume say False, but
# nobody is asked to look. Likewise contains() misses a fifth of the points inside.
# It matters for hand-object data because penetration volumes, hand masses and "is this object point inside the hand" are
# computed on exactly such meshes, in camera coordinates, half a metre and more from the origin. Close the wrist first.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check \
    numpy==2.4.6 scipy==1.17.1 networkx==3.6.1 shapely==2.1.2 mapbox-earcut==1.0.3 rtree==1.4.1 trimesh==5.2.0
cd "$work"

venv/bin/python - <<'PY'
from importlib.metadata import version

import numpy as np
import trimesh

whole = trimesh.creation.capsule(height=0.1, radius=0.03, count=[32, 32])
cut = {"plane_origin": [0, 0, 0], "plane_normal": [0, 0, 1]}
meshes = {"open": whole.slice_plane(**cut), "closed": whole.slice_plane(**cut, cap=True)}
turn = trimesh.transformations.rotation_matrix(1.1, [1, 2, 0.5])

print("trimesh", version("trimesh"))
volumes, centres, inside = {}, {}, {}
for name, mesh in meshes.items():
    places = ([0, 0, 0], [0.1, 0, 0.5], [0.3, 0.1, 0.8], [-0.3, 0.1, 0.8])
    moved = [mesh.copy().apply_transform(turn).apply_translation(place) for place in places]
    volumes[name] = np.array([m.volume for m in moved]) * 1e6
    centres[name] = np.array([m.center_mass - place for m, place in zip(moved, places, strict=True)])
    probe = np.random.default_rng(0).uniform(*moved[0].bounds, (2000, 3))
    inside[name] = moved[0].contains(probe)
    print(f"  {name:6s} is_volume {mesh.is_volume!s:5s} volume at four places {volumes[name].round(1)} cm3")
missed = 1 - (inside["open"] & inside["closed"]).sum() / inside["closed"].sum()
drift = np.linalg.norm(centres["open"] - centres["closed"], axis=1).max()
print(f"  centre of mass of the open one: up to {1e3 * drift:.0f} mm off")
print(f"  contains() of the open one misses {100 * missed:.0f} % of {inside['closed'].sum()} points inside")

assert meshes["closed"].is_volume and not meshes["open"].is_volume
assert np.ptp(volumes["closed"]) < 0.01 * volumes["closed"][0]
assert np.ptp(volumes["open"]) > 3 * volumes["closed"][0], "the volume of an open mesh no longer depends on its place"
assert drift > 0.1 and missed > 0.1
PY
