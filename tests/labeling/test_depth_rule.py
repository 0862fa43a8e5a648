"""The depth rule on scenes whose answer is known: who hides what, how much of it, and what does not matter."""

import numpy as np
import pytest
from h2onet.data.frame import ObjectPose
from h2onet.hand.camera import project
from h2onet.hand.parts import CAUSES, PARTS
from h2onet.hand.rotations import mirror_pose
from h2onet.labeling.occlusion import (
    DEPTH_TOLERANCE,
    FACING_COSINE,
    camera_facing,
    depth_rule,
    outward_sense,
    silhouette_iou,
)
from h2onet.labeling.raster import View

OBJECT, OWN_HAND, OUTSIDE = (CAUSES.index(name) for name in ("object", "own hand", "outside the image"))
INDEX = PARTS.index("index")
INDEX_JOINTS = slice(6, 9)  # pip, dip, tip


def others(row):
    return np.delete(row, INDEX)


def finger_pixels(stage, frame):
    """Pixels of the index finger's joints: mcp, pip, dip, tip."""
    _, joints = stage.mesh(frame)
    return project(joints[5:9], frame.intrinsics)


def test_an_open_hand_is_wholly_visible(stage, poses):
    labels = stage.label(stage.frame(stage.pose()), stage.frame(stage.pose(poses["turned"])))
    np.testing.assert_array_equal(labels.visible_fraction, np.ones((2, 6)))
    assert (labels.cause == 0).all() and (labels.joint_visible == 1).all()
    assert (labels.hidden_fraction == 0).all() and (labels.camera_facing > 30).all()
    assert (labels.mask_iou == 1).all()


def test_a_plane_before_one_finger_hides_only_it(stage):
    bare = stage.frame(stage.pose())
    _, pip, _, tip = finger_pixels(stage, bare)
    strip = stage.strip("plane", pip, tip + (tip - pip), 9, 0.5)
    labels = stage.label(stage.frame(stage.pose(), objects=[strip]), bare)
    hidden = labels.visible_fraction[0]
    assert hidden[INDEX] < 0.5 and (others(hidden) == 1).all()
    np.testing.assert_array_equal(labels.cause[0], [OBJECT if part == "index" else 0 for part in PARTS])
    expected = np.ones(21)
    expected[INDEX_JOINTS] = 0
    np.testing.assert_array_equal(labels.joint_visible[0], expected)
    assert labels.hidden_fraction[0, INDEX, 0] == pytest.approx(1 - hidden[INDEX], abs=1e-6)
    assert labels.mask_iou[0] < labels.mask_iou[1] == 1


def test_the_visible_fraction_is_the_share_that_the_plane_leaves(stage):
    """Counted here by the definition: camera-facing vertices of the finger outside the strip's image."""
    bare = stage.frame(stage.pose())
    vertices, _ = stage.mesh(bare)
    model = stage.hands.right
    points = project(vertices, bare.intrinsics)
    edge = points[model.parts.vertex == INDEX, 0].mean()
    strip = stage.strip("plane", (edge, 240), (edge + 400, 240), 300, 0.5)  # covers u >= edge
    labels = stage.label(stage.frame(stage.pose(), objects=[strip]))
    facing = camera_facing(vertices, model.faces, outward_sense(vertices, model.faces))
    centres = np.floor(points[:, 0]) + 0.5
    for part in range(6):
        mine = facing & (model.parts.vertex == part)
        assert labels.visible_fraction[0, part] == pytest.approx((centres[mine] < edge).mean(), abs=0.02)


def test_a_sphere_before_a_fingertip_hides_only_that_finger(stage):
    bare = stage.frame(stage.pose())
    _, joints = stage.mesh(bare)
    ball = stage.sphere("ball", joints[8] * 0.8, 0.008)
    labels = stage.label(stage.frame(stage.pose(), objects=[ball]))
    assert labels.visible_fraction[0, INDEX] < 0.9 and (others(labels.visible_fraction[0]) == 1).all()
    assert labels.cause[0, INDEX] == OBJECT and labels.joint_visible[0, 8] == 0
    assert labels.joint_visible[0].sum() == 20


def test_what_stands_behind_the_hand_changes_nothing(stage):
    wall = stage.strip("wall", (0, 240), (640, 240), 300, 0.95)
    ball = stage.sphere("ball", (0.3, 0.0, 0.5), 0.03)  # beside the hand
    labels = stage.label(stage.frame(stage.pose(), objects=[wall, ball]))
    assert (labels.visible_fraction == 1).all() and (labels.joint_visible == 1).all() and labels.mask_iou[0] == 1


