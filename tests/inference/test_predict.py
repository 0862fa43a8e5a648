"""h2o predict: what it writes for folders and videos, and a named row for everything that fails."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import trimesh
from cli_trees import h2o
from h2onet.errors import InputError
from h2onet.hand.mano import load_hand
from h2onet.inference import latency
from h2onet.inference.cameras import FOCAL_SHARE
from h2onet.inference.places import read_boxes, read_intrinsics
from h2onet.inference.predict import predict
from h2onet.inference.predictor import Predictor, given_square, trained_window
from h2onet.network.checkpoint import load_checkpoint, save_checkpoint
from h2onet.network.h2onet import NetworkConfig, build_network
from mesh_reader import read_mesh
from PIL import Image
from PIL.ExifTags import IFD, Base


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained narrow multi-frame network."""
    torch.manual_seed(0)
    network = build_network(NetworkConfig(frames=3, width=0.125), load_hand("standin")).eval()
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint") / "net", network)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures (one grey), a truncated one, and a file that is none."""
    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.jpg", "b.png"):
        cv2.imwrite(str(images / name), rng.integers(0, 255, (90, 120, 3), np.uint8))
    cv2.imwrite(str(images / "c.png"), rng.integers(0, 255, (90, 120), np.uint8))
    (images / "broken.jpg").write_bytes((images / "a.jpg").read_bytes()[:40])
    (images / "notes.txt").write_text("no picture")
    return images


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def make_video(path: Path, frames: int) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20, (120, 90))
    rng = np.random.default_rng(1)
    for _ in range(frames):
        writer.write(rng.integers(0, 255, (90, 120, 3), np.uint8))
    writer.release()
    return path


