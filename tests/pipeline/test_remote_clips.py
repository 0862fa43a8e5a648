"""Clips on an object store: only finished attempts count, killed and second attempts are invisible."""

import json
import os
import threading
from pathlib import Path

import clip_scene
import fsspec
import numpy as np
import pytest
from h2onet.data.clips import ClipDataset, ClipStore, clip_info, contact_sheet, verify, window_of
from h2onet.data.loading.augment import Augmentation
from h2onet.data.loading.batches import loader
from h2onet.data.stores.remote import RemoteStore
from h2onet.errors import InputError
from h2onet.pipeline.build_clips import build_clips

Scene, KEY, OTHER = clip_scene.Scene, clip_scene.KEY, clip_scene.OTHER
TRAIN = {"frames": window_of("dexycb", train=True), "augment": Augmentation()}


@pytest.fixture(scope="module")
def s3():
    """A local S3 server; the clients find it through the environment, as they find a real one."""
    server_module = pytest.importorskip("moto.server", reason="moto is not installed: no local S3 server to test with")
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    fsspec.filesystem("s3").mkdir("clips-bucket")
    yield "s3://clips-bucket"
    server.stop()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


@pytest.fixture(params=["memory", "s3"])
def url(request, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    base = request.getfixturevalue("s3") if request.param == "s3" else "memory://clips-bucket"
    return f"{base}/{tmp_path.name}/clips.zarr"


@pytest.fixture
def labels(tmp_path):
    return clip_scene.write_scene(tmp_path, Scene(sequences={KEY: tuple(range(12)), OTHER: (0, 1, 2)}))


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name], equal_nan=True) for name in a)


def test_a_remote_store_gives_the_same_items(labels, url, tmp_path):
    build_clips(labels, tmp_path / "local.zarr", workers=1)
    summary = build_clips(labels, url, workers=1)
    assert (summary.frames, summary.built, summary.failures) == (15, 2, 0)
    local, remote = ClipDataset(tmp_path / "local.zarr", **TRAIN), ClipDataset(url, **TRAIN)
    assert all(same(local[i], remote[i]) for i in range(15))
    assert verify(url) == [] and clip_info(url).frames == 15 and clip_info(url).total_bytes > 15 * 5000
    assert contact_sheet(url, tmp_path / "sheet.png", windows=2).stat().st_size > 10_000
    assert not list(tmp_path.glob("*:*"))  # nothing took the URL for a path


class Meeting(ClipDataset):
    """Four samples of a batch are on their way at the same time, or none."""

    barrier = threading.Barrier(4)

    def _images(self, sample):
        self.barrier.wait(timeout=60)
        return super()._images(sample)


def test_the_samples_of_a_batch_are_fetched_together_where_connections_allow_it(labels, url):
    build_clips(labels, url, workers=1)
    dataset = ClipDataset(url, **TRAIN)
    items = [dataset[i] for i in range(12)]
    clients = type(fsspec.filesystem(url.partition("://")[0]))._cache
    connected = set(clients)
    together = (Meeting if url.startswith("s3:") else ClipDataset)(url, **TRAIN)
    assert all(map(same, items, together.__getitems__(range(12)))) and set(clients) == connected


