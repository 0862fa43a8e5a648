"""Pictures of labels for a person: the photo, the hand's parts over it, a chip per label, and sheets of such cards.

Pictures are (h, w, 3) uint8 RGB. A card shows the hand's surroundings twice: as photographed, with the outline of the
dataset's hand mask, and with the model's parts in colour. What the camera sees is filled; what an object hides is
striped; what another hand hides is chequered, and that hand is outlined.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ..data.frame import Frame
from ..errors import InputError
from ..hand import draw
from ..hand.parts import CAUSES, LABELS, NOTHING, PARTS, UNKNOWN
from ..hand.zbuffer import rasterize, viewport_of
from .label import FrameLabels
from .objects import ObjectLibrary, place
from .pose import Hands, Posed, other_mesh, pose_frames
from .raster import Mesh

PART_COLOURS = np.array(
    [(230, 140, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (204, 101, 167), (170, 176, 190)], np.uint8
)
"""(6, 3) RGB, thumb to palm: Okabe and Ito's palette, told apart also by the colour-blind."""

BAD_AGREEMENT = 0.75
"""Overlap of the rendered hand with the dataset's mask below which a frame is looked at first."""
MOSTLY_OUTSIDE = 0.5
"""Mean share of the parts beyond the image's border from which a hand tells little."""

_PANEL, _MARGIN, _CHIP, _CAPTION = 384, 8, 80, 30
_PAPER, _INK, _QUIET = (250, 250, 248), (34, 36, 40), (128, 132, 138)
_HIDDEN, _SEEN, _OUTLINE, _OTHER = (201, 56, 48), (38, 132, 78), (255, 255, 255), (201, 56, 48)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_label(
    frame: Frame, photo: np.ndarray, labels: FrameLabels, row: int, hands: Hands, objects: ObjectLibrary
) -> np.ndarray:
    """A card (h, w, 3) uint8 RGB for one labelled frame: photo, part overlay, chips with label and cause, caption.

    photo: (height, width, 3) uint8 RGB of the frame; row: the frame's row in `labels`.
    Raises InputError when the photo has another size, or the frame has neither pose nor mesh.
    """
    left, right = draw_panels(frame, photo, hands, objects)
    width = 2 * _PANEL + 3 * _MARGIN
    card = np.full((_CAPTION + _PANEL + _CHIP + 3 * _MARGIN, width, 3), _PAPER, np.uint8)
    _caption(card, frame, labels, row)
    for i, panel in enumerate((left, right)):
        x = _MARGIN + i * (_PANEL + _MARGIN)
        card[_CAPTION : _CAPTION + _PANEL, x : x + _PANEL] = panel
    _chips(card, labels, row, _CAPTION + _PANEL + _MARGIN)
    return card


def draw_panels(
    frame: Frame, photo: np.ndarray, hands: Hands, objects: ObjectLibrary, side: int = _PANEL
) -> tuple[np.ndarray, np.ndarray]:
    """The hand's surroundings twice, (side, side, 3) uint8 RGB: with the dataset's mask outlined, with parts over them.

    photo: (height, width, 3) uint8 RGB of the frame.
    Raises InputError when the photo has another size, or the frame has neither pose nor mesh.
    """
    if photo.shape != (frame.height, frame.width, 3):
        raise InputError(f"{frame.image}: expected a photo of {frame.height}x{frame.width}x3, found {photo.shape}")
    if frame.mano_pose is None and frame.vertices is None:
        raise InputError(f"{frame.image}: there is no pose to draw")
    posed = pose_frames([frame], hands)
    x0, y0, extent = _square(posed.own_2d[0], frame.width, frame.height)
    scale = side / extent
    move = np.array([[scale, 0, -x0 * scale], [0, scale, -y0 * scale]])
    flags = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    seen = cv2.warpAffine(photo, move, (side, side), flags=flags, borderValue=(60, 60, 60))
    left, right = seen.copy(), seen
    if frame.hand_mask is not None:
        mask = cv2.warpAffine(frame.hand_mask.astype(np.uint8), move, (side, side), flags=cv2.INTER_NEAREST)
        outline, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(left, outline, -1, _OUTLINE, 1, cv2.LINE_AA)
    corner = np.array([x0, y0])
    hand, part = _parts_on_panel(frame, posed, hands, corner, scale, side)
    things = _nearest_of(_placed(frame, objects), corner, scale, side)
    others = _nearest_of([other_mesh(other, hands, frame.intrinsics) for other in frame.others], corner, scale, side)
    _tint(right, part, things > hand, (others > hand) & (others > things))
    _outline(right, others > np.maximum(things, hand))
    return left, right


