"""Clips against the authors' way of loading: windows per second, size, building, opening, fidelity.

    python benchmarks/clips.py [--frames 40] [--rounds 7]     writes benchmarks/clips.json beside itself and prints a
    table

The photos are made here: 640 x 480 JPEGs of about 68 KB (DexYCB's mean size), hands of about 100 px. Both loaders run
interleaved in this process, one thread each, with equal random numbers; ratios are medians over the rounds. With
`--baseline PATH` only another checkout is compared with this one (see `beside.py`), into clips_baseline.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
import zarr
from authors_loader import AuthorsLoader
from beside import compare
from clip_photos import make_dataset
from h2onet import durable
from h2onet.cores import granted_cores
from h2onet.data.clips import ClipDataset, ClipStore, clip_info, window_of
from h2onet.data.labels import empty_columns
from h2onet.data.loading.augment import Augmentation
from h2onet.data.loading.batches import loader, start_worker
from h2onet.data.stores.clip_index import write_index
from h2onet.data.stores.clips import SCHEMA, SCHEMA_VERSION
from h2onet.data.stores.columns import CLIP_COLUMNS, PICTURE_COLUMNS
from h2onet.data.stores.keys import folder_name
from h2onet.data.stores.records import pack_rows
from h2onet.data.stores.sequences import SequenceStore
from h2onet.pipeline.build_clips import build_clips
from torch.utils.data import DataLoader

SEQUENCES, FRAMES = 8000, 582_000  # all of DexYCB
BATCH = 16


def per_second(function, keys) -> tuple[float, float]:
    """Windows per second of the clock, and CPU milliseconds per window (other jobs disturb those less)."""
    began, cpu = time.perf_counter(), time.process_time()
    for key in keys:
        function(key)
    return len(keys) / (time.perf_counter() - began), 1e3 * (time.process_time() - cpu) / len(keys)


def one_process(authors: AuthorsLoader, clips: ClipDataset, rounds: int, windows: int) -> dict[str, float]:
    """Random windows per second of both loaders, interleaved."""
    rng = np.random.default_rng(0)
    rates, cpu = [], []
    for number in range(rounds + 1):
        keys = [(number, int(index)) for index in rng.integers(0, len(clips), windows)]
        a = per_second(authors.__getitem__, keys)
        b = per_second(lambda key: clips[(*key, 0)], keys)
        rates.append((a[0], b[0]))
        cpu.append((a[1], b[1]))
    # The first round fills the page cache and warms both up.
    return {
        **summarized(rates[1:]),
        "authors_cpu_ms": statistics.median(a for a, _ in cpu[1:]),
        "clips_cpu_ms": statistics.median(b for _, b in cpu[1:]),
        "cpu_ratio": statistics.median(a / b for a, b in cpu[1:]),
    }


def in_batches(clips: ClipDataset, rounds: int) -> dict[str, float]:
    """Windows per second of batches made in this process: by one thread, and by as many as there are cores."""
    cores = granted_cores()
    rates: dict[int, list[float]] = {1: [], cores: []}
    for number in range(rounds + 1):
        for threads, found in rates.items():
            torch.set_num_threads(threads)
            batches = loader(clips, BATCH, shuffle=True, drop_last=True)
            batches.set_epoch(number)
            found.append(steady_rate(batches))
    torch.set_num_threads(1)
    alone, together = rates[1][1:], rates[cores][1:]
    return {
        "threads": cores,
        "one_thread_per_s": statistics.median(alone),
        "per_s": statistics.median(together),
        "ratio": statistics.median(b / a for a, b in zip(alone, together, strict=True)),
    }


def two_workers(authors: AuthorsLoader, clips: ClipDataset, rounds: int) -> dict[str, float]:
    """The same through two worker processes each, batches of 16."""
    ours = loader(clips, BATCH, shuffle=True, num_workers=2, drop_last=True)
    rates = []
    for number in range(rounds + 1):
        order = np.random.default_rng(number).permutation(len(authors))[: len(ours) * BATCH]
        theirs = DataLoader(
            authors,
            batch_sampler=[[(number, int(i)) for i in order[at : at + BATCH]] for at in range(0, len(order), BATCH)],
            num_workers=2,
            worker_init_fn=start_worker,
        )
        rates.append((steady_rate(theirs), steady_rate(ours)))
    return summarized(rates[1:])


def steady_rate(batches) -> float:
    """Windows per second after the first two batches: starting the workers does not count."""
    began, count = 0.0, 0
    for number, batch in enumerate(batches):
        if number == 2:
            began = time.perf_counter()
        elif number > 2:
            count += len(batch["images"])
    return count / (time.perf_counter() - began)


def summarized(rates: list[tuple[float, float]]) -> dict[str, float]:
    authors, clips = zip(*rates, strict=True)
    return {
        "authors_per_s": statistics.median(authors),
        "clips_per_s": statistics.median(clips),
        "ratio": statistics.median(b / a for a, b in rates),
        "ratio_lowest": min(b / a for a, b in rates),
        "ratio_highest": max(b / a for a, b in rates),
    }


def fidelity(authors: AuthorsLoader, clips: ClipDataset) -> dict[str, float]:
    """The same windows from both loaders: lowest PSNR of the pictures, largest difference of the labels."""
    worst, labels = np.inf, 0.0
    for index in range(0, len(clips), 7):
        a, b = authors[(3, index)], clips[(3, index, 0)]
        error = float(np.mean((a["images"].numpy().astype(float) - b["images"]) ** 2))
        worst = min(worst, 10 * np.log10(1 / max(error, 1e-20)))
        for name in ("joints_2d", "joints", "mano_shape"):
            labels = max(labels, float(np.abs(a[name].numpy() - b[name]).max()))
    return {"lowest_psnr_db": float(worst), "largest_label_difference": labels}


class _Synthesized:
    """Stands in for a finished store of all of DexYCB when its index is written: rows without pictures."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[int, dict[str, np.ndarray]] = {}

    def read(self, key: str):
        frames = FRAMES // SEQUENCES + (int(key[-12:]) < FRAMES % SEQUENCES)
        if frames not in self._rows:
            rows = empty_columns(frames)
            rows = {name: values for name, values in rows.items() if name in CLIP_COLUMNS}
            for name, (kind, _) in PICTURE_COLUMNS.items():
                rows[name] = np.ones(
                    (frames, *{"crop": (4,), "photo": (2,), "box": (4,)}.get(name, ())), np.dtype(kind)
                )
            rows["frame"], rows["has_pose"][:] = np.arange(frames, dtype=np.int32), True
            rows["box_rule"][:], rows["box"][:] = 0, (200, 150, 300, 250)
            self._rows[frames] = rows
        return self._rows[frames], {"sha256": "0" * 64, "fields": pack_rows(self._rows[frames])[1]}