def test_folder_of_pictures(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    summary = predict(checkpoint, tmp_path / "out", images=folder, intrinsics="130,130,60,45")
    assert (summary.frames, summary.hands, summary.failures) == (3, 3, 1)
    found = rows(tmp_path / "out" / "predictions.jsonl")
    assert [row["name"] for row in found] == ["a.jpg", "b.png", "c.png"]
    assert all(row["box_from"] == "whole picture" and row["side"] == "right" for row in found)
    assert set(found[0]["occluded"]) == {"thumb", "index", "middle", "ring", "little", "global"}
    (failure,) = rows(tmp_path / "out" / "failures.jsonl")
    assert failure["name"] == "broken.jpg" and failure["reason"]
    vertices, faces = read_mesh(tmp_path / "out" / "meshes" / "a.obj")
    assert vertices.shape == (778, 3) and faces.shape == (1538, 3)
    overlay = cv2.imread(str(tmp_path / "out" / "overlays" / "c.jpg"))
    assert overlay is not None and overlay.shape == (90, 120, 3)
    # Unrelated pictures do not see each other: each is what a fresh predictor says.
    picture = cv2.imread(str(folder / "b.png"))
    assert picture is not None
    alone = Predictor(checkpoint)(np.asarray(picture, np.uint8)[..., ::-1])
    assert np.array(found[1]["joints_m"]) == pytest.approx(alone.joints, abs=1e-5)


def test_a_place_in_space_without_intrinsics(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    """By EXIF where a photo has it, else by --fov, else none; rows say which, and the spread of the depth."""
    exif = Image.Exif()
    exif.get_ifd(IFD.Exif)[Base.FocalLengthIn35mmFilm] = 28
    with Image.open(folder / "a.jpg") as photo:
        photo.save(folder / "a.jpg", exif=exif, quality=95)
    keys = {"name", "side", "box", "mano_pose", "mano_shape", "root", "root_from", "reliable"}
    for fov, sources in ((None, ["exif", None, None]), (60.0, ["exif", "fov", "fov"])):
        predict("synthetic", tmp_path / "out", images=folder, fov=fov, mano="standin")
        found = rows(tmp_path / "out" / "predictions.jsonl")
        assert all(keys <= set(row) and row["reliable"] == (not row["doubts"]) for row in found)
        assert all(len(row["mano_pose"]) == 48 and len(row["mano_shape"]) == 10 for row in found)
        for row, source in zip(found, sources, strict=True):
            stem = Path(row["name"]).stem
            vertices, _ = read_mesh(tmp_path / "out" / "meshes" / f"{stem}.obj")
            assert row["root_m"] == row["root"]
            if source is None or row["root"] is None:  # where no place before the camera fits
                assert row["root_from"] is row["root"] is row["root_spread_m"] is None
                assert np.abs(vertices).max() < 0.5  # round the wrist
                assert (row["intrinsics"] is None) == (source is None)
                continue
            share, (*_, spread) = FOCAL_SHARE[source], row["root_spread_m"]
            assert row["root_from"] == source and spread > 0.8 * share * row["root"][2]
            focal = 28 * 150 / np.hypot(36, 24) if source == "exif" else 60 / np.tan(np.radians(30))
            assert row["intrinsics"] == [
                [pytest.approx(focal, abs=1e-3), 0, 60],
                [0, pytest.approx(focal, abs=1e-3), 45],
                [0, 0, 1],
            ]
            assert np.linalg.norm(vertices - row["root"], axis=1).max() < 0.5
        assert any(row["root_from"] == sources[0] for row in found)
    predict("synthetic", tmp_path / "out", images=folder, fov=60.0, intrinsics="130,130,60,45", meshes="none")
    assert {row["root_from"] for row in rows(tmp_path / "out" / "predictions.jsonl")} <= {"intrinsics", None}


def test_meshes_as_glb_and_a_video_as_one_animation(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    """The same meshes as .obj has, in glTF's axes; frames that follow each other are one animated file besides."""
    (folder / "broken.jpg").unlink()
    options = {"images": folder, "intrinsics": "130,130,60,45"}
    for form in ("obj", "glb"):
        predict(checkpoint, tmp_path / form, meshes=form, **options)
    for path in (tmp_path / "obj" / "meshes").iterdir():
        mesh = trimesh.load_mesh(tmp_path / "glb" / "meshes" / f"{path.stem}.glb", process=False)
        vertices, faces = read_mesh(path)
        np.testing.assert_allclose(mesh.vertices, vertices * [1, -1, -1], atol=2e-6)
        np.testing.assert_array_equal(mesh.faces, faces)
    assert not (tmp_path / "glb" / "animation.glb").exists()
    video = make_video(tmp_path / "clip.avi", 6)
    for source in ({"video": video}, {"images": folder, "sequence": True}):
        predict(checkpoint, tmp_path / "run", meshes="glb", **source)
        told = json.loads((tmp_path / "run" / "run.json").read_text())["animation"]
        frames = 6 if "video" in source else 3
        assert told["frames"] == frames and told["rate"] == (20.0 if "video" in source else 30.0)
        assert told["hands"]["right-0"]["frames"] == frames and told["hands"]["right-0"]["largest_error_m"] <= 1e-4
        scene = trimesh.load_scene(tmp_path / "run" / "animation.glb")
        assert [mesh.vertices.shape for mesh in scene.geometry.values()] == [(778, 3)]
        assert len(list((tmp_path / "run" / "meshes").iterdir())) == frames
    predict(checkpoint, tmp_path / "run", meshes="obj", video=video)
    assert not (tmp_path / "run" / "animation.glb").exists(), "a run's files replace those of the one before"


def test_a_mixed_folder_of_odd_names(checkpoint: Path, tmp_path: Path, caplog) -> None:
    """Pictures of any name become files and rows of that name; what is not read is told once, with what to do."""
    images, out = tmp_path / "my\nphotos", tmp_path / "out"
    images.mkdir()
    png = cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8))[1].tobytes()
    for name in ("suffixless", "a.jfif", "a\nb.png", "-x.png", "\udcff.png", "y" * 251 + ".png"):
        (images / name).write_bytes(png)
    (images / "IMG.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    (images / "notes.txt").write_text("no picture")
    (images / "c.jpg").mkdir()
    summary = predict(checkpoint, out, images=images)
    assert (summary.hands, summary.failures) == (6, 1)
    assert {row["name"] for row in rows(out / "predictions.jsonl")} == {
        path.name for path in images.iterdir() if path.suffix not in (".HEIC", ".txt", ".jpg")
    }
    assert rows(out / "failures.jsonl")[0]["reason"] == "is a folder, expected a picture"
    assert len(list((out / "meshes").iterdir())) == len(list((out / "overlays").iterdir())) == 6
    assert [record.message for record in caplog.records if "not read" in record.message] == [
        f"--images {images}: 1 pictures are not read (1 .heic); convert them to JPEG or PNG, or name them so where they"
        " are"
    ]


@pytest.mark.parametrize("metadata", ["x", [], {"recipe": {"dataset": [], "frames": 3}}, {"recipe": 1}])
def test_what_a_checkpoint_says_of_its_training_is_not_believed(checkpoint: Path, tmp_path: Path, metadata) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "net")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"metadata": metadata}))
    assert trained_window(folder) is None