@pytest.mark.parametrize(("side", "hides"), [(1, False), (-1, True)], ids=["behind", "before"])
@pytest.mark.parametrize("gap", [0.0, -0.003], ids=["touching", "3 mm inside"])
def test_an_object_touching_a_fingertip(stage, side, hides, gap):
    """From behind it hides nothing, also when it sinks 3 mm into the skin; from before it hides the tip."""
    bare = stage.frame(stage.pose())
    vertices, joints = stage.mesh(bare)
    skin = vertices[stage.hands.right.parts.vertex == INDEX]
    near_tip = skin[np.linalg.norm(skin[:, :2] - joints[8, :2], axis=1) < 0.006]
    radius = 0.03
    surface = near_tip[:, 2].max() if side > 0 else near_tip[:, 2].min()
    centre = np.array([*joints[8, :2], surface + side * (radius + gap)])
    labels = stage.label(stage.frame(stage.pose(), objects=[stage.sphere("ball", centre, radius)]))
    assert (labels.visible_fraction[0, INDEX] < 0.9) == hides
    assert (labels.joint_visible[0, 8] == 0) == hides
    assert labels.cause[0, INDEX] == (OBJECT if hides else 0)


def test_a_closed_fist_hides_its_fingertips_by_itself(stage, poses):
    """Seen from the back, bent fingers lie behind palm and knuckles (the little one beside the palm)."""
    labels = stage.label(stage.frame(stage.pose(poses["open"], poses["bend"])))
    assert (labels.joint_visible[0, [8, 12, 16]] == 0).all()
    assert (labels.joint_visible[0, [5, 9, 13, 17]] == 1).all()
    assert (labels.visible_fraction[0, 1:4] < 0.5).all()
    assert (labels.cause[0, 1:5] == OWN_HAND).all()
    assert (labels.hidden_fraction[0, :, OBJECT - 1] == 0).all()


def test_a_hand_half_outside_the_image(stage):
    inside = stage.frame(stage.pose())
    vertices, _ = stage.mesh(inside)
    shift = -0.7 * 320.0 / 614.0 - np.median(vertices[:, 0])  # the middle of the hand comes to u = 0
    frame = stage.frame(stage.pose(), middle=(vertices[:, 0].mean() + shift, 0.0, 0.7))
    vertices, joints = stage.mesh(frame)
    labels = stage.label(frame)
    u, v = project(vertices, frame.intrinsics).T
    model = stage.hands.right
    facing = camera_facing(vertices, model.faces, outward_sense(vertices, model.faces))
    outside = (u < 0) | (u >= 640) | (v < 0) | (v >= 480)
    assert 0.3 < outside.mean() < 0.7
    for part in range(6):
        mine = facing & (model.parts.vertex == part)
        assert labels.visible_fraction[0, part] == pytest.approx((~outside[mine]).mean())
        assert labels.hidden_fraction[0, part, OUTSIDE - 1] == pytest.approx(outside[mine].mean())
        assert labels.cause[0, part] == (OUTSIDE if outside[mine].any() else 0)
    ju = project(joints, frame.intrinsics)[:, 0]
    np.testing.assert_array_equal(labels.joint_visible[0], ju >= 0)


def test_a_mirrored_scene_gives_mirrored_labels(stage, poses):
    """Left hand, mirrored pose, mirrored objects and camera: the same fractions, causes and joints."""
    rng = np.random.default_rng(1)
    fingers = poses["bend"] * rng.uniform(0, 0.6, (15, 1)) + rng.normal(0, 0.1, (15, 3))
    turn = np.array([-1.4, 0.3, 0.2])
    right = stage.frame(stage.pose(turn, fingers), middle=(0.02, 0.01, 0.6))
    vertices, joints = stage.mesh(right)
    ball = joints[11] * 0.85
    flip = np.array([-1.0, 1.0, 1.0])
    intrinsics = right.intrinsics.copy()
    intrinsics[0, 2] = 640 - intrinsics[0, 2]
    right_ball, left_ball = stage.sphere("ball", ball, 0.02), stage.sphere("llab", ball * flip, 0.02)
    one = stage.frame(right.mano_pose, middle=vertices.mean(axis=0), objects=[right_ball])
    two = stage.frame(
        mirror_pose(right.mano_pose), side="left", intrinsics=intrinsics, root=one.root * flip, objects=[left_ball]
    )
    np.testing.assert_allclose(stage.mesh(two)[0], stage.mesh(one)[0] * flip, atol=1e-12)
    labels = stage.label(one, two)
    assert (labels.cause[0] == OBJECT).any() and (labels.cause[0] == OWN_HAND).any()
    np.testing.assert_allclose(labels.visible_fraction[0], labels.visible_fraction[1], atol=0.02)
    np.testing.assert_array_equal(labels.cause[0], labels.cause[1])
    np.testing.assert_array_equal(labels.joint_visible[0], labels.joint_visible[1])
    assert labels.mask_iou[0] == pytest.approx(labels.mask_iou[1], abs=1e-3)


