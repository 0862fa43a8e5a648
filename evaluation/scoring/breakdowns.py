"""Errors by group, for breakdown.json: how much is hidden, which finger, why, for how long; object, subject, camera.

Lengths leave this module in millimetres. Rows of fingers are means over that finger's four joints.
"""

import itertools

import numpy as np
from numpy.typing import NDArray

from ...hand.parts import CAUSES, FINGERS, UNKNOWN
from .facts import FrameFacts
from .scores import FrameScores
from .summary import average, finger_errors, hidden_now, in_mm
from .temporal import HIDDEN, NEVER, VISIBLE, frames_since_change
from .visibility import joint_rows, joint_rows_together, occlusion_rows

Row = dict[str, float | int | None]

AREAS = (0.0, 0.25, 0.5, 0.75, 1.0)
FRACTIONS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
REAPPEARED = ((1, 3), (4, 10), (11, 30))  # frames since the finger was last hidden
HIDDEN_FOR = ((1, 5), (6, 15), (16, 30))  # frames since it was last visible


def break_down(scores: FrameScores, facts: FrameFacts) -> dict[str, dict]:
    """Compute the contents of breakdown.json: title -> group -> row. Titles without any known frame are left out."""
    found: dict[str, dict] = {"occlusion": occlusion_rows(scores.occluded_probability, scores.occluded)}
    labelled = (scores.occluded[:, :5] != UNKNOWN).all(1)
    if labelled.any():
        hidden = np.where(labelled, (scores.occluded[:, :5] == 1).sum(1), -1)
        found["occluded_fingers"] = {str(k): row(scores, hidden == k) for k in range(6) if (hidden == k).any()}
        found["finger"] = {
            finger: {
                name: finger_row(scores, one_finger(scores.occluded[:, i] == value, i))
                for name, value in (("visible", VISIBLE), ("hidden", HIDDEN))
            }
            for i, finger in enumerate(FINGERS)
        }
        found["window"] = by_window(scores, facts)
        found |= by_time(scores, facts)
    fraction = facts.visible_fraction[:, :5]
    found["visible_fraction"] = by_fraction(scores, fraction)
    found["joint_visibility"] = joint_rows(scores.joint_hidden_probability, facts.joint_visible)
    found["joint_visibility_together"] = joint_rows_together(scores.joint_hidden_probability, facts.joint_visible)
    found["joint"] = by_joint(scores, facts)
    found["hand_visible_area"] = by_area(scores, facts.hand_visible_area)
    found["object_visible_area"] = by_area(scores, facts.object_visible_area)
    found["cause"] = {
        name: finger_row(scores, facts.cause[:, :5] == code)
        for code, name in enumerate(CAUSES)
        if (facts.cause[:, :5] == code).any()
    }
    for title, values in facts.groups.items():
        found[title] = {str(value): row(scores, values == value) for value in np.unique(values)}
    return {title: rows for title, rows in found.items() if rows}


def row(scores: FrameScores, chosen: NDArray) -> Row:
    """The main errors over the chosen frames (N,) bool."""
    rotation = average(scores.rotation_errors[chosen])
    return {
        "frames": int(chosen.sum()),
        "mpjpe_mm": in_mm(scores.joint_errors[chosen]),
        "pa_mpjpe_mm": in_mm(scores.joint_errors_pa[chosen]),
        "mpvpe_mm": in_mm(scores.vertex_errors[chosen]),
        "pa_mpvpe_mm": in_mm(scores.vertex_errors_pa[chosen]),
        "orientation_deg": None if rotation is None else float(np.degrees(rotation)),
    }


def one_finger(chosen: NDArray, finger: int) -> NDArray[np.bool_]:
    """(N,) frames of one finger as the (N, 5) mask that `finger_row` takes."""
    mask = np.zeros((len(chosen), 5), bool)
    mask[:, finger] = chosen
    return mask


def finger_row(scores: FrameScores, chosen: NDArray) -> Row:
    """Joint errors of the chosen fingers: `chosen` (N, 5) bool of thumb .. little in every frame."""
    raw = finger_errors(scores.joint_errors)
    aligned = finger_errors(scores.joint_errors_pa)
    return {"fingers": int(chosen.sum()), "mpjpe_mm": in_mm(raw[chosen]), "pa_mpjpe_mm": in_mm(aligned[chosen])}


def by_joint(scores: FrameScores, facts: FrameFacts) -> dict[str, Row]:
    """Errors of all joints that are seen, and of all that are not (hidden or outside the image)."""
    found = {}
    for name, label in (("visible", 1), ("not visible", 0)):
        chosen = facts.joint_visible == label
        if chosen.any():
            found[name] = {
                "joints": int(chosen.sum()),
                "mpjpe_mm": in_mm(scores.joint_errors[chosen]),
                "pa_mpjpe_mm": in_mm(scores.joint_errors_pa[chosen]),
            }
    return found


def by_area(scores: FrameScores, area: NDArray) -> dict[str, Row]:
    """Frames by a visible share of the hand (N,), in UniHOPE's bins; a share on an edge belongs to the bin below."""
    found = {}
    for low, high in itertools.pairwise(AREAS):
        chosen = (area <= high) & ((area > low) if low else (area >= 0))
        if chosen.any():
            found[f"{low:.0%} to {high:.0%}"] = row(scores, chosen)
    return found


def by_fraction(scores: FrameScores, fraction: NDArray) -> dict[str, Row]:
    """Fingers by the share of them that is visible (N, 5), in five bins; 0 itself belongs to the first."""
    found = {}
    for low, high in itertools.pairwise(FRACTIONS):
        chosen = (fraction <= high) & ((fraction > low) if low else (fraction >= 0))
        if chosen.any():
            found[f"{low:.0%} to {high:.0%}"] = finger_row(scores, chosen)
    return found


def by_window(scores: FrameScores, facts: FrameFacts) -> dict[str, Row]:
    """Fingers by what the frame's window shows of them: now, only in a past frame, in none of its frames."""
    rows = {
        "visible now": finger_row(scores, scores.occluded[:, :5] == VISIBLE),
        "hidden now, seen earlier": finger_row(scores, hidden_now(scores, facts, seen=True)),
        "hidden now and earlier": finger_row(scores, hidden_now(scores, facts, seen=False)),
    }
    return {name: values for name, values in rows.items() if values["fingers"]}


def by_time(scores: FrameScores, facts: FrameFacts) -> dict[str, dict[str, Row]]:
    """Fingers after they re-appeared, by the frames since; and hidden ones, by how long they have been hidden."""
    labels = scores.occluded[:, :5]
    since = frames_since_change(labels, facts.sequence, facts.number)
    found: dict[str, dict[str, Row]] = {}
    for title, label, spans, rest in (
        ("after_reappearance", VISIBLE, REAPPEARED, "never hidden before"),
        ("hidden_for", HIDDEN, HIDDEN_FOR, "never seen before"),
    ):
        groups = {f"{low} to {high} frames": (since >= low) & (since <= high) for low, high in spans}
        groups |= {f"more than {spans[-1][1]} frames": since > spans[-1][1], rest: since == NEVER}
        rows = {name: finger_row(scores, chosen & (labels == label)) for name, chosen in groups.items()}
        found[title] = {name: values for name, values in rows.items() if values["fingers"]}
    return found
