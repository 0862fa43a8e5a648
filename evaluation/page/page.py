"""The page of an evaluation, as one self-contained HTML file: what can stand on it, and how it is put down.

It loads nothing from the network and holds everything it shows; the template lies beside this module. Which numbers and
pictures stand on it is said in `report.py` (clips) and `released_page.py` (HO3D's predictions).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from ...durable import writing_file
from .cards import Example
from .published import Published
from .strips import Strip
from .tables import score_text, text_of

Interval = Mapping[str, Any] | None
Table = tuple[str, list[str], list[list[Any]]]


@dataclass(frozen=True)
class Section:
    """A part of the page in its own words: plots as SVG text, pictures as data URIs, both with their captions."""

    title: str
    text: str = ""
    plots: Sequence[str] = ()
    pictures: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Page:
    """What stands on a page, in its order. Empty parts are left out.

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
    frames: Mapping[str, Sequence[Example]]
    frames_text: str
    tables: Sequence[Table]
    published: Sequence[Published]
    published_text: str
    plots: Sequence[str] = ()
    strips: Mapping[str, Sequence[tuple[Strip, str]]] | None = None
    first: Sequence[Section] = ()
    training: Section | None = None


def write_page(path: Path, page: Page) -> None:
    """Write the page; the file appears whole."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["show"], environment.filters["score"] = text_of, score_text
    text = resources.files("h2onet.evaluation.page").joinpath("report.html").read_text("utf-8")
    template = environment.from_string(text)
    text = template.render(page=page)
    with writing_file(path) as file:
        file.write(text.encode())
