"""The command line `h2o`: parses, calls one function of a room, prints its result, exits.

Exit codes: 0 done; 1 done, but some frames failed (listed in failures.jsonl beside the output); 2 wrong usage or
input. Progress and log lines go to stderr, results to stdout. Rooms are imported inside the commands, so that
`h2o --help` stays quick.
"""

import atexit
import errno
import gc
import io
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from . import __version__, cli_model, cli_predict, cli_stores, cli_view
from .cli_help import Commands
from .cli_options import (
    Dashboard,
    Dataset,
    Mano,
    Overwrite,
    Root,
    Scheduler,
    Workers,
    dataset_root,
    exit_after_signal,
    finish,
    first_process,
    refuse_foreign_place,
    require_mano,
    wait_for_rank_zero,
)
from .errors import InputError, one_line

app = typer.Typer(
    name="h2o",
    help="Occlusion labels, sequence clips, training and evaluation of H2ONet on DexYCB and HO3D.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    cls=Commands,
    rich_markup_mode=None,
)
USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]
"""What typer raises for unknown options, commands and values; older versions take it from click, newer ones have it."""
app.add_typer(cli_stores.labels, name="labels")
app.add_typer(cli_stores.clips, name="clips")
app.add_typer(cli_stores.table, name="table")
app.add_typer(cli_model.app)
app.add_typer(cli_predict.app)
app.add_typer(cli_view.app)


def main() -> None:
    """Entry point of the `h2o` command: wrong usage and bad input become one line on stderr and exit code 2."""
    # Libraries bring half a million objects that live as long as the process. To look through them again and again
    # while they are loaded, and once more at the end, takes a quarter of a short command's time.
    gc.set_threshold(50_000, 20, 50)
    atexit.register(gc.freeze)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started the command: nobody wants to read
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 for the rest of the process
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("h2onet").setLevel(logging.INFO if first_process() else logging.ERROR)
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 26))  # read when OpenCV is loaded, in workers too
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # paths of bytes that are no text are printed as they are
    try:
        code = app(prog_name="h2o", standalone_mode=False)
        sys.stdout.flush()  # here, where a full disk behind it is still an error of the command
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # which typer makes a 1
            _end_unprinted(end.__context__)
        raise
    except InputError as error:
        wait_for_rank_zero()
        print(f"h2o: {one_line(error, 4000)}", file=sys.stderr)
        sys.exit(2)
    except USAGE_ERROR as error:
        sys.exit(_usage(error))
    except OSError as error:
        if error.filename is None:
            _end_unprinted(error)
        where = error.filename2 or error.filename
        print(f"h2o: {one_line(where)}: {error.strerror}; give a path that can be read or written", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        print("h2o: interrupted", file=sys.stderr)
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


def _end_unprinted(error: OSError) -> NoReturn:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EPIPE):
        raise error
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
    if error.errno == errno.EPIPE:  # `h2o ... | head`: the reader has what it wants
        sys.exit(128 + signal.SIGPIPE)
    print(f"h2o: output: {error.strerror}; free space on the disk that takes it and run it again", file=sys.stderr)
    sys.exit(2)


def _usage(error: Exception) -> int:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "h2o"
    text = str(getattr(error, "format_message", error.__str__)())
    wait_for_rank_zero()
    if type(error).__name__ == "NoArgsIsHelpError":  # the help page is the answer
        try:
            print(text, flush=True)
        except OSError as unprinted:
            _end_unprinted(unprinted)
    else:
        print(f"h2o: {' '.join(text.split()).rstrip('.')}; see `{command} --help`", file=sys.stderr)
    return 2


def print_version(wanted: bool) -> None:
    """`--version` prints the version and ends the command."""
    if wanted:
        print(f"h2onet {__version__}")
        raise typer.Exit