def test_workers_read_it_under_fork_and_spawn(labels, s3, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url = f"{s3}/{tmp_path.name}/clips.zarr"
    build_clips(labels, url, workers=1)
    dataset = ClipDataset(url, **TRAIN)
    expected = [batch["images"] for batch in loader(dataset, 4)]  # the parent has used its client before the fork
    for method in ("fork", "spawn"):
        found = [batch["images"] for batch in loader(dataset, 4, num_workers=2, start_method=method)]
        assert all((a == b).all() for a, b in zip(expected, found, strict=True)), method


def test_only_finished_attempts_count(labels, url):
    build_clips(labels, url, workers=1)
    fs, root = fsspec.filesystem(url.split("://")[0]), url.split("://")[1]
    folder = f"{root}/sequences/{KEY.replace('/', '__')}"
    done = json.loads(fs.cat_file(f"{folder}/_DONE.json"))
    # A task that ran a second time publishes nothing and leaves nothing.
    before = sorted(fs.find(root))
    local = Path(os.environ["XDG_CACHE_HOME"]) / "again"
    (local / "jpeg").mkdir(parents=True)
    (local / "jpeg" / "zarr.json").write_text("{}")
    assert not RemoteStore(url).upload(KEY, local, {"key": KEY})
    fs.invalidate_cache()
    assert sorted(fs.find(root)) == before and json.loads(fs.cat_file(f"{folder}/_DONE.json")) == done
    # An attempt without its _DONE.json does not exist; the next run removes it and does the work.
    fs.rm_file(f"{folder}/_DONE.json")
    assert set(RemoteStore(url).finished()) == {OTHER}
    assert build_clips(labels, url, workers=1).built == 1
    fs.invalidate_cache()
    assert not fs.exists(f"{folder}/{done['attempt']}") and verify(url) == []
    assert build_clips(labels, url, workers=1).built == 0


def test_stragglers_of_a_stopped_run_publish_nothing(labels, url, tmp_path, monkeypatch):
    build_clips(labels, url, workers=1)
    straggler = RemoteStore(url, RemoteStore(url).token)
    (tmp_path / "late" / "jpeg").mkdir(parents=True)
    (tmp_path / "late" / "jpeg" / "zarr.json").write_text("{}")
    other = clip_scene.write_scene(tmp_path / "other", Scene(sequences={KEY: (0, 1)}))
    build_clips(other, url, workers=1, overwrite=True)
    with pytest.raises(InputError, match="made anew"):
        straggler.upload(OTHER, tmp_path / "late", {"key": OTHER})
    # A sweep during an upload: what is left of it does not count.
    current = RemoteStore(url, RemoteStore(url).token)
    check = RemoteStore._check_upload

    def swept(store, parts, sizes):
        store.fs.rm(store._path(*parts), recursive=True)
        check(store, parts, sizes)

    monkeypatch.setattr(RemoteStore, "_check_upload", swept)
    with pytest.raises(InputError, match="lost files"):
        current.upload(OTHER, tmp_path / "late", {"key": OTHER})
    assert set(current.finished()) == {KEY} and verify(url) == []
    assert not [path for path in current.fs.find(url.split("://")[1]) if OTHER.replace("/", "__") in path]


def test_damage_is_found(labels, url):
    build_clips(labels, url, workers=1)
    fs, root = fsspec.filesystem(url.split("://")[0]), url.split("://")[1]
    (chunk,) = [path for path in fs.find(f"{root}/sequences") if OTHER.split("/")[0] in path and "jpeg/c/0" in path]
    data = bytearray(fs.cat_file(chunk))
    data[len(data) // 2] ^= 8
    fs.pipe_file(chunk, bytes(data))
    assert len(verify(url)) == 1 and OTHER in verify(url)[0]
    fs.rm_file(chunk)
    with pytest.raises(InputError, match=OTHER):
        ClipDataset(url)[13]


def test_settings_versions_and_absence_are_refused_by_name(labels, url, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        ClipStore.open(url)
    build_clips(labels, url, workers=1)
    with pytest.raises(InputError, match="max_scale"):
        build_clips(labels, url, workers=1, max_scale=1.5)
    other = clip_scene.write_scene(tmp_path / "other", Scene(sequences={KEY: (0, 1)}))
    assert build_clips(other, url, workers=1, overwrite=True).frames == 2
    assert len(ClipDataset(url)) == 2
    fs, root = fsspec.filesystem(url.split("://")[0]), url.split("://")[1]
    meta = json.loads(fs.cat_file(f"{root}/zarr.json"))
    meta["attributes"]["schema_version"] = 0
    fs.pipe_file(f"{root}/zarr.json", json.dumps(meta).encode())
    with pytest.raises(InputError, match="schema_version is 0, older"):
        ClipStore.open(url)
    with pytest.raises(InputError, match="nosuchthing"):
        build_clips(labels, "nosuchthing://bucket/clips.zarr", workers=1)
