"""The stand-in hand at rest: MANO's sizes and topology, the measured skeleton, fingertips, left against right."""

import numpy as np
import pytest
from h2onet.errors import InputError
from h2onet.hand.parts import FINGERS, TIPS, parts_from_weights
from h2onet.hand.standin.arrays import ARRAY_FIELDS, TIP_VERTICES, WRIST_LOOP, standin_arrays
from h2onet.hand.standin.generate import generate_right

FIRST_JOINT = {"thumb": 13, "index": 1, "middle": 4, "ring": 10, "little": 7}
# Measured on real frames, mm: wrist, first joints, then the bones wrist-1, 1-2, 2-3, 3-tip.
WRIST = (93.0, 6.6, 6.4)
FIRST_JOINTS = {
    "thumb": (69.9, -8.9, 32.4),
    "index": (7.2, 1.5, 27.6),
    "middle": (0.6, 5.1, 3.2),
    "ring": (13.0, 2.5, -20.4),
    "little": (25.7, -3.5, -37.1),
}
BONES = {
    "thumb": (38.1, 30.8, 26.9, 34.1),
    "index": (88.5, 31.8, 21.4, 22.3),
    "middle": (92.5, 30.7, 22.6, 23.8),
    "ring": (84.4, 27.8, 24.0, 23.1),
    "little": (80.8, 21.2, 18.9, 20.0),
}
SHAPES = {
    "v_template": (778, 3),
    "shapedirs": (778, 3, 10),
    "posedirs": (778, 3, 135),
    "joint_regressor": (16, 778),
    "weights": (778, 16),
    "hands_components": (45, 45),
    "hands_mean": (45,),
    "faces": (1538, 3),
    "parents": (16,),
}
PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)


@pytest.fixture(params=["right", "left"])
def hand(request):
    return standin_arrays(request.param)


def edges_of(faces):
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def volume(vertices, faces):
    return np.einsum("fi,fi", vertices[faces[:, 0]], np.cross(vertices[faces[:, 1]], vertices[faces[:, 2]])) / 6


def capped(vertices, faces, side):
    """The mesh closed at the wrist by the fan that public code uses: (previous, next, centre), turned for the left."""
    loop = np.array(WRIST_LOOP)
    fan = np.stack([np.roll(loop, 1), loop, np.full(16, len(vertices))], axis=1)
    fan = fan if side == "right" else fan[:, ::-1]
    return np.concatenate([vertices, vertices[loop].mean(axis=0, keepdims=True)]), np.concatenate([faces, fan])


def crossing_faces(vertices, faces):
    """Pairs of faces without a common vertex of which an edge of one passes through the other."""
    corners = vertices[faces]
    low, high = corners.min(axis=1), corners.max(axis=1)
    near = (low[:, None] <= high[None]).all(axis=-1) & (low[None] <= high[:, None]).all(axis=-1)
    i, j = np.nonzero(np.triu(near, 1))
    apart = ~(faces[i][:, :, None] == faces[j][:, None, :]).any(axis=(1, 2))
    i, j = i[apart], j[apart]
    crossing = np.zeros(len(i), dtype=bool)
    for first, second in ((corners[i], corners[j]), (corners[j], corners[i])):
        a, b = second[:, 1] - second[:, 0], second[:, 2] - second[:, 0]
        for k in range(3):
            start, way = first[:, k], first[:, (k + 1) % 3] - first[:, k]
            across = np.cross(way, b)
            size = np.einsum("ni,ni->n", a, across)
            usable = np.abs(size) > 1e-18
            scale = 1 / np.where(usable, size, 1)
            offset = start - second[:, 0]
            u = np.einsum("ni,ni->n", offset, across) * scale
            turned = np.cross(offset, a)
            v = np.einsum("ni,ni->n", way, turned) * scale
            t = np.einsum("ni,ni->n", b, turned) * scale
            crossing |= usable & (u >= 0) & (v >= 0) & (u + v <= 1) & (t >= 0) & (t <= 1)
    return np.stack([i[crossing], j[crossing]], axis=1)


def test_sizes_and_types_are_manos(hand):
    for name, shape in SHAPES.items():
        array = getattr(hand, name)
        assert array.shape == shape, name
        assert np.isfinite(array).all(), name
        assert not array.flags.writeable, name
    assert hand.hands_coeffs.shape[1] == 45
    assert hand.faces.dtype == np.int32
    assert tuple(hand.parents) == PARENTS
    assert hand.source == "standin"


