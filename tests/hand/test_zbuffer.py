"""The z-buffer against a slow float64 reference, and the properties that every rasteriser must have."""

import numpy as np
import pytest
from h2onet.errors import InputError
from h2onet.hand.zbuffer import (
    MULTISAMPLE_4,
    PIXEL_CENTRE,
    clip_viewport,
    concatenate,
    rasterize,
    viewport_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

WIDTH, HEIGHT = 24, 18


def reference(points, z, faces, width, height, samples, cull="none", near=0.05):
    """Every sample against every face, straight from the definition."""
    face = np.full((len(samples), height, width), -1, np.int32)
    inverse = np.zeros((len(samples), height, width), np.float32)
    snapped = np.floor(256.0 * points + 0.5) / 256.0
    for f, corners in enumerate(faces):
        if not (z[corners] > near).all() or not np.isfinite(snapped[corners]).all():
            continue
        (ax, ay), (bx, by), (cx, cy) = snapped[corners]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0 or (cull == "clockwise" and area > 0) or (cull == "counterclockwise" and area < 0):
            continue
        for s, (dx, dy) in enumerate(samples):
            for y in range(height):
                for x in range(width):
                    px, py = x + dx, y + dy
                    wa = ((cx - bx) * (py - by) - (cy - by) * (px - bx)) / area
                    wb = ((ax - cx) * (py - cy) - (ay - cy) * (px - cx)) / area
                    wc = ((bx - ax) * (py - ay) - (by - ay) * (px - ax)) / area
                    if wa < 0 or wb < 0 or wc < 0:
                        continue
                    depth = np.float32(wa / z[corners[0]] + wb / z[corners[1]] + wc / z[corners[2]])
                    if depth > inverse[s, y, x]:
                        face[s, y, x], inverse[s, y, x] = f, depth
    return face, inverse


def scene(seed, n=12):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-8, 32, (3 * n, 2))
    z = rng.uniform(0.02, 1.5, 3 * n)
    return points, z, np.arange(3 * n, dtype=np.int32).reshape(n, 3)


@pytest.mark.parametrize("cull", ["none", "clockwise", "counterclockwise"])
@pytest.mark.parametrize("samples", [PIXEL_CENTRE, MULTISAMPLE_4], ids=["centre", "four"])
def test_equals_the_slow_reference(cull, samples):
    for seed in range(3):
        points, z, faces = scene(seed)
        got = rasterize(points, z, faces, width=WIDTH, height=HEIGHT, samples=samples, cull=cull)
        face, inverse = reference(points, z, faces, WIDTH, HEIGHT, samples, cull)
        assert (face >= 0).any()
        np.testing.assert_array_equal(got.face, face)
        np.testing.assert_allclose(got.inverse_depth, inverse, rtol=1e-6)


@given(st.integers(0, 10**6), st.sampled_from([1.0, 4.0, 12.0, 30.0, 200.0]), st.sampled_from(["none", "clockwise"]))
def test_samples_drawn_together_are_those_drawn_alone(seed, size, cull):
    """Faces of a pixel's part to many times the picture, also across its border: alone they take another way."""
    rng = np.random.default_rng(seed)
    middles = rng.uniform(-10, 100, (60, 1, 2))
    points = (middles + rng.normal(0, size, (60, 3, 2))).reshape(-1, 2)
    points[::7] = np.floor(points[::7])  # corners on pixels' and samples' own places
    points[1::11] = np.floor(points[1::11]) + 0.125
    z, faces = rng.uniform(0.3, 2.0, len(points)), np.arange(len(points)).reshape(-1, 3)
    options = {"width": 90, "height": 70, "cull": cull}
    samples = np.concatenate([PIXEL_CENTRE, MULTISAMPLE_4, [[0.0, 0.0], [1.0, 0.99609375]]])
    together = rasterize(points, z, faces, samples=samples, **options)
    for s, sample in enumerate(samples):
        alone = rasterize(points, z, faces, samples=sample[None], **options)
        np.testing.assert_array_equal(together.face[s], alone.face[0])
        np.testing.assert_array_equal(together.inverse_depth[s], alone.inverse_depth[0])


def test_edges_are_inclusive_and_exact():
    """A square whose border runs through sample positions covers them; one 1/256 px smaller does not."""
    for shrink, expected in ((0.0, 9), (1 / 256, 1)):
        low, high = 0.5 + shrink, 2.5 - shrink
        square = np.array([[low, low], [high, low], [high, high], [low, high]])
        faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
        raster = rasterize(square, np.ones(4), faces, width=4, height=4)
        assert (raster.face >= 0).sum() == expected


