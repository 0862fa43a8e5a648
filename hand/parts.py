"""The hand's six parts: which vertex and which face belongs to thumb, index, middle, ring, little finger or palm.

This module owns the words of labels (parts, causes, the network's outputs), fingertip vertices, joint orders and the
skeleton. For MANO's topology the parts are the partition of the authors' occlusion labeller; any other topology is
divided by its skinning weights. No units here: all of it is about indices. Part ids are integers 0..5 in the order of
`PARTS`; 255 stands for "nothing" in pictures of part ids and for "unknown" in labels.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..errors import InputError

FINGERS = ("thumb", "index", "middle", "ring", "little")
PARTS = (*FINGERS, "palm")
LABELS = (*PARTS, "global")
PALM = 5
NOTHING = 255
UNKNOWN = 255

CAUSES = ("none", "object", "own hand", "outside the image", "other hand")
"""Why a part is hidden, by code: 0 nothing is hidden, 1 an object, 2 the hand itself, 3 the border of the image, 4
another hand."""

OUTPUTS = (*FINGERS, "global")
"""What the network's six occlusion outputs speak of, in order; it has none for the palm."""
LABEL_OF_OUTPUT = tuple(LABELS.index(name) for name in OUTPUTS)

JOINTS, VERTICES, FACES = 21, 778, 1538
"""Sizes of MANO's hand with its fingertips as joints; the stand-in hand has the same."""

# The finger (or palm) that each of MANO's 16 joints moves; MANO's order is wrist, index, middle, little, ring, thumb.
PART_OF_JOINT = np.array([5, 1, 1, 1, 2, 2, 2, 4, 4, 4, 3, 3, 3, 0, 0, 0], dtype=np.uint8)

# Row i of the 21 joints (wrist, then thumb..little, base to tip) in [16 MANO joints, 5 tips thumb..little], which is
# also the order of HO3D's files.
JOINTS_FROM_MANO = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)
ORDERS: dict[str, tuple[int, ...]] = {
    "h2onet": tuple(range(JOINTS)),
    "ho3d": JOINTS_FROM_MANO,
    "mediapipe": tuple(range(JOINTS)),
}
"""Orders of the 21 joints by user: row i of this project's order is row ORDERS[name][i] of that one."""
FINGER_JOINTS = tuple(range(1 + 4 * i, 5 + 4 * i) for i in range(len(FINGERS)))
"""The four of the 21 joints that belong to each finger, base to tip; 0 is the wrist."""
FINGER_CHAINS = tuple((0, *joints) for joints in FINGER_JOINTS)
"""The skeleton: for each finger its joints from the wrist to the tip, neighbours joined by a bone."""
JOINT_NAMES = ("wrist", *(f"{finger}_{k}" for finger in FINGERS for k in ("mcp", "pip", "dip", "tip")))

# Fingertip vertices (thumb, index, middle, ring, little) by user. Sets differ by 4-6 mm on the fingertips, and
# manopth's middle finger differs between its right and its left hand.
TIPS: dict[str, dict[str, tuple[int, int, int, int, int]]] = {
    "manopth": {"right": (745, 317, 444, 556, 673), "left": (745, 317, 445, 556, 673)},
    "h2onet": {"right": (745, 317, 445, 556, 673), "left": (745, 317, 445, 556, 673)},
    "ho3d": {"right": (744, 333, 444, 555, 672), "left": (744, 333, 444, 555, 672)},
    "smplx": {"right": (744, 320, 443, 554, 671), "left": (744, 320, 443, 554, 671)},
}

# The authors' partition of MANO's 778 vertices and 1538 faces, both ends of a range included; the rest is palm.
_VERTEX_RANGES = {
    "thumb": "6-10 28-31 43 89 104-105 123-126 240 248-253 266-267 286-287 697-768",
    "index": "46-49 56-59 86-87 133-140 155-156 164-177 186 189 194-195 212-213 221-226 237-238 245 258 260-261 263 "
    "272-274 280-283 294-355",
    "middle": "185 187 246 262 269-270 277 356-467",
    "ring": "76 141 162-163 197-198 247 276 290-293 468-579",
    "little": "161 199 201-202 289 580-696",
}
_FACE_RANGES = {
    "thumb": "16-17 72-73 92-93 233-236 259 330-331 334-335 360-361 1231-1382 1462-1463 1472 1474-1479 1530-1537",
    "index": "28-29 34-35 52-53 100-103 116-117 128-135 146-149 154-157 184-185 195-200 203-204 219-220 229-230 "
    "253-254 264-265 274-277 286-289 298-307 314-315 320-321 346-347 350-353 364-365 368-369 374-375 381-532",
    "middle": "533-764",
    "ring": "342-343 377 379-380 773-1000 1387-1388 1395-1396",
    "little": "1001-1230 1433-1434",
}
_MANO_TOPOLOGY = "7b94ab50583d68cc3c0be40ba20cbad005e40df06d99a981049a0a8e354521ec"


