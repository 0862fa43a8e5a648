"""What `h2o view` shows: meshes that stand on the photo's joints, from every kind of store; and what is refused."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from clip_factory import make_clip_store
from h2onet.data.labels import LabelStore
from h2onet.data.photos import photo_size
from h2onet.errors import InputError
from h2onet.hand.camera import project
from h2onet.hand.draw import encode_picture
from h2onet.hand.mano import HandModel, load_hand
from h2onet.hand.mesh_files import mesh_bytes
from h2onet.hand.parts import CAUSES, tip_vertices
from h2onet.pipeline.view.command import find_scene
from h2onet.pipeline.view.scene import (
    CAUSE_COLOURS,
    NOT_KNOWN,
    HandSurface,
    SceneFrame,
    SceneHand,
    merge_hands,
    pick_rows,
)

RIGHT, LEFT = "S1/R1/cam0", "S2/left/cam0"
TIPS = [4, 8, 12, 16, 20]


@dataclass(frozen=True)
class Stores:
    """labels.zarr, clips.zarr and the photos of one made-up recording per side."""

    folder: Path

    def show(self, name: str, **options) -> list[SceneFrame]:
        given = {"sequence": None, "frames": 300, "root": None, "mano": None} | options
        return list(find_scene(str(self.folder / name), **given).frames)


@pytest.fixture(scope="module")
def hand() -> HandModel:
    return load_hand("standin")


@pytest.fixture(scope="module")
def stores(hand: HandModel, tmp_path_factory: pytest.TempPathFactory) -> Stores:
    folder = tmp_path_factory.mktemp("stores")
    make_clip_store(folder, hand, {RIGHT: 5, LEFT: 3})
    return Stores(folder)


@pytest.mark.parametrize("name", ["labels.zarr", "clips.zarr"])
def test_meshes_stand_where_the_joints_are(stores: Stores, name: str) -> None:
    """Through the camera of the picture that is shown, whole or cut, fingertips of the mesh are the 2D joints."""
    frames = stores.show(name, sequence=RIGHT)
    assert [frame.number for frame in frames] == [0, 1, 2, 3, 4]
    for frame in frames:
        (shown,) = frame.hands
        assert frame.picture is not None and photo_size(frame.picture) == frame.size
        assert shown.name == "right" and shown.vertices is not None and frame.intrinsics is not None
        tips = project(shown.vertices[list(tip_vertices("manopth", "right"))], frame.intrinsics)
        np.testing.assert_allclose(tips, shown.joints_2d[TIPS], atol=0.05)
        inside = (shown.joints_2d > 0) & (shown.joints_2d < frame.size)
        assert inside.all() and set(shown.seen.tolist()) <= {0, 1}
        assert set(frame.curves) == {
            *(f"visible_fraction/{part}" for part in ("thumb", "index", "middle", "ring", "little", "palm")),
            "hand_visible_area/hand",
        }
        assert 0 <= frame.curves["visible_fraction/ring"] <= 1
    assert (frames[0].size == (640, 480)) == (name == "labels.zarr")


@pytest.mark.parametrize("name", ["labels.zarr", "clips.zarr"])
def test_a_hand_without_its_model_keeps_its_joints(stores: Stores, name: str) -> None:
    frames = stores.show(name, sequence=LEFT)
    assert len(frames) == 3
    assert all(frame.hands[0].name == "left" and frame.hands[0].vertices is None for frame in frames)
    assert all(np.isfinite(frame.hands[0].joints_2d).all() and frame.picture for frame in frames)


def test_frames_are_thinned_evenly_and_start_with_the_first(stores: Stores) -> None:
    assert [frame.number for frame in stores.show("labels.zarr", frames=3)] == [0, 2, 4]
    assert [frame.number for frame in stores.show("clips.zarr", frames=1)] == [0]
    for count in (1, 7, 1000):
        for most in (1, 2, 300):
            rows = pick_rows(count, most)
            assert rows[0] == 0 and len(rows) == min(count, most) and (np.diff(rows) > 0).all()
            assert most == 1 or rows[-1] == count - 1


def test_rows_of_one_frame_are_its_hands() -> None:
    joints, seen = np.zeros((21, 2)), np.zeros(21, np.uint8)
    rows = [
        SceneFrame(number, b"", (1, 1), None, (SceneHand(side, joints, seen),), (), {"visible_fraction/thumb": share})
        for number, side, share in ((3, "right", 0.1), (3, "left", 0.2), (4, "right", 0.3))
    ]
    two, one = merge_hands(iter(rows))
    assert [[hand.name for hand in frame.hands] for frame in (two, one)] == [["right", "left-1"], ["right"]]
    assert two.curves == {"visible_fraction/thumb": 0.1, "visible_fraction/left-1_thumb": 0.2}
    assert (two.number, one.number, one.curves) == (3, 4, {"visible_fraction/thumb": 0.3})


def test_photos_that_moved_or_are_gone(stores: Stores, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    moved = tmp_path / "moved"
    moved.symlink_to(stores.folder / "root")
    assert all(frame.picture for frame in stores.show("labels.zarr", root=moved))
    with caplog.at_level(logging.WARNING):
        frames = stores.show("labels.zarr", root=tmp_path / "nowhere")
    assert all(frame.picture is None and frame.hands[0].vertices is not None for frame in frames)
    assert "photos are left out" in caplog.text


def test_the_grasped_object_is_shown_where_the_dataset_is_gone(stores: Stores, tmp_path: Path) -> None:
    """The pose that labels keep, with the mesh of the object's name."""
    old = LabelStore.open(stores.folder / "labels.zarr")
    new = LabelStore.create(tmp_path / "labels.zarr", {"made": "by hand"})
    rows, _ = old.store.read(RIGHT)
    pose = np.hstack([np.eye(3), [[0.0], [0.1], [0.6]]])
    rows["object_id"][:], rows["object_pose"][:] = 2, pose
    rows["object_pose"][1] = 0.0  # absent
    new.commit(RIGHT, rows, {"failures": []})
    models = tmp_path / "models" / "003_cracker_box"
    models.mkdir(parents=True)
    corners = np.array([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.1]])
    (models / "textured_simple.obj").write_bytes(mesh_bytes(corners, np.array([[0, 1, 2], [0, 1, 3]]), "obj"))
    facts = {name: old.attrs[name] for name in ("dataset", "split", "setup", "root", "image", "mano")}
    new.finish([RIGHT], {**facts, "objects": str(models.parent)})
    new.close()
    frames = list(find_scene(str(tmp_path / "labels.zarr"), None, 300, None, None).frames)
    assert [len(frame.objects) for frame in frames] == [1, 0, 1, 1, 1]
    (box,) = frames[0].objects
    assert box.name == "003_cracker_box"
    np.testing.assert_allclose(box.pose, pose)
    np.testing.assert_allclose(box.vertices, corners, atol=1e-6)


