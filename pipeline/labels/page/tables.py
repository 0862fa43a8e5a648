"""The page's numbers: every table says of how many known frames, fingers or joints its shares are."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....hand.parts import CAUSES, FINGERS, JOINT_NAMES, LABELS, PARTS, UNKNOWN
from .rows import Groups, LabelRows, fingers_hidden, share_text

Cell = str | int
BINS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""UniHOPE's bins of the visible share."""
MOST_GROUPS = 40
LONGEST = 10
"""Rows of a table of extremes: the recordings with most hidden, the sequences with the lowest overlap."""
OTHER_HAND = CAUSES.index("other hand")


@dataclass(frozen=True)
class Table:
    """A table of the page: `name` is its id; the first cell of a row names it; numbers are whole, shares are text."""

    name: str
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""


def mean_text(values: np.ndarray) -> str:
    """The mean of what is finite, `unknown` of nothing."""
    known = values[np.isfinite(values)]
    return f"{known.mean():.3f}" if len(known) else "unknown"


def store_table(rows: LabelRows) -> Table:
    """A row per store: what it is of, and in how many of its frames what is known."""
    body = []
    for number, labels in enumerate(rows.stores):
        mine, attrs = rows.store == number, labels.attrs
        known = (rows["labelled"], rows.depth_known.any(axis=1), np.isfinite(rows["mask_iou"]), rows["is_left"])
        counts = [int(np.count_nonzero(column & mine)) for column in known]
        failed = attrs.get("failures", "unknown")
        body.append((rows.paths[number], len(labels.sequences), len(labels), *counts, failed))
    header = ("", "camera sequences", "frames", "h2onet known", "depth known", "mask overlap known", "left hands")
    return Table("stores", "Stores", (*header, "failed"), body)


def finger_table(rows: LabelRows) -> Table:
    """Both rules, label by label; the whole hand has no depth label."""
    body = []
    for i, label in enumerate(LABELS):
        hidden, known = int(rows.hidden[:, i].sum()), int(rows.known[:, i].sum())
        line: list[Cell] = [label, hidden, known, share_text(hidden, known)]
        if label in PARTS:
            few, depth = int(rows.depth_hidden[:, i].sum()), int(rows.depth_known[:, i].sum())
            line += [few, depth, share_text(few, depth), mean_text(rows["visible_fraction"][:, i])]
        else:
            line += ["–"] * 4
        body.append(line)
    header = ("", "hidden (h2onet)", "of", "share", "mostly hidden (depth)", "of", "share", "mean seen share")
    return Table("fingers", "Every label by both rules, frames", header, body)


def fingers_per_frame_table(rows: LabelRows) -> Table:
    """How many fingers a frame hides, over the frames in which all five are known."""
    columns = {}
    for rule, (hidden, known) in fingers_hidden(rows).items():
        whole = known.all(axis=1)
        columns[rule] = np.bincount(hidden[whole].sum(axis=1), minlength=len(FINGERS) + 1)
    totals = {rule: int(counts.sum()) for rule, counts in columns.items()}
    body = [
        (str(n), *(cell for rule, c in columns.items() for cell in (int(c[n]), share_text(c[n], totals[rule]))))
        for n in range(len(FINGERS) + 1)
    ]
    note = "Frames in which all five are known: " + ", ".join(f"{n} ({rule})" for rule, n in totals.items()) + "."
    header = ("hidden fingers", "frames (h2onet)", "share", "frames (depth)", "share")
    return Table("per-frame", "Hidden fingers in a frame", header, body, note)


def joint_table(rows: LabelRows) -> Table:
    """Seen and hidden joints, and COCO's flags where a store has them."""
    seen, flags = rows["joint_visible"], rows["coco_visibility"]
    known = seen != UNKNOWN
    flagged = known & rows.has["coco_visibility"][:, None]  # COCO's 0 also stands for "nobody knows"
    body = []
    for j, joint in enumerate(JOINT_NAMES):
        total, hidden = int(known[:, j].sum()), int((seen[:, j] == 0).sum())
        counts = [int((flags[flagged[:, j], j] == flag).sum()) for flag in (2, 1, 0)]
        coco: list[Cell] = [*counts] if flagged[:, j].any() else ["unknown"] * 3
        body.append((joint, hidden, total, share_text(hidden, total), *coco, int(flagged[:, j].sum())))
    header = ("", "hidden", "of", "share", "COCO 2: seen", "1: hidden inside", "0: outside", "of")
    return Table("joints", "Joints by the depth rule, frames", header, body)


