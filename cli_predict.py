"""The `h2o` commands that use a trained network: predict, benchmark, export."""

from pathlib import Path
from typing import Annotated

import typer

from .cli_options import Checkpoint, Device, Hierarchy, finish, refuse_foreign_place
from .errors import InputError

app = typer.Typer()


@app.command()
def predict(
    out: Annotated[Path, typer.Option(help="Folder for overlays, meshes and joints.", callback=refuse_foreign_place)],
    checkpoint: Annotated[
        Path | None, typer.Option(help="Checkpoint folder, official .pth file, or `synthetic`.")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of pictures.")] = None,
    video: Annotated[Path | None, typer.Option(help="Video file.")] = None,
    boxes: Annotated[Path | None, typer.Option(help="JSON or CSV with a box per picture.")] = None,
    hierarchy: Hierarchy = None,
    side: Annotated[str, typer.Option(help="right or left, where --boxes does not say.")] = "right",
    intrinsics: Annotated[str | None, typer.Option(help="fx,fy,cx,cy, or a .npy or .json with the matrix.")] = None,
    sequence: Annotated[bool, typer.Option("--sequence", help="The pictures are frames, in order of name.")] = False,
    meshes: Annotated[str, typer.Option(help="obj, ply or none.")] = "obj",
    device: Device = "auto",
) -> None:
    """Reconstruct the hand in pictures or a video."""
    if checkpoint is None:
        raise InputError(
            "--checkpoint: no network given; train one (docs/tutorial.md has it in minutes, on synthetic data), or pass"
            " a checkpoint of H2ONet's authors with --hierarchy (docs/network.md). `--checkpoint synthetic` takes the"
            " narrow network that comes with this program, a toy: it has never seen a real photograph (docs/weights.md)"
        )
    from .inference.predict import predict as run
    from .network.allocator import keep_freed_memory

    keep_freed_memory()
    summary = run(
        checkpoint,
        out,
        images=images,
        video=video,
        boxes=boxes,
        hierarchy=hierarchy,
        side=side,
        intrinsics=intrinsics,
        sequence=sequence,
        meshes=meshes,
        device=device,
    )
    print(summary)
    finish(summary.failures, out / "failures.jsonl")


@app.command()
def benchmark(
    checkpoint: Checkpoint,
    hierarchy: Hierarchy = None,
    device: Device = "auto",
    seconds: Annotated[float, typer.Option(help="Time spent on every line.")] = 1.0,
) -> None:
    """Latency of one frame by stage, preparation and precision."""
    from .inference.latency import measure

    print(measure(checkpoint, hierarchy=hierarchy, device=device, seconds=seconds))


@app.command()
def export(
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Option(help="The .onnx file to write.", callback=refuse_foreign_place)],
    hierarchy: Hierarchy = None,
) -> None:
    """Write the network as ONNX."""
    from .inference.export import export_onnx

    for path in export_onnx(checkpoint, out, hierarchy=hierarchy):
        print(path)