@app.callback()
def h2o(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """The options of `h2o` itself."""


@app.command()
def synthesize(
    out: Annotated[Path, typer.Argument(help="Folder to create: the dataset's root itself.")],
    layout: Annotated[str, typer.Option(help="dexycb, ho3d-v2 or ho3d-v3.")],
    sequences: Annotated[int | None, typer.Option(min=1, help="Number of sequences (recordings); default 8.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Frames per sequence; default 36.")] = None,
    cameras: Annotated[int | None, typer.Option(min=1, max=8, help="Cameras per sequence; default 3.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    handling: Annotated[
        str, typer.Option(help="lift: reach, grasp, lift. gestures: behind a stack. mixed: both.")
    ] = "lift",
    hands: Annotated[
        int, typer.Option(min=1, max=2, help="2: the other hand passes before the annotated one (dexycb only).")
    ] = 1,
    looks: Annotated[
        str, typer.Option(help="plain: a laboratory. wide: any colours, patterns, light and backgrounds.")
    ] = "plain",
    motion: Annotated[Path | None, typer.Option(help="Replay real trajectories from this npz file.")] = None,
    motion_step: Annotated[int, typer.Option(min=1, help="Replay every n-th frame.")] = 1,
    workers: Workers = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a synthetic dataset in the exact on-disk layout of DexYCB or HO3D, with hand and object models."""
    from .data.synthesize import SynthesizeSettings
    from .data.synthesize import synthesize as run

    chosen = {"sequences": sequences, "frames": frames, "cameras": cameras, "workers": workers}
    settings = SynthesizeSettings(
        out=out,
        layout=layout,
        seed=seed,
        handling=handling,
        hands=hands,
        looks=looks,
        motion=motion,
        motion_step=motion_step,
        overwrite=overwrite,
        **{name: value for name, value in chosen.items() if value is not None},
    )
    print(run(settings))


@app.command("prepare-labels")
def prepare_labels(
    dataset: Dataset,
    split: Annotated[str, typer.Option(help="train, val or test.")],
    out: Annotated[Path, typer.Option(help="The labels.zarr store to write.")],
    root: Root = None,
    setup: Annotated[str, typer.Option(help="DexYCB setup: s0, s1, s2 or s3.")] = "s0",
    annotations: Annotated[str, typer.Option(help="raw, or a HandOccNet annotation JSON.")] = "raw",
    mano: Mano = None,
    objects: Annotated[Path | None, typer.Option(help="Folder of object models (default: ROOT/models).")] = None,
    renderer: Annotated[str, typer.Option(help="auto, cpu or pyrender.")] = "auto",
    workers: Workers = None,
    scheduler: Scheduler = None,
    dashboard: Dashboard = False,
    json: Annotated[Path | None, typer.Option(help="Also write one JSON per frame in the authors' format.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Also draw a contact sheet (PNG), worst frames first.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Label only the first so many listed frames.")] = None,
    seg_channel: Annotated[
        str, typer.Option(help="HO3D: the hand's colour in seg: red, green, blue (auto: v2 red, v3 blue).")
    ] = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Render hand and object meshes and store the occlusion labels of every annotated frame."""
    from .pipeline.prepare_labels import LabelSettings
    from .pipeline.prepare_labels import prepare_labels as run

    summary = run(
        LabelSettings(
            dataset=dataset,
            root=dataset_root(dataset, root),
            split=split,
            setup=setup,
            annotations=annotations,
            mano=require_mano(mano),
            out=out,
            objects=objects,
            renderer=renderer,
            workers=workers,
            scheduler=scheduler,
            dashboard=dashboard,
            json=json,
            sheet=sheet,
            limit=limit,
            seg_channel=seg_channel,
            overwrite=overwrite,
        )
    )
    print(summary)
    finish(summary.failures, out.parent / "failures.jsonl")


@app.command()
def annotations(
    dataset: Dataset,
    split: Annotated[str, typer.Option(help="train, val or test.")],
    out: Annotated[Path, typer.Option(help="The JSON file to write.")],
    root: Root = None,
    setup: Annotated[str, typer.Option(help="DexYCB setup: s0, s1, s2 or s3.")] = "s0",
    mano: Mano = None,
    overwrite: Overwrite = False,
) -> None:
    """Convert a raw dataset tree to the HandOccNet-style annotation JSON."""
    from .data.annotations import write_annotations
    from .data.failures import failures_file

    done = write_annotations(dataset, dataset_root(dataset, root), split, setup, require_mano(mano), out, overwrite)
    print(done)
    finish(done.failures, failures_file(out))


@app.command("build-clips")
def build_clips(
    labels: Annotated[Path, typer.Option(help="labels.zarr written by prepare-labels.")],
    out: Annotated[str, typer.Option(help="The clips.zarr store to write (path or fsspec URL).")],
    root: Annotated[Path | None, typer.Option(help="Where the photographs lie now, if they moved.")] = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    dashboard: Dashboard = False,
    overwrite: Overwrite = False,
) -> None:
    """Cut the hand out of every labelled frame and store it with its labels, ready for training."""
    from .pipeline.build_clips import build_clips as run

    summary = run(
        labels, out, root=root, workers=workers, scheduler=scheduler, dashboard=dashboard, overwrite=overwrite
    )
    print(summary)
    finish(summary.failures, summary.failures_file)


@app.command()
def doctor(
    dataset: Annotated[
        str | None, typer.Option(help="Check a dataset's folder: dexycb, ho3d-v2, ho3d-v3, table.")
    ] = None,
    root: Root = None,
    mano: Mano = None,
) -> None:
    """What is installed, what the data lacks, what to do."""
    from .doctor import examine

    report = examine(dataset, root, mano)
    print(report)
    finish(0 if report.healthy else 1)


@app.command()
def demo(
    out: Annotated[
        Path,
        typer.Option(help="Folder for the sample, the stores, the runs and the page.", callback=refuse_foreign_place),
    ] = Path("runs/demo"),
    seed: Annotated[int, typer.Option(help="Seed of the sample.")] = 0,
    workers: Workers = None,
    overwrite: Overwrite = False,
) -> None:
    """All of it on a synthesized sample, ending in a page to look at."""
    from .demo import run_demo

    result = run_demo(out, seed=seed, workers=workers, overwrite=overwrite)
    print(result)
    exit_after_signal(result.interrupted)


if __name__ == "__main__":
    main()
