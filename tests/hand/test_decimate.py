"""Half-edge collapse on simple shapes, and the nearest point on a surface."""

import numpy as np
import pytest
from h2onet.errors import InputError
from h2onet.hand.decimate import decimate, place_on_surface
from hypothesis import given, settings
from hypothesis import strategies as st


def sphere(rings=8, segments=12):
    """A closed sphere of radius 1 with poles."""
    polar = np.pi * np.arange(1, rings) / rings
    around = 2 * np.pi * np.arange(segments) / segments
    ring = [[np.sin(p) * np.cos(a), np.sin(p) * np.sin(a), np.cos(p)] for p in polar for a in around]
    vertices = np.array([*ring, [0, 0, 1], [0, 0, -1.0]])
    top, bottom, faces = len(ring), len(ring) + 1, []
    for s in range(segments):
        after = (s + 1) % segments
        faces.append([top, s, after])
        last = (rings - 2) * segments
        faces.append([bottom, last + after, last + s])
        for r in range(rings - 2):
            a, b = r * segments + s, r * segments + after
            faces += [[a, a + segments, b], [b, a + segments, b + segments]]
    return vertices, np.array(faces)


def sheet(n=9):
    """A flat square with its boundary."""
    x, y = np.meshgrid(np.arange(n), np.arange(n))
    vertices = np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], axis=1).astype(float)
    a = np.array([i * n + j for i in range(n - 1) for j in range(n - 1)])
    return vertices, np.concatenate([np.stack([a, a + 1, a + n], axis=1), np.stack([a + 1, a + n + 1, a + n], axis=1)])


def euler(count, faces):
    edges = {tuple(sorted((int(f[i]), int(f[i - 1])))) for f in faces for i in range(3)}
    return count - len(edges) + len(faces)


@pytest.mark.parametrize("count", [80, 43, 12])
def test_a_sphere_stays_a_sphere(count):
    vertices, faces = sphere()
    kept, coarse = decimate(vertices, faces, count)
    assert len(kept) == count and np.array_equal(np.unique(coarse), np.arange(count)) and euler(count, coarse) == 2
    a, b, c = vertices[kept][coarse].transpose(1, 0, 2)
    normal, centre = np.cross(b - a, c - a), (a + b + c) / 3
    assert (np.einsum("fc,fc->f", normal, centre) > 0).all(), "a face turned inwards"


def test_a_flat_sheet_loses_nothing_but_its_inside():
    vertices, faces = sheet()
    kept, coarse = decimate(vertices, faces, 20)
    corners = vertices[kept]
    for corner in ([0, 0, 0], [8, 0, 0], [0, 8, 0], [8, 8, 0]):
        assert (corners == corner).all(axis=1).any()
    a, b, c = corners[coarse].transpose(1, 0, 2)
    area = np.cross(b - a, c - a)[:, 2] / 2
    assert (area > 0).all() and np.isclose(area.sum(), 64.0) and euler(20, coarse) == 1


def test_a_bent_edge_is_kept():
    """Folded along x = 4, the sheet keeps both ends of the fold."""
    vertices, faces = sheet()
    vertices[:, 2] = np.abs(vertices[:, 0] - 4)
    kept, _ = decimate(vertices, faces, 6)
    assert sorted(map(tuple, vertices[kept][:, :2])) == [(0, 0), (0, 8), (4, 0), (4, 8), (8, 0), (8, 8)]


def test_sizes_that_a_manifold_cannot_have_are_still_reached():
    """A closed surface cannot have three vertices: it collapses to nothing but gives the size asked for."""
    vertices, faces = sphere()
    kept, coarse = decimate(vertices, faces, 3)
    assert len(kept) == 3 and coarse.shape[1] == 3


def test_loose_vertices_cannot_be_removed():
    vertices, faces = sheet()
    with pytest.raises(InputError, match="without faces"):
        decimate(np.concatenate([vertices, np.ones((5, 3))]), faces, 3)


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_nearest_point_on_a_surface(seed):
    """No point of a fine sampling of the triangles is nearer than the one found."""
    rng = np.random.default_rng(seed)
    vertices, faces = rng.normal(size=(6, 3)), np.array([[0, 1, 2], [2, 3, 4], [5, 0, 3]])
    points = rng.normal(size=(4, 3))
    face, weights = place_on_surface(points, vertices, faces)
    assert weights.min() >= 0.0 and np.allclose(weights.sum(axis=1), 1.0, atol=1e-12)
    found = np.einsum("nk,nkc->nc", weights, vertices[faces[face]])
    u, v = np.meshgrid(np.linspace(0, 1, 41), np.linspace(0, 1, 41))
    inside = u + v <= 1
    samples = np.stack([1 - u - v, u, v], axis=-1)[inside] @ vertices[faces]
    nearest = np.linalg.norm(samples.reshape(-1, 1, 3) - points, axis=2).min(axis=0)
    distance = np.linalg.norm(found - points, axis=1)
    assert (distance <= nearest + 1e-5).all() and (nearest - distance < 0.15).all()


def test_points_on_the_surface_stay_there():
    vertices, faces = sphere()
    face, weights = place_on_surface(vertices, vertices, faces)
    assert np.allclose(np.einsum("nk,nkc->nc", weights, vertices[faces[face]]), vertices, atol=2e-6)


def test_a_face_without_area_is_a_line():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0.0]])
    _, weights = place_on_surface(np.array([[1.5, 1.0, 0.0]]), vertices, np.array([[0, 1, 2]]))
    assert np.allclose(weights @ vertices, [1.5, 0, 0], atol=2e-6)