def test_boxes_and_sides_from_a_file(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.json"
    two = [{"box": [5, 5, 60, 60], "side": "left"}, {"box": [50, 20, 110, 80]}]
    boxes.write_text(json.dumps({"a.jpg": two, "b.png": [70, 40, 70, 60], "broken.jpg": [0, 0, 9, 9]}))
    summary = predict(checkpoint, tmp_path / "out", images=folder, boxes=boxes, meshes="ply")
    found = rows(tmp_path / "out" / "predictions.jsonl")
    assert [(row["name"], row["hand"], row["side"]) for row in found] == [("a.jpg", 0, "left"), ("a.jpg", 1, "right")]
    assert found[0]["root"] is None and found[0]["root_from"] is None  # no camera was given
    reasons = {row["name"]: row["reason"] for row in rows(tmp_path / "out" / "failures.jsonl")}
    assert summary.failures == 3 and set(reasons) == {"b.png", "broken.jpg", "c.png"}
    assert "empty" in reasons["b.png"] and "names no box" in reasons["c.png"]
    left, faces = read_mesh(tmp_path / "out" / "meshes" / "a-0.ply")
    right, right_faces = read_mesh(tmp_path / "out" / "meshes" / "a-1.ply")
    assert left.shape == right.shape and np.array_equal(faces[:, ::-1], right_faces)


def test_video_with_tracking_from_its_first_box(checkpoint: Path, tmp_path: Path) -> None:
    video, boxes = make_video(tmp_path / "v.avi", 7), tmp_path / "boxes.csv"
    boxes.write_text("name,x0,y0,x1,y1,side\n0,20,10,90,80,left\n")
    summary = predict(checkpoint, tmp_path / "out", video=video, boxes=boxes, side="left", meshes="none")
    assert (summary.frames, summary.hands, summary.failures) == (7, 7, 0)
    found = rows(tmp_path / "out" / "predictions.jsonl")
    assert [row["name"] for row in found] == [f"{n:06d}" for n in range(7)]
    assert found[0]["box_from"] == "given" and all(row["box_from"] != "given" for row in found[1:])
    assert all(row["side"] == "left" for row in found)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "overlay.mp4",
        "predictions.jsonl",
        "run.json",
    ]
    capture = cv2.VideoCapture(str(tmp_path / "out" / "overlay.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 7
    capture.release()


def test_a_video_that_ends_early_is_named(checkpoint: Path, tmp_path: Path) -> None:
    whole = make_video(tmp_path / "v.avi", 12).read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 2])
    summary = predict(checkpoint, tmp_path / "out", video=tmp_path / "cut.avi", meshes="none")
    assert 0 < summary.frames < 12 and summary.hands == summary.frames
    (failure,) = rows(tmp_path / "out" / "failures.jsonl")
    assert failure["reason"] == f"the video ends after {summary.frames} of 12 frames"
    predict(checkpoint, tmp_path / "out", video=make_video(tmp_path / "w.avi", 2), meshes="none")
    assert not (tmp_path / "out" / "failures.jsonl").exists()  # of the run before


