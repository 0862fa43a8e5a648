"""`h2o labels report`: one page about the labels of one or several stores, with pictures of the frames that matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from ...durable import require_writable, write_text
from ...errors import InputError
from ...hand.pages import fill_template
from ...hand.parts import CAUSES, UNKNOWN
from .page import tables
from .page.cards import Gallery, make_gallery
from .page.plots import CAUSE_COLOURS, course_plots, first_plots, group_plots
from .page.rows import MOSTLY, LabelRows, fingers_hidden, read_rows_of, repeated_frames, share_text
from .page.tables import Table
from .page.times import choose_courses, time_table

MOST_COURSES = 6
_RULES_TEXT = (
    "h2onet, the rule that H2ONet is trained with, asks for 30 vertices of a part that project into the dataset's mask "
    "where the part is drawn. depth asks what the camera sees of a part's camera-facing skin; here a part counts as "
    f"hidden below a seen share of {MOSTLY:g}, whatever hides it, the hand itself too. docs/labels.md defines both."
)
_AGREEMENT_TEXT = (
    "Parts about which both rules have an answer. They are not meant to be the same: h2onet counts vertices of the far "
    "side too, depth draws its line (dashed) at half of the camera-facing skin. Kappa is Cohen's: 1 is full agreement, "
    "0 what chance alone would give."
)
MARK = b'<meta name="generator" content="h2onet labels report">'
_HEAD = 4096  # bytes of a page in which it stands
_AREA_TEXT = (
    "Shares of the hand's projection, in UniHOPE's bins: seen of all of it (objects, other hands and the image's "
    "border hide), and left by objects of what lies in the image."
)
_MASK_TEXT = (
    "The rendered hand, less what objects and other hands hide, against the dataset's own mask: a wrong hand model, "
    "calibration or mask lowers the overlap of a whole sequence."
)
_TIME_TEXT = (
    "Hidden fingers over the frames of a recording, its cameras together: above the share by both rules, below every "
    "finger by h2onet (by depth where only that is known); the darker, the more cameras do not see it. "
)


@dataclass(frozen=True)
class Part:
    """A section of the page: `name` is its anchor; a folded table is opened by a click."""

    name: str
    title: str
    text: str
    plots: Sequence[str]
    tables: Sequence[Table]
    folded: bool = False


@dataclass(frozen=True)
class Tile:
    """A number at the top of the page, with what it is of."""

    value: str
    name: str
    of: str


def report_labels(stores: Sequence[Path], out: Path) -> str:
    """Write the page of these stores, whole or not at all (an earlier page is replaced); returns a line that says so.

    InputError for stores that cannot be read, are named twice or hold no frame, and for an `out` that cannot be.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--out {out}: expected a name ending in .html")
    if out.is_dir():
        raise InputError(f"--out {out}: is a folder, expected the name of a page; give another name")
    if out.exists() and MARK not in out.read_bytes()[:_HEAD]:
        raise InputError(f"--out {out}: is no page of h2o labels report and would be replaced; give another name")
    require_writable(out.parent, "--out")
    rows = read_rows_of(stores)
    gallery = make_gallery(rows)
    template = resources.files("h2onet.pipeline.labels.page").joinpath("labels.html").read_text("utf-8")
    page = fill_template(
        template,
        {},
        title=_title(rows),
        about=_about(rows),
        tiles=make_tiles(rows),
        notes=_notes(rows),
        parts=make_parts(rows),
        gallery=gallery,
        problems=_problems(gallery),
        facts=_facts(rows),
        causes=list(zip(CAUSES[1:], CAUSE_COLOURS, strict=True)),
    )
    write_text(out, page)
    named = "1 store" if len(stores) == 1 else f"{len(stores)} stores"
    pictures = f"{gallery.drawn} of {len(gallery.cards)} pictures drawn"
    return f"{len(rows)} frames of {named}, {pictures} ({out.stat().st_size / 1e6:.1f} MB) in {out}"


def make_tiles(rows: LabelRows) -> list[Tile]:
    """The numbers at the top; what nobody knows says so."""
    recordings = len(rows.recording.names)
    tiles = [
        Tile(str(len(rows)), "frames", f"{int(rows['labelled'].sum())} labelled by h2onet"),
        Tile(str(recordings), "recordings", f"{len(rows.keys)} camera sequences"),
    ]
    words = {"h2onet": "fingers hidden (h2onet)", "depth": "fingers mostly hidden (depth)"}
    for rule, (hidden, known) in fingers_hidden(rows).items():
        tiles.append(Tile(share_text(hidden.sum(), known.sum()), words[rule], f"of {known.sum()} known"))
    joints = rows["joint_visible"]
    known = int((joints != UNKNOWN).sum())
    tiles.append(Tile(share_text((joints == 0).sum(), known), "joints hidden (depth)", f"of {known} known"))
    both = int(rows.both_known.sum())
    agreed = share_text(both - rows.disagreeing.sum(), both)
    tiles.append(Tile(agreed, "parts on which the rules agree", f"of {both} known by both"))
    for name, column, measure in (
        ("silhouette seen, mean", "hand_visible_area", np.mean),
        ("mask overlap, median", "mask_iou", np.median),
    ):
        values = rows[column][np.isfinite(rows[column])].astype(np.float64)
        tiles.append(Tile(f"{measure(values):.3f}" if len(values) else "unknown", name, f"of {len(values)} frames"))
    return tiles


