"""The page of an evaluation, as one self-contained HTML file: its contents and the template.

It loads nothing from the network and holds everything it shows; the template is report.html beside this module. What
goes on it is decided in `clips` (evaluations on clips) and `ho3d.page` (HO3D's pred.json).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ...durable import write_text
from ...hand.pages import fill_template
from .cards import Card
from .published import Published
from .strips import Strip
from .tables import format_score, format_value

Interval = Mapping[str, Any] | None
Table = tuple[str, list[str], list[list[Any]]]


@dataclass(frozen=True)
class Section:
    """A part of the page with its own text: plots as SVG, pictures as (caption, data URI), a table as header, rows."""

    title: str
    text: str = ""
    plots: Sequence[str] = ()
    pictures: Sequence[tuple[str, str]] = ()
    table: tuple[Sequence[str], Sequence[Sequence[str]]] | None = None


@dataclass(frozen=True)
class Page:
    """The contents of a page, in order. Empty parts are left out.

    about: parts of the line below the title; tiles, metrics: (name, value, {"low", "high"} or None), of `recordings`
    recordings; strips and frames: title -> sequences with their pictures as data URIs, cards of frames; tables: (title,
    header, rows); published: this evaluation first; protocol: (name, text).
    """

    title: str
    about: Sequence[str]
    tiles: Sequence[tuple[str, Any, Interval]]
    metrics: Sequence[tuple[str, Any, Interval]]
    metrics_text: str
    recordings: int
    protocol: Sequence[tuple[str, str]]
    frames: Mapping[str, Sequence[Card]]
    frames_text: str
    tables: Sequence[Table]
    published: Sequence[Published]
    published_text: str
    plots: Sequence[str] = ()
    strips: Mapping[str, Sequence[tuple[Strip, str]]] | None = None
    first: Sequence[Section] = ()
    training: Section | None = None


def write_page(path: Path, page: Page) -> None:
    """Fill the template and write the page."""
    template = resources.files("h2onet.evaluation.page").joinpath("report.html").read_text("utf-8")
    write_text(path, fill_template(template, {"show": format_value, "score": format_score}, page=page))
