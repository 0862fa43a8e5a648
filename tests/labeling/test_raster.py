"""Part images from four samples, depths from one, and the meshes they are made of."""

import pickle

import numpy as np
import pytest
from h2onet.errors import InputError
from h2onet.hand.parts import PALM
from h2onet.labeling.objects import ObjectLibrary
from h2onet.labeling.raster import CpuRenderer, Mesh, View
from h2onet.labeling.renderers import make_renderer

VIEW = View(np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]), 8, 6, (0, 0, 8, 6))


def quads(*corners_and_z) -> Mesh:
    """Axis-parallel rectangles (x0, y0, x1, y1, z), counterclockwise on the image, two faces each."""
    points, depths, faces = [], [], []
    for x0, y0, x1, y1, z in corners_and_z:
        n = len(points)
        points += [(x0, y0), (x0, y1), (x1, y1), (x1, y0)]
        depths += 4 * [z]
        faces += [(n, n + 1, n + 2), (n, n + 2, n + 3)]
    points, depths = np.array(points, float), np.array(depths, float)
    return Mesh(np.column_stack([points * depths[:, None], depths]), np.array(faces, np.int32), points)


def test_a_pixel_has_a_part_when_all_four_samples_agree():
    """Thumb left of x = 2.5, index right of it: column 2 is mixed and has no part, but it is covered."""
    image = CpuRenderer().parts(quads((0, 0, 2.5, 6, 1), (2.5, 0, 8, 6, 1)), np.array([0, 0, 1, 1], np.uint8), VIEW)
    np.testing.assert_array_equal(image.part[3], [0, 0, 255, 1, 1, 1, 1, 1])
    assert image.covered.all()


def test_at_the_silhouette_only_the_palm_fills_up_with_background():
    """The rectangle ends at x = 2.5: of column 2 the samples .375 and .125 hit, sample 0 among them."""
    for part, expected in ((PALM, PALM), (0, 255)):
        image = CpuRenderer().parts(quads((0, 0, 2.5, 6, 1)), np.full(2, part, np.uint8), VIEW)
        np.testing.assert_array_equal(image.covered[2], [1, 1, 1, 0, 0, 0, 0, 0])
        np.testing.assert_array_equal(image.part[2], [part, part, expected, 255, 255, 255, 255, 255])


def test_sample_zero_decides_coverage():
    """From x = 0.5 on, sample 0 at .375 misses the pixel though two of its samples hit."""
    image = CpuRenderer().parts(quads((0.5, 0, 3, 6, 1)), np.full(2, PALM, np.uint8), VIEW)
    np.testing.assert_array_equal(image.covered[2], [0, 1, 1, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(image.part[2], [255, PALM, PALM, 255, 255, 255, 255, 255])


def test_clockwise_faces_are_culled_for_parts_and_kept_for_depth():
    mesh = quads((0, 0, 8, 6, 0.5))
    turned = Mesh(mesh.vertices, mesh.faces[:, ::-1].copy(), mesh.points_2d)
    assert not CpuRenderer().parts(turned, np.zeros(2, np.uint8), VIEW).covered.any()
    assert (CpuRenderer().inverse_depth([turned], VIEW) == 2).all()


def test_depth_is_that_of_the_nearest_mesh_at_the_pixel_centre():
    meshes = [quads((0, 0, 8, 6, 1.0)), quads((1.4, 0, 3.5, 6, 0.5)), quads((0, 0, 8, 6, 2.0))]
    depth = CpuRenderer().inverse_depth(meshes, VIEW)
    np.testing.assert_array_equal(depth[0], [1, 2, 2, 2, 1, 1, 1, 1])
    part = View(VIEW.intrinsics, 8, 6, (2, 1, 5, 3))
    np.testing.assert_array_equal(CpuRenderer().inverse_depth(meshes, part), depth[1:3, 2:5])
    assert (CpuRenderer().inverse_depth([], part) == np.zeros((2, 3))).all()


def test_renderers_by_name():
    assert make_renderer("auto").name == make_renderer("cpu").name == "cpu"
    make_renderer().close()
    with pytest.raises(InputError, match="expected one of auto, cpu, pyrender, found 'metal'"):
        make_renderer("metal")


def test_objects_keep_the_order_of_their_file_and_survive_pickling(stage):
    vertices = np.array([[0.0, 0, 1], [0.1, 0, 1], [0, 0.1, 1], [0.1, 0, 1]])
    faces = np.array([[2, 1, 0], [0, 3, 2]])
    stage.put("can", vertices, faces)
    library = pickle.loads(pickle.dumps(ObjectLibrary(stage.folder)))  # noqa: S301 - our own bytes
    mesh = library.get("can")
    assert mesh is not None and mesh is library.get("can")
    np.testing.assert_allclose(mesh.vertices, vertices)
    np.testing.assert_array_equal(mesh.faces, faces)
    assert (np.linalg.norm(mesh.vertices - mesh.centre, axis=1) <= mesh.radius + 1e-12).all()


def test_objects_that_are_not_there_or_not_meshes(stage):
    assert ObjectLibrary(stage.folder).missing(["can"]) == ["can"]
    stage.put("can", np.eye(3), [[0, 1, 2]])
    library = ObjectLibrary(stage.folder)
    assert library.get("mug") is None and library.missing(["mug", "can", "box", "mug"]) == ["box", "mug"]
    assert ObjectLibrary(None).missing(["can"]) == ["can"]
    with pytest.raises(InputError, match="--objects"):
        ObjectLibrary(stage.folder / "nowhere")
    texts = {
        "empty": "",
        "broken": "v 0 0 0\nv nan 0 0\nv 1 0 0\nf 1 2 3\n",
        "word": "hello\n",
        "flat": "v 0 0\nv 1 0\nv 0 1\nf 1 2 3\n",
    }
    for name, text in texts.items():
        (stage.folder / name).mkdir()
        (stage.folder / name / "textured_simple.obj").write_text(text)
        with pytest.raises(InputError, match=r"textured_simple\.obj: expected"):
            library.get(name)
