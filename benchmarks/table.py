"""What `h2o prepare-labels --dataset table` does before its first task: time and peak memory of listing a table.

    python benchmarks/table.py [--rows 400000] [--runs 3] [--parquet] [--out table.json]

Writes a table of that many rows (pose, joints, pixels, three objects: about 4.6 kB each as JSON) into a temporary
folder, and runs the command in a fresh process that ends where the first task would start. "whole" is from the start of
the process, imports included; "listing" is the reading of the table alone. Both in seconds and in seconds of CPU, which
say more on a machine that does other things as well.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import numpy as np
from h2onet.pipeline.table_files import rows_file

FRAMES = 72
"""Of a camera sequence."""
_MEASURE = """
    import json, os, resource, sys, time
    from pathlib import Path
    root, out, started = sys.argv[1], sys.argv[2], float(sys.argv[3])
    from h2onet.pipeline import label_settings, prepare_labels as command
    inner, listing = label_settings.list_sequences, []

    def listed(*given):
        begun = (time.perf_counter(), time.process_time())
        found = inner(*given)
        listing.extend((time.perf_counter() - begun[0], time.process_time() - begun[1]))
        return found

    def stop(settings, job, tasks):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        whole = {"whole_s": time.time() - started, "whole_cpu_s": time.process_time()}
        whole |= {"listing_s": listing[0], "listing_cpu_s": listing[1], "peak_mb": peak}
        print(json.dumps(whole | {"frames": sum(map(len, tasks))}), flush=True)
        os._exit(0)

    label_settings.list_sequences, command._run = listed, stop
    command.prepare_labels(
        command.LabelSettings("table", Path(root), "train", "standin", Path(out), objects=Path(root) / "models")
    )
"""


def write(root: Path, count: int, suffix: str) -> int:
    """A table of random hands, 72 frames to a camera sequence, with one photo; returns the bytes of its rows."""
    rng = np.random.default_rng(0)

    def numbers(*shape: int) -> list:
        return rng.normal(0, 0.4, shape).astype(np.float32).astype(np.float64).tolist()

    pool = [
        {
            "side": "right",
            "split": "train",
            "intrinsics": [613.1, 611.9, 313.0, 245.0],
            "mano_pose": numbers(48),
            "mano_shape": numbers(10),
            "translation": numbers(3),
            "joints": numbers(21, 3),
            "joints_2d": numbers(21, 2),
            "objects": [{"name": f"object_{i}", "pose": numbers(3, 4)} for i in range(3)],
            "grasped": 0,
        }
        for _ in range(300)
    ]
    path = root / f"frames.{suffix}"
    with rows_file(path) as target:
        for number in range(count):
            recording, frame = divmod(number, FRAMES)
            sequence, camera = f"subject-{recording // 800:02d}/recording-{recording // 8:06d}", f"{recording % 8}"
            image = f"{sequence}/{camera}/color_{frame:06d}.jpg"
            names = {"sequence": sequence, "camera": camera, "frame": frame, "image": image}
            target.write(names | pool[number % len(pool)])
    (root / "dataset.toml").write_text('name = "random"\nunits = "m"\nsize = [640, 480]\n')
    mesh = root / "models/object_0/textured_simple.obj"
    photo = root / "subject-00/recording-000000/0/color_000000.jpg"
    for file in (mesh, photo):
        file.parent.mkdir(parents=True)
        file.touch()
    return path.stat().st_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--parquet", action="store_true", help="frames.parquet instead of frames.jsonl")
    parser.add_argument("--out", type=Path, help="JSON to write")
    options = parser.parse_args()
    suffix = "parquet" if options.parquet else "jsonl"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "table"
        root.mkdir()
        size = write(root, options.rows, suffix)
        print(f"{options.rows} rows, {size / 1e6:.0f} MB of frames.{suffix}")
        runs = []
        for run in range(options.runs):
            arguments = [str(root), str(Path(folder) / f"{run}.zarr"), str(time.time())]
            command = [sys.executable, "-c", textwrap.dedent(_MEASURE), *arguments]
            runs.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            assert runs[-1]["frames"] == options.rows
            times = (
                "whole {whole_s:.1f} s ({whole_cpu_s:.1f} s of CPU), listing {listing_s:.1f} s ({listing_cpu_s:.1f} s)"
            )
            print(f"{times}, peak {{peak_mb:.0f}} MB".format(**runs[-1]), flush=True)
    if options.out:
        options.out.write_text(
            json.dumps({"rows": options.rows, "bytes": size, "file": suffix, "runs": runs}, indent=2)
        )


if __name__ == "__main__":
    main()
