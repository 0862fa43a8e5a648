"""Frames to labels: poses become meshes in one batch, then both rules run over what the renderer sees of each frame.

Metres in the OpenCV camera frame, pixels with pixel i covering [i, i+1). `occluded` is 1 for hidden, `joint_visible` 1
for seen; 255 and NaN stand for unknown. A frame that cannot be labelled becomes a `Failure` that says why: workers
return failures as data, and never a label for such a frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..data.frame import Failure, Frame
from ..errors import InputError
from ..hand.parts import LABELS, PARTS, UNKNOWN
from ..hand.skinning import SkinnedHand
from ..hand.zbuffer import viewport_of
from .area import HandArea, hand_area
from .hiding import depth_of_objects, objects_at
from .objects import ObjectLibrary
from .occlusion import (
    DEPTH_TOLERANCE,
    JOINT_SKIN,
    NO_HANDS,
    RULES,
    AuthorsLabel,
    DepthLabel,
    authors_rule,
    camera_facing,
    depth_rule,
    look,
    outward_sense,
    pixels_that_count,
    silhouette_iou,
)
from .pose import Hands, Posed, other_mesh, pose_frames, problem_of
from .raster import NEAR, Mesh, Renderer, View

JOINTS_FAR_OFF = 0.1
"""Mean distance of a frame's joints from its posed hand, m, from which one of the two is certainly wrong."""
BATCH = 64
"""Frames posed at once: large enough for the hand model, small enough for the cache (and 30 MB)."""


@dataclass(frozen=True, eq=False)
class FrameLabels:
    """Labels of N frames, row by row.

    labelled: (N,) bool, the h2onet rule was applied. occluded: (N, 7) uint8 by that rule, 255 unknown.
    visible_vertices: (N, 6) int32 by that rule, -1 unknown.
    By the depth rule: visible_fraction (N, 6) float32, hidden_fraction (N, 6, 3) float32 by object, own hand and image
    border, other_hand_fraction (N, 6) float32 (together they sum to 1), NaN unknown; cause (N, 6) uint8 and
    joint_visible (N, 21) uint8, 255 unknown; coco_visibility (N, 21) uint8, 2 visible, 1 hidden inside the image, 0
    outside or unknown; camera_facing (N, 6) int32, the number of vertices that those fractions are of, -1 unknown.
    Of the hand's silhouette (`area.HandArea`): hand_visible_area (N,) float32, hand_hidden_area (N, 3) float32 by
    object, other hand and image border, object_visible_area (N,) float32; NaN unknown.
    mask_iou: (N,) float32, agreement of rendered and dataset hand, NaN unknown. joints_off: (N,) float32 m, mean
    distance of the dataset's joints from the posed hand's, NaN unknown or where the dataset gives meshes.
    failures: (row, Failure) of frames that could not be labelled. missing_objects: (row, name) of objects without a
    mesh: the depth rule is unknown in such rows.
    """

    labelled: np.ndarray
    occluded: np.ndarray
    visible_vertices: np.ndarray
    visible_fraction: np.ndarray
    hidden_fraction: np.ndarray
    cause: np.ndarray
    camera_facing: np.ndarray
    joint_visible: np.ndarray
    other_hand_fraction: np.ndarray
    coco_visibility: np.ndarray
    hand_visible_area: np.ndarray
    hand_hidden_area: np.ndarray
    object_visible_area: np.ndarray
    mask_iou: np.ndarray
    joints_off: np.ndarray
    failures: tuple[tuple[int, Failure], ...] = ()
    missing_objects: tuple[tuple[int, str], ...] = ()


def _unknown(count: int) -> dict[str, np.ndarray]:
    """The arrays of FrameLabels before anything is known."""
    parts = len(PARTS)
    return {
        "labelled": np.zeros(count, bool),
        "occluded": np.full((count, len(LABELS)), UNKNOWN, np.uint8),
        "visible_vertices": np.full((count, parts), -1, np.int32),
        "visible_fraction": np.full((count, parts), np.nan, np.float32),
        "hidden_fraction": np.full((count, parts, 3), np.nan, np.float32),
        "cause": np.full((count, parts), UNKNOWN, np.uint8),
        "camera_facing": np.full((count, parts), -1, np.int32),
        "joint_visible": np.full((count, 21), UNKNOWN, np.uint8),
        "other_hand_fraction": np.full((count, parts), np.nan, np.float32),
        "coco_visibility": np.zeros((count, 21), np.uint8),
        "hand_visible_area": np.full(count, np.nan, np.float32),
        "hand_hidden_area": np.full((count, 3), np.nan, np.float32),
        "object_visible_area": np.full(count, np.nan, np.float32),
        "mask_iou": np.full(count, np.nan, np.float32),
        "joints_off": np.full(count, np.nan, np.float32),
    }


