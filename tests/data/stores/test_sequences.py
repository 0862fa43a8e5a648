"""The sequence store: whole or not there, idempotent, resumable, readable with plain zarr, honest about full disks."""

import json
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from h2onet import durable
from h2onet.data.stores import sequences as store_module
from h2onet.data.stores.records import pack_rows, unpack_rows
from h2onet.data.stores.sequences import SequenceStore
from h2onet.errors import InputError
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

SETTINGS = {"split": "train", "rules": {"h2onet": 1}}


def create(path: Path, settings=SETTINGS, overwrite=False, version=1) -> SequenceStore:
    return SequenceStore.create(path, settings, overwrite, schema="test", version=version)


def rows(frames: int, start: int = 0) -> dict[str, np.ndarray]:
    return {
        "frame": np.arange(start, start + frames, dtype=np.int32),
        "pose": np.random.default_rng(start).normal(size=(frames, 4, 3)).astype(np.float32),
        "seen": np.zeros((frames, 7), np.uint8),
        "flag": np.ones(frames, bool),
    }


@pytest.fixture
def store(tmp_path):
    store = create(tmp_path / "s.zarr")
    yield store
    store.close()


_kinds = st.sampled_from(["u1", "?", "<i4", "<i8", "<f4", "<f8"])


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 5))
def test_packing_loses_nothing(data, frames):
    shapes = data.draw(st.lists(st.lists(st.integers(1, 3), max_size=2), min_size=1, max_size=4))
    columns = {f"c{i}": data.draw(arrays(data.draw(_kinds), (frames, *shape))) for i, shape in enumerate(shapes)}
    packed, fields = pack_rows(columns)
    back = unpack_rows(packed, json.loads(json.dumps(fields)))
    assert list(back) == list(columns)
    for name, values in columns.items():
        assert back[name].dtype == values.dtype and back[name].tobytes() == np.ascontiguousarray(values).tobytes()


def test_what_goes_in_comes_out(store):
    assert store.commit("A/B/C", rows(5), {"note": "x"}, {"jpeg": np.zeros(9, np.uint8)})
    back, attrs = store.read("A/B/C")
    for name, values in rows(5).items():
        np.testing.assert_array_equal(back[name], values)
    assert (attrs["key"], attrs["n_frames"], attrs["note"], attrs["state"]) == ("A/B/C", 5, "x", "complete")
    assert set(store.finished()) == {"A/B/C"}
    # An all-zero chunk has a file, too: pictures are read from it by position.
    assert (store.path / "sequences/A__B__C/jpeg/c/0").read_bytes() == bytes(9)
    store.verify("A/B/C")


def test_plain_zarr_reads_everything(store):
    store.commit("ABF10", rows(3), {}, {"jpeg": np.arange(7, dtype=np.uint8)})
    store.write_index([rows(3)], {"sequences": ["ABF10"]})
    group: Any = zarr.open_group(store.path, mode="r")
    assert group.metadata.zarr_format == 3 and group.attrs["schema"] == "test"
    sequence = group["sequences/ABF10"]
    assert np.asarray(sequence["jpeg"][:]).tolist() == list(range(7))
    record = np.dtype([(name, kind, tuple(shape)) for name, kind, shape in sequence.attrs["fields"]])
    np.testing.assert_array_equal(np.asarray(sequence["rows"][:]).view(record)["pose"], rows(3)["pose"])
    np.testing.assert_array_equal(group["index/pose"][:], rows(3)["pose"])


def test_few_files(store):
    store.commit("ABF10", rows(3), {})
    assert sum(path.is_file() for path in (store.path / "sequences" / "ABF10").rglob("*")) == 3


def test_a_second_attempt_changes_nothing(store):
    assert store.commit("k", rows(3), {})
    assert not store.commit("k", rows(2, start=9), {})
    assert store.read("k")[1]["n_frames"] == 3
    assert [p.name for p in (store.path / "sequences").iterdir() if p.is_dir()] == ["k"]


def test_empty_sequences_are_finished_too(store):
    assert store.commit("k", rows(0), {"skipped": 4})
    assert store.read("k")[0]["pose"].shape == (0, 4, 3) and set(store.finished()) == {"k"}


def test_the_index_is_blocks_in_order_and_replaces_the_old_one(store):
    with pytest.raises(InputError, match="has no index"):
        _ = store.index
    store.write_index([rows(3)], {})
    store.write_index((rows(n, start=10 * n) for n in (2, 0, 3)), {"split": "train"})
    assert store.index["frame"].tolist() == [20, 21, 30, 31, 32] and store.index.attrs["frames"] == 5
    assert sorted(path.name for path in store.path.iterdir()) == [".lock", "index", "sequences", "zarr.json"]