def test_vertices_snap_half_up():
    """x = 0.5 + 1/512 snaps to the next 1/256 and just misses the pixel centre; anything smaller snaps onto it."""
    for offset, hit in ((1 / 512, False), (1 / 512 - 1e-9, True)):
        points = np.array([[0.5 + offset, 0.0], [2.0, 0.0], [0.5 + offset, 2.0]])
        raster = rasterize(points, np.ones(3), np.array([[0, 1, 2]], np.int32), width=1, height=1)
        assert (raster.face[0, 0, 0] >= 0) == hit


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_a_fan_around_a_point_has_no_gaps(seed):
    """Triangles that share edges leave no sample of their union empty, wherever the inner vertex lies."""
    rng = np.random.default_rng(seed)
    corners = np.array([[1.0, 1.0], [22.0, 2.0], [21.0, 16.0], [2.0, 17.0]])
    inner = rng.uniform([5, 5], [18, 13])
    points = np.vstack([corners, inner])
    fan = np.array([[i, (i + 1) % 4, 4] for i in range(4)], np.int32)
    whole = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    depths = np.ones(5)
    covered = [
        rasterize(points, depths, faces, width=WIDTH, height=HEIGHT, samples=MULTISAMPLE_4).face >= 0
        for faces in (fan, whole)
    ]
    np.testing.assert_array_equal(*covered)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_order_changes_only_ties(seed):
    points, z, faces = scene(seed)
    order = np.random.default_rng(seed).permutation(len(faces))
    one = rasterize(points, z, faces, width=WIDTH, height=HEIGHT)
    two = rasterize(points, z, faces[order], width=WIDTH, height=HEIGHT)
    np.testing.assert_array_equal(one.inverse_depth, two.inverse_depth)
    ids = np.where(two.face >= 0, order[two.face], -1)
    np.testing.assert_array_equal(one.face, ids)  # random depths never tie


def test_a_tie_keeps_the_earlier_face_and_the_larger_inverse_depth_wins():
    points = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]] * 3)
    z = np.repeat([0.7, 0.7, 0.6], 3)
    faces = np.arange(9, dtype=np.int32).reshape(3, 3)
    assert rasterize(points, z, faces[:2], width=2, height=2).face[0, 0, 0] == 0
    raster = rasterize(points, z, faces, width=2, height=2)
    assert raster.face[0, 0, 0] == 2
    assert raster.inverse_depth[0, 0, 0] == pytest.approx(1 / 0.6)


def test_inverse_depth_is_linear_on_the_screen():
    points = np.array([[0.5, 0.5], [8.5, 0.5], [0.5, 8.5]])
    z = np.array([0.5, 1.0, 0.25])
    raster = rasterize(points, z, np.array([[0, 1, 2]], np.int32), width=9, height=9)
    assert raster.inverse_depth[0, 0, 4] == pytest.approx(1.5)
    assert raster.inverse_depth[0, 2, 0] == pytest.approx(2 + 2 * 2 / 8)


def test_culling_follows_the_turning_sense_on_the_image():
    clockwise = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])  # right, then down: clockwise where y points down
    faces, z = np.array([[0, 1, 2]], np.int32), np.ones(3)
    hits = {
        (cull, flip): (rasterize(clockwise, z, faces[:, ::flip], width=4, height=4, cull=cull).face >= 0).any()
        for cull in ("none", "clockwise", "counterclockwise")
        for flip in (1, -1)
    }
    assert hits == {
        ("none", 1): True,
        ("none", -1): True,
        ("clockwise", 1): False,
        ("clockwise", -1): True,
        ("counterclockwise", 1): True,
        ("counterclockwise", -1): False,
    }


def test_a_face_with_a_vertex_at_the_near_plane_is_dropped_whole():
    points, faces = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]), np.array([[0, 1, 2]], np.int32)
    for z, drawn in ((0.0500001, True), (0.05, False), (-1.0, False), (np.nan, False)):
        raster = rasterize(points, np.array([1.0, 1.0, z]), faces, width=4, height=4)
        assert (raster.face >= 0).any() == drawn