def label_frames(
    frames: Sequence[Frame],
    hands: Hands,
    objects: ObjectLibrary,
    renderer: Renderer,
    rules: Sequence[str] = tuple(RULES),
) -> FrameLabels:
    """Label frames by the named rules; poses run in batches of 64.

    Frames without pose and mesh (HO3D evaluation) and rules that are not named stay unknown. Raises InputError when a
    model is missing for a hand, or a rule's name is unknown; whatever is wrong with one frame is returned as a Failure.
    """
    if unknown := set(rules) - set(RULES):
        raise InputError(f"rules: expected some of {', '.join(RULES)}, found {', '.join(sorted(unknown))}")
    arrays = _unknown(len(frames))
    problems = {row: problem_of(frame, "h2onet" in rules) for row, frame in enumerate(frames)}
    usable = [row for row, frame in enumerate(frames) if frame.mano_pose is not None or frame.vertices is not None]
    usable = [row for row in usable if problems[row] is None]
    missing: list[tuple[int, str]] = []
    for start in range(0, len(usable), BATCH):
        rows = usable[start : start + BATCH]
        posed = pose_frames([frames[row] for row in rows], hands, left_too="depth" in rules)
        for i, row in enumerate(rows):
            frame = frames[row]
            if not (posed.own[i, :, 2] > NEAR).any():
                problems[row] = f"hand: expected it {NEAR} m or more before the camera, found it behind"
                continue
            if posed.joints_off[i] > JOINTS_FAR_OFF:
                problems[row] = (
                    f"joints: expected them at the posed hand, found them {posed.joints_off[i] * 1000:.0f} mm off on"
                    " average: wrong units, or joints of another frame?"
                )
                continue
            if frame.vertices is None:
                arrays["joints_off"][row] = posed.joints_off[i]
            if "h2onet" in rules and frame.hand_mask is not None:
                label = label_authors(frame, posed, i, hands, renderer)
                arrays["labelled"][row] = True
                arrays["occluded"][row] = label.occluded
                arrays["visible_vertices"][row] = label.visible_vertices
            if "depth" in rules:
                found = label_depth(frame, posed, i, hands, objects, renderer)
                arrays["mask_iou"][row] = found.mask_iou
                missing += [(row, name) for name in found.absent]
                if not found.absent:
                    _write_depth(arrays, row, found)
    failures = tuple((row, Failure(frames[row].image, text)) for row, text in problems.items() if text)
    return FrameLabels(**arrays, failures=failures, missing_objects=tuple(missing))


@dataclass(frozen=True, eq=False)
class DepthResult:
    """One frame by the rule "depth": the label, the shares of the silhouette, and what it rests on.

    mask_iou: the mask agreement, NaN without a mask. absent: objects without a mesh, which label and shares ignore.
    """

    label: DepthLabel
    area: HandArea
    mask_iou: float
    absent: list[str]


def _write_depth(arrays: dict[str, np.ndarray], row: int, found: DepthResult) -> None:
    label, area = found.label, found.area
    total = label.counts.sum(axis=1)
    shares = label.counts[:, 1:] / np.maximum(total, 1)[:, None]
    arrays["visible_fraction"][row] = label.visible_fraction
    arrays["hidden_fraction"][row], arrays["other_hand_fraction"][row] = shares[:, :3], shares[:, 3]
    arrays["coco_visibility"][row] = label.coco_visibility
    arrays["hand_visible_area"][row], arrays["hand_hidden_area"][row] = area.visible, area.hidden
    arrays["object_visible_area"][row] = area.before_objects
    arrays["cause"][row] = label.cause
    arrays["camera_facing"][row] = total
    arrays["joint_visible"][row] = label.joint_visible


def label_authors(frame: Frame, posed: Posed, i: int, hands: Hands, renderer: Renderer) -> AuthorsLabel:
    """Render and label one frame by the rule "h2onet"; i: the frame's place in `posed`. The frame must have a mask."""
    if frame.hand_mask is None:
        raise InputError(f"{frame.image}: hand mask: expected the dataset's segmentation, found none")
    points = posed.authors_2d[i]
    view = View(frame.intrinsics, frame.width, frame.height, viewport_of(points, frame.width, frame.height))
    parts = hands.right.parts
    wanted = pixels_that_count(points, view, frame.hand_mask)
    image = renderer.parts(Mesh(posed.authors[i], hands.right.faces, points), parts.face, view, wanted)
    return authors_rule(points, parts.vertex, image, frame.hand_mask)


def label_depth(
    frame: Frame, posed: Posed, i: int, hands: Hands, objects: ObjectLibrary, renderer: Renderer
) -> DepthResult:
    """Label one frame by the rule "depth"; i: the frame's place in `posed`."""
    model = hands.own(frame.side)
    points, vertices, joints = posed.own_2d[i], posed.own[i], posed.joints[i]
    all_points = np.concatenate([points, posed.joints_2d[i]])
    view = View(frame.intrinsics, frame.width, frame.height, viewport_of(all_points, frame.width, frame.height))
    placed, absent = objects_at(frame, view, objects, float(vertices[:, 2].max()))
    mesh = Mesh(vertices, model.faces, points)
    hand = renderer.inverse_depth([mesh], view)
    second = [other_mesh(other, hands, frame.intrinsics) for other in frame.others]
    others = renderer.inverse_depth(second, view) if second else NO_HANDS
    both = np.concatenate([vertices, joints])
    front = depth_of_objects(renderer, placed, view, hand, both, all_points, DEPTH_TOLERANCE)
    below = np.concatenate([np.full(len(vertices), DEPTH_TOLERANCE), JOINT_SKIN])
    state = look(both, all_points, below, hand, front, view, others)
    facing = camera_facing(vertices, model.faces, _sense(model))
    label = depth_rule(state[: len(vertices)], facing, model.parts.vertex, state[len(vertices) :])
    area = hand_area(renderer, mesh, view, hand, front, others)
    covers = np.maximum(front, others) if second else front
    iou = float("nan") if frame.hand_mask is None else silhouette_iou(hand, covers, view, frame.hand_mask)
    return DepthResult(label, area, iou, absent)


@lru_cache(maxsize=8)
def _sense(model: SkinnedHand) -> float:
    return outward_sense(model.arrays.v_template, model.faces)
