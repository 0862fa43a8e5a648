"""The `h2o` command that opens results in another program's viewer: view."""

from pathlib import Path
from typing import Annotated

import typer

from .cli_options import refuse_foreign_place

app = typer.Typer()


@app.command()
def view(
    source: Annotated[str, typer.Argument(help="labels.zarr, clips.zarr, or a folder that h2o predict wrote.")],
    out: Annotated[Path, typer.Option(help="The .rrd file to write.", callback=refuse_foreign_place)],
    sequence: Annotated[str | None, typer.Option(help="Camera sequence (default: the first with labels).")] = None,
    frames: Annotated[int, typer.Option(min=1, help="At most so many frames, evenly spaced.")] = 300,
    root: Annotated[Path | None, typer.Option(help="Where the photographs of labels lie now, if they moved.")] = None,
    mano: Annotated[
        str | None, typer.Option(help="Where the hand of the store lies now (default: where it was, then $MANO_DIR).")
    ] = None,
    spawn: Annotated[bool, typer.Option("--spawn", help="Open the viewer on the file.")] = False,
) -> None:
    """Write a scene for the viewer Rerun: photo, joints, hand, objects, labels over time."""
    from .pipeline.view.command import view as run

    print(run(source, out, sequence=sequence, frames=frames, root=root, mano=mano, spawn=spawn))