def test_causes_colour_the_vertices_of_their_part() -> None:
    surface = HandSurface(np.array([[0, 1, 2], [3, 4, 5]]), np.arange(6, dtype=np.uint8))
    colours = surface.cause_colours(np.array([0, 1, 2, 3, 4, 255], np.uint8))
    assert len(CAUSE_COLOURS) == len(CAUSES)
    np.testing.assert_array_equal(colours, [*CAUSE_COLOURS, NOT_KNOWN])
    assert len(np.unique(surface.part_colours(), axis=0)) == 6
    np.testing.assert_array_equal(HandSurface(surface.faces, None).cause_colours(None), [NOT_KNOWN] * 6)


def row(name: str, number: int = 0, side: str = "right", **changes) -> dict:
    joints = (np.arange(42).reshape(21, 2) + 20.0 * number).tolist()
    return {"name": name, "hand": number, "side": side, "joints_2d_px": joints, "occluded": None} | changes


def write_predictions(folder: Path, rows: list[dict]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "predictions.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    return folder


def show(folder: Path, **options) -> list[SceneFrame]:
    given = {"sequence": None, "frames": 300, "root": None, "mano": None} | options
    return list(find_scene(str(folder), **given).frames)


def test_predictions_with_two_hands_and_names_alike(hand: HandModel, tmp_path: Path) -> None:
    """b.png had to take its whole name, since b.jpg had the stem: each finds its own overlay and mesh."""
    seen = {"joints_seen": [0.9] * 20 + [0.1], "occluded": {"thumb": 0.75, "global": 0.5}}
    camera = [[30.0, 0.0, 15.0], [0.0, 31.0, 10.0], [0.0, 0.0, 1.0]]
    known = {"intrinsics": camera}
    rows = [row("a.jpg"), row("a.jpg", 1, "left", **known), row("b.jpg"), row("b.png", **seen, **known)]
    folder = write_predictions(tmp_path / "run", rows)
    (folder / "meshes").mkdir()
    (folder / "overlays").mkdir()
    rest, faces = hand.arrays.v_template, hand.faces
    for number, name in enumerate(("a-0.obj", "a-1.glb", "b.ply", "b.png.glb")):
        (folder / "meshes" / name).write_bytes(mesh_bytes(rest + number, faces, name[-3:]))
    for width, name in enumerate(("a.jpg", "b.jpg", "b.png.jpg"), 30):
        (folder / "overlays" / name).write_bytes(encode_picture(np.zeros((20, width, 3), np.uint8), ".jpg"))
    frames = show(folder)
    assert [frame.size for frame in frames] == [(30, 20), (31, 20), (32, 20)]
    assert frames[0].intrinsics is not None and frames[1].intrinsics is None
    np.testing.assert_array_equal(frames[2].intrinsics, camera)
    assert [[each.name for each in frame.hands] for frame in frames] == [["right", "left-1"], ["right"], ["right"]]
    places = [each.vertices.mean() for frame in frames for each in frame.hands if each.vertices is not None]
    np.testing.assert_allclose(places, rest.mean() + np.arange(4), atol=1e-5)
    surface = frames[0].hands[0].surface
    assert surface is not None and surface.vertex_part is not None
    np.testing.assert_array_equal(surface.vertex_part, hand.parts.vertex)
    assert frames[0].hands[0].seen.tolist() == [255] * 21 and frames[2].hands[0].seen.tolist() == [1] * 20 + [0]
    assert frames[2].curves["occluded_probability/right/thumb"] == 0.75
    assert [frame.number for frame in show(folder, frames=2)] == [0, 2]


def test_predictions_of_a_video_find_their_frames(tmp_path: Path) -> None:
    folder = write_predictions(tmp_path / "run", [row(f"{number:06d}") for number in (0, 1, 3)])
    movie = cv2.VideoWriter(str(folder / "overlay.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 20, (64, 48))
    for number in range(4):
        movie.write(np.full((48, 64, 3), 60 * number, np.uint8))
    movie.release()
    shades = []
    for frame in show(folder):
        assert frame.picture is not None and frame.size == (64, 48)
        shades.append(cv2.imdecode(np.frombuffer(frame.picture, np.uint8), cv2.IMREAD_COLOR).mean())
    np.testing.assert_allclose(shades, [0, 60, 180], atol=6)


def test_what_cannot_be_shown_is_one_line(stores: Stores, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    labels, clips = str(stores.folder / "labels.zarr"), str(stores.folder / "clips.zarr")
    good = str(write_predictions(tmp_path / "good", [row("a.jpg")]))
    for source, options, words in (
        (str(tmp_path / "empty"), {}, "expected a labels.zarr, a clips.zarr or a folder"),
        (str(tmp_path / "nowhere"), {}, "expected a labels.zarr, a clips.zarr or a folder"),
        (labels, {"sequence": "S9/none"}, r"--sequence .*no such sequence; it has 2, for example S1/R1/cam0"),
        (clips, {"root": tmp_path}, "--root: clips hold their pictures"),
        (labels, {"mano": str(tmp_path)}, "say where that hand is with --mano"),
        (good, {"sequence": "x"}, "--sequence: .* is a folder of h2o predict"),
    ):
        with pytest.raises(InputError, match=words):
            find_scene(source, **{"sequence": None, "frames": 9, "root": None, "mano": None} | options)
    for rows, words in (
        ([], "holds no hand"),
        ([row("a.jpg"), {"name": "a"}], r"predictions\.jsonl: line 2: .*missing required field"),
        ([row("../a.jpg")], "line 1: expected 21 joints"),
        ([row("a.jpg", joints_2d_px=[[0, 0]])], "line 1: expected 21 joints"),
        ([row("a.jpg", joints_seen=[0.5])], "line 1: expected 21 joints"),
        ([row("a.jpg", intrinsics=[[1, 0, 0], [0, 1, 0]])], "line 1: intrinsics: expected a 3 x 3 camera matrix"),
        ([row("a.jpg", intrinsics=[[0, 0, 1], [0, 1, 1], [0, 0, 1]])], "line 1: intrinsics"),
    ):
        with pytest.raises(InputError, match=words):
            show(write_predictions(tmp_path / "bad", rows))
    (tmp_path / "good" / "meshes").mkdir()
    (tmp_path / "good" / "meshes" / "a.obj").write_text("v 1 2\nf 1 2 3\n")
    with pytest.raises(InputError, match=r"a\.obj: cannot be read as a mesh"):
        show(tmp_path / "good")
    (tmp_path / "good" / "meshes" / "a.obj").unlink()
    huge = mesh_bytes(np.zeros((3, 3)), np.array([[0, 1, 2]]), "glb").replace(b'"count":3,', b'"count":9999999999,')
    for data in (b"", huge, huge[:200], b"glTF" + bytes(40)):
        (tmp_path / "good" / "meshes" / "a.glb").write_bytes(data)
        with pytest.raises(InputError, match=r"a\.glb: cannot be read as a mesh"):
            show(tmp_path / "good")
