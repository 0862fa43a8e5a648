"""One performance: the hand's meshes over time and the objects, and how it is photographed.

Everything in the table's frame, metres. Writers of dataset layouts convert it to their own frames and files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from ...hand.array_record import STANDIN
from ...hand.arrays import load_arrays
from ...hand.rotations import matrix_from_axis_angle, move_hand
from ...hand.skinning import SkinnedHand
from .motion.gestures import make_gestures
from .motion.passing import make_passing
from .motion.reach import Recording, make_recording
from .motion.skeleton import skeleton_of
from .scene.room import HEIGHT, WIDTH, Camera, Look
from .scene.shading import View, view_of
from .scene.shadows import cast_shadows
from .scene.shot import HAND, OTHER_HAND, HandShape, Shot, geometry_of, skin_colours, take_shot, textures_of
from .scene.wide import widen


@dataclass(frozen=True, eq=False)
class Performance:
    """A recording with its hand posed.

    vertices (F, 778, 3) and joints (F, 21, 3) m in the table's frame; root (3,) m is the rest wrist J0; coefficients
    (F, 45) are the finger pose in the hand's PCA basis. `other`: the person's other hand in the same frames, where it
    is in the picture; it has no further one.
    """

    recording: Recording
    vertices: np.ndarray
    joints: np.ndarray
    root: np.ndarray
    coefficients: np.ndarray
    other: Performance | None = None


@cache
def hand_model(side: str) -> SkinnedHand:
    """The stand-in hand, once per process."""
    return SkinnedHand(load_arrays(STANDIN, side))


def subject_betas(seed: int, subject: int) -> np.ndarray:
    """The shape (10,) of a subject's hands, both alike; rounded so that it survives a text file unchanged."""
    drawn = np.random.default_rng([seed, 31, subject]).normal(0.0, 0.75, 10)
    return np.round(np.clip(drawn, -2.0, 2.0), 6)


def perform(recording: Recording) -> Performance:
    """Pose the stand-in hand for every frame of a recording."""
    model = hand_model(recording.side)
    root = model.root(recording.betas)
    coefficients = model.basis.coefficients(recording.pose[:, 3:])
    vertices, joints = model.pose(recording.pose, recording.betas[None], recording.wrist - root)
    return Performance(recording, vertices, joints, root, coefficients)


def joints_in_view(joints: np.ndarray, camera: Camera) -> np.ndarray:
    """How many of the 21 joints (F, 21, 3) m of every frame fall into the camera's image: (F,) int."""
    pixels, depth = camera.project(joints.reshape(-1, 3))
    inside = (depth > 0.05) & (pixels >= 0).all(axis=1) & (pixels < [WIDTH, HEIGHT]).all(axis=1)
    return inside.reshape(joints.shape[:2]).sum(axis=1)


