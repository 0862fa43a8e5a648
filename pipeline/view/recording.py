"""A scene as a file for the viewer Rerun (.rrd): the one place that knows rerun-sdk, the extra `view`.

Entities: camera (pinhole, photo, joints/NAME/{skeleton,seen,hidden,unknown}), by_part/NAME and by_cause/NAME (the
hand's mesh twice, in two colourings), objects/NAME, curves/GROUP/NAME; one timeline, `frame`.
"""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ...durable import writing_file
from ...errors import InputError
from ...hand.draw import FINGER_COLOURS, vertex_normals
from ...hand.parts import FINGER_CHAINS
from ...labeling.overlay import PART_COLOURS
from .scene import Scene, SceneFrame, SceneHand, SceneObject

HIDDEN, UNKNOWN_JOINT, WRIST, OBJECT = (201, 56, 48), (150, 150, 150), (220, 220, 220), (150, 150, 140)
SEEN_SIZE, HIDDEN_SIZE = -3.0, -4.5
"""Radii of joints; below 0 they are points of the screen, whatever the zoom."""
CAMERA_DEPTH = 0.15  # m from the camera, where the photo stands in the 3D view
EYE = np.array([0.22, -0.2, -0.3])  # m from the hand: above it to the right, on the camera's side
_JOINT_COLOURS = np.array(
    [WRIST, *(colour for chain, colour in zip(FINGER_CHAINS, FINGER_COLOURS, strict=True) for _ in chain[1:])], np.uint8
)
_STATES = (("seen", 1), ("hidden", 0), ("unknown", 255))


def require_rerun() -> None:
    """InputError where rerun-sdk is not installed."""
    if importlib.util.find_spec("rerun") is None:
        raise InputError("h2o view: needs rerun-sdk; run: pip install 'h2onet[view]'")


def write_recording(scene: Scene, out: Path) -> tuple[int, int]:
    """Write a scene as `out` (.rrd), whole or not at all; returns how many frames and bytes it has."""
    require_rerun()
    import rerun as rr  # pyright: ignore[reportMissingImports]

    # The viewer lays recordings of one id over each other: the title tells a store's kind and sequence.
    stream = rr.RecordingStream("h2onet", recording_id=scene.title)
    memory = stream.memory_recording()
    stream.send_recording_name(scene.title)
    writer = _Writer(rr, stream)
    for frame in tqdm(scene.frames, total=scene.total, unit="frame", desc="view", delay=1.0):
        writer.add(frame)
    stream.send_blueprint(_blueprint(writer.groups, writer.target, bool(writer.camera)))
    data = memory.drain_as_bytes()
    with writing_file(out) as file:
        file.write(data)
    return writer.count, len(data)