def cause_tables(rows: LabelRows) -> list[Table]:
    """What hides most of a part, in frames, and how much of it every cause hides on average."""
    cause, aware = rows["cause"], rows.knows_other_hands
    counted, shares = [], []
    causes = rows["hidden_fraction"], rows["other_hand_fraction"]
    for i, part in enumerate(PARTS):
        known = cause[:, i] != UNKNOWN
        counts: list[Cell] = [int((cause[:, i] == code).sum()) for code in range(len(CAUSES))]
        others = int((known & aware).sum())
        if not others:
            counts[OTHER_HAND] = "unknown"
        counted.append((part, *counts, int(known.sum()), others))
        means = [mean_text(causes[0][:, i, k]) for k in range(3)]
        finite = int(np.isfinite(causes[0][:, i]).all(axis=1).sum())
        shares.append((part, *means, mean_text(causes[1][:, i]), finite, int(np.isfinite(causes[1][:, i]).sum())))
    header = ("", "nothing hidden", *CAUSES[1:], "frames that know", "and know of another hand")
    return [
        Table("causes", "What hides most of a part, frames", header, counted),
        Table("cause-shares", "Mean share of a part that is hidden", ("", *CAUSES[1:], *header[-2:]), shares),
    ]


def bin_counts(values: np.ndarray, bins: Sequence[float]) -> np.ndarray:
    """Values in [low, high) per bin, the last with its end; NaN is in none."""
    return np.histogram(values[np.isfinite(values)], bins)[0]


def area_tables(rows: LabelRows) -> list[Table]:
    """Shares of the silhouette: in UniHOPE's bins, and what takes the rest."""
    names = {"seen of the whole silhouette": "hand_visible_area", "left by objects": "object_visible_area"}
    known = {title: int(np.isfinite(rows[name]).sum()) for title, name in names.items()}
    counts = {title: bin_counts(rows[name], BINS) for title, name in names.items()}
    body: list[list[Cell]] = []
    for k, (low, high) in enumerate(itertools.pairwise(BINS)):
        line: list[Cell] = [f"{low:g} to {high:g}"]
        for title in names:
            line += [int(counts[title][k]) if known[title] else "unknown", share_text(counts[title][k], known[title])]
        body.append(line)
    means: list[Cell] = ["mean"]
    for title, name in names.items():
        means += [mean_text(rows[name]), f"of {known[title]}"]
    hidden = rows["hand_hidden_area"]
    words = ("behind objects", "behind another hand", "outside the image")
    rest = [(word, mean_text(hidden[:, k]), int(np.isfinite(hidden[:, k]).sum())) for k, word in enumerate(words)]
    return [
        Table("areas", "Silhouettes, frames", ("share", *(w for t in names for w in (t, "share"))), [*body, means]),
        Table("area-causes", "What takes the rest of the silhouette", ("", "mean share", "of frames"), rest),
    ]


def group_table(rows: LabelRows, name: str, title: str, groups: Groups, most: int = MOST_GROUPS) -> Table:
    """Counts and balance of every group, those with most frames first where there are more than `most`."""
    frames = groups.count()
    by_rule = {
        rule: (groups.count(hidden.sum(axis=1)), groups.count(known.sum(axis=1)))
        for rule, (hidden, known) in fingers_hidden(rows).items()
    }
    causes = _finger_causes(rows, groups)
    joints = rows["joint_visible"]
    joint_known = groups.count((joints != UNKNOWN).sum(axis=1))
    joint_hidden = groups.count((joints == 0).sum(axis=1))
    area, aware = rows["hand_visible_area"], groups.count(rows.knows_other_hands)
    area_known, area_sum = groups.count(np.isfinite(area)), groups.count(np.nan_to_num(area))
    chosen = np.argsort(-frames, kind="stable")[:most]
    body = []
    for g in sorted(chosen.tolist()) if len(frames) <= most else chosen.tolist():
        line: list[Cell] = [groups.names[g], int(frames[g])]
        for hidden, known in by_rule.values():
            line += [int(hidden[g]), int(known[g]), share_text(hidden[g], known[g])]
        found: list[Cell] = [int(n) for n in causes[g, 1:]] if causes[g].sum() else ["unknown"] * (len(CAUSES) - 1)
        if not aware[g]:
            found[OTHER_HAND - 1] = "unknown"
        line += [*found, share_text(joint_hidden[g], joint_known[g]), int(joint_known[g])]
        line += [f"{area_sum[g] / area_known[g]:.3f}" if area_known[g] else "unknown", int(area_known[g])]
        body.append(line)
    header = ("", "frames", "hidden fingers (h2onet)", "of", "share", "mostly hidden (depth)", "of", "share")
    header = (*header, *(f"by {cause}" for cause in CAUSES[1:]), "joints hidden", "of", "silhouette seen", "of")
    left = len(frames) - len(body)
    note = f"The {len(body)} with most frames; {left} more are not shown." if left else ""
    return Table(name, title, header, body, note)


