"""A hand as .glb: another program finds its vertices, its outside, its normals and its parts' colours."""

import io

import numpy as np
import pytest
import trimesh
from h2onet.hand.arrays import load_arrays, parts_by_faces
from h2onet.hand.gltf import FROM_OPENCV, mesh_glb
from h2onet.hand.parts import PALM, mano_parts
from h2onet.hand.skinning import SkinnedHand


def opened(data: bytes) -> trimesh.Trimesh:
    scene = trimesh.load_scene(io.BytesIO(data), file_type="glb", process=False)
    (mesh,) = scene.geometry.values()
    assert isinstance(mesh, trimesh.Trimesh)
    return mesh


@pytest.mark.parametrize("side", ["right", "left"])
def test_trimesh_opens_it(side: str) -> None:
    arrays = load_arrays("standin", side)
    vertices = arrays.v_template + np.array([0.1, 0.2, 0.5])
    mesh = opened(mesh_glb(vertices, arrays.faces))
    np.testing.assert_allclose(mesh.vertices * FROM_OPENCV, vertices, atol=1e-7)
    np.testing.assert_array_equal(mesh.faces, arrays.faces)
    away = np.einsum("ij,ij->i", mesh.face_normals, mesh.triangles_center - mesh.centroid)
    assert (mesh.area_faces * away).sum() > 0, "turned, not mirrored: its outside is outside"
    given = np.asarray(mesh.vertex_normals)
    np.testing.assert_allclose(np.linalg.norm(given, axis=1), 1, atol=1e-6)
    own = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).vertex_normals
    assert np.median((given * own).sum(1)) > 0.99


def test_colours_are_of_the_parts_and_hidden_fingers_darker() -> None:
    hand = SkinnedHand(load_arrays("standin", "right"))
    vertices, part = hand.arrays.v_template, hand.parts.vertex

    def colours(hidden: list[float] | None) -> np.ndarray:
        given = None if hidden is None else np.array(hidden)
        return np.asarray(opened(mesh_glb(vertices, hand.faces, given)).visual.vertex_attributes["color"])

    plain = colours(None)
    assert len(np.unique(plain, axis=0)) == 6 and all(np.ptp(plain[part == k], axis=0).max() == 0 for k in range(6))
    shown = colours([0, 1, 0, 0.5, 0])
    np.testing.assert_array_equal(shown[(part != 1) & (part != 3)], plain[(part != 1) & (part != 3)])
    assert (shown[part == 1].max() < 0.05) and (shown[part == 3].sum(1) < 0.6 * plain[part == 3].sum(1)).all()


def test_parts_of_known_faces_in_either_winding() -> None:
    hand = SkinnedHand(load_arrays("standin", "left"))
    for faces in (hand.faces, hand.faces[:, ::-1]):
        parts = parts_by_faces(faces)
        assert parts is not None
        np.testing.assert_array_equal(parts.vertex, hand.parts.vertex)
        np.testing.assert_array_equal(parts.face, hand.parts.face)
    assert parts_by_faces(hand.faces[::-1]) is None and parts_by_faces(hand.faces[:4]) is None
    assert parts_by_faces(hand.faces) is not mano_parts()


def test_any_mesh_is_a_valid_file() -> None:
    """Unknown parts are the palm's colour; a vertex without a triangle has a normal of length 1 all the same."""
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]])
    mesh = opened(mesh_glb(corners, np.array([[0, 1, 2]]), np.ones(5)))
    np.testing.assert_allclose(np.linalg.norm(mesh.vertex_normals, axis=1), 1)
    palm = opened(mesh_glb(load_arrays("standin").v_template, load_arrays("standin").faces))
    parts = parts_by_faces(palm.faces)
    assert parts is not None
    expected = np.asarray(palm.visual.vertex_attributes["color"])[parts.vertex == PALM][0]
    np.testing.assert_array_equal(np.unique(mesh.visual.vertex_attributes["color"], axis=0), [expected])