def test_what_cannot_be_read_at_all_is_refused(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    out, empty = tmp_path / "out", tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "no.avi").write_bytes(b"no video")
    for options, words in (
        ({"images": tmp_path / "nowhere"}, "no such folder"),
        ({"images": empty}, "holds no picture"),
        ({"video": tmp_path / "nowhere.mp4"}, "no such file"),
        ({"video": tmp_path / "no.avi"}, "cannot be opened"),
        ({}, "either --images"),
        ({"images": folder, "video": tmp_path / "no.avi"}, "either --images"),
        ({"images": folder, "meshes": "stl"}, "--meshes"),
        ({"images": folder, "side": "up"}, "--side"),
        ({"images": folder, "boxes": tmp_path / "nowhere.json"}, "no such file"),
        ({"images": folder, "intrinsics": "1,2,3"}, "--intrinsics"),
        ({"images": folder, "fov": 300.0}, "--fov 300"),
    ):
        with pytest.raises(InputError, match=words):
            predict(checkpoint, out, **options)
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("b.json", "[1]", "expected an object"),
        ("b.json", "{", "not JSON"),
        ("b.json", '{"a.jpg": [1, 2, 3]}', "a.jpg: expected"),
        ("b.json", '{"a.jpg": {"box": [1, 2, 3, 4], "side": "up"}}', "a.jpg: expected"),
        ("b.csv", "file,x0\n", "expected the header"),
        ("b.csv", "name,x0,y0,x1,y1\na,1,2,3,\n", "line 2: expected a name and four numbers"),
        ("b.csv", "name,x0,y0,x1,y1,side\na,1,2,3,4,up\n", "line 2: side is 'up'"),
    ],
)
def test_bad_box_files_are_refused(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=words):
        read_boxes(tmp_path / name)


@pytest.mark.parametrize("box", [(0, 0, 1, 1), (0, 0, 1e-9, 1e-9), (119, 89, 300, 300), (5, 5, 5, 9), (9, 9, 5, 5)])
def test_boxes_that_hold_nothing_are_refused(box: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match=r"box: .*(empty|less than two pixels)"):
        given_square(np.array(box, np.float64), 120, 90)


def test_intrinsics_from_every_form(tmp_path: Path) -> None:
    expected = [[500.0, 0.0, 320.0], [0.0, 510.0, 240.0], [0.0, 0.0, 1.0]]
    np.save(tmp_path / "k.npy", np.array(expected))
    (tmp_path / "k.json").write_text(json.dumps(expected))
    (tmp_path / "many.json").write_text(json.dumps({"a.jpg": expected, "3": expected}))
    for given in ("500,510,320,240", tmp_path / "k.npy", tmp_path / "k.json"):
        found = read_intrinsics(given)
        assert isinstance(found, np.ndarray) and found.tolist() == expected
    many = read_intrinsics(tmp_path / "many.json")
    assert isinstance(many, dict) and set(many) == {"a.jpg", "000003"}
    with pytest.raises(InputError, match="positive focal lengths"):
        read_intrinsics("-500,510,320,240")


def test_benchmark_times_every_stage(checkpoint: Path) -> None:
    measured = latency.measure(checkpoint, device="cpu", seconds=0.01)
    stages = {(timing.stage, timing.network, timing.precision) for timing in measured.timings}
    assert ("crop", "-", "-") in stages and ("Predictor, one frame", "folded", "float32") in stages
    assert {("all 3 frames anew", name, "bfloat16") for name in ("as loaded", "folded")} <= stages
    assert all(timing.milliseconds > 0 for timing in measured.timings)
    assert "CPU" in str(measured)
    with pytest.raises(InputError, match="--seconds"):
        latency.measure(checkpoint, seconds=0)