def _finger_causes(rows: LabelRows, groups: Groups) -> np.ndarray:
    """Fingers per group and cause, (groups, causes) int64; the unknown are left out."""
    cause = rows["cause"][:, : len(FINGERS)].astype(np.int64)
    codes = groups.of[:, None] * len(CAUSES) + cause
    counts = np.bincount(codes[cause != UNKNOWN], minlength=len(groups.names) * len(CAUSES))
    return counts.reshape(-1, len(CAUSES))


def recording_table(rows: LabelRows) -> Table:
    """The recordings that hide most fingers by the h2onet rule, or by the depth rule where only that is known."""
    groups, rules = rows.recording, fingers_hidden(rows)
    counts = {rule: (groups.count(h.sum(axis=1)), groups.count(k.sum(axis=1))) for rule, (h, k) in rules.items()}
    leading = counts["h2onet"] if counts["h2onet"][1].any() else counts["depth"]
    share = np.where(leading[1] > 0, leading[0] / np.maximum(leading[1], 1), -1.0)
    frames, order = groups.count(), np.argsort(-share, kind="stable")[:LONGEST]
    cameras = np.bincount(_first_rows(rows, groups), minlength=len(groups.names))
    body = []
    for g in order.tolist():
        line: list[Cell] = [groups.names[g], int(frames[g]), int(cameras[g])]
        for hidden, known in counts.values():
            line += [int(hidden[g]), int(known[g]), share_text(hidden[g], known[g])]
        body.append(line)
    header = ("", "frames", "camera sequences", "hidden fingers (h2onet)", "of", "share")
    note = f"{len(body)} of {len(groups.names)} recordings." if len(groups.names) > len(body) else ""
    title = "Recordings, those that hide most first"
    return Table("recordings", title, (*header, "mostly hidden (depth)", "of", "share"), body, note)


def _first_rows(rows: LabelRows, groups: Groups) -> np.ndarray:
    """The recording of every camera sequence that has a frame."""
    _, first = np.unique(rows.sequence, return_index=True)
    return groups.of[first]


def agreement_table(rows: LabelRows) -> Table:
    """Confusion of the two rules per part, where both have an answer, with Cohen's kappa."""
    body = []
    for i, part in enumerate(PARTS):
        both = rows.both_known[:, i]
        ours, theirs = rows.depth_hidden[both, i], rows.hidden[both, i]
        counts = [int(n.sum()) for n in (theirs & ours, theirs & ~ours, ~theirs & ours, ~theirs & ~ours)]
        total = int(both.sum())
        body.append((part, *counts, total, share_text(counts[0] + counts[3], total), kappa_text(counts)))
    header = ("", "both hidden", "only h2onet hidden", "only depth hidden", "both seen", "of", "agree", "kappa")
    return Table("agreement", "The two rules, frames", header, body)


def kappa_text(counts: Sequence[int]) -> str:
    """Cohen's kappa of both, only first, only second, neither: 1 at best, 0 by chance; a dash where it has no value."""
    both, first, second, neither = counts
    total = sum(counts)
    by_chance = (both + first) * (both + second) + (neither + first) * (neither + second)
    if not total:
        return "unknown"
    if by_chance == total**2:  # both rules always say the same one thing
        return "–"
    return f"{((both + neither) * total - by_chance) / (total**2 - by_chance):.2f}"


def mask_tables(rows: LabelRows) -> list[Table]:
    """Overlap of the rendered hand with the dataset's mask, and the camera sequences in which it is lowest."""
    overlap = rows["mask_iou"]
    known = np.isfinite(overlap)
    values, sequence = overlap[known].astype(np.float64), rows.sequence[known]
    if not len(values):
        return []
    words = ("lowest", "5 % below", "25 % below", "median", "75 % below", "95 % below")
    marks = [f"{mark:.3f}" for mark in np.percentile(values, (0, 5, 25, 50, 75, 95)).tolist()]
    order = np.lexsort((values, sequence))
    starts = np.flatnonzero(np.diff(sequence[order], prepend=-1))
    owners, pieces = sequence[order][starts].tolist(), np.split(values[order], starts[1:])
    medians = sorted((float(np.median(piece)), owner, len(piece)) for owner, piece in zip(owners, pieces, strict=True))
    low = [(rows.keys[owner][1], f"{middle:.3f}", frames) for middle, owner, frames in medians[:LONGEST]]
    return [
        Table("mask", "Overlap with the dataset's mask", ("", *words, "of frames"), [("overlap", *marks, len(values))]),
        Table("mask-sequences", "Camera sequences with the lowest overlap", ("", "median", "of frames"), low),
    ]
