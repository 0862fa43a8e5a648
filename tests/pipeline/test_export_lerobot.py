"""A LeRobotDataset v3.0 as its description has it: read back here with pyarrow and PyAV, and by lerobot where it is."""

import json
import os
import subprocess
from pathlib import Path

import clip_scene
import numpy as np
import pytest
from h2onet.data.clips import ClipDataset, ClipStore
from h2onet.hand.camera import project
from h2onet.hand.parts import JOINT_NAMES, LABELS, PARTS
from h2onet.pipeline.build_clips import build_clips
from h2onet.pipeline.export_clips import export_clips
from h2onet.pipeline.exports import lerobot as writer
from h2onet.pipeline.exports.lerobot_stats import count_values, number_stats, picture_stats

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
av = pytest.importorskip("av", reason="av is not installed")
KEY = "observation.images.hand"
CHECK = Path(__file__).resolve().parents[2] / "benchmarks" / "lerobot_reads.py"


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two sequences, the second with gaps in its frame numbers, and one frame without a pose."""
    folder = tmp_path_factory.mktemp("clips")
    frames = {clip_scene.KEY: tuple(range(7)), clip_scene.OTHER: (0, 20, 40, 41)}
    build_clips(clip_scene.write_scene(folder, clip_scene.Scene(sequences=frames)), folder / "c.zarr", workers=1)
    return folder / "c.zarr"


@pytest.fixture(scope="module")
def exported(clips):
    export_clips(clips, "lerobot", clips.parent / "lerobot")
    return clips.parent / "lerobot"


def read(path):
    """The columns of a Parquet file as arrays (rows, ...)."""
    return {name: np.array(column.to_pylist()) for name, column in zip_columns(parquet.read_table(path))}


def zip_columns(table):
    return zip(table.column_names, table.columns, strict=True)


def video_frames(path):
    """Times, s, and pictures (N, H, W, 3) of a video."""
    with av.open(str(path)) as container:
        (stream,) = container.streams.video
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) in (
            ("libdav1d", "yuv420p"),
            ("av1", "yuv420p"),
        )
        assert stream.average_rate == writer.FPS
        shown = [(float(frame.pts * stream.time_base), frame.to_ndarray(format="rgb24")) for frame in
                 container.decode(stream)]  # fmt: skip
    return np.array([time for time, _ in shown]), np.stack([picture for _, picture in shown])


def test_info_says_where_everything_lies_and_what_it_is(exported):
    info = json.loads((exported / "meta" / "info.json").read_text())
    assert info["codebase_version"] == "v3.0" and info["splits"] == {"train": "0:2"}
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"], info["fps"]) == (2, 11, 1, 30)
    assert (exported / info["data_path"].format(chunk_index=0, file_index=0)).is_file()
    assert (exported / info["video_path"].format(video_key=KEY, chunk_index=0, file_index=0)).is_file()
    features = info["features"]
    assert features[KEY]["dtype"] == "video" and features[KEY]["shape"] == [256, 256, 3]
    assert features["occluded"]["names"] == list(LABELS) and features["cause"]["names"] == list(PARTS)
    assert features["joint_visible"]["names"] == list(JOINT_NAMES) and features["hand_visible_area"]["shape"] == [1]
    table = parquet.read_table(exported / "data" / "chunk-000" / "file-000.parquet")
    assert set(table.column_names) == set(features) - {KEY}
    for name, column in zip_columns(table):
        kind, (size,) = column.type, features[name]["shape"]
        value, length = (kind.value_type, kind.list_size) if hasattr(kind, "list_size") else (kind, 1)
        assert (np.dtype(value.to_pandas_dtype()), length) == (np.dtype(features[name]["dtype"]), size), name
    assert (exported / "README.md").read_text().startswith("# Clips: dexycb s0 train")


def test_rows_hold_the_store_and_project_into_the_picture(clips, exported):
    rows, index = read(exported / "data" / "chunk-000" / "file-000.parquet"), ClipStore.open(clips).index
    state = rows["observation.state"].astype(np.float32)
    np.testing.assert_array_equal(state[:, :63].reshape(-1, 21, 3), index["joints"])
    np.testing.assert_array_equal(state[:, 63:111], index["mano_pose"])
    np.testing.assert_array_equal(state[:, 111:], index["root"])
    for name in ("occluded", "cause", "joint_visible", "frame", "dataset_index", "has_pose", "is_left", "labelled"):
        np.testing.assert_array_equal(rows[name], index[name], err_msg=name)
    np.testing.assert_array_equal(rows["hand_visible_area"].astype(np.float32), index["hand_visible_area"])
    for i in range(11):
        seen = project(index["joints"][i].astype(float), rows["intrinsics"][i].reshape(3, 3))
        np.testing.assert_allclose(rows["joints_2d"][i].reshape(21, 2), seen, atol=0.05)
    np.testing.assert_allclose(rows["joints_2d"].reshape(-1, 21, 2) / 256, ClipDataset_joints(clips), atol=1e-4)
    np.testing.assert_array_equal(rows["episode_index"], [0] * 7 + [1] * 4)
    np.testing.assert_array_equal(rows["frame_index"], [*range(7), *range(4)])
    np.testing.assert_allclose(rows["timestamp"], rows["frame_index"] / 30, atol=1e-6)
    np.testing.assert_array_equal(rows["index"], np.arange(11))


def ClipDataset_joints(clips):
    dataset = ClipDataset(clips)
    return np.stack([dataset[i]["joints_2d"] for i in range(len(dataset))])


def test_pictures_stand_where_episodes_say(clips, exported):
    episodes = read(exported / "meta" / "episodes" / "chunk-000" / "file-000.parquet")
    times, shown = video_frames(exported / "videos" / KEY / "chunk-000" / "file-000.mp4")
    np.testing.assert_array_equal(episodes["sequence"], [clip_scene.KEY, clip_scene.OTHER])
    np.testing.assert_array_equal(episodes["length"], [7, 4])
    np.testing.assert_array_equal(episodes["dataset_from_index"], [0, 7])
    np.testing.assert_array_equal(episodes["dataset_to_index"], [7, 11])
    np.testing.assert_allclose(episodes[f"videos/{KEY}/from_timestamp"], [0, 7 / 30])
    np.testing.assert_allclose(episodes[f"videos/{KEY}/to_timestamp"], [7 / 30, 11 / 30])
    assert [list(each) for each in episodes["tasks"]] == [["right hand"]] * 2
    np.testing.assert_allclose(times, np.arange(11) / 30, atol=1e-6)
    dataset = ClipDataset(clips)
    for row, picture in enumerate(shown):
        small = picture.reshape(128, 2, 128, 2, 3).mean(axis=(1, 3)).transpose(2, 0, 1) / 255
        truth = dataset[row]["images"]
        others = [np.abs(dataset[k]["images"] - small).mean() for k in range(11) if k != row]
        assert np.abs(truth - small).mean() < 0.03 < min(others)


def test_statistics_are_those_of_the_known_numbers(clips, exported):
    found = json.loads((exported / "meta" / "stats.json").read_text())
    rows = read(exported / "data" / "chunk-000" / "file-000.parquet")
    assert set(found) == set(rows) | {KEY}
    state = rows["observation.state"].astype(float)
    for name, expected in {
        "min": state.min(axis=0), "max": state.max(axis=0), "mean": state.mean(axis=0), "std": state.std(axis=0),
        "q10": np.quantile(state, 0.1, axis=0), "q99": np.quantile(state, 0.99, axis=0), "count": [11],
    }.items():  # fmt: skip
        np.testing.assert_allclose(found["observation.state"][name], expected, atol=1e-6, err_msg=name)
    assert found["hand_visible_area"]["max"] == [0.0]  # known of no frame, and JSON has no NaN
    assert found["occluded"]["max"] == rows["occluded"].max(axis=0).tolist()
    picture = np.array(found[KEY]["mean"])
    _, shown = video_frames(exported / "videos" / KEY / "chunk-000" / "file-000.mp4")
    assert picture.shape == (3, 1, 1)
    np.testing.assert_allclose(picture.ravel(), shown.mean(axis=(0, 1, 2)) / 255, atol=0.02)
    episodes = read(exported / "meta" / "episodes" / "chunk-000" / "file-000.parquet")
    np.testing.assert_allclose(episodes["stats/observation.state/mean"][1], state[7:].mean(axis=0), atol=1e-6)


def test_unknown_numbers_do_not_count():
    values = np.array([[1.0, 255, np.nan], [3.0, 1, np.nan], [2.0, 0, np.nan]])
    found = number_stats(values, unknown=255)
    assert found["max"] == [3.0, 1.0, 0.0] and found["mean"] == [2.0, 0.5, 0.0] and found["q50"] == [2.0, 0.5, 0.0]
    rng = np.random.default_rng(0)
    picture = rng.integers(3, 200, (40, 30, 3)).astype(np.uint8)
    found = picture_stats(count_values(picture), 1)
    flat = picture.reshape(-1, 3) / 255
    for name, expected in {"min": flat.min(0), "max": flat.max(0), "mean": flat.mean(0), "std": flat.std(0),
                           "q90": np.quantile(flat, 0.9, axis=0, method="inverted_cdf")}.items():  # fmt: skip
        np.testing.assert_allclose(np.ravel(found[name]), expected, atol=1e-9, err_msg=name)


def test_large_datasets_go_on_in_further_files(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "DATA_MB", 0)
    monkeypatch.setattr(writer, "VIDEO_MB", 0)
    monkeypatch.setattr(writer, "CHUNK", 1)
    export_clips(clips, "lerobot", tmp_path / "out")
    episodes = read(tmp_path / "out" / "meta" / "episodes" / "chunk-000" / "file-000.parquet")
    for kind, folder, suffix in (("data", "data", "parquet"), (f"videos/{KEY}", f"videos/{KEY}", "mp4")):
        np.testing.assert_array_equal(episodes[f"{kind}/chunk_index"], [0, 1])
        files = sorted((tmp_path / "out" / folder).rglob(f"*.{suffix}"))
        assert [file.relative_to(tmp_path / "out" / folder).as_posix() for file in files] == [
            f"chunk-00{k}/file-000.{suffix}" for k in (0, 1)
        ]
    np.testing.assert_allclose(episodes[f"videos/{KEY}/from_timestamp"], [0, 0])
    second = read(tmp_path / "out" / "data" / "chunk-001" / "file-000.parquet")
    np.testing.assert_array_equal(second["index"], [7, 8, 9, 10])
    assert len(video_frames(tmp_path / "out" / "videos" / KEY / "chunk-001" / "file-000.mp4")[0]) == 4


def test_tasks_have_their_text_as_the_index_that_pandas_reads(exported):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    tasks = pandas.read_parquet(exported / "meta" / "tasks.parquet")
    assert tasks.index.tolist() == ["right hand"] and tasks["task_index"].tolist() == [0]


def test_lerobot_itself_reads_it(exported):
    python = os.environ.get("LEROBOT_PYTHON")
    if not python:
        pytest.skip("LEROBOT_PYTHON names no Python that has lerobot (benchmarks/lerobot_reads.py)")
    done = subprocess.run([python, CHECK, exported], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert "11 frames in 2 episodes" in done.stdout
