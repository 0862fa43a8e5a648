"""What is to be seen of one frame, whichever file it comes from: photo, camera, hands, objects, numbers.

Metres in the OpenCV camera frame, pixels of the picture that is shown; joints wrist, thumb .. little. What is not
known is None, or NaN in an array.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from ...hand.parts import PARTS
from ...labeling.overlay import PART_COLOURS

CAUSE_COLOURS = np.array([(170, 176, 190), (201, 56, 48), (230, 160, 60), (70, 110, 220), (150, 80, 190)], np.uint8)
"""(5, 3) RGB by code of `hand.parts.CAUSES`: nothing hides it, an object, the hand itself, the image's border, another
hand."""
NOT_KNOWN = np.array((225, 225, 225), np.uint8)


@dataclass(frozen=True, eq=False)
class HandSurface:
    """What stays the same of a hand's mesh: faces (F, 3), and every vertex's part id (V,), None for other meshes."""

    faces: np.ndarray
    vertex_part: np.ndarray | None

    def part_colours(self) -> np.ndarray:
        """(V, 3) uint8 RGB, a colour per part; grey without parts."""
        if self.vertex_part is None:
            return np.broadcast_to(NOT_KNOWN, (int(self.faces.max()) + 1, 3))
        return PART_COLOURS[self.vertex_part]

    def cause_colours(self, cause: np.ndarray | None) -> np.ndarray:
        """(V, 3) uint8 RGB, a colour per cause (6,) of the vertex's part; light grey where it is unknown."""
        if self.vertex_part is None or cause is None:
            return np.broadcast_to(NOT_KNOWN, self.part_colours().shape)
        known = np.minimum(cause, len(CAUSE_COLOURS) - 1)
        by_part = np.where((cause < len(CAUSE_COLOURS))[:, None], CAUSE_COLOURS[known], NOT_KNOWN)
        return by_part[self.vertex_part].astype(np.uint8)


@dataclass(frozen=True, eq=False)
class SceneHand:
    """A hand of a frame. `name` is the same in every frame, "right" or "left-1".

    joints_2d (21, 2) px, NaN unknown; seen (21,) uint8, 1 seen, 0 hidden, 255 unknown; vertices (V, 3) m of `surface`;
    cause (6,) uint8, codes of `hand.parts.CAUSES`, 255 unknown.
    """

    name: str
    joints_2d: np.ndarray
    seen: np.ndarray
    surface: HandSurface | None = None
    vertices: np.ndarray | None = None
    cause: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class SceneObject:
    """An object: its name, its mesh, vertices (V, 3) m in its own frame and faces (F, 3), camera_from_object (3, 4)."""

    name: str
    vertices: np.ndarray
    faces: np.ndarray
    pose: np.ndarray


@dataclass(frozen=True, eq=False)
class SceneFrame:
    """One frame: its number in time, its picture as the bytes of a JPEG with width and height, and what it shows.

    intrinsics (3, 3) px of that picture; curves: numbers over time by "group/name", NaN where unknown.
    """

    number: int
    picture: bytes | None
    size: tuple[int, int]
    intrinsics: np.ndarray | None
    hands: tuple[SceneHand, ...]
    objects: tuple[SceneObject, ...] = ()
    curves: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Scene:
    """What `h2o view` writes: a title, the frames in order of time, made one by one as they are read, their number."""

    title: str
    frames: Iterator[SceneFrame]
    total: int


def label_curves(visible_fraction: np.ndarray, hand_visible_area: float) -> dict[str, float]:
    """The curves of a labelled frame: visible fraction of thumb .. little and palm (6,), and of the whole hand."""
    curves = {f"visible_fraction/{part}": float(value) for part, value in zip(PARTS, visible_fraction, strict=True)}
    return {**curves, "hand_visible_area/hand": float(hand_visible_area)}


def merge_hands(frames: Iterator[SceneFrame]) -> Iterator[SceneFrame]:
    """Frames of one number after each other as one: its hands side by side, each with curves of its own."""
    for _, group in itertools.groupby(frames, key=lambda frame: frame.number):
        first, *others = group
        hands, curves = list(first.hands), dict(first.curves)
        for number, other in enumerate(others, 1):
            hands += [replace(hand, name=f"{hand.name}-{number}") for hand in other.hands]
            curves |= {name.replace("/", f"/{other.hands[0].name}-{number}_", 1): v for name, v in other.curves.items()}
        yield replace(first, hands=tuple(hands), curves=curves)


def pick_rows(count: int, most: int) -> np.ndarray:
    """At most `most` of `count` rows, evenly spaced, the first one always."""
    if count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, most).round().astype(np.int64))
