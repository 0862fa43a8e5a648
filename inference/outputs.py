"""What `h2o predict` writes: overlays per frame or one video, a mesh file per hand, and the folder of a whole run.

A run's files are written aside and appear in the output folder together when it ends well, replacing those of an
earlier run: a folder never holds some frames of one run and some of another.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from ..durable import sweep, temporary_sibling, writing_file
from ..errors import InputError
from ..hand.draw import BLUE, ORANGE, Picture, overlay_mesh, overlay_skeleton, write_picture
from ..hand.mesh_files import mesh_bytes
from ..hand.parts import OUTPUTS
from .placement import NEAREST
from .predictor import HandResult, Predictor
from .sources import InputFrame

COLOURS = (BLUE, ORANGE)
CHIP = 15  # px, height of a line of text
_FONT = cv2.FONT_HERSHEY_SIMPLEX
RUN = "run.json"
OWN = ("overlays", "meshes", "overlay.mp4", "predictions.jsonl", "failures.jsonl", RUN)


def check_output_folder(out: Path, images: Path | None, video: Path | None) -> None:
    """InputError where outputs would mix with the input pictures, or replace files that `h2o predict` did not write."""
    place = out.resolve()
    if images is not None and images.resolve() in (place, *place.parents):
        raise InputError(
            f"--out {out}: lies inside --images {images}; give a folder outside it, so that inputs stay what they are"
        )
    inputs = [path.resolve() for path in (images, video) if path is not None]
    for name in OWN:
        if place / name in inputs:
            raise InputError(f"--out {out}: its {name} is what is to be read; give another --out")
    there = [name for name in OWN if (out / name).exists()]
    if there and not _is_run(out / RUN):
        raise InputError(f"--out {out}: holds {there[0]}, but no {RUN} of h2o predict; move it, or give another --out")


def _is_run(path: Path) -> bool:
    return path.is_file() and '"checkpoint_sha256"' in path.read_text(errors="replace")


@contextmanager
def whole_run(out: Path) -> Iterator[Path]:
    """A temporary folder for a run's files (`OWN`), which replace an earlier run's in `out` when the block ends well.

    Otherwise `out` stays as it was.
    """
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    sweep(out)
    unfinished, earlier = temporary_sibling(out / "run"), temporary_sibling(out / "earlier")
    unfinished.mkdir()
    try:
        yield unfinished
        earlier.mkdir()
        # run.json is moved away first and put in place last: a folder without it is seen to be unfinished.
        for source, target, names in ((out, earlier, reversed(OWN)), (unfinished, out, OWN)):
            for name in names:
                if (source / name).exists():
                    os.rename(source / name, target / name)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(earlier, ignore_errors=True)
        if made and not any(out.iterdir()):
            out.rmdir()


class Outputs:
    """Writes frames one by one: a picture each, or with a `rate` per second one overlay.mp4 of them all."""

    def __init__(self, out: Path, meshes: str, rate: float | None) -> None:
        self.out, self.meshes, self.rate = out, meshes, rate
        self._video: cv2.VideoWriter | None = None
        self._written: set[Path] = set()

    def __enter__(self) -> "Outputs":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._video is not None:
            self._video.release()

    def add(self, frame: InputFrame, hands: list[tuple[int, HandResult, NDArray]], predictor: Predictor) -> None:
        """Draw and write one frame; every hand comes with its number and the camera to draw it with."""
        assert frame.picture is not None
        picture = np.ascontiguousarray(frame.picture)
        for number, result, camera in hands:
            faces = predictor.faces(result.side)
            picture = draw_hand(picture, result, faces, camera, COLOURS[number % len(COLOURS)])
            if self.meshes != "none":
                path = self._free("meshes", frame.name, f"-{number}" if number or len(hands) > 1 else "", self.meshes)
                vertices = result.vertices if result.root is None else result.vertices + result.root
                with writing_file(path) as file:
                    file.write(mesh_bytes(vertices, faces, self.meshes))
        self._write(frame.name, picture)

    def _free(self, folder: str, name: str, number: str, form: str) -> Path:
        """The path for a picture's file: by its stem, or by its whole name where that is taken (a.jpg, then a.png)."""
        path = self.out / folder / f"{Path(name).stem}{number}.{form}"
        if path in self._written:
            path = self.out / folder / f"{name}{number}.{form}"
        self._written.add(path)
        return path

    def _write(self, name: str, picture: Picture) -> None:
        if self.rate is None:
            write_picture(self._free("overlays", name, "", "jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
            return
        height, width = picture.shape[:2]
        if self._video is None:
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._video = cv2.VideoWriter(str(self.out / "overlay.mp4"), code, self.rate, (width, height))
            if not self._video.isOpened():
                raise InputError("overlay.mp4: OpenCV cannot write MP4; give the frames as --images --sequence")
        self._video.write(np.ascontiguousarray(picture[..., ::-1]))


def draw_hand(
    picture: Picture, result: HandResult, faces: NDArray[np.int32], camera: NDArray, colour: tuple[int, int, int]
) -> Picture:
    """Draw the mesh (where it is before the camera), 2D joints, the box and the occlusion of fingers on a picture."""
    if result.root is not None:
        vertices = result.vertices + result.root
        if vertices[:, 2].min() > NEAREST:
            picture = overlay_mesh(picture, vertices, faces, camera, colours=colour, opacity=0.6)
    drawn = overlay_skeleton(picture, result.joints_2d, thickness=max(1, round(min(picture.shape[:2]) / 320)))
    x0, y0, x1, y1 = (round(float(value)) for value in np.clip(result.box, -1e4, 1e4))
    cv2.rectangle(drawn, (x0, y0), (x1, y1), colour, 1, cv2.LINE_AA)
    if result.occluded is not None:
        for line, (name, probability) in enumerate(zip(OUTPUTS[:5], result.occluded, strict=False)):
            state, place = "hidden" if probability > 0.5 else "seen", (4, (line + 1) * CHIP)
            text = f"{name} {state} {probability:.0%}"
            cv2.putText(drawn, text, place, _FONT, 0.4, (20, 20, 20), 3, cv2.LINE_AA)
            cv2.putText(drawn, text, place, _FONT, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return drawn
