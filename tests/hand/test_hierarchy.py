"""The authors' hierarchy as their code reads it, and hierarchies built for other meshes."""

import pickle

import numpy as np
import pytest
import scipy.sparse
from h2onet.errors import InputError
from h2onet.hand.hierarchy import SIZES, build_hierarchy, load_hierarchy, spirals_of
from h2onet.hand.standin.arrays import standin_arrays


@pytest.fixture(scope="module")
def authors(golden):
    return load_hierarchy(golden / "transform.pkl")


@pytest.fixture(scope="module", params=["template", "standin"])
def built(request):
    """A hierarchy built here, with the mesh it was built from."""
    if request.param == "template":
        mesh = np.load(request.getfixturevalue("golden") / "hand" / "template.npz")
        vertices, faces = mesh["vertices"].astype(np.float64), mesh["faces"]
    else:
        arrays = standin_arrays("right")
        vertices, faces = arrays.v_template, arrays.faces
    return vertices, faces, build_hierarchy(vertices, faces)


def edge_counts(faces):
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    return np.unique(edges, axis=0, return_counts=True)[1]


@pytest.mark.parametrize("level", range(4))
def test_authors_spirals_and_up_sampling(authors, golden, level):
    expected = np.load(golden / "spirals.npz")
    assert np.array_equal(authors.spirals[level], expected[f"spiral_{level}"])
    matrix = authors.upsample[level].tocoo()
    found = sorted(zip(matrix.row.tolist(), matrix.col.tolist(), matrix.data.tolist(), strict=True))
    names = ("row", "col", "val")
    assert found == sorted(zip(*(expected[f"up_{level}_{name}"].tolist() for name in names), strict=True))
    assert authors.upsample[level].shape == tuple(expected[f"up_{level}_shape"])


def test_authors_meshes(authors, golden):
    expected = np.load(golden / "spirals.npz")
    assert authors.sizes == SIZES == (778, 389, 195, 98, 49)
    for level in range(5):
        assert np.array_equal(authors.faces[level], expected[f"face_{level}"])
        assert np.array_equal(authors.vertices[level], expected[f"vertices_{level}"])


def test_hash_names_the_content(authors, golden, built):
    assert load_hierarchy(golden / "transform.pkl").sha256 == authors.sha256
    assert len(authors.sha256) == 64 and built[2].sha256 != authors.sha256


@pytest.mark.parametrize("level", range(4))
def test_built_levels_have_the_exact_sizes_and_types(built, level):
    hierarchy = built[2]
    assert hierarchy.sizes == SIZES
    spirals, upsample = hierarchy.spirals[level], hierarchy.upsample[level]
    assert spirals.shape == (SIZES[level], 9) and spirals.dtype == np.int32
    assert upsample.shape == SIZES[level : level + 2] and upsample.dtype == np.float32
    assert (np.diff(upsample.indptr) == 3).all()
    assert hierarchy.faces[level].dtype == np.int32


@pytest.mark.parametrize("level", range(4))
def test_spirals_start_at_their_vertex_and_never_repeat(built, authors, level):
    for hierarchy in (built[2], authors):
        spirals = hierarchy.spirals[level]
        assert np.array_equal(spirals[:, 0], np.arange(SIZES[level]))
        ordered = np.sort(spirals, axis=1)
        assert (ordered[:, 1:] > ordered[:, :-1]).all()


@pytest.mark.parametrize("level", range(5))
def test_built_meshes_are_manifolds_with_one_boundary(built, level):
    faces = built[2].faces[level]
    edges = edge_counts(faces)
    assert edges.max() == 2, "an edge with three faces"
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    assert len(np.unique(directed, axis=0)) == len(directed), "two faces wound against each other"
    assert np.array_equal(np.unique(faces), np.arange(SIZES[level])), "a vertex without faces"
    assert SIZES[level] - len(edges) + len(faces) == 1, "not a disc: Euler's number"
    assert (edges == 1).sum() >= 3, "the wrist must stay open"


@pytest.mark.parametrize("level", range(4))
def test_up_sampling_interpolates_the_coarse_surface(built, level):
    hierarchy = built[2]
    matrix = hierarchy.upsample[level]
    assert matrix.data.min() >= 0.0
    assert np.abs(np.asarray(matrix.sum(axis=1)).ravel() - 1).max() < 1e-6
    error_mm = 1000 * np.linalg.norm(matrix @ hierarchy.vertices[level + 1] - hierarchy.vertices[level], axis=1)
    # A hand's fingers are 15-20 mm thick; 49 vertices cannot follow them closer than some millimetres.
    assert error_mm.mean() < (0.5, 1.0, 2.0, 4.0)[level]
    assert error_mm.max() < (4.0, 6.0, 12.0, 20.0)[level]
    kept = error_mm < 1e-4
    assert kept.sum() >= SIZES[level + 1], "vertices that were kept must stay where they are"


def test_built_error_is_no_larger_than_the_authors(authors, golden):
    mesh = np.load(golden / "hand" / "template.npz")
    ours = build_hierarchy(mesh["vertices"], mesh["faces"])

    def error(hierarchy):
        mesh = hierarchy.vertices[-1]
        for matrix in reversed(hierarchy.upsample):
            mesh = matrix @ mesh
        return np.linalg.norm(mesh - hierarchy.vertices[0], axis=1).mean()

    assert error(ours) < error(authors)