def test_an_unknown_side_is_refused():
    with pytest.raises(InputError, match="right or left"):
        standin_arrays("both")


def test_mesh_is_a_disk_open_at_the_wrist_only(hand):
    directed = edges_of(hand.faces)
    assert len(np.unique(directed, axis=0)) == len(directed)  # manifold and consistently wound
    known = {tuple(e) for e in directed.tolist()}
    boundary = {e for e in known if e[::-1] not in known}
    loop = WRIST_LOOP if hand.side == "right" else WRIST_LOOP[::-1]
    assert boundary == {(loop[k], loop[k - 1]) for k in range(16)}
    edges = len(np.unique(np.sort(directed, axis=1), axis=0))
    assert 778 - edges + 1538 == 1
    assert np.array_equal(np.unique(hand.faces), np.arange(778))
    # One fan of triangles per vertex: around each, the next-edges form a single chain or ring.
    for vertex in range(778):
        around = hand.faces[(hand.faces == vertex).any(axis=1)]
        turned = np.array([np.roll(f, -int(np.flatnonzero(f == vertex)[0])) for f in around])
        following = dict(zip(turned[:, 1].tolist(), turned[:, 2].tolist(), strict=True))
        start = next(iter(set(following) - set(following.values())), next(iter(following)))
        steps, at = 0, start
        while at in following and steps < len(following):
            at, steps = following[at], steps + 1
        assert steps == len(following), vertex


def test_triangles_face_outwards(hand):
    vertices, faces = capped(hand.v_template, hand.faces, hand.side)
    known = {tuple(e) for e in edges_of(faces).tolist()}
    assert all(e[::-1] in known for e in known)
    assert 2.2e-4 < volume(vertices, faces) < 4.5e-4  # m3: a hand is about a third of a litre


def test_triangles_are_of_decent_quality(hand):
    corners = hand.v_template[hand.faces]
    sides = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    quality = 4 * np.sqrt(3) * area / (sides**2).sum(axis=1)  # 1 = equilateral
    assert quality.min() > 0.45
    assert np.percentile(quality, 5) > 0.7
    assert sides.min() > 0.0015 and sides.max() < 0.018
    assert 0.005 < np.median(sides) < 0.008


def test_nothing_crosses_at_rest(hand):
    assert len(crossing_faces(hand.v_template, hand.faces)) == 0


def test_the_crossing_test_sees_a_crossing(hand):
    pushed = hand.v_template.copy()
    pushed[TIP_VERTICES["index"][0]] = hand.v_template[TIP_VERTICES["ring"][0]] - (0, 0.004, 0.012)
    assert len(crossing_faces(pushed, hand.faces)) > 0


def test_skeleton_is_the_measured_one():
    hand = standin_arrays("right")
    joints = 1000 * hand.joint_regressor @ hand.v_template
    assert np.allclose(joints[0], WRIST, atol=1e-3)
    for finger, first in FIRST_JOINT.items():
        assert np.allclose(joints[first], FIRST_JOINTS[finger], atol=1e-3)
        chain = np.stack([joints[0], *joints[first : first + 3], 1000 * hand.v_template[TIP_VERTICES[finger][0]]])
        assert np.allclose(np.linalg.norm(np.diff(chain, axis=0), axis=1), BONES[finger], atol=0.5)


def test_palm_faces_down_and_the_hand_has_the_size_of_a_hand():
    vertices = 1000 * standin_arrays("right").v_template
    wrist = vertices[list(WRIST_LOOP)]
    assert np.allclose(np.ptp(wrist, axis=0), (0, 38, 55), atol=3)
    knuckles = vertices[np.abs(vertices[:, 0] - 15) < 8]
    knuckles = knuckles[knuckles[:, 2] < 45]  # without the thumb
    assert 78 < np.ptp(knuckles[:, 2]) < 95
    middle = vertices[(np.abs(vertices[:, 0] - 25) < 10) & (np.abs(vertices[:, 2]) < 12)]
    assert 22 < np.ptp(middle[:, 1]) < 32
    assert vertices[745, 1] < vertices[[317, 444, 556, 673], 1].min()  # the thumb lies on the palm's side


