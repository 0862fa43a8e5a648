"""The `h2o` commands that use a trained network, and the fit of MANO: predict, fit, benchmark, export."""

import os
from pathlib import Path
from typing import Annotated

import typer

from .cli_options import Checkpoint, Device, Hierarchy, Mano, finish, refuse_foreign_place, require_mano
from .errors import InputError

app = typer.Typer()


@app.command()
def predict(
    out: Annotated[Path, typer.Option(help="Folder for overlays, meshes and joints.", callback=refuse_foreign_place)],
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="Checkpoint folder, official .pth file, or `synthetic`; `landmarks`: no network, the hand of --mano is"
            " fitted to the detector's landmarks."
        ),
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of pictures.")] = None,
    video: Annotated[Path | None, typer.Option(help="Video file.")] = None,
    boxes: Annotated[Path | None, typer.Option(help="JSON or CSV with a box per picture.")] = None,
    detector: Annotated[
        Path | None,
        typer.Option(
            help="MediaPipe's hand_landmarker.task, or a folder or wheel with both .tflite files: finds the hands"
            " (default, without --boxes: $H2O_DETECTOR)."
        ),
    ] = None,
    hierarchy: Hierarchy = None,
    side: Annotated[str, typer.Option(help="right or left, where neither --boxes nor --detector says.")] = "right",
    intrinsics: Annotated[str | None, typer.Option(help="fx,fy,cx,cy, or a .npy or .json with the matrix.")] = None,
    fov: Annotated[
        float | None,
        typer.Option(
            help="Field of view in degrees across the longer side, where neither --intrinsics nor a photo's EXIF says."
        ),
    ] = None,
    sequence: Annotated[bool, typer.Option("--sequence", help="The pictures are frames, in order of name.")] = False,
    smooth: Annotated[bool, typer.Option("--smooth", help="Steady the hands of a video or --sequence.")] = False,
    one_shape: Annotated[
        bool, typer.Option("--one-shape", help="With --smooth: one mano_shape for all frames of a hand.")
    ] = False,
    meshes: Annotated[str, typer.Option(help="obj, ply, glb or none; glb of a video: animation.glb, too.")] = "obj",
    mano: Annotated[
        str | None,
        typer.Option(envvar="MANO_DIR", help="The hand that the network was trained on, for MANO parameters."),
    ] = None,
    device: Device = "auto",
) -> None:
    """Reconstruct the hand in pictures or a video."""
    if checkpoint is None:
        raise InputError(
            "--checkpoint: no network given; train one (docs/tutorial.md has it in minutes, on synthetic data), or pass"
            " a checkpoint of H2ONet's authors with --hierarchy (docs/network.md). `--checkpoint landmarks` needs no"
            " network, but --detector FILE and --mano DIR (docs/predict.md). `--checkpoint synthetic` takes the narrow"
            " network that comes with this program, a toy: it has never seen a real photograph (docs/weights.md)"
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
        detector=detector or (os.environ.get("H2O_DETECTOR") or None if boxes is None else None),
        hierarchy=hierarchy,
        side=side,
        intrinsics=intrinsics,
        fov=fov,
        sequence=sequence,
        smooth=smooth,
        one_shape=one_shape,
        meshes=meshes,
        device=device,
        mano=mano,
    )
    print(summary)
    if summary.smoothing is not None:
        print(summary.smoothing)
    finish(summary.failures, out / "failures.jsonl")


@app.command()
def fit(
    joints: Annotated[Path, typer.Option(help="FILE.npz or FILE.json with joints (N, 21, 3) in metres.")],
    side: Annotated[str, typer.Option(help="right or left.")],
    out: Annotated[Path, typer.Option(help="The .npz file to write.", callback=refuse_foreign_place)],
    mano: Mano = None,
    order: Annotated[str, typer.Option(help="Order of the joints: h2onet, ho3d or mediapipe.")] = "h2onet",
    vertices: Annotated[
        bool | None,
        typer.Option(help="Fit to the file's vertices (N, 778, 3), or not (default: where it has them)."),
    ] = None,
    tips: Annotated[
        str | None, typer.Option(help="Fingertips: manopth, h2onet, ho3d or smplx (default: ho3d's, else manopth's).")
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(
            help="How far off the points are, in mm: keeps to likely hands (default: joints 1, vertices 0.3)."
        ),
    ] = None,
    limits: Annotated[bool, typer.Option("--limits", help="Hold joints softly within their ranges of motion.")] = False,
    one_shape: Annotated[
        bool, typer.Option("--one-shape", help="All hands are one person's: one mano_shape for all.")
    ] = False,
) -> None:
    """Fit MANO's pose and shape to joints or meshes."""
    from .hand.fit_files import fit_file

    summary = fit_file(
        joints,
        out,
        mano=require_mano(mano),
        side=side,
        order=order,
        tips=tips,
        vertices=vertices,
        noise=None if noise is None else noise / 1000,
        limits=limits,
        one_shape=one_shape,
    )
    print(summary)


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