def test_outputs_never_mix_with_inputs(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    (tmp_path / "link").symlink_to(folder)
    for out in (folder, folder / "out", folder / "a" / "b", tmp_path / "link", folder / ".." / "images"):
        with pytest.raises(InputError, match="lies inside --images"):
            predict(checkpoint, out, images=folder)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    out = tmp_path / "out"
    predict(checkpoint, out, images=folder)
    overlays = {path.name: path.read_bytes() for path in (out / "overlays").iterdir()}
    with pytest.raises(InputError, match="its overlays is what is to be read"):
        predict(checkpoint, out, images=out / "overlays")
    assert {path.name: path.read_bytes() for path in (out / "overlays").iterdir()} == overlays
    video = make_video(tmp_path / "v.avi", 2).rename(tmp_path / "overlay.mp4")
    with pytest.raises(InputError, match=r"its overlay\.mp4 is what is to be read"):
        predict(checkpoint, tmp_path, video=video)


def test_a_second_run_replaces_the_first_whole(checkpoint: Path, folder: Path, tmp_path: Path, monkeypatch) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    predict(checkpoint, out, images=folder)
    first = {path: path.read_bytes() for path in out.rglob("*.*") if path.is_file()}
    (folder / "a.jpg").rename(folder / "d.jpg")
    (folder / "broken.jpg").unlink()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("h2onet.inference.predict.write_lists", stop)
        with pytest.raises(KeyboardInterrupt):
            predict(checkpoint, out, images=folder)
        with pytest.raises(KeyboardInterrupt):
            predict(checkpoint, tmp_path / "new", images=folder)
    assert {path: path.read_bytes() for path in out.rglob("*.*") if path.is_file()} == first
    assert not (tmp_path / "new").exists()
    predict(checkpoint, out, images=folder, meshes="none")
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*")) == [
        *("notes.txt", "overlays/b.jpg", "overlays/c.jpg", "overlays/d.jpg", "predictions.jsonl", "run.json")
    ]
    assert [row["name"] for row in rows(out / "predictions.jsonl")] == ["b.png", "c.png", "d.jpg"]


def test_what_another_program_wrote_is_not_replaced(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "meshes").mkdir(parents=True)
    (out / "meshes" / "a.obj").write_text("somebody's own")
    (out / "run.json").write_text("{}")
    with pytest.raises(InputError, match=r"holds meshes, but no run\.json of h2o predict"):
        predict(checkpoint, out, images=folder)
    assert (out / "meshes" / "a.obj").read_text() == "somebody's own"


