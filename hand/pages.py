"""What the project's HTML pages share: their style, plots as SVG, pictures as data URIs, the filling of a template.

A page is one file that loads nothing from the network. Pictures are (H, W, 3) uint8 RGB. matplotlib and jinja2 are
loaded when a page is made, not before.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from ..durable import writing_file
from .draw import Picture, encode_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VIOLET, GREY = "#2f6db5", "#d9792b", "#4c9f70", "#a05aa8", "#8a8f98"
COLOURS = (BLUE, ORANGE, GREEN, VIOLET, GREY)


def new_figure(title: str, x: str, y: str, size: tuple[float, float] = (5.0, 3.1)) -> tuple[Figure, Axes]:
    """An empty plot in the pages' style, made without pyplot and so without display or global state; size in inches."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=size, layout="constrained")
    axes = drawing.add_subplot()
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    return drawing, axes


def to_svg(drawing: Figure, png: Path | None = None) -> str:
    """Render a drawing as an <svg> element; with `png` also write it as that file."""
    if png is not None:
        with writing_file(png) as file:
            drawing.savefig(file, format="png", dpi=150)
    text = io.StringIO()
    drawing.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def data_uri(picture: Picture, *, quality: int = 88) -> str:
    """Encode a picture as a JPEG data URI, for a self-contained page."""
    encoded = encode_picture(picture, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality])
    return "data:image/jpeg;base64," + base64.b64encode(encoded).decode("ascii")


def fill_template(template: str, filters: Mapping[str, Callable[..., Any]], **contents: Any) -> str:
    """Fill a page's template, whose `style` becomes the pages' style sheet (page.css beside this module).

    What is filled in is escaped unless the template says that it is safe; a name that is missing is an error.
    """
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters.update(filters)
    style = resources.files("h2onet.hand").joinpath("page.css").read_text("utf-8")
    return environment.from_string(template).render(style=style, **contents)
