"""What the network costs: training step, folded inference and streaming, against the same network written plainly.

    python benchmarks/network.py [--rounds 5] [--train-batch 32] [--threads 1] [--only train|infer|stream] [--json
    runs/benchmarks/network.json]

Full width, stand-in hand, random pictures. Every variant lives in a process of its own (so that peak memory
and the allocator are its own) and the processes take turns, one iteration each: figures are medians over the rounds.
Ratios are of the CPU time of the one computing thread, which other load on the machine disturbs least, and of wall time
with several threads. The training step is forward, L1 losses on every output of stage 2, backward, gradient clipping
and Adam. "kept" = with `network.allocator.keep_freed_memory`; "bf16" = under autocast, the one variant whose numbers
differ.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from h2onet.hand.mano import load_hand
from h2onet.inference.export import export_onnx
from h2onet.network.allocator import keep_freed_memory
from h2onet.network.checkpoint import save_checkpoint
from h2onet.network.h2onet import H2ONet, NetworkConfig, build_network
from plain_network import plain
from torch import Tensor

Iteration = Callable[[], float]  # runs once, returns a number that all variants of a case must agree on

CASES = {
    "train": ("plain", "ours", "ours, kept", "ours, bf16, kept"),
    "infer": ("plain", "folded", "folded, kept", "onnxruntime"),
    "stream": ("single frame", "multi-frame, streamed", "multi-frame, recomputed"),
}


def network(frames: int = 1) -> H2ONet:
    """The same fresh full-width network in every process."""
    torch.manual_seed(0)
    return build_network(NetworkConfig(frames=frames), load_hand("standin"))


def pictures(*leading: int) -> Tensor:
    """(…, 3, 128, 128) in [0, 1], the same in every process."""
    return torch.rand(*leading, 3, 128, 128, generator=torch.Generator().manual_seed(1))


def training_step(variant: str, batch: int, _: Path) -> Iteration:
    """One optimiser step on a batch; returns the loss."""
    model, images = network(), pictures(batch)
    if variant == "plain":
        model = plain(model)
    else:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = images.contiguous(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(model.train().parameters(), lr=1e-4, fused=variant != "plain")
    names = ("canonical_vertices", "canonical_joints", "joints_2d", "oriented_vertices", "oriented_joints", "rotation")

    def step() -> float:
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled="bf16" in variant):
            prediction = model(images)
        loss = torch.stack([(getattr(prediction, name) - 0.1).abs().mean() for name in names]).sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimiser.step()
        return loss.item()

    return step


def inference(variant: str, batch: int, folder: Path) -> Iteration:
    """One prediction of a batch; returns the mesh's largest coordinate."""
    images = pictures(batch)
    if variant == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
        session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
        given = {"images": images.numpy()}
        return lambda: float(np.abs(np.asarray(session.run(["vertices"], given)[0])).max())
    model = plain(network().eval()) if variant == "plain" else network().for_inference()
    return lambda: model(images).vertices.abs().max().item()


def streaming(variant: str, _: int, __: Path) -> Iteration:
    """One new frame of a video; returns 0 (the variants predict different things)."""
    frames = 1 if variant == "single frame" else 3
    model, video = network(frames).for_inference(), pictures(3)
    if variant == "single frame":
        return lambda: 0.0 * model(video[:1]).vertices[0, 0, 0].item()
    if variant == "multi-frame, recomputed":
        return lambda: 0.0 * model(video[None]).vertices[0, 0, 0].item()
    past = [model.encode(video[i : i + 1]) for i in (1, 2)]
    return lambda: 0.0 * model.fuse(model.encode(video[:1]), *past).vertices[0, 0, 0].item()


def work(pipe: Connection, case: str, variant: str, batch: int, folder: Path, threads: int) -> None:
    """A variant's process: one iteration per message, answered by (CPU s, wall s, result, peak MB)."""
    torch.set_num_threads(threads)
    if variant.endswith("kept"):
        keep_freed_memory()
    make = {"train": training_step, "infer": inference, "stream": streaming}[case]
    iteration = make(variant, batch, folder)
    while pipe.recv():
        with torch.set_grad_enabled(case == "train"):
            cpu, wall = time.thread_time(), time.perf_counter()
            result = iteration()
            cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
        pipe.send((cpu, wall, result, peak_mb()))


def peak_mb() -> float:
    """This process's largest resident size so far, MB (getrusage would start at the parent's)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def measure(case: str, batch: int, rounds: int, folder: Path, threads: int) -> list[dict[str, float | str]]:
    """All variants of a case in turn, after one round to warm up; medians per picture."""
    context = multiprocessing.get_context("spawn")
    workers: dict[str, tuple[Connection, list]] = {}
    processes = []
    for variant in CASES[case]:
        if variant == "onnxruntime" and not (folder / "model.onnx").is_file():
            continue
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, case, variant, batch, folder, threads))
        process.start()
        processes.append(process)
        workers[variant] = (ours, [])
    for _ in range(rounds + 1):
        for pipe, answers in workers.values():
            pipe.send(True)
            answers.append(pipe.recv())
    for pipe, _ in workers.values():
        pipe.send(False)
    for process in processes:
        process.join()
    first = {variant: answers[0][2] for variant, (_, answers) in workers.items() if "bf16" not in variant}
    assert max(first.values()) - min(first.values()) < 1e-3 * max(map(abs, first.values())) + 1e-12, first
    rows: list[dict[str, float | str]] = []
    for variant, (_, answers) in workers.items():
        cpu, wall = (1e3 * statistics.median(answer[i] for answer in answers[1:]) / batch for i in (0, 1))
        row: dict[str, float | str] = {
            "case": case,
            "batch": batch,
            "variant": variant,
            "cpu_ms": cpu,
            "wall_ms": wall,
            "peak_mb": answers[-1][3],
        }
        compared = "cpu_ms" if threads == 1 else "wall_ms"
        row["ratio"] = (rows[0] if rows else row)[compared] / row[compared]  # type: ignore[operator]
        rows.append(row)
    return rows


def main() -> None:
    """Measures, prints a table, writes JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--train-batch", type=int, default=32)
    parser.add_argument("--infer-batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=list(CASES))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    plan = [("train", options.train_batch), *(("infer", batch) for batch in options.infer_batches), ("stream", 1)]
    rows = []
    print(f"{'case':8}{'batch':>6}  {'variant':26}{'CPU ms/picture':>15}{'wall ms':>10}{'ratio':>8}{'peak MB':>9}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.only in (None, "infer"):
            export_onnx(save_checkpoint(folder / "checkpoint", network()), folder / "model.onnx")
        for case, batch in plan:
            if options.only in (None, case):
                for row in measure(case, batch, options.rounds, folder, options.threads):
                    rows.append(row)
                    left = f"{row['case']:8}{row['batch']:>6}  {row['variant']:26}{row['cpu_ms']:15.1f}"
                    print(f"{left}{row['wall_ms']:10.1f}{row['ratio']:8.2f}{row['peak_mb']:9.0f}", flush=True)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        machine = {
            "machine": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "torch": torch.__version__,
        }
        options.json.write_text(
            json.dumps({"environment": machine, "load": os.getloadavg(), "rows": rows}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