@dataclass(frozen=True)
class Parts:
    """Part id of every vertex `(V,)` and of every face `(F,)`, uint8, 0..5 in the order of `PARTS`."""

    vertex: np.ndarray
    face: np.ndarray


@lru_cache(maxsize=1)
def mano_parts() -> Parts:
    """The authors' partition of MANO's topology: vertices 100/122/119/124/122/191, faces 186/232/232/237/232/419."""
    vertex = _ids_from_ranges(_VERTEX_RANGES, VERTICES)
    face = _ids_from_ranges(_FACE_RANGES, FACES)
    return Parts(_frozen(vertex), _frozen(face))


def parts_from_weights(weights: np.ndarray, faces: np.ndarray) -> Parts:
    """Parts of a hand of any topology from its skinning weights.

    A vertex belongs to the finger whose joint moves it most, or to the palm when that joint is the wrist; so a finger
    begins where its first joint takes over from the wrist; ties go to the earlier joint, the wrist first. A face is a
    finger's when all three of its vertices are, else the palm's: on MANO that rule agrees best with the authors' faces
    (6 of 1538 differ, against 55 for the majority of the vertices).

    weights: `(V, 16)`, joints in MANO's order. faces: `(F, 3)` vertex ids. Raises InputError for other shapes.
    """
    weights, faces = np.asarray(weights), np.asarray(faces)
    if weights.ndim != 2 or weights.shape[1] != len(PART_OF_JOINT):
        raise InputError(f"weights: expected shape (V, 16), found {weights.shape}; pass the hand's skinning weights")
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.min() < 0 or faces.max() >= len(weights):
        raise InputError(f"faces: expected (F, 3) ids below {len(weights)}, found {faces.shape}; weights must match")
    vertex = PART_OF_JOINT[weights.argmax(axis=1)]
    a, b, c = vertex[faces].T
    face = np.where((a == b) & (b == c), a, PALM).astype(np.uint8)
    return Parts(_frozen(vertex), _frozen(face))


def is_mano_topology(faces: np.ndarray) -> bool:
    """Whether `faces` `(F, 3)` are MANO's, in MANO's order, whatever the winding (MANO_LEFT winds the other way)."""
    faces = np.asarray(faces)
    if faces.shape != (FACES, 3):
        return False
    return hashlib.sha256(np.sort(faces, axis=1).astype("<i4").tobytes()).hexdigest() == _MANO_TOPOLOGY


def parts_of(faces: np.ndarray, weights: np.ndarray) -> Parts:
    """The authors' partition for MANO's topology, else `parts_from_weights`."""
    return mano_parts() if is_mano_topology(faces) else parts_from_weights(weights, faces)


def bone_length(joints: np.ndarray) -> np.ndarray:
    """The length (N,) m of all bones of hands (N, 21, 3)."""
    bones = [np.linalg.norm(np.diff(joints[:, list(chain)], axis=1), axis=2).sum(axis=1) for chain in FINGER_CHAINS]
    return np.sum(bones, axis=0)


def tip_vertices(tips: str, side: str) -> tuple[int, int, int, int, int]:
    """The five fingertip vertices, thumb to little, of a named set. Raises InputError for an unknown name or side."""
    if tips not in TIPS:
        raise InputError(f"tips: expected one of {', '.join(TIPS)}, found {tips!r}")
    if side not in TIPS[tips]:
        raise InputError(f"side: expected right or left, found {side!r}")
    return TIPS[tips][side]


def _ids_from_ranges(ranges: dict[str, str], count: int) -> np.ndarray:
    ids = np.full(count, PALM, dtype=np.uint8)
    for part, text in ranges.items():
        for piece in text.split():
            first, _, last = piece.partition("-")
            ids[int(first) : int(last or first) + 1] = PARTS.index(part)
    return ids


def _frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array