def rays_hit_first(vertices, faces):
    """Depth of the first surface on the ray of every vertex, exactly, by Moeller and Trumbore's formula."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    edge1, edge2 = b - a, c - a
    first = np.full(len(vertices), np.inf)
    for i, target in enumerate(vertices):
        ray = target / target[2]
        p = np.cross(ray, edge2)
        det = np.einsum("ij,ij->i", edge1, p)
        with np.errstate(divide="ignore", invalid="ignore"):
            u = np.einsum("ij,ij->i", -a, p) / det
            q = np.cross(-a, edge1)
            v = q @ ray / det
            depth = np.einsum("ij,ij->i", edge2, q) / det
        hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (depth > 0)
        first[i] = depth[hit].min(initial=np.inf)
    return first


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_exact_rays(stage, poses, seed):
    """One depth per pixel against a ray through every vertex: 2 % of the vertices differ at most, 10 % in one part."""
    rng = np.random.default_rng(seed)
    fingers = poses["bend"] * rng.uniform(0.2, 1, (15, 1)) + rng.normal(0, 0.15, (15, 3))
    frame = stage.frame(stage.pose(rng.normal(0, 1.5, 3), fingers))
    vertices, _ = stage.mesh(frame)
    model = stage.hands.right
    facing = camera_facing(vertices, model.faces, outward_sense(model.arrays.v_template, model.faces))
    state = np.where(rays_hit_first(vertices, model.faces) < vertices[:, 2] - DEPTH_TOLERANCE, OWN_HAND, 0)
    exact = depth_rule(state.astype(np.uint8), facing, model.parts.vertex, np.zeros(21, np.uint8))
    assert exact.counts[:, OWN_HAND].sum() > 20
    labels = stage.label(frame)
    difference = np.abs(labels.visible_fraction[0] - exact.visible_fraction)
    assert difference.max() < 0.1 and difference.mean() < 0.02


def test_objects_without_a_mesh_are_named_and_leave_the_depth_rule_unknown(stage):
    missing = ObjectPose("035_power_drill", np.eye(4)[:3])
    absent = ObjectPose("061_foam_brick", np.zeros((3, 4)))  # DexYCB's mark for "not there": needs no mesh
    labels = stage.label(
        stage.frame(stage.pose(), objects=[missing, absent]), stage.frame(stage.pose(), objects=[absent])
    )
    assert labels.missing_objects == ((0, "035_power_drill"),)
    assert np.isnan(labels.visible_fraction[0]).all() and (labels.cause[0] == 255).all()
    assert (labels.joint_visible[0] == 255).all() and (labels.camera_facing[0] == -1).all()
    assert (labels.visible_fraction[1] == 1).all()
    np.testing.assert_array_equal(labels.occluded[0], labels.occluded[1])
    assert labels.labelled.all() and not labels.failures


def test_camera_facing_and_the_commonest_cause_by_hand():
    vertices = np.array([[0.0, 0, 1], [0.1, 0, 1], [0, 0.1, 1], [0, 0, 1.1]])
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)
    assert outward_sense(vertices, faces) == 1 and outward_sense(vertices, faces[:, ::-1]) == -1
    np.testing.assert_array_equal(camera_facing(vertices, faces)[[0, 3]], [True, False])
    np.testing.assert_array_equal(camera_facing(vertices, faces[:, ::-1].copy(), -1.0), camera_facing(vertices, faces))
    assert FACING_COSINE == 0.1

    parts = np.array([0, 0, 0, 0, 1, 1, 2], np.uint8)
    state = np.array([0, 3, 2, 2, 1, 3, 0], np.uint8)
    facing = np.array([1, 1, 1, 1, 1, 1, 0], bool)
    label = depth_rule(state, facing, parts, np.array([0, 1, 2, 3] + 17 * [0], np.uint8))
    np.testing.assert_array_equal(label.counts[:3], [[1, 0, 2, 1, 0], [0, 1, 0, 1, 0], [0, 0, 0, 0, 0]])
    np.testing.assert_array_equal(label.visible_fraction[:3], [0.25, 0, 0])
    np.testing.assert_array_equal(label.cause[:3], [OWN_HAND, OBJECT, 0])
    np.testing.assert_array_equal(label.joint_visible[:4], [1, 0, 0, 0])


def test_silhouette_agreement_counts_the_whole_mask():
    hand, objects = np.zeros((2, 2, 3), np.float32)
    hand[0] = 2.0
    objects[0, 0] = 3.0
    mask = np.zeros((4, 5), bool)
    mask[1, 2:5] = True  # the viewport's first row, one pixel of which an object hides
    mask[3, 0] = True  # outside the viewport
    view = View(np.eye(3), 5, 4, (2, 1, 5, 3))
    assert silhouette_iou(hand, objects, view, mask) == pytest.approx(2 / 4)
    assert np.isnan(silhouette_iou(hand * 0, objects, view, mask & False))
