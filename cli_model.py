"""The `h2o` commands around a network: train, train-all, evaluate, compare, predict, benchmark, export."""

from pathlib import Path
from typing import Annotated

import typer

from .cli_options import Clips, ClipsMano, Device, Hierarchy, Overrides, Overwrite, ValClips, finish
from .hand.errors import InputError

app = typer.Typer()


def overrides_of(given: list[str] | None, rest: list[str]) -> list[str]:
    """The key=value pairs of --set: `--set a=1 b=2` is as welcome as `--set a=1 --set b=2`.

    What follows the first pair arrives as extra arguments; without --set such arguments are a mistake (InputError).
    """
    if rest and not given:
        raise InputError(f"unexpected argument {rest[0]!r}; overrides are given as --set key=value")
    return [*(given or []), *rest]


@app.command(context_settings={"allow_extra_args": True})
def train(
    context: typer.Context,
    preset: Annotated[str, typer.Argument(help="Name of a preset, or a TOML file.")],
    clips: Clips,
    out: Annotated[Path, typer.Option(help="The run folder.")],
    val_clips: ValClips = None,
    init: Annotated[Path | None, typer.Option(help="Start from these weights.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run folder stopped.")] = False,
    set_: Overrides = None,
    hierarchy: Hierarchy = None,
    device: Device = "auto",
    mano: ClipsMano = None,
    overwrite: Overwrite = False,
) -> None:
    """Train one stage."""
    from .training.loop import train as run
    from .training.recipe import load_recipe

    result = run(
        load_recipe(preset, overrides_of(set_, context.args)),
        clips,
        out,
        val_clips=val_clips,
        init=init,
        resume=resume,
        device=device,
        mano=mano,
        hierarchy=hierarchy,
        overwrite=overwrite,
    )
    print(result)


@app.command("train-all", context_settings={"allow_extra_args": True})
def train_all(
    context: typer.Context,
    chain: Annotated[str, typer.Argument(help="dexycb-single, dexycb-multi, ho3d-single, ho3d-multi, demo-...")],
    clips: Clips,
    out: Annotated[Path, typer.Option(help="Folder of the run folders, one for each stage.")],
    val_clips: ValClips = None,
    warmup_clips: Annotated[list[str] | None, typer.Option(help="DexYCB clips.zarr for HO3D's warm-up.")] = None,
    init: Annotated[Path | None, typer.Option(help="Weights for the first stage (densestack.pth).")] = None,
    set_: Overrides = None,
    hierarchy: Hierarchy = None,
    device: Device = "auto",
    mano: ClipsMano = None,
) -> None:
    """Train all stages of a network in order; the same command again goes on where it stopped."""
    from .training.chains import train_all as run

    results = run(
        chain,
        clips,
        out,
        val_clips=val_clips,
        warmup_clips=warmup_clips,
        init=init,
        overrides=overrides_of(set_, context.args),
        device=device,
        mano=mano,
        hierarchy=hierarchy,
    )
    print("\n".join(str(result) for result in results) or f"{out}: every stage was finished before")


@app.command()
def evaluate(
    out: Annotated[Path, typer.Option(help="Folder for metrics.json, breakdown.json and the page.")],
    checkpoint: Annotated[Path | None, typer.Option(help="Checkpoint folder, or an official .pth file.")] = None,
    clips: Annotated[str | None, typer.Option(help="clips.zarr to score on.")] = None,
    hierarchy: Hierarchy = None,
    ho3d_json: Annotated[Path | None, typer.Option(help="Also write HO3D's pred.json.")] = None,
    dexycb_txt: Annotated[Path | None, typer.Option(help="Also write dex-ycb-toolkit's result text.")] = None,
    predictions_npz: Annotated[Path | None, typer.Option(help="Also write joints and meshes as .npz.")] = None,
    predictions: Annotated[Path | None, typer.Option(help="Score this pred.json instead.")] = None,
    ground_truth: Annotated[Path | None, typer.Option(help="Folder with evaluation_xyz/verts.json.")] = None,
    dataset: Annotated[str | None, typer.Option(help="ho3d-v2 or ho3d-v3, with --predictions.")] = None,
    frames: Annotated[Path | None, typer.Option(help="SEQ/NNNN of every prediction, if not all.")] = None,
    device: Device = "auto",
    mano: ClipsMano = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
) -> None:
    """Score a checkpoint on clips, or a HO3D pred.json against the released ground truth."""
    from .evaluation.evaluate import evaluate_clips, evaluate_predictions
    from .evaluation.report import metrics_table

    if predictions is not None:
        if ground_truth is None or dataset is None or checkpoint is not None or clips is not None:
            raise InputError(
                "--predictions needs --ground-truth DIR and --dataset ho3d-v2|ho3d-v3, not with --checkpoint or --clips"
            )
        scores = evaluate_predictions(predictions, ground_truth, dataset, out, frames=frames)
        print("\n".join(f"{name}: {value:f}" for name, value in scores.items()))
        return
    if checkpoint is None or clips is None:
        raise InputError(
            "give --checkpoint FILE --clips clips.zarr, or --predictions pred.json --ground-truth DIR --dataset NAME"
        )
    metrics = evaluate_clips(
        checkpoint,
        clips,
        out,
        hierarchy=hierarchy,
        ho3d_json=ho3d_json,
        dexycb_txt=dexycb_txt,
        predictions_npz=predictions_npz,
        mano=mano,
        device=device,
        batch_size=batch_size,
    )
    print(metrics_table(metrics))


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="Result folder of h2o evaluate.")],
    second: Annotated[Path, typer.Argument(help="Another one.")],
    force: Annotated[bool, typer.Option("--force", help="Show unlike protocols side by side too.")] = False,
) -> None:
    """Put two evaluations side by side, with paired significance."""
    from .evaluation.compare import compare as run

    print(run(first, second, force=force))


@app.command()
def predict(
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint folder, or an official .pth file.")],
    out: Annotated[Path, typer.Option(help="Folder for overlays, meshes and joints.")],
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
    from .inference.predict import predict as run

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
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint folder, or an official .pth file.")],
    hierarchy: Hierarchy = None,
    device: Device = "auto",
    seconds: Annotated[float, typer.Option(help="Time spent on every line.")] = 1.0,
) -> None:
    """Latency of one frame by stage, preparation and precision."""
    from .inference.latency import measure

    print(measure(checkpoint, hierarchy=hierarchy, device=device, seconds=seconds))


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint folder, or an official .pth file.")],
    out: Annotated[Path, typer.Option(help="The .onnx file to write.")],
    hierarchy: Hierarchy = None,
) -> None:
    """Write the network as ONNX."""
    from .inference.export import export_onnx

    for path in export_onnx(checkpoint, out, hierarchy=hierarchy):
        print(path)
