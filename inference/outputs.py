"""What `h2o predict` writes: overlays per frame or one video, a mesh file per hand, and the folder of a whole run.

A run's files are written aside and appear in the output folder together when it ends well, replacing those of an
earlier run: a folder never holds some frames of one run and some of another.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..durable import building, fsync_tree, room_to_write
from ..errors import InputError
from ..hand.arrays import parts_by_faces
from ..hand.draw import BLUE, ORANGE, Picture, encode_picture, overlay_mesh, overlay_skeleton
from ..hand.mesh_files import mesh_bytes
from ..hand.parts import OUTPUTS
from ..locks import is_locked
from .animation import Animation
from .hand_result import HandResult
from .movie_writer import MovieWriter, open_movie
from .placement import NEAREST
from .sources import InputFrame

COLOURS = (BLUE, ORANGE)
CHIP = 15  # px, height of a line of text
_FONT, _SCALE, _MARGIN = cv2.FONT_HERSHEY_SIMPLEX, 0.4, 4
_DARK, _WHITE = (20, 20, 20), (255, 255, 255)
RUN = "run.json"
MARK = ".h2o-predict"  # lies in the temporary folders of this command: only these are swept
LONGEST_NAME = 255  # bytes of a file's name on the usual disks
MANO = "mano.npz"
ANIMATION = "animation.glb"
OWN = ("overlays", "meshes", "overlay.mp4", ANIMATION, "predictions.jsonl", MANO, "failures.jsonl", RUN)


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
    if there and not _is_run(out / RUN) and not any(_leftovers(out, "earlier")):
        raise InputError(f"--out {out}: holds {there[0]}, but no {RUN} of h2o predict; move it, or give another --out")


def _is_run(path: Path) -> bool:
    return path.is_file() and '"checkpoint_sha256"' in path.read_text(errors="replace")


def _leftovers(out: Path, kind: str) -> Iterator[Path]:
    """Temporary folders of one kind in `out` that carry this command's mark and whose maker is gone."""
    name = re.compile(rf"\.tmp-{kind}-[0-9a-f]{{32}}")
    for path in out.iterdir() if out.is_dir() else ():
        if name.fullmatch(path.name) and (path / MARK).is_file() and not path.is_symlink() and not is_locked(path):
            yield path


def _sweep(out: Path, kind: str) -> None:
    for path in list(_leftovers(out, kind)):
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def whole_run(out: Path) -> Iterator[Path]:
    """A temporary folder for a run's files (`OWN`), which replace an earlier run's in `out` when the block ends well.

    Otherwise `out` stays as it was. What was killed while it replaced files is found by the next run, by its mark.
    """
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    _sweep(out, "run")
    try:
        with building(out / "run") as unfinished:
            (unfinished / MARK).touch()
            yield unfinished
            fsync_tree(unfinished)
            with building(out / "earlier") as earlier:
                (earlier / MARK).touch()
                _change_files(out, unfinished, earlier)
        _sweep(out, "earlier")
    finally:
        if made and not any(out.iterdir()):
            out.rmdir()


def _change_files(out: Path, unfinished: Path, earlier: Path) -> None:
    """Move an earlier run's files out and the new ones in; when one cannot be moved, all are where they were."""
    moved: list[tuple[Path, Path]] = []
    try:
        # run.json is moved away first and put in place last: a folder without it is seen to be unfinished.
        for source, target, names in ((out, earlier, reversed(OWN)), (unfinished, out, OWN)):
            for name in names:
                if (source / name).exists():
                    os.rename(source / name, target / name)
                    moved.append((source / name, target / name))
    except BaseException:
        for before, after in reversed(moved):
            os.rename(after, before)
        raise


class Outputs:
    """Writes frames one by one: a picture each, or with a `rate` per second one overlay.mp4 of them all.

    Where they `follow` each other and `meshes` are glb, one animation.glb is written at the end. `facts` then hold what
    run.json says of it.
    """

    def __init__(self, out: Path, meshes: str, rate: float | None, follow: bool = False) -> None:
        self.out, self.meshes, self.rate = out, meshes, rate
        self.facts: dict[str, Any] = {}
        self._animation = Animation(rate) if follow and meshes == "glb" else None
        self._video: MovieWriter | None = None
        self._written: set[Path] = set()

    def __enter__(self) -> "Outputs":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            return  # an unfinished file is thrown away with its folder
        if self._video is not None:
            self._video.close()
        if self._animation is not None:
            data, self.facts["animation"] = self._animation.finish()
            if data is not None:
                self._save(self.out / ANIMATION, data)

    def add(
        self, frame: InputFrame, hands: list[tuple[int, HandResult, NDArray]], faces_of: Callable[[str], NDArray]
    ) -> None:
        """Draw and write one frame; every hand comes with its number and the camera to draw it with.

        faces_of: the faces (1538, 3) of a side's mesh.
        """
        assert frame.picture is not None
        picture = np.ascontiguousarray(frame.picture)
        for number, result, camera in hands:
            faces = faces_of(result.side)
            picture = draw_hand(picture, result, faces, camera, COLOURS[number % len(COLOURS)])
            if self.meshes != "none":
                path = self._free("meshes", frame.name, f"-{number}" if number or len(hands) > 1 else "", self.meshes)
                root = None if result.root_from is None else result.root
                vertices = result.vertices if root is None else result.vertices + root
                self._save(path, mesh_bytes(vertices, faces, self.meshes, result.fingers_hidden))
        write_occlusion(picture, [(number, result) for number, result, _ in hands])
        if self._animation is not None:
            self._animation.add([(number, result, faces_of(result.side)) for number, result, _ in hands])
        self._write(frame.name, picture)

    def _free(self, folder: str, name: str, number: str, form: str) -> Path:
        """The path for a picture's file: by its stem, or by its whole name where that is taken (a.jpg, then a.png)."""
        path = self.out / folder / fitting_name(Path(name).stem, f"{number}.{form}", name)
        if path in self._written:
            path = self.out / folder / fitting_name(name, f"{number}.{form}", name)
        self._written.add(path)
        return path

    def _save(self, path: Path, data: bytes) -> None:
        # The whole folder appears at once, so its files need not.
        with room_to_write(path):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)

    def _write(self, name: str, picture: Picture) -> None:
        if self.rate is None:
            data = encode_picture(picture, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, 92])
            self._save(self._free("overlays", name, "", "jpg"), data)
            return
        if self._video is None:
            height, width = picture.shape[:2]
            self._video = open_movie(self.out / "overlay.mp4", self.rate, width, height)
        self._video.add(picture)


