"""The file for Rerun, read back by Rerun's own program: it verifies, and holds what the scene holds."""

import importlib.util
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from cli_trees import h2o
from clip_factory import make_clip_store
from h2onet.errors import InputError
from h2onet.hand.mano import load_hand
from h2onet.pipeline.view.command import require_display
from h2onet.pipeline.view.recording import write_recording
from h2onet.pipeline.view.scene import HandSurface, Scene, SceneFrame, SceneHand, SceneObject

RIGHT = "S1/R1/cam0"


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores")
    make_clip_store(folder, load_hand("standin"), {RIGHT: 4})
    return folder


def rerun(*arguments: object) -> str:
    """What Rerun's program prints; asserts that it is content."""
    command = [sys.executable, "-m", "rerun", "rrd", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def rows_by_column(path: Path) -> Counter[str]:
    """How many rows of every entity's component the file has, as "entity component"."""
    rows: Counter[str] = Counter()
    for count, entity, columns in re.findall(
        r"with (\d+) rows .*? - (\S+) - data columns: \[(.*?)\]", rerun("print", path)
    ):
        for column in columns.split():
            rows[f"{entity} {column}"] += int(count)
    return rows


@pytest.mark.parametrize("name", ["labels.zarr", "clips.zarr"])
def test_the_file_verifies_and_holds_every_frame(stores: Path, tmp_path: Path, name: str) -> None:
    pytest.importorskip("rerun", reason="rerun-sdk is not installed: nothing to write or read .rrd files with")
    out = tmp_path / "scene.rrd"
    done = h2o("view", stores / name, "--out", out)
    assert done.code == 0 and "4 frames" in done.out and str(out) in done.out, done
    assert "verified without error" in rerun("verify", out)
    rows = rows_by_column(out)
    for column in (
        "/camera/photo EncodedImage:blob",
        "/camera/joints/right/skeleton LineStrips2D:strips",
        *(f"/camera/joints/right/{state} Points2D:positions" for state in ("seen", "hidden", "unknown")),
        "/by_part/right Mesh3D:vertex_positions",
        "/by_cause/right Mesh3D:vertex_colors",
        "/curves/visible_fraction/thumb Scalars:scalars",
    ):
        assert rows[column] == 4, column
    assert rows["/by_part/right Mesh3D:triangle_indices"] == rows["/by_part/right Mesh3D:vertex_colors"] == 1
    assert rows["/camera Pinhole:image_from_camera"] == (1 if name == "labels.zarr" else 4)
    assert [path.name for path in tmp_path.iterdir()] == ["scene.rrd"]


def test_what_is_gone_is_cleared_and_what_comes_back_is_drawn(tmp_path: Path) -> None:
    """A hand and an object in frames 0 and 2 of 3: one clearing each, and the object's mesh twice."""
    pytest.importorskip("rerun", reason="rerun-sdk is not installed: nothing to write or read .rrd files with")
    points, faces = np.eye(3), np.array([[0, 1, 2]])
    surface = HandSurface(faces, np.array([0, 1, 5], np.uint8))
    joints, seen = np.full((21, 2), np.nan), np.full(21, 255, np.uint8)
    hand = SceneHand("right", joints, seen, surface, points, np.zeros(6, np.uint8))
    box = SceneObject("box", points, faces, np.eye(3, 4))
    frames = [
        SceneFrame(number, None, (0, 0), None, (hand,) * there, (box,) * there, {"a/b": number if there else np.nan})
        for number, there in enumerate((True, False, True))
    ]
    assert write_recording(Scene("three frames", iter(frames), 3), tmp_path / "scene.rrd")[0] == 3
    rows = rows_by_column(tmp_path / "scene.rrd")
    for entity in ("/by_part/right", "/by_cause/right", "/camera/joints/right", "/objects/box"):
        assert rows[f"{entity} Clear:is_recursive"] == 1, entity
    assert rows["/objects/box Mesh3D:vertex_positions"] == rows["/objects/box Transform3D:translation"] == 2
    assert rows["/by_part/right Mesh3D:vertex_positions"] == rows["/curves/a/b Scalars:scalars"] == 2


def test_without_the_extra_one_line_names_it(stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "rerun" else find(name, *more))
    done = h2o("view", stores / "labels.zarr", "--out", tmp_path / "scene.rrd")
    assert done.error == "h2o: h2o view: needs rerun-sdk; run: pip install 'h2onet[view]'"
    with pytest.raises(InputError, match=r"h2onet\[view\]"):
        write_recording(Scene("nothing", iter(()), 0), tmp_path / "scene.rrd")
    assert not list(tmp_path.iterdir())


def test_bad_outputs_are_refused(stores: Path, tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="rerun-sdk is not installed: nothing to write or read .rrd files with")
    assert "ends in .rrd" in h2o("view", stores / "labels.zarr", "--out", tmp_path / "scene.bin").error
    inside = stores / "labels.zarr" / "scene.rrd"
    assert "lies inside the store" in h2o("view", stores / "labels.zarr", "--out", inside).error
    assert not list(tmp_path.iterdir()) and not inside.exists()


def test_the_viewer_is_refused_without_a_display(stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(InputError, match="--spawn: no window can open here"):
        require_display()
    monkeypatch.setenv("DISPLAY", ":0")
    require_display()
    pytest.importorskip("rerun", reason="rerun-sdk is not installed: nothing to write or read .rrd files with")
    monkeypatch.delenv("DISPLAY")
    done = h2o("view", stores / "labels.zarr", "--out", tmp_path / "scene.rrd", "--spawn")
    assert done.code == 2 and "no window can open" in done.error
    assert not list(tmp_path.iterdir())
