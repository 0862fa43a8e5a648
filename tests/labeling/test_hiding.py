"""What a sparing renderer leaves out changes nothing: labels and depths with and without it, over random scenes."""

from dataclasses import fields

import numpy as np
import pytest
import trimesh
from h2onet.data.frame import Frame, ObjectPose
from h2onet.hand.camera import project
from h2onet.hand.rotations import matrix_from_axis_angle
from h2onet.hand.zbuffer import viewport_of
from h2onet.labeling.hiding import depth_of_objects, objects_at
from h2onet.labeling.label import FrameLabels, label_frames
from h2onet.labeling.objects import GROUP, ObjectLibrary, ObjectMesh, place
from h2onet.labeling.occlusion import DEPTH_TOLERANCE, pixels_that_count
from h2onet.labeling.raster import NEAR, CpuRenderer, Mesh, View

SPARING, PLAIN = CpuRenderer(), CpuRenderer(sparing=False)
# Where the hand's middle may be, m: in the image, partly outside at every side, close to the camera, far away.
MIDDLES = (
    (0, 0, 0.7),
    (0.3, 0.2, 0.6),
    (-0.35, 0, 0.65),
    (0, -0.28, 0.7),
    (0.02, 0.01, 0.12),
    (0.1, 0, 0.3),
    (0, 0, 3),
)


@pytest.fixture
def library(stage) -> ObjectLibrary:
    """Meshes from fine to two huge faces, in their own frames."""
    ball, box = trimesh.creation.icosphere(subdivisions=4, radius=0.06), trimesh.creation.box((2.2, 2.0, 2.4))
    stage.put("ball", ball.vertices, ball.faces)
    stage.put("torus", *mesh_of(trimesh.creation.torus(0.08, 0.02, 64, 32)))
    stage.put("room", box.vertices, box.faces)
    stage.put("wall", *mesh_of(trimesh.creation.box((1.5, 1.2, 0.004)).subdivide()))
    stage.put("needle", [[0, 0, 0], [0.2, 1e-5, 0], [0.1, 0, 0], [1.2, 0.3, 0.001]], [[0, 1, 2], [0, 1, 3], [2, 2, 3]])
    return ObjectLibrary(stage.folder)


def mesh_of(mesh: trimesh.Trimesh) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(mesh.vertices), np.asarray(mesh.faces)


def scene(stage, rng: np.random.Generator) -> Frame:
    """A random hand and up to four objects: beside, before and behind it, round the camera, across the near plane."""
    side = str(rng.choice(["right", "left"]))
    pose = stage.pose(rng.normal(size=3) * 2, rng.normal(size=(15, 3)) * 0.4)
    middle = np.array(MIDDLES[rng.integers(len(MIDDLES))]) + rng.normal(size=3) * (0.02, 0.02, 0.005)
    objects = []
    for name in rng.choice(["ball", "torus", "room", "wall", "needle"], rng.integers(0, 5)):
        offset = middle + rng.normal(size=3) * rng.choice([0.02, 0.1, 0.4])
        if name == "room" or rng.random() < 0.15:
            offset = rng.normal(size=3) * 0.1
        turn = matrix_from_axis_angle(rng.normal(size=3) * 2) * rng.choice([1.0, 1.004, 0.996])  # poses are not exact
        objects.append(ObjectPose(str(name), np.column_stack([turn, offset])))
    mask = rng.random((480, 640)) < 0.5 if rng.random() < 0.3 else "rendered"
    return stage.frame(pose, middle, side, objects, mask)


def assert_equal(first: FrameLabels, second: FrameLabels) -> None:
    for each in fields(FrameLabels):
        one, other = getattr(first, each.name), getattr(second, each.name)
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, other, err_msg=each.name)
            assert one.dtype == other.dtype
        elif each.name == "failures":
            assert [(row, failure) for row, failure in one] == [(row, failure) for row, failure in other]
        else:
            assert one == other


def test_labels_of_random_scenes_are_equal_to_the_bit(stage, library):
    rng = np.random.default_rng(5)
    frames = [scene(stage, rng) for _ in range(150)]
    sparing, plain = (label_frames(frames, stage.hands, library, renderer) for renderer in (SPARING, PLAIN))
    assert_equal(sparing, plain)
    assert plain.labelled.sum() > 100 and len(np.unique(plain.cause)) >= 4  # the scenes are not all alike


def seen(stage, library: ObjectLibrary, frame: Frame):
    """The hand of a frame, its viewport and points, and its objects as the depth rule asks for them."""
    vertices, joints = stage.mesh(frame)
    both = np.concatenate([vertices, joints])
    points = project(both, frame.intrinsics)
    view = View(frame.intrinsics, 640, 480, viewport_of(points, 640, 480))
    mesh = Mesh(vertices, stage.hands.own(frame.side).faces, np.ascontiguousarray(points[: len(vertices)]))
    return view, mesh, both, points, objects_at(frame, view, library, float(vertices[:, 2].max()))[0]