def opening(folder: Path) -> dict[str, float]:
    """Open a store of all of DexYCB in a fresh process: seconds and memory."""
    store = SequenceStore.create(folder / "full.zarr", {}, schema=SCHEMA, version=SCHEMA_VERSION)
    keys = [f"20200709-subject-01/20200709_141754/{n:012d}" for n in range(SEQUENCES)]
    began = time.perf_counter()
    attrs = {"dataset": "dexycb", "split": "train", "codec": "jpeg-lossless", "max_scale": 1.25}
    write_index(_Synthesized(store.path), keys, attrs)
    writing = time.perf_counter() - began
    for key in keys:
        (store.path / "sequences" / folder_name(key)).mkdir()
    store.close()
    done = subprocess.run(
        [sys.executable, __file__, "--open", str(store.path)], capture_output=True, text=True, check=True
    )
    index = store.path / "index"
    files = sum(file.is_file() for file in index.rglob("*"))
    return {**json.loads(done.stdout), "write_index_s": writing, "index_mb": size(index) / 1e6, "index_files": files}


def open_only(path: str) -> None:
    """What `opening` runs in its own process."""
    before = resident()
    began = time.perf_counter()
    dataset = ClipDataset(path, frames=window_of("dexycb", train=True), augment=Augmentation(), require_pose=True)
    seconds = time.perf_counter() - began
    opened = resident()
    index = ClipStore.open(path).index
    picked = np.random.default_rng(0).integers(0, len(dataset), 2000)
    for name in index:
        index[name][picked].sum()  # random rows of every column, as training touches them: pages of the file, shared
    memory = {"imports_mb": before, "opened_mb": opened, "after_2000_rows_mb": resident()}
    print(json.dumps({"open_s": seconds, "frames": len(dataset), **memory}))


