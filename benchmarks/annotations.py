"""Reading HandOccNet's annotation JSON: time and peak memory of this project's index against plain `json`, in one run.

    python benchmarks/annotations.py [--annotations 400000] [--out annotations.json]

Synthesizes a file of that many annotations (about 4 KB each, as in DexYCB's) in a temporary folder, reads it in a fresh
process per method, prints and writes seconds, megabytes and ratios. "index" is what `h2o prepare-labels --annotations`
builds; "decoded" also decodes every annotation into arrays, as all workers together do.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

_MEASURE = """
    import json, resource, sys, time
    from pathlib import Path
    path, method = Path(sys.argv[1]), sys.argv[2]
    from h2onet.data.readers import handoccnet_index as annotation_index
    from h2onet.data.readers import handoccnet as annotated_frames
    from h2onet.data.readers.json_scan import read_entries
    import numpy as np
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    if method == "json":
        with path.open() as file:
            count = len(json.load(file)["annotations"])
    else:
        index = annotation_index.index_annotations(path, "dexycb")
        count = len(index.ranges)
        if method == "decoded":
            for entry in read_entries(path, index.ranges):
                annotation = annotated_frames.decode_annotation(entry)
                np.asarray(annotation.joints_coord_cam)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": seconds, "peak_mb": peak / 1024, "imports_mb": before / 1024, "annotations": count}))
"""


def synthesize(path: Path, count: int) -> None:
    """Write a file in HandOccNet's form with random numbers of full precision; 72 frames per camera sequence."""
    rng = random.Random(0)

    def numbers(n: int) -> list[float]:
        return [rng.uniform(-2.0, 2.0) for _ in range(n)]

    def name(i: int) -> str:
        sequence, frame = divmod(i, 72)
        return f"20200709-subject-01/20200709_{sequence // 8:06d}/83621206{sequence % 8:04d}/color_{frame:06d}.jpg"

    # A few hundred different entries, written over and over: the reader cannot tell, and the file is made in a minute.
    pool = []
    for _ in range(300):
        entry = {
            "joints_coord_cam": [numbers(3) for _ in range(21)],
            "joints_img": [numbers(2) for _ in range(21)],
            "cam_param": {"focal": numbers(2), "princpt": numbers(2)},
            "mano_param": {"pose": numbers(48), "shape": numbers(10)},
            "hand_type": "left",
            "bbox": numbers(4),
            "iscrowd": 0,
            "area": 1.0,
            "category_id": 1,
        }
        pool.append(json.dumps(entry)[1:])
    with path.open("w") as file:
        file.write('{"images": [')
        for i in range(count):
            image = {"id": i, "file_name": name(i), "width": 640, "height": 480}
            file.write(("" if i == 0 else ", ") + json.dumps(image))
        file.write('], "annotations": [')
        for i in range(count):
            file.write(("" if i == 0 else ", ") + f'{{"id": {i}, "image_id": {i}, ' + pool[i % len(pool)])
        file.write("]}")


def measure(path: Path, method: str) -> dict[str, float]:
    """Read the file in a process of its own: {"seconds", "peak_mb", "imports_mb", "annotations"}."""
    command = [sys.executable, "-c", textwrap.dedent(_MEASURE), str(path), method]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(result.stdout)


def main() -> None:
    """Synthesize, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=int, default=400_000)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/annotations.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "annotations.json"
        synthesize(path, options.annotations)
        results = {"annotations": options.annotations, "file_mb": path.stat().st_size / 2**20}
        with path.open("rb") as file:  # everybody finds the file in the page cache
            while file.read(1 << 20):
                pass
        methods = {method: measure(path, method) for method in ("index", "decoded", "json")}
    per_200k = methods["index"]["seconds"] * 200_000 / options.annotations
    results |= {"methods": methods, "index_seconds_per_200k": per_200k}
    results["times_faster_than_json"] = methods["json"]["seconds"] / methods["index"]["seconds"]
    results["times_less_memory_than_json"] = methods["json"]["peak_mb"] / methods["index"]["peak_mb"]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(f"{options.annotations} annotations, {results['file_mb']:.0f} MB")
    for method, values in methods.items():
        print(f"{method:8s} {values['seconds']:7.1f} s   peak {values['peak_mb']:7.0f} MB")
    print(f"index: {per_200k:.1f} s per 200k annotations, {results['times_faster_than_json']:.1f}x faster than json,")
    print(f"       {results['times_less_memory_than_json']:.1f}x less memory; written to {options.out}")


if __name__ == "__main__":
    main()
