"""One frame of the report as a card: crop, truth, prediction and error on the mesh, with occlusion bars per finger.

Meshes are drawn over the crop at the annotated wrist. Those of a network without orientation are drawn in the canonical
orientation on a plain background instead, seen from the back of the hand.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...data.clips import ClipDataset, ClipStore
from ...hand.draw import BLUE, ORANGE, Picture, from_the_back, overlay_mesh
from ...hand.mano import HandModel
from ...hand.pages import data_uri
from ...hand.parts import CAUSES, FINGERS, UNKNOWN
from ...network.h2onet import H2ONet
from ..scoring.scores import CROP, FrameScores, current_frame, predict_again, predicted_hands
from .pictures import enlarge, heat_colours, to_picture

FACTOR = 2  # pictures are drawn at twice the crop's 128 px
HEAT_MAXIMUM = 0.03  # m, the red end of the error map
HEAT_CAPTION = "error, 0 to 30 mm"
GROUND = 245
NEAREST = 0.05  # m: a mesh that reaches closer to the camera cannot be drawn


@dataclass(frozen=True)
class Card:
    """One frame of the page: pictures as (caption, data URI), bars as (finger, truth or None, probability or None)."""

    name: str
    error_mm: float | None
    pictures: list[tuple[str, str]]
    bars: list[tuple[str, int | None, float | None]]


@dataclass(frozen=True)
class Drawer:
    """Draws frames, predicting them again: `scores` and `samples` have the same order; `hand` is on the CPU."""

    network: H2ONet
    samples: ClipDataset
    store: ClipStore
    scores: FrameScores
    hand: HandModel

    def pictures(self, position: int) -> dict[str, Picture]:
        """Draw one sample: pictures (256, 256, 3) by caption; "past frames" is half as wide."""
        batch, prediction, truths = predict_again(self.network, self.samples, self.store, self.hand, [position])
        windows, oriented = batch["images"].ndim == 5, prediction.rotation is not None
        truth, found = truths[0], predicted_hands(prediction, None)[0][0]
        crop = enlarge(to_picture(current_frame(batch["images"], windows)[0]), FACTOR)
        drawn = {"crop": crop}
        if windows:
            past = [to_picture(np.asarray(image)) for image in batch["images"][0, 1:]]
            drawn["past frames"] = np.concatenate(past, axis=0)
        plain = np.full_like(crop, GROUND)
        if oriented:
            wrist = current_frame(batch["root"], windows)[0].astype(np.float64)
            camera = current_frame(batch["intrinsics"], windows)[0].astype(np.float64) * [[FACTOR], [FACTOR], [1.0]]
            meshes, ground = (truth + wrist, found + wrist), crop
        else:
            (turned, camera), ground = from_the_back(truth, FACTOR * CROP), plain
            meshes = (turned, from_the_back(found, FACTOR * CROP)[0])
        for caption, mesh, colour in zip(("truth", "prediction"), meshes, (ORANGE, BLUE), strict=True):
            if is_drawable(mesh):
                drawn[caption] = overlay_mesh(ground, mesh, self.hand.faces, camera, colours=colour)
        if is_drawable(meshes[1]) and np.isfinite(truth).all():
            heat = heat_colours(np.linalg.norm(found - truth, axis=1), HEAT_MAXIMUM)
            drawn[HEAT_CAPTION] = overlay_mesh(plain, meshes[1], self.hand.faces, camera, colours=heat)
        return drawn

    def card(self, position: int) -> Card:
        """Draw one sample as a card of the page."""
        row = int(self.scores.frame_index[position])
        error = float(self.scores.joint_errors_pa[position].mean() * 1000)
        return Card(
            name=f"{self.store.key(row)} frame {int(self.store.index['frame'][row])}",
            error_mm=error if np.isfinite(error) else None,
            pictures=[(caption, data_uri(picture)) for caption, picture in self.pictures(position).items()],
            bars=occlusion_bars(self.scores, position),
        )


def is_drawable(mesh: NDArray) -> bool:
    """Whether a mesh (V, 3) m in the camera frame is known and lies before the camera."""
    return bool(np.isfinite(mesh).all() and mesh[:, 2].min() > NEAREST)


def occlusion_bars(scores: FrameScores, position: int) -> list[tuple[str, int | None, float | None]]:
    """Every finger's label and predicted probability of being occluded, None where unknown."""
    bars: list[tuple[str, int | None, float | None]] = []
    for i, finger in enumerate(FINGERS):
        label = int(scores.occluded[position, i])
        probability = float(scores.occluded_probability[position, i])
        known = label if label in (0, 1) else None
        if known is not None or np.isfinite(probability):
            bars.append((finger, known, probability if np.isfinite(probability) else None))
    return bars


def choose_frames(error: NDArray, cause: NDArray | None = None, each: int = 3) -> dict[str, list[int]]:
    """Positions of frames to show: typical ones, those with most hidden by each cause, then the worst by error (N,).

    Where nothing is known to be hidden, the best ones instead.

    cause (N, 6): why each part is hidden, codes of `hand.parts.CAUSES`; None or 255 where nobody knows. But for the
    worst, only hands are shown of which at most one part is hidden by the image's border. Frames whose error is NaN are
    in no group; where all are NaN, the first frames are shown.
    """
    order = [int(i) for i in np.argsort(error) if np.isfinite(error[i])]
    if not order:
        return {"frames": list(range(min(each, len(error))))}
    codes = np.full((len(error), 6), UNKNOWN) if cause is None else cause
    whole = shows_hand(codes)
    in_view = [i for i in order if whole[i]] or order
    # Neighbouring frames look alike: spread each group over a part of its ranking.
    span = max(len(in_view) // 10, each)
    middle = max(len(in_view) // 2 - span // 2, 0)
    groups = {"typical": spread_evenly(in_view[middle : middle + span], each)}
    for title, name in (("hidden by an object", "object"), ("hidden by the hand itself", "own hand")):
        parts = (codes == CAUSES.index(name)).sum(axis=1)
        ranked = sorted((i for i in in_view if parts[i] >= 2), key=lambda i: -parts[i])
        if ranked:
            groups[title] = spread_evenly(ranked[: max(len(ranked) // 3, each)], each)
    span = max(len(order) // 10, each)
    if len(groups) == 1:
        groups["best"] = spread_evenly(order[:span], each)
    groups["worst"] = spread_evenly(order[-span:][::-1], each)
    return groups


def shows_hand(cause: NDArray) -> NDArray[np.bool_]:
    """Whether at most one part of each hand is hidden by the image's border: cause (N, 6) -> (N,)."""
    return (cause == CAUSES.index("outside the image")).sum(axis=1) <= 1


def spread_evenly(positions: list[int], count: int) -> list[int]:
    """At most `count` of the positions, evenly spaced."""
    if len(positions) <= count:
        return positions
    return [positions[int(i)] for i in np.linspace(0, len(positions) - 1, count)]