def test_a_chunk_that_a_copy_left_out_is_not_read_as_zeros(store):
    store.write_index([rows(3)], {})
    assert not store.index["seen"].any()
    (chunk,) = [path for path in (store.path / "index" / "seen" / "c").rglob("*") if path.is_file()]
    chunk.unlink()
    with pytest.raises(InputError, match=r"index/seen: 1 of 1 chunks are missing"):
        _ = store.index["seen"]
    assert store.index["frame"].tolist() == [0, 1, 2]


def test_resuming_keeps_and_sweeps(tmp_path):
    first = create(tmp_path / "s.zarr")
    first.commit("k", rows(3), {})
    (first.path / "sequences" / f".tmp-x-{'0' * 32}").mkdir()
    (first.path / f".tmp-index-{'1' * 32}").mkdir()
    (first.path / ".tmp-mine").mkdir()  # not made here
    first.close()
    again = create(tmp_path / "s.zarr", json.loads(json.dumps(SETTINGS)))
    assert set(again.finished()) == {"k"}
    assert [path.name for path in again.path.rglob(".tmp-*")] == [".tmp-mine"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({**SETTINGS, "split": "test"}, "split='train', now split='test'"),
        ({**SETTINGS, "limit": 5}, "limit=None, now limit=5"),
        ({"split": "train"}, "rules={'h2onet': 1}, now rules=None"),
    ],
)
def test_other_settings_are_refused_by_name(store, settings, message):
    store.close()
    with pytest.raises(InputError) as caught:
        create(store.path, settings)
    assert message in str(caught.value) and "--overwrite" in str(caught.value)


def test_overwrite_starts_anew_but_never_removes_a_strangers_folder(tmp_path, store):
    store.commit("k", rows(1), {})
    store.close()
    assert create(store.path, {"split": "other"}, overwrite=True).finished() == {}
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="is no Zarr store"):
        create(tmp_path / "photos", overwrite=True)
    zarr.open_group(tmp_path / "other.zarr", mode="w").attrs["schema"] = "mine"
    with pytest.raises(InputError, match="schema is 'mine'"):
        create(tmp_path / "other.zarr", overwrite=True)
    assert (tmp_path / "photos" / "holiday.jpg").exists() and not list(tmp_path.glob(".old-*"))


def test_workers_of_a_stopped_run_write_nothing_into_the_store_that_took_its_place(store, monkeypatch):
    monkeypatch.setattr(store_module, "PATIENCE_S", 0.2)
    straggler = SequenceStore(store.path, store.token)
    assert straggler.commit("mine", rows(1), {})
    store.close()
    other = create(store.path, {"split": "other"}, overwrite=True)
    with pytest.raises(InputError, match="not the store of this run"):
        straggler.commit("k", rows(3), {})
    assert other.finished() == {}
    other.close()
    shutil.rmtree(store.path)
    with pytest.raises(InputError, match="not the store of this run"):
        straggler.commit("k", rows(3), {})
    assert not store.path.exists()


def test_what_other_machines_did_may_be_seen_late(store, monkeypatch):
    monkeypatch.setattr(store_module, "PATIENCE_S", 20)
    store.commit("A/B", rows(1), {})
    store.await_finished(["A/B"])
    late = threading.Timer(0.5, store.commit, ("late", rows(1), {}))
    late.start()
    store.await_finished(["A/B", "late"])
    late.join()
    monkeypatch.setattr(store_module, "PATIENCE_S", 0.2)
    with pytest.raises(InputError, match=r"2 sequences that were finished are not here, for example X/Y;"):
        store.await_finished(["A/B", "Z", "X/Y"])


def test_a_swept_attempt_never_passes_for_whole(store):
    target = store.path / "sequences" / "k"
    with pytest.raises(InputError, match="another run removed"), durable.building(target) as temporary:
        (temporary / "rows").mkdir()
        assert SequenceStore(store.path).sweep() == 1 and not temporary.exists()
        (temporary / "jpeg").mkdir(parents=True)  # as Zarr does when it writes the next array
        durable.publish(temporary, target)
    assert list((store.path / "sequences").glob("*k*")) == [] and store.commit("k", rows(2), {})


