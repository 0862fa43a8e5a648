"""A stage for labels: the built-in hand before a camera, objects whose effect is known, and the frame that says so."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import trimesh
from h2onet.data.frame import Frame, ObjectPose
from h2onet.hand.camera import project
from h2onet.labeling.label import FrameLabels, label_frames
from h2onet.labeling.objects import ObjectLibrary
from h2onet.labeling.pose import Hands, load_hands
from h2onet.labeling.raster import CpuRenderer, Mesh, View

WIDTH, HEIGHT = 640, 480
INTRINSICS = np.array([[614.0, 0.0, 320.0], [0.0, 612.0, 240.0], [0.0, 0.0, 1.0]])
# The flat hand runs along the image's x axis: its back or its palm towards the camera.
OPEN, TURNED = np.array([-np.pi / 2, 0, 0]), np.array([np.pi / 2, 0, 0])
# The fingers (not the thumb) bent by 80, 80 and 20 degrees: a fist.
BEND = np.zeros((15, 3))
BEND[:12, 2] = np.radians(4 * [80, 80, 20])


@dataclass
class Stage:
    """Builds frames of the built-in hand and labels them."""

    hands: Hands
    folder: Path
    renderer: CpuRenderer = field(default_factory=CpuRenderer)

    def pose(self, turn=OPEN, fingers=None) -> np.ndarray:
        """(48,) pose: the global rotation, then 15 finger rotations (flat hand by default)."""
        return np.concatenate([turn, np.zeros(45) if fingers is None else np.ravel(fingers)])

    def mesh(self, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
        """Vertices (778, 3) and joints (21, 3) of the frame's own-side hand, m."""
        model = self.hands.own(frame.side)
        assert frame.mano_pose is not None and frame.mano_shape is not None
        vertices, joints = model.pose(frame.mano_pose[None], frame.mano_shape[None])
        return vertices[0] - joints[0, 0] + frame.root, joints[0] - joints[0, 0] + frame.root

    def frame(self, pose, middle=(0.0, 0.0, 0.7), side="right", objects=(), mask="rendered", **fields) -> Frame:
        """A frame with the hand's middle at `middle` m; mask: "rendered" hand, None, or an array."""
        values = {
            "dataset": "dexycb",
            "sequence": "subject/sequence/camera",
            "number": 0,
            "index": 0,
            "image": "subject/sequence/camera/color_000000.jpg",
            "side": side,
            "intrinsics": INTRINSICS,
            "mano_pose": np.asarray(pose, np.float64),
            "mano_shape": np.zeros(10),
            "translation": None,
            "joints": None,
            "joints_2d": None,
            "root": np.zeros(3),
            "objects": tuple(objects),
        }
        frame = Frame(**values)
        vertices, _ = self.mesh(frame)
        frame = Frame(**values | {"root": np.asarray(middle) - vertices.mean(axis=0)} | fields)
        if isinstance(mask, str):
            mask = self.silhouette(frame)
        return Frame(**vars(frame) | {"hand_mask": mask})

    def silhouette(self, frame: Frame) -> np.ndarray:
        """(H, W) bool: the whole hand, as if nothing hid it."""
        vertices, _ = self.mesh(frame)
        points = project(vertices, frame.intrinsics)
        view = View(frame.intrinsics, WIDTH, HEIGHT, (0, 0, WIDTH, HEIGHT))
        return self.renderer.inverse_depth([Mesh(vertices, self.hands.own(frame.side).faces, points)], view) > 0

    def put(self, name: str, vertices, faces) -> ObjectPose:
        """Store a mesh given in camera coordinates, m, as an object that stands where it was given."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        trimesh.Trimesh(vertices, faces, process=False).export(folder / "textured_simple.obj")
        return ObjectPose(name, np.eye(4)[:3])

    def strip(self, name: str, start, end, half_width: float, z: float) -> ObjectPose:
        """A flat strip at depth z m; its image runs from pixel `start` to `end`, half_width px to both sides."""
        start, end = np.asarray(start, float), np.asarray(end, float)
        along = (end - start) / np.linalg.norm(end - start)
        across = half_width * np.array([-along[1], along[0]])
        corners = np.array([start + across, end + across, end - across, start - across])
        rays = (corners - INTRINSICS[:2, 2]) / INTRINSICS[[0, 1], [0, 1]]
        vertices = np.column_stack([rays * z, np.full(4, z)])
        return self.put(name, vertices, [[0, 1, 2], [0, 2, 3]])

    def sphere(self, name: str, centre, radius: float) -> ObjectPose:
        """A sphere of the given radius, m."""
        ball = trimesh.creation.icosphere(subdivisions=4, radius=radius)
        return self.put(name, ball.vertices + np.asarray(centre), ball.faces)

    def label(self, *frames: Frame, **options) -> FrameLabels:
        """Label frames by both rules."""
        library = ObjectLibrary(self.folder)
        return label_frames(frames, self.hands, library, options.pop("renderer", self.renderer), **options)


@pytest.fixture(scope="session")
def hands() -> Hands:
    """The built-in hand, both sides, float64."""
    return load_hands("standin")


@pytest.fixture
def stage(hands: Hands, tmp_path: Path) -> Stage:
    """An empty stage; objects are stored under the test's own folder."""
    folder = tmp_path / "models"
    folder.mkdir()
    return Stage(hands, folder)


@pytest.fixture
def poses() -> dict[str, np.ndarray]:
    """Named global rotations and finger bends."""
    return {"open": OPEN, "turned": TURNED, "bend": BEND}
