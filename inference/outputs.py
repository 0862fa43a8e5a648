"""The pictures and meshes that `h2o predict` writes: overlays per frame or one video, a mesh file per hand."""

import os
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from ..data.durable import writing_file
from ..hand.draw import BLUE, ORANGE, Picture, overlay_mesh, overlay_skeleton
from ..hand.errors import InputError
from ..hand.mesh_files import mesh_bytes
from .placement import NEAREST
from .predictor import OUTPUTS, HandResult, Predictor
from .sources import Still

COLORS = (BLUE, ORANGE)
CHIP = 15  # px, height of a line of text
_FONT = cv2.FONT_HERSHEY_SIMPLEX


class Outputs:
    """Writes frames as they come. `rate` frames per second makes one overlay.mp4 instead of a picture per frame."""

    def __init__(self, out: Path, meshes: str, rate: float | None) -> None:
        self.out, self.meshes, self.rate = out, meshes, rate
        self._video: cv2.VideoWriter | None = None
        self._unfinished = out / ".tmp-overlay.mp4"

    def __enter__(self) -> "Outputs":
        self.out.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._video is not None:
            self._video.release()
            if error is None:
                os.replace(self._unfinished, self.out / "overlay.mp4")
            else:
                self._unfinished.unlink(missing_ok=True)

    def add(self, still: Still, hands: list[tuple[int, HandResult, NDArray]], predictor: Predictor) -> None:
        """Draw and write one frame; every hand comes with its number and the camera to draw it with."""
        assert still.picture is not None
        picture = np.ascontiguousarray(still.picture)
        for number, result, camera in hands:
            faces = predictor.faces(result.side)
            picture = overlay(picture, result, faces, camera, COLORS[number % len(COLORS)])
            if self.meshes != "none":
                suffix = f"-{number}" if len(hands) > 1 else ""
                path = self.out / "meshes" / f"{Path(still.name).stem}{suffix}.{self.meshes}"
                placed = result.vertices if result.root is None else result.vertices + result.root
                with writing_file(path) as file:
                    file.write(mesh_bytes(placed, faces, self.meshes))
        self._write(still.name, picture)

    def _write(self, name: str, picture: Picture) -> None:
        if self.rate is None:
            done, encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
            if not done:
                raise InputError(f"{name}: overlay of shape {picture.shape} cannot be encoded as JPEG")
            with writing_file(self.out / "overlays" / f"{Path(name).stem}.jpg") as file:
                file.write(encoded.tobytes())
            return
        height, width = picture.shape[:2]
        if self._video is None:
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._video = cv2.VideoWriter(str(self._unfinished), code, self.rate, (width, height))
            if not self._video.isOpened():
                raise InputError(
                    f"{self.out / 'overlay.mp4'}: OpenCV cannot write MP4; give the frames as --images --sequence"
                )
        self._video.write(np.ascontiguousarray(picture[..., ::-1]))


def overlay(
    picture: Picture, result: HandResult, faces: NDArray[np.int32], camera: NDArray, color: tuple[int, int, int]
) -> Picture:
    """The picture with mesh (where it stands before the camera), 2D joints, the box and the occlusion of fingers."""
    if result.root is not None:
        placed = result.vertices + result.root
        if placed[:, 2].min() > NEAREST:
            picture = overlay_mesh(picture, placed, faces, camera, colors=color, opacity=0.6)
    drawn = overlay_skeleton(picture, result.joints_2d, thickness=max(1, round(min(picture.shape[:2]) / 320)))
    x0, y0, x1, y1 = (round(float(value)) for value in np.clip(result.box, -1e4, 1e4))
    cv2.rectangle(drawn, (x0, y0), (x1, y1), color, 1, cv2.LINE_AA)
    if result.occluded is not None:
        for line, (name, probability) in enumerate(zip(OUTPUTS[:5], result.occluded, strict=False)):
            state, place = "hidden" if probability > 0.5 else "seen", (4, (line + 1) * CHIP)
            text = f"{name} {state} {probability:.0%}"
            cv2.putText(drawn, text, place, _FONT, 0.4, (20, 20, 20), 3, cv2.LINE_AA)
            cv2.putText(drawn, text, place, _FONT, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return drawn