def make_performance(
    side: str,
    betas: np.ndarray,
    grasped: str,
    others: int,
    frames: int,
    rig: tuple[Camera, ...],
    stage: str,
    rng: np.random.Generator,
) -> Performance:
    """`frames` frames of somebody taking `grasped`.

    stage: "entry" begins shortly before the hand is in view, "reach" has the grasp in the middle, "hold" begins
    with it, "gestures" shows a hand behind a stack instead (`motion.gestures`). At the start, frames in which less than
    half of `rig` sees half of the joints have no hand.
    """
    skeleton = skeleton_of(hand_model(side).arrays, betas)
    if stage == "gestures":
        return perform(make_gestures(skeleton, grasped, frames, rng))
    whole = perform(make_recording(skeleton, grasped, frames + 100, others, rng))
    seen = np.mean([joints_in_view(whole.joints, camera) >= 10 for camera in rig], axis=0)
    entry = int(np.argmax(seen >= 0.5))
    touch = whole.recording.touch
    early = min(int(rng.integers(2, 6)), frames // 4)
    start = {"entry": entry - early, "reach": max(touch - int(0.45 * frames), entry), "hold": touch + 1}[stage]
    start = max(start, 0)
    recording = replace(whole.recording, present=np.arange(len(whole.vertices)) >= entry)
    part = slice(start, start + frames)
    return Performance(
        recording.frames(start, frames),
        whole.vertices[part],
        whole.joints[part],
        whole.root,
        whole.coefficients[part],
    )


def with_other_hand(performance: Performance, cameras: tuple[Camera, ...], rng: np.random.Generator) -> Performance:
    """The same with the person's other hand, which passes between the first one and one of `cameras`."""
    recording = performance.recording
    side = "left" if recording.side == "right" else "right"
    skeleton = skeleton_of(hand_model(side).arrays, recording.betas)
    return replace(performance, other=perform(make_passing(skeleton, recording, performance.joints, cameras, rng)))


def looked(performance: Performance, look: Look, looks: str, cameras: int, seed: tuple[int, ...]) -> Look:
    """The look that was asked for: plain as it is, wide by a generator of its own, so that all the rest stays."""
    if looks == "plain":
        return look
    rest = hand_model(performance.recording.side).arrays.v_template
    return widen(look, rest, len(performance.recording.objects), cameras, np.random.default_rng(seed))


def hand_in_camera(performance: Performance, camera_from_table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """MANO pose (F, 48) rad and translation (F, 3) m of the hand in another frame; (4, 4) maps the table's into it."""
    recording = performance.recording
    return move_hand(
        recording.pose,
        recording.wrist - performance.root,
        performance.root,
        camera_from_table[:3, :3],
        camera_from_table[:3, 3],
    )


def shoot(
    performance: Performance, cameras: tuple[Camera, ...], look: Look, seed: tuple[int, ...]
) -> Iterator[tuple[int, int, Shot]]:
    """All photos as (frame, camera, shot), frame by frame, so that a moment's meshes and shadows are made once.

    `seed` feeds the sensor noise, one generator per camera.
    """
    recording = performance.recording
    acts = [_shapes(performance, look, HAND)]
    if performance.other is not None:
        acts.append(_shapes(performance.other, look, OTHER_HAND))
    textures = textures_of(recording.objects, look.wide)
    middle = np.array([0.0, 0.0, 0.08])
    views = _views(cameras, look, middle)
    generators = [np.random.default_rng([*seed, i]) for i in range(len(cameras))]
    for frame in range(len(recording.pose)):
        hands = [shape for shapes in acts if (shape := shapes[frame]) is not None]
        geometry = geometry_of(hands, recording.objects, recording.object_poses[frame], look)
        shadows = cast_shadows(geometry, look.lights[0], middle)
        for i, view in enumerate(views):
            yield frame, i, take_shot(geometry, textures, view, look, shadows, generators[i])


def _views(cameras: tuple[Camera, ...], look: Look, middle: np.ndarray) -> list[View]:
    wide = look.wide
    if wide is None:
        return [view_of(camera, look, middle) for camera in cameras]
    return [
        view_of(replace(camera, gain=camera.gain * gain), look, middle, background)
        for camera, gain, background in zip(cameras, wide.gains, wide.backgrounds, strict=True)
    ]


def _shapes(performance: Performance, look: Look, identity: int) -> list[HandShape | None]:
    """The hand of every frame as it is drawn, None where it is absent."""
    recording, model = performance.recording, hand_model(performance.recording.side)
    colours = skin_colours(model.arrays.v_template, model.faces, model.arrays.weights, look.skin)
    if look.wide is not None:
        colours = np.clip(colours * look.wide.skin, 0.0, 1.0)
    backward = matrix_from_axis_angle(recording.pose[:, :3])[:, :, 0] * (1.0 if recording.side == "right" else -1.0)
    return [
        HandShape(vertices, back, model.faces, colours, identity) if there else None
        for vertices, back, there in zip(performance.vertices, backward, recording.present, strict=True)
    ]