def resident() -> float:
    """MB of memory that this process has now, mapped file pages included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def stored_side(path: Path) -> float:
    """Side in pixels of the mean stored area."""
    return float(np.sqrt(np.prod(ClipStore.open(path).index["crop"][:, 2:].astype(float), axis=1).mean()))


def against_baseline(options: argparse.Namespace) -> None:
    """Processor time per window and bytes of this checkout and another one, on the same store."""
    with tempfile.TemporaryDirectory() as name:
        build_clips(make_dataset(Path(name), 8, options.frames), Path(name) / "clips.zarr", workers=1)
        rng = np.random.default_rng(0)
        rounds = [rng.integers(0, 1 << 30, options.windows).tolist() for _ in range(options.rounds + 1)]
        store = str(Path(name) / "clips.zarr")
        works = [{"store": store, "epoch": epoch, "indices": indices} for epoch, indices in enumerate(rounds)]
        write_result(compare("clips", options.baseline, works), Path(__file__).with_name("clips_baseline.json"))


def write_result(result: dict, path: Path) -> None:
    text = json.dumps(result, indent=2) + "\n"
    with durable.writing_file(path) as file:
        file.write(text.encode())
    print(text, end="")


def main() -> None:
    """Run everything and write clips.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=40, help="frames per camera sequence")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--windows", type=int, default=60, help="windows per round and loader in one process")
    parser.add_argument("--baseline", type=Path, default=None, help="only compare with this other checkout")
    parser.add_argument("--open", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.open:
        open_only(options.open)
        return
    if options.baseline:
        against_baseline(options)
        return
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        labels = make_dataset(folder, 8, options.frames)
        built = build_clips(labels, folder / "clips.zarr", workers=1)
        authors = AuthorsLoader(labels, folder / "occ")
        clips = ClipDataset(folder / "clips.zarr", frames=window_of("dexycb", train=True), augment=Augmentation())
        info = clip_info(folder / "clips.zarr")
        photos = size(folder / "root") / len(authors) / 1e3
        result = {
            "one_process": one_process(authors, clips, options.rounds, options.windows),
            "in_batches": in_batches(clips, options.rounds),
            "two_workers": two_workers(authors, clips, max(3, options.rounds // 2)),
            "fidelity": fidelity(authors, clips),
            "kb_per_photo": photos,
            "kb_per_frame": info.picture_bytes / info.frames / 1e3,
            "stored_side_px": stored_side(folder / "clips.zarr"),
            "build_cpu_ms_per_frame": built.cpu_ms_per_frame,
            "codec": info.codec,
            "opening": opening(folder),
        }
    # Pictures, and every column twice: in the sequences' rows and in the index. Five files per sequence.
    result["all_of_dexycb"] = {
        "gb": (result["kb_per_frame"] * 1e3 * FRAMES + 2e6 * result["opening"]["index_mb"]) / 1e9,
        "files": SEQUENCES * 5 + result["opening"]["index_files"] + 2,
    }
    result["versions"] = {"opencv": cv2.__version__, "zarr": zarr.__version__, "torch": torch.__version__}
    write_result(result, Path(__file__).with_suffix(".json"))


if __name__ == "__main__":
    main()
