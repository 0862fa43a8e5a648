"""Building clips: resuming, killed builds, photos that are missing or damaged, and what is refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import clip_scene
import cv2
import numpy as np
import pytest
from h2onet.data import photos
from h2onet.data.clips import ClipDataset, ClipStore, clip_info, verify
from h2onet.errors import InputError
from h2onet.pipeline.build_clips import build_clips

Scene, KEY, OTHER = clip_scene.Scene, clip_scene.KEY, clip_scene.OTHER


SEVEN = Scene(sequences={KEY: (0, 1, 2, 3), OTHER: (0, 1, 2)})


@pytest.fixture
def labels(tmp_path):
    return clip_scene.write_scene(tmp_path, SEVEN)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    """The same, for tests that only read them."""
    return clip_scene.write_scene(tmp_path_factory.mktemp("made"), SEVEN)


def failures(labels):
    path = labels.parent / "failures.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def bytes_of(path):
    """Pictures and columns of a store; nothing that names a path or a time."""
    files = [*path.glob("sequences/*/*/c/*"), *(p for p in (path / "index").rglob("*") if p.parent.name != "index")]
    return {str(file.relative_to(path)): file.read_bytes() for file in files if file.is_file()}


def test_a_second_run_does_nothing_and_two_workers_give_the_same_bytes(labels, tmp_path):
    first = build_clips(labels, tmp_path / "a.zarr", workers=1)
    assert (first.frames, first.sequences, first.built, first.failures) == (7, 2, 2, 0) and not failures(labels)
    before = bytes_of(tmp_path / "a.zarr")
    again = build_clips(labels, tmp_path / "a.zarr", workers=1)
    assert (again.frames, again.built) == (7, 0)
    build_clips(labels, tmp_path / "b.zarr", workers=2)
    assert before == bytes_of(tmp_path / "a.zarr") == bytes_of(tmp_path / "b.zarr")
    assert not list((tmp_path / "a.zarr").rglob(".tmp-*"))


def test_missing_and_truncated_photos_are_named_and_the_rest_stays(labels, tmp_path):
    folder = tmp_path / "root" / KEY
    whole = (folder / "color_000001.jpg").read_bytes()
    (folder / "color_000001.jpg").write_bytes(whole[: len(whole) // 2])
    missing = (folder / "color_000002.jpg").rename(tmp_path / "elsewhere.jpg")
    (tmp_path / "root" / OTHER / "color_000000.jpg").write_bytes(b"not a photo")
    summary = build_clips(labels, tmp_path / "clips.zarr", workers=1)
    assert (summary.frames, summary.failures) == (4, 3)
    named = {row["file"]: row["reason"] for row in failures(labels)}  # paths below the dataset's root
    assert "truncated JPEG" in named[f"{KEY}/color_000001.jpg"]
    assert "No such file" in named[f"{KEY}/color_000002.jpg"]
    assert "neither JPEG nor PNG" in named[f"{OTHER}/color_000000.jpg"]
    assert ClipStore.open(tmp_path / "clips.zarr").index["frame"].tolist() == [0, 3, 1, 2]
    assert clip_info(tmp_path / "clips.zarr").failures == 3 and verify(tmp_path / "clips.zarr") == []

    (folder / "color_000001.jpg").write_bytes(whole)
    missing.rename(folder / "color_000002.jpg")
    summary = build_clips(labels, tmp_path / "clips.zarr", workers=1)  # repaired photos get their frames back
    assert (summary.frames, summary.built, summary.failures) == (6, 2, 1)
    assert [Path(row["file"]).name for row in failures(labels)] == ["color_000000.jpg"]


@pytest.mark.parametrize("codec", photos.CODECS)
@pytest.mark.parametrize("keep", [0.02, 0.3, 0.95])
def test_no_cut_of_a_jpeg_passes_unnoticed(labels, tmp_path, codec, keep):
    if codec == photos.LOSSLESS and photos.turbojpeg() is None:
        pytest.skip("libturbojpeg or PyTurboJPEG is not installed")
    file = tmp_path / "root" / KEY / "color_000000.jpg"
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep)])
    summary = build_clips(labels, tmp_path / "clips.zarr", workers=1, codec=codec)
    assert (summary.frames, summary.failures) == (6, 1)


def test_a_resized_photo_is_refused(labels, tmp_path):
    file = tmp_path / "root" / KEY / "color_000000.jpg"
    file.write_bytes(cv2.imencode(".jpg", np.zeros((240, 320, 3), np.uint8))[1].tobytes())
    assert build_clips(labels, tmp_path / "clips.zarr", workers=1).failures == 1
    assert [row["reason"] for row in failures(labels)] == [
        "is 320x240 px, its labels are of 640x480: copy the original again"
    ]


def test_truncated_pngs_are_named(tmp_path):
    labels = clip_scene.write_scene(tmp_path, Scene(dataset="ho3d-v2", sequences={"ABF10": (0, 1, 2)}))
    file = tmp_path / "root/train/ABF10/rgb/0001.png"
    file.write_bytes(file.read_bytes()[:-5000])
    damaged = tmp_path / "root/train/ABF10/rgb/0002.png"
    data = bytearray(damaged.read_bytes())
    data[40:60] = bytes(20)
    damaged.write_bytes(data)
    summary = build_clips(labels, tmp_path / "clips.zarr", workers=1)
    assert summary.frames == 1 and [Path(row["file"]).name for row in failures(labels)] == ["0001.png", "0002.png"]


def test_failures_of_other_stores_stay(labels, tmp_path):
    (tmp_path / "failures.jsonl").write_text('{"store": "labels.zarr", "file": "x", "reason": "y"}\n')
    (tmp_path / "root" / KEY / "color_000001.jpg").unlink()
    build_clips(labels, tmp_path / "clips.zarr", workers=1)
    build_clips(labels, tmp_path / "clips.zarr", workers=1)
    assert [row["store"] for row in failures(labels)] == ["labels.zarr", "clips.zarr"]


def test_photos_may_have_moved(labels, tmp_path):
    (tmp_path / "root").rename(tmp_path / "moved")
    with pytest.raises(InputError, match="--root"):
        build_clips(labels, tmp_path / "clips.zarr", workers=1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=f"holds none of the photos.*{KEY}"):
        build_clips(labels, tmp_path / "clips.zarr", workers=1, root=tmp_path / "empty")
    assert not (tmp_path / "clips.zarr").exists()
    build_clips(labels, tmp_path / "clips.zarr", workers=1, root=tmp_path / "moved")
    assert ClipStore.open(tmp_path / "clips.zarr").attrs["root"] == str(tmp_path / "moved")


def test_bad_targets_and_settings_are_refused(untouched, tmp_path):
    with pytest.raises(InputError, match="inside the dataset"):
        build_clips(untouched, untouched.parent / "root" / "clips.zarr", workers=1)
    with pytest.raises(InputError, match="codec"):
        build_clips(untouched, tmp_path / "clips.zarr", workers=1, codec="webp")
    with pytest.raises(InputError, match="labels"):
        build_clips(tmp_path / "no-labels.zarr", tmp_path / "clips.zarr", workers=1)
    with pytest.raises(InputError, match="h2onet-clips"):
        build_clips(untouched, untouched, workers=1)
    assert not (tmp_path / "clips.zarr").exists()


def test_resuming_with_other_labels_or_codec_names_the_difference(untouched, tmp_path):
    build_clips(untouched, tmp_path / "clips.zarr", workers=1, codec=photos.REENCODED)
    other = clip_scene.write_scene(tmp_path / "other", Scene(sequences={KEY: (0, 1, 2, 3)}, seed=5))
    with pytest.raises(InputError, match="labels_sha256"):
        build_clips(other, tmp_path / "clips.zarr", workers=1, codec=photos.REENCODED)
    with pytest.raises(InputError, match="max_scale"):
        build_clips(untouched, tmp_path / "clips.zarr", workers=1, codec=photos.REENCODED, max_scale=1.5)
    summary = build_clips(other, tmp_path / "clips.zarr", workers=1, overwrite=True)
    assert summary.frames == 4


def test_overwrite_discards_nothing_before_the_cluster_answers(untouched, tmp_path):
    build_clips(untouched, tmp_path / "clips.zarr", workers=1)
    before = bytes_of(tmp_path / "clips.zarr")
    for wrong in (
        {"workers": 0},
        {"scheduler": "nonsense://nowhere"},
        {"scheduler": "tcp://127.0.0.1:9", "workers": 2},
    ):
        with pytest.raises(InputError, match=r"--(workers|scheduler)"):
            build_clips(untouched, tmp_path / "clips.zarr", overwrite=True, **wrong)
    assert bytes_of(tmp_path / "clips.zarr") == before


def test_without_libturbojpeg_pictures_are_encoded_again(untouched, tmp_path, monkeypatch):
    monkeypatch.setattr(photos, "turbojpeg", lambda: None)
    build_clips(untouched, tmp_path / "clips.zarr", workers=1)
    assert ClipStore.open(tmp_path / "clips.zarr").attrs["codec"] == photos.REENCODED
    assert len(ClipDataset(tmp_path / "clips.zarr")) == 7
    with pytest.raises(InputError, match="libturbojpeg is missing"):
        build_clips(untouched, tmp_path / "other.zarr", workers=1, codec=photos.LOSSLESS)


def test_a_larger_margin_serves_a_stronger_augmentation(untouched, tmp_path):
    from h2onet.data.loading.augment import Augmentation

    build_clips(untouched, tmp_path / "clips.zarr", workers=1, max_scale=1.5)
    store = ClipStore.open(tmp_path / "clips.zarr")
    assert store.attrs["margin"] == pytest.approx(1.5 * np.sqrt(2))
    assert ClipDataset(tmp_path / "clips.zarr", augment=Augmentation(scale=0.5))[0]["images"].any()


def test_a_build_killed_again_and_again_loses_and_doubles_nothing(tmp_path):
    sequences = {f"20200709-subject-01/20200709_{n:06d}/836212060125": tuple(range(8)) for n in range(12)}
    labels = clip_scene.write_scene(tmp_path, Scene(sequences=sequences))
    build_clips(labels, tmp_path / "whole.zarr", workers=1)
    out = tmp_path / "clips.zarr"
    code = f"from h2onet.pipeline.build_clips import build_clips; build_clips({str(labels)!r}, {str(out)!r}, workers=1)"
    partial = 0
    for _ in range(8):
        done = len(list(out.glob("sequences/*/zarr.json")))
        process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while process.poll() is None and len(list(out.glob("sequences/[0-9]*/zarr.json"))) < done + 4:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        if process.poll() is not None:
            break
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        partial += 1
        if not (out / "index").exists():
            with pytest.raises(InputError, match="interrupted"):
                ClipStore.open(out)
    assert partial >= 2
    summary = build_clips(labels, out, workers=1)
    assert summary.frames == 96 and verify(out) == []
    assert bytes_of(out) == bytes_of(tmp_path / "whole.zarr")
    leftovers = [
        path for path in (*out.iterdir(), *(out / "sequences").iterdir()) if path.name.startswith((".tmp", ".old"))
    ]
    assert not leftovers


def test_a_truncated_sequence_folder_is_built_again(untouched, tmp_path):
    build_clips(untouched, tmp_path / "clips.zarr", workers=1)
    shutil.rmtree(tmp_path / "clips.zarr" / "sequences" / KEY.replace("/", "__"))
    assert build_clips(untouched, tmp_path / "clips.zarr", workers=1).built == 1
    assert verify(tmp_path / "clips.zarr") == []