class _Writer:
    """Logs frame after frame; what does not change is logged once, what is gone is cleared."""

    def __init__(self, rr: Any, stream: Any) -> None:
        self.rr, self.stream, self.count = rr, stream, 0
        self.groups: dict[str, None] = {}  # of curves, in order
        self._fixed: set[str] = set()  # entities whose lasting part is logged
        self._shown: dict[str, None] = {}  # hands and objects of the frame before
        self.camera: bytes = b""
        self.target: np.ndarray | None = None  # (3,) m: the middle of the first hand that has a mesh
        stream.log("/", rr.ViewCoordinates.RDF, static=True)

    def add(self, frame: SceneFrame) -> None:
        rr, log = self.rr, self.stream.log
        self.stream.set_time("frame", sequence=frame.number)
        self.count += 1
        if frame.intrinsics is not None:
            camera = np.asarray(frame.intrinsics, np.float64).tobytes() + repr(frame.size).encode()
            if camera != self.camera:
                self.camera = camera
                pinhole = rr.Pinhole(
                    image_from_camera=frame.intrinsics,
                    resolution=frame.size,
                    camera_xyz=rr.ViewCoordinates.RDF,
                    image_plane_distance=CAMERA_DEPTH,
                )
                log("camera", pinhole)
        if frame.picture is not None:
            log("camera/photo", rr.EncodedImage(contents=frame.picture, media_type="image/jpeg"))
        else:
            log("camera/photo", rr.Clear(recursive=False))
        entities = {path: None for hand in frame.hands for path in self._log_hand(hand)}
        entities |= {self._log_object(thing): None for thing in frame.objects}
        for gone in self._shown.keys() - entities.keys():
            log(gone, rr.Clear(recursive=True))
        self._shown = entities
        self._log_curves(frame.curves)

    def _log_hand(self, hand: SceneHand) -> Iterator[str]:
        rr, log, joints = self.rr, self.stream.log, f"camera/joints/{hand.name}"
        known = np.asarray(np.isfinite(hand.joints_2d).all(axis=1))
        chains = [[joint for joint in chain if known[joint]] for chain in FINGER_CHAINS]
        strips = [hand.joints_2d[chain] for chain in chains]
        log(f"{joints}/skeleton", rr.LineStrips2D(strips, colors=np.array(FINGER_COLOURS, np.uint8), radii=-1.0))
        for state, code in _STATES:
            chosen = known & (hand.seen == code)
            colours = _JOINT_COLOURS[chosen] if state == "seen" else HIDDEN if state == "hidden" else UNKNOWN_JOINT
            size = HIDDEN_SIZE if state == "hidden" else SEEN_SIZE
            log(f"{joints}/{state}", rr.Points2D(hand.joints_2d[chosen], colors=colours, radii=size))
        yield joints
        if hand.vertices is None or hand.surface is None:
            return
        faces = hand.surface.faces
        points, normals = hand.vertices.astype(np.float32), vertex_normals(hand.vertices, faces).astype(np.float32)
        if self.target is None:
            self.target = points.mean(axis=0)
        part, cause = f"by_part/{hand.name}", f"by_cause/{hand.name}"
        # The faces may be those of another mesh in a later frame, of predictions of another network.
        colours = hand.surface.part_colours()
        lasting = rr.Mesh3D.from_fields(triangle_indices=faces, vertex_colors=colours)
        self._log_once(f"{part} {hash(faces.tobytes())}", part, lasting)
        self._log_once(f"{cause} {hash(faces.tobytes())}", cause, rr.Mesh3D.from_fields(triangle_indices=faces))
        log(part, rr.Mesh3D.from_fields(vertex_positions=points, vertex_normals=normals))
        by_cause = hand.surface.cause_colours(hand.cause)
        log(cause, rr.Mesh3D.from_fields(vertex_positions=points, vertex_normals=normals, vertex_colors=by_cause))
        yield from (part, cause)

    def _log_object(self, thing: SceneObject) -> str:
        rr, path = self.rr, f"objects/{thing.name}"
        if path not in self._shown:  # for the first time, or again after it was gone
            mesh = rr.Mesh3D(
                vertex_positions=thing.vertices.astype(np.float32),
                triangle_indices=thing.faces,
                vertex_normals=vertex_normals(thing.vertices, thing.faces).astype(np.float32),
                albedo_factor=OBJECT,
            )
            self.stream.log(path, mesh)
        self.stream.log(path, rr.Transform3D(translation=thing.pose[:, 3], mat3x3=thing.pose[:, :3]))
        return path

    def _log_once(self, key: str, path: str, value: Any) -> None:
        if key not in self._fixed:
            self._fixed.add(key)
            self.stream.log(path, value, static=True)

    def _log_curves(self, curves: dict[str, float]) -> None:
        rr = self.rr
        for number, (name, value) in enumerate(curves.items()):
            group, _, label = name.partition("/")
            self.groups.setdefault(group, None)
            path = f"curves/{name}"
            colour = PART_COLOURS[number % len(PART_COLOURS)]
            self._log_once(path, path, rr.SeriesLines(names=[label], colors=[colour]))
            if np.isfinite(value):
                self.stream.log(path, rr.Scalars([value]))


def _blueprint(groups: dict[str, None], target: np.ndarray | None, camera: bool) -> Any:
    """The layout: photo with joints, the hand by part and by cause, seen from beside the camera, the curves below.

    Without a `camera` the photo has no place among meshes: the viewer calls it an error there.
    """
    import rerun.blueprint as rrb  # pyright: ignore[reportMissingImports]

    around, eye = [*(["/camera/**"] if camera else []), "/objects/**"], None
    if target is not None:
        eye = rrb.EyeControls3D(position=target + EYE, look_target=target, eye_up=(0.0, -1.0, 0.0))
    views = rrb.Horizontal(
        rrb.Spatial2DView(origin="/camera", name="photo and joints"),
        rrb.Spatial3DView(origin="/", contents=["/by_part/**", *around], name="hand by part", eye_controls=eye),
        rrb.Spatial3DView(
            origin="/", contents=["/by_cause/**", *around], name="hand by what hides it", eye_controls=eye
        ),
    )
    plots = [rrb.TimeSeriesView(origin=f"/curves/{group}", name=group.replace("_", " ")) for group in groups]
    layout = rrb.Vertical(views, rrb.Horizontal(*plots), row_shares=[3, 1]) if plots else views
    return rrb.Blueprint(layout, collapse_panels=True)
