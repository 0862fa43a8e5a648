"""Plain OBJ files are read as trimesh reads them, and whatever is not plain is left to it."""

import io
from pathlib import Path

import numpy as np
import pytest
import trimesh
from h2onet.errors import InputError
from h2onet.labeling import objects
from h2onet.labeling.objects import MESH_FILES, ObjectLibrary
from h2onet.labeling.wavefront import read_triangles

CORNERS = {"1": "{0}", "1/2": "{0}/{1}", "1//3": "{0}//{2}", "1/2/3": "{0}/{1}/{2}"}
ENDS = {"unix": "\n", "windows": "\r\n"}


def plain(rng: np.random.Generator, corner: str, end: str) -> str:
    """A file with points that no face has, two materials, comments, and numbers written in several ways."""
    points, faces = rng.normal(size=(int(rng.integers(4, 40)), 3)), int(rng.integers(1, 60))
    written = [("{:.6f}", "{:.17g}", "{:e}", "{:g}")[n % 4] for n in range(len(points))]
    lines = ["# made by hand", "mtllib textured.mtl", "o thing"]
    lines += ["v " + " ".join(form.format(x) for x in point) for form, point in zip(written, points, strict=True)]
    lines += [f"vt {u:.4f} {v:.4f}" for u, v in rng.random((len(points) + 3, 2))]
    lines += [f"vn {x:.4f} {y:.4f} {z:.4f}" for x, y, z in rng.normal(size=(len(points) + 3, 3))]
    lines += ["", "g part", "usemtl material_0", "s off"]
    for _ in range(faces):
        three = zip(*(rng.integers(1, len(points) + 1, 3) for _ in range(3)), strict=True)
        lines.append("f " + " ".join(CORNERS[corner].format(*indices) for indices in three))
    return end.join(lines) + end


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("end", ENDS)
def test_the_triangles_are_those_of_trimesh_to_the_bit(corner: str, end: str):
    for seed in range(20):
        text = plain(np.random.default_rng(seed), corner, ENDS[end])
        found = read_triangles(text.encode())
        assert found is not None
        vertices, faces = found
        assert len(np.unique(faces)) == len(vertices)  # as trimesh, none without a face
        theirs = trimesh.load_mesh(io.StringIO(text), file_type="obj", process=False, skip_materials=True)
        assert (vertices.dtype, faces.dtype) == (np.float64, np.int32)
        assert np.array_equal(vertices[faces], np.asarray(theirs.vertices)[theirs.faces])


def test_tabs_are_spaces():
    """trimesh 5.2 takes such a file for an empty one (findings/trimesh_obj_with_tabs.sh)."""
    text = plain(np.random.default_rng(1), "1/2/3", "\n")
    expected, found = read_triangles(text.encode()), read_triangles(text.replace(" ", "\t").encode())
    assert expected is not None and found is not None
    assert all(map(np.array_equal, expected, found))


POINTS = "v 0.1 0 0\nv 0 0.1 0\nv 0 0 0.1\nv 0.1 0.1 0.1\n"
OTHER = {
    "a square": POINTS + "f 1 2 3 4\n",
    "from the end": POINTS + "f -1 -2 -3\n",
    "two spaces": POINTS.replace("v ", "v  ") + "f 1 2 3\n",
    "colours": POINTS.replace("\n", " 0.5 0.5 0.5\n") + "f 1 2 3\n",
    "a line that goes on": POINTS + "f 1 2 \\\n3\n",
    "a space before": " " + POINTS + "f 1 2 3\n",
    "a space after": POINTS + "f 1 2 3 \n",
    "a comment that goes on": "# C:\\models\\\n" + POINTS + "f 1 2 3\n",
    "line ends of old": "# made by hand\r" + POINTS + "f 1 2 3\n",
    "a curve": POINTS + "f 1 2 3\nl 1 2\n",
}


@pytest.mark.parametrize("what", OTHER)
def test_what_is_not_plain_is_left_to_trimesh(what: str, tmp_path: Path):
    assert read_triangles(OTHER[what].encode()) is None
    file = tmp_path / "thing" / MESH_FILES[0]
    file.parent.mkdir()
    file.write_text(OTHER[what])
    theirs = trimesh.load_mesh(file, process=False, skip_materials=True)
    mesh = ObjectLibrary(tmp_path).get("thing")
    assert mesh is not None
    assert np.array_equal(mesh.vertices[mesh.faces], np.asarray(theirs.vertices)[theirs.faces])


DAMAGED = {
    "nothing": "",
    "no faces": POINTS,
    "no points": "f 1 2 3\n",
    "two coordinates": "v 1 2\n" + POINTS + "f 1 2 3\n",
    "letters": "v 1 2 a\nf 1 1 1\n",
    **{
        f"corner {corner}": f"{POINTS}f 1 2 {corner}\n"
        for corner in ("0", "x", "1.5", "inf", "nan", "9", "9999999999", "3/_1")
    },
    "underscores": POINTS.replace("0.1 ", "1_0 ") + "f 1 2 3\n",
    "zero bytes": POINTS.replace("\n", "\0\n") + "f 1 2 3\n",
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_damage_is_left_to_trimesh(text: str):
    assert read_triangles(text.encode()) is None
    assert read_triangles(b"\xff\xfe" + text.encode("utf-16-le")) is None


def test_a_face_of_a_vertex_that_is_not_there_is_named(tmp_path: Path):
    file = tmp_path / "thing" / MESH_FILES[0]
    file.parent.mkdir()
    file.write_text(POINTS + "f 1 2 7\n")
    with pytest.raises(InputError, match="expected a triangle mesh, found index 6 is out of bounds"):
        ObjectLibrary(tmp_path).get("thing")


def test_plain_files_need_no_trimesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "thing" / MESH_FILES[0]
    file.parent.mkdir()
    file.write_text(POINTS + "f 1 2 3\n")
    monkeypatch.delattr(objects, "_read_with_trimesh")
    assert ObjectLibrary(tmp_path).get("thing") is not None


@pytest.mark.parametrize("stray", ["1e300 0 0", "100 0 0", "-7 0 0"])
def test_points_without_a_face_do_not_count(stray: str, tmp_path: Path):
    file = tmp_path / "thing" / MESH_FILES[0]
    file.parent.mkdir()
    file.write_text(f"v {stray}\n{POINTS}f 2 3 4\n")
    mesh = ObjectLibrary(tmp_path).get("thing")
    assert mesh is not None and mesh.vertices.shape == (3, 3) and mesh.radius < 0.1