def make_parts(rows: LabelRows) -> list[Part]:
    """The page's sections in order, with their numbers."""
    plots = first_plots(rows)
    courses = choose_courses(rows, MOST_COURSES)
    divisions = rows.groups
    bars = group_plots(divisions, rows)
    masks = tables.mask_tables(rows)
    shown = "Shown are the recordings in which most changes." if courses else "No recording has four frames."
    names = {title: f"by-{title.replace(' ', '-')}" for title in divisions}
    of_groups = [tables.group_table(rows, names[title], f"By {title}", groups) for title, groups in divisions.items()]
    of_fingers = [tables.finger_table(rows), tables.fingers_per_frame_table(rows)]
    of_time = [time_table(rows), tables.recording_table(rows)]
    cause_text = "What hides a part, by the depth rule: frames by the largest cause, and mean shares."
    mask_text = _MASK_TEXT if masks else "No frame has an overlap with a mask."
    return [
        Part("stores", "Stores", "", [], [tables.store_table(rows)]),
        Part("fingers", "Fingers", _RULES_TEXT, plots["fingers"], of_fingers),
        Part("joints", "Joints", "", plots["joints"], [tables.joint_table(rows)], folded=True),
        Part("causes", "Causes", cause_text, plots["causes"], tables.cause_tables(rows)),
        Part("areas", "The silhouette", _AREA_TEXT, plots["areas"], tables.area_tables(rows)),
        Part(
            "groups", "Balance", f"Hidden fingers by {', '.join(divisions)}.", [*bars.values()], of_groups, folded=True
        ),
        Part("time", "Over time", _TIME_TEXT + shown, [*plots["time"], *course_plots(courses)], of_time, folded=True),
        Part("agreement", "The two rules", _AGREEMENT_TEXT, plots["agreement"], [tables.agreement_table(rows)]),
        Part("mask", "Is it the right hand?", mask_text, plots["mask"], masks),
    ]


def _title(rows: LabelRows) -> str:
    names = []
    for labels in rows.stores:
        parts = [str(labels.attrs[name]) for name in ("dataset", "setup", "split") if labels.attrs.get(name)]
        names.append(" ".join(parts) or "labels")
    return f"Labels of {' + '.join(dict.fromkeys(names))}: {len(rows)} frames"


def _about(rows: LabelRows) -> list[str]:
    return [f"{path} ({len(labels)})" for path, labels in zip(rows.paths, rows.stores, strict=True)]


def _notes(rows: LabelRows) -> list[str]:
    """What a reader should know first: what the runs themselves warned about, frames that are counted twice."""
    found = []
    for path, labels in zip(rows.paths, rows.stores, strict=True):
        found += [f"{path}: {warning}" for warning in labels.attrs.get("warnings") or ()]
        lost = labels.attrs.get("lost_sequences") or ()
        found += [f"{path}: {len(lost)} camera sequences were lost, the first: {lost[0]}"] if lost else []
        missing = [name for name in rows.has if name not in set(labels.index)]
        if missing:
            found.append(
                f"{path}: was written by an earlier version, so {', '.join(missing)} and whether another hand hides "
                "something are unknown there; prepare-labels --overwrite labels anew"
            )
    if twice := repeated_frames(rows):
        found.append(f"{twice} frames are in more than one store, and are counted in each of them")
    return found


def _problems(gallery: Gallery, most: int = 8) -> list[str]:
    """What could not be drawn, at most eight lines."""
    more = len(gallery.problems) - most
    return [*gallery.problems[:most], *([f"... and {more} more"] if more > 0 else [])]


def _facts(rows: LabelRows) -> list[tuple[str, str]]:
    """What the stores say about how they were made."""
    found = []
    for path, labels in zip(rows.paths, rows.stores, strict=True):
        attrs = labels.attrs
        skipped = ", ".join(f"{n} ({reason})" for reason, n in (attrs.get("skipped") or {}).items())
        hands = ", ".join(f"{side} {hand['sha256'][:12]}" for side, hand in (attrs.get("mano") or {}).items())
        rules = ", ".join(f"{name} {version}" for name, version in (attrs.get("rules") or {}).items())
        for name, value in (
            ("label rules", rules or "not recorded"),
            ("renderer", attrs.get("renderer") or "not recorded"),
            ("dataset's folder", attrs.get("root")),
            ("object meshes", attrs.get("objects")),
            ("hand", " ".join(part for part in (attrs.get("mano_path"), f"(sha256 {hands})" if hands else "") if part)),
            ("mask", attrs.get("mask")),
            ("frames without a hand", skipped),
        ):
            found.append((f"{path}: {name}" if len(rows.stores) > 1 else name, str(value or "–")))
    return found
