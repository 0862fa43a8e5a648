"""Scenes from a folder that `h2o predict` wrote: overlays, meshes and the rows of predictions.jsonl, each checked."""

import io
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import cv2
import msgspec
import numpy as np

from ...data.photos import BadPhoto, encode, photo_size
from ...errors import InputError, one_line
from ...hand.arrays import parts_by_faces
from ...hand.gltf import FROM_OPENCV
from ...hand.mesh_files import FORMATS
from ...hand.parts import JOINTS, UNKNOWN
from .scene import HandSurface, Scene, SceneFrame, SceneHand, pick_rows

ROWS = "predictions.jsonl"
LONGEST_LINE = 2**16  # bytes; a row has some 150 numbers
LARGEST_MESH = 2**24  # bytes; a hand has 50 kB


class _Row(msgspec.Struct):
    """A line of predictions.jsonl; other fields are left aside."""

    name: str
    hand: int
    side: str
    joints_2d_px: list[tuple[float, float]]
    occluded: dict[str, float] | None = None
    joints_seen: list[float] | None = None
    intrinsics: list[list[float]] | None = None


class _Accessor(msgspec.Struct):
    count: Annotated[int, msgspec.Meta(ge=0, le=LARGEST_MESH)]


class _Accessors(msgspec.Struct):
    """Of a .glb's JSON, how many elements each of its arrays has."""

    accessors: list[_Accessor]


def prediction_scene(folder: Path, *, most: int) -> Scene:
    """At most `most` frames of a run, evenly spaced, in the order in which they were predicted.

    Pictures are the overlays. Where rows tell the camera, meshes stand where the wrist was placed, else round the
    wrist.
    InputError for rows that cannot be read.
    """
    rows = _read_rows(folder / ROWS)
    if not rows:
        raise InputError(f"{folder / ROWS}: holds no hand to show")
    by_name: dict[str, list[_Row]] = {}
    for row in rows:
        by_name.setdefault(row.name, []).append(row)
    names = list(by_name)
    chosen = [(number, names[number]) for number in pick_rows(len(names), most).tolist()]
    return Scene(f"h2o predict {folder.name}", _frames(folder, chosen, by_name), len(chosen))


def _frames(folder: Path, chosen: list[tuple[int, str]], by_name: dict[str, list[_Row]]) -> Iterator[SceneFrame]:
    movie = folder / "overlay.mp4"
    pictures = _movie_pictures(movie, {name for _, name in chosen}) if movie.is_file() else None
    for number, name in chosen:
        picture = next(pictures, None) if pictures is not None else _overlay(folder, name)
        try:
            size = (0, 0) if picture is None else photo_size(picture)
        except BadPhoto:
            picture, size = None, (0, 0)
        hands, curves = [], {}
        for row in by_name[name]:
            hands.append(_hand(folder, row))
            for part, probability in (row.occluded or {}).items():
                curves[f"occluded_probability/{hands[-1].name}/{part}"] = probability
        camera = None if picture is None else _camera(by_name[name])
        yield SceneFrame(number, picture, size, camera, tuple(hands), (), curves)


def _read_rows(path: Path) -> list[_Row]:
    decoder, rows = msgspec.json.Decoder(_Row), []
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), 1):
                if len(line) > LONGEST_LINE:
                    raise InputError(f"{path}: line {number} has more than {LONGEST_LINE} bytes; predict again")
                row = decoder.decode(line)
                lengths = {len(row.joints_2d_px), len(row.joints_seen or row.joints_2d_px)}
                if lengths != {JOINTS} or row.side not in ("right", "left") or "/" in row.name or "\0" in row.name:
                    raise ValueError(f"expected {JOINTS} joints, side right or left, and a file's name")
                if row.intrinsics is not None and not _is_camera(row.intrinsics):
                    raise ValueError("intrinsics: expected a 3 x 3 camera matrix")
                rows.append(row)
    except (ValueError, msgspec.DecodeError) as error:
        raise InputError(f"{path}: line {number}: {one_line(error, 160)}; predict again") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected a folder of h2o predict") from None
    return rows


def _camera(rows: list[_Row]) -> np.ndarray | None:
    """The intrinsics (3, 3) px of a frame's rows, which are of one picture; None where none of them tells."""
    told = next((row.intrinsics for row in rows if row.intrinsics is not None), None)
    return None if told is None else np.array(told, np.float64)