def most_telling_first(labels: FrameLabels) -> list[int]:
    """Rows to look at first: a bad agreement with the mask, then in turns what objects, hands and the image hide.

    An agreement is bad below 0.75, where a wrong calibration or side shows. Hands that lie mostly outside the image
    tell little and come last. Rows without a label are left out.
    """
    rows = np.flatnonzero(labels.labelled | (labels.cause[:, 0] != UNKNOWN))
    hidden = np.nan_to_num(labels.hidden_fraction[rows]).mean(axis=1)  # by object, own hand, image border
    outside = hidden[:, 2] > MOSTLY_OUTSIDE
    agreement = np.nan_to_num(labels.mask_iou[rows], nan=1.0)
    occluded = (labels.occluded[rows] == 1).sum(axis=1)
    bad = (agreement < BAD_AGREEMENT) & ~outside
    taken = [int(i) for i in np.lexsort((rows, agreement)) if bad[i]]
    shares = [hidden[:, 0], hidden[:, 1], occluded]
    by_others = np.nan_to_num(labels.other_hand_fraction[rows]).mean(axis=1)
    if by_others.any():
        shares.insert(0, by_others)
    rankings = [np.lexsort((rows, -share)) for share in shares]
    for turn in zip(*([int(i) for i in ranking if not (bad[i] or outside[i])] for ranking in rankings), strict=True):
        taken += turn
    taken += [int(i) for i in np.lexsort((rows, agreement)) if outside[i]]
    return [int(rows[i]) for i in dict.fromkeys(taken)]