def test_what_a_killed_overwrite_left_beside_the_store_goes(tmp_path):
    name = "s.zarr"
    gone = [f".old-{name}-{'0' * 32}", f".old-{name}-{'a' * 32}"]
    stay = [f".old-{name}-2-{'0' * 32}", f".old-my{name}-{'0' * 32}", f".tmp-{name}-{'1' * 32}", "photos"]
    for folder in (*gone, *stay):
        (tmp_path / folder / "deep").mkdir(parents=True)
    create(tmp_path / name).close()
    assert {path.name for path in tmp_path.iterdir()} == {*stay, name}


def test_of_two_runs_that_make_a_store_at_once_the_slower_resumes_or_is_refused(tmp_path, monkeypatch):
    publish, path = durable.publish, tmp_path / "s.zarr"

    def slower(temporary, target):
        monkeypatch.setattr(durable, "publish", publish)
        create(path, {"split": "theirs"}).close()
        return publish(temporary, target)

    monkeypatch.setattr(durable, "publish", slower)
    with pytest.raises(InputError, match="split='theirs', now split='train'"):
        create(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.zarr"]


@pytest.mark.parametrize(
    ("version", "advice"), [(0, "newer than this program's 0"), (2, "older than this program's 2")]
)
def test_other_versions_are_refused_by_name(store, version, advice):
    with pytest.raises(InputError, match=advice):
        SequenceStore.open(store.path, schema="test", version=version)


def test_a_second_writer_is_refused(store):
    with pytest.raises(InputError, match="another run is writing"):
        create(store.path)
    store.close()
    create(store.path).close()


def test_damage_is_named(store):
    store.commit("k", rows(3), {})
    chunk = store.path / "sequences" / "k" / "rows" / "c" / "0"
    content = bytearray(chunk.read_bytes())
    content[5] ^= 1
    chunk.write_bytes(bytes(content))
    with pytest.raises(InputError, match="rows are damaged"):
        store.read("k")
    chunk.unlink()  # Zarr itself would read zeros here
    with pytest.raises(InputError, match=r"rows are damaged \(0 bytes\)"):
        store.read("k")
    store.commit("with", rows(3), {}, {"jpeg": np.zeros(9, np.uint8)})
    picture = store.path / "sequences" / "with" / "jpeg" / "c" / "0"
    picture.write_bytes(b"\1" + bytes(8))
    with pytest.raises(InputError, match="checksum differs"):
        store.verify("with")
    with pytest.raises(InputError, match="'nowhere' is not finished"):
        store.read("nowhere")
    store.discard("k")
    assert set(store.finished()) == {"with"} and store.commit("k", rows(3), {})


_WRITER = """
    import sys, numpy as np
    from h2onet.data.stores.sequences import SequenceStore
    store = SequenceStore(sys.argv[1])
    i = 0
    while True:
        store.commit(f"k{i % 40}", {"x": np.full((2000, 50), i % 40)}, {}, {"jpeg": np.full(300_000, i % 40, np.uint8)})
        store.discard(f"k{i % 40}") if i % 3 == 0 else None
        i += 1
        print("go", flush=True) if i == 2 else None
"""


def test_killed_at_any_moment_only_whole_sequences_are_there(store):
    for delay in (0.05, 0.11, 0.19):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(_WRITER), str(store.path)], stdout=subprocess.PIPE
        )
        assert process.stdout and process.stdout.readline() == b"go\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for key in store.finished():
            store.verify(key)
            assert (store.read(key)[0]["x"] == int(key[1:])).all()
    assert store.finished()
    store.sweep()
    assert all(not path.name.startswith(".") for path in (store.path / "sequences").iterdir())


_FULL = """
    import resource, sys, numpy as np
    from h2onet.durable import DiskFull
    from h2onet.data.stores.sequences import SequenceStore
    store = SequenceStore(sys.argv[1])
    store.commit("small", {"x": np.zeros((3, 2))}, {})
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    for write in (lambda: store.commit("large", {"x": np.zeros((9000, 9))}, {}),
                  lambda: store.write_index([{"x": np.random.default_rng(0).normal(size=(9000, 9))}], {})):
        try:
            write()
        except DiskFull as error:
            print(error)
"""


def test_a_full_disk_leaves_nothing_half_written(store):
    run = [sys.executable, "-c", textwrap.dedent(_FULL), str(store.path)]
    result = subprocess.run(run, capture_output=True, text=True, check=True)
    lines = result.stdout.splitlines()
    assert len(lines) == 2 and all("what was finished is kept" in line for line in lines), result
    assert "sequences/large" in lines[0] and "index" in lines[1]
    assert set(store.finished()) == {"small"} and not store.has_index
    assert not list(store.path.rglob(".tmp-*"))
