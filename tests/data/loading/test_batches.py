"""Batches: the same bytes with any workers, start method, or after a resume; sharing among ranks; weights."""

import gc
import hashlib
import json
import multiprocessing
import shutil
import threading
import time

import clip_scene
import numpy as np
import pytest
import torch
import zarr
from h2onet.data.clips import ClipDataset, window_of
from h2onet.data.loading import dataset as dataset_module
from h2onet.data.loading.augment import Augmentation
from h2onet.data.loading.batches import epoch_order, loader
from h2onet.data.stores.clips import ClipStore
from h2onet.errors import InputError
from h2onet.pipeline.build_clips import build_clips


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("batches")
    build_clips(clip_scene.write_scene(folder, clip_scene.Scene()), folder / "clips.zarr", workers=1)
    return folder / "clips.zarr"


@pytest.fixture
def dataset(clips):
    return ClipDataset(clips, frames=window_of("dexycb", train=True), augment=Augmentation(), seed=2)


def fingerprint(batch):
    digest = hashlib.sha256()
    for name in sorted(batch):
        tensor = batch[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def two_epochs(dataset, **options):
    batches = loader(dataset, 4, shuffle=True, seed=7, **options)
    return [[fingerprint(batch) for batch in batches] for _ in range(2)]


def test_workers_and_start_methods_change_no_byte(dataset):
    alone = two_epochs(dataset)
    assert len(alone[0]) == 6 and not set(alone[0]) & set(alone[1])
    for method in ("fork", "spawn", "forkserver"):
        assert two_epochs(dataset, num_workers=2, start_method=method) == alone, method


@pytest.fixture
def torch_threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


class Watched(ClipDataset):
    """Notes which threads draw its pictures."""

    makers: tuple[int, ...] = ()

    def _images(self, sample):
        self.makers += (threading.get_ident(),)
        return super()._images(sample)


class Meeting(ClipDataset):
    """The pictures of two samples are drawn at the same time, or none."""

    barrier = threading.Barrier(2)

    def _images(self, sample):
        self.barrier.wait(timeout=60)
        return super()._images(sample)


class Darker(ClipDataset):
    """Someone's own change of every sample."""

    def __getitem__(self, key):
        item = super().__getitem__(key)
        return {**item, "images": item["images"] / 2}


def test_threads_change_no_byte(clips, torch_threads):
    train = {"frames": window_of("dexycb", train=True), "augment": Augmentation(photo=True), "seed": 2}
    torch_threads(1)
    alone = two_epochs(single := Watched(clips, **train))
    assert set(single.makers) == {threading.get_ident()}
    torch_threads(3)
    assert two_epochs(ClipDataset(clips, **train)) == alone
    assert two_epochs(ClipDataset(clips, **train), num_workers=1, start_method="fork") == alone


def test_a_batch_is_made_by_four_threads_at_most_and_keeps_its_order(clips, torch_threads):
    torch_threads(2)
    assert len(Meeting(clips).__getitems__(list(range(8)))) == 8
    torch_threads(16)
    before, many = threading.active_count(), Watched(clips)
    items = many.__getitems__(list(range(15)))
    assert [int(item["frame_index"]) for item in items] == [int(many[i]["frame_index"]) for i in range(15)]
    makers = set(many.makers[:15]) - {threading.get_ident()}
    assert 1 <= len(makers) <= 4 and threading.active_count() == before


def test_a_batch_that_is_broken_off_leaves_the_rest_undone(clips, torch_threads, monkeypatch):
    torch_threads(2)
    drawn, real = [], ClipDataset._images

    def images(self, sample):
        drawn.append(sample.rows[0])
        if sample.rows[0] == 2:
            raise RuntimeError("this one")
        time.sleep(0.02)
        return real(self, sample)

    monkeypatch.setattr(ClipDataset, "_images", images)
    with pytest.raises(RuntimeError, match="this one"):
        ClipDataset(clips).__getitems__(list(range(15)) * 4)
    assert len(drawn) < 10

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    drawn.clear()
    monkeypatch.setattr(dataset_module, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ClipDataset(clips).__getitems__(list(range(3, 15)) * 4)
    assert len(drawn) < 10


def test_a_subclass_makes_its_samples_itself(clips, torch_threads):
    for threads in (1, 4):
        torch_threads(threads)
        plain, own = (next(iter(loader(kind(clips), 4))) for kind in (ClipDataset, Darker))
        assert torch.equal(own["images"], plain["images"] / 2)


def test_what_is_wrong_with_a_picture_is_said_by_any_thread(clips, tmp_path, torch_threads):
    copy = tmp_path / "clips.zarr"
    shutil.copytree(clips, copy)
    for file in copy.glob("sequences/*/jpeg/c/0"):
        file.write_bytes(bytes(file.stat().st_size))
    for threads in (1, 2):
        torch_threads(threads)
        with pytest.raises(InputError, match=r"the stored picture .* see h2o clips verify"):
            next(iter(loader(ClipDataset(copy), 4)))


def test_a_forked_worker_works_after_the_parent_has_read(dataset):
    _ = dataset[3]
    assert two_epochs(dataset, num_workers=1, start_method="fork") == two_epochs(dataset)


@pytest.mark.parametrize(("workers", "stop"), [(0, 0), (0, 1), (0, 6), (0, 8), (2, 5)])
def test_resuming_goes_on_with_the_next_batch(dataset, workers, stop):
    whole = [digest for epoch in two_epochs(dataset) for digest in epoch]
    first = loader(dataset, 4, shuffle=True, seed=7, num_workers=workers)
    seen, state = [], first.state_dict()
    epochs = iter(first)
    while len(seen) < stop:
        batch = next(epochs, None)
        if batch is None:
            epochs = iter(first)
            continue
        seen.append(fingerprint(batch))
        state = json.loads(json.dumps(first.state_dict()))  # taken while the batch is being worked on
    second = loader(dataset, 4, shuffle=True, seed=7, num_workers=workers)
    second.load_state_dict(state)
    while len(seen) < 12:
        seen += [fingerprint(batch) for batch in second]
    assert seen == whole


def test_a_closed_loader_has_no_process_and_can_be_read_again(dataset):
    before = set(multiprocessing.active_children())
    batches = loader(dataset, 4, num_workers=2, seed=1)
    first = next(iter(batches))
    mine = set(multiprocessing.active_children()) - before
    assert len(mine) == 2
    batches.close()
    assert not any(process.is_alive() for process in mine)
    batches.close()
    again = next(iter(batches))
    assert all(torch.equal(first[name], again[name]) for name in first)
    batches.close()


def test_a_loader_that_is_dropped_ends_its_processes_at_once(dataset):
    """Left to the garbage collector, they would stay until then, and torch would wait 5 s for each of them."""
    before = set(multiprocessing.active_children())
    batches = loader(dataset, 4, num_workers=2, seed=1)
    epoch = iter(batches)
    next(epoch)
    mine = set(multiprocessing.active_children()) - before
    assert len(mine) == 2
    gc.disable()
    try:
        del batches, epoch
        assert {process.exitcode for process in mine} == {0}  # ended by themselves: not waited for, then killed
    finally:
        gc.enable()


def test_a_resume_with_other_settings_names_the_difference(dataset):
    state = loader(dataset, 4, shuffle=True).state_dict()
    with pytest.raises(InputError, match="batch_size=4, now batch_size=3"):
        loader(dataset, 3, shuffle=True).load_state_dict(state)


def test_an_iteration_broken_off_starts_its_epoch_again(dataset):
    batches = loader(dataset, 4, shuffle=True)
    first = fingerprint(next(iter(batches)))
    assert fingerprint(next(iter(batches))) == first
    batches.set_epoch(1)
    assert fingerprint(next(iter(batches))) != first


def test_order_and_shapes_without_shuffling(dataset):
    batches = list(loader(dataset, 8))
    assert [len(batch["store"]) for batch in batches] == [8, 8, 5]
    assert torch.cat([batch["frame_index"][:, 0] for batch in batches]).tolist() == list(range(21))
    assert batches[0]["images"].shape == (8, 3, 3, 128, 128) and batches[0]["is_left"].dtype == torch.bool
    assert len(list(loader(dataset, 8, drop_last=True))) == 2 and loader(dataset, 8).batch_size == 8


@pytest.mark.parametrize("drop_last", [False, True])
def test_ranks_share_an_epoch_without_overlap(dataset, drop_last):
    loaders = [loader(dataset, 2, shuffle=True, drop_last=drop_last, rank=rank, world=3) for rank in range(3)]
    seen = [[key for batch in each.samples(0) for key in batch] for each in loaders]
    assert [len(each) for each in loaders] == [sum(1 for _ in each.samples(0)) for each in loaders]
    everything = [key for keys in seen for key in keys]
    assert len(set(everything)) == len(everything) == (18 if drop_last else 21)
    assert len({len(each) for each in loaders}) == 1 or not drop_last


def test_weights_are_shares_of_an_epoch(clips):
    dataset = ClipDataset([clips, clips], augment=Augmentation(), weights=[3, 1])
    order = epoch_order(dataset, seed=0, epoch=0, shuffle=True)
    assert len(order) == 42
    first = order[order[:, 0] < 21]
    assert abs(len(first) - 31.5) <= 0.5
    counts = np.bincount(first[:, 0], minlength=21)
    assert counts.min() == 1 and counts.max() == 2  # everyone once before anyone twice
    assert len(np.unique(order, axis=0)) == 42  # a repeated sample is another draw
    again = order[order[:, 1] == 1]
    index = int(again[0, 0])
    assert not np.array_equal(dataset[(0, index, 0)]["images"], dataset[(0, index, 1)]["images"])
    assert len(epoch_order(ClipDataset([clips, clips], weights=[0, 1]), 0, 0, False)) == 42


def relabel(clips, out, hidden):
    """A copy of the clips whose frames with these numbers have their thumb hidden, and nothing else."""
    shutil.copytree(clips, out)
    store = ClipStore.open(out)
    occluded = store.index["occluded"].copy()
    occluded[:, :5] = 0
    occluded[np.isin(store.index["frame"], hidden), 0] = 1
    zarr.open_array(str(out / "index" / "occluded"), mode="r+")[:] = occluded
    return out


@pytest.fixture(scope="module")
def hiding(clips, tmp_path_factory):
    return relabel(clips, tmp_path_factory.mktemp("hidden") / "clips.zarr", (6, 7))


def hidden_sampling(path, **options):
    return ClipDataset(
        path, frames=window_of("dexycb", train=True), augment=Augmentation(), sampling="hidden", **options
    )


def test_frames_with_something_to_tell_are_drawn_in_proportion(hiding):
    dataset = hidden_sampling(hiding)
    (often,) = dataset.drawn()
    told = np.isin(ClipStore.open(hiding).index["frame"], (6, 7))
    assert often.tolist() == np.where(told, 2, 1).tolist() and told.sum() == 4
    share = len(often) * often / often.sum()
    orders = [epoch_order(dataset, 0, epoch, True) for epoch in range(60)]
    times = np.array([np.bincount(order[:, 0], minlength=len(often)) for order in orders])
    assert {len(order) for order in orders} == {21}  # an epoch is as long as before
    assert (times >= np.floor(share)).all() and (times <= np.ceil(share)).all()
    np.testing.assert_allclose(times.mean(0), share, atol=0.2)
    assert all(len(np.unique(order, axis=0)) == 21 for order in orders)  # a repeated sample is another draw
    assert not np.array_equal(orders[0], orders[1])
    np.testing.assert_array_equal(orders[3], epoch_order(hidden_sampling(hiding), 0, 3, True))


def test_sampling_by_what_is_hidden_keeps_the_stores_shares(clips, hiding):
    order = epoch_order(hidden_sampling([clips, hiding], weights=[1, 2]), 0, 0, True)
    assert len(order) == 42 and (order[:, 0] >= 21).sum() == 28
    assert len(np.unique(order, axis=0)) == 42


def test_sampling_by_what_is_hidden_is_resumed_and_shared(hiding):
    dataset = hidden_sampling(hiding)
    whole = two_epochs(dataset)
    assert two_epochs(dataset, num_workers=2, start_method="spawn") == whole
    first = loader(dataset, 4, shuffle=True, seed=7)
    epochs = iter(first)
    seen = [fingerprint(next(epochs)) for _ in range(3)]
    state = json.loads(json.dumps(first.state_dict()))
    second = loader(dataset, 4, shuffle=True, seed=7)
    second.load_state_dict(state)
    assert seen + [fingerprint(batch) for batch in second] == whole[0]
    with pytest.raises(InputError, match="sampling=hidden, now sampling=None"):
        loader(ClipDataset(hiding, seed=0), 4, shuffle=True, seed=7).load_state_dict(state)
    shares = [loader(dataset, 2, shuffle=True, rank=rank, world=2) for rank in range(2)]
    keys = [tuple(key) for each in shares for batch in each.samples(0) for key in batch]
    assert sorted(keys) == sorted((0, *pair) for pair in epoch_order(dataset, 0, 0, True).tolist())


def test_an_unknown_sampling_is_refused(clips):
    with pytest.raises(InputError, match="sampling is 'hard'; expected one of uniform, hidden"):
        ClipDataset(clips, sampling="hard")


def test_epochs_differ_and_seeds_differ(dataset):
    orders = [epoch_order(dataset, seed, epoch, True)[:, 0].tolist() for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert all(sorted(order) == list(range(21)) for order in orders)
    assert orders[0] != orders[1] != orders[2] != orders[0]


@pytest.mark.parametrize(
    "bad", [{"batch_size": 0}, {"rank": 2, "world": 2}, {"num_workers": -1}, {"batch_size": 99, "drop_last": True}]
)
def test_impossible_loaders_are_refused(dataset, bad):
    with pytest.raises(InputError, match="loader"):
        loader(dataset, **{"batch_size": 4, **bad})
