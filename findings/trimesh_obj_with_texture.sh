#!/usr/bin/env bash
# FINDING: trimesh's process=False does not keep the vertices of a textured OBJ file as they are: seams of the texture add vertices; and meshio refuses such a file.
#
# In an OBJ file a vertex on a seam has one position and two texture coordinates. trimesh copies it for each of them, with
# process=False as without; maintain_order=True is what keeps the file's vertices (and gives up the texture at the seam).
# With two materials the result of load() is a Scene of two meshes, whose vertices are those of the file no more in any
# setting shown here. meshio raises because there are more texture coordinates than points.
# It matters for hand-object data because object models (YCB's among them) come as textured OBJ: vertex indices of contact
# maps and keypoints point elsewhere than in the file, ADD and Chamfer distances count the seam twice, and process=False
# is widely held to be the remedy.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check \
    numpy==2.4.6 pillow==13.0.0 trimesh==5.2.0 meshio==5.3.5
cd "$work"

venv/bin/python -W ignore - <<'PY'
from importlib.metadata import version

import meshio
import numpy as np
import trimesh
from PIL import Image

AROUND, RINGS = 24, 12


def write(path, materials):
    """A tube whose texture meets itself in one line: AROUND * RINGS vertices, (AROUND + 1) * RINGS texture points."""
    angles = np.arange(AROUND) / AROUND * 2 * np.pi
    points = [(0.03 * np.cos(a), 0.03 * np.sin(a), 0.01 * ring) for ring in range(RINGS) for a in angles]
    lines = ["mtllib object.mtl", *(f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in points)]
    lines += [f"vt {i / AROUND:.6f} {ring / RINGS:.6f}" for ring in range(RINGS) for i in range(AROUND + 1)]
    for ring in range(RINGS - 1):
        if ring % -(-(RINGS - 1) // materials) == 0:
            lines.append(f"usemtl part{ring // -(-(RINGS - 1) // materials)}")
        for i in range(AROUND):
            corners = [(ring, i), (ring, i + 1), (ring + 1, i + 1), (ring + 1, i)]
            names = [f"{r * AROUND + c % AROUND + 1}/{r * (AROUND + 1) + c + 1}" for r, c in corners]
            lines += [f"f {names[0]} {names[1]} {names[2]}", f"f {names[0]} {names[2]} {names[3]}"]
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")
    return np.array(points)


Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save("object.png")
with open("object.mtl", "w") as file:
    file.write("".join(f"newmtl part{i}\nKd 1 1 1\nmap_Kd object.png\n" for i in range(2)))
points = write("one.obj", 1)
write("two.obj", 2)

print("trimesh", version("trimesh"), " meshio", version("meshio"), f" the file has {len(points)} vertices")
settings = {"as it comes": {}, "process=False": {"process": False}, "maintain_order=True": {"maintain_order": True}}
counts = {}
for name, chosen in settings.items():
    mesh = trimesh.load("one.obj", **chosen)
    scene = trimesh.load("two.obj", **chosen)
    counts[name] = len(mesh.vertices), [len(part.vertices) for part in scene.geometry.values()]
    print(f"  {name:20s} {counts[name][0]} vertices; with two materials a {type(scene).__name__} of {counts[name][1]}")
in_order = trimesh.load("one.obj", maintain_order=True).vertices
kept = in_order.shape == points.shape and np.allclose(in_order, points, atol=1e-6)
print("  maintain_order=True: vertices as in the file:", kept)
try:
    meshio.read("one.obj")
    refused = ""
except ValueError as error:
    refused = str(error)
print("  meshio:", refused or "reads the file")

assert counts["as it comes"][0] == counts["process=False"][0] == (AROUND + 1) * RINGS, "seams are treated otherwise now"
assert kept
assert all(len(parts) == 2 and sum(parts) > len(points) for _, parts in counts.values())
assert "obj:vt" in refused, "meshio reads texture seams now"
PY
