#!/usr/bin/env bash
# FINDING: a Zarr store that lost a chunk reads as zeros without an error, and tensorstore's strict mode cannot find the loss, because zarr leaves out chunks of zeros on purpose.
#
# The format says that an absent chunk stands for the fill value. zarr-python therefore does not write chunks that hold
# only zeros (write_empty_chunks=False by default), and nobody can tell "all zero" from "lost in the copy". tensorstore
# can be told to refuse absent chunks (fill_missing_data_reads=False): it then refuses healthy stores as well, unless
# they were written with write_empty_chunks=True, which makes both kinds of store distinguishable.
# It matters for hand-object data because zero is a label there: an occlusion flag of 0 says "visible", a joint at 0 is
# the wrist. A download that broke off trains a network on frames where every finger is visible.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check numpy==2.4.6 zarr==3.1.6 tensorstore==0.1.86
cd "$work"

venv/bin/python - <<'PY'
import os
from importlib.metadata import version

import numpy as np
import tensorstore
import zarr

occluded = np.zeros((1000, 7), np.uint8)
occluded[500:] = 1  # the first 500 frames show the whole hand


def strict(path):
    """What tensorstore says when absent chunks are to be errors: "" when it reads everything."""
    spec = {"driver": "zarr3", "kvstore": f"file://{os.path.abspath(path)}", "fill_missing_data_reads": False}
    try:
        tensorstore.open(spec).result()[:].read().result()
    except ValueError as error:
        return str(error).split(" stored at")[0]
    return ""


def write(path, **config):
    array = zarr.create_array(path, shape=(1000, 7), chunks=(100, 7), dtype="u1", config=config or None)
    array[:] = occluded


print("zarr", version("zarr"), " tensorstore", version("tensorstore"))
write("healthy.zarr")
healthy = strict("healthy.zarr")
chunks = sorted(os.listdir("healthy.zarr/c"))
print("healthy store: chunks on disk", chunks, "of 0 to 9; strict:", healthy or "reads")

os.remove("healthy.zarr/c/7/0")
damaged = zarr.open_array("healthy.zarr", mode="r")[:]
print("chunk 7 removed: zarr reads rows 700 to 799 as", np.unique(damaged[700:800]), "instead of", np.unique(occluded[700:800]))

write("full.zarr", write_empty_chunks=True)
full = strict("full.zarr")
os.remove("full.zarr/c/7/0")
lost = strict("full.zarr")
print("written with write_empty_chunks=True: strict:", full or "reads", "; chunk 7 removed, strict:", lost or "reads")

assert chunks == ["5", "6", "7", "8", "9"], "zarr writes chunks of zeros now"
assert (damaged[700:800] == 0).all() and (damaged[800:] == 1).all(), "zarr notices a lost chunk now"
assert "NOT_FOUND" in healthy and not full and "NOT_FOUND" in lost
PY
