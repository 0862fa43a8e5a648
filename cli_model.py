"""The `h2o` commands that train and score a network: train, train-all, evaluate, compare."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_help import Panels
from .cli_options import (
    Clips,
    ClipsMano,
    Device,
    Hierarchy,
    Overrides,
    Overwrite,
    ValClips,
    exit_after_signal,
    first_process,
    refuse_foreign_place,
)
from .errors import InputError

if TYPE_CHECKING:
    from .training.run import TrainResult

app = typer.Typer()


def overrides_of(given: list[str] | None, rest: list[str]) -> list[str]:
    """The key=value pairs of --set: `--set a=1 b=2` is as welcome as `--set a=1 --set b=2`.

    What follows the first pair arrives as extra arguments; without --set such arguments are a mistake (InputError).
    """
    if rest and not given:
        raise InputError(f"unexpected argument {rest[0]!r}; overrides are given as --set key=value")
    return [*(given or []), *rest]


def tell(results: "Sequence[TrainResult]", way_on: str, otherwise: str = "") -> None:
    """Print what training came to, once under torchrun.

    A signal that ended it gives the exit code 128 + its number, and `way_on` says how to continue.
    """
    left = results[-1].interrupted if results else None
    if first_process():
        print("\n".join(str(result) for result in results) + (f", {way_on}" if left else "") or otherwise)
    exit_after_signal(left)


def print_keys(wanted: bool) -> None:
    """Print the keys of a recipe, each with its default and meaning, and leave."""
    if not wanted:
        return
    from .training.recipe import describe_keys

    rows = [("key", "default", "meaning"), *describe_keys()]
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    print("\n".join(f"{key:{first}}  {default:{second}}  {meaning}" for key, default, meaning in rows))
    raise typer.Exit


@app.command(context_settings={"allow_extra_args": True})
def train(
    context: typer.Context,
    preset: Annotated[str, typer.Argument(help="Name of a preset, or a TOML file.")],
    clips: Clips,
    out: Annotated[Path, typer.Option(help="The run folder.", callback=refuse_foreign_place)],
    val_clips: ValClips = None,
    init: Annotated[Path | None, typer.Option(help="Start from these weights.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run folder stopped.")] = False,
    set_: Overrides = None,
    hierarchy: Hierarchy = None,
    device: Device = "auto",
    mano: ClipsMano = None,
    overwrite: Overwrite = False,
    keys: Annotated[
        bool, typer.Option("--keys", help="List the keys of --set.", is_eager=True, callback=print_keys)
    ] = False,
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
    tell([result], "go on with --resume")


@app.command("train-all", context_settings={"allow_extra_args": True})
def train_all(
    context: typer.Context,
    chain: Annotated[str, typer.Argument(help="dexycb-single, dexycb-multi, ho3d-single, ho3d-multi, demo-...")],
    clips: Clips,
    out: Annotated[
        Path, typer.Option(help="Folder of the run folders, one for each stage.", callback=refuse_foreign_place)
    ],
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
    tell(results, "the same command goes on", f"{out}: every stage was finished before")


CLIPS_PANEL, PREDICTIONS_PANEL = "Scoring a checkpoint on clips", "Scoring a HO3D pred.json"
VISIBILITY_PANEL = "Scoring joints seen or hidden"


def panel(title: str, help_text: str, name: str | None = None, **options: Any) -> Any:
    """An option of `h2o evaluate` that its help lists under `title`."""
    return typer.Option(*([name] if name else []), help=help_text, rich_help_panel=title, **options)


def export_file(help_text: str) -> Any:
    """An option that names a file which `h2o evaluate` writes beside its results."""
    return panel(CLIPS_PANEL, help_text, callback=refuse_foreign_place)


@app.command(cls=Panels)
def evaluate(
    context: typer.Context,
    out: Annotated[
        Path, typer.Option(help="Folder for metrics.json, breakdown.json and the page.", callback=refuse_foreign_place)
    ],
    checkpoint: Annotated[
        Path | None, panel(CLIPS_PANEL, "Checkpoint folder, official .pth file, or `synthetic`.")
    ] = None,
    clips: Annotated[str | None, panel(CLIPS_PANEL, "clips.zarr to score on.")] = None,
    hierarchy: Annotated[Path | None, panel(CLIPS_PANEL, "transform.pkl, for the authors' .pth files.")] = None,
    ho3d_json: Annotated[Path | None, export_file("Also write HO3D's pred.json.")] = None,
    dexycb_txt: Annotated[Path | None, export_file("Also write dex-ycb-toolkit's result text.")] = None,
    predictions_out: Annotated[
        Path | None, export_file("Also write joints and meshes of all frames: FILE.npz or FILE.parquet.")
    ] = None,
    meshes: Annotated[
        str | None, panel(CLIPS_PANEL, "Also write OUT/meshes, predicted and true: obj, ply, glb.")
    ] = None,
    mesh_frames: Annotated[
        str | None,
        panel(
            CLIPS_PANEL,
            "best:N, worst:N, every:N, with commas, or a file of SEQUENCE/FRAME (default: best:10,worst:10).",
        ),
    ] = None,
    curves: Annotated[
        list[Path] | None,
        panel(CLIPS_PANEL, "Run folder whose training curves the page shows (repeat; default: the checkpoint's)."),
    ] = None,
    against: Annotated[
        Path | None, panel(CLIPS_PANEL, "Result folder of the same frames; the page compares with it.")
    ] = None,
    mano: Annotated[
        str | None,
        panel(CLIPS_PANEL, "Where the hand of the clips lies now (default: where it was, then $MANO_DIR).", "--mano"),
    ] = None,
    predictions: Annotated[Path | None, panel(PREDICTIONS_PANEL, "Score this pred.json instead.")] = None,
    ground_truth: Annotated[Path | None, panel(PREDICTIONS_PANEL, "Folder with evaluation_xyz/verts.json.")] = None,
    dataset: Annotated[str | None, panel(PREDICTIONS_PANEL, "ho3d-v2 or ho3d-v3.")] = None,
    frames: Annotated[Path | None, panel(PREDICTIONS_PANEL, "SEQ/NNNN of every prediction, if not all.")] = None,
    visibility: Annotated[
        Path | None, panel(VISIBILITY_PANEL, "Score anybody's joints seen: FILE.npz, FILE.jsonl or FILE.parquet.")
    ] = None,
    labels: Annotated[str | None, panel(VISIBILITY_PANEL, "labels.zarr that --visibility is scored against.")] = None,
    device: Device = "auto",
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
) -> None:
    """Score a checkpoint on clips, a HO3D pred.json against the released truth, or joints seen against labels."""
    if visibility is not None:
        for title in (CLIPS_PANEL, PREDICTIONS_PANEL):
            refuse_panel(context, title, "--visibility", "is for another form of this command")
        score_visibility(visibility, labels, out)
        return
    refuse_panel(context, VISIBILITY_PANEL, "--checkpoint or --predictions", "goes with --visibility FILE")
    if predictions is not None:
        refuse_panel(context, CLIPS_PANEL, "--predictions", "goes with --checkpoint FILE --clips clips.zarr")
        score_predictions(predictions, ground_truth, dataset, out, frames)
        return
    if checkpoint is None or clips is None:
        raise InputError(
            "give --checkpoint FILE --clips clips.zarr, --predictions pred.json --ground-truth DIR --dataset NAME, or"
            " --visibility FILE --labels labels.zarr"
        )
    refuse_panel(context, PREDICTIONS_PANEL, "--checkpoint", "goes with --predictions pred.json")
    if mesh_frames is not None and meshes is None:
        raise InputError("--mesh-frames: says whose meshes to write; give --meshes obj, ply or glb too")
    score_clips(
        checkpoint,
        clips,
        out,
        hierarchy=hierarchy,
        ho3d_json=ho3d_json,
        dexycb_txt=dexycb_txt,
        predictions_out=predictions_out,
        meshes=meshes,
        mesh_frames=mesh_frames,
        curves=curves,
        against=against,
        mano=mano,
        device=device,
        batch_size=batch_size,
    )


def refuse_panel(context: typer.Context, title: str, beside: str, where: str) -> None:
    """InputError for an option of the panel `title` that was given though `beside` means the other form."""
    for option in context.command.params:
        if getattr(option, "rich_help_panel", None) == title and context.params.get(option.name or ""):
            raise InputError(f"{option.opts[0]}: {where}, not with {beside}")


def score_clips(checkpoint: Path, clips: str, out: Path, *, mesh_frames: str | None, **options: Any) -> None:
    """Run `evaluate_clips` and print its table."""
    from .evaluation.evaluate import evaluate_clips
    from .evaluation.meshes import DEFAULT_FRAMES
    from .evaluation.page.tables import metrics_table
    from .network.allocator import keep_freed_memory

    keep_freed_memory()
    metrics = evaluate_clips(checkpoint, clips, out, mesh_frames=mesh_frames or DEFAULT_FRAMES, **options)
    print(metrics_table(metrics))


def score_visibility(visibility: Path, labels: str | None, out: Path) -> None:
    """Run `evaluate_visibility` and print its table."""
    from .evaluation.page.tables import metrics_table
    from .evaluation.visibility import evaluate_visibility

    if labels is None:
        raise InputError("--visibility needs --labels labels.zarr, which says what is hidden")
    print(metrics_table(evaluate_visibility(visibility, labels, out)))


def score_predictions(
    predictions: Path, ground_truth: Path | None, dataset: str | None, out: Path, frames: Path | None
) -> None:
    """Run `evaluate_predictions` and print the official scores."""
    from .evaluation.evaluate import evaluate_predictions

    if ground_truth is None or dataset is None:
        raise InputError("--predictions needs --ground-truth DIR and --dataset ho3d-v2|ho3d-v3")
    scores = evaluate_predictions(predictions, ground_truth, dataset, out, frames=frames)
    print("\n".join(f"{name}: {value:f}" for name, value in scores.items()))


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="Result folder of h2o evaluate.")],
    second: Annotated[Path, typer.Argument(help="Another one.")],
    force: Annotated[bool, typer.Option("--force", help="Show unlike protocols side by side too.")] = False,
) -> None:
    """Put two evaluations side by side, with paired significance."""
    from .evaluation.compare import compare as run

    print(run(first, second, force=force))