def contact_sheet(cards: Sequence[np.ndarray], columns: int = 2) -> np.ndarray:
    """Cards of one size side by side, row by row, (h, w, 3) uint8 RGB. Raises InputError without cards."""
    if not cards:
        raise InputError("contact sheet: expected at least one labelled frame, found none")
    height, width = cards[0].shape[:2]
    columns = min(columns, len(cards))
    rows = -(-len(cards) // columns)
    sheet = np.full((rows * (height + _MARGIN), columns * (width + _MARGIN), 3), 226, np.uint8)
    for i, card in enumerate(cards):
        y, x = i // columns * (height + _MARGIN), i % columns * (width + _MARGIN)
        sheet[y + _MARGIN // 2 : y + _MARGIN // 2 + height, x + _MARGIN // 2 : x + _MARGIN // 2 + width] = card
    return sheet


def write_picture(path: str | Path, picture: np.ndarray) -> Path:
    """Write an RGB picture as PNG or JPEG by suffix and return the path; InputError for another suffix."""
    path = Path(path)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InputError(f"{path}: expected a name ending in .png or .jpg")
    draw.write_picture(path, picture)
    return path


def _square(points: np.ndarray, width: int, height: int) -> tuple[float, float, float]:
    """Corner and side, px, of a square round the hand with a margin; at least 96 px."""
    x0, y0, x1, y1 = viewport_of(points, width, height)
    side = max(96.0, 1.35 * max(x1 - x0, y1 - y0))
    return (x0 + x1 - side) / 2, (y0 + y1 - side) / 2, side


def _parts_on_panel(
    frame: Frame, posed: Posed, hands: Hands, corner: np.ndarray, scale: float, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Inverse depth (side, side) and part ids (side, side) of the hand drawn at the panel's resolution."""
    model = hands.own(frame.side)
    points, z = (posed.own_2d[0] - corner) * scale, posed.own[0][:, 2]
    hand = rasterize(points, z, model.faces, width=side, height=side)
    face = hand.face[0]
    return hand.inverse_depth[0], np.where(face >= 0, model.parts.face[face], NOTHING).astype(np.uint8)


def _placed(frame: Frame, objects: ObjectLibrary) -> list[Mesh]:
    """The frame's objects that have a mesh and are present."""
    known = [(objects.get(item.name), item.pose) for item in frame.objects if np.any(item.pose[:, :3])]
    return [place(mesh, pose, frame.intrinsics) for mesh, pose in known if mesh is not None]


def _nearest_of(meshes: Sequence[Mesh], corner: np.ndarray, scale: float, side: int) -> np.ndarray:
    """Inverse depth (side, side) of the first surface of the meshes on the panel, 0 where there is none."""
    front = np.zeros((side, side), np.float32)
    for mesh in meshes:
        points = (mesh.points_2d - corner) * scale
        drawn = rasterize(points, mesh.vertices[:, 2], mesh.faces, width=side, height=side)
        front = np.maximum(front, drawn.inverse_depth[0])
    return front


def _outline(panel: np.ndarray, area: np.ndarray) -> None:
    """Outline of an area (p, p) bool, in place."""
    found, _ = cv2.findContours(area.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(panel, found, -1, _OTHER, 2, cv2.LINE_AA)


def _tint(panel: np.ndarray, part: np.ndarray, striped: np.ndarray, chequered: np.ndarray) -> None:
    """Colour the parts in place: filled where seen, with a pattern where hidden, dark lines between parts."""
    y, x = np.indices(part.shape)
    pattern = np.where(chequered, (x // 6 + y // 6) % 2 == 0, (x + y) // 5 % 2 == 0)
    hidden = striped | chequered
    shown = (part != NOTHING) & (~hidden | pattern)
    weight = np.where(hidden, 0.55, 0.66)[shown][:, None]
    colour = PART_COLOURS[part[shown]]
    panel[shown] = (weight * colour + (1 - weight) * panel[shown]).astype(np.uint8)
    edges = np.zeros(part.shape, bool)
    edges[:, 1:] |= part[:, 1:] != part[:, :-1]
    edges[1:] |= part[1:] != part[:-1]
    panel[edges] = (0.3 * panel[edges]).astype(np.uint8)


def _text(card: np.ndarray, text: str, x: int, y: int, colour: tuple[int, int, int], scale: float = 0.42) -> None:
    cv2.putText(card, text, (x, y), _FONT, scale, colour, 1, cv2.LINE_AA)


def _caption(card: np.ndarray, frame: Frame, labels: FrameLabels, row: int) -> None:
    iou = labels.mask_iou[row]
    agreement = "no mask" if np.isnan(iou) else f"mask agreement {iou:.2f}"
    (width, _), _ = cv2.getTextSize(agreement, _FONT, 0.42, 1)
    end = card.shape[1] - _MARGIN - width
    name = f"{frame.image}  ({frame.side})"
    while cv2.getTextSize(name, _FONT, 0.42, 1)[0][0] > end - 2 * _MARGIN:
        name = "..." + name[4:]
    _text(card, name, _MARGIN, 20, _INK)
    _text(card, agreement, end, 20, _HIDDEN if iou < 0.7 else _QUIET)


def _chips(card: np.ndarray, labels: FrameLabels, row: int, top: int) -> None:
    """One chip per label: colour bar, name, occluded or visible by the h2onet rule; per depth rule share and cause."""
    width = (card.shape[1] - 2 * _MARGIN) // len(LABELS)
    for i, name in enumerate(LABELS):
        x = _MARGIN + i * width
        state = int(labels.occluded[row, i])
        word, colour = {0: ("visible", _SEEN), 1: ("occluded", _HIDDEN)}.get(state, ("unknown", _QUIET))
        tint = tuple(int(245 + 0.12 * (c - 245)) for c in colour)
        cv2.rectangle(card, (x, top), (x + width - 6, top + _CHIP - 4), tint, -1)
        bar = tuple(int(c) for c in PART_COLOURS[i]) if i < len(PARTS) else _INK
        cv2.rectangle(card, (x, top), (x + width - 6, top + 5), bar, -1)
        _text(card, name, x + 6, top + 22, _INK, 0.44)
        _text(card, word, x + 6, top + 39, colour, 0.4)
        if i < len(PARTS) and labels.cause[row, i] != UNKNOWN:
            cause = int(labels.cause[row, i])
            _text(card, f"{100 * labels.visible_fraction[row, i]:.0f}% seen", x + 6, top + 55, _QUIET, 0.38)
            _text(card, "" if cause == 0 else f"rest: {CAUSES[cause]}", x + 6, top + 70, _QUIET, 0.38)