def test_pictures_of_one_stem_get_files_of_their_own(checkpoint: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for name in ("a.jpg", "a.png", "b.jpg"):
        cv2.imwrite(str(images / name), np.full((90, 120, 3), len(name), np.uint8))
    predict(checkpoint, tmp_path / "out", images=images, meshes="ply")
    for kind, suffix in (("overlays", "jpg"), ("meshes", "ply")):
        found = sorted(path.name for path in (tmp_path / "out" / kind).iterdir())
        assert found == sorted([f"a.{suffix}", f"a.png.{suffix}", f"b.{suffix}"])


def test_every_hand_of_the_first_frame_is_followed(checkpoint: Path, tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("name,x0,y0,x1,y1,side\n0,5,10,60,80,left\n0,60,10,115,80,right\n3,5,10,60,80,left\n")
    predict(checkpoint, tmp_path / "out", video=make_video(tmp_path / "v.avi", 5), boxes=boxes, meshes="none")
    found = [(row["name"], row["hand"], row["side"]) for row in rows(tmp_path / "out" / "predictions.jsonl")]
    both = [(0, "left"), (1, "right")]
    hands = {0: both, 1: both, 2: both, 3: both[:1], 4: both}
    assert found == [(f"{n:06d}", *hand) for n, named in hands.items() for hand in named]


def test_a_hand_that_is_missed_for_a_frame_is_the_same_hand_again(checkpoint: Path, tmp_path: Path) -> None:
    left, right = {"box": [5, 10, 60, 80], "side": "left"}, {"box": [60, 10, 115, 80], "side": "right"}
    boxes = tmp_path / "boxes.json"
    named = {"0": [left, right], "1": [right], "2": [right, left], "3": [], "4": [left]}
    boxes.write_text(json.dumps(named))
    video = make_video(tmp_path / "v.avi", 6)
    summary = predict(checkpoint, tmp_path / "out", video=video, boxes=boxes, meshes="ply")
    found = [(int(row["name"]), row["hand"], row["side"]) for row in rows(tmp_path / "out" / "predictions.jsonl")]
    both = [(0, "left"), (1, "right")]
    hands = {0: both, 1: both[1:], 2: both[::-1], 4: both[:1], 5: both}
    assert found == [(number, *hand) for number, those in hands.items() for hand in those]
    assert (summary.frames, summary.failures) == (6, 0)  # no hand in frame 3, as the file says: no failure
    meshes = {path.name for path in (tmp_path / "out" / "meshes").iterdir()}
    assert {"000001-1.ply", "000002-0.ply", "000002-1.ply", "000004.ply"} <= meshes


def test_a_guessed_hand_gives_way_to_the_first_box(checkpoint: Path, tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("name,x0,y0,x1,y1,side\n2,5,10,60,80,left\n")
    predict(checkpoint, tmp_path / "out", video=make_video(tmp_path / "v.avi", 4), boxes=boxes, meshes="none")
    found = [(row["hand"], row["side"]) for row in rows(tmp_path / "out" / "predictions.jsonl")]
    assert found == [(0, "right"), (0, "right"), (0, "left"), (0, "left")]


def test_names_of_a_boxes_file_that_are_not_there(checkpoint: Path, folder: Path, tmp_path: Path, caplog) -> None:
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({"a.jpg": [5, 5, 60, 60], "d.jpg": [5, 5, 60, 60]}))
    summary = predict(checkpoint, tmp_path / "out", images=folder, boxes=boxes, meshes="none")
    assert summary.hands == 1 and "1 names are of no frame that is there, first d.jpg" in caplog.text
    boxes.write_text(json.dumps({"images/a.jpg": [5, 5, 60, 60]}))
    with pytest.raises(InputError, match="file names without folders"):
        predict(checkpoint, tmp_path / "no", images=folder, boxes=boxes)
    cameras = tmp_path / "cameras.json"
    cameras.write_text(json.dumps({"a": np.eye(3).tolist()}))
    with pytest.raises(InputError, match=r"--intrinsics .* names no frame"):
        predict(checkpoint, tmp_path / "no", images=folder, intrinsics=cameras)
    video = make_video(tmp_path / "v.avi", 2)
    with pytest.raises(InputError, match="numbers of the video's frames"):
        predict(checkpoint, tmp_path / "no", video=video, boxes=boxes)
    assert not (tmp_path / "no").exists()
    caplog.clear()
    boxes.write_text(json.dumps({"0": [5, 5, 60, 60], "2": [5, 5, 60, 60]}))
    predict(checkpoint, tmp_path / "out", video=video, boxes=boxes, meshes="none")
    assert "1 names are of no frame that is there, first 000002" in caplog.text


def test_pictures_of_all_sizes_names_and_turns(checkpoint: Path, tmp_path: Path) -> None:
    """Boxes and overlays are of the picture as it is shown; names with blanks and accents, composed or not."""
    images = tmp_path / "my photos é"
    images.mkdir()
    rng = np.random.default_rng(3)
    upright = rng.integers(0, 255, (90, 120, 3), np.uint8)
    cv2.imwrite(str(images / "a b.png"), upright)
    cv2.imwrite(str(images / "o\u0308.png"), rng.integers(0, 255, (300, 200, 3), np.uint8))
    data = cv2.imencode(".jpg", np.rot90(upright))[1].tobytes()  # lies on its side, and its tag says so
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    (images / "phone.jpg").write_bytes(data[:2] + b"\xff\xe1" + len(exif + b"12").to_bytes(2) + exif + data[2:])
    boxes = tmp_path / "boxes é.json"
    boxes.write_text(
        json.dumps({"a b.png": [5, 5, 60, 60], "\u00f6.png": [9, 200, 99, 290], "phone.jpg": [70, 5, 115, 60]})
    )
    summary = predict(checkpoint, tmp_path / "out x", images=images, boxes=boxes, intrinsics="130,130,60,45")
    assert (summary.hands, summary.failures) == (3, 0)
    for name, shape in (("a b", (90, 120, 3)), ("o\u0308", (300, 200, 3)), ("phone", (90, 120, 3))):
        overlay = cv2.imdecode(np.fromfile(tmp_path / "out x" / "overlays" / f"{name}.jpg", np.uint8), cv2.IMREAD_COLOR)
        assert overlay is not None and overlay.shape == shape
    found = {row["name"]: row for row in rows(tmp_path / "out x" / "predictions.jsonl")}
    assert set(found) == {"a b.png", "o\u0308.png", "phone.jpg"}
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    turned = np.ascontiguousarray(np.rot90(picture, -1)[..., ::-1])
    alone = Predictor(checkpoint)(np.asarray(turned, np.uint8), np.array([70.0, 5.0, 115.0, 60.0]))
    assert np.array(found["phone.jpg"]["joints_2d_px"]) == pytest.approx(alone.joints_2d, abs=0.01)


def test_frames_of_another_size_are_not_tracked_into(checkpoint: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(4)
    for n, shape in enumerate([(90, 120, 3), (90, 120, 3), (180, 240, 3)]):
        cv2.imwrite(str(images / f"{n}.png"), rng.integers(0, 255, shape, np.uint8))
    predict(checkpoint, tmp_path / "out", images=images, sequence=True, meshes="none")
    assert rows(tmp_path / "out" / "predictions.jsonl")[2]["box_from"] == "whole picture"


def test_benchmark_stays_on_the_gpu_that_is_asked_for(checkpoint: Path, monkeypatch) -> None:
    ready, asked = load_checkpoint(checkpoint).for_inference(), []
    rand = torch.rand
    monkeypatch.setattr(torch, "rand", lambda *size, device: rand(*size))  # there is no such GPU here
    monkeypatch.setattr(latency, "Predictor", lambda network, **options: asked.append(options["device"]))
    latency.stages(ready, torch.device("cuda", 1), "float32", np.zeros(latency.PICTURE, np.uint8))
    assert asked == ["cuda:1"]


def test_mano_parameters_of_a_run(checkpoint: Path, folder: Path, tmp_path: Path, caplog) -> None:
    """Rows and mano.npz say the same hands; without the hand rows have null and a line says so."""
    boxes = tmp_path / "boxes.json"
    places = {"a.jpg": [{"box": [10, 10, 80, 80]}, {"box": [30, 5, 110, 85], "side": "left"}], "b.png": [5, 5, 90, 80]}
    boxes.write_text(json.dumps(places | {"c.png": []}))
    options = {"images": folder, "boxes": boxes, "meshes": "none"}
    predict(checkpoint, tmp_path / "out", **options, mano="standin", intrinsics="130,130,60,45")
    found = rows(tmp_path / "out" / "predictions.jsonl")
    with np.load(tmp_path / "out" / "mano.npz") as arrays:
        assert arrays["name"].tolist() == ["a.jpg", "a.jpg", "b.png"] and arrays["side"].tolist()[:2] == [
            "right",
            "left",
        ]
        for name, row in (("mano_pose", "mano_pose"), ("mano_shape", "mano_shape"), ("error", "mano_error_m")):
            assert arrays[name] == pytest.approx(np.array([each[row] for each in found]))
        assert arrays["reliable"].tolist() == [each["reliable"] for each in found]
        assert arrays["root_from"].tolist() == [each["root_from"] or "" for each in found]
        roots = np.array([each["root"] or (0, 0, 0) for each in found])
        assert arrays["wrist"] == pytest.approx(np.array([each["mano_wrist_m"] for each in found]) + roots)
        assert arrays["mano_pose"].shape == (3, 48) and arrays["mano_shape"].shape == (3, 10)
    with caplog.at_level("INFO"):
        predict(checkpoint, tmp_path / "out", **options)
    assert "no MANO parameters are written: they need --mano" in caplog.text
    assert all(row["mano_pose"] is None for row in rows(tmp_path / "out" / "predictions.jsonl"))
    assert not (tmp_path / "out" / "mano.npz").exists()  # of the earlier run


@pytest.mark.parametrize("place", ["MANO_DIR", "--mano"])
def test_a_network_of_another_hand_says_so_in_one_line(place, checkpoint, folder, golden, tmp_path, caplog) -> None:
    mano = golden / "labels" / "mano"
    words = ("predict", "--checkpoint", checkpoint, "--images", folder, "--out", tmp_path / "out", "--meshes", "none")
    done = h2o(*words, "--mano", mano) if place == "--mano" else h2o(*words, MANO_DIR=mano)
    assert done.code == 1  # the broken picture
    said = [record.getMessage() for record in caplog.records if "MANO parameters" in record.getMessage()]
    assert len(said) == 1 and "found other triangles" in said[0] and "standin" in said[0]
    assert all(row["mano_pose"] is None for row in rows(tmp_path / "out" / "predictions.jsonl"))
