#!/usr/bin/env bash
# FINDING: webdataset writes four samples whose keys hold a dot and reads back one: everything behind the FIRST dot of a file name counts as its ending.
#
# The writer takes any key. The reader groups neighbouring files by what stands before the first dot of the name, so that
# all frames of "subject.1_000000", "subject.1_000001", ... become one sample named "subject", with fields such as
# "1_000000.jpg". No error, no warning; a loader that decodes by the field "jpg" then finds none.
# It matters for hand-object data because sequence names hold dots easily (dates, lens factors, versions, camera names,
# "cam0.25s"), and a path of recording, camera and frame joined with dots turns a whole recording into one sample.
# Dots in the folder part of the key are harmless.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check numpy==2.4.6 webdataset==1.0.2
cd "$work"

venv/bin/python - <<'PY'
from importlib.metadata import version

import numpy as np
import webdataset as wds

FRAMES = 4


def written_and_read(pattern):
    """Write one sample per frame and return (key, fields) of every sample that is read back."""
    with wds.TarWriter("shard.tar") as writer:
        for frame in range(FRAMES):
            joints = np.full((21, 3), frame, np.float32)
            writer.write({"__key__": pattern.format(frame), "jpg": b"picture", "joints.npy": joints})
    samples = wds.WebDataset("shard.tar", shardshuffle=False)
    return [(s["__key__"], [k for k in s if not k.startswith("__")]) for s in samples]


print("webdataset", version("webdataset"))
read = {}
for pattern in ("subject-1_{:06d}", "subject.1/frame_{:06d}", "subject.1_{:06d}"):
    read[pattern] = written_and_read(pattern)
    print(f"{pattern}: wrote {FRAMES} samples, read {len(read[pattern])}")
    for key, fields in read[pattern][:2]:
        print("   ", key, fields)

assert len(read["subject-1_{:06d}"]) == FRAMES
assert len(read["subject.1/frame_{:06d}"]) == FRAMES
dotted = read["subject.1_{:06d}"]
assert len(dotted) == 1 and dotted[0][0] == "subject", "keys with dots are grouped differently now"
assert "jpg" not in dotted[0][1] and len(dotted[0][1]) == 2 * FRAMES
PY
