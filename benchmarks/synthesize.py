"""How fast `h2o synthesize` writes photos with all labels, and where the time goes.

Run: python benchmarks/synthesize.py [--layout dexycb] [--workers 2] [--json FILE] [--baseline PATH [--rounds 5]]
Prints photos per second of a whole run (processes, start-up and models included) and of its steady part, and the
processor time of every step from a profiled run in one process: that figure also holds on a busy machine. With
`--baseline` only another checkout is compared with this one: in one process (see `beside.py`), and as the command with
its `--workers`, from its start to its end.
"""

import argparse
import cProfile
import json
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from beside import compare
from h2onet.data.synthesize import LAYOUTS, SynthesizeSettings, synthesize

STEPS = {  # step -> (file, function) whose cumulative time it is
    "grasp and motion": ("reach.py", "make_recording"),
    "posing the hand": ("performance.py", "perform"),
    "backdrop": ("room.py", "make_backdrop"),
    "meshes of a moment": ("shot.py", "geometry_of"),
    "shadow map": ("shadows.py", "cast_shadows"),
    "z-buffer and shading": ("shading.py", "paint"),
    "blur and grain": ("shading.py", "develop"),
    "encoding pictures": ("photos.py", "encode"),
    "label archives": ("files.py", "write_npz"),
    "object and hand models": ("objects.py", "write_models"),
    "annotation JSON": ("annotations.py", "write_annotation_file"),
}


def shares(settings: SynthesizeSettings) -> dict[str, float]:
    """Milliseconds of processor time per photo and step, in one process."""
    profile = cProfile.Profile(time.process_time)
    profile.enable()
    summary = synthesize(settings)
    profile.disable()
    table = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    spent = dict.fromkeys(STEPS, 0.0)
    total = 0.0
    for (file, _, function), (_, _, own, cumulative, _) in table.items():
        total += own
        for name, place in STEPS.items():
            if (Path(file).name, function) == place:
                spent[name] += cumulative
    spent["rest"] = total - sum(spent.values())
    return {name: 1000.0 * seconds / summary.photos for name, seconds in spent.items()}


def against_baseline(options: argparse.Namespace) -> None:
    """Processor time per photo, bytes, and the command by the clock, of both checkouts; a seed for every round."""
    work = {name: getattr(options, name) for name in ("layout", "handling", "sequences", "frames", "cameras")}
    found = compare("synthesize", options.baseline, [{**work, "seed": seed} for seed in range(options.rounds + 1)])
    pythons = {"baseline_": options.baseline.absolute() / ".venv/bin/python", "": Path(sys.executable)}
    walls = {
        seed: {which: seconds_of_command(python, work, seed, options.workers) for which, python in pythons.items()}
        for seed in range(options.rounds)
    }
    ratios = [wall["baseline_"] / wall[""] for wall in walls.values()]
    command = {f"{which}wall_s": statistics.median(wall[which] for wall in walls.values()) for which in pythons}
    command |= {"ratio": statistics.median(ratios), "ratio_lowest": min(ratios), "ratio_highest": max(ratios)}
    write_json({"dataset": work, **found, "command": {"workers": options.workers, **command}}, options.json)


def seconds_of_command(python: Path, work: dict[str, object], seed: int, workers: int) -> float:
    """Wall seconds of `h2o synthesize` of the environment that a Python belongs to."""
    with tempfile.TemporaryDirectory() as folder:
        words = [f"--{name}={value}" for name, value in {**work, "seed": seed, "workers": workers}.items()]
        call = [str(python), "-c", "from h2onet.cli import main; main()", "synthesize", f"{folder}/out", *words]
        here = python == Path(sys.executable)  # the other finds its own package, not the one that PYTHONPATH may name
        kept = {name: value for name, value in os.environ.items() if here or name != "PYTHONPATH"}
        began = time.perf_counter()
        subprocess.run(call, check=True, capture_output=True, env=kept)
        return time.perf_counter() - began


def write_json(figures: dict[str, object], path: Path | None) -> None:
    text = json.dumps(figures, indent=1) + "\n"
    print(text, end="")
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layout", choices=LAYOUTS, default="dexycb")
    parser.add_argument("--sequences", type=int, default=8)
    parser.add_argument("--frames", type=int, default=36)
    parser.add_argument("--cameras", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--motion", type=Path, default=None, help="replay this motion file")
    parser.add_argument("--json", type=Path, default=None, help="also write the figures here")
    parser.add_argument("--handling", default="lift", help="of --baseline: lift or gestures")
    parser.add_argument("--baseline", type=Path, default=None, help="only compare with this other checkout")
    parser.add_argument("--rounds", type=int, default=5, help="of --baseline, one seed each")
    options = parser.parse_args()
    if options.baseline:
        against_baseline(options)
        return
    common = {"layout": options.layout, "cameras": options.cameras, "motion": options.motion}
    with tempfile.TemporaryDirectory() as folder:
        # Compiled kernels are cached on the first run; what is measured is what a second run costs.
        synthesize(SynthesizeSettings(Path(folder) / "warm", sequences=2, frames=2, workers=1, **common))
        small = SynthesizeSettings(
            Path(folder) / "small", sequences=options.sequences, frames=4, workers=options.workers, **common
        )
        start = synthesize(small)
        whole = synthesize(
            SynthesizeSettings(
                Path(folder) / "whole",
                sequences=options.sequences,
                frames=options.frames,
                workers=options.workers,
                **common,
            )
        )
        size = sum(p.stat().st_size for p in (Path(folder) / "whole").rglob("*") if p.is_file())
        steps = shares(
            SynthesizeSettings(
                Path(folder) / "profiled",
                sequences=min(options.sequences, 4),
                frames=options.frames,
                workers=1,
                **common,
            )
        )
    figures = {
        "layout": options.layout,
        "workers": options.workers,
        "cores": len(os.sched_getaffinity(0)),
        "photos": whole.photos,
        "seconds": whole.seconds,
        "photos_per_second": whole.photos / whole.seconds,
        "steady_photos_per_second": (whole.photos - start.photos) / max(whole.seconds - start.seconds, 1e-9),
        "kilobytes_per_photo": size / 1000 / whole.photos,
        "cpu_ms_per_photo": steps,
    }
    print(f"{whole}")
    print(f"steady: {figures['steady_photos_per_second']:.1f} photos/s with {options.workers} processes")
    for name, value in sorted(steps.items(), key=lambda item: -item[1]):
        print(f"  {name:<24s} {value:7.2f} ms per photo")
    total = sum(steps.values())
    print(f"  {'sum':<24s} {total:7.2f} ms of one core per photo: {2000 / total:.0f} photos/s on two idle cores")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
