"""Options that several `h2o` commands share, and how their defaults are found."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from .errors import InputError

PATIENCE = 10.0  # s
ROOT_VARIABLES = {"dexycb": "DEX_YCB_DIR", "ho3d-v2": "HO3D_DIR", "ho3d-v3": "HO3D_DIR"}

Dataset = Annotated[str, typer.Option(help="dexycb, ho3d-v2, ho3d-v3, or table: a folder with a dataset.toml.")]
Root = Annotated[Path | None, typer.Option(help="The dataset's folder (default: $DEX_YCB_DIR or $HO3D_DIR).")]
Mano = Annotated[
    str | None,
    typer.Option(envvar="MANO_DIR", help="Folder with MANO_RIGHT.pkl and MANO_LEFT.pkl, or `standin`."),
]
Workers = Annotated[int | None, typer.Option(min=1, help="Local worker processes (default: one per core).")]
Scheduler = Annotated[str | None, typer.Option(help="Address of a running Dask scheduler, e.g. tcp://host:8786.")]
Dashboard = Annotated[
    bool, typer.Option("--dashboard", help="Show Dask's page of the local workers on 127.0.0.1 (needs bokeh).")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Discard an existing output and start anew.")]
Clips = Annotated[list[str], typer.Option(help="clips.zarr to train on (repeat to mix).")]
ValClips = Annotated[list[str] | None, typer.Option(help="clips.zarr for choosing the best checkpoint.")]
ClipsMano = Annotated[
    str | None,
    typer.Option("--mano", help="Where the hand of the clips lies now (default: where it was, then $MANO_DIR)."),
]
Hierarchy = Annotated[Path | None, typer.Option(help="transform.pkl, for the authors' .pth files.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="key=value, or several; they override the preset.")]
Checkpoint = Annotated[Path, typer.Option(help="Checkpoint folder, official .pth file, or `synthetic`.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


def dataset_root(dataset: str, root: Path | None) -> Path:
    """The dataset's folder from --root or its environment variable; InputError names both where neither is set."""
    from .data.readers.plugins import dataset_names

    if dataset not in (known := dataset_names()):
        raise InputError(f"--dataset: expected one of {', '.join(known)}, found {dataset!r}")
    variable = ROOT_VARIABLES.get(dataset)
    value = root or (os.environ.get(variable) if variable else None)
    if not value and variable is None:
        raise InputError(
            f"--root: no folder given for {dataset}; pass --root DIR (of a table, the folder with its dataset.toml)"
        )
    if not value:
        raise InputError(f"--root: no folder given for {dataset}; pass --root DIR or set {variable}")
    return Path(value)


def refuse_foreign_place(parameter: typer.CallbackParam, value: Path | None) -> Path | None:
    """For options that name an output: InputError where it lies inside a dataset or a store."""
    from .data.datasets import refuse_foreign

    if value is not None:
        refuse_foreign(value, f"--{parameter.name.replace('_', '-')}" if parameter.name else "--out")
    return value


def require_mano(mano: str | None) -> str:
    """The hand model's folder; there is no silent fallback to the stand-in hand."""
    if not mano:
        raise InputError(
            "--mano: no hand model given; pass the folder with MANO_RIGHT.pkl and MANO_LEFT.pkl "
            "(register at https://mano.is.tue.mpg.de) or set MANO_DIR, or name the built-in hand with --mano standin"
        )
    return mano


def first_process() -> bool:
    """Whether this process reports: the only one, or the first of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def wait_for_rank_zero() -> None:
    """Let the first process on this machine report a mistake that under torchrun every process meets.

    Other ranks wait PATIENCE s; if torchrun has not ended them by then, they report their own error.
    """
    if os.environ.get("LOCAL_RANK", "0") != "0":
        time.sleep(PATIENCE)


def exit_after_signal(name: str | None) -> None:
    """Leave with 128 + its number where a signal ("SIGTERM") ended the work, as shells expect."""
    if name:
        raise typer.Exit(128 + signal.Signals[name])


def finish(failures: int, where: Path | str | None = None) -> None:
    """Leave with 1 where frames failed, naming their list."""
    if failures:
        print(f"{failures} failed; listed in {where}" if where else f"{failures} failed", file=sys.stderr)
        raise typer.Exit(1)
