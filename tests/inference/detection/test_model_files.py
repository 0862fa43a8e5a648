"""The models' file: what is taken, and one line for everything else, before an engine sees a byte of it."""

import hashlib
import zipfile
from pathlib import Path

import pytest
from h2onet.errors import InputError
from h2onet.inference.detection import model_files
from h2onet.inference.detection.model_files import LANDMARKS, LARGEST_ARCHIVE, PALM, read_models

FULL, LITE, HAND = b"full" * 100, b"lite" * 100, b"hand" * 100


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if these bytes were the published models."""
    named = (
        (FULL, PALM, "palm_detection_full.tflite"),
        (LITE, PALM, "palm_detection_lite.tflite"),
        (HAND, LANDMARKS, "hand_landmark_full.tflite"),
    )
    known = {hashlib.sha256(data).hexdigest(): (kind, name) for data, kind, name in named}
    monkeypatch.setattr(model_files, "KNOWN", known)


def make_archive(path: Path, members: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.mark.usefixtures("published")
def test_task_file_wheel_and_folders_give_the_same(tmp_path: Path) -> None:
    task = make_archive(tmp_path / "a.task", {"palm_detection_full.tflite": FULL, "hand_landmark_full.tflite": HAND})
    inside = {f"mediapipe/{name}/{name}_full.tflite": data for name, data in BOTH.items()}
    wheel = make_archive(tmp_path / "a.whl", {**inside, "mediapipe/__init__.py": b"", "x/palm.tflite": b"?"})
    flat, deep = tmp_path / "flat", tmp_path / "deep"
    for name, data in BOTH.items():
        for folder in (flat, deep / name):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}_full.tflite").write_bytes(data)
    (flat / "palm_detection_lite.tflite").write_bytes(LITE)  # the full one is preferred
    found = [read_models(path) for path in (task, wheel, flat, deep)]
    assert all(one == found[0] for one in found)
    assert (found[0].palm, found[0].landmarks) == (FULL, HAND)
    assert found[0].names == ("palm_detection_full.tflite", "hand_landmark_full.tflite")


BOTH = {"palm_detection": FULL, "hand_landmark": HAND}


def refused(path: Path) -> str:
    with pytest.raises(InputError) as error:
        read_models(path)
    text = str(error.value)
    assert text.startswith(f"--detector {path}: ") and "\n" not in text and "mediapipe==0.10.21" in text
    return text


@pytest.mark.usefixtures("published")
def test_what_is_no_detector_is_one_line(tmp_path: Path) -> None:
    good = {"palm_detection_full.tflite": FULL, "hand_landmark_full.tflite": HAND}
    whole = make_archive(tmp_path / "a.task", good).read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.task").write_bytes(whole[:length])
        assert "no whole .task" in refused(tmp_path / "cut.task")
    (tmp_path / "stored.task").write_bytes(
        make_archive(tmp_path / "b.task", good, zipfile.ZIP_STORED).read_bytes().replace(b"full", b"fool", 3)
    )
    assert "no whole .task" in refused(tmp_path / "stored.task"), "the checksum tells"
    (tmp_path / "hand_landmark_full.tflite").write_bytes(HAND)
    assert "one model of the two" in refused(tmp_path / "hand_landmark_full.tflite")
    assert "published palm detector" in refused(tmp_path), "a folder with one of the two"
    assert "No such file" in refused(tmp_path / "nowhere.task")
    pose = make_archive(tmp_path / "pose.task", {"pose_detector.tflite": FULL, "pose_landmarks_detector.tflite": HAND})
    assert "published palm detector and hand landmark model" in refused(pose)
    other = make_archive(tmp_path / "other.task", {name: data + b"!" for name, data in good.items()})
    assert "2 unknown or damaged" in refused(other)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "published palm detector" in refused(empty)


def test_files_that_would_inflate_without_end_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "LARGEST_MODEL", 1 << 16)
    bomb = {"hand_detector.tflite": bytes(1 << 22), "hand_landmarks_detector.tflite": bytes(1 << 22)}
    read = []
    digest = hashlib.sha256
    monkeypatch.setattr(model_files.hashlib, "sha256", lambda data: read.append(len(data)) or digest(data))
    assert "2 unknown or damaged" in refused(make_archive(tmp_path / "bomb.task", bomb))
    assert read == [1 << 16, 1 << 16]


def test_archives_beyond_the_bounds_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "a.task").open("wb") as file:
        file.truncate(LARGEST_ARCHIVE + 1)  # takes no room
    assert "at most" in refused(tmp_path / "a.task")
    monkeypatch.setattr(model_files, "MOST_MEMBERS", 3)
    assert "4 members" in refused(make_archive(tmp_path / "b.task", {str(name): b"" for name in range(4)}))