def test_every_finger_survives_to_the_coarsest_level():
    from h2onet.hand.parts import parts_of

    arrays = standin_arrays("right")
    hierarchy = build_hierarchy(arrays.v_template, arrays.faces)
    part = parts_of(arrays.faces, arrays.weights).vertex
    kept = (arrays.v_template[:, None] == hierarchy.vertices[-1]).all(axis=2).any(axis=1)
    assert np.bincount(part[kept], minlength=6).min() >= 3


def test_building_is_deterministic_and_ignores_the_side(built):
    vertices, faces, hierarchy = built
    assert build_hierarchy(vertices, faces).sha256 == hierarchy.sha256
    mirrored = build_hierarchy(vertices * [-1, 1, 1], faces[:, ::-1])
    for a, b in zip(mirrored.vertices, hierarchy.vertices, strict=True):
        assert np.allclose(a * [-1, 1, 1], b)


def grid(n):
    """A flat sheet of n x n vertices: interior vertices have six neighbours."""
    x, y = np.meshgrid(np.arange(n), np.arange(n))
    vertices = np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], axis=1).astype(float)
    a = (np.arange(n * (n - 1)).reshape(n - 1, n)[:, :-1]).ravel()
    return vertices, np.concatenate([np.stack([a, a + 1, a + n + 1], 1), np.stack([a, a + n + 1, a + n], 1)])


def test_spirals_go_ring_by_ring():
    vertices, faces = grid(7)
    for spiral in spirals_of(faces, vertices, 19):
        hops = hop_distances(faces, len(vertices), spiral[0])[spiral]
        assert (np.diff(hops) >= 0).all()
    centre = spirals_of(faces, vertices, 7)[24]
    # The ring goes round the centre, each neighbour beside the one before.
    ring = vertices[centre[1:]] - vertices[24]
    turn = np.unwrap(np.arctan2(ring[:, 1], ring[:, 0]))
    assert (np.diff(turn) > 0).all() or (np.diff(turn) < 0).all()


def hop_distances(faces, count, start):
    distance = np.full(count, -1)
    distance[start], front = 0, {int(start)}
    while front:
        touched = faces[np.isin(faces, list(front)).any(axis=1)].ravel()
        new = {int(v) for v in touched if distance[v] < 0}
        for v in new:
            distance[v] = distance[list(front)].max() + 1
        front = new
    return distance


def test_boundary_rings_start_at_the_open_end():
    """Vertex 0 of a fan lies on the boundary: its ring starts at the neighbour from which an edge only comes."""
    vertices = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [-1, 1, 0], [2, 1, 0]], dtype=float)
    faces = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4], [1, 5, 2]])
    # Round vertex 0 the faces hold 1->2, 2->3 and 3->4; of its neighbours only 4 has an edge to 0 and none from it.
    assert spirals_of(faces, vertices, 6)[0].tolist() == [0, 4, 3, 2, 1, 5]
    assert spirals_of(faces[:, ::-1], vertices, 6)[0].tolist() == [0, 1, 2, 3, 4, 5]


def test_short_rings_fall_back_to_the_nearest_vertices():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1.5, 0], [9, 9, 9], [5, 0, 0.0]])
    spirals = spirals_of(np.array([[0, 1, 2]]), vertices, 4)
    assert spirals[0].tolist() == [0, 1, 2, 4] and spirals[3].tolist()[0] == 3
    with pytest.raises(InputError, match="at least 9"):
        spirals_of(np.array([[0, 1, 2]]), vertices)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("face"), "lists vertices, face and up_transform"),
        (lambda c: c["vertices"].pop(), "levels of"),
        (lambda c: c["up_transform"].reverse(), "levels of"),
        (lambda c: c["up_transform"].__setitem__(0, np.eye(3)), "sparse matrix"),
        (lambda c: c["up_transform"].__setitem__(0, scipy.sparse.eye(778, 389, format="csc")), "three"),
        (lambda c: c["face"].__setitem__(4, c["face"][4] + 49), "vertex ids 0..48"),
        (lambda c: c["vertices"].__setitem__(0, np.full((778, 3), np.nan)), "finite"),
        (lambda c: c["vertices"].__setitem__(0, ["a"]), "vertices"),
    ],
)
def test_other_files_are_refused(golden, tmp_path, change, said):
    from h2onet.hand.pickles import safe_load

    content = safe_load(golden / "transform.pkl")
    change(content)
    path = tmp_path / "transform.pkl"
    path.write_bytes(pickle.dumps(content, 2))
    with pytest.raises(InputError, match=said) as caught:
        load_hierarchy(path)
    assert str(path) in str(caught.value)


def test_a_file_in_the_authors_form_gives_the_same_hierarchy(built, tmp_path):
    hierarchy = built[2]
    content = {
        "vertices": list(hierarchy.vertices),
        "face": [level.astype(np.uint32) for level in hierarchy.faces],
        "up_transform": [matrix.tocoo() for matrix in hierarchy.upsample],
    }
    path = tmp_path / "transform.pkl"
    path.write_bytes(pickle.dumps(content, 2))
    assert load_hierarchy(path).sha256 == hierarchy.sha256


def test_no_hierarchy_in_other_pickles(tmp_path):
    path = tmp_path / "list.pkl"
    path.write_bytes(pickle.dumps([1, 2], 2))
    with pytest.raises(InputError, match="build a hierarchy from the hand"):
        load_hierarchy(path)


@pytest.mark.parametrize(
    ("vertices", "faces"),
    [(np.zeros((777, 3)), [[0, 1, 2]]), (np.full((778, 3), np.inf), [[0, 1, 2]]), (np.zeros((778, 3)), [[0, 1, 778]])],
)
def test_other_meshes_are_refused(vertices, faces):
    with pytest.raises(InputError):
        build_hierarchy(vertices, np.array(faces))
