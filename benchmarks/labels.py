"""What labels cost: ours against a loop written as the original works, step by step, and over two workers.

    python benchmarks/labels.py [--root DIR --mano DIR] [--rounds 5] [--json runs/benchmarks/labels.json]
    python benchmarks/labels.py --baseline PATH ...   # instead, against another checkout with its own .venv

Without --root a DexYCB-like dataset is synthesized. Everything but the workers' part runs on one core (the process is
pinned), all variants see the same frames in the same run, in turn; figures are medians over the rounds. The ratios
matter: absolute times are those of the machine at that moment. Peak memory is that of the largest worker process.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("LP_NUM_THREADS", "0")

import numpy as np
import torch
import trimesh
from h2onet.data.datasets import iter_frames, list_sequences
from h2onet.data.frame import CameraSequence, Frame
from h2onet.data.synthesize import SynthesizeSettings, synthesize
from h2onet.errors import InputError
from h2onet.hand.mano import load_hand
from h2onet.hand.zbuffer import viewport_of
from h2onet.labeling.area import hand_area
from h2onet.labeling.label import label_frames
from h2onet.labeling.objects import ObjectLibrary
from h2onet.labeling.occlusion import NO_HANDS, authors_rule, camera_facing, outward_sense
from h2onet.labeling.pose import Hands, load_hands, pose_frames
from h2onet.labeling.raster import CpuRenderer, Mesh, View
from h2onet.labeling.renderers import make_renderer
from h2onet.pipeline.label_settings import LabelSettings
from h2onet.pipeline.prepare_labels import prepare_labels
from labels_baseline import print_sides, side_by_side
from labels_original import OriginalLoop
from labels_side import largest_child

BASELINE_FRAMES = 8
DEXYCB_FRAMES = 582_000


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="h2onet-labels-") as folder:
        root, mano = dataset(options, Path(folder))
        measure = everything if options.baseline is None else against
        result = measure(options, root, mano, Path(folder))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1))
    print(f"\nwritten: {options.json}")


def everything(options: argparse.Namespace, root: Path, mano: Path, folder: Path) -> dict:
    """Ours against the loop, and over two workers."""
    workers = two_workers(root, mano, folder, options.copies)
    here = machine()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    result = one_core(root, mano, folder, options) | {"workers": workers} | here
    report(result)
    return result


def against(options: argparse.Namespace, root: Path, mano: Path, folder: Path) -> dict:
    """The same steps in another checkout, in turn: `labels_baseline`."""
    names = {item.name for frame in frames_of(sequences_of(root, mano)) for item in frame.objects}
    objects = fine_objects(root / "models", names, folder / "fine").folder
    assert objects is not None
    many = cloned(root, folder, options.copies)
    result = side_by_side(options.baseline, root, mano, objects, many, folder, options.rounds) | machine()
    print_sides(result)
    return result


def machine() -> dict:
    """What the figures are measured on."""
    cores = len(os.sched_getaffinity(0))
    return {"machine": f"{platform.machine()}, {cores} cores, Python {platform.python_version()}"}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="a DexYCB tree (its s0 train frames are used)")
    parser.add_argument("--mano", type=Path, help="MANO's folder; default: mano/ in the root")
    parser.add_argument("--frames", type=int, default=36, help="synthesized frames per recording and camera")
    parser.add_argument("--copies", type=int, default=24, help="of each recording for the workers' part; 1 skips it")
    parser.add_argument("--baseline", type=Path, help="another checkout of h2onet, with its environment in .venv")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path("runs/benchmarks/labels.json"))
    return parser.parse_args()


def dataset(options: argparse.Namespace, folder: Path) -> tuple[Path, Path]:
    if options.root is not None:
        return options.root, options.mano or options.root / "mano"
    root = folder / "DEX_YCB"
    synthesize(SynthesizeSettings(root, sequences=2, cameras=4, frames=options.frames, workers=1))
    return root, root / "mano"


def sequences_of(root: Path, mano: Path) -> list[CameraSequence]:
    return list_sequences("dexycb", root, "train", mano=mano)[:8]


def frames_of(sequences: list[CameraSequence]) -> list[Frame]:
    return [frame for sequence in sequences for frame in iter_frames(sequence) if isinstance(frame, Frame)]


def fine_objects(models: Path, names: set[str], folder: Path) -> ObjectLibrary:
    """The models with as many faces divided into four as it takes to reach 16,000 each, as YCB's have."""
    for name in names:
        mesh = trimesh.load_mesh(models / name / "textured_simple.obj", process=False, skip_materials=True)
        vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
        while (lacking := 16_000 - len(faces)) > 0:
            some = np.arange(min(len(faces), -(-lacking // 3)))
            divided = trimesh.remesh.subdivide(vertices, faces, face_index=some)
            vertices, faces = divided[0], divided[1]
        (folder / name).mkdir(parents=True)
        trimesh.Trimesh(vertices, faces, process=False).export(folder / name / "textured_simple.obj")
    return ObjectLibrary(folder)


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - cpu


def one_core(root: Path, mano: Path, folder: Path, options: argparse.Namespace) -> dict:
    """End to end and step by step, interleaved over the rounds; milliseconds per frame."""
    sequences, hands, renderer = sequences_of(root, mano), load_hands(mano), CpuRenderer()
    frames = frames_of(sequences)
    objects = fine_objects(root / "models", {o.name for f in frames for o in f.objects}, folder / "fine")
    ours = label_frames(frames, hands, objects, renderer)
    assert not ours.failures and not ours.missing_objects
    original, files = original_loop(root, mano, folder), npz_files(root, frames)

    def end_to_end(rules: tuple[str, ...]) -> None:
        label_frames(frames_of(sequences), hands, objects, renderer, rules)

    actions: dict[str, tuple[Callable[[], object], int]] = {
        "h2onet rule": (lambda: end_to_end(("h2onet",)), len(frames)),
        "both rules, objects of 16k faces": (lambda: end_to_end(("h2onet", "depth")), len(frames)),
    }
    checks = frames[:: max(1, len(frames) // BASELINE_FRAMES)][:BASELINE_FRAMES]
    agreement = None
    if original is not None:
        theirs = np.array([original.label(frame, npz_files(root, [frame])[0]) for frame in checks])
        rows = [frames.index(frame) for frame in checks]
        agreement = float((theirs == ours.occluded[rows]).mean())
        actions["original loop"] = (
            lambda: [original.label(frame, npz_files(root, [frame])[0]) for frame in checks],
            len(checks),
        )
    actions |= {name: (action, len(frames)) for name, action in steps(files, sequences, frames, hands, objects).items()}
    times = {name: [] for name in actions}
    for _ in range(options.rounds):
        for name, (action, count) in actions.items():
            times[name].append([1e3 * seconds / count for seconds in timed(action)])
    medians = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in times.items()}
    return {"frames": len(frames), "rounds": options.rounds, "label_agreement": agreement, "ms_per_frame": medians}


def npz_files(root: Path, frames: list[Frame]) -> list[Path]:
    """The annotation files beside the photos."""
    return [root / f"{frame.image.replace('color_', 'labels_').removesuffix('.jpg')}.npz" for frame in frames]


def original_loop(root: Path, mano: Path, folder: Path) -> OriginalLoop | None:
    """The baseline, or None with a word why where OpenGL is missing."""
    try:
        make_renderer("pyrender").close()
    except InputError as error:
        print(f"skipped: the original loop ({error})")
        return None
    (folder / "original").mkdir()
    return OriginalLoop(root, load_hand(mano, "right", torch.float64), folder / "original")


def steps(
    files: list[Path], sequences: list[CameraSequence], frames: list[Frame], hands: Hands, objects: ObjectLibrary
) -> dict[str, Callable[[], object]]:
    """The parts of the work, each over all frames."""
    renderer = CpuRenderer()
    posed = pose_frames(frames, hands)
    views, meshes, images = [], [], []
    for i, frame in enumerate(frames):
        points = posed.authors_2d[i]
        views.append(View(frame.intrinsics, frame.width, frame.height, viewport_of(points, frame.width, frame.height)))
        meshes.append(Mesh(posed.authors[i], hands.right.faces, points))
        images.append(renderer.parts(meshes[i], hands.right.parts.face, views[i]))
    sense = outward_sense(hands.right.arrays.v_template, hands.right.faces)
    depths = [renderer.inverse_depth([m], v) for m, v in zip(meshes, views, strict=True)]
    return {
        "floor: bytes of the files": lambda: [file.read_bytes() for file in files],
        "floor: segmentation inflated": lambda: [np.load(file)["seg"] for file in files],
        "reading frames": lambda: frames_of(sequences),
        "posing, both models": lambda: pose_frames(frames, hands),
        "drawing parts, 4 samples": lambda: [
            renderer.parts(m, hands.right.parts.face, v) for m, v in zip(meshes, views, strict=True)
        ],
        "the h2onet rule": lambda: [
            authors_rule(posed.authors_2d[i], hands.right.parts.vertex, images[i], frame.hand_mask)
            for i, frame in enumerate(frames)
            if frame.hand_mask is not None
        ],
        "drawing the hand's depth": lambda: [
            renderer.inverse_depth([m], v) for m, v in zip(meshes, views, strict=True)
        ],
        "camera-facing vertices": lambda: [camera_facing(v, hands.right.faces, sense) for v in posed.authors],
        "shares of the silhouette": lambda: [
            hand_area(renderer, m, v, d, np.zeros_like(d), NO_HANDS)
            for m, v, d in zip(meshes, views, depths, strict=True)
        ],
        "h2onet rule, frames read": lambda: label_frames(frames, hands, objects, renderer, ("h2onet",)),
        "depth rule, frames read": lambda: label_frames(frames, hands, objects, renderer, ("depth",)),
    }


def cloned(root: Path, folder: Path, copies: int) -> Path:
    """The same dataset with every recording `copies` times, as hard links: enough work to measure workers."""
    many = folder / "MANY"
    shutil.copytree(root, many, copy_function=os.link)
    for recording in sorted(path.parent for path in root.glob("*/*/meta.yml")):
        day, clock = recording.name.split("_")
        for copy in range(1, copies):
            name = f"{day}_{int(clock) + copy:06d}"
            shutil.copytree(recording, many / recording.parent.name / name, copy_function=os.link)
    return many


def two_workers(root: Path, mano: Path, folder: Path, copies: int) -> dict:
    """`prepare_labels` with one and with two worker processes: frames/s once they run, and the peak memory.

    Both are timed on half and on all of the frames; the difference leaves out starting processes and importing.
    """
    if len(os.sched_getaffinity(0)) < 2 or copies < 2:
        print("skipped: two workers (they need two cores and --copies of 2 or more)")
        return {}
    many = cloned(root, folder, copies)
    total = sum(len(sequence) for sequence in list_sequences("dexycb", many, "train", mano=mano))
    rates = {1: [], 2: []}
    with largest_child() as peak:
        for turn in range(2):
            for workers in rates:
                seconds = []
                for limit in (total // 2, total):
                    out = folder / f"labels-{workers}-{turn}-{limit}.zarr"
                    settings = LabelSettings("dexycb", many, "train", mano, out, workers=workers, limit=limit)
                    seconds.append(prepare_labels(settings).seconds)
                if seconds[1] > 1.2 * seconds[0]:  # else the start-up's noise is larger than the work
                    rates[workers].append((total - total // 2) / (seconds[1] - seconds[0]))
    if not all(rates.values()):
        print("skipped: two workers (too little work, or the machine is too busy, to tell; try more --copies)")
        return {"frames": total, "peak_worker_mb": peak}
    one, two = (statistics.median(rates[workers]) for workers in rates)
    return {"frames": total, "frames_per_s": {"1": one, "2": two}, "ratio": two / one, "peak_worker_mb": peak}


def report(result: dict) -> None:
    """Print the table."""
    medians = result["ms_per_frame"]
    base = medians.get("original loop")
    print(f"\n{result['frames']} frames, median of {result['rounds']} rounds, one core; {result['machine']}")
    print(f"{'':36}{'ms/frame':>10}{'CPU ms':>10}{'x original':>12}{'x (CPU)':>10}")
    for name, (wall, cpu) in medians.items():
        ratio = f"{base[0] / wall:12.0f}{base[1] / cpu:10.0f}" if base else ""
        print(f"{name:36}{wall:10.3f}{cpu:10.3f}{ratio if 'rule' in name and 'the' not in name else ''}")
    if result["label_agreement"] is not None:
        print(f"labels equal to the original loop's: {100 * result['label_agreement']:.1f} %")
    both = medians["both rules, objects of 16k faces"][0]
    print(f"{DEXYCB_FRAMES} frames, both rules: {both * DEXYCB_FRAMES / 3.6e6:.2f} core hours at this rate")
    if "ratio" in result["workers"]:
        rates = result["workers"]["frames_per_s"]
        print(f"prepare_labels: {rates['1']:.0f} frames/s with 1 worker, {rates['2']:.0f} with 2", end="")
        peak = result["workers"]["peak_worker_mb"]
        print(f" (x{result['workers']['ratio']:.2f}); peak per worker {peak['rss']:.0f} MB, {peak['uss']:.0f} its own")


if __name__ == "__main__":
    main()
