"""Drawing: normals of a closed mesh, a hand from its back, overlays that touch only what they cover."""

import tracemalloc

import cv2
import numpy as np
import pytest
from h2onet.hand.arrays import parts_by_faces
from h2onet.hand.camera import project
from h2onet.hand.draw import BLUE, from_the_back, overlay_mesh, overlay_skeleton, vertex_normals
from h2onet.hand.mano import load_arrays
from h2onet.hand.parts import tip_vertices

SIDE = 128


@pytest.fixture(scope="module")
def hand():
    arrays = load_arrays("standin", "right")
    wrist = arrays.joint_regressor[0] @ arrays.v_template
    return arrays.v_template - wrist, arrays.faces


def test_normals_of_an_octahedron_point_away_from_its_centre():
    corners = np.concatenate([np.eye(3), -np.eye(3)])
    faces = np.array([[0, 1, 2], [1, 3, 2], [3, 4, 2], [4, 0, 2], [1, 0, 5], [3, 1, 5], [4, 3, 5], [0, 4, 5]])
    np.testing.assert_allclose(vertex_normals(corners, faces), corners, atol=1e-12)
    np.testing.assert_allclose(vertex_normals(corners, faces[:, ::-1]), -corners, atol=1e-12)


def test_a_hand_from_its_back_stands_upright_in_the_picture(hand):
    vertices, _ = hand
    placed, camera = from_the_back(vertices, SIDE)
    pixels = project(placed, camera)
    assert pixels.min() > 0 and pixels.max() < SIDE
    tips = pixels[list(tip_vertices("manopth", "right"))]
    wrist = project(from_the_back(np.zeros((1, 3)), SIDE)[0], camera)[0]
    assert (tips[:, 1] < wrist[1]).all(), "fingers point up"
    assert (np.diff(tips[:, 0]) > 0).all(), "a right hand's thumb is on the left when its back is seen"
    np.testing.assert_allclose(from_the_back(vertices, 2 * SIDE)[1][:2], 2 * camera[:2])


def test_an_overlay_changes_only_what_the_mesh_covers(hand):
    vertices, faces = hand
    placed, camera = from_the_back(vertices, SIDE)
    picture = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    drawn = overlay_mesh(picture, placed, faces, camera, colours=BLUE)
    pixels = project(placed, camera)
    far = np.ones((SIDE, SIDE), bool)
    for x, y in pixels.astype(int):
        far[max(y - 12, 0) : y + 13, max(x - 12, 0) : x + 13] = False
    assert far.sum() > 1000 and (drawn[far] == picture[far]).all()
    assert (drawn != picture).any(axis=2).sum() > 1000
    aside = overlay_mesh(picture, placed + np.array([5.0, 0.0, 0.0]), faces, camera)
    np.testing.assert_array_equal(aside, picture)


@pytest.mark.parametrize("side", [SIDE, 4 * SIDE])
def test_hatched_faces_have_dark_stripes_and_the_others_stay_as_they_were(hand, side):
    vertices, faces = hand
    placed, camera = from_the_back(vertices, side)
    picture = np.full((side, side, 3), 200, np.uint8)
    parts = parts_by_faces(faces)
    index = parts.face == 1
    plain, none = (overlay_mesh(picture, placed, faces, camera, hatched=h) for h in (None, np.zeros(len(faces), bool)))
    hatched = overlay_mesh(picture, placed, faces, camera, hatched=index)
    np.testing.assert_array_equal(plain, none)
    changed = (hatched != plain).any(2)
    # Without the other faces the finger covers all that it covers among them.
    finger = (overlay_mesh(picture, placed, faces[index], camera) != picture).any(2)
    assert changed.any() and not (changed & ~finger).any()
    inside = cv2.erode(finger.astype(np.uint8), np.ones((3, 3))) > 0
    assert 0.4 < changed[inside].mean() < 0.6, "dark and plain stripes are as wide as each other"
    assert np.median(hatched[changed & inside]) < 60 < plain[changed & inside].min()
    runs = np.diff(np.flatnonzero(np.diff(changed[:, int(np.flatnonzero(inside.any(0)).mean())].astype(int))))
    assert np.median(runs) == (2 if side == SIDE else 4)


def test_a_skeleton_is_drawn_into_a_copy():
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    joints = np.full((21, 2), 40.0)
    joints[4] = [100.5, 40.5]  # the thumb's tip
    drawn = overlay_skeleton(picture, joints)
    assert not picture.any()
    assert drawn[40, 70].any() and not drawn[80, 70].any()
    assert overlay_skeleton(picture, np.full((21, 2), 1e9)).shape == picture.shape


def test_an_overlay_costs_what_the_mesh_covers(hand):
    """A phone's picture has 12 million pixels; the hand a small part of them."""
    vertices, faces = hand
    placed, camera = from_the_back(vertices, SIDE)
    picture = np.zeros((1500, 2000, 3), np.uint8)
    overlay_mesh(picture[:SIDE, :SIDE], placed, faces, camera)  # compiles
    tracemalloc.start()
    try:
        drawn = overlay_mesh(picture, placed, faces, camera)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert drawn.any() and peak < 3 * picture.nbytes


def test_hidden_joints_are_hollow():
    """A disc where a joint is seen, a dark middle in a ring of its finger's colour where not; nothing else changes."""
    picture, thickness = np.full((SIDE, SIDE, 3), 120, np.uint8), 2
    joints = np.stack(np.divmod(np.arange(21), 5), 1) * 20 + 15.5  # apart from each other
    seen = np.arange(21) % 2 == 0
    drawn = overlay_skeleton(picture, joints, thickness=thickness, filled=seen)
    everywhere = overlay_skeleton(picture, joints, thickness=thickness, filled=np.ones(21, bool))
    for joint, (x, y) in enumerate(joints.astype(int)):
        same = (drawn[y, x] == everywhere[y, x]).all()
        assert same == seen[joint] and (seen[joint] or drawn[y, x].max() < 30), joint
    rows, columns = np.nonzero((drawn != everywhere).any(2))
    away = np.hypot(columns[:, None] + 0.5 - joints[~seen, 0], rows[:, None] + 0.5 - joints[~seen, 1]).min(1)
    assert len(away) and away.max() <= 2 * thickness + 2
