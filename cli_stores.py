"""The part of the command line that looks into stores and writes tables: `h2o labels`, `h2o clips`, `h2o table`."""

from pathlib import Path
from typing import Annotated

import typer

from .cli_help import Commands
from .cli_options import Mano, Overwrite, finish, refuse_foreign_place, require_mano
from .errors import InputError

clips = typer.Typer(help="Look into a clips.zarr store.", no_args_is_help=True, cls=Commands)


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
    out: Annotated[Path, typer.Option(help="Folder to write, which must not exist.", callback=refuse_foreign_place)],
    to: Annotated[str, typer.Option(help="Format: webdataset, lerobot, coco or parquet.")] = "webdataset",
) -> None:
    """Write pictures and labels for other trainers and tools."""
    from .pipeline.export_clips import export_clips

    print(export_clips(store, to, out))


@clips.command("card")
def clips_card(
    store: Annotated[str, typer.Argument(help="clips.zarr")],
    out: Annotated[
        Path | None, typer.Option(help="Markdown file to write (default: print it).", callback=refuse_foreign_place)
    ] = None,
) -> None:
    """Say in Markdown what is in the store, by which rules, under whose licences, with hashes."""
    from .data.loading.card import clip_card

    if out is not None and out.exists():
        raise InputError(f"--out {out}: exists already; give a new name")
    text = clip_card(store)
    if out is None:
        print(text, end="")
    else:
        from .durable import require_writable, write_text

        require_writable(out.parent, "--out")
        write_text(out, text)
        print(out)


labels = typer.Typer(help="Look into labels.zarr stores.", no_args_is_help=True, cls=Commands)
LabelFile = Annotated[Path, typer.Argument(help="labels.zarr")]


@labels.command("info")
def labels_info(store: LabelFile) -> None:
    """Rules, counts, balance per finger and cause, overlap with the masks."""
    from .pipeline.labels.info import label_info

    print(label_info(store))


@labels.command("verify")
def labels_verify(store: LabelFile) -> None:
    """Check every sequence's checksum, every column's bounds and the index; name what is damaged."""
    from .pipeline.labels.verify import verify

    problems = verify(store)
    for problem in problems:
        print(problem)
    print("no problems found" if not problems else f"{len(problems)} problems")
    finish(len(problems))


@labels.command("compare")
def labels_compare(a: LabelFile, b: LabelFile) -> None:
    """In what two stores differ, by column and frame; exit code 1 where they do."""
    from .pipeline.labels.compare import compare_labels

    found = compare_labels(a, b)
    print(found)
    if found.differs:
        raise typer.Exit(1)


@labels.command("report")
def labels_report(
    stores: Annotated[list[Path], typer.Argument(help="labels.zarr, one or several")],
    out: Annotated[Path, typer.Option(help="Page to write (.html).", callback=refuse_foreign_place)],
) -> None:
    """One page that loads nothing: balance, causes, time, agreement of the rules, frames that matter with a filter."""
    from .pipeline.labels.report import report_labels

    print(report_labels(stores, out))


@labels.command("export")
def labels_export(
    store: LabelFile,
    to: Annotated[str, typer.Option(help="Format: csv, parquet or coco.")],
    out: Annotated[Path, typer.Option(help="File to write.", callback=refuse_foreign_place)],
) -> None:
    """Write the labels for other programs: a row per frame, or COCO keypoints."""
    from .pipeline.labels.export import export_labels

    print(export_labels(store, to, out))


table = typer.Typer(help="Write a dataset as a table, which --dataset table reads.", no_args_is_help=True, cls=Commands)


@table.command("from")
def table_from(
    source: Annotated[str, typer.Argument(help="dexycb, ho3d-v2, ho3d-v3, or a HandOccNet annotation JSON.")],
    root: Annotated[Path, typer.Argument(help="The dataset's folder: photos, masks and models.")],
    split: Annotated[list[str], typer.Option(help="train, val or test (repeat for several).")],
    out: Annotated[Path, typer.Option(help="Folder of the table.")],
    setup: Annotated[str, typer.Option(help="DexYCB setup: s0, s1, s2 or s3.")] = "s0",
    mano: Mano = None,
    dataset: Annotated[str | None, typer.Option(help="Whose annotations a JSON holds (default: by ROOT).")] = None,
    rows: Annotated[str, typer.Option(help="jsonl, or parquet (needs pyarrow).")] = "jsonl",
    overwrite: Overwrite = False,
) -> None:
    """Write what is read from a dataset as a table; labels made from it are equal to the source's."""
    from .data.failures import failures_file
    from .pipeline.write_table import write_table

    done = write_table(
        source, root, split, setup, require_mano(mano), out, rows=rows, dataset=dataset, overwrite=overwrite
    )
    print(done)
    finish(done.failures, failures_file(out))
