#!/usr/bin/env bash
# FINDING: trimesh reads an OBJ file with tabs between the numbers, of its points or its faces, as an empty mesh, and says nothing.
#
# The format asks for white space of any kind. With tabs in either kind of line the result is a mesh of 0 points and 0
# faces; no error and no warning. meshio reads the same files whole.
# It matters for hand-object data because object models come from many scanners and converters: an object without faces
# hides nothing and is touched by nothing, so that occlusion labels and contacts are quietly those of an empty hand.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check numpy==2.4.6 trimesh==5.2.0 meshio==5.3.5
cd "$work"

venv/bin/python -W error - <<'PY'
from importlib.metadata import version

import meshio
import numpy as np
import trimesh

box = trimesh.creation.box((0.06, 0.16, 0.21))  # about a cracker box, m
points = [f"v {x:.4f} {y:.4f} {z:.4f}" for x, y, z in box.vertices]
faces = [f"f {a} {b} {c}" for a, b, c in box.faces + 1]


def tabs(lines):
    return [line.replace(" ", "\t") for line in lines]


print("trimesh", version("trimesh"), " meshio", version("meshio"), f" every file: {len(points)} points, {len(faces)} faces")
found = {}
for name, lines in {
    "spaces": points + faces,
    "tabs in the points": tabs(points) + faces,
    "tabs in the faces": points + tabs(faces),
}.items():
    with open("box.obj", "w") as file:
        file.write("\n".join(lines) + "\n")
    mesh = trimesh.load_mesh("box.obj", process=False)
    other = meshio.read("box.obj")
    found[name] = len(mesh.vertices), len(np.asarray(getattr(mesh, "faces", [])))
    whole = len(other.points), sum(len(block.data) for block in other.cells)
    print(f"  {name:20s} trimesh: a {type(mesh).__name__} of {found[name]}; meshio: {whole}")
    assert whole == (8, 12), whole

assert found == {"spaces": (8, 12), "tabs in the points": (0, 0), "tabs in the faces": (0, 0)}, found
print("still so: with tabs in points or faces the mesh is empty, and nothing is said")
PY
