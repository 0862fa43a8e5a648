#!/usr/bin/env bash
# FINDING: trimesh writes one uint8 label per vertex into a GLB file as four columns, and reads back (vertices, 4) instead of (vertices,).
#
# glTF wants every vertex's attribute to start at a multiple of four bytes. trimesh gets there by padding each row with
# zeros and declaring the padding as content: one uint8 becomes VEC4, one uint16 VEC2, three uint8 VEC4. The file itself
# says so, so every other reader sees the extra columns, too. float32 and uint32 labels keep their shape (with an axis of
# 1 at the end).
# It matters for hand-object data because part ids, occlusion labels and contact flags per vertex are uint8: code that
# flattens the column gets four times as many labels, most of them 0 (which usually means visible, or no contact), and
# the first 778 of them belong to the first 195 vertices.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check numpy==2.4.6 trimesh==5.2.0 pygltflib==1.16.5
cd "$work"

venv/bin/python - <<'PY'
import io
from importlib.metadata import version

import numpy as np
import pygltflib
import trimesh

mesh = trimesh.creation.icosphere(subdivisions=2, radius=0.05)
count = len(mesh.vertices)


def there_and_back(labels):
    """Type that the file declares, as a parser of the bare format sees it, and the array that trimesh reads back."""
    labelled = mesh.copy()
    labelled.vertex_attributes["_part"] = labels
    data = labelled.export(file_type="glb")
    file = pygltflib.GLTF2.load_from_bytes(data)
    accessor = file.accessors[vars(file.meshes[0].primitives[0].attributes)["_part"]]
    scene = trimesh.load_scene(io.BytesIO(data), file_type="glb")
    return accessor.type, next(iter(scene.geometry.values())).vertex_attributes["_part"]


print("trimesh", version("trimesh"), f" labels of {count} vertices")
found = {}
for kind in (np.uint8, np.uint16, np.uint32, np.float32):
    labels = (1 + np.arange(count) % 6).astype(kind)
    declared, back = found[kind] = there_and_back(labels)
    print(f"  {np.dtype(kind).name:8s} wrote {labels.shape}  file {declared:6s}  read {back.shape}  starts {back.ravel()[:5]}")

for kind, (declared, width) in {np.uint8: ("VEC4", 4), np.uint16: ("VEC2", 2)}.items():
    assert found[kind][0] == declared and found[kind][1].shape == (count, width), "small labels keep their shape now"
    assert not found[kind][1][:, 1:].any() and (found[kind][1][:, 0] == 1 + np.arange(count) % 6).all()
for kind in (np.uint32, np.float32):
    assert found[kind][0] == "SCALAR" and found[kind][1].shape == (count, 1)
PY