def test_depths_are_equal_to_the_bit_wherever_they_decide(stage, library):
    rng = np.random.default_rng(6)
    before = 0
    for _ in range(80):
        view, mesh, both, points, placed = seen(stage, library, scene(stage, rng))
        hand = PLAIN.inverse_depth([mesh], view)
        front, sparing = (
            depth_of_objects(renderer, placed, view, hand, both, points, DEPTH_TOLERANCE)
            for renderer in (PLAIN, SPARING)
        )
        on_hand = hand > 0
        nearer = on_hand & (front > hand)
        before += nearer.sum()
        np.testing.assert_array_equal(sparing[nearer], front[nearer])
        assert (sparing[on_hand & ~nearer] <= hand[on_hand & ~nearer]).all()
        for (u, v), z in zip(points - view.viewport[:2], both[:, 2], strict=True):
            if z > NEAR and 0 <= u < hand.shape[1] and 0 <= v < hand.shape[0] and not on_hand[int(v), int(u)]:
                found, expected = (depth[int(v), int(u)] for depth in (sparing, front))
                hides = expected * (z - DEPTH_TOLERANCE) > 1.0
                assert (found * (z - DEPTH_TOLERANCE) > 1.0) == hides
                assert not hides or found == expected
    assert before > 10_000


def test_parts_are_equal_where_they_are_wanted(stage, library):
    rng = np.random.default_rng(7)
    faces, parts = stage.hands.right.faces, stage.hands.right.parts.face
    shown = 0
    for _ in range(60):
        frame = scene(stage, rng)
        vertices, _ = stage.mesh(frame)
        points = project(vertices, frame.intrinsics)
        view = View(frame.intrinsics, 640, 480, viewport_of(points, 640, 480))
        wanted = pixels_that_count(points, view, frame.hand_mask)
        full, some = (r.parts(Mesh(vertices, faces, points), parts, view, wanted) for r in (PLAIN, SPARING))
        np.testing.assert_array_equal(some.covered, full.covered)
        np.testing.assert_array_equal(some.part[wanted > 0], full.part[wanted > 0])
        assert some.origin == full.origin
        shown += (full.part[wanted > 0] < 6).sum()
    assert shown > 3000


def test_hands_that_no_shortcut_fits_are_drawn_whole(stage):
    """Points that are huge, infinite or NaN, hands without extent and hands a light year away."""
    faces, parts = stage.hands.right.faces, stage.hands.right.parts.face
    frame = stage.frame(stage.pose())
    vertices, _ = stage.mesh(frame)
    view = View(frame.intrinsics, 640, 480, (200, 150, 440, 330))
    wanted = np.ones((180, 240), np.uint8)
    for scale, spoilt in ((1, np.nan), (1, np.inf), (1, 1e7), (1e20, 1), (1e-9, 1), (1, 1e300), (0.2, 1), (1e35, 1)):
        changed = vertices * scale
        points = project(changed, frame.intrinsics)
        points[::97] *= spoilt
        with np.errstate(all="ignore"):
            full, some = (r.parts(Mesh(changed, faces, points), parts, view, wanted) for r in (PLAIN, SPARING))
        np.testing.assert_array_equal(some.covered, full.covered)
        np.testing.assert_array_equal(some.part, full.part)


def test_groups_hold_every_face_once_and_their_spheres_hold_them():
    rng = np.random.default_rng(8)
    for vertices, faces in (
        mesh_of(trimesh.creation.torus(0.08, 0.02, 40, 33)),
        (rng.normal(size=(50, 3)), rng.integers(0, 50, (777, 3))),
        (np.zeros((3, 3)), np.array([[0, 1, 2]])),
    ):
        mesh = ObjectMesh.of(vertices, faces)
        assert sorted(map(tuple, mesh.grouped.tolist())) == sorted(map(tuple, mesh.faces.tolist()))
        assert len(mesh.radii) == len(mesh.centres) == -(-len(faces) // GROUP)
        for i, (centre, radius) in enumerate(zip(mesh.centres, mesh.radii, strict=True)):
            corners = mesh.vertices[mesh.grouped[i * GROUP : (i + 1) * GROUP]]
            assert (np.linalg.norm(corners - centre, axis=2) <= radius).all()


def test_an_object_that_is_alone_is_drawn_as_it_is_placed(stage, library):
    """With a hand far behind everything decides: then the whole object's image is equal to the bit."""
    rng = np.random.default_rng(9)
    view = View(np.array([[614.0, 0.3, 320.0], [0.0, 612.0, 240.0], [0.0, 0.0, 1.0]]), 640, 480, (150, 100, 480, 370))
    hand = np.full((270, 330), 1e-6, np.float32)
    nobody, nowhere = np.empty((0, 3)), np.empty((0, 2))
    for name in ("ball", "torus", "room", "wall", "needle"):
        mesh = library.get(name)
        for z in (-0.05, 0.0, 0.06, 0.1, 0.5, 1.5):
            turn = matrix_from_axis_angle(rng.normal(size=3))
            pose = np.column_stack([turn, [rng.normal() * 0.1, rng.normal() * 0.1, z]])
            found = depth_of_objects(SPARING, [(mesh, pose)], view, hand, nobody, nowhere, DEPTH_TOLERANCE)
            expected = PLAIN.inverse_depth([place(mesh, pose, view.intrinsics)], view)
            np.testing.assert_array_equal(found, np.maximum(expected, hand), err_msg=f"{name} at {z}")