def test_a_viewport_is_a_cut_of_the_whole_image():
    points, z, faces = scene(3)
    whole = rasterize(points, z, faces, width=WIDTH, height=HEIGHT, samples=MULTISAMPLE_4)
    part = rasterize(points, z, faces, width=WIDTH, height=HEIGHT, samples=MULTISAMPLE_4, viewport=(-5, 4, 13, 99))
    assert part.origin == (0, 4)
    np.testing.assert_array_equal(part.face, whole.face[:, 4:, :13])
    np.testing.assert_array_equal(part.inverse_depth, whole.inverse_depth[:, 4:, :13])


def test_drawing_onto_an_earlier_result_equals_drawing_all_at_once():
    points, z, faces = scene(5)
    size = {"width": WIDTH, "height": HEIGHT}
    whole = rasterize(points, z, faces, **size)
    first = rasterize(points, z, faces[:5], **size)
    both = rasterize(points, z, faces[5:], onto=first, first_face=5, **size)
    np.testing.assert_array_equal(both.face, whole.face)
    with pytest.raises(InputError, match="onto"):
        rasterize(points, z, faces, width=WIDTH + 1, height=HEIGHT, onto=first)


def test_concatenated_meshes_keep_their_order():
    a, b = scene(1, 3), scene(2, 4)
    points, z, faces = concatenate([a, b])
    assert points.shape == (21, 2) and z.shape == (21,)
    np.testing.assert_array_equal(faces[:3], a[2])
    np.testing.assert_array_equal(faces[3:], b[2] + 9)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**9))
def test_any_input_is_safe(seed):
    """NaN, infinities, huge numbers, points behind the camera: no crash, only valid ids, and sane faces still drawn."""
    rng = np.random.default_rng(seed)
    n = 30
    points = rng.uniform(-40, 60, (n, 2)) * 10.0 ** rng.integers(0, 300, (n, 2)) ** rng.integers(0, 2, (n, 2))
    z = rng.uniform(-1, 2, n) * 10.0 ** rng.integers(-20, 20, n)
    special = [np.nan, np.inf, -np.inf, 1e308, -1e308, 9e18, -9.3e18, 0.0]
    for array in (points, z):
        spots = rng.random(array.shape) < 0.2
        array[spots] = rng.choice(special, spots.sum())
    faces = np.vstack([rng.integers(0, n, (60, 3)), [[n, n + 1, n + 2]]]).astype(np.int32)
    points = np.vstack([points, [[0.0, 0.0], [0.0, 30.0], [30.0, 0.0]]])
    z = np.append(z, [0.2, 0.2, 0.2])
    raster = rasterize(points, z, faces, width=WIDTH, height=HEIGHT, samples=MULTISAMPLE_4)
    assert raster.face.min() >= 0 or raster.face.min() == -1
    assert raster.face.max() < len(faces)
    assert (raster.inverse_depth[:, :9, :9] >= np.float32(1 / 0.2)).all()
    assert viewport_of(points, WIDTH, HEIGHT)[0] == 0


def test_wrong_input_is_named():
    points, z, faces = scene(0, 2)
    size = {"width": 4, "height": 4}
    with pytest.raises(InputError, match="points_2d"):
        rasterize(points[:-1], z, faces, **size)
    with pytest.raises(InputError, match=r"vertices 0\.\.6"):
        rasterize(points, z, np.array([[0, 1, 6]]), **size)
    with pytest.raises(InputError, match="sideways"):
        rasterize(points, z, faces, cull="sideways", **size)
    assert (rasterize(points, z, faces[:0], **size).face == -1).all()


def test_viewports_are_clipped_and_hold_every_point():
    assert clip_viewport((-3, 2, 50, 5), WIDTH, HEIGHT) == (0, 2, WIDTH, 5)
    assert clip_viewport((30, 2, 50, 5), WIDTH, HEIGHT) == (0, 0, 0, 0)
    assert viewport_of(np.array([[3.2, 4.9], [7.0, np.nan], [5.0, 8.0]]), WIDTH, HEIGHT) == (2, 3, 7, 10)
    assert viewport_of(np.full((4, 2), np.nan), WIDTH, HEIGHT) == (0, 0, 0, 0)
    assert viewport_of(np.array([[-1e300, 4.0], [1e300, 5.0]]), WIDTH, HEIGHT) == (0, 3, WIDTH, 7)
    assert viewport_of(np.array([[-50.0, 4.0], [-40.0, 5.0]]), WIDTH, HEIGHT) == (0, 0, 0, 0)
    raster = rasterize(*scene(0, 2), width=4, height=4, viewport=(9, 9, 9, 9))
    assert raster.face.shape == (1, 0, 0)
