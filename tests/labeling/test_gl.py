"""OpenGL against the numba z-buffer: equal labels, and nearly every pixel; skips by name where EGL does not work."""

import json
import subprocess
import sys

import numpy as np
import pytest
from h2onet import doctor
from h2onet.data.datasets import iter_frames, list_sequences
from h2onet.data.frame import Frame
from h2onet.errors import InputError
from h2onet.hand.zbuffer import viewport_of
from h2onet.labeling.label import label_frames
from h2onet.labeling.objects import ObjectLibrary
from h2onet.labeling.pose import load_hands, pose_frames
from h2onet.labeling.raster import CpuRenderer, Mesh, View
from h2onet.labeling.renderers import make_renderer

pytestmark = pytest.mark.gl


@pytest.fixture(scope="module")
def opengl():
    try:
        renderer = make_renderer("pyrender")
    except InputError as error:
        pytest.skip(f"no OpenGL through EGL: {error}")
    yield renderer
    renderer.close()


def test_doctor_says_that_it_works(opengl):
    finding = doctor.opengl()
    assert finding.status == "ok" and "--renderer pyrender" in finding.what, finding


def golden_frames(golden):
    root, mano = golden / "labels" / "DEX_YCB", golden / "labels" / "mano"
    sequences = list_sequences("dexycb", root, "test", mano=mano)
    frames = [frame for sequence in sequences for frame in iter_frames(sequence) if isinstance(frame, Frame)]
    return frames, load_hands(mano), ObjectLibrary(root / "models")


def standin_frames(stage, poses):
    rng = np.random.default_rng(4)
    frames = []
    for i in range(16):
        fingers = poses["bend"] * rng.uniform(0, 1, (15, 1)) + rng.normal(0, 0.1, (15, 3))
        pose, side = stage.pose(rng.normal(0, 1.5, 3), fingers), "left" if i % 2 else "right"
        place = (rng.uniform(-0.25, 0.25), rng.uniform(-0.15, 0.15), rng.uniform(0.35, 0.9))
        bare = stage.frame(pose, middle=place, side=side)
        ball = stage.sphere(f"ball{i}", stage.mesh(bare)[1][rng.integers(21)] * 0.9, 0.03)
        frames.append(stage.frame(pose, middle=place, side=side, objects=[ball]))
    return frames, stage.hands, ObjectLibrary(stage.folder)


def assert_equal_labels(frames, hands, objects, opengl):
    cpu = label_frames(frames, hands, objects, CpuRenderer())
    gl = label_frames(frames, hands, objects, opengl)
    np.testing.assert_array_equal(cpu.occluded, gl.occluded)
    assert np.abs(cpu.visible_vertices - gl.visible_vertices).max() <= 2
    np.testing.assert_allclose(cpu.visible_fraction, gl.visible_fraction, atol=0.03)
    assert (cpu.cause != gl.cause).mean() < 0.02 and (cpu.joint_visible != gl.joint_visible).mean() < 0.005
    np.testing.assert_allclose(cpu.mask_iou, gl.mask_iou, atol=0.005)


def assert_equal_pixels(frames, hands, opengl):
    """At least 99.9 % of the part pixels, of the coverage and of the centre depths (to 0.2 mm)."""
    posed, cpu = pose_frames(frames, hands), CpuRenderer()
    same_parts = same_cover = same_depth = pixels = 0
    for i, frame in enumerate(frames):
        points = posed.authors_2d[i]
        view = View(frame.intrinsics, frame.width, frame.height, viewport_of(points, frame.width, frame.height))
        mesh = Mesh(posed.authors[i], hands.right.faces, points)
        ours, theirs = (renderer.parts(mesh, hands.right.parts.face, view) for renderer in (cpu, opengl))
        drawn = ours.covered | theirs.covered
        pixels += drawn.sum()
        same_parts += (ours.part == theirs.part)[drawn].sum()
        same_cover += (ours.covered == theirs.covered)[drawn].sum()
        near, far = (renderer.inverse_depth([mesh], view)[drawn] for renderer in (cpu, opengl))
        same_depth += (np.abs(near - far) < 0.0002 * np.maximum(near, 1) ** 2).sum()
    assert pixels > 10_000
    assert min(same_parts, same_cover, same_depth) / pixels >= 0.999


def test_golden_frames_agree(golden, opengl):
    frames, hands, objects = golden_frames(golden)
    assert_equal_labels(frames, hands, objects, opengl)
    assert_equal_pixels(frames, hands, opengl)
    expected = {entry["file_name"]: entry for entry in json.loads((golden / "labels" / "expected.json").read_text())}
    labels = label_frames(frames, hands, objects, opengl, rules=("h2onet",))
    for row, frame in enumerate(frames):
        names = ("thumb", "index", "middle", "ring", "little", "palm", "global")
        assert labels.occluded[row].tolist() == [expected[frame.image][name] for name in names]


def test_standin_frames_agree_also_near_the_border_and_larger_than_the_small_buffer(stage, poses, opengl):
    frames, hands, objects = standin_frames(stage, poses)
    assert_equal_labels(frames, hands, objects, opengl)
    assert_equal_pixels(frames, hands, opengl)


def test_nothing_to_draw(opengl, stage):
    view = View(np.eye(3), 640, 480, (0, 0, 0, 0))
    vertices = np.zeros((3, 3))
    mesh = Mesh(vertices, np.array([[0, 1, 2]], np.int32), vertices[:, :2])
    assert opengl.inverse_depth([mesh], view).shape == (0, 0)
    assert opengl.parts(mesh, np.zeros(1, np.uint8), view).part.shape == (0, 0)
    assert (opengl.inverse_depth([], View(np.eye(3), 640, 480, (0, 0, 9, 7))) == 0).all()


WITHOUT_GL = """
import ctypes, ctypes.util
find, load = ctypes.util.find_library, ctypes.CDLL
class Without(load):
    def __init__(self, name, *args, **kwargs):
        if name and "GL" in str(name):
            raise OSError(f"{name}: cannot open shared object file")
        super().__init__(name, *args, **kwargs)
ctypes.CDLL = Without
ctypes.util.find_library = lambda name: None if "GL" in name else find(name)
from h2onet.labeling.renderers import make_renderer
from h2onet.errors import InputError
try:
    make_renderer("pyrender")
except InputError as error:
    print(error)
"""


def test_missing_opengl_names_the_packages():
    """In a process of its own in which no GL library can be loaded."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_GL], capture_output=True, text=True, check=True)
    for package in ("libegl1", "libgl1", "libgl1-mesa-dri", "libxrender1", "--renderer cpu"):
        assert package in done.stdout
    assert len(done.stdout.strip().splitlines()) == 1