def _is_camera(value: list[list[float]]) -> bool:
    """It is a camera matrix, fx 0 cx / 0 fy cy / 0 0 1, as predictions write it."""
    if [len(line) for line in value] != [3, 3, 3]:
        return False
    (fx, skew, cx), (zero, fy, cy), last = value
    finite = np.isfinite([fx, skew, cx, fy, cy]).all()
    return bool(finite) and fx > 0 and fy > 0 and zero == 0 and last == [0, 0, 1]


def _hand(folder: Path, row: _Row) -> SceneHand:
    seen = np.full(JOINTS, UNKNOWN, np.uint8)
    if row.joints_seen is not None:
        seen = (np.array(row.joints_seen) > 0.5).astype(np.uint8)
    vertices, surface = None, None
    path = _mesh_path(folder, row)
    if path is not None:
        vertices, faces = _read_mesh(path)
        surface = _surface(faces.tobytes(), row.side)
    name = f"{row.side}-{row.hand}" if row.hand else row.side
    return SceneHand(name, np.array(row.joints_2d_px, np.float64), seen, surface, vertices)


@lru_cache(maxsize=8)
def _surface(faces: bytes, side: str) -> HandSurface:
    """The surface of a mesh: MANO's or the stand-in's parts by its faces, none for another mesh."""
    given = np.frombuffer(faces, np.int32).reshape(-1, 3)
    parts = parts_by_faces(given)
    return HandSurface(given, None if parts is None else parts.vertex)


def _candidates(folder: Path, name: str, endings: tuple[str, ...]) -> Path | None:
    """The file of a picture: by its whole name, which it has where the stem is another picture's, else by its stem."""
    for stem in (name, Path(name).stem):
        for ending in endings:
            if (folder / f"{stem}{ending}").is_file():
                return folder / f"{stem}{ending}"
    return None


def _overlay(folder: Path, name: str) -> bytes | None:
    path = _candidates(folder / "overlays", name, (".jpg",))
    return None if path is None else path.read_bytes()


def _mesh_path(folder: Path, row: _Row) -> Path | None:
    own = tuple(f"-{row.hand}.{form}" for form in FORMATS)
    alone = tuple(f".{form}" for form in FORMATS) if row.hand == 0 else ()
    return _candidates(folder / "meshes", row.name, own + alone)


def _read_mesh(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) m and faces (F, 3) int32; InputError where the file holds no triangles of a hand."""
    import trimesh  # slow to import, and only needed with meshes

    try:
        if path.stat().st_size > LARGEST_MESH:
            raise ValueError(f"has more than {LARGEST_MESH} bytes")
        data, form = path.read_bytes(), path.suffix[1:]
        if form == "glb":
            _check_counts(data)
        # From memory: what else the file names is not looked for.
        mesh = trimesh.load_mesh(io.BytesIO(data), file_type=form, process=False)
        vertices, faces = np.asarray(mesh.vertices, np.float64), np.ascontiguousarray(mesh.faces, np.int32)
        if form == "glb":
            vertices = vertices * FROM_OPENCV
        if vertices.shape[1:] != (3,) or faces.shape[1:] != (3,) or not len(faces) or not np.isfinite(vertices).all():
            raise ValueError("no triangles of finite vertices")
        if faces.min() < 0 or faces.max() >= len(vertices):
            raise ValueError("faces of vertices that are not there")
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise InputError(f"{path}: cannot be read as a mesh ({one_line(error, 160)}); predict again") from None
    return vertices, faces


def _check_counts(data: bytes) -> None:
    """ValueError where a .glb counts more elements than it has bytes: zeros that are not there take memory, too."""
    length = int.from_bytes(data[12:16], "little")
    accessors = msgspec.json.decode(data[20 : 20 + length], type=_Accessors).accessors
    if sum(accessor.count for accessor in accessors) > len(data):
        raise ValueError("counts more numbers than it holds")


def _movie_pictures(path: Path, names: set[str]) -> Iterator[bytes]:
    """The frames of a run's overlay.mp4 with these names (their numbers), as JPEGs."""
    with path.open("rb") as file:
        if file.read(12)[4:8] != b"ftyp":
            raise InputError(f"{path}: is no MP4 of h2o predict; predict again")
    capture, number = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), 0
    try:
        while (read := capture.read())[0]:
            if f"{number:06d}" in names:
                yield encode(".jpg", np.asarray(read[1], np.uint8))
            number += 1
    finally:
        capture.release()
