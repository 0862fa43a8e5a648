"""`Predictor` turns a picture and a box into a hand, frame by frame.

It keeps the features of past frames, so that each picture is encoded once.

Pictures are (H, W, 3) uint8 RGB. Results are metres in the OpenCV camera frame, relative to the wrist, in the hand's
own side (left hands are mirrored for the network and back again); 2D is pixels of the picture. One predictor follows
one hand.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.loading.augment import NOTHING, patch, photo_affine
from ..data.loading.crops import FROM_JOINTS, SIZE, crop_box, square_box, transform
from ..data.loading.crops import GIVEN as FROM_BOX
from ..data.loading.windows import Window, window_of, window_positions
from ..errors import InputError, brief
from ..network.checkpoint import load_checkpoint, read_metadata
from ..network.checkpoints.folder import find_folder
from ..network.device import choose_device
from ..network.h2onet import FrameFeatures, H2ONet, Prediction
from .cameras import Camera, picture_camera
from .hand_result import HandResult, with_mano
from .mano_fit import MeshFitter
from .placement import place_wrist
from .places import LARGEST
from .reliability import doubts_of, signs_of

GIVEN, TRACKED, WHOLE = "given", "tracked", "whole picture"
SMALLEST_BOX = 16.0  # px: a tracked box below this has lost the hand
WINDOWS = {"dexycb": "dexycb", "ho3d": "ho3d-v2"}  # a recipe's dataset -> one whose frames are as far apart


class Predictor:
    """Predicts one hand; every call is the next frame in time.

    checkpoint: folder, official .pth (needs `hierarchy`) or a loaded network. window: how far back a multi-frame
    network looks (default: as in its training where the checkpoint says so, else 5 and 10 frames, DexYCB's). track:
    without a box, follow the joints of the frame before; otherwise the whole picture is taken. precision: float32 or
    bfloat16. mano: the hand that the network was trained on (a folder, "standin", or a `MeshFitter` that several
    predictors share), to be fitted to every mesh; InputError where its triangles are not the network's.
    """

    def __init__(
        self,
        checkpoint: str | Path | H2ONet,
        *,
        hierarchy: str | Path | None = None,
        device: str = "auto",
        window: Window | None = None,
        track: bool = True,
        precision: str = "float32",
        mano: str | Path | MeshFitter | None = None,
    ) -> None:
        if isinstance(checkpoint, H2ONet):
            network = checkpoint
        else:
            network, window = load_checkpoint(checkpoint, hierarchy), window or trained_window(checkpoint)
        self.device = choose_device(device)
        self.network = (network if network.prepared else network.for_inference()).to(self.device)
        self.autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=_is_bfloat16(precision))
        self.window = _window_for(network.config.frames, window)
        self.track = track
        faces = network.faces.cpu().numpy().astype(np.int32)
        self._fitter = MeshFitter(mano) if isinstance(mano, str | Path) else mano
        if self._fitter is not None:
            self._fitter.check(faces)
        self._faces = {"right": faces, "left": faces[:, ::-1].copy()}  # a mirrored mesh is wound the other way
        self.reset()

    def faces(self, side: str) -> NDArray[np.int32]:
        """The faces (1538, 3) of a side's mesh as vertex ids, wound to face outward."""
        return self._faces[side]

    def reset(self) -> None:
        """Forget the past: the next frame is the first of a new stream."""
        self._past: list[tuple[int, FrameFeatures]] = []
        self._joints: NDArray | None = None
        self._size: tuple[int, ...] = ()
        self._side: str | None = None
        self._next = 0

    def skip(self) -> None:
        """Let a frame pass that cannot be used: time goes on, nothing of it is remembered."""
        self._next += 1

    @property
    def last_joints(self) -> NDArray | None:
        """The joints (21, 2) px where the hand was last seen, or None."""
        return self._joints

    def __call__(
        self,
        frame: NDArray,
        box: NDArray | None = None,
        side: str = "right",
        *,
        intrinsics: NDArray | Camera | None = None,
    ) -> HandResult:
        """Predict the hand in the next frame: frame (H, W, 3) uint8 RGB, or grey (H, W).

        box (4,) x0, y0, x1, y1 px, tight round the hand: it is squared and enlarged by half, as in training.
        intrinsics (3, 3) px, or a camera of `cameras.picture_camera`. A change of side starts anew. InputError for
        another kind of picture, an empty box, a network whose output is not finite; the frame then counts as skipped.
        """
        if side not in ("right", "left"):
            raise InputError(f"side: expected right or left, found {side!r}")
        if self._side not in (None, side):
            self.reset()
        self._side = side
        number, self._next = self._next, self._next + 1
        picture = as_picture(frame)
        square, source = self._square(picture, box)
        images, to_crop = crop(picture, square, left=side == "left")
        with torch.inference_mode(), self.autocast:
            features = self.network.encode(torch.from_numpy(images[None]).to(self.device))
            seen = self._with_past(number, features)
            prediction = self.network.fuse(*self._select_window(seen))
        result = self._result(prediction, picture.shape, to_crop, square, source, intrinsics)
        self._past, self._joints, self._size = seen, result.joints_2d, picture.shape
        return result

    def _square(self, picture: NDArray, box: NDArray | None) -> tuple[NDArray, str]:
        height, width = picture.shape[:2]
        if box is not None:
            return given_square(np.asarray(box, np.float64), width, height), GIVEN
        # Joints in a picture of another size cannot be followed.
        if self.track and self._joints is not None and picture.shape == self._size:
            square, rule = crop_box(self._joints, None, width, height)
            if rule == FROM_JOINTS and min(square[2] - square[0], square[3] - square[1]) >= SMALLEST_BOX:
                return square, TRACKED
        whole = square_box(np.array([0.0, 0.0, width, height]), width, height)
        if whole is None:
            raise InputError(f"picture of {width} x {height} px: too small to hold a hand")
        return np.array([*whole[:2], *(whole[:2] + whole[2:])]), WHOLE

    def _with_past(self, number: int, features: FrameFeatures) -> list[tuple[int, FrameFeatures]]:
        """The frames that this one and later ones may look at, by number, this one last."""
        if self.window is None:
            return [(number, features)]
        edge = number - self.window.past[-1]
        before = sum(earlier < edge for earlier, _ in self._past)
        # The last frame before the window stands in where the one at its edge was skipped.
        return [*self._past[max(before - 1, 0) :], (number, features)]

    def _select_window(self, seen: list[tuple[int, FrameFeatures]]) -> list[FrameFeatures]:
        """The window of the last of these frames: itself, then the past."""
        if self.window is None:
            return [seen[-1][1]]
        numbers = np.array([number for number, _ in seen])
        # Numbers count from the stream's first frame, as those of a dataset's sequence do.
        return [seen[int(position)][1] for position in window_positions(numbers, len(numbers) - 1, self.window)]

    def _result(
        self,
        prediction: Prediction,
        shape: tuple[int, ...],
        to_crop: NDArray,
        square: NDArray,
        source: str,
        intrinsics: NDArray | Camera | None,
    ) -> HandResult:
        height, width = shape[:2]
        several = self.window is not None
        vertices = prediction.vertices[0].double().cpu().numpy()
        joints = prediction.joints[0].double().cpu().numpy()
        seen = (prediction.joints_2d[0, 0] if several else prediction.joints_2d[0]).double().cpu().numpy()
        if not (np.isfinite(vertices).all() and np.isfinite(seen).all()):
            raise InputError("the network's output is not finite; the checkpoint is broken, take an earlier one")
        vertices, joints = vertices - joints[0], joints - joints[0]
        inverse = np.linalg.inv(np.vstack([to_crop, [0.0, 0.0, 1.0]]))[:2]
        joints_2d = transform(inverse, seen * SIZE)
        side = self._side or "right"
        if side == "left":
            vertices, joints = vertices * [-1.0, 1.0, 1.0], joints * [-1.0, 1.0, 1.0]
            joints_2d[:, 0] = width - 1.0 - joints_2d[:, 0]
        oriented = prediction.rotation is not None
        given = intrinsics if isinstance(intrinsics, Camera) else picture_camera(width, height, intrinsics)
        # How well mesh and 2D joints agree hardly depends on the focal length, so an assumed one tells it too.
        place = place_wrist(joints, joints_2d, given.intrinsics, given.focal_share) if oriented else None
        logits = prediction.occlusion_logits
        occluded = None if logits is None else logits[0, 0].float().softmax(0)[1].double().cpu().numpy()
        logits = prediction.joint_visibility_logits
        joints_seen = None if logits is None else logits[0].double().sigmoid().cpu().numpy()
        fitted = None if self._fitter is None else self._fitter(vertices[None], side)
        result = HandResult(vertices, joints, joints_2d, occluded, None, square, source, side, oriented, joints_seen)
        misfit = None if place is None else place.misfit / float(square[2] - square[0])
        doubts = doubts_of(oriented, misfit, signs_of(joints_2d, square, width, height))
        result = replace(result, misfit=misfit, doubts=doubts)
        if place is not None and intrinsics is not None:
            result = replace(result, root=place.wrist, root_spread=place.spread, root_from=given.source)
        return result if fitted is None else with_mano(result, fitted)


def as_picture(frame: NDArray) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of a colour, grey (H, W[, 1]) or RGBA picture; InputError for anything else."""
    frame = np.asarray(frame)
    if frame.dtype != np.uint8 or frame.ndim not in (2, 3) or frame.size == 0:
        how = "; for values in [0, 1]: (255 * picture).round().astype('uint8')" if frame.dtype.kind == "f" else ""
        raise InputError(f"picture: expected (H, W, 3) uint8 RGB, found {frame.shape} {frame.dtype}{how}")
    if frame.ndim == 2:
        frame = frame[..., None]
    if frame.shape[2] not in (1, 3, 4):
        raise InputError(f"picture: expected 1, 3 or 4 channels, found {frame.shape[2]}")
    return np.repeat(frame, 3, axis=2) if frame.shape[2] == 1 else frame[..., :3]


def given_square(box: NDArray[np.float64], width: int, height: int) -> NDArray[np.float64]:
    """The square to cut out for a tight box x0, y0, x1, y1 px; InputError where the box lies outside the picture."""
    if box.shape != (4,) or not (np.abs(box) <= LARGEST).all():
        raise InputError(f"box: expected 4 numbers x0, y0, x1, y1, at most {LARGEST:g}, found {brief(box.tolist())}")
    x0, y0, x1, y1 = box.tolist()
    if x1 <= x0 or y1 <= y0:
        raise InputError(f"box: empty ({x0:g}, {y0:g}, {x1:g}, {y1:g}); expected x0 < x1 and y0 < y1 in pixels")
    if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        raise InputError(f"box: ({x0:g}, {y0:g}, {x1:g}, {y1:g}) lies outside the {width} x {height} picture")
    square, rule = crop_box(None, box, width, height)
    if rule != FROM_BOX:
        raise InputError(f"box: ({x0:g}, {y0:g}, {x1:g}, {y1:g}) holds less than two pixels of the picture")
    return square


def crop(picture: NDArray[np.uint8], square: NDArray, *, left: bool) -> tuple[NDArray[np.float32], NDArray]:
    """The network's input (3, 128, 128) RGB in [0, 1] of a square, mirrored for `left`, and the affine map to it.

    The map (2, 3) starts from the mirrored picture for left hands, u -> width - 1 - u.
    """
    to_crop, stored = photo_affine(square[None], np.array([picture.shape[1]]), left, NOTHING)
    images = np.empty((3, SIZE, SIZE), np.float32)
    patch(np.ascontiguousarray(picture[..., ::-1]), (0, 0), stored[0], NOTHING, images)
    return images, to_crop[0]


def trained_window(checkpoint: str | Path) -> Window | None:
    """The window of past frames that a checkpoint of `h2o train` was trained with; None where it does not say."""
    folder = find_folder(Path(checkpoint))
    if folder is None:
        return None  # an official file: the published ones were trained on DexYCB
    recipe = read_metadata(folder).get("recipe")
    dataset = recipe.get("dataset") if isinstance(recipe, dict) and recipe.get("frames") == 3 else None
    return window_of(WINDOWS[dataset], train=False) if isinstance(dataset, str) and dataset in WINDOWS else None


def _is_bfloat16(precision: str) -> bool:
    if precision not in ("float32", "bfloat16"):
        raise InputError(f"precision: expected float32 or bfloat16, found {precision!r}")
    return precision == "bfloat16"


def _window_for(frames: int, window: Window | None) -> Window | None:
    if frames == 1:
        return None
    window = (window or Window()).fixed()
    if len(window) != frames:
        raise InputError(
            f"window: {len(window) - 1} past frames, but the network takes {frames - 1}; give one distance for each"
        )
    return window