def test_everyones_fingertips_are_fingertips(hand):
    joints = hand.joint_regressor @ hand.v_template
    groups = dict(zip(FINGERS, range(5), strict=True))
    used = {FINGERS[k]: {sets[hand.side][k] for sets in TIPS.values()} for k in range(5)}
    for finger, numbers in TIP_VERTICES.items():
        assert used[finger] <= set(numbers)
        first = FIRST_JOINT[finger]
        way = hand.v_template[numbers[0]] - joints[first + 2]
        reach = (hand.v_template - joints[first + 2]) @ way / np.linalg.norm(way)
        own = parts_from_weights(hand.weights, hand.faces).vertex == groups[finger]
        assert reach[numbers[0]] == pytest.approx(reach[own].max())
        assert (reach[list(numbers)] > reach[own].max() - 0.004).all()


def test_parts_have_about_manos_sizes(hand):
    sizes = np.bincount(parts_from_weights(hand.weights, hand.faces).vertex, minlength=6)
    assert (sizes[:5] >= 98).all() and (sizes[:5] <= 128).all(), sizes
    assert sizes[5] > 170


def test_weights_are_smooth_shares_of_at_most_four_joints(hand):
    weights = hand.weights
    assert weights.min() >= 0
    assert np.allclose(weights.sum(axis=1), 1, atol=1e-12)
    assert (weights > 0).sum(axis=1).max() <= 4
    for joint in range(16):
        assert weights[:, joint].max() > 0.9, joint
    edges = edges_of(hand.faces)
    assert np.abs(weights[edges[:, 0]] - weights[edges[:, 1]]).max() < 0.8


def test_regressor_is_sparse_convex_and_local(hand):
    regressor = hand.joint_regressor
    assert regressor.min() >= 0
    assert np.allclose(regressor.sum(axis=1), 1, atol=1e-12)
    assert ((regressor > 0).sum(axis=1) <= 80).all()
    joints = regressor @ hand.v_template
    for joint in range(16):
        used = hand.v_template[regressor[joint] > 0]
        assert np.linalg.norm(used - joints[joint], axis=1).max() < 0.045


def test_left_hand_mirrors_the_right():
    right, left = standin_arrays("right"), standin_arrays("left")
    assert np.array_equal(left.v_template, right.v_template * (-1, 1, 1))
    assert np.array_equal(left.shapedirs, right.shapedirs * np.array([-1, 1, 1])[:, None])
    assert np.array_equal(left.joint_regressor, right.joint_regressor)
    assert np.array_equal(left.weights, right.weights)
    assert {tuple(sorted(f)) for f in left.faces.tolist()} == {tuple(sorted(f)) for f in right.faces.tolist()}
    turned = right.hands_components.reshape(45, 15, 3) * (1, -1, -1)
    assert np.array_equal(left.hands_components, turned.reshape(45, 45))
    assert left.sha256 != right.sha256


def test_the_stored_hand_is_the_generated_one_and_the_same_everywhere():
    """Its hash is in stores and checkpoints, so it may not depend on the processor that loads it."""
    right = standin_arrays("right")
    assert right.sha256 == "7327c7d9d3e40e050800177a1564801819824a7e09f2a25af2750f35eb3cbe92"
    assert standin_arrays("left").sha256 == "4cf6c184958d956bc02264b06d40e4c531b21967feab9e51daeabe70c26679ee"
    made = generate_right()
    assert set(made) == set(ARRAY_FIELDS)
    assert all(getattr(right, name).dtype == value.dtype for name, value in made.items())
    assert all(getattr(right, name).shape == value.shape for name, value in made.items())
    # Vertices at equal distances may change numbers on old processors: compare the surface and what belongs to joints.
    gaps = np.linalg.norm(right.v_template[:, None] - made["v_template"], axis=-1)
    assert gaps.min(axis=0).max() < 1e-10 and gaps.min(axis=1).max() < 1e-10
    number = gaps.argmin(axis=0)  # of each vertex that was made now
    for name in ("weights", "shapedirs", "posedirs"):
        assert np.abs(getattr(right, name)[number] - made[name]).max() < 1e-10, name
    for name in ("hands_components", "hands_mean", "hands_coeffs", "parents"):
        assert np.abs(getattr(right, name) - made[name]).max() < 1e-10, name
    assert np.abs(right.joint_regressor[:, number] - made["joint_regressor"]).max() < 1e-10
    again = generate_right()
    assert all(np.array_equal(made[name], again[name]) for name in made)


def test_arrays_are_read_only_and_made_once():
    hand = standin_arrays("right")
    assert standin_arrays("right") is hand
    with pytest.raises(ValueError, match="read-only"):
        hand.v_template[0] = 0