def fitting_name(stem: str, ending: str, whole: str) -> str:
    """stem + ending; what is too long for a file's name is cut and told apart by a part of the hash of `whole`."""
    name = os.fsencode(stem + ending)
    if len(name) <= LONGEST_NAME:
        return stem + ending
    ending = f"~{hashlib.sha256(os.fsencode(whole)).hexdigest()[:8]}{ending}"
    cut = os.fsencode(stem)[: LONGEST_NAME - len(ending)]
    return cut.decode("utf-8", "ignore") + ending


def draw_hand(
    picture: Picture, result: HandResult, faces: NDArray[np.int32], camera: NDArray, colour: tuple[int, int, int]
) -> Picture:
    """Draw the mesh (where it is before the camera), 2D joints (hidden ones hollow) and the box.

    Fingers that are more likely hidden than seen are hatched.
    """
    if result.root is not None:
        vertices = result.vertices + result.root
        if vertices[:, 2].min() > NEAREST:
            hatched = _hidden_faces(result, faces)
            picture = overlay_mesh(picture, vertices, faces, camera, colours=colour, opacity=0.6, hatched=hatched)
    thickness = max(1, round(min(picture.shape[:2]) / 320))
    seen = None if result.joints_seen is None else result.joints_seen > 0.5
    drawn = overlay_skeleton(picture, result.joints_2d, thickness=thickness, filled=seen)
    x0, y0, x1, y1 = (round(float(value)) for value in np.clip(result.box, -1e4, 1e4))
    cv2.rectangle(drawn, (x0, y0), (x1, y1), colour, 1, cv2.LINE_AA)
    return drawn


def write_occlusion(picture: Picture, hands: list[tuple[int, HandResult]]) -> None:
    """Write which fingers of each hand are hidden, and how likely, into the picture: hands beside each other.

    Where there are several, each has a heading in its colour. What finds no room to the right comes below.
    """
    x, y, several = 0, 0, len(hands) > 1
    for number, result in hands:
        if result.occluded is None:
            continue
        lines = [f"{result.side} {number}"] if several else []
        lines += [_chance(*told) for told in zip(OUTPUTS[:5], result.occluded.tolist(), strict=False)]
        wide = 2 * _MARGIN + max(cv2.getTextSize(text, _FONT, _SCALE, 1)[0][0] for text in lines)
        if x and x + wide > picture.shape[1]:
            x, y = 0, y + (len(lines) + 1) * CHIP
        place = picture[y : y + (len(lines) + 1) * CHIP, x : x + wide]
        x += wide
        if not place.size:
            return
        mask = np.zeros(place.shape[:2], np.uint8)
        for line, text in enumerate(lines, 1):
            cv2.putText(mask, text, (_MARGIN, line * CHIP), _FONT, _SCALE, 255, 1, cv2.LINE_AA)
        ink = np.full(place.shape, _WHITE)
        if several:
            ink[: CHIP * 4 // 3] = COLOURS[number % len(COLOURS)]
        # The outline is no text by a thicker pen: OpenCV 5 makes that wider, so that the two drift apart.
        for shape, colour in ((cv2.dilate(mask, np.ones((3, 3), np.uint8)), _DARK), (mask, ink)):
            place[:] = (place + shape[..., None] / 255 * (colour - place.astype(float))).round()


def _chance(name: str, hidden: float) -> str:
    """A finger's state, and the probability of that state."""
    return f"{name} hidden {hidden:.0%}" if hidden > 0.5 else f"{name} seen {1 - hidden:.0%}"


def _hidden_faces(result: HandResult, faces: NDArray[np.int32]) -> NDArray[np.bool_] | None:
    """Which faces (F,) are of fingers that are more likely hidden than seen; None where that is not known."""
    hidden, parts = result.fingers_hidden, parts_by_faces(faces)
    return None if hidden is None or parts is None else np.append(hidden > 0.5, False)[parts.face]
