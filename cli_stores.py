"""The part of the command line that looks into stores: `h2o clips ...`."""

from pathlib import Path
from typing import Annotated

import typer

from .cli_options import finish, refuse_foreign_place
from .errors import InputError

clips = typer.Typer(help="Look into a clips.zarr store.", no_args_is_help=True)


@clips.command("info")
def clips_info(store: Annotated[str, typer.Argument(help="clips.zarr")]) -> None:
    """Counts, sizes, label balance, missing frames."""
    from .data.loading.report import clip_info

    print(clip_info(store))


@clips.command("verify")
def clips_verify(store: Annotated[str, typer.Argument(help="clips.zarr")]) -> None:
    """Check every sequence's checksum and the index; name what is damaged."""
    from .data.loading.verify import verify

    problems = verify(store)
    for problem in problems:
        print(problem)
    print("no problems found" if not problems else f"{len(problems)} problems")
    finish(len(problems))


@clips.command("sheet")
def clips_sheet(
    store: Annotated[str, typer.Argument(help="clips.zarr")],
    out: Annotated[Path, typer.Option(help="PNG to write.", callback=refuse_foreign_place)] = Path("clips.png"),
    seed: Annotated[int, typer.Option(help="Chooses the windows.")] = 0,
) -> None:
    """Draw random windows with joints and labels."""
    from .data.loading.sheet import contact_sheet

    print(contact_sheet(store, out, seed=seed))


@clips.command("export")
def clips_export(
    store: Annotated[str, typer.Argument(help="clips.zarr")],
    out: Annotated[Path, typer.Option(help="Folder for the shards.", callback=refuse_foreign_place)],
    to: Annotated[str, typer.Option(help="Format: webdataset.")] = "webdataset",
) -> None:
    """Write the crops and labels for other trainers."""
    from .pipeline.export_clips import export_webdataset

    if to != "webdataset":
        raise InputError(f"--to: expected webdataset, found {to!r}")
    print(export_webdataset(store, out))
